// parley-schedulerd: tasks that run later, handed to workers when they are due.

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/local_time.h"
#include "db/core/listener.h"
#include "db/core/session_pool.h"
#include "db/migrator/open_database.h"
#include "db/repository/keyed_task_creator.h"
#include "db/repository/push_repository.h"
#include "db/repository/queue_repository.h"
#include "db/repository/schedule_repository.h"
#include "db/repository/task_acker.h"
#include "db/repository/task_creator.h"
#include "db/repository/task_repository.h"
#include "services/access/gatekeeper.h"
#include "services/jobs/database_metrics.h"
#include "services/runtime/call.h"
#include "services/runtime/config.h"
#include "services/runtime/executor.h"
#include "services/runtime/host.h"
#include "services/runtime/log.h"
#include "services/runtime/metrics.h"
#include "services/scheduler/dispatcher.h"
#include "services/scheduler/end_watch.h"
#include "services/scheduler/push/push_hub.h"
#include "services/scheduler/push/push_targets.h"
#include "services/scheduler/queue_service.h"
#include "services/scheduler/reaper.h"
#include "services/scheduler/schedule_service.h"
#include "services/scheduler/scheduler_service.h"
#include "services/scheduler/task_rules.h"
#include "services/scheduler/ticker.h"
#include "services/scheduler/work_hub.h"
#include "services/scheduler/worker_service.h"
#include "services/scheduler/zone_follower.h"

namespace {

// The hot lane makes tens of thousands of tasks a second, and a call may bring a thousand of them.
constexpr std::size_t kLaneQueueFactor = 100;

}  // namespace

int main(int argc, char** argv) {
  using namespace parley;
  runtime::PrepareProcess();
  std::string time_zone = "UTC";
  std::string history_days = "14";
  std::string dead_days = "0";
  std::string targets;
  const runtime::Config config = runtime::ParseConfigOrExit(
      argc, argv, "parley-schedulerd",
      {.listen = "127.0.0.1:50053", .admin_listen = "127.0.0.1:9053"},
      {{"time-zone", "TZ", "IANA zone of local times that name none", &time_zone, IsKnownTimeZone},
       {"history-days", "PARLEY_HISTORY_DAYS",
        "for how many days tasks are kept that have succeeded, expired or been cancelled, 1 to "
        "3650; the same for every parley-schedulerd of a database",
        &history_days, scheduler::IsHistoryDays},
       {"dead-days", "PARLEY_DEAD_DAYS",
        "for how many days dead tasks are kept, 0 to 3650; 0: until they are driven again or "
        "purged; the same for every parley-schedulerd of a database",
        &dead_days, scheduler::IsDeadDays},
       {.flag = "targets",
        .environment = "PARLEY_TARGETS",
        .help = "where queues may be pushed to: name=url ..., with a url of grpc://host:port, "
                "redis://... or amqp://..., the last two with ;results=redis://... if need be",
        .value = &targets,
        .secret_complaint = [](const std::string& text) {
          return std::string(scheduler::ParsePushTargets(text).status().message());
        }}});
  runtime::InitLog("parley-schedulerd", config.log_level);

  // A connection for each thread that works on calls, the dispatcher (its notifications), the hub,
  // the reaper, the watch for tasks that end, the ticker, the zone follower, the health probe, and
  // two that pushers share.
  const db::OpenOptions database = {.url = config.database_url,
                                    .application = "parley-schedulerd",
                                    .connections = config.workers + 9,
                                    .pooler = db::PoolerNamed(config.pooler),
                                    .wait = config.database_wait};
  const absl::StatusOr<std::unique_ptr<db::SessionPool>> pool = db::OpenDatabase(database);
  const absl::StatusOr<db::Dsn> dsn = db::ServiceDsn(database);
  if (!pool.ok() || !dsn.ok()) {
    runtime::Log(runtime::LogLevel::kError, "cannot use the database",
                 {{"error", std::string((pool.ok() ? dsn.status() : pool.status()).message())}});
    return EXIT_FAILURE;
  }
  // Tasks belong to no user, so no method of these services has a question to the database.
  const absl::StatusOr<std::unique_ptr<access::Gatekeeper>> gate =
      access::Gatekeeper::Open(config, nullptr);
  if (!gate.ok()) {
    runtime::Log(runtime::LogLevel::kError, "cannot tell who may call",
                 {{"error", gate.status().message()}});
    return EXIT_FAILURE;
  }
  const auto calls_of = [&](absl::string_view service) {
    return access::CallsThrough(**gate, config, service);
  };

  const std::size_t lane_queue = static_cast<std::size_t>(config.queue) * kLaneQueueFactor;
  db::TaskRepository tasks(**pool);
  db::QueueRepository queues(**pool);
  scheduler::Dispatcher dispatcher(tasks, db::TaskClaimer(*dsn));
  db::ScheduleRepository schedules(**pool);
  scheduler::Ticker ticker({.schedules = schedules, .dispatcher = dispatcher});
  const scheduler::ZoneFollower zone_follower(
      {.schedules = schedules, .tasks = tasks, .dispatcher = dispatcher});
  // Before the lanes and the executor, which speak to it.
  scheduler::EndWatch end_watch(tasks, {.on_ended = [&] { ticker.TasksEnded(); }});
  const scheduler::Reaper reaper(
      {.tasks = tasks, .queues = queues, .dispatcher = dispatcher},
      {.history_days = std::stoi(history_days), .dead_days = std::stoi(dead_days)});
  const db::Listener listener(*dsn, db::kTaskChannel,
                              [&](absl::string_view queue) { dispatcher.Hint(queue); });
  runtime::Executor executor({.threads = static_cast<std::size_t>(config.workers),
                              .queue = static_cast<std::size_t>(config.queue)});
  runtime::CallPipeline scheduler_calls(calls_of("parley.scheduler.v1.SchedulerService"), executor);
  runtime::CallPipeline worker_calls(calls_of("parley.scheduler.v1.WorkerService"), executor);
  runtime::CallPipeline queue_calls(calls_of("parley.scheduler.v1.QueueService"), executor);
  runtime::CallPipeline schedule_calls(calls_of("parley.scheduler.v1.ScheduleService"), executor);
  db::TaskCreator creator(*dsn, {.queue = lane_queue});
  db::KeyedTaskCreator keyed_creator(**pool);
  db::TaskAcker acker(
      *dsn, {.on_ended = [&](const auto& ids) { end_watch.TasksEnded(ids); },
             .on_room = [&](absl::string_view queue) { dispatcher.QueueChanged(queue); }});
  const scheduler::WorkerParts workers = {.tasks = tasks,
                                          .acker = acker,
                                          .dispatcher = dispatcher,
                                          .end_watch = end_watch,
                                          .executor = executor};
  scheduler::WorkHub hub(workers, config.max_connection_age);
  db::PushRepository pushes(**pool);
  const scheduler::PushTargets push_targets = *scheduler::ParsePushTargets(targets);
  scheduler::PushHub push_hub({.tasks = tasks,
                               .pushes = pushes,
                               .acker = acker,
                               .dispatcher = dispatcher,
                               .end_watch = end_watch},
                              push_targets, config.drain_grace);
  scheduler::SchedulerService scheduler_service(scheduler_calls,
                                                {.tasks = tasks,
                                                 .creator = creator,
                                                 .keyed_creator = keyed_creator,
                                                 .dispatcher = dispatcher,
                                                 .end_watch = end_watch,
                                                 .executor = executor,
                                                 .default_zone = time_zone,
                                                 .on_cancel_requested = [&] { hub.Hint(); }});
  scheduler::ScheduleService schedule_service(schedule_calls, {.schedules = schedules,
                                                               .ticker = ticker,
                                                               .dispatcher = dispatcher,
                                                               .default_zone = time_zone});
  scheduler::WorkerService worker_service(worker_calls, workers, hub);
  scheduler::QueueService queue_service(queue_calls, {.queues = queues,
                                                      .dispatcher = dispatcher,
                                                      .targets = push_targets,
                                                      .on_change = [&] { push_hub.Hint(); }});

  jobs::DatabaseProbe probe(**pool, {.tables = {"tasks", "dead_tasks", "task_keys", "queues",
                                                "queue_counters", "schedules"},
                                     .watches_tasks = true});
  runtime::Metrics metrics;
  executor.AddTo(metrics, "calls");
  jobs::AddPool(metrics, **pool);
  probe.AddTo(metrics);
  jobs::AddLane(metrics, "create", creator.lane());
  jobs::AddLane(metrics, "ack", acker.lane());
  metrics.AddGauge({"parley_work_streams", "Workers that have a Work stream."},
                   [&] { return static_cast<double>(hub.streams()); });
  metrics.AddGauge({"parley_parked_leases", "Calls, and Work streams, that wait for tasks."},
                   [&] { return static_cast<double>(dispatcher.parked()); });
  metrics.AddHistogram({"parley_task_lateness_seconds",
                        "How long after its time a task was leased, by the database's clock."},
                       dispatcher.task_lateness());
  scheduler_calls.metrics().AddTo(metrics);
  worker_calls.metrics().AddTo(metrics);
  queue_calls.metrics().AddTo(metrics);
  schedule_calls.metrics().AddTo(metrics);
  return runtime::Host(
             {.listen = config.listen,
              .admin_listen = config.admin_listen,
              .metrics = metrics,
              .transport = config.transport,
              .drain_delay = config.drain_delay,
              .drain_grace = config.drain_grace,
              .keepalive = config.keepalive,
              .max_connection_age = config.max_connection_age,
              .max_deadline = config.max_deadline,
              .ready = [&] { return probe.Ask(); },
              .refuse_streams = [&] { hub.RefuseNew(); },
              .end_streams =
                  [&] {
                    dispatcher.Drain();
                    hub.Drain();
                    end_watch.Drain();
                  }},
             {&scheduler_service, &schedule_service, &worker_service, &queue_service},
             {"parley.scheduler.v1.SchedulerService", "parley.scheduler.v1.ScheduleService",
              "parley.scheduler.v1.WorkerService", "parley.scheduler.v1.QueueService"})
      .Run();
}
