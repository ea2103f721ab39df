// How users come out of SQL: the columns id, login, name, status, version, create_us, update_us.
#pragma once

#include <soci/soci.h>

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "db/model/user.h"
#include "db/repository/columns.h"

namespace parley::db {

inline absl::string_view ToLabel(UserStatus status) {
  return status == UserStatus::kBlocked ? "blocked" : "active";
}

inline User UserFromRow(const soci::values& row) {
  User user;
  user.id = row.get<long long>("id");
  user.login = row.get<std::string>("login");
  user.name = OptionalTextColumn(row, "name");
  user.status = row.get<std::string>("status") == ToLabel(UserStatus::kBlocked)
                    ? UserStatus::kBlocked
                    : UserStatus::kActive;
  user.version = row.get<long long>("version");
  user.create_time = TimeColumn(row, "create_us");
  user.update_time = TimeColumn(row, "update_us");
  return user;
}

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::User> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::User& out) {
    out = parley::db::UserFromRow(row);
  }
};

}  // namespace soci
