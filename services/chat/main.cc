// parley-chatd: users, chats, membership.

#include <cstdlib>
#include <memory>

#include "base/clock.h"
#include "db/core/session_pool.h"
#include "db/migrator/open_database.h"
#include "db/repository/chat_repository.h"
#include "db/repository/erasure_repository.h"
#include "db/repository/event_repository.h"
#include "db/repository/notifier.h"
#include "db/repository/task_repository.h"
#include "db/repository/user_repository.h"
#include "services/chat/chat_service.h"
#include "services/chat/password_hasher.h"
#include "services/chat/user_eraser.h"
#include "services/chat/user_service.h"
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
  const runtime::Config config = runtime::ParseConfigOrExit(
      argc, argv, "parley-chatd", {.listen = "127.0.0.1:50051", .admin_listen = "127.0.0.1:9051"});
  runtime::InitLog("parley-chatd", config.log_level);

  const db::OpenOptions database = {
      .url = config.database_url,
      .application = "parley-chatd",
      // One for each thread that works on calls, the eraser, who keeps its lease, the notifier,
      // and the health probe.
      .connections = config.workers + static_cast<std::int32_t>(kPasswordThreads) + 4,
      .wait = config.database_wait};
  const absl::StatusOr<std::unique_ptr<db::SessionPool>> pool = db::OpenDatabase(database);
  const absl::StatusOr<db::Dsn> dsn = db::ServiceDsn(database);
  if (!pool.ok() || !dsn.ok()) {
    runtime::Log(runtime::LogLevel::kError, "cannot use the database",
                 {{"error", std::string((pool.ok() ? dsn.status() : pool.status()).message())}});
    return EXIT_FAILURE;
  }

  runtime::Executor executor({.threads = static_cast<std::size_t>(config.workers),
                              .queue = static_cast<std::size_t>(config.queue)});
  runtime::Executor password_executor({.threads = kPasswordThreads, .queue = kPasswordQueue});
  runtime::CallPipeline user_calls({.service = "parley.chat.v1.UserService",
                                    .default_deadline = config.default_deadline,
                                    .max_deadline = config.max_deadline},
                                   executor);
  runtime::CallPipeline chat_calls({.service = "parley.chat.v1.ChatService",
                                    .default_deadline = config.default_deadline,
                                    .max_deadline = config.max_deadline},
                                   executor);
  db::UserRepository users(**pool);
  db::ChatRepository chats(**pool);
  const chat::PasswordHasher hasher;
  db::TaskRepository tasks(**pool);
  db::ErasureRepository erasures(**pool);
  const chat::UserEraser eraser(erasures);
  jobs::Worker erasing(tasks, *dsn, {.queue = kEraseUserQueue},
                       [&](const jobs::Job& job) { return eraser.Run(job); });
  chat::UserService user_service(user_calls, password_executor, users, hasher,
                                 {.erasures = erasures, .on_begun = [&] { erasing.Hint(); }});
  db::Notifier moves(**pool, db::kMemberChannel);
  chat::ChatService chat_service(chat_calls, chats, moves);

  runtime::Metrics metrics;
  user_calls.metrics().AddTo(metrics);
  chat_calls.metrics().AddTo(metrics);
  return runtime::Host({.listen = config.listen,
                        .admin_listen = config.admin_listen,
                        .metrics = metrics,
                        .drain_delay = config.drain_delay,
                        .drain_grace = config.drain_grace,
                        .keepalive = config.keepalive,
                        .ready = [&] { return (*pool)->Ping(SteadyNow() + absl::Seconds(1)); },
                        .on_drain = [&] { erasing.Drain(); }},
                       {&user_service, &chat_service},
                       {"parley.chat.v1.UserService", "parley.chat.v1.ChatService"})
      .Run();
}
