// How messages come out of SQL.
#pragma once

#include <soci/soci.h>

#include <string>

#include "db/core/hot_connection.h"
#include "db/model/message.h"
#include "db/repository/columns.h"

namespace parley::db {

inline Message MessageFromRow(const soci::values& row) {
  Message message;
  message.id = row.get<long long>("id");
  message.chat_id = row.get<long long>("chat_id");
  message.seq = row.get<long long>("seq");
  message.user_id = row.get<long long>("user_id");
  message.text = row.get<std::string>("text");
  message.deleted = row.get<int>("deleted") != 0;
  message.revision = row.get<int>("revision");
  message.version = row.get<long long>("version");
  message.reply_to_seq = row.get<long long>("reply_to_seq");
  message.create_time = TimeColumn(row, "create_us");
  message.update_time = TimeColumn(row, "update_us");
  return message;
}

// Where a message is.
struct MessageKeyRow {
  MessageKey key;
};

// A message from eleven columns of a hot statement, beginning with `first`: chat_id, seq, id,
// user_id, text, deleted, revision, version, reply_to_seq, created_at, updated_at.
inline Message MessageFromHot(const HotResult& rows, int row, int first) {
  Message message;
  message.chat_id = rows.Bigint(row, first);
  message.seq = rows.Bigint(row, first + 1);
  message.id = rows.Bigint(row, first + 2);
  message.user_id = rows.Bigint(row, first + 3);
  message.text = std::string(rows.Text(row, first + 4));
  message.deleted = rows.Boolean(row, first + 5);
  message.revision = rows.Integer(row, first + 6);
  message.version = rows.Bigint(row, first + 7);
  if (!rows.IsNull(row, first + 8)) message.reply_to_seq = rows.Bigint(row, first + 8);
  message.create_time = rows.Timestamptz(row, first + 9);
  message.update_time = rows.Timestamptz(row, first + 10);
  return message;
}

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::Message> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::Message& out) {
    out = parley::db::MessageFromRow(row);
  }
};

template <>
struct type_conversion<parley::db::MessageKeyRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::MessageKeyRow& out) {
    out.key.chat_id = row.get<long long>("chat_id");
    out.key.seq = row.get<long long>("seq");
  }
};

template <>
struct type_conversion<parley::MessageRevision> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::MessageRevision& out) {
    out.revision = row.get<int>("revision");
    out.text = row.get<std::string>("text");
    out.create_time = parley::db::TimeColumn(row, "create_us");
  }
};

}  // namespace soci
