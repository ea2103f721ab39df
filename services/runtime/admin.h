// The admin port: what Prometheus scrapes, and health for those who cannot speak gRPC.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace parley::runtime {

// Answers GET and HEAD over HTTP/1.1, one request a connection:
//   /metrics  the text of Prometheus's exposition format
//   /healthz  200: the process is alive, whatever its database does
//   /readyz   200 if it would say SERVING over gRPC, otherwise 503
// One thread serves all connections without ever waiting for one. A client has ten seconds for its
// request and the answer together, and there are at most 64 at a time; so neither slow clients nor
// many of them keep the others, or the end, waiting. No TLS and no authentication: it shows
// numbers, and names of methods and tables, and is for the inside of a network.
class AdminServer {
 public:
  struct Options {
    std::string listen;  // host:port; port 0 takes a free one
    // Both are called on the server's thread, and must not block.
    std::function<std::string()> metrics;
    std::function<bool()> is_ready;
  };

  // INVALID_ARGUMENT, UNAVAILABLE: the address cannot be found, or bound.
  static absl::StatusOr<std::unique_ptr<AdminServer>> Start(Options options);
  ~AdminServer();  // hangs up on everybody

  AdminServer(const AdminServer&) = delete;
  AdminServer& operator=(const AdminServer&) = delete;

  // Where it listens, with the port that was taken.
  const std::string& address() const;

 private:
  class Listener;
  explicit AdminServer(std::unique_ptr<Listener> listener);

  const std::unique_ptr<Listener> listener_;
};

}  // namespace parley::runtime
