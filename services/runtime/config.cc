#include "services/runtime/config.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace parley::runtime {
namespace {

constexpr char kNone[] = "none";  // an empty value of a variable is as good as none of it

// Takes "250ms", "10s", "5m"; CLI11 has no durations.
std::string CheckDuration(const std::string& text) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < absl::ZeroDuration() ||
      duration == absl::InfiniteDuration()) {
    return absl::StrCat("'", text, "' is not a duration such as 250ms, 10s or 5m");
  }
  return "";
}

// A deadline of nothing would fail every call.
std::string CheckDeadline(const std::string& text) {
  absl::Duration duration;
  if (absl::ParseDuration(text, &duration) && duration == absl::ZeroDuration()) {
    return absl::StrCat("'", text, "' must be more than nothing");
  }
  return CheckDuration(text);
}

// Takes "host:port"; gRPC would take any number for a port, and listen on another one.
std::string CheckAddress(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  std::uint32_t port = 0;
  constexpr std::uint32_t kMaxPort = 65535;
  if (colon == 0 || colon == std::string::npos ||
      !absl::SimpleAtoi(text.substr(colon + 1), &port) || port > kMaxPort) {
    return absl::StrCat("'", text, "' is not host:port with a port of 0..65535");
  }
  return "";
}

std::string CheckAdminAddress(const std::string& text) {
  return text == kNone ? "" : CheckAddress(text);
}

// Takes algorithms of signatures, separated by commas.
std::string CheckAlgorithms(const std::string& text) {
  for (const absl::string_view name : absl::StrSplit(text, ',')) {
    if (name != "EdDSA" && name != "ES256" && name != "RS256" && name != "HS256") {
      return absl::StrCat("'", name, "' is none of EdDSA, ES256, RS256, HS256");
    }
  }
  return "";
}

// What a database URL may show: not its password, wherever libpq takes one.
std::string HidePassword(const std::string& url) { return url.empty() ? "" : "(set; not shown)"; }

// The table: one row an option.
struct Option {
  std::string flag;
  std::string environment;
  std::string help;
  std::string value = {};                                     // the default, then what is in force
  std::function<std::string(const std::string&)> check = {};  // what is wrong, or nothing
  bool is_secret = false;
  bool is_switch = false;  // takes no value on the command line
  int min = 0, max = 0;    // for numbers
};

std::vector<Option> SecurityOptions() {
  return {
      {.flag = "tls-cert",
       .environment = "PARLEY_TLS_CERT",
       .help = "file with the certificate chain, in PEM; read again when it changes"},
      {.flag = "tls-key",
       .environment = "PARLEY_TLS_KEY",
       .help = "file with the certificate's key, in PEM"},
      {.flag = "tls-client-ca",
       .environment = "PARLEY_TLS_CLIENT_CA",
       .help = "file with the authorities that vouch for callers; each must show a certificate"},
      {.flag = "insecure-listen",
       .environment = "PARLEY_INSECURE_LISTEN",
       .help = "allow an address that others can reach without TLS, or for everybody",
       .value = "false",
       .is_switch = true},
      {.flag = "insecure-admin-listen",
       .environment = "PARLEY_INSECURE_ADMIN_LISTEN",
       .help = "allow an address that others can reach for the admin port, which has no TLS",
       .value = "false",
       .is_switch = true},
      {.flag = "auth-callers",
       .environment = "PARLEY_AUTH_CALLERS",
       .help = "file that says who has which certificate and may do what; read again"},
      {.flag = "auth-jwks",
       .environment = "PARLEY_AUTH_JWKS",
       .help = "file with the public keys of bearer tokens, a JSON Web Key Set; read again"},
      {.flag = "auth-issuer",
       .environment = "PARLEY_AUTH_ISSUER",
       .help = "who must have issued a token (iss)"},
      {.flag = "auth-audience",
       .environment = "PARLEY_AUTH_AUDIENCE",
       .help = "for whom a token must be (aud)"},
      {.flag = "auth-algorithms",
       .environment = "PARLEY_AUTH_ALGORITHMS",
       .help = "signatures that are accepted: some of EdDSA,ES256,RS256,HS256",
       .value = "EdDSA,ES256,RS256",
       .check = CheckAlgorithms},
      {.flag = "auth-clock-skew",
       .environment = "PARLEY_AUTH_CLOCK_SKEW",
       .help = "what the clock of who issues tokens may be off by",
       .value = "60s",
       .check = CheckDuration},
  };
}

std::vector<Option> LimitOptions() {
  constexpr int kMax = 10000000;
  return {
      {.flag = "caller-calls",
       .environment = "PARLEY_CALLER_CALLS",
       .help = "calls that one caller may have in flight; 0: any number",
       .value = "10000",
       .max = kMax},
      {.flag = "caller-streams",
       .environment = "PARLEY_CALLER_STREAMS",
       .help = "streams that one caller may have open; 0: any number",
       .value = "10000",
       .max = kMax},
      {.flag = "caller-rate",
       .environment = "PARLEY_CALLER_RATE",
       .help = "calls a second of one caller, for each scope by itself; 0: any number",
       .value = "10000",
       .max = kMax},
  };
}

std::vector<Option> CommonOptions(const DefaultAddresses& addresses) {
  return {
      {.flag = "listen",
       .environment = "PARLEY_LISTEN",
       .help = "host:port to accept calls on; port 0 takes a free one",
       .value = addresses.listen,
       .check = CheckAddress},
      {.flag = "admin-listen",
       .environment = "PARLEY_ADMIN_LISTEN",
       .help =
           "host:port of the admin port: HTTP with /metrics, /healthz and /readyz, without TLS; "
           "port 0 takes a free one, none has no such port",
       .value = addresses.admin_listen,
       .check = CheckAdminAddress},
      {.flag = "database-url",
       .environment = "PARLEY_DATABASE_URL",
       .help = "where the database is: a libpq URI or key=value pairs",
       .is_secret = true},
      {.flag = "pooler",
       .environment = "PARLEY_POOLER",
       .help =
           "whether a pooler stands before the database, and lends by session or by transaction",
       .value = "none"},
      {.flag = "workers",
       .environment = "PARLEY_WORKERS",
       .help = "threads that work on calls, and database connections",
       .value = "4",
       .min = 1,
       .max = 256},
      {.flag = "queue",
       .environment = "PARLEY_QUEUE",
       .help = "calls that may wait for a worker; more are refused",
       .value = "200",
       .min = 0,
       .max = 100000},
      {.flag = "default-deadline",
       .environment = "PARLEY_DEFAULT_DEADLINE",
       .help = "deadline of calls that come without one",
       .value = "10s",
       .check = CheckDeadline},
      {.flag = "max-deadline",
       .environment = "PARLEY_MAX_DEADLINE",
       .help = "deadline of calls that come with a longer one",
       .value = "60s",
       .check = CheckDeadline},
      {.flag = "database-wait",
       .environment = "PARLEY_DATABASE_WAIT",
       .help = "how long to wait at start for a database that cannot be reached",
       .value = "30s",
       .check = CheckDuration},
      {.flag = "drain-delay",
       .environment = "PARLEY_DRAIN_DELAY",
       .help = "after SIGTERM: how long health says NOT_SERVING while calls are still accepted",
       .value = "0s",
       .check = CheckDuration},
      {.flag = "drain-grace",
       .environment = "PARLEY_DRAIN_GRACE",
       .help = "after that: how long running calls may take to finish",
       .value = "10s",
       .check = CheckDuration},
      {.flag = "keepalive",
       .environment = "PARLEY_KEEPALIVE",
       .help = "silence after which a caller is asked whether it is there, and to answer as soon",
       .value = "20s",
       .check = CheckDeadline},
      {.flag = "max-connection-age",
       .environment = "PARLEY_MAX_CONNECTION_AGE",
       .help = "age at which a connection takes no new calls, and a stream is asked to move",
       .value = "15m",
       .check = CheckDeadline},
      {.flag = "log-level",
       .environment = "PARLEY_LOG_LEVEL",
       .help = "lowest level that is logged: debug, info, warn or error",
       .value = "info"},
  };
}

void Register(CLI::App& app, Option& option) {
  CLI::Option* registered = option.is_switch
                                ? app.add_flag("--" + option.flag, option.value, option.help)
                                : app.add_option("--" + option.flag, option.value, option.help);
  registered->envname(option.environment);
  registered->capture_default_str();
  if (option.is_switch) registered->check(CLI::IsMember({"true", "false", "1", "0"}));
  if (option.check) registered->check(option.check);
  if (option.max > 0) registered->check(CLI::Range(option.min, option.max));
  if (option.flag == "log-level") {
    registered->check(CLI::IsMember({"debug", "info", "warn", "error"}));
  }
  if (option.flag == "pooler") registered->check(CLI::IsMember({"none", "session", "transaction"}));
}

void Print(const std::vector<Option>& options) {
  for (const Option& option : options) {
    std::cout << absl::StrFormat("%-18s %-25s %s\n", option.flag, option.environment,
                                 option.is_secret ? HidePassword(option.value) : option.value);
  }
}

std::string Value(const std::vector<Option>& options, absl::string_view flag) {
  for (const Option& option : options) {
    if (option.flag == flag) return option.value;
  }
  std::abort();  // a name that is not in the table above
}

bool IsOn(const std::vector<Option>& options, absl::string_view flag) {
  const std::string value = Value(options, flag);  // checked while parsing
  return value == "true" || value == "1";
}

std::int32_t NumberValue(const std::vector<Option>& options, absl::string_view flag) {
  return std::atoi(Value(options, flag).c_str());  // checked while parsing
}

absl::Duration DurationValue(const std::vector<Option>& options, absl::string_view flag) {
  absl::Duration duration;
  absl::ParseDuration(Value(options, flag), &duration);  // checked while parsing
  return duration;
}

Config ToConfig(const std::vector<Option>& options) {
  Config config;
  config.transport = {.cert_file = Value(options, "tls-cert"),
                      .key_file = Value(options, "tls-key"),
                      .client_ca_file = Value(options, "tls-client-ca")};
  config.access = {.callers_file = Value(options, "auth-callers"),
                   .jwks_file = Value(options, "auth-jwks"),
                   .issuer = Value(options, "auth-issuer"),
                   .audience = Value(options, "auth-audience"),
                   .algorithms = absl::StrSplit(Value(options, "auth-algorithms"), ','),
                   .clock_skew = DurationValue(options, "auth-clock-skew")};
  config.listen = Value(options, "listen");
  config.admin_listen = Value(options, "admin-listen");
  if (config.admin_listen == kNone) config.admin_listen.clear();
  config.database_url = Value(options, "database-url");
  config.pooler = Value(options, "pooler");
  config.limits = {.calls = NumberValue(options, "caller-calls"),
                   .streams = NumberValue(options, "caller-streams"),
                   .rate = NumberValue(options, "caller-rate")};
  config.workers = NumberValue(options, "workers");
  config.queue = NumberValue(options, "queue");
  config.default_deadline = DurationValue(options, "default-deadline");
  config.max_deadline = DurationValue(options, "max-deadline");
  config.database_wait = DurationValue(options, "database-wait");
  config.drain_delay = DurationValue(options, "drain-delay");
  config.drain_grace = DurationValue(options, "drain-grace");
  config.keepalive = DurationValue(options, "keepalive");
  config.max_connection_age = DurationValue(options, "max-connection-age");
  config.log_level = Value(options, "log-level");
  return config;
}

// What is wrong with options that are right each by itself; empty if nothing is.
std::string Complaint(const std::vector<Option>& options, const Config& config) {
  const TransportOptions& tls = config.transport;
  const AccessConfig& access = config.access;
  const bool is_open = access.callers_file.empty() && access.jwks_file.empty();
  if (tls.cert_file.empty() != tls.key_file.empty()) {
    return "--tls-cert and --tls-key: one needs the other";
  }
  if (!tls.client_ca_file.empty() && tls.cert_file.empty()) {
    return "--tls-client-ca: needs --tls-cert and --tls-key";
  }
  if (!tls.client_ca_file.empty() && is_open) {
    return "--tls-client-ca: say who may do what, with --auth-callers or --auth-jwks";
  }
  if (!access.callers_file.empty() && tls.client_ca_file.empty()) {
    return "--auth-callers: needs --tls-client-ca, without which nobody shows a certificate";
  }
  if (!access.jwks_file.empty() && (access.issuer.empty() || access.audience.empty())) {
    return "--auth-jwks: needs --auth-issuer and --auth-audience";
  }
  if (!config.admin_listen.empty() && !IsLoopback(config.admin_listen) &&
      !IsOn(options, "insecure-admin-listen")) {
    return absl::StrCat("--admin-listen: ", config.admin_listen,
                        " can be reached by others, in plain text; give --insecure-admin-listen if "
                        "something else keeps it safe");
  }
  if (IsLoopback(config.listen) || IsOn(options, "insecure-listen")) return "";
  if (tls.cert_file.empty()) {
    return absl::StrCat(
        "--listen: ", config.listen,
        " can be reached by others, in plain text; give --tls-cert and --tls-key, or "
        "--insecure-listen if something else keeps it safe");
  }
  if (is_open) {
    return absl::StrCat("--listen: ", config.listen,
                        " can be reached by others, and everybody may call; give --auth-callers or "
                        "--auth-jwks, or --insecure-listen if something else keeps it safe");
  }
  return "";
}

}  // namespace

Config ParseConfigOrExit(int argc, char** argv, absl::string_view program,
                         const DefaultAddresses& addresses, const std::vector<ExtraOption>& extra) {
  std::vector<Option> options = CommonOptions(addresses);
  for (Option& option : SecurityOptions()) options.push_back(std::move(option));
  for (Option& option : LimitOptions()) options.push_back(std::move(option));
  for (const ExtraOption& option : extra) {
    options.push_back({.flag = option.flag,
                       .environment = option.environment,
                       .help = option.help,
                       .value = *option.value,
                       .check =
                           [&option](const std::string& text) {
                             if (option.secret_complaint) return option.secret_complaint(text);
                             return option.is_valid(text)
                                        ? std::string()
                                        : absl::StrCat("'", text, "' is not: ", option.help);
                           },
                       .is_secret = option.secret_complaint != nullptr});
  }
  CLI::App app("Flags win over environment variables, those over defaults.", std::string(program));
  for (Option& option : options) Register(app, option);
  bool print_config = false;
  app.add_flag("--print-config", print_config, "print the values in force and exit");
  constexpr int kUsage = 2;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : kUsage);
  }
  if (print_config) {
    Print(options);
    std::exit(0);
  }
  for (std::size_t i = 0; i < extra.size(); ++i) {
    *extra[i].value = options[options.size() - extra.size() + i].value;
  }
  Config config = ToConfig(options);
  const std::string complaint = Complaint(options, config);
  if (!complaint.empty()) {
    std::cerr << complaint << "\n";
    std::exit(kUsage);
  }
  return config;
}

}  // namespace parley::runtime
