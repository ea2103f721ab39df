#include "services/message/watch_hub.h"

#include <algorithm>
#include <string>

#include "absl/random/random.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "services/runtime/log.h"

namespace parley::message {
namespace {

constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(1);

absl::Status Draining() {
  return Error(absl::StatusCode::kUnavailable, reason::kDraining,
               "the server is going down; resume the watch at another");
}

absl::Status TooOld() {
  return Error(absl::StatusCode::kUnavailable, reason::kStreamTooOld,
               "the watch has lasted for long; resume it, here or at another");
}

absl::Status Full() {
  return WithRetryDelay(Error(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                              "this process has no room for more watches; try another"),
                        absl::Seconds(1));
}

}  // namespace

bool WatchHub::Inbox::empty() const {
  return openings.empty() && over.empty() && with_room.empty() && changed.empty() &&
         hinted.empty() && users.empty() && !all_chats && !all_users && !stop;
}

WatchHub::WatchHub(db::EventRepository& events, db::Notifier& notifier, Options options)
    : events_(events),
      notifier_(notifier),
      options_(options),
      reader_([this] { Read(); }),
      beat_([this] { Beat(); }) {}

WatchHub::~WatchHub() {
  Drain();
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    inbox_.stop = true;
  }
  wake_reader_.NotifyOne();
  wake_beat_.NotifyOne();
  reader_.join();
  beat_.join();
}

void WatchHub::Open(WatchDemand demand, const std::shared_ptr<runtime::Stream>& stream) {
  const absl::Duration age = absl::Uniform(absl::BitGen(), 0.9, 1.0) * options_.max_age;
  const auto watch = std::make_shared<Watch>(Watch::Options{.user_id = demand.user_id,
                                                            .heartbeat = demand.heartbeat,
                                                            .max_queued = options_.max_queued,
                                                            .move_at = SteadyNow() + age},
                                             stream);
  WatchId id = 0;
  absl::Status refused;
  {
    MutexLock lock(mutex_);
    if (draining_) {
      refused = Draining();
    } else if (watches_.size() >= options_.max_watches) {
      refused = Full();
    } else {
      id = ++last_id_;
      watches_[id] = watch;
      beats_.emplace(std::min(SteadyNow() + demand.heartbeat, watch->move_at()), id);
    }
  }
  if (!refused.ok()) return stream->End(refused);
  wake_beat_.NotifyOne();
  stream->Attach({.on_room =
                      [this, id, watch] {
                        if (watch->OnRoom()) Room(id);
                      },
                  .on_over = [this, id] { Over(id); }});
  {
    MutexLock lock(mutex_);
    if (!watches_.contains(id)) return;  // over already
    inbox_.openings.push_back({id, std::move(demand), watch});
  }
  wake_reader_.NotifyOne();
}

std::size_t WatchHub::watches() {
  MutexLock lock(mutex_);
  return watches_.size();
}

void WatchHub::Changed(std::int64_t chat_id) {
  notifier_.Notify(chat_id);
  {
    MutexLock lock(mutex_);
    if (watches_.empty()) return;
    inbox_.changed.insert(chat_id);
  }
  wake_reader_.NotifyOne();
}

void WatchHub::HintChats(absl::string_view payload) {
  const std::vector<std::int64_t> ids = db::IdsOfHint(payload);
  {
    MutexLock lock(mutex_);
    if (watches_.empty()) return;
    inbox_.hinted.insert(ids.begin(), ids.end());
    if (ids.empty()) inbox_.all_chats = true;
  }
  wake_reader_.NotifyOne();
}

void WatchHub::HintMembers(absl::string_view payload) {
  const std::vector<std::int64_t> ids = db::IdsOfHint(payload);
  {
    MutexLock lock(mutex_);
    if (watches_.empty()) return;
    inbox_.users.insert(ids.begin(), ids.end());
    if (ids.empty()) inbox_.all_users = true;
  }
  wake_reader_.NotifyOne();
}

void WatchHub::RefuseNew() {
  MutexLock lock(mutex_);
  draining_ = true;
}

void WatchHub::Drain() {
  RefuseNew();
  std::vector<std::shared_ptr<Watch>> watches;
  {
    MutexLock lock(mutex_);
    for (const auto& [id, watch] : watches_) watches.push_back(watch);
  }
  for (const std::shared_ptr<Watch>& watch : watches) watch->SendHome(Draining());
}

void WatchHub::Room(WatchId id) {
  {
    MutexLock lock(mutex_);
    inbox_.with_room.push_back(id);
  }
  wake_reader_.NotifyOne();
}

void WatchHub::Over(WatchId id) {
  // The last notification is sent under the lock: when the last stream is over, the hub may go.
  MutexLock lock(mutex_);
  watches_.erase(id);
  inbox_.over.push_back(id);
  wake_reader_.NotifyOne();
}

void WatchHub::Read() {
  while (Collect()) {
    if (SteadyNow() >= attempt_at_) NoteOutcome(Work());
  }
}

bool WatchHub::Collect() {
  Inbox inbox;
  {
    MutexLock lock(mutex_);
    while (inbox_.empty()) {
      const absl::Time next = NextWork();
      if (SteadyNow() >= next) break;
      wake_reader_.WaitUntil(mutex_, next);
    }
    std::swap(inbox, inbox_);
  }
  for (Opening& opening : inbox.openings) openings_.push_back(std::move(opening));
  for (const WatchId id : inbox.over) Forget(id);
  for (const WatchId id : inbox.with_room) QueueBehind(id);
  for (const std::int64_t chat_id : inbox.changed) {
    if (chats_.contains(chat_id)) to_read_.insert(chat_id);
  }
  for (const std::int64_t chat_id : inbox.hinted) {
    if (chats_.contains(chat_id)) to_look_at_.insert(chat_id);
  }
  for (const std::int64_t user_id : inbox.users) {
    if (users_.contains(user_id)) to_refresh_.insert(user_id);
  }
  if (inbox.all_chats) look_at_ = absl::InfinitePast();
  if (inbox.all_users) members_at_ = absl::InfinitePast();
  return !inbox.stop;
}

absl::Time WatchHub::NextWork() const {
  absl::Time next = absl::InfiniteFuture();
  if (!openings_.empty() || !to_look_at_.empty() || !to_refresh_.empty() || !behind_.empty()) {
    next = absl::InfinitePast();
  }
  if (!to_read_.empty()) next = std::min(next, read_at_);
  if (!chats_.empty()) next = std::min(next, look_at_);
  if (!users_.empty()) next = std::min(next, members_at_);
  return std::max(next, attempt_at_);
}

absl::Status WatchHub::Work() {
  PARLEY_RETURN_IF_ERROR(OpenAll());
  PARLEY_RETURN_IF_ERROR(RefreshMembers());
  PARLEY_RETURN_IF_ERROR(Look());
  PARLEY_RETURN_IF_ERROR(ReadLive());
  return ReadBehind();
}

void WatchHub::NoteOutcome(const absl::Status& status) {
  const bool was_out = std::exchange(out_, !status.ok());
  // Logged once when it begins and once when it ends, not for every attempt.
  if (status.ok()) {
    if (was_out) runtime::Log(runtime::LogLevel::kInfo, "watching goes on");
    pause_ = absl::ZeroDuration();
    attempt_at_ = absl::InfinitePast();
    return;
  }
  if (!was_out) {
    runtime::Log(runtime::LogLevel::kWarn, "watching waits for the database",
                 {{"error", std::string(status.message())}});
  }
  pause_ = std::clamp(pause_ * 2, kFirstPause, kLongestPause);
  attempt_at_ = SteadyNow() + pause_;
}
void WatchHub::Beat() {
  WatchId id = 0;
  while (const std::shared_ptr<Watch> watch = NextBeat(id)) {
    const absl::Time now = SteadyNow();
    if (now >= watch->move_at()) {
      watch->SendHome(TooOld());
      continue;
    }
    const absl::Time next = std::min(watch->Beat(now), watch->move_at());
    MutexLock lock(mutex_);
    beats_.emplace(next, id);
  }
}

std::shared_ptr<Watch> WatchHub::NextBeat(WatchId& id) {
  MutexLock lock(mutex_);
  while (!stopping_) {
    if (beats_.empty() || beats_.begin()->first > SteadyNow()) {
      wake_beat_.WaitUntil(mutex_, beats_.empty() ? absl::InfiniteFuture() : beats_.begin()->first);
      continue;
    }
    id = beats_.begin()->second;
    beats_.erase(beats_.begin());
    if (const auto watch = watches_.find(id); watch != watches_.end()) return watch->second;
  }
  return nullptr;
}

}  // namespace parley::message
