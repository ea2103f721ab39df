// One connection to PostgreSQL, with the statements prepared on it.
#pragma once

#include <libpq-fe.h>
#include <soci/soci.h>

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "db/core/db_error.h"
#include "db/core/dsn.h"
#include "db/core/statement.h"

namespace parley::db {

// A value for one :name of a statement. Bind(name, value) takes 64- and 32-bit integers, bool,
// text, absl::Time (microseconds since 1970 as bigint), and std::optional of those for NULL.
struct Bind {
  Bind(absl::string_view bind_name, std::int64_t value) : name(bind_name), number(value) {}
  Bind(absl::string_view bind_name, std::int32_t value) : name(bind_name), number(value) {}
  Bind(absl::string_view bind_name, bool value) : name(bind_name), number(value ? 1 : 0) {}
  Bind(absl::string_view bind_name, absl::Time value)
      : name(bind_name), number(absl::ToUnixMicros(value)) {}
  Bind(absl::string_view bind_name, absl::string_view value)
      : name(bind_name), text(value), is_text(true) {}
  Bind(absl::string_view bind_name, const std::string& value)
      : Bind(bind_name, absl::string_view(value)) {}
  Bind(absl::string_view bind_name, const char* value)
      : Bind(bind_name, absl::string_view(value)) {}
  template <class T>
  Bind(absl::string_view bind_name, const std::optional<T>& value)
      : Bind(bind_name, value ? *value : T()) {
    if (!value) indicator = soci::i_null;
  }

  std::string name;
  long long number = 0;
  std::string text;
  bool is_text = false;
  soci::indicator indicator = soci::i_ok;
};

// A bigint[] literal for `:ids::bigint[]`; SOCI has no arrays.
std::string ArrayLiteral(const std::vector<std::int64_t>& values);
// A text[] literal for `:names::text[]`; any text may be in it.
std::string ArrayLiteral(const std::vector<std::string>& values);

// One connection. Belongs to one thread at a time; the pool sees to that.
//
// Statements are prepared at first use and stay prepared until the connection ends; through a
// pooler that lends by transaction they are parsed and planned each time. Rows are read through
// soci::type_conversion<Row> (db/repository/rows.h), columns by name.
class Session {
 public:
  // Connects. UNAVAILABLE if the server cannot be reached or refuses.
  static absl::StatusOr<std::unique_ptr<Session>> Connect(const Dsn& dsn);
  ~Session();

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Makes the server give up statements that outlast `deadline`: statement_timeout is set to the
  // time left, rounded up by an eighth at most so that it seldom has to be sent; through a pooler
  // that lends by transaction, by the next Begin. DEADLINE_EXCEEDED if the deadline has passed.
  absl::Status SetDeadline(absl::Time deadline);

  // Runs a statement and returns its rows.
  template <class Row>
  absl::StatusOr<std::vector<Row>> Query(const Statement& statement, std::vector<Bind> binds) {
    std::vector<Row> rows;
    PARLEY_RETURN_IF_ERROR(Guarded(statement, [&] {
      soci::statement& prepared = Prepare(statement);
      Row row;
      prepared.exchange(soci::into(row));
      Exchange(prepared, binds);
      prepared.define_and_bind();
      for (bool more = prepared.execute(true); more; more = prepared.fetch()) {
        rows.push_back(std::move(row));
        row = Row();
      }
    }));
    return rows;
  }

  // Runs a statement that returns at most one row.
  template <class Row>
  absl::StatusOr<std::optional<Row>> QueryOptional(const Statement& statement,
                                                   std::vector<Bind> binds) {
    PARLEY_ASSIGN_OR_RETURN(std::vector<Row> rows, Query<Row>(statement, std::move(binds)));
    if (rows.empty()) return std::optional<Row>();
    return std::optional<Row>(std::move(rows.front()));
  }

  // Runs a statement without rows; returns how many rows it changed.
  absl::StatusOr<std::int64_t> Execute(const Statement& statement, std::vector<Bind> binds);

  // ROLLBACK and the like: text without parameters, straight to libpq.
  absl::Status Command(const char* sql);

  // BEGIN.
  absl::Status Begin();

  // COMMIT. INTERNAL, and nothing is committed, if a statement of the transaction had failed.
  absl::Status Commit();

  // Whether the connection can be handed to the next user: rolls back what was left open. False if
  // it is broken.
  bool Reset();

  // Whether the server has not hung up, as far as can be told without asking it. Nor has become
  // read-only, if target_session_attrs asks for one that takes writes: it says so beside its
  // answers.
  bool LooksAlive();

  // Whether what is set or prepared outside a transaction is lost (Pooler::kTransaction).
  bool is_pooled_by_transaction() const { return pooled_by_transaction_; }

  // Asks the server whether it is there, and takes writes if it has to; a round trip.
  absl::Status Ping();

  // The connection itself, for the hot lane of this room.
  PGconn* connection() const;

  // Breaks the connection, so that a statement that waits for a server that has fallen silent ends
  // with UNAVAILABLE. The one method that another thread than the owner's may call.
  void Abort();

 private:
  Session() = default;
  template <class Body>
  [[nodiscard]] absl::Status Guarded(const Statement& statement, Body body) {
    absl::Status status = Guard(statement.name, std::move(body));
    Finish(statement, status);
    return status;
  }
  soci::statement& Prepare(const Statement& statement);
  static void Exchange(soci::statement& prepared, std::vector<Bind>& binds);
  void Finish(const Statement& statement, const absl::Status& status);
  bool IsOfUse() const;

  std::unique_ptr<soci::session> session_;
  // The connection's socket under a number of our own: libpq may close its number at any moment,
  // and Abort() must not hit whatever has got it since.
  int socket_ = -1;
  // After session_, so that it is destroyed before it: a soci::statement refers to its session.
  std::unordered_map<const Statement*, std::unique_ptr<soci::statement>> prepared_;
  std::int64_t timeout_ms_ = 0;  // what statement_timeout is set to
  bool must_take_writes_ = false;
  bool pooled_by_transaction_ = false;
  bool broken_ = false;  // a statement has told so
};

}  // namespace parley::db
