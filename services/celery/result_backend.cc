#include "services/celery/result_backend.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "services/celery/json_members.h"

namespace parley::celery {
namespace {

using Members = std::map<std::string, std::string>;

// Redis serves nobody else while it answers.
constexpr std::size_t kReadAtOnce = 500;

std::string KeyOf(const std::string& id) { return "celery-task-meta-" + id; }

// What a failed task left as its result: {"exc_type": "ValueError", "exc_message": ["no"], ...}.
struct RemoteException {
  std::string type;
  std::string text;
};
RemoteException ReadException(absl::string_view result) {
  RemoteException exception;
  const auto members = SplitJsonObject(result);
  if (!members.has_value()) return exception;
  if (const auto type = members->find("exc_type"); type != members->end()) {
    exception.type = JsonString(type->second).value_or("");
  }
  const auto message = members->find("exc_message");
  if (message == members->end()) return exception;
  const nlohmann::json said = nlohmann::json::parse(message->second, nullptr, false);
  // The exception's arguments; a text only if somebody has written the record in another way.
  const auto add = [&exception](const nlohmann::json& argument) {
    absl::StrAppend(&exception.text, exception.text.empty() ? "" : ", ",
                    argument.is_string() ? argument.get<std::string>() : argument.dump());
  };
  if (said.is_array()) {
    for (const nlohmann::json& argument : said) add(argument);
  } else {
    add(said);
  }
  return exception;
}

std::string TextOf(const RemoteException& exception) {
  if (exception.type.empty() && exception.text.empty()) return "the task failed";
  if (exception.text.empty()) return exception.type;
  return absl::StrCat(exception.type, ": ", exception.text);
}

}  // namespace

std::optional<CeleryResult> ParseResult(absl::string_view record) {
  const auto members = SplitJsonObject(record);
  const auto text = [&](const char* name) {
    const auto member = members->find(name);
    return member == members->end() ? std::string() : member->second;
  };
  const std::optional<std::string> status =
      members.has_value() ? JsonString(text("status")) : std::nullopt;
  if (!status.has_value()) {
    return CeleryResult{CeleryResult::Kind::kUnreadable, "",
                        "the result backend holds something that is no JSON "
                        "record of a task"};
  }
  if (*status == "SUCCESS") {
    const std::string result = text("result");
    return CeleryResult{CeleryResult::Kind::kSucceeded, result.empty() ? "null" : result, ""};
  }
  if (*status != "FAILURE" && *status != "REVOKED") return std::nullopt;
  const RemoteException exception = ReadException(text("result"));
  CeleryResult ended = {CeleryResult::Kind::kFailed, "", TextOf(exception)};
  if (*status == "REVOKED") {
    ended.kind =
        exception.text == "expired" ? CeleryResult::Kind::kExpired : CeleryResult::Kind::kRevoked;
  }
  return ended;
}

absl::StatusOr<std::vector<std::optional<CeleryResult>>> ResultBackend::Read(
    const std::vector<std::string>& ids) {
  std::vector<std::optional<CeleryResult>> results;
  results.reserve(ids.size());
  for (std::size_t begin = 0; begin < ids.size(); begin += kReadAtOnce) {
    const std::size_t end = std::min(begin + kReadAtOnce, ids.size());
    RedisConnection::Command command = {"MGET"};
    for (std::size_t i = begin; i < end; ++i) command.push_back(KeyOf(ids[i]));
    PARLEY_ASSIGN_OR_RETURN(const std::vector<RedisReply> replies, redis_->Run({command}));
    const RedisReply& reply = replies.front();
    if (reply.is_error || reply.items.size() != end - begin) {
      return absl::UnavailableError(absl::StrCat("Redis: ", reply.text.value_or("no array")));
    }
    for (const std::optional<std::string>& record : reply.items) {
      results.push_back(record.has_value() ? ParseResult(*record) : std::nullopt);
    }
  }
  return results;
}

absl::Status ResultBackend::Forget(const std::vector<std::string>& ids) {
  RedisConnection::Command command = {"DEL"};
  for (const std::string& id : ids) command.push_back(KeyOf(id));
  PARLEY_ASSIGN_OR_RETURN(const std::vector<RedisReply> replies, redis_->Run({command}));
  if (replies.front().is_error) {
    return absl::UnavailableError(absl::StrCat("Redis: ", *replies.front().text));
  }
  return absl::OkStatus();
}

}  // namespace parley::celery
