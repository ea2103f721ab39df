// The migrator's own connection. Migrations are whole files of SQL, so they go to libpq as they
// are: SOCI would look for :parameters in them.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/dsn.h"

namespace parley::db {

struct FreeResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, FreeResult>;

// One column of one row as text; empty for NULL.
absl::string_view FieldOf(const Result& result, int row, int column);

// Belongs to one thread at a time. Movable.
class Connection {
 public:
  // Connects, within ten seconds a host unless `dsn` says otherwise. UNAVAILABLE, with libpq's text
  // and without the password, if that fails.
  static absl::StatusOr<Connection> Open(const Dsn& dsn);

  // Runs `sql`, one statement or several, and returns what libpq says to the last one or the first
  // that failed. Never null.
  Result Run(const std::string& sql);

  // Run, and calls `tick` every `period` while the server is at it. For what may take long.
  // `statements_done`: how many of the statements had worked before the one that failed.
  struct Outcome {
    Result result;
    std::int32_t statements_done = 0;
  };
  Outcome RunWatched(const std::string& sql, absl::Duration period, absl::FunctionRef<void()> tick);

  // What the server has said beside results (NOTICE and the like) since this was asked last.
  std::vector<std::string> TakeNotices();

  // Run, for statements that ought to work. UNAVAILABLE: the connection is lost. INTERNAL: the
  // server's message and SQLSTATE.
  absl::StatusOr<Result> Query(const std::string& sql);
  absl::Status Execute(const std::string& sql);

  // `text` as SQL writes it, with its quotes.
  std::string QuoteLiteral(absl::string_view text) const;

  // Of the server's process.
  int BackendPid() const { return PQbackendPID(connection_.get()); }

  bool IsLost() const { return PQstatus(connection_.get()) != CONNECTION_OK; }
  PGTransactionStatusType TransactionStatus() const {
    return PQtransactionStatus(connection_.get());
  }

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  explicit Connection(PGconn* connection);
  // libpq keeps its address.
  std::unique_ptr<std::vector<std::string>> notices_;
  std::unique_ptr<PGconn, Finish> connection_;
};

// Whether the statement worked.
bool Succeeded(const Result& result);

// "message (SQLSTATE 42P01)", with the server's detail, hint and context on lines of their own.
std::string ErrorTextOf(const Result& result);

// Empty if the error does not come from the server.
absl::string_view SqlStateOf(const Result& result);

}  // namespace parley::db
