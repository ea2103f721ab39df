#include "services/scheduler/work_hub.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/random/random.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/error.h"

namespace parley::scheduler {
namespace {

constexpr std::size_t kOrphansAtOnce = 500;
constexpr absl::Duration kCompareInterval = absl::Seconds(1);
constexpr absl::Duration kComparePatience = absl::Seconds(5);

}  // namespace

WorkHub::WorkHub(const WorkerParts& parts, absl::Duration max_age)
    : parts_(parts), max_age_(max_age), thread_([this] { Run(); }) {}

WorkHub::~WorkHub() {
  Drain();
  std::map<WorkSession*, Served> left;  // let go of outside the lock
  {
    MutexLock lock(state_->mutex);
    state_->stopping = true;
    left.swap(state_->sessions);
    state_->wake.NotifyAll();
  }
  thread_.join();
}

void WorkHub::State::Forget(WorkSession* over) {
  Served gone;  // let go of outside the lock
  MutexLock lock(mutex);
  const auto found = sessions.find(over);
  if (found == sessions.end()) return;
  gone = std::move(found->second);
  sessions.erase(found);
}

void WorkHub::State::EndLater(const std::vector<AttemptEnd>& ends) {
  MutexLock lock(mutex);
  orphans.insert(orphans.end(), ends.begin(), ends.end());
  hinted = true;
  wake.NotifyAll();
}

void WorkHub::Welcome(const std::shared_ptr<runtime::DuplexStream>& stream) {
  const auto session = std::make_shared<WorkSession>(
      stream, parts_,
      WorkSession::Hub{
          .on_over = [state = state_](WorkSession* over) { state->Forget(over); },
          .end_later =
              [state = state_](const std::vector<AttemptEnd>& ends) { state->EndLater(ends); }});
  bool draining = false;
  {
    MutexLock lock(state_->mutex);
    draining = state_->draining;
    if (!draining) {
      const absl::Duration age = absl::Uniform(absl::BitGen(), 0.9, 1.0) * max_age_;
      state_->sessions[session.get()] = {session, SteadyNow() + age};
    }
  }
  if (!draining) return session->Begin();
  stream->End(Error(absl::StatusCode::kUnavailable, reason::kDraining,
                    "the server is going down; work for another"));
}

void WorkHub::RefuseNew() {
  MutexLock lock(state_->mutex);
  state_->draining = true;
}

void WorkHub::Hint() {
  MutexLock lock(state_->mutex);
  state_->hinted = true;
  state_->wake.NotifyAll();
}

std::size_t WorkHub::streams() {
  MutexLock lock(state_->mutex);
  return state_->sessions.size();
}

void WorkHub::Drain() {
  RefuseNew();
  for (const Session& session : Sessions()) session->Drain();
}

std::vector<WorkHub::Session> WorkHub::Sessions() {
  std::vector<Session> sessions;
  MutexLock lock(state_->mutex);
  for (const auto& [key, served] : state_->sessions) sessions.push_back(served.session);
  return sessions;
}

void WorkHub::Run() {
  while (WaitForNext()) {
    EndOrphans();
    Compare();
    DrainOld();
    for (const Session& session : Sessions()) session->Ask();
  }
  EndOrphans();
}

void WorkHub::EndOrphans() {
  while (true) {
    std::vector<AttemptEnd> ends;
    {
      MutexLock lock(state_->mutex);
      std::vector<AttemptEnd>& orphans = state_->orphans;
      const std::size_t count = std::min(orphans.size(), kOrphansAtOnce);
      ends.assign(orphans.end() - static_cast<std::ptrdiff_t>(count), orphans.end());
      orphans.resize(orphans.size() - count);
    }
    if (ends.empty()) return;
    const auto moved = parts_.tasks.EndAttempts(ends, SteadyNow() + kComparePatience);
    if (!moved.ok()) {
      // With the next round; by then their leases may have run out, which ends them too.
      MutexLock lock(state_->mutex);
      state_->orphans.insert(state_->orphans.end(), ends.begin(), ends.end());
      return;
    }
    parts_.dispatcher.TasksMoved(*moved);
  }
}

bool WorkHub::WaitForNext() {
  const absl::Time next = SteadyNow() + kCompareInterval;
  MutexLock lock(state_->mutex);
  while (!state_->stopping && !state_->hinted && SteadyNow() < next)
    state_->wake.WaitUntil(state_->mutex, next);
  state_->hinted = false;
  return !state_->stopping;
}

void WorkHub::DrainOld() {
  std::vector<Session> old;
  {
    const absl::Time now = SteadyNow();
    MutexLock lock(state_->mutex);
    for (auto& [key, served] : state_->sessions) {
      if (served.drain_at > now) continue;
      old.push_back(served.session);
      served.drain_at = absl::InfiniteFuture();
    }
  }
  for (const Session& session : old) session->Drain();
}

void WorkHub::Compare() {
  std::vector<std::pair<Session, WorkSession::Tokens>> asked;
  std::vector<std::int64_t> ids;
  for (const Session& session : Sessions()) {
    WorkSession::Tokens held = session->Held();
    if (held.empty()) continue;
    for (const auto& [id, token] : held) ids.push_back(id);
    asked.emplace_back(session, std::move(held));
  }
  if (ids.empty()) return;
  const auto running = parts_.tasks.FindRunning(ids, SteadyNow() + kComparePatience);
  if (!running.ok()) return;  // the dispatcher tells of an outage
  for (const auto& [session, held] : asked) session->Compare(held, *running);
}

}  // namespace parley::scheduler
