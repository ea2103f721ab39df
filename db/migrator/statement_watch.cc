#include "db/migrator/statement_watch.h"

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"

namespace parley::db {
namespace {

constexpr absl::Duration kReportEvery = absl::Seconds(10);

// One row if the statement waits for locks of others.
std::string BlockersSql(int backend_pid) {
  return absl::StrCat(
      "SELECT coalesce((SELECT string_agg(DISTINCT l.relation::regclass::text, ', ')"
      "                 || ' is locked by '"
      "                 FROM pg_catalog.pg_locks l"
      "                 WHERE l.pid = ",
      backend_pid,
      "                 AND NOT l.granted AND l.relation IS NOT NULL), 'for the transaction of '),"
      "  string_agg('pid ' || a.pid"
      "    || ' (' || coalesce(nullif(a.application_name, ''), 'unnamed')"
      "    || coalesce(', ' || a.state, '')"
      "    || coalesce(', its transaction began ' ||"
      "         extract(epoch FROM clock_timestamp() - a.xact_start)::bigint || ' s ago', '')"
      "    || ')', ', ' ORDER BY a.pid), string_agg(a.pid::text, ',' ORDER BY a.pid)"
      " FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(",
      backend_pid,
      ")) b (pid) JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid"
      " HAVING count(*) > 0");
}

// One row if PostgreSQL knows how far it is.
std::string ShareDoneSql(int backend_pid) {
  return absl::StrCat(
      "SELECT phase || CASE WHEN blocks_total > 0"
      "   THEN ', ' || 100 * blocks_done / blocks_total || ' %' ELSE '' END"
      " FROM pg_catalog.pg_stat_progress_create_index WHERE pid = ",
      backend_pid);
}

}  // namespace

void StatementWatch::Begin(int backend_pid, const Migration& migration) {
  backend_pid_ = backend_pid;
  migration_ = &migration;
  began_ = reported_ = SteadyNow();
  blockers_.clear();
  reported_pids_.clear();
}

void StatementWatch::Look() {
  if (!connection_.has_value() || connection_->IsLost()) {
    absl::StatusOr<Connection> opened = Connection::Open(dsn_);
    if (!opened.ok()) return;
    connection_.emplace(*std::move(opened));
    // A file may have locked what these queries read.
    connection_->Run("SET statement_timeout = '2s'");
  }
  ReportBlockers(*connection_);
  if (SteadyNow() - reported_ >= kReportEvery) ReportRunning(*connection_);
}

void StatementWatch::ReportBlockers(Connection& connection) {
  const absl::StatusOr<Result> row = connection.Query(BlockersSql(backend_pid_));
  if (!row.ok() || PQntuples(row->get()) == 0) return;
  blockers_ = absl::StrCat(FieldOf(*row, 0, 0), FieldOf(*row, 0, 1));
  const std::string pids(FieldOf(*row, 0, 2));
  if (pids == reported_pids_) return;
  reported_pids_ = pids;
  report_(
      {.event = "waiting", .text = absl::StrCat("waiting: ", blockers_), .migration = migration_});
}

void StatementWatch::ReportRunning(Connection& connection) {
  reported_ = SteadyNow();
  std::string text =
      absl::StrCat(migration_->file_name, " is running for ",
                   absl::FormatDuration(absl::Floor(reported_ - began_, absl::Seconds(1))));
  const absl::StatusOr<Result> share = connection.Query(ShareDoneSql(backend_pid_));
  if (share.ok() && PQntuples(share->get()) > 0) {
    absl::StrAppend(&text, ": ", FieldOf(*share, 0, 0));
  }
  report_({.event = "running", .text = text, .migration = migration_});
}

}  // namespace parley::db
