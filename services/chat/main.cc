// parley-chatd: users, chats, membership.

#include <cstdlib>
#include <memory>

#include "db/core/session_pool.h"
#include "db/migrator/open_database.h"
#include "db/repository/chat_repository.h"
#include "db/repository/user_repository.h"
#include "services/chat/chat_service.h"
#include "services/chat/password_hasher.h"
#include "services/chat/user_service.h"
#include "services/runtime/call.h"
#include "services/runtime/config.h"
#include "services/runtime/executor.h"
#include "services/runtime/host.h"
#include "services/runtime/log.h"

namespace {

// Argon2id takes a core and 64 MiB for as long as it runs.
constexpr std::size_t kPasswordThreads = 2;
constexpr std::size_t kPasswordQueue = 64;

}  // namespace

int main(int argc, char** argv) {
  using namespace parley;
  runtime::BlockTerminationSignals();
  const runtime::Config config =
      runtime::ParseConfigOrExit(argc, argv, "parley-chatd", "127.0.0.1:50051");
  runtime::InitLog("parley-chatd", config.log_level);

  const absl::StatusOr<std::unique_ptr<db::SessionPool>> pool = db::OpenDatabase(
      {.url = config.database_url,
       .application = "parley-chatd",
       // One for each thread that works on calls, and one for the health probe.
       .connections = config.workers + static_cast<std::int32_t>(kPasswordThreads) + 1,
       .wait = config.database_wait});
  if (!pool.ok()) {
    runtime::Log(runtime::LogLevel::kError, "cannot use the database",
                 {{"error", std::string(pool.status().message())}});
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
  chat::UserService user_service(user_calls, password_executor, users, hasher);
  chat::ChatService chat_service(chat_calls, chats);

  return runtime::Host({.listen = config.listen,
                        .drain_delay = config.drain_delay,
                        .drain_grace = config.drain_grace,
                        .ready = [&] { return (*pool)->Ping(absl::Now() + absl::Seconds(1)); }},
                       {&user_service, &chat_service},
                       {"parley.chat.v1.UserService", "parley.chat.v1.ChatService"})
      .Run();
}
