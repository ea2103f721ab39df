// parley-messaged: message history.

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/local_time.h"
#include "db/core/listener.h"
#include "db/core/session_pool.h"
#include "db/migrator/open_database.h"
#include "db/repository/access_repository.h"
#include "db/repository/event_repository.h"
#include "db/repository/message_repository.h"
#include "db/repository/notifier.h"
#include "db/repository/retention_repository.h"
#include "db/repository/scheduled_message_repository.h"
#include "db/repository/search_repository.h"
#include "db/repository/task_repository.h"
#include "services/access/ask_database.h"
#include "services/access/gatekeeper.h"
#include "services/jobs/database_metrics.h"
#include "services/jobs/worker.h"
#include "services/message/message_rules.h"
#include "services/message/message_service.h"
#include "services/message/retention_keeper.h"
#include "services/message/scheduled_sender.h"
#include "services/message/watch_hub.h"
#include "services/runtime/call.h"
#include "services/runtime/config.h"
#include "services/runtime/executor.h"
#include "services/runtime/host.h"
#include "services/runtime/log.h"
#include "services/runtime/metrics.h"

namespace {

// Threads that send scheduled messages.
constexpr int kSenders = 2;
constexpr std::size_t kLaneQueueFactor = 5;

}  // namespace

int main(int argc, char** argv) {
  using namespace parley;
  runtime::PrepareProcess();
  std::string search_language = "simple";
  std::string time_zone = "UTC";
  const runtime::Config config = runtime::ParseConfigOrExit(
      argc, argv, "parley-messaged",
      {.listen = "127.0.0.1:50052", .admin_listen = "127.0.0.1:9052"},
      {{"search-language", "PARLEY_SEARCH_LANGUAGE",
        "text search configuration of PostgreSQL's in which messages are indexed and searched",
        &search_language, message::IsSearchLanguage},
       {"time-zone", "TZ", "IANA zone of local times that name none", &time_zone,
        IsKnownTimeZone}});
  runtime::InitLog("parley-messaged", config.log_level);

  // A connection for each thread that works on calls, the senders and who keeps their leases, the
  // watches, the notifier, retention, the health probe.
  const db::OpenOptions database = {.url = config.database_url,
                                    .application = "parley-messaged",
                                    .connections = config.workers + kSenders + 5,
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

  db::SearchRepository search(**pool, search_language);
  if (const absl::Status known = search.CheckLanguage(SteadyNow() + config.default_deadline);
      !known.ok()) {
    runtime::Log(runtime::LogLevel::kError, "cannot use the search language",
                 {{"error", std::string(known.message())}});
    return EXIT_FAILURE;
  }

  runtime::Executor executor({.threads = static_cast<std::size_t>(config.workers),
                              .queue = static_cast<std::size_t>(config.queue)});
  runtime::CallPipeline calls(calls_of("parley.message.v1.MessageService"), executor);
  // What goes through a hot lane goes together with others, and so fast, that more may wait.
  const std::size_t lane_queue = static_cast<std::size_t>(config.queue) * kLaneQueueFactor;
  db::MessageRepository messages(
      **pool,
      {.language = search_language, .send = {.queue = lane_queue}, .read_queue = lane_queue});
  db::EventRepository events(**pool);
  db::Notifier notifier(**pool, db::kMessageChannel);
  message::WatchHub watches(events, notifier, {.max_age = config.max_connection_age});
  const db::Listener chat_hints(*dsn, db::kMessageChannel,
                                [&](absl::string_view chats) { watches.HintChats(chats); });
  const db::Listener member_hints(*dsn, db::kMemberChannel,
                                  [&](absl::string_view users) { watches.HintMembers(users); });
  db::TaskRepository tasks(**pool);
  db::ScheduledMessageRepository scheduled(**pool);
  const message::ScheduledSender sender(
      scheduled, tasks, [&](const db::SendParams& params, absl::Time deadline) {
        absl::StatusOr<Message> sent = messages.Send(params, deadline);
        if (sent.ok()) watches.Changed(sent->chat_id);
        return sent;
      });
  jobs::Worker sending(tasks, *dsn, {.queue = kScheduledMessagesQueue, .threads = kSenders},
                       [&](const jobs::Job& job) { return sender.Run(job); });
  db::RetentionRepository retention(**pool);
  message::RetentionKeeper keeper(retention);
  message::MessageService service(calls, {.messages = messages,
                                          .search = search,
                                          .scheduled = scheduled,
                                          .watches = watches,
                                          .default_zone = time_zone,
                                          .on_scheduled = [&] { sending.Hint(); }});

  jobs::DatabaseProbe probe(**pool, {.tables = {"chats", "chat_user", "messages"}});
  runtime::Metrics metrics;
  executor.AddTo(metrics, "calls");
  jobs::AddPool(metrics, **pool);
  probe.AddTo(metrics);
  int lane = 0;
  for (const db::LaneView& view : messages.send_lanes()) {
    jobs::AddLane(metrics, absl::StrCat("send-", ++lane), view);
  }
  jobs::AddLane(metrics, "read", messages.read_lane());
  metrics.AddGauge({"parley_watches", "Streams of WatchMessages."},
                   [&] { return static_cast<double>(watches.watches()); });
  calls.metrics().AddTo(metrics);
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
                        .refuse_streams = [&] { watches.RefuseNew(); },
                        .end_streams =
                            [&] {
                              watches.Drain();
                              sending.Drain();
                              keeper.Drain();
                            }},
                       {&service}, {"parley.message.v1.MessageService"})
      .Run();
}
