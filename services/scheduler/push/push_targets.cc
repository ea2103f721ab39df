#include "services/scheduler/push/push_targets.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace parley::scheduler {
namespace {

constexpr std::size_t kMaxTargetName = 64;

bool IsTargetName(absl::string_view name) {
  return !name.empty() && name.size() <= kMaxTargetName &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' ||
                  c == '-';
         });
}

absl::StatusOr<GrpcEndpoint> ParseGrpc(absl::string_view address) {
  constexpr std::uint32_t kMaxPort = 65535;
  const std::size_t colon = address.rfind(':');
  std::uint32_t port = 0;
  if (colon == 0 || colon == absl::string_view::npos ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port == 0 || port > kMaxPort ||
      address.find('/') != absl::string_view::npos ||
      address.find('@') != absl::string_view::npos) {
    return absl::InvalidArgumentError("after grpc:// comes host:port, and nothing else");
  }
  return GrpcEndpoint{std::string(address)};
}

absl::StatusOr<CeleryEndpoint> ParseCelery(absl::string_view text) {
  CeleryEndpoint endpoint;
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits(';', 1));
  PARLEY_ASSIGN_OR_RETURN(endpoint.broker, celery::ParseBrokerUrl(parts.first));
  absl::string_view results = parts.second;
  if (results.empty()) {
    if (endpoint.broker.kind == celery::BrokerUrl::Kind::kRedis) endpoint.results = endpoint.broker;
    return endpoint;
  }
  if (!absl::ConsumePrefix(&results, "results=")) {
    return absl::InvalidArgumentError("after ; comes results=redis://...");
  }
  PARLEY_ASSIGN_OR_RETURN(endpoint.results, celery::ParseBrokerUrl(results));
  if (endpoint.results->kind != celery::BrokerUrl::Kind::kRedis) {
    return absl::InvalidArgumentError("results can be read from Redis only");
  }
  return endpoint;
}

}  // namespace

absl::StatusOr<PushTargets> ParsePushTargets(absl::string_view text) {
  PushTargets targets;
  for (const absl::string_view entry :
       absl::StrSplit(text, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty())) {
    const std::size_t equals = entry.find('=');
    const absl::string_view name = entry.substr(0, equals);
    if (equals == absl::string_view::npos || !IsTargetName(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("entry ", targets.size() + 1,
                       ": it must be name=url, the name 1 to 64 of A-Z a-z 0-9 . _ -"));
    }
    absl::string_view url = entry.substr(equals + 1);
    PushTargets::mapped_type target;
    absl::Status wrong;
    if (absl::ConsumePrefix(&url, "grpc://")) {
      absl::StatusOr<GrpcEndpoint> endpoint = ParseGrpc(url);
      wrong = endpoint.status();
      if (endpoint.ok()) target = *std::move(endpoint);
    } else {
      absl::StatusOr<CeleryEndpoint> endpoint = ParseCelery(url);
      wrong = endpoint.status();
      if (endpoint.ok()) target = *std::move(endpoint);
    }
    if (!wrong.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("target ", name, ": ", wrong.message()));
    }
    if (!targets.try_emplace(std::string(name), std::move(target)).second) {
      return absl::InvalidArgumentError(absl::StrCat("target ", name, ": it is there twice"));
    }
  }
  return targets;
}

absl::Status CheckDeliverable(const PushTargets& targets, const QueueTarget& target) {
  const auto found = targets.find(target.name);
  if (found == targets.end()) {
    return absl::InvalidArgumentError("this server is configured with no target of that name");
  }
  const bool is_grpc = std::holds_alternative<GrpcEndpoint>(found->second);
  if (std::holds_alternative<GrpcDelivery>(target.delivery)) {
    if (is_grpc) return absl::OkStatus();
    return absl::InvalidArgumentError("the target of that name is Celery");
  }
  if (is_grpc) return absl::InvalidArgumentError("the target of that name is a TaskHandler");
  const bool tracks =
      std::get<CeleryDelivery>(target.delivery).mode == CeleryDelivery::Mode::kTrackResult;
  if (tracks && !std::get<CeleryEndpoint>(found->second).results.has_value()) {
    return absl::InvalidArgumentError(
        "results cannot be tracked: the target of that name has no result backend");
  }
  return absl::OkStatus();
}

}  // namespace parley::scheduler
