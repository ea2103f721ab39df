// Users between the wire and the model.
#pragma once

#include <optional>

#include "base/error.h"
#include "db/model/erasure.h"
#include "db/model/user.h"
#include "parley/chat/v1/user.pb.h"
#include "parley/chat/v1/user_service.pb.h"

namespace parley::chat {

v1::User ToProto(const User& user);
v1::Erasure ToProto(const Erasure& erasure);

// nullopt for UNSPECIFIED. Adds a violation for a number that is no status.
std::optional<UserStatus> FromProto(absl::string_view field, v1::UserStatus status,
                                    Violations& violations);

// What an UpdateUser is to change; absent means as it is.
struct UserChange {
  std::optional<std::string> login;
  bool set_name = false;
  std::optional<std::string> name;  // with set_name; absent removes it
  std::optional<UserStatus> status;
};
// Reads the mask and the fields it names.
UserChange ToChange(const v1::UpdateUserRequest& request, Violations& violations);

}  // namespace parley::chat
