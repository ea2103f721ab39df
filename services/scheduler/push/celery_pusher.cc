#include "services/scheduler/push/celery_pusher.h"

#include <utility>

#include "base/clock.h"
#include "base/status_macros.h"
#include "services/celery/celery_message.h"

namespace parley::scheduler {
namespace {

using celery::HandoffOutcome;

constexpr std::int32_t kPushAtOnce = 200;
// How often a target is looked at that nothing is pushed to.
constexpr absl::Duration kCheckInterval = absl::Seconds(5);
constexpr char kInDoubtError[] =
    "the broker went away before it had confirmed the message; it may have it";

}  // namespace

CeleryPusher::CeleryPusher(const PushParts& parts, CeleryQueue queue,
                           std::shared_ptr<HandoffKeeper> keeper)
    : parts_(parts),
      queue_(std::move(queue)),
      settler_(parts_, stop_),
      inbox_(parts_.dispatcher, {.queue = queue_.queue,
                                 .lease_duration = CeleryLease(queue_),
                                 .token_prefix = PlaceOf(queue_).token_prefix}),
      keeper_(std::move(keeper)),
      celery_(MakeCeleryParts(queue_)),
      outage_(queue_.queue, queue_.target),
      thread_([this] { Run(); }) {}

CeleryPusher::~CeleryPusher() {
  Stop(absl::InfinitePast());
  thread_.join();
  if (keeper_ != nullptr) keeper_->NoteBusy();
}

void CeleryPusher::Stop(absl::Time /*finish_by*/) {
  stop_.Stop();
  inbox_.Wake();
}

void CeleryPusher::Run() {
  bool refused = false;  // it answered, and took nothing
  while (!stop_.stopped()) {
    absl::Status status = Check();
    absl::Time wait_until = SteadyNow() + kCheckInterval;
    if (status.ok()) {
      if (!refused) outage_.End();
      // After an outage one task goes ahead.
      inbox_.Ask(outage_.is_on() ? 1 : kPushAtOnce);
    } else {
      inbox_.Unask();
      wait_until = SteadyNow() + outage_.Note(status);
    }
    const std::optional<LeasedTasks> leased = inbox_.Wait(wait_until);
    if (!leased.has_value()) continue;
    // Tasks may have been long in coming. What is not sent now is not in doubt.
    if (status.ok()) status = Check();
    if (status.ok()) {
      status = Push(*leased);
      refused = !status.ok();
    } else {
      Release(*leased);
    }
    if (status.ok()) {
      outage_.End();
    } else {
      stop_.SleepFor(outage_.Note(status));
    }
  }
  if (const std::optional<LeasedTasks> left = inbox_.Close()) Release(*left);
}

absl::Status CeleryPusher::Check() {
  PARLEY_RETURN_IF_ERROR(celery_.broker->Check(queue_.delivery.queue));
  return celery_.results.has_value() ? celery_.results->Check() : absl::OkStatus();
}

void CeleryPusher::Release(const LeasedTasks& leased) {
  std::vector<AttemptEnd> ends;
  for (const Task& task : leased.tasks) {
    ends.push_back({.lease = {task.id, leased.token}, .kind = AttemptEnd::Kind::kReleased});
  }
  settler_.End(std::move(ends));
}

absl::Status CeleryPusher::Push(const LeasedTasks& leased) {
  Batch batch = Prepare(leased);
  std::vector<HandoffOutcome> outcomes(batch.handoffs.size());  // not taken
  absl::Status ready;
  if (!outcomes.empty() && celery_.results.has_value()) {
    // What earlier attempts have left, which had the same id, must not be taken for this one's.
    std::vector<std::string> ids;
    for (const celery::Handoff& handoff : batch.handoffs) ids.push_back(handoff.message.id);
    ready = celery_.results->Forget(ids);
  }
  if (!outcomes.empty() && ready.ok()) outcomes = celery_.broker->Push(batch.handoffs);
  const absl::Status taken = Conclude(std::move(batch), outcomes);
  return ready.ok() ? taken : ready;
}

CeleryPusher::Batch CeleryPusher::Prepare(const LeasedTasks& leased) const {
  Batch batch;
  for (const Task& task : leased.tasks) {
    const LeaseKey lease = {task.id, leased.token};
    absl::StatusOr<celery::CeleryMessage> message = celery::MessageOf(task, queue_.delivery.queue);
    if (!message.ok()) {
      batch.ends.push_back({.lease = lease,
                            .kind = AttemptEnd::Kind::kFailedForGood,
                            .error = std::string(message.status().message())});
      continue;
    }
    if (!queue_.is_redis()) {
      message->priority = task.priority;
    } else if (queue_.delivery.redis_priorities) {
      message->priority = celery::RedisPriority(task.priority);
    }
    batch.handoffs.push_back({*std::move(message), HandoffKey(lease)});
    batch.tasks.push_back({.lease = lease,
                           .create_time = task.create_time,
                           .may_expire = task.expire_time.has_value()});
  }
  return batch;
}

absl::Status CeleryPusher::Conclude(Batch batch, const std::vector<HandoffOutcome>& outcomes) {
  std::vector<db::PushedTask> accepted;
  std::vector<db::TaskAck> acks;
  std::vector<std::string> keys;  // of those that are accepted
  absl::Status status;
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    const LeaseKey& lease = batch.tasks[i].lease;
    switch (outcomes[i].kind) {
      case HandoffOutcome::Kind::kAccepted:
        acks.push_back({lease.task_id, lease.token, ""});
        keys.push_back(batch.handoffs[i].key);
        accepted.push_back(batch.tasks[i]);
        continue;
      case HandoffOutcome::Kind::kWithdrawn:
        continue;  // whoever has withdrawn it releases the task
      case HandoffOutcome::Kind::kNotTaken:
        batch.ends.push_back({.lease = lease, .kind = AttemptEnd::Kind::kReleased});
        break;
      case HandoffOutcome::Kind::kInDoubt:
        if (queue_.has_ledger()) break;  // the keeper finds out
        batch.ends.push_back({.lease = lease, .error = kInDoubtError});
        break;
    }
    if (status.ok()) status = absl::UnavailableError(outcomes[i].error);
  }
  if (queue_.tracks()) {
    keeper_->Track(std::move(accepted));
  } else if (settler_.Ack(acks) && queue_.has_ledger() && !keys.empty()) {
    // Nobody can have anything to do with these any more.
    (void)celery_.ledger->Settle(keys, absl::ZeroDuration());
  }
  settler_.End(std::move(batch.ends));
  return status;
}

}  // namespace parley::scheduler
