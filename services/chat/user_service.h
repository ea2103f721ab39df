// parley.chat.v1.UserService; the proto says what each call does.
#pragma once

#include <functional>
#include <utility>

#include "db/repository/erasure_repository.h"
#include "db/repository/password_attempt_repository.h"
#include "db/repository/user_repository.h"
#include "parley/chat/v1/user_service.grpc.pb.h"
#include "services/chat/password_hasher.h"
#include "services/runtime/call.h"

namespace parley::chat {

// What the calls on erasures need.
struct Erasing {
  db::ErasureRepository& erasures;
  std::function<void()> on_begun;  // called after each commit; any thread, must not block
};

// What the calls on passwords need. `executor` runs those that hash, so that they cannot hold up
// the others.
struct Passwords {
  runtime::Executor& executor;
  const PasswordHasher& hasher;
  db::PasswordAttemptRepository& attempts;
};

// Thread-safe. What it is given must outlive it.
class UserService final
    : public runtime::RawMethods<v1::UserService::Service,
                                 v1::UserService::WithRawCallbackMethod_CreateUser,
                                 v1::UserService::WithRawCallbackMethod_GetUser,
                                 v1::UserService::WithRawCallbackMethod_BatchGetUsers,
                                 v1::UserService::WithRawCallbackMethod_ListUsers,
                                 v1::UserService::WithRawCallbackMethod_UpdateUser,
                                 v1::UserService::WithRawCallbackMethod_SetPassword,
                                 v1::UserService::WithRawCallbackMethod_VerifyPassword,
                                 v1::UserService::WithRawCallbackMethod_DeleteUser,
                                 v1::UserService::WithRawCallbackMethod_EraseUser,
                                 v1::UserService::WithRawCallbackMethod_GetErasure>::type {
 public:
  UserService(runtime::CallPipeline& calls, db::UserRepository& users, Passwords passwords,
              Erasing erasing)
      : calls_(calls), users_(users), passwords_(passwords), erasing_(std::move(erasing)) {}

  using Reactor = grpc::ServerUnaryReactor;
  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  Reactor* CreateUser(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* GetUser(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* BatchGetUsers(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* ListUsers(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* UpdateUser(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* SetPassword(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* VerifyPassword(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* DeleteUser(Context* context, const Bytes* in, Bytes* out) override;

  // user_service_erase.cc
  Reactor* EraseUser(Context* context, const Bytes* in, Bytes* out) override;
  Reactor* GetErasure(Context* context, const Bytes* in, Bytes* out) override;

 private:
  absl::StatusOr<v1::User> Create(const runtime::Call& call, const v1::CreateUserRequest& request);
  absl::StatusOr<v1::User> Get(const runtime::Call& call, const v1::GetUserRequest& request);
  absl::StatusOr<v1::ListUsersResponse> List(const runtime::Call& call,
                                             const v1::ListUsersRequest& request);
  absl::StatusOr<v1::User> Update(const runtime::Call& call, const v1::UpdateUserRequest& request);
  absl::StatusOr<v1::User> Verify(const runtime::Call& call,
                                  const v1::VerifyPasswordRequest& request);
  // RESOURCE_EXHAUSTED, with the delay: too many wrong passwords.
  absl::Status CheckMayTry(const db::PasswordAttempt& attempt, absl::Time deadline);
  // nullopt: there is no such login.
  absl::StatusOr<bool> IsRight(const std::string& password,
                               const std::optional<db::Credentials>& stored) const;

  runtime::CallPipeline& calls_;
  db::UserRepository& users_;
  const Passwords passwords_;
  const Erasing erasing_;
};

}  // namespace parley::chat
