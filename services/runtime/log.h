// Structured logs: one JSON object a line on standard error.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <utility>
#include <variant>

#include "absl/strings/string_view.h"

namespace parley::runtime {

enum class LogLevel { kDebug, kInfo, kWarn, kError };

// Sets the lowest level that is written ("debug", "info", "warn" or "error") and the "service"
// field of every line; routes protobuf's and gRPC's own messages here. Call it once, early in main.
void InitLog(absl::string_view service, absl::string_view level);

// Text is read before Log returns.
using LogValue = std::variant<absl::string_view, std::int64_t, double>;

// Writes {"time":...,"level":...,"service":...,"message":...,fields...}. Never pass text of
// messages, passwords, connection strings or tokens. Thread-safe.
void Log(LogLevel level, absl::string_view message,
         std::initializer_list<std::pair<absl::string_view, LogValue>> fields = {});

}  // namespace parley::runtime
