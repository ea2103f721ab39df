// The floor under every rate: a server like Parley's that does no work.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace parley::bench {

// Keeps the bytes of the page that the server at `target` lists for a chat, its newest `limit`
// messages, in a file. Any error of the call, or of the file.
struct CaptureOptions {
  std::string target;
  std::string file;
  std::int64_t chat = 1;
  std::int32_t limit = 20;
};
absl::Status Capture(const CaptureOptions& options);

// Serves ListMessages until SIGTERM or SIGINT, on the same host, and thus with the same settings,
// as Parley's servers; the answer is always what the file holds, sent from gRPC's thread without a
// look at the request. Returns the exit code of the process.
int ServeEcho(const std::string& listen, const std::string& file);

}  // namespace parley::bench
