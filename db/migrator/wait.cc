#include "db/migrator/wait.h"

#include <libpq-fe.h>

#include <algorithm>
#include <functional>
#include <string>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "db/migrator/connection.h"
#include "db/migrator/history.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

constexpr absl::Duration kFirstLook = absl::Milliseconds(50);
constexpr absl::Duration kLastLook = absl::Seconds(1);

// A server that does not answer at all is not to use up the time of those that come next.
Dsn Impatient(const Dsn& dsn) {
  return dsn.WithDefault("application_name", "parley-migrate").WithDefault("connect_timeout", "2");
}

// Tries until it is OK or the time is over; then what it said last.
absl::Status Repeat(absl::Duration timeout, const std::function<absl::Status()>& attempt) {
  const absl::Time deadline = SteadyNow() + timeout;
  absl::BitGen random;
  for (absl::Duration pause = kFirstLook;; pause = std::min(pause * 2, kLastLook)) {
    absl::Status status = attempt();
    const absl::Duration left = deadline - SteadyNow();
    if (status.ok() || left <= absl::ZeroDuration()) return status;
    absl::SleepFor(std::min(left, pause * absl::Uniform(random, 0.5, 1.0)));
  }
}

absl::Status Ping(const Dsn& dsn) {
  switch (PQping(dsn.Uri().c_str())) {
    case PQPING_OK:
      return absl::OkStatus();
    case PQPING_REJECT:
      return absl::UnavailableError(
          absl::StrCat(dsn.Redacted(), ": the server is there and accepts no connections yet"));
    case PQPING_NO_RESPONSE:
    case PQPING_NO_ATTEMPT:
      break;
  }
  // PQping does not say why.
  const absl::Status status = Connection::Open(dsn).status();
  return status.ok() ? absl::UnavailableError(absl::StrCat(dsn.Redacted(), ": no answer")) : status;
}

absl::Status CheckNothingPending(const Dsn& dsn, const MigrationSet& set) {
  PARLEY_ASSIGN_OR_RETURN(Connection connection, Connection::Open(dsn));
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection));
  const SchemaState state = CompareSchema(set, history);
  if (state.pending.empty()) return absl::OkStatus();
  const auto append = [](std::string* out, const Migration* migration) {
    absl::StrAppend(out, "  ", migration->file_name);
  };
  return ProblemError(Problem::kPending,
                      absl::StrCat("still pending:\n", absl::StrJoin(state.pending, "\n", append)));
}

}  // namespace

absl::Status WaitForServer(const Dsn& dsn, absl::Duration timeout) {
  return Repeat(timeout, [dsn = Impatient(dsn)] { return Ping(dsn); });
}

absl::Status WaitForMigrations(const Dsn& dsn, const MigrationSet& set, absl::Duration timeout) {
  return Repeat(timeout, [dsn = Impatient(dsn), &set] { return CheckNothingPending(dsn, set); });
}

}  // namespace parley::db
