#include "services/runtime/trace.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <set>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace parley::runtime {
namespace {

// version "-" trace-id "-" parent-id "-" flags; a later version may append more after another "-".
constexpr std::size_t kTraceIdAt = 3;
constexpr std::size_t kTraceIdLength = 32;
constexpr std::size_t kParentAt = 36;
constexpr std::size_t kSpanIdLength = 16;
constexpr std::size_t kFlagsAt = 53;
constexpr std::size_t kLength = 55;
constexpr std::size_t kMaxStateBytes = 512;
constexpr std::size_t kMaxStateMembers = 32;

bool IsLowerHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(absl::string_view text) {
  return text.find_first_not_of('0') == absl::string_view::npos;
}

bool IsTraceparent(absl::string_view text) {
  if (text.size() < kLength) return false;
  const absl::string_view version = text.substr(0, 2);
  if (!IsLowerHex(version) || version == "ff") return false;
  if (version == "00" ? text.size() != kLength : (text.size() > kLength && text[kLength] != '-')) {
    return false;
  }
  const absl::string_view trace_id = text.substr(kTraceIdAt, kTraceIdLength);
  const absl::string_view parent = text.substr(kParentAt, kSpanIdLength);
  return text[kTraceIdAt - 1] == '-' && text[kParentAt - 1] == '-' && text[kFlagsAt - 1] == '-' &&
         IsLowerHex(trace_id) && !IsZero(trace_id) && IsLowerHex(parent) && !IsZero(parent) &&
         IsLowerHex(text.substr(kFlagsAt, 2));
}

// key "=" value, each of the characters and lengths that the standard has for them.
bool IsStateMember(absl::string_view member) {
  constexpr std::size_t kMaxPart = 256;
  const std::size_t equals = member.find('=');
  if (equals == 0 || equals > kMaxPart || equals == absl::string_view::npos) return false;
  const absl::string_view key = member.substr(0, equals);
  const absl::string_view value = member.substr(equals + 1);
  const auto is_key = [](char c) {
    return absl::ascii_islower(static_cast<unsigned char>(c)) ||
           absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
           absl::string_view("_-*/@").find(c) != absl::string_view::npos;
  };
  const auto is_value = [](char c) { return c >= ' ' && c <= '~' && c != ',' && c != '='; };
  return !value.empty() && value.size() <= kMaxPart && value.back() != ' ' &&
         absl::ascii_isalnum(static_cast<unsigned char>(key.front())) &&
         std::all_of(key.begin(), key.end(), is_key) &&
         std::all_of(value.begin(), value.end(), is_value);
}

bool IsTracestate(absl::string_view text) {
  if (text.size() > kMaxStateBytes) return false;
  const std::vector<absl::string_view> members = absl::StrSplit(text, ',');
  if (members.size() > kMaxStateMembers) return false;
  std::set<absl::string_view> keys;
  for (const absl::string_view part : members) {
    const absl::string_view member = absl::StripAsciiWhitespace(part);
    if (member.empty()) continue;  // allowed
    if (!IsStateMember(member)) return false;
    if (!keys.insert(member.substr(0, member.find('='))).second) return false;
  }
  return !keys.empty();
}

// Not zero, which stands for no id. Not a secret either: whoever guesses one learns nothing.
void WriteNewId(char* to) {
  thread_local absl::BitGen random;
  auto id = absl::Uniform<std::uint64_t>(absl::IntervalClosed, random, 1, UINT64_MAX);
  for (std::size_t i = 0; i < kSpanIdLength; ++i, id >>= 4) to[i] = "0123456789abcdef"[id & 15];
}

}  // namespace

TraceContext TraceContext::Continue(absl::string_view traceparent, absl::string_view tracestate) {
  TraceContext context;
  WriteNewId(context.span_id_.data());
  if (!IsTraceparent(traceparent)) {
    WriteNewId(context.trace_id_.data());
    WriteNewId(context.trace_id_.data() + kSpanIdLength);
    return context;
  }
  traceparent.copy(context.trace_id_.data(), kTraceIdLength, kTraceIdAt);
  // Bit 0 of the flags, the only one that version 00 has.
  const char flags = traceparent[kFlagsAt + 1];
  context.sampled_ = (flags <= '9' ? flags - '0' : flags - 'a' + 10) % 2 == 1;
  if (IsTracestate(tracestate)) context.tracestate_ = std::string(tracestate);
  return context;
}

TraceContext TraceContext::Of(const grpc::CallbackServerContext& context) {
  // What comes twice is none of both.
  const auto value = [&](const char* key) -> absl::string_view {
    const auto [first, last] = context.client_metadata().equal_range(key);
    if (first == last || std::next(first) != last) return "";
    return {first->second.data(), first->second.size()};
  };
  return Continue(value("traceparent"), value("tracestate"));
}

std::string TraceContext::traceparent() const {
  return absl::StrCat("00-", trace_id(), "-", span_id(), sampled_ ? "-01" : "-00");
}

}  // namespace parley::runtime
