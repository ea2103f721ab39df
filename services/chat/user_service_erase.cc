// The calls on erasures.

#include "base/status_macros.h"
#include "services/chat/user_convert.h"
#include "services/chat/user_rules.h"
#include "services/chat/user_service.h"

namespace parley::chat {

using runtime::Call;

grpc::ServerUnaryReactor* UserService::EraseUser(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::EraseUserRequest, v1::Erasure>(
      {.name = "EraseUser"}, context, in, out,
      [this](const Call& call, const v1::EraseUserRequest& request) -> absl::StatusOr<v1::Erasure> {
        Violations violations;
        CheckId("user_id", request.user_id(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const Erasure erasure,
                                erasing_.erasures.Begin(request.user_id(), call.deadline()));
        erasing_.on_begun();
        return ToProto(erasure);
      });
}

grpc::ServerUnaryReactor* UserService::GetErasure(Context* context, const Bytes* in, Bytes* out) {
  return calls_.Unary<v1::GetErasureRequest, v1::Erasure>(
      {.name = "GetErasure"}, context, in, out,
      [this](const Call& call,
             const v1::GetErasureRequest& request) -> absl::StatusOr<v1::Erasure> {
        Violations violations;
        CheckId("user_id", request.user_id(), violations);
        PARLEY_RETURN_IF_ERROR(violations.ToStatus());
        PARLEY_ASSIGN_OR_RETURN(const Erasure erasure,
                                erasing_.erasures.Get(request.user_id(), call.deadline()));
        return ToProto(erasure);
      });
}

}  // namespace parley::chat
