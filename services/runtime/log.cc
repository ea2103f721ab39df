#include "services/runtime/log.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace parley::runtime {
namespace {

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

const char* LevelName(LogLevel level) {
  constexpr const char* kNames[] = {"debug", "info", "warn", "error"};
  return kNames[static_cast<int>(level)];
}

// One for the process: a log is where everything ends up. Never destroyed, because threads may log
// until the very end.
struct Logger {
  std::string service;
  std::shared_ptr<spdlog::logger> sink = spdlog::stderr_logger_mt("parley");
};
Logger& TheLogger() {
  static Logger& logger = *new Logger();
  return logger;
}

// `text` as a JSON string. There is a line for every call, and hardly ever anything to escape.
void AppendText(absl::string_view text, std::string& line) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
  });
  if (plain) {
    absl::StrAppend(&line, "\"", text, "\"");
    return;
  }
  // Text that is not UTF-8 must not stop a line from being written.
  line += nlohmann::json(std::string(text))
              .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// "name":value and a comma. Names are literals of the program.
void AppendField(absl::string_view name, const LogValue& value, std::string& line) {
  absl::StrAppend(&line, "\"", name, "\":");
  if (const auto* text = std::get_if<absl::string_view>(&value)) {
    AppendText(*text, line);
  } else if (const auto* number = std::get_if<std::int64_t>(&value)) {
    absl::StrAppend(&line, *number);
  } else {
    line += nlohmann::json(std::get<double>(value)).dump();
  }
  line.push_back(',');
}

void LogFromGrpc(gpr_log_func_args* args) {
  if (args->severity < GPR_LOG_SEVERITY_ERROR) return;
  Log(LogLevel::kWarn, "grpc", {{"detail", std::string(args->message)}});
}

// Protobuf reports every string that is not UTF-8; callers learn that from their answer, and the
// log from the access line.
void DropFromProtobuf(google::protobuf::LogLevel level, const char* /*file*/, int /*line*/,
                      const std::string& message) {
  if (level < google::protobuf::LOGLEVEL_FATAL) return;
  Log(LogLevel::kError, "protobuf", {{"detail", message}});
}

}  // namespace

void InitLog(absl::string_view service, absl::string_view level) {
  Logger& logger = TheLogger();
  logger.service = std::string(service);
  logger.sink->set_pattern("%v");
  logger.sink->set_level(spdlog::level::from_str(std::string(level)));
  logger.sink->flush_on(spdlog::level::trace);
  gpr_set_log_function(&LogFromGrpc);
  google::protobuf::SetLogHandler(&DropFromProtobuf);
}

void Log(LogLevel level, absl::string_view message,
         std::initializer_list<std::pair<absl::string_view, LogValue>> fields) {
  Logger& logger = TheLogger();
  if (!logger.sink->should_log(ToSpdlog(level))) return;
  std::string line = "{";
  AppendField("time", absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone()),
              line);
  AppendField("level", LevelName(level), line);
  AppendField("service", logger.service, line);
  AppendField("message", message, line);
  for (const auto& [name, value] : fields) AppendField(name, value, line);
  line.back() = '}';
  logger.sink->log(ToSpdlog(level), line);
}

}  // namespace parley::runtime
