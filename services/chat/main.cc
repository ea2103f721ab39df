// parley-chatd: users, chats, membership.

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "db/core/session_pool.h"
#include "db/migrator/open_database.h"
#include "db/repository/access_repository.h"
#include "db/repository/chat_repository.h"
#include "db/repository/erasure_repository.h"
#include "db/repository/event_repository.h"
#include "db/repository/notifier.h"
#include "db/repository/password_attempt_repository.h"
#include "db/repository/task_repository.h"
#include "db/repository/user_repository.h"
#include "services/access/ask_database.h"
#include "services/access/gatekeeper.h"
#include "services/chat/chat_service.h"
#include "services/chat/password_hasher.h"
#include "services/chat/user_eraser.h"
#include "services/chat/user_rules.h"
#include "services/chat/user_service.h"
#include "services/jobs/database_metrics.h"
#include "services/jobs/worker.h"
#include "services/runtime/call.h"
#include "services/runtime/config.h"
#include "services/runtime/executor.h"
#include "services/runtime/host.h"
#include "services/runtime/log.h"
#include "services/runtime/metrics.h"

namespace {

// Argon2id takes a core and 64 MiB for as long as it runs.
constexpr std::size_t kPasswordThreads = 2;
constexpr std::size_t kPasswordQueue = 64;

}  // namespace

int main(int argc, char** argv) {
  using namespace parley;
  runtime::PrepareProcess();
  std::string login_failures = "10";
  std::string caller_failures = "600";
  const runtime::Config config = runtime::ParseConfigOrExit(
      argc, argv, "parley-chatd", {.listen = "127.0.0.1:50051", .admin_listen = "127.0.0.1:9051"},
      {{"login-failures", "PARLEY_LOGIN_FAILURES",
        "wrong passwords in a row that a login may have, 0 to 1000000, "
        "one a minute after that; 0: any "
        "number; the same for every parley-chatd of a database",
        &login_failures, chat::IsFailureLimit},
       {"caller-failures", "PARLEY_CALLER_FAILURES",
        "the same of a caller who has a name, ten a second after that", &caller_failures,
        chat::IsFailureLimit}});
  runtime::InitLog("parley-chatd", config.log_level);

  const db::OpenOptions database = {
      .url = config.database_url,
      .application = "parley-chatd",
      // One for each thread that works on calls, the eraser, who keeps its lease, the notifier,
      // and the health probe.
      .connections = config.workers + static_cast<std::int32_t>(kPasswordThreads) + 4,
      .pooler = db::PoolerNamed(config.pooler),
      .wait = config.database_wait};
  const absl::StatusOr<std::unique_ptr<db::SessionPool>> pool = db::OpenDatabase(database);
  const absl::StatusOr<db::Dsn> dsn = db::ServiceDsn(database);
  if (!pool.ok() || !dsn.ok()) {
    runtime::Log(runtime::LogLevel::kError, "cannot use the database",
                 {{"error", std::string((pool.ok() ? dsn.status() : pool.status()).message())}});
    return EXIT_FAILURE;
  }
  db::AccessRepository roles(**pool);
  const absl::StatusOr<std::unique_ptr<access::Gatekeeper>> gate =
      access::Gatekeeper::Open(config, access::AskDatabase(roles));
  if (!gate.ok()) {
    runtime::Log(runtime::LogLevel::kError, "cannot tell who may call",
                 {{"error", gate.status().message()}});
    return EXIT_FAILURE;
  }
  const auto calls_of = [&](absl::string_view service) {
    return access::CallsThrough(**gate, config, service);
  };

  runtime::Executor executor({.threads = static_cast<std::size_t>(config.workers),
                              .queue = static_cast<std::size_t>(config.queue)});
  runtime::Executor password_executor({.threads = kPasswordThreads, .queue = kPasswordQueue});
  runtime::CallPipeline user_calls(calls_of("parley.chat.v1.UserService"), executor);
  runtime::CallPipeline chat_calls(calls_of("parley.chat.v1.ChatService"), executor);
  db::UserRepository users(**pool);
  db::PasswordAttemptRepository attempts(**pool, {.login_failures = std::stoi(login_failures),
                                                  .caller_failures = std::stoi(caller_failures)});
  db::ChatRepository chats(**pool);
  const chat::PasswordHasher hasher;
  db::TaskRepository tasks(**pool);
  db::ErasureRepository erasures(**pool);
  const chat::UserEraser eraser(erasures);
  jobs::Worker erasing(tasks, *dsn, {.queue = kEraseUserQueue},
                       [&](const jobs::Job& job) { return eraser.Run(job); });
  chat::UserService user_service(
      user_calls, users, {.executor = password_executor, .hasher = hasher, .attempts = attempts},
      {.erasures = erasures, .on_begun = [&] { erasing.Hint(); }});
  db::Notifier moves(**pool, db::kMemberChannel);
  chat::ChatService chat_service(chat_calls, chats, moves);

  jobs::DatabaseProbe probe(**pool, {.tables = {"users", "chats", "chat_user"}});
  runtime::Metrics metrics;
  executor.AddTo(metrics, "calls");
  password_executor.AddTo(metrics, "passwords");
  jobs::AddPool(metrics, **pool);
  probe.AddTo(metrics);
  user_calls.metrics().AddTo(metrics);
  chat_calls.metrics().AddTo(metrics);
  return runtime::Host({.listen = config.listen,
                        .admin_listen = config.admin_listen,
                        .metrics = metrics,
                        .transport = config.transport,
                        .drain_delay = config.drain_delay,
                        .drain_grace = config.drain_grace,
                        .keepalive = config.keepalive,
                        .max_connection_age = config.max_connection_age,
                        .max_deadline = config.max_deadline,
                        .ready = [&] { return probe.Ask(); },
                        .end_streams = [&] { erasing.Drain(); }},
                       {&user_service, &chat_service},
                       {"parley.chat.v1.UserService", "parley.chat.v1.ChatService"})
      .Run();
}
