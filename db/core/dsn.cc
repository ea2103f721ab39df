#include "db/core/dsn.h"

#include <libpq-fe.h>

#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"

namespace parley::db {
namespace {

std::string PercentEncode(absl::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_') {
      encoded.push_back(c);
    } else {
      absl::StrAppendFormat(&encoded, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

}  // namespace

Pooler PoolerNamed(absl::string_view name) {
  if (name == "session") return Pooler::kSession;
  return name == "transaction" ? Pooler::kTransaction : Pooler::kNone;
}

absl::StatusOr<Dsn> Dsn::Parse(absl::string_view text) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(
      PQconninfoParse(std::string(text).c_str(), &error), &PQconninfoFree);
  const std::unique_ptr<char, decltype(&PQfreemem)> error_owner(error, &PQfreemem);
  if (options == nullptr) {
    return Error(absl::StatusCode::kInvalidArgument, reason::kInvalidArgument,
                 "the database URL is neither a libpq URI (postgresql://user@host:5432/name) nor "
                 "libpq key=value pairs (host=... dbname=...)");
  }
  std::map<std::string, std::string> values;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) values.emplace(option->keyword, option->val);
  }
  return Dsn(std::move(values));
}

Dsn Dsn::WithDefault(absl::string_view key, absl::string_view value) const {
  Dsn copy = *this;
  copy.values_.emplace(key, value);
  return copy;
}

Dsn Dsn::With(absl::string_view key, absl::string_view value) const {
  Dsn copy = *this;
  copy.values_[std::string(key)] = std::string(value);
  return copy;
}

Dsn Dsn::Without(absl::string_view key) const {
  Dsn copy = *this;
  copy.values_.erase(std::string(key));
  return copy;
}

Dsn Dsn::WithPooler(Pooler pooler) const {
  Dsn copy = *this;
  copy.pooler_ = pooler;
  return copy;
}

std::optional<std::string> Dsn::Find(absl::string_view key) const {
  const auto found = values_.find(std::string(key));
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

std::string Dsn::Uri() const {
  std::string uri = "postgresql://";
  char separator = '?';
  for (const auto& [key, value] : values_) {
    absl::StrAppend(&uri, absl::string_view(&separator, 1), key, "=", PercentEncode(value));
    separator = '&';
  }
  return uri;
}

std::string Dsn::Redacted() const {
  std::string shown;
  for (const absl::string_view key : {"host", "port", "dbname", "user"}) {
    const auto found = values_.find(std::string(key));
    if (found == values_.end()) continue;
    absl::StrAppend(&shown, shown.empty() ? "" : " ", key, "=", found->second);
  }
  return shown;
}

}  // namespace parley::db
