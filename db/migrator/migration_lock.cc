#include "db/migrator/migration_lock.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "absl/random/random.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

constexpr absl::Duration kFirstPoll = absl::Milliseconds(200);
constexpr absl::Duration kLastPoll = absl::Seconds(2);

// "parley" and a number. Advisory locks are a database's own, so that the key needs nothing of its
// name. Releases of every age must agree on it.
constexpr std::int64_t kKey = 0x7061726C65790001;

// A query of one boolean.
absl::StatusOr<bool> AskBool(Connection& connection, absl::string_view function) {
  PARLEY_ASSIGN_OR_RETURN(
      const Result result,
      connection.Query(absl::StrCat("SELECT pg_catalog.", function, "(", kKey, ")")));
  return FieldOf(result, 0, 0) == "t";
}

// The condition on pg_locks l.
std::string OurLock() {
  return absl::StrCat(
      "l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
      " AND l.database = (SELECT oid FROM pg_catalog.pg_database"
      "                   WHERE datname = pg_catalog.current_database())"
      " AND l.classid = ",
      kKey >> 32, " AND l.objid = ", kKey & 0xFFFFFFFF);
}

absl::Status LockIsGone() {
  return absl::FailedPreconditionError(
      "this session does not have the migration lock any more. Connect to PostgreSQL itself and "
      "not "
      "through a pooler, then look at `parley-migrate status`.");
}

// "pid 4711 (parley-migrate)", as far as the server tells.
std::string DescribeHolder(Connection& connection) {
  const absl::StatusOr<Result> holder = connection.Query(
      absl::StrCat("SELECT l.pid, a.application_name FROM pg_catalog.pg_locks l"
                   " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid WHERE ",
                   OurLock()));
  if (!holder.ok() || PQntuples(holder->get()) == 0) return "another session";
  const absl::string_view application = FieldOf(*holder, 0, 1);
  return absl::StrCat("pid ", FieldOf(*holder, 0, 0), " (",
                      application.empty() ? "unnamed" : application, ")");
}

}  // namespace

absl::Status AcquireMigrationLock(Connection& connection, absl::Duration wait,
                                  const ReportProgress& report) {
  const absl::Time deadline = SteadyNow() + wait;
  absl::BitGen random;
  bool has_reported = false;
  for (absl::Duration poll = kFirstPoll;; poll = std::min(poll * 2, kLastPoll)) {
    PARLEY_ASSIGN_OR_RETURN(const bool is_ours, AskBool(connection, "pg_try_advisory_lock"));
    if (is_ours) return absl::OkStatus();
    const absl::Duration left = deadline - SteadyNow();
    if (left <= absl::ZeroDuration()) {
      return ProblemError(
          Problem::kLocked,
          absl::StrCat(
              "another migration of this database is running: ", DescribeHolder(connection),
              " still has the lock after ", absl::FormatDuration(wait),
              ". Wait for it, or give a longer --lock-wait; nothing was changed."));
    }
    if (!has_reported) {
      report({.event = "waiting",
              .text = absl::StrCat("waiting for another migration: ", DescribeHolder(connection))});
      has_reported = true;
    }
    // Many that were started together must not come back together.
    absl::SleepFor(std::min(left, poll * absl::Uniform(random, 0.5, 1.0)));
  }
}

std::string TakeLockSql() {
  return absl::StrCat("DO $$ BEGIN\n  IF NOT pg_catalog.pg_try_advisory_lock(", kKey,
                      ") THEN\n"
                      "    RAISE EXCEPTION 'another migration of this database is running';\n"
                      "  END IF;\nEND $$;\n");
}

std::string GiveLockBackSql() {
  return absl::StrCat("DO $$ BEGIN PERFORM pg_catalog.pg_advisory_unlock(", kKey, "); END $$;\n");
}

absl::Status CheckMigrationLock(Connection& connection) {
  PARLEY_ASSIGN_OR_RETURN(
      const Result held,
      connection.Query(absl::StrCat("SELECT FROM pg_catalog.pg_locks l WHERE ", OurLock(),
                                    " AND l.pid = ", connection.BackendPid())));
  return PQntuples(held.get()) > 0 ? absl::OkStatus() : LockIsGone();
}

absl::Status ReleaseMigrationLock(Connection& connection) {
  PARLEY_ASSIGN_OR_RETURN(const bool was_ours, AskBool(connection, "pg_advisory_unlock"));
  return was_ours ? absl::OkStatus() : LockIsGone();
}

}  // namespace parley::db
