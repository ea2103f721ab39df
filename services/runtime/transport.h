// What calls travel through: plain TCP, or TLS with certificates that may be replaced while the
// server runs.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::runtime {

struct TransportOptions {
  std::string cert_file;       // PEM, the chain; empty: plain TCP
  std::string key_file;        // PEM
  std::string client_ca_file;  // PEM; if set, callers must show a certificate that it vouches for
};

// Whether `listen`, host:port, can be reached from this machine only: 127.0.0.0/8, [::1],
// localhost.
bool IsLoopback(absl::string_view listen);

// TLS 1.2 or later. The files are looked at every few seconds; what is read anew counts for new
// connections, and those that are open go on. A key that does not fit its certificate would fail
// all handshakes, so the two should be replaced together: by renaming a directory, or a link to it.
// Fails if a file cannot be read or the key does not fit.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(
    const TransportOptions& options);

}  // namespace parley::runtime
