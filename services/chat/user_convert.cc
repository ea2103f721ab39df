#include "services/chat/user_convert.h"

#include <set>
#include <string>
#include <vector>

#include "services/runtime/wire.h"

namespace parley::chat {

v1::User ToProto(const User& user) {
  v1::User proto;
  proto.set_id(user.id);
  proto.set_login(user.login);
  if (user.name) proto.set_name(*user.name);
  proto.set_status(user.status == UserStatus::kBlocked ? v1::USER_STATUS_BLOCKED
                                                       : v1::USER_STATUS_ACTIVE);
  *proto.mutable_create_time() = runtime::ToTimestamp(user.create_time);
  *proto.mutable_update_time() = runtime::ToTimestamp(user.update_time);
  proto.set_etag(runtime::ToEtag(user.version));
  return proto;
}

v1::Erasure ToProto(const Erasure& erasure) {
  v1::Erasure proto;
  proto.set_user_id(erasure.user_id);
  proto.set_done(erasure.finish_time.has_value());
  proto.set_messages_erased(erasure.messages_erased);
  proto.set_messages_remaining(erasure.messages_remaining);
  *proto.mutable_create_time() = runtime::ToTimestamp(erasure.create_time);
  if (erasure.finish_time) {
    *proto.mutable_finish_time() = runtime::ToTimestamp(*erasure.finish_time);
  }
  proto.set_task_id(erasure.task_id);
  proto.set_last_error(erasure.last_error);
  return proto;
}

std::optional<UserStatus> FromProto(absl::string_view field, v1::UserStatus status,
                                    Violations& violations) {
  switch (status) {
    case v1::USER_STATUS_UNSPECIFIED:
      return std::nullopt;
    case v1::USER_STATUS_ACTIVE:
      return UserStatus::kActive;
    case v1::USER_STATUS_BLOCKED:
      return UserStatus::kBlocked;
    default:
      violations.Add(field, "is not a UserStatus");
      return std::nullopt;
  }
}

UserChange ToChange(const v1::UpdateUserRequest& request, Violations& violations) {
  const v1::User& user = request.user();
  std::vector<std::string> populated;
  if (!user.login().empty()) populated.emplace_back("login");
  if (user.has_name()) populated.emplace_back("name");
  if (user.status() != v1::USER_STATUS_UNSPECIFIED) populated.emplace_back("status");
  const std::set<std::string> fields =
      runtime::FieldsToUpdate(request.has_update_mask() ? &request.update_mask() : nullptr,
                              {"login", "name", "status"}, populated, violations);
  UserChange change;
  if (fields.contains("login")) change.login = user.login();
  change.set_name = fields.contains("name");
  if (change.set_name && user.has_name()) change.name = user.name();
  if (fields.contains("status")) {
    change.status = FromProto("user.status", user.status(), violations);
    if (user.status() == v1::USER_STATUS_UNSPECIFIED) {
      violations.Add("user.status", "must be set");
    }
  }
  return change;
}

}  // namespace parley::chat
