// NOTIFY: hints for other processes on the same database that something has changed.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/core/session_pool.h"

namespace parley::db {

// Tells all who listen on a channel which ids have changed: at most one transaction in 20 ms,
// however many ids there were, on a thread and a connection of its own. A hint may be lost; who
// listens must also look for itself now and then. Thread-safe.
class Notifier {
 public:
  // Starts the thread. `pool` must outlive the notifier.
  Notifier(SessionPool& pool, std::string channel);
  ~Notifier();  // sends what is left, then ends the thread

  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  // The change of `id` is committed. Never blocks for long.
  void Notify(std::int64_t id);

 private:
  void Run();
  void Send(const std::set<std::int64_t>& ids);

  SessionPool& pool_;
  const std::string channel_;
  Mutex mutex_;
  CondVar wake_;
  std::set<std::int64_t> ids_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // the last member: it uses all others
};

// The ids in a notification; none if it means that anything may have changed.
std::vector<std::int64_t> IdsOfHint(absl::string_view payload);

}  // namespace parley::db
