// The hot lane's connection: prepared statements in a pipeline, with binary values both ways.
//
// SOCI prepares, but sends and reads text, one round trip a statement. The few statements that
// carry the load are sent here, on a session's own PGconn, many at a time.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/dsn.h"
#include "db/core/session.h"
#include "db/core/statement.h"

namespace parley::db {

// The parameters $1, $2... of a statement, in their order. The statement must cast each to the type
// that is named here: `$1::bigint`, `$2::text[]`.
class HotParams {
 public:
  HotParams& Bigint(std::int64_t value);
  HotParams& Boolean(bool value);
  HotParams& Timestamptz(absl::Time value);
  HotParams& Text(absl::string_view value);
  HotParams& BigintArray(const std::vector<std::int64_t>& values);
  HotParams& BigintArray(const std::vector<std::optional<std::int64_t>>& values);
  HotParams& TimestamptzArray(const std::vector<std::optional<absl::Time>>& values);
  HotParams& TextArray(const std::vector<std::optional<absl::string_view>>& values);
  HotParams& ByteaArray(const std::vector<absl::string_view>& values);
  // uuid[], from 32 hexadecimal digits each.
  HotParams& UuidArray(const std::vector<absl::string_view>& values);

  const std::vector<std::string>& values() const { return values_; }

 private:
  std::vector<std::string> values_;  // PostgreSQL's binary format
};

// The rows that a statement returned; columns are counted from 0. Reading a column as another type
// than it has is a bug, and aborts.
class HotResult {
 public:
  HotResult() = default;
  explicit HotResult(PGresult* result) : result_(result) {}

  // Whether the server did what it was asked to.
  bool ok() const {
    const ExecStatusType status = PQresultStatus(result_.get());
    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
  }
  int rows() const { return PQntuples(result_.get()); }
  bool IsNull(int row, int column) const;
  std::int64_t Bigint(int row, int column) const;
  std::int32_t Integer(int row, int column) const;
  bool Boolean(int row, int column) const;
  absl::Time Timestamptz(int row, int column) const;
  absl::string_view Text(int row, int column) const;  // or bytea; valid as long as the result

 private:
  struct Deleter {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  const char* Bytes(int row, int column, int size) const;
  std::unique_ptr<PGresult, Deleter> result_;
};

// A statement and its parameters.
struct HotStep {
  const Statement* statement = nullptr;
  HotParams params;
};

// What is set on every hot connection. The same statement runs for ever with the same few tables:
// one plan, made once; left to itself, the server plans the first five executions anew, and
// compares ever after. The plan is made whenever the connection is, perhaps for a database that is
// still empty, and holds until the tables are analyzed; so it must be one that suits big tables:
// from row to row by the indexes. To compile it to machine code takes longer than it runs.
// And a server that works for a connection that was given up at its deadline is to notice.
inline constexpr const char* kHotSettings =
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;"
    " SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;"
    " SET jit = off; SET client_connection_check_interval = '1s'";

struct HotOptions {
  absl::Duration lock_timeout;     // zero: waits for locks without limit
  bool synchronous_commit = true;  // false: a server that crashes may forget the last commits
};

// A connection in pipeline mode. Belongs to one thread at a time. Through a pooler that lends by
// transaction, all that is set goes ahead of the steps, in their transaction, and they are parsed
// and planned each time.
class HotConnection {
 public:
  static absl::StatusOr<std::unique_ptr<HotConnection>> Connect(const Dsn& dsn,
                                                                const HotOptions& options);

  // Sends all steps in one go and hands each result over as it comes, in their order. The steps are
  // one transaction: if one fails, or the connection is lost, none has written anything, unless
  // IsConnectionLost: then the commit may have been done. After `deadline` the connection is given
  // up. The statuses are those of StatusFromSqlState.
  using OnResult = std::function<void(std::size_t step, HotResult result)>;
  absl::Status Run(const std::vector<HotStep>& steps, absl::Time deadline,
                   const OnResult& on_result);

  // The two halves of Run, for who has something else to do while the server works: the same steps
  // for both, and nothing else in between. Send waits for the server only when a statement is new
  // to the connection.
  absl::Status Send(const std::vector<HotStep>& steps, absl::Time deadline);
  absl::Status Receive(const std::vector<HotStep>& steps, absl::Time deadline,
                       const OnResult& on_result);

  // False once the connection is of no use: it is lost, or what is prepared on it is stale.
  bool usable() const { return usable_; }

  // Whether surely nothing was written: the last error was the server's own word, or came before
  // anything was sent.
  bool refused() const { return refused_; }

  // Whether the server has not hung up, as far as can be told without asking it.
  bool LooksAlive();

 private:
  HotConnection(std::unique_ptr<Session> session, std::string preamble);
  PGconn* conn() const;
  absl::Status SendStep(const HotStep& step, const char* name);
  // The name under which the statement is prepared; null if it is sent without one.
  absl::StatusOr<const char*> Prepare(const Statement& statement, absl::Time deadline);
  // Waits until something can be read, writing what is still to be sent.
  absl::Status WaitForInput(absl::Time deadline);
  // The next result; null: the end of a statement's results.
  absl::StatusOr<PGresult*> NextResult(absl::Time deadline);
  absl::Status Lost();
  absl::Status FromResult(const PGresult* result, const Statement& statement);

  std::unique_ptr<Session> session_;
  const std::string preamble_;  // a statement that goes ahead of the steps; empty: there is none
  std::unordered_map<const Statement*, std::string> prepared_;  // names on the server
  bool usable_ = true;
  bool refused_ = false;
};

// Connects anew if there is no connection, or if it is of no use any more.
absl::Status EnsureConnected(const Dsn& dsn, const HotOptions& options,
                             std::unique_ptr<HotConnection>& connection);

}  // namespace parley::db
