// What a server can be told, in one table: each option is a flag and an environment variable.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace parley::runtime {

// The options that every server has. Flags win over the environment, the environment over defaults.
struct Config {
  std::string listen;        // --listen, PARLEY_LISTEN: host:port
  std::string admin_listen;  // --admin-listen, PARLEY_ADMIN_LISTEN: host:port; empty: none
  std::string
      database_url;  // --database-url, PARLEY_DATABASE_URL: libpq URI or key=value; a secret
  std::int32_t workers = 4;         // --workers, PARLEY_WORKERS: threads, and so connections
  std::int32_t queue = 200;         // --queue, PARLEY_QUEUE: calls that may wait for a worker
  absl::Duration default_deadline;  // --default-deadline, PARLEY_DEFAULT_DEADLINE
  absl::Duration max_deadline;      // --max-deadline, PARLEY_MAX_DEADLINE
  absl::Duration database_wait;  // --database-wait, PARLEY_DATABASE_WAIT: at start, for the server
  absl::Duration drain_delay;    // --drain-delay, PARLEY_DRAIN_DELAY: NOT_SERVING, still accepting
  absl::Duration drain_grace;    // --drain-grace, PARLEY_DRAIN_GRACE: for calls to finish
  absl::Duration keepalive;      // --keepalive, PARLEY_KEEPALIVE: until a silent caller is asked
  std::string log_level;         // --log-level, PARLEY_LOG_LEVEL: debug, info, warn, error
};

// Where a server listens unless it is told.
struct DefaultAddresses {
  std::string listen;
  std::string admin_listen;
};

// An option that only one server has.
struct ExtraOption {
  std::string flag;         // "time-zone"
  std::string environment;  // "TZ"
  std::string help;
  std::string* value;                                // holds the default; receives the value
  std::function<bool(const std::string&)> is_valid;  // asked about what was given
  // Of one that is a secret, and so is never shown: what is wrong with it, or nothing. Asked
  // instead of is_valid, and repeats nothing of it.
  std::function<std::string(const std::string&)> secret_complaint = {};
};

// Parses the command line and the environment. --help prints the table and --print-config the
// values in force (the database's password left out); both end the process with 0, a mistake ends
// it with 2 after a line on standard error that names the option. Call it first in main, on one
// thread.
Config ParseConfigOrExit(int argc, char** argv, absl::string_view program,
                         const DefaultAddresses& addresses,
                         const std::vector<ExtraOption>& extra = {});

}  // namespace parley::runtime
