// Where the database is: one connection string, in either of libpq's forms.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace parley::db {

// What stands between a client and the server, and for how long it lends a client a session.
enum class Pooler {
  kNone,
  kSession,      // as long as the client is connected
  kTransaction,  // nothing that is set, prepared or listened for is there in the next transaction
};

// The one that is called "none", "session" or "transaction".
Pooler PoolerNamed(absl::string_view name);

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

  // Says that it is a pooler's. kNone unless told.
  Dsn WithPooler(Pooler pooler) const;
  Pooler pooler() const { return pooler_; }

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
  Pooler pooler_ = Pooler::kNone;
};

}  // namespace parley::db
