// Where the database is: one connection string, in either of libpq's forms.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::db {

// A parsed connection string. Immutable, so any thread may read it.
class Dsn {
 public:
  // Takes a URI (postgresql://user@host:5432/name?sslmode=require) or key=value pairs, as libpq
  // does; libpq does the parsing. INVALID_ARGUMENT if libpq does not understand it; the text then
  // repeats nothing of the string, which may hold a password.
  static absl::StatusOr<Dsn> Parse(absl::string_view text);

  // Adds `key`=`value` unless the string already said otherwise.
  Dsn WithDefault(absl::string_view key, absl::string_view value) const;

  // Sets `key`=`value` whatever the string said.
  Dsn With(absl::string_view key, absl::string_view value) const;

  // Takes `key` out, whatever it was set to.
  Dsn Without(absl::string_view key) const;

  // What `key` is set to, if it is.
  std::optional<std::string> Find(absl::string_view key) const;

  // The whole as a URI with every value percent-encoded: both libpq and SOCI take it. (SOCI splits
  // key=value pairs at blanks and loses quoted values, so it never gets those.) Holds the password.
  std::string Uri() const;

  // For logs: host, port, dbname and user, and nothing else.
  std::string Redacted() const;

 private:
  explicit Dsn(std::map<std::string, std::string> values) : values_(std::move(values)) {}
  std::map<std::string, std::string> values_;
};

}  // namespace parley::db
