#include "services/celery/celery_message.h"

#include <algorithm>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/fingerprint.h"
#include "base/text.h"
#include "services/celery/json_members.h"

namespace parley::celery {
namespace {

constexpr char kOrigin[] = "parley-schedulerd";
// For logs and monitors.
constexpr std::size_t kMaxRepr = 1024;
// AMQP has room for no more.
constexpr std::size_t kMaxHeaderName = 255;

// Names of Celery's: message headers, and the attributes of a task's request, onto which a worker
// puts all headers (celery/app/task.py, Context).
bool IsCelerysOwn(const std::string& name) {
  static const auto* const names = new std::set<std::string>{"args",
                                                             "argsrepr",
                                                             "as_execution_options",
                                                             "callbacks",
                                                             "called_directly",
                                                             "chain",
                                                             "children",
                                                             "chord",
                                                             "clear",
                                                             "compression",
                                                             "correlation_id",
                                                             "delivery_info",
                                                             "errbacks",
                                                             "eta",
                                                             "execution_options",
                                                             "expires",
                                                             "get",
                                                             "group",
                                                             "group_index",
                                                             "headers",
                                                             "hostname",
                                                             "id",
                                                             "ignore_result",
                                                             "is_eager",
                                                             "kwargs",
                                                             "kwargsrepr",
                                                             "lang",
                                                             "logfile",
                                                             "loglevel",
                                                             "origin",
                                                             "parent_id",
                                                             "properties",
                                                             "replaced_task_nesting",
                                                             "reply_to",
                                                             "retries",
                                                             "root_id",
                                                             "shadow",
                                                             "stamped_headers",
                                                             "stamps",
                                                             "task",
                                                             "taskset",
                                                             "timelimit",
                                                             "update",
                                                             "utc"};
  return names->count(name) > 0 || name.starts_with('_');
}

std::string Repr(absl::string_view text) {
  if (text.size() <= kMaxRepr) return std::string(text);
  return absl::StrCat(CutText(text, kMaxRepr), "...");
}

struct ToJson {
  std::string operator()(std::monostate) const { return "null"; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return absl::StrCat(value); }
  std::string operator()(const std::string& value) const { return QuoteJson(value); }
  std::string operator()(TwoNulls) const { return "[null,null]"; }
  std::string operator()(NoEntries) const { return "{}"; }
};

std::string HeadersJson(const CeleryMessage& message) {
  std::string json;
  for (const auto& [name, value] : MessageHeaders(message)) {
    absl::StrAppend(&json, json.empty() ? "{" : ",", QuoteJson(name), ":",
                    std::visit(ToJson(), value));
  }
  json += "}";
  return json;
}

std::string RedisJson(absl::string_view body, absl::string_view headers,
                      absl::string_view properties) {
  return absl::StrCat(
      R"({"body":")", absl::Base64Escape(body),
      R"(","content-encoding":"utf-8","content-type":"application/json","headers":)", headers,
      R"(,"properties":)", properties, "}");
}

absl::Status BadPayload(absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      R"(for a Celery task the payload must be nothing or {"args": [...], "kwargs": {...}}: )",
      why));
}

}  // namespace

absl::StatusOr<CeleryMessage> MessageOf(const Task& task, absl::string_view queue) {
  CeleryMessage message = {.id = CeleryId(task.id, task.create_time),
                           .task = task.name,
                           .headers = task.headers,
                           .retries = std::max(task.attempt - 1, 0),
                           .expires = task.expire_time,
                           .queue = std::string(queue)};
  for (const auto& [name, value] : task.headers) {
    if (name.size() > kMaxHeaderName) {
      return absl::InvalidArgumentError(absl::StrCat(
          "for a Celery task the name of a header must have at most ", kMaxHeaderName, " bytes"));
    }
  }
  if (task.payload.empty()) return message;
  auto members = SplitJsonObject(task.payload);
  if (!members.has_value()) return BadPayload("it is not a JSON object");
  for (auto& [name, value] : *members) {
    if (name == "args") {
      if (!value.starts_with('[')) return BadPayload("args is no array");
      message.args = std::move(value);
    } else if (name == "kwargs") {
      if (!value.starts_with('{')) return BadPayload("kwargs is no object");
      message.kwargs = std::move(value);
    } else {
      return BadPayload("it has other members");
    }
  }
  return message;
}

std::string CeleryId(std::int64_t task_id, absl::Time create_time) {
  std::string hex =
      Fingerprint({"celery", absl::StrCat(task_id), absl::StrCat(absl::ToUnixMicros(create_time))});
  hex[12] = '8';  // RFC 9562: made in a way of one's own
  hex[16] = "89ab"[(hex[16] <= '9' ? hex[16] - '0' : hex[16] - 'a' + 10) % 4];
  const absl::string_view digits = hex;
  return absl::StrCat(digits.substr(0, 8), "-", digits.substr(8, 4), "-", digits.substr(12, 4), "-",
                      digits.substr(16, 4), "-", digits.substr(20));
}

std::int32_t RedisPriority(std::int32_t priority) { return 9 - priority; }

std::string RedisList(absl::string_view queue, std::int32_t redis_priority) {
  const std::int32_t step = redis_priority / 3 * 3;
  if (step == 0) return std::string(queue);
  return absl::StrCat(queue, "\x06\x16", step);
}

std::string MessageBody(const CeleryMessage& message) {
  return absl::StrCat("[", message.args, ",", message.kwargs,
                      R"(,{"callbacks":null,"errbacks":null,"chain":null,"chord":null}])");
}

std::vector<std::pair<std::string, HeaderValue>> MessageHeaders(const CeleryMessage& message) {
  const HeaderValue nothing;
  std::vector<std::pair<std::string, HeaderValue>> headers = {
      {"lang", "py"},
      {"task", message.task},
      {"id", message.id},
      {"root_id", message.id},
      {"parent_id", nothing},
      {"group", nothing},
      {"group_index", nothing},
      {"shadow", nothing},
      {"eta", nothing},
      {"expires", nothing},
      {"retries", std::int64_t{message.retries}},
      {"timelimit", TwoNulls()},
      {"argsrepr", Repr(message.args)},
      {"kwargsrepr", Repr(message.kwargs)},
      {"origin", kOrigin},
      {"ignore_result", false},
      {"stamped_headers", nothing},
      {"stamps", NoEntries()},
  };
  if (message.expires.has_value()) {
    const auto expires = std::find_if(headers.begin(), headers.end(),
                                      [](const auto& entry) { return entry.first == "expires"; });
    expires->second =
        absl::FormatTime("%Y-%m-%dT%H:%M:%E6S+00:00", *message.expires, absl::UTCTimeZone());
  }
  for (const auto& [name, value] : message.headers) {
    if (!IsCelerysOwn(name)) headers.emplace_back(name, value);
  }
  return headers;
}

std::string RedisEnvelope(const CeleryMessage& message, absl::string_view delivery_tag) {
  const std::string properties = absl::StrCat(
      R"({"correlation_id":")", message.id,
      R"(","reply_to":"","delivery_mode":2,"delivery_info":{"exchange":"","routing_key":)",
      QuoteJson(message.queue), R"(},"priority":)", message.priority,
      R"(,"body_encoding":"base64","delivery_tag":")", delivery_tag, R"("})");
  return RedisJson(MessageBody(message), HeadersJson(message), properties);
}

std::string RevokeBody(absl::string_view id) {
  return absl::StrCat(R"({"method":"revoke","arguments":{"task_id":)", QuoteJson(id),
                      R"(,"terminate":false,"signal":"SIGTERM"},"destination":null,)",
                      R"("pattern":null,"matcher":null})");
}

std::string RedisRevokeEnvelope(absl::string_view id, absl::string_view delivery_tag) {
  const std::string properties = absl::StrCat(
      R"({"delivery_mode":1,"delivery_info":{"exchange":"celery.pidbox","routing_key":""},)",
      R"("priority":0,"body_encoding":"base64","delivery_tag":")", delivery_tag, R"("})");
  return RedisJson(RevokeBody(id), R"({"clock":1,"expires":0})", properties);
}

}  // namespace parley::celery
