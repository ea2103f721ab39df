// What a server can be told, in one table: each option is a flag and an environment variable.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "services/runtime/transport.h"

namespace parley::runtime {

// Who may call. Everybody, if neither file is given.
struct AccessConfig {
  std::string callers_file;  // --auth-callers, PARLEY_AUTH_CALLERS: who has which certificate
  std::string jwks_file;     // --auth-jwks, PARLEY_AUTH_JWKS: public keys of bearer tokens
  std::string issuer;        // --auth-issuer, PARLEY_AUTH_ISSUER
  std::string audience;      // --auth-audience, PARLEY_AUTH_AUDIENCE
  std::vector<std::string> algorithms;  // --auth-algorithms, PARLEY_AUTH_ALGORITHMS
  absl::Duration clock_skew;            // --auth-clock-skew, PARLEY_AUTH_CLOCK_SKEW
};

// What one caller may take of one process; 0: as much as it likes.
struct LimitsConfig {
  std::int32_t calls = 10000;    // --caller-calls, PARLEY_CALLER_CALLS: in flight
  std::int32_t streams = 10000;  // --caller-streams, PARLEY_CALLER_STREAMS: in flight
  std::int32_t rate = 10000;     // --caller-rate, PARLEY_CALLER_RATE: calls a second of each scope
};

// The options that every server has. Flags win over the environment, the environment over defaults.
struct Config {
  std::string listen;        // --listen, PARLEY_LISTEN: host:port
  std::string admin_listen;  // --admin-listen, PARLEY_ADMIN_LISTEN: host:port; empty: none
  // --tls-cert, --tls-key, --tls-client-ca, PARLEY_TLS_CERT...: files in PEM
  TransportOptions transport;
  AccessConfig access;
  LimitsConfig limits;
  std::string
      database_url;    // --database-url, PARLEY_DATABASE_URL: libpq URI or key=value; a secret
  std::string pooler;  // --pooler, PARLEY_POOLER: none, session or transaction
  std::int32_t workers = 4;         // --workers, PARLEY_WORKERS: threads, and so connections
  std::int32_t queue = 200;         // --queue, PARLEY_QUEUE: calls that may wait for a worker
  absl::Duration default_deadline;  // --default-deadline, PARLEY_DEFAULT_DEADLINE
  absl::Duration max_deadline;      // --max-deadline, PARLEY_MAX_DEADLINE
  absl::Duration database_wait;  // --database-wait, PARLEY_DATABASE_WAIT: at start, for the server
  absl::Duration drain_delay;    // --drain-delay, PARLEY_DRAIN_DELAY: NOT_SERVING, still accepting
  absl::Duration drain_grace;    // --drain-grace, PARLEY_DRAIN_GRACE: for calls to finish
  absl::Duration keepalive;      // --keepalive, PARLEY_KEEPALIVE: until a silent caller is asked
  // --max-connection-age, PARLEY_MAX_CONNECTION_AGE: until callers are asked to connect anew
  absl::Duration max_connection_age;
  std::string log_level;  // --log-level, PARLEY_LOG_LEVEL: debug, info, warn, error
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
// it with 2 after a line on standard error that names the option. So does what nobody should run by
// accident: an address that others can reach, without TLS or for everybody, unless
// --insecure-listen says that this is meant. Call it first in main, on one thread.
Config ParseConfigOrExit(int argc, char** argv, absl::string_view program,
                         const DefaultAddresses& addresses,
                         const std::vector<ExtraOption>& extra = {});

}  // namespace parley::runtime
