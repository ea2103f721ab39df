#include "db/repository/request_log.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/repository/statements.h"

namespace parley::db {

// What a request id was used for.
struct RequestRow {
  std::int64_t id = 0;
  std::string fingerprint;
};

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::RequestRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::RequestRow& out) {
    out.id = row.get<long long>("id");
    out.fingerprint = row.get<std::string>("fingerprint");
  }
};

}  // namespace soci

namespace parley::db {

absl::Status RequestIdReused(absl::string_view request_id) {
  return Error(absl::StatusCode::kAlreadyExists, reason::kRequestIdReused,
               absl::StrCat("request_id ", request_id, " came before with other content"),
               {{"request_id", std::string(request_id)}});
}

absl::StatusOr<std::optional<std::int64_t>> ClaimRequest(Session& session, const RequestKey& key,
                                                         std::int64_t resource_id) {
  if (key.id.empty()) return std::optional<std::int64_t>();
  PARLEY_ASSIGN_OR_RETURN(const std::optional<RequestRow> claimed,
                          session.QueryOptional<RequestRow>(sql::request::InsertRequest,
                                                            {{"operation", key.operation},
                                                             {"scope_id", key.scope_id},
                                                             {"request_id", key.id},
                                                             {"fingerprint", key.fingerprint},
                                                             {"resource_id", resource_id}}));
  if (claimed) return std::optional<std::int64_t>();
  // A statement of its own: its snapshot sees what the twin has committed while the insert waited.
  PARLEY_ASSIGN_OR_RETURN(const std::optional<std::int64_t> first, FindRequest(session, key));
  if (!first) return InternalError("a request id is neither free nor taken");
  return first;
}

absl::StatusOr<std::optional<std::int64_t>> FindRequest(Session& session, const RequestKey& key) {
  if (key.id.empty()) return std::optional<std::int64_t>();
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<RequestRow> found,
      session.QueryOptional<RequestRow>(
          sql::request::GetRequest,
          {{"operation", key.operation}, {"scope_id", key.scope_id}, {"request_id", key.id}}));
  if (!found) return std::optional<std::int64_t>();
  if (found->fingerprint != key.fingerprint) return RequestIdReused(key.id);
  return std::optional<std::int64_t>(found->id);
}

}  // namespace parley::db
