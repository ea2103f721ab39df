#include "services/chat/user_service.h"

#include <google/protobuf/empty.pb.h>

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/login.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "services/chat/user_convert.h"
#include "services/chat/user_rules.h"
#include "services/runtime/page_token.h"
#include "services/runtime/wire.h"

namespace parley::chat {
namespace {

using google::protobuf::Empty;
using runtime::Call;

absl::Status WrongCredentials() {
  return Error(absl::StatusCode::kUnauthenticated, reason::kWrongCredentials,
               "the login or the password is wrong");
}

std::vector<std::int64_t> ToVector(const google::protobuf::RepeatedField<std::int64_t>& ids) {
  return {ids.begin(), ids.end()};
}

}  // namespace

grpc::ServerUnaryReactor* UserService::CreateUser(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::CreateUserRequest, v1::User>(
      {.name = "CreateUser", .executor = &passwords_.executor}, context, in, out,
      [this](const Call& call, const v1::CreateUserRequest& request) {
        return Create(call, request);
      });
}

absl::StatusOr<v1::User> UserService::Create(const Call& call,
                                             const v1::CreateUserRequest& request) {
  Violations violations;
  db::UserRepository::CreateParams params;
  params.login = request.login();
  params.login_key = CheckNewLogin("login", request.login(), violations);
  if (request.has_name()) {
    CheckUserName("name", request.name(), violations);
    params.name = request.name();
  }
  CheckPassword(request.password(), PasswordUse::kMaySet, violations);
  CheckRequestId(request.request_id(), violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  params.request_id = request.request_id();
  // Not the password: a fast digest of it would undo what Argon2id is for.
  params.fingerprint =
      Fingerprint({request.login(), request.has_name() ? "name" : "", request.name()});
  if (!request.password().empty()) {
    PARLEY_ASSIGN_OR_RETURN(params.password_hash, passwords_.hasher.Hash(request.password()));
  }
  PARLEY_ASSIGN_OR_RETURN(const User user, users_.Create(params, call.deadline()));
  return ToProto(user);
}

grpc::ServerUnaryReactor* UserService::GetUser(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::GetUserRequest, v1::User>(
      {.name = "GetUser"}, context, in, out,
      [this](const Call& call, const v1::GetUserRequest& request) { return Get(call, request); });
}

absl::StatusOr<v1::User> UserService::Get(const Call& call, const v1::GetUserRequest& request) {
  Violations violations;
  std::string login_key;
  switch (request.user_case()) {
    case v1::GetUserRequest::kUserId:
      CheckId("user_id", request.user_id(), violations);
      break;
    case v1::GetUserRequest::kLogin:
      login_key = CheckLogin("login", request.login(), violations);
      break;
    case v1::GetUserRequest::USER_NOT_SET:
      violations.Add("user_id", "either user_id or login must be set");
      break;
  }
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const User user, request.has_login()
                                               ? users_.GetByLogin(login_key, call.deadline())
                                               : users_.Get(request.user_id(), call.deadline()));
  return ToProto(user);
}

grpc::ServerUnaryReactor* UserService::BatchGetUsers(Context* context, const Bytes* in,
                                                     Bytes* out) {
  return calls_.Unary<v1::BatchGetUsersRequest, v1::BatchGetUsersResponse>(
      {.name = "BatchGetUsers"}, context, in, out,
      [this](const Call& call,
             const v1::BatchGetUsersRequest& request) -> absl::StatusOr<v1::BatchGetUsersResponse> {
        Violations violations;
        const std::vector<std::int64_t> ids = ToVector(request.user_ids());
        CheckIds("user_ids", ids, violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const std::vector<User> users,
                                users_.BatchGet(ids, call.deadline()));
        std::unordered_map<std::int64_t, const User*> left;
        for (const User& user : users) left[user.id] = &user;
        v1::BatchGetUsersResponse response;
        for (const std::int64_t id : ids) {
          if (const auto node = left.extract(id)) *response.add_users() = ToProto(*node.mapped());
        }
        return response;
      });
}

grpc::ServerUnaryReactor* UserService::ListUsers(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::ListUsersRequest, v1::ListUsersResponse>(
      {.name = "ListUsers"}, context, in, out,
      [this](const Call& call, const v1::ListUsersRequest& request) {
        return List(call, request);
      });
}

absl::StatusOr<v1::ListUsersResponse> UserService::List(const Call& call,
                                                        const v1::ListUsersRequest& request) {
  Violations violations;
  const std::optional<UserStatus> status = FromProto("status", request.status(), violations);
  std::string prefix;
  if (!request.login_prefix().empty()) {
    prefix = CheckLogin("login_prefix", request.login_prefix(), violations);
  }
  const std::string binding =
      Fingerprint({"ListUsers", absl::StrCat(request.status()), request.login_prefix()});
  const runtime::PageRequest page = runtime::CheckPage(
      {request.limit(), request.offset(), request.page_token()}, binding, {}, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());

  v1::ListUsersResponse response;
  if (!prefix.empty()) {
    PARLEY_ASSIGN_OR_RETURN(const auto users,
                            users_.ListByLogin({page.limit, page.offset, page.position}, prefix,
                                               status, call.deadline()));
    for (const User& user : users.rows) *response.add_users() = ToProto(user);
    if (users.next) response.set_next_page_token(runtime::EncodePageToken(binding, *users.next));
    return response;
  }
  PARLEY_ASSIGN_OR_RETURN(const auto users, users_.List({page.limit, page.offset, page.number()},
                                                        status, call.deadline()));
  for (const User& user : users.rows) *response.add_users() = ToProto(user);
  if (users.next) {
    response.set_next_page_token(runtime::EncodePageToken(binding, absl::StrCat(*users.next)));
  }
  return response;
}

grpc::ServerUnaryReactor* UserService::UpdateUser(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::UpdateUserRequest, v1::User>(
      {.name = "UpdateUser"}, context, in, out,
      [this](const Call& call, const v1::UpdateUserRequest& request) {
        return Update(call, request);
      });
}

absl::StatusOr<v1::User> UserService::Update(const Call& call,
                                             const v1::UpdateUserRequest& request) {
  Violations violations;
  CheckId("user.id", request.user().id(), violations);
  const UserChange change = ToChange(request, violations);
  db::UserRepository::UpdateParams params;
  params.id = request.user().id();
  params.login = change.login;
  if (change.login) params.login_key = CheckNewLogin("user.login", *change.login, violations);
  params.set_name = change.set_name;
  params.name = change.name;
  if (change.name) CheckUserName("user.name", *change.name, violations);
  params.status = change.status;
  params.version = runtime::VersionFromEtag(request.user().etag());
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  PARLEY_ASSIGN_OR_RETURN(const User user, users_.Update(params, call.deadline()));
  return ToProto(user);
}

grpc::ServerUnaryReactor* UserService::SetPassword(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::SetPasswordRequest, v1::User>(
      {.name = "SetPassword", .executor = &passwords_.executor}, context, in, out,
      [this](const Call& call, const v1::SetPasswordRequest& request) -> absl::StatusOr<v1::User> {
        Violations violations;
        CheckId("user_id", request.user_id(), violations);
        CheckPassword(request.password(), PasswordUse::kMaySet, violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        std::optional<std::string> hash;
        if (!request.password().empty()) {
          PARLEY_ASSIGN_OR_RETURN(hash, passwords_.hasher.Hash(request.password()));
        }
        PARLEY_ASSIGN_OR_RETURN(const User user,
                                users_.SetPassword(request.user_id(), hash, call.deadline()));
        return ToProto(user);
      });
}

grpc::ServerUnaryReactor* UserService::VerifyPassword(Context* context, const Bytes* in,
                                                      Bytes* out) {
  return calls_.Unary<v1::VerifyPasswordRequest, v1::User>(
      {.name = "VerifyPassword", .executor = &passwords_.executor}, context, in, out,
      [this](const Call& call, const v1::VerifyPasswordRequest& request) {
        return Verify(call, request);
      });
}

absl::StatusOr<v1::User> UserService::Verify(const Call& call,
                                             const v1::VerifyPasswordRequest& request) {
  Violations violations;
  const std::string login_key = CheckLogin("login", request.login(), violations);
  CheckPassword(request.password(), PasswordUse::kMustGive, violations);
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());
  const db::PasswordAttempt attempt = {login_key, call.caller().name};
  PARLEY_RETURN_IF_ERROR(CheckMayTry(attempt, call.deadline()));
  PARLEY_ASSIGN_OR_RETURN(const std::optional<db::Credentials> stored,
                          users_.GetCredentials(login_key, call.deadline()));
  PARLEY_ASSIGN_OR_RETURN(const bool right, IsRight(request.password(), stored));
  if (!right) {
    // By a deadline of its own: a caller who chose theirs well would guess uncounted.
    constexpr absl::Duration kTimeToCount = absl::Seconds(5);
    PARLEY_RETURN_IF_ERROR(passwords_.attempts.Failed(attempt, SteadyNow() + kTimeToCount));
    return WrongCredentials();
  }
  PARLEY_RETURN_IF_ERROR(passwords_.attempts.Succeeded(attempt, call.deadline()));
  if (stored->legacy_password) {
    PARLEY_ASSIGN_OR_RETURN(const std::string hash, passwords_.hasher.Hash(request.password()));
    // False if another call was quicker: it verified this password, or replaced it just now.
    PARLEY_RETURN_IF_ERROR(
        users_.ReplaceLegacyPassword(stored->user.id, hash, call.deadline()).status());
  }
  if (stored->user.status == UserStatus::kBlocked) {
    return Error(absl::StatusCode::kPermissionDenied, reason::kUserBlocked, "the user is blocked");
  }
  return ToProto(stored->user);
}

absl::Status UserService::CheckMayTry(const db::PasswordAttempt& attempt, absl::Time deadline) {
  PARLEY_ASSIGN_OR_RETURN(const absl::Duration wait, passwords_.attempts.WaitOf(attempt, deadline));
  if (wait <= absl::ZeroDuration()) return absl::OkStatus();
  constexpr absl::string_view kText = "too many wrong passwords";
  return WithQuota(
      WithRetryDelay(
          Error(absl::StatusCode::kResourceExhausted, reason::kTooManyWrongPasswords, kText), wait),
      "passwords", kText);
}

absl::StatusOr<bool> UserService::IsRight(const std::string& password,
                                          const std::optional<db::Credentials>& stored) const {
  // The same work whether the login exists or not, so that time tells nothing.
  if (stored && stored->password_hash)
    return passwords_.hasher.Verify(password, *stored->password_hash);
  if (stored && stored->legacy_password) {
    return passwords_.hasher.VerifyPlain(password, *stored->legacy_password);
  }
  return passwords_.hasher.VerifyNobody(password);
}

grpc::ServerUnaryReactor* UserService::DeleteUser(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::DeleteUserRequest, Empty>(
      {.name = "DeleteUser"}, context, in, out,
      [this](const Call& call, const v1::DeleteUserRequest& request) -> absl::StatusOr<Empty> {
        Violations violations;
        CheckId("user_id", request.user_id(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_RETURN_IF_ERROR(users_.Delete(request.user_id(), call.deadline()));
        return Empty();
      });
}

}  // namespace parley::chat
