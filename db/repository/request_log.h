// Remembers request ids for ever, so that a repeated write is answered and not done again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "db/core/session.h"

namespace parley::db {

// A write that may be repeated. `id` is what the caller chose; empty means that the write is not to
// be remembered.
struct RequestKey {
  absl::string_view operation;  // "CreateChat"; persisted, never renamed
  std::int64_t scope_id = 0;    // whose ids they are: a user, a chat, or 0 for everybody's
  std::string id;               // <= 64 ASCII
  std::string fingerprint;      // of the content (base/fingerprint.h)
};

// ALREADY_EXISTS, reason REQUEST_ID_REUSED.
absl::Status RequestIdReused(absl::string_view request_id);

// Claims `key` for `resource_id` in the session's transaction. Returns nullopt if this is the first
// time (the caller goes on to write), or the resource id of the first time (the caller reads it and
// writes nothing). A concurrent twin waits until the first has committed or rolled back.
// ALREADY_EXISTS, reason REQUEST_ID_REUSED: the key came before with another fingerprint.
// With an empty key.id: always nullopt, and nothing is written.
absl::StatusOr<std::optional<std::int64_t>> ClaimRequest(Session& session, const RequestKey& key,
                                                         std::int64_t resource_id);

// The resource id that `key` was claimed for, if it was, and is committed; nullopt with an empty
// key.id. ALREADY_EXISTS, reason REQUEST_ID_REUSED.
absl::StatusOr<std::optional<std::int64_t>> FindRequest(Session& session, const RequestKey& key);

}  // namespace parley::db
