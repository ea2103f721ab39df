// Dedupe keys as rows: what task_key.sql returns becomes structs.
#pragma once

#include <soci/soci.h>

#include <cstdint>
#include <string>

namespace parley::db {

// What take_task_key has found out.
struct TakenKeyRow {
  std::int64_t id = 0;  // of the task that wanted it
  std::string outcome;
  std::int64_t holder = 0;
};

struct EarlierRequestRow {
  std::string request_id;
  std::int64_t task_id = 0;
  std::string fingerprint;
};

struct TaskKeyRow {
  std::string queue;
  std::string key;
};

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::TakenKeyRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::TakenKeyRow& out) {
    out.id = row.get<long long>("id");
    out.outcome = row.get<std::string>("outcome");
    out.holder = row.get<long long>("holder");
  }
};

template <>
struct type_conversion<parley::db::EarlierRequestRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/,
                        parley::db::EarlierRequestRow& out) {
    out.request_id = row.get<std::string>("request_id");
    out.task_id = row.get<long long>("resource_id");
    out.fingerprint = row.get<std::string>("fingerprint");
  }
};

template <>
struct type_conversion<parley::db::TaskKeyRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::TaskKeyRow& out) {
    out.queue = row.get<std::string>("queue");
    out.key = row.get<std::string>("dedupe_key");
  }
};

}  // namespace soci
