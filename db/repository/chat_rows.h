// How chats and members come out of SQL.
#pragma once

#include <soci/soci.h>

#include <string>

#include "absl/strings/string_view.h"
#include "db/model/chat.h"
#include "db/repository/columns.h"
#include "db/repository/user_rows.h"

namespace parley::db {

inline absl::string_view ToLabel(ChatType type) {
  switch (type) {
    case ChatType::kPrivate:
      return "private";
    case ChatType::kGroup:
      return "group";
    case ChatType::kChannel:
      return "channel";
  }
  return "";
}

inline ChatType ChatTypeFromLabel(absl::string_view label) {
  if (label == "group") return ChatType::kGroup;
  return label == "channel" ? ChatType::kChannel : ChatType::kPrivate;
}

inline absl::string_view ToLabel(ChatRole role) {
  switch (role) {
    case ChatRole::kOwner:
      return "owner";
    case ChatRole::kAdmin:
      return "admin";
    case ChatRole::kMember:
      return "member";
  }
  return "";
}

inline ChatRole ChatRoleFromLabel(absl::string_view label) {
  if (label == "owner") return ChatRole::kOwner;
  return label == "admin" ? ChatRole::kAdmin : ChatRole::kMember;
}

// A member and the chat it belongs to.
struct ChatUserRow {
  std::int64_t chat_id = 0;
  User user;
};

// A role alone.
struct RoleRow {
  ChatRole role = ChatRole::kMember;
};

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::Chat> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::Chat& out) {
    out.id = row.get<long long>("id");
    out.title = row.get<std::string>("title");
    out.description = parley::db::OptionalTextColumn(row, "description");
    out.chat_type = parley::db::ChatTypeFromLabel(row.get<std::string>("chat_type"));
    out.creator_user_id = row.get<long long>("creator_user_id");
    out.user_count = row.get<int>("user_count");
    out.version = row.get<long long>("version");
    out.retention.reset();
    if (const auto us = row.get<long long>("retention_us"); us > 0) {
      out.retention = absl::Microseconds(us);
    }
    out.create_time = parley::db::TimeColumn(row, "create_us");
    out.update_time = parley::db::TimeColumn(row, "update_us");
    out.users.clear();
  }
};

template <>
struct type_conversion<parley::ChatMember> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::ChatMember& out) {
    out.role = parley::db::ChatRoleFromLabel(row.get<std::string>("role"));
    out.join_time = parley::db::TimeColumn(row, "join_us");
    out.user = parley::db::UserFromRow(row);
  }
};

template <>
struct type_conversion<parley::db::ChatUserRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::ChatUserRow& out) {
    out.chat_id = row.get<long long>("chat_id");
    out.user = parley::db::UserFromRow(row);
  }
};

template <>
struct type_conversion<parley::db::RoleRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::RoleRow& out) {
    out.role = parley::db::ChatRoleFromLabel(row.get<std::string>("role"));
  }
};

}  // namespace soci
