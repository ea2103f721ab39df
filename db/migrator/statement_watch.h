// Looks after a statement that takes long, from a connection of its own: who keeps it waiting, and
// how far it has come.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "db/core/dsn.h"
#include "db/migrator/connection.h"
#include "db/migrator/progress.h"

namespace parley::db {

// Belongs to the thread of the connection that it watches. Connects with the first Look; where it
// may not, it stays silent.
class StatementWatch {
 public:
  // `report` must outlive it.
  StatementWatch(Dsn dsn, const ReportProgress& report) : dsn_(std::move(dsn)), report_(report) {}

  // A new statement of the server process `backend_pid` begins, for this migration.
  void Begin(int backend_pid, const Migration& migration);

  // To be called now and then while it runs. Reports blockers when they change, and every ten
  // seconds that the statement is still running.
  void Look();

  // Who kept the statement waiting when Look last saw it wait: "messages is locked by pid 4711
  // (psql, idle in transaction for 10s)". Empty if it never was.
  const std::string& blockers() const { return blockers_; }

 private:
  void ReportBlockers(Connection& connection);
  void ReportRunning(Connection& connection);

  const Dsn dsn_;
  const ReportProgress& report_;
  std::optional<Connection> connection_;
  int backend_pid_ = 0;
  const Migration* migration_ = nullptr;
  absl::Time began_;
  absl::Time reported_;
  std::string blockers_;
  std::string reported_pids_;
};

}  // namespace parley::db
