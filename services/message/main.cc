// parley-messaged: message history.

#include <cstdlib>
#include <memory>

#include "db/core/session_pool.h"
#include "db/migrator/open_database.h"
#include "db/repository/message_repository.h"
#include "services/message/message_service.h"
#include "services/runtime/call.h"
#include "services/runtime/config.h"
#include "services/runtime/executor.h"
#include "services/runtime/host.h"
#include "services/runtime/log.h"

int main(int argc, char** argv) {
  using namespace parley;
  runtime::BlockTerminationSignals();
  const runtime::Config config =
      runtime::ParseConfigOrExit(argc, argv, "parley-messaged", "127.0.0.1:50052");
  runtime::InitLog("parley-messaged", config.log_level);

  const absl::StatusOr<std::unique_ptr<db::SessionPool>> pool =
      db::OpenDatabase({.url = config.database_url,
                        .application = "parley-messaged",
                        .connections = config.workers + 1,  // and one for the health probe
                        .wait = config.database_wait});
  if (!pool.ok()) {
    runtime::Log(runtime::LogLevel::kError, "cannot use the database",
                 {{"error", std::string(pool.status().message())}});
    return EXIT_FAILURE;
  }

  runtime::Executor executor({.threads = static_cast<std::size_t>(config.workers),
                              .queue = static_cast<std::size_t>(config.queue)});
  runtime::CallPipeline calls({.service = "parley.message.v1.MessageService",
                               .default_deadline = config.default_deadline,
                               .max_deadline = config.max_deadline},
                              executor);
  db::MessageRepository messages(**pool);
  message::MessageService service(calls, messages);

  return runtime::Host({.listen = config.listen,
                        .drain_delay = config.drain_delay,
                        .drain_grace = config.drain_grace,
                        .ready = [&] { return (*pool)->Ping(absl::Now() + absl::Seconds(1)); }},
                       {&service}, {"parley.message.v1.MessageService"})
      .Run();
}
