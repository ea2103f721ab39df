// How messages come out of SQL.
#pragma once

#include <soci/soci.h>

#include <string>

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
  message.create_time = TimeColumn(row, "create_us");
  message.update_time = TimeColumn(row, "update_us");
  return message;
}

// A message and what its request said.
struct SentMessageRow {
  Message message;
  std::string fingerprint;
};

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
struct type_conversion<parley::db::SentMessageRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::SentMessageRow& out) {
    out.message = parley::db::MessageFromRow(row);
    out.fingerprint = row.get<std::string>("request_fingerprint");
  }
};

}  // namespace soci
