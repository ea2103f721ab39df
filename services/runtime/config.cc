#include "services/runtime/config.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <functional>
#include <iostream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

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
  int min = 0, max = 0;  // for numbers
};

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
      {.flag = "log-level",
       .environment = "PARLEY_LOG_LEVEL",
       .help = "lowest level that is logged: debug, info, warn or error",
       .value = "info"},
  };
}

void Register(CLI::App& app, Option& option) {
  CLI::Option* registered =
      app.add_option("--" + option.flag, option.value, option.help)->envname(option.environment);
  registered->capture_default_str();
  if (option.check) registered->check(option.check);
  if (option.max > 0) registered->check(CLI::Range(option.min, option.max));
  if (option.flag == "log-level") {
    registered->check(CLI::IsMember({"debug", "info", "warn", "error"}));
  }
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

absl::Duration DurationValue(const std::vector<Option>& options, absl::string_view flag) {
  absl::Duration duration;
  absl::ParseDuration(Value(options, flag), &duration);  // checked while parsing
  return duration;
}

Config ToConfig(const std::vector<Option>& options) {
  Config config;
  config.listen = Value(options, "listen");
  config.admin_listen = Value(options, "admin-listen");
  if (config.admin_listen == kNone) config.admin_listen.clear();
  config.database_url = Value(options, "database-url");
  config.workers = std::atoi(Value(options, "workers").c_str());
  config.queue = std::atoi(Value(options, "queue").c_str());
  config.default_deadline = DurationValue(options, "default-deadline");
  config.max_deadline = DurationValue(options, "max-deadline");
  config.database_wait = DurationValue(options, "database-wait");
  config.drain_delay = DurationValue(options, "drain-delay");
  config.drain_grace = DurationValue(options, "drain-grace");
  config.keepalive = DurationValue(options, "keepalive");
  config.log_level = Value(options, "log-level");
  return config;
}

}  // namespace

Config ParseConfigOrExit(int argc, char** argv, absl::string_view program,
                         const DefaultAddresses& addresses, const std::vector<ExtraOption>& extra) {
  std::vector<Option> options = CommonOptions(addresses);
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    constexpr int kUsage = 2;
    std::exit(app.exit(error) == 0 ? 0 : kUsage);
  }
  if (print_config) {
    Print(options);
    std::exit(0);
  }
  for (std::size_t i = 0; i < extra.size(); ++i) {
    *extra[i].value = options[options.size() - extra.size() + i].value;
  }
  return ToConfig(options);
}

}  // namespace parley::runtime
