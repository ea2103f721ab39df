// How a service comes to its database: waits for the server, checks the schema, makes the pool.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/core/dsn.h"
#include "db/core/session_pool.h"

namespace parley::db {

struct OpenOptions {
  std::string url;               // a libpq URI or key=value pairs
  std::string application;       // what the server's views show, for example "parley-chatd"
  std::int32_t connections = 4;  // at most
  Pooler pooler = Pooler::kNone;
  absl::Duration wait = absl::Seconds(30);  // for the server to answer; zero tries once
};

// `url` with what a service wants of every connection, unless it says otherwise: the application's
// name, a short connect timeout, UTF-8, UTC, and quick notice of a peer that is gone.
absl::StatusOr<Dsn> ServiceDsn(const OpenOptions& options);

// Blocks for `wait` and one connect timeout at most.
//   INVALID_ARGUMENT      the url is none
//   UNAVAILABLE           no connection within `wait`, whatever the cause: a server that starts, a
//                         database or role that is yet to be made; the text is libpq's last
//   FAILED_PRECONDITION   the schema is behind or ahead (schema_check.h)
absl::StatusOr<std::unique_ptr<SessionPool>> OpenDatabase(const OpenOptions& options);

}  // namespace parley::db
