#include "services/celery/broker_url.h"

#include <cstddef>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace parley::celery {
namespace {

constexpr std::int32_t kRedisPort = 6379;
constexpr std::int32_t kRabbitMqPort = 5672;
constexpr std::int32_t kMaxPort = 65535;

absl::Status Wrong(absl::string_view what) { return absl::InvalidArgumentError(what); }

absl::StatusOr<std::string> Decode(absl::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size() || !absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 1])) ||
        !absl::ascii_isxdigit(static_cast<unsigned char>(text[i + 2]))) {
      return Wrong("a % is not followed by two hexadecimal digits");
    }
    decoded += absl::HexStringToBytes(text.substr(i + 1, 2));
    i += 2;
  }
  return decoded;
}

// Takes user:password@ off the front.
absl::Status TakeCredentials(absl::string_view& authority, BrokerUrl& url) {
  const std::size_t at = authority.rfind('@');
  if (at == absl::string_view::npos) return absl::OkStatus();
  const absl::string_view credentials = authority.substr(0, at);
  authority.remove_prefix(at + 1);
  const std::size_t colon = credentials.find(':');
  if (colon == absl::string_view::npos) return Wrong("there is a user without a password");
  PARLEY_ASSIGN_OR_RETURN(url.user, Decode(credentials.substr(0, colon)));
  PARLEY_ASSIGN_OR_RETURN(url.password, Decode(credentials.substr(colon + 1)));
  return absl::OkStatus();
}

absl::Status TakeAddress(absl::string_view authority, BrokerUrl& url) {
  absl::string_view port;
  if (absl::ConsumePrefix(&authority, "[")) {
    const std::size_t end = authority.find(']');
    if (end == absl::string_view::npos) return Wrong("an address's bracket is not closed");
    url.host = std::string(authority.substr(0, end));
    port = authority.substr(end + 1);
  } else {
    const std::size_t colon = authority.find(':');
    url.host = std::string(authority.substr(0, colon));
    if (colon != absl::string_view::npos) port = authority.substr(colon);
  }
  if (url.host.empty()) return Wrong("there is no host");
  if (port.empty()) return absl::OkStatus();
  if (!absl::ConsumePrefix(&port, ":") || !absl::SimpleAtoi(port, &url.port) || url.port < 1 ||
      url.port > kMaxPort) {
    return Wrong("the port is not a number from 1 to 65535");
  }
  return absl::OkStatus();
}

// `path` without its first slash.
absl::Status TakePath(absl::string_view path, BrokerUrl& url) {
  if (url.kind == BrokerUrl::Kind::kRabbitMq) {
    if (path.empty()) return absl::OkStatus();
    PARLEY_ASSIGN_OR_RETURN(url.vhost, Decode(path));
    return absl::OkStatus();
  }
  if (path.empty()) return absl::OkStatus();
  if (!absl::SimpleAtoi(path, &url.database) || url.database < 0) {
    return Wrong("Redis' database is not a number");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<BrokerUrl> ParseBrokerUrl(absl::string_view text) {
  BrokerUrl url;
  if (absl::ConsumePrefix(&text, "redis://")) {
    url.kind = BrokerUrl::Kind::kRedis;
    url.port = kRedisPort;
  } else if (absl::ConsumePrefix(&text, "amqp://")) {
    url.kind = BrokerUrl::Kind::kRabbitMq;
    url.port = kRabbitMqPort;
    url.user = url.password = "guest";
  } else {
    return Wrong("it begins neither with redis:// nor with amqp://");
  }
  if (absl::StrContains(text, '?') || absl::StrContains(text, '#')) {
    return Wrong("? and # have no meaning in it; as a part of it they are %3F and %23");
  }
  const std::size_t slash = text.find('/');
  absl::string_view authority = text.substr(0, slash);
  PARLEY_RETURN_IF_ERROR(TakeCredentials(authority, url));
  PARLEY_RETURN_IF_ERROR(TakeAddress(authority, url));
  if (slash != absl::string_view::npos) {
    PARLEY_RETURN_IF_ERROR(TakePath(text.substr(slash + 1), url));
  }
  return url;
}

}  // namespace parley::celery
