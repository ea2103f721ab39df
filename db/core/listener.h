// LISTEN: hints that something has changed, from other processes on the same database.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/string_view.h"
#include "db/core/dsn.h"

namespace parley::db {

// Listens on one channel over a connection of its own, and connects again when it breaks. A hint
// may be lost or come late: whoever uses it must also look for itself now and then. Through a
// pooler that lends by transaction none ever comes.
class Listener {
 public:
  // `on_notify` is called on the listener's thread with the payload; with an empty one after every
  // (re)connect, because hints may have been missed. It must be quick and not throw.
  Listener(Dsn dsn, std::string channel, std::function<void(absl::string_view payload)> on_notify);
  ~Listener();  // ends the thread

  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

 private:
  void Run();
  bool ListenUntilBroken();             // false: the listener is to end
  bool WaitReadable(int socket) const;  // false: the listener is to end
  bool EndsWithin(int timeout_ms) const;

  const Dsn dsn_;
  const std::string channel_;
  const std::function<void(absl::string_view)> on_notify_;
  int wake_fd_;  // an eventfd; readable once the listener is to end
  std::thread thread_;
};

}  // namespace parley::db
