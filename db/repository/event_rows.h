// How what happens in chats comes out of SQL.
#pragma once

#include <soci/soci.h>

#include <cstdint>
#include <string>

#include "db/model/message_event.h"
#include "db/repository/message_rows.h"

namespace parley::db {

// A chat and where it is.
struct PositionRow {
  std::int64_t chat_id = 0;
  ChatPosition position;
};

// A row of ReadEvents: the chat itself, or something that happened in it.
struct EventRow {
  bool is_chat = false;
  MessageEvent event;  // of the chat: its last event, and its last seq in message.seq
};

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::PositionRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::PositionRow& out) {
    out.chat_id = row.get<long long>("chat_id");
    out.position = {row.get<long long>("last_seq"), row.get<long long>("last_event")};
  }
};

template <>
struct type_conversion<parley::Membership> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::Membership& out) {
    out.chat_id = row.get<long long>("chat_id");
    out.user_id = row.get<long long>("user_id");
    out.joined = {row.get<long long>("joined_seq"), row.get<long long>("joined_event")};
  }
};

template <>
struct type_conversion<parley::db::EventRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::EventRow& out) {
    using Kind = parley::MessageEvent::Kind;
    const auto kind = row.get<std::string>("kind");
    out.is_chat = kind == "chat";
    out.event.kind = kind == "updated"   ? Kind::kUpdated
                     : kind == "deleted" ? Kind::kDeleted
                                         : Kind::kSent;
    out.event.event = row.get<long long>("event");
    out.event.message = parley::db::MessageFromRow(row);
  }
};

}  // namespace soci
