#include "db/migrator/open_database.h"

#include <algorithm>
#include <utility>

#include "absl/random/random.h"
#include "absl/status/status.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "db/migrator/connection.h"
#include "db/migrator/schema_check.h"

namespace parley::db {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLastPause = absl::Seconds(1);

absl::StatusOr<Connection> ConnectWithin(const Dsn& dsn, absl::Duration wait) {
  const absl::Time deadline = SteadyNow() + wait;
  absl::BitGen random;
  for (absl::Duration pause = kFirstPause;; pause = std::min(pause * 2, kLastPause)) {
    absl::StatusOr<Connection> connection = Connection::Open(dsn);
    const absl::Duration left = deadline - SteadyNow();
    if (connection.ok() || left <= absl::ZeroDuration()) return connection;
    absl::SleepFor(std::min(left, pause * absl::Uniform(random, 0.5, 1.0)));
  }
}

}  // namespace

absl::StatusOr<Dsn> ServiceDsn(const OpenOptions& options) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, Dsn::Parse(options.url));
  // tcp_user_timeout is in milliseconds, the other times in seconds: a dead peer is noticed after
  // about 20 s when idle and 10 s when something was sent.
  const Dsn common = dsn.WithPooler(options.pooler)
                         .WithDefault("application_name", options.application)
                         .WithDefault("connect_timeout", "2")
                         .WithDefault("client_encoding", "UTF8")
                         .WithDefault("keepalives_idle", "10")
                         .WithDefault("keepalives_interval", "3")
                         .WithDefault("keepalives_count", "3")
                         .WithDefault("tcp_user_timeout", "10000");
  // A pooler refuses what it does not know; who comes through one sets the time zone itself.
  if (options.pooler != Pooler::kNone) return common;
  return common.WithDefault("options",
                            "-c timezone=UTC -c idle_in_transaction_session_timeout=60s");
}

absl::StatusOr<std::unique_ptr<SessionPool>> OpenDatabase(const OpenOptions& options) {
  PARLEY_ASSIGN_OR_RETURN(const Dsn dsn, ServiceDsn(options));
  {
    PARLEY_ASSIGN_OR_RETURN(Connection connection, ConnectWithin(dsn, options.wait));
    PARLEY_RETURN_IF_ERROR(CheckSchema(connection));
  }
  return std::make_unique<SessionPool>(dsn, PoolOptions{.size = options.connections});
}

}  // namespace parley::db
