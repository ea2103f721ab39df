// A gRPC server from start to drained end.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "services/runtime/config.h"
#include "services/runtime/metrics.h"
#include "services/runtime/transport.h"

namespace parley::runtime {

// Call it in main before any thread exists. Blocks SIGTERM, SIGINT and SIGPIPE in the calling
// thread and in all that it starts; Host::Run then takes the signals. And has Abseil's mutexes,
// which gRPC takes some dozen times a call, not look for deadlocks: Debian builds Abseil so that
// they do, which takes a tenth of a call's time.
void PrepareProcess();

// Serves until SIGTERM or SIGINT, and then drains, in six steps:
//   1. the signal is taken by the thread of Run
//   2. health says NOT_SERVING; refuse_streams
//   3. for drain_delay all other calls are still accepted: balancers have yet to see it
//   4. end_streams
//   5. no connection is accepted any more, callers are told to go (GOAWAY), what runs may finish
//      within drain_grace, and is cancelled after it
//   6. Run returns; main's variables end what works behind the calls, then the connections
// A watchdog ends the process at twice the grace, wherever it is.
//
// Until then health ("" and every service name) follows `ready`; "live" is SERVING as long as the
// process is. The admin port (admin.h) is there from before the first call until after the last.
class Host {
 public:
  struct Options {
    std::string listen;
    std::string admin_listen;  // empty: no admin port
    Metrics& metrics;          // what it shows; the host adds its own
    TransportOptions transport;
    absl::Duration drain_delay;
    absl::Duration drain_grace;
    // A connection on which nothing has come for so long gets a ping, and is ended, with all its
    // calls, if there is no answer for as long again: the caller's host may have vanished.
    absl::Duration keepalive = absl::Seconds(20);
    // A connection so old takes no new calls: its caller makes another, perhaps to a server that
    // has come since. gRPC spreads it by a tenth. What runs on it may finish: calls within
    // max_deadline, streams within twice the age, so who keeps one must end it within one.
    absl::Duration max_connection_age = absl::InfiniteDuration();
    absl::Duration max_deadline = absl::Minutes(1);  // no call that is not a stream takes longer
    // Asked every second on a thread of its own; OK means SERVING. May block for about a second.
    std::function<absl::Status()> ready;
    // The second step: from now on, refuse what lasts.
    std::function<void()> refuse_streams = [] {};
    // The fourth: end what lasts, and what waits for long.
    std::function<void()> end_streams = [] {};
  };

  // The services must outlive the host.
  Host(Options options, std::vector<grpc::Service*> services,
       std::vector<std::string> service_names);

  // Returns the exit code of the process: 0 after a drain, 1 if an address could not be bound
  // or the certificates are not usable.
  // Writes one line, message "listening" with the address, when calls are accepted, and one before
  // it, "admin port", with that of the admin port.
  int Run();

 private:
  int Serve();

  const Options options_;
  const std::vector<grpc::Service*> services_;
  const std::vector<std::string> service_names_;
  std::atomic<bool> ready_{false};
};

}  // namespace parley::runtime
