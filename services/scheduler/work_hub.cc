#include "services/scheduler/work_hub.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace parley::scheduler {
namespace {

constexpr std::size_t kOrphansAtOnce = 500;
constexpr absl::Duration kCompareInterval = absl::Seconds(1);
constexpr absl::Duration kComparePatience = absl::Seconds(5);

}  // namespace

WorkHub::WorkHub(const WorkerParts& parts) : parts_(parts), thread_([this] { Run(); }) {}

WorkHub::~WorkHub() {
  Drain();
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  thread_.join();
}

void WorkHub::Welcome(std::shared_ptr<runtime::DuplexStream> stream) {
  const auto forget = [this](WorkSession* over) {
    Session gone;  // let go of outside the lock
    MutexLock lock(mutex_);
    const auto found = sessions_.find(over);
    if (found == sessions_.end()) return;
    gone = std::move(found->second);
    sessions_.erase(found);
  };
  const auto session = std::make_shared<WorkSession>(
      std::move(stream), parts_, WorkSession::Hub{forget, [this](std::vector<AttemptEnd> ends) {
                                                    EndLater(std::move(ends));
                                                  }});
  bool draining = false;
  {
    MutexLock lock(mutex_);
    sessions_[session.get()] = session;
    draining = draining_;
  }
  session->Begin();
  if (draining) session->Drain();
}

void WorkHub::Hint() {
  MutexLock lock(mutex_);
  hinted_ = true;
  wake_.NotifyAll();
}

void WorkHub::Drain() {
  {
    MutexLock lock(mutex_);
    draining_ = true;
  }
  for (const Session& session : Sessions()) session->Drain();
}

std::vector<WorkHub::Session> WorkHub::Sessions() {
  std::vector<Session> sessions;
  MutexLock lock(mutex_);
  for (const auto& [key, session] : sessions_) sessions.push_back(session);
  return sessions;
}

void WorkHub::Run() {
  while (WaitForNext()) {
    EndOrphans();
    Compare();
    for (const Session& session : Sessions()) session->Ask();
  }
  EndOrphans();
}

void WorkHub::EndLater(std::vector<AttemptEnd> ends) {
  MutexLock lock(mutex_);
  orphans_.insert(orphans_.end(), ends.begin(), ends.end());
  hinted_ = true;
  wake_.NotifyAll();
}

void WorkHub::EndOrphans() {
  while (true) {
    std::vector<AttemptEnd> ends;
    {
      MutexLock lock(mutex_);
      const std::size_t count = std::min(orphans_.size(), kOrphansAtOnce);
      ends.assign(orphans_.end() - static_cast<std::ptrdiff_t>(count), orphans_.end());
      orphans_.resize(orphans_.size() - count);
    }
    if (ends.empty()) return;
    const auto moved = parts_.tasks.EndAttempts(ends, absl::Now() + kComparePatience);
    if (!moved.ok()) {
      // With the next round; by then their leases may have run out, which ends them too.
      MutexLock lock(mutex_);
      orphans_.insert(orphans_.end(), ends.begin(), ends.end());
      return;
    }
    parts_.dispatcher.TasksMoved(*moved);
  }
}

bool WorkHub::WaitForNext() {
  const absl::Time next = absl::Now() + kCompareInterval;
  MutexLock lock(mutex_);
  while (!stopping_ && !hinted_ && absl::Now() < next) wake_.WaitUntil(mutex_, next);
  hinted_ = false;
  return !stopping_;
}

void WorkHub::Compare() {
  using Held = std::map<std::int64_t, std::string>;
  std::vector<std::pair<Session, Held>> asked;
  std::vector<std::int64_t> ids;
  for (const Session& session : Sessions()) {
    Held held = session->Held();
    if (held.empty()) continue;
    for (const auto& [id, token] : held) ids.push_back(id);
    asked.emplace_back(session, std::move(held));
  }
  if (ids.empty()) return;
  const auto running = parts_.tasks.FindRunning(ids, absl::Now() + kComparePatience);
  if (!running.ok()) return;  // the dispatcher tells of an outage
  for (const auto& [session, held] : asked) session->Compare(held, *running);
}

}  // namespace parley::scheduler
