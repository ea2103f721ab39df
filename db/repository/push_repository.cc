#include "db/repository/push_repository.h"

#include <utility>

#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/columns.h"
#include "db/repository/queue_target_json.h"
#include "db/repository/statements.h"
#include "db/repository/task_rows.h"

namespace parley::db {

// A queue, its target as it is written.
struct PushQueueRow {
  std::string name;
  std::string target;
};

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::PushQueueRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::PushQueueRow& out) {
    out = {row.get<std::string>("name"), row.get<std::string>("target")};
  }
};

template <>
struct type_conversion<parley::db::HandoffPlace> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::HandoffPlace& out) {
    out = {row.get<std::string>("queue"), row.get<std::string>("token_prefix")};
  }
};

template <>
struct type_conversion<parley::db::PushedTask> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::PushedTask& out) {
    out.lease = {row.get<long long>("id"), parley::db::ReadLeaseToken(row)};
    out.create_time = parley::db::TimeColumn(row, "created_at");
    out.may_expire = row.get<int>("may_expire") != 0;
    out.cancel_requested = row.get<int>("cancel_requested") != 0;
    out.age = absl::Microseconds(row.get<long long>("age_us"));
    if (row.get_indicator("left_us") != i_null) {
      out.left = absl::Microseconds(row.get<long long>("left_us"));
    }
  }
};

}  // namespace soci

namespace parley::db {

absl::StatusOr<std::vector<PushQueue>> PushRepository::ListQueues(absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<std::vector<PushQueue>> {
    PARLEY_ASSIGN_OR_RETURN(std::vector<PushQueueRow> rows,
                            session.Query<PushQueueRow>(sql::push::ListPushQueues, {}));
    std::vector<PushQueue> queues;
    for (PushQueueRow& row : rows) {
      absl::StatusOr<QueueTarget> target = QueueTargetFromJson(row.target);
      if (target.ok()) queues.push_back({std::move(row.name), *std::move(target)});
    }
    return queues;
  });
}

absl::StatusOr<std::vector<HandoffPlace>> PushRepository::ListPlaces(absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return session.Query<HandoffPlace>(
        sql::push::ListHandoffPlaces,
        {{"prefix", kPushTokenPrefix}, {"size", kPlaceTokenPrefixSize}});
  });
}

absl::StatusOr<std::vector<PushedTask>> PushRepository::ListTasks(const HandoffPlace& place,
                                                                  absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return session.Query<PushedTask>(sql::push::ListPushedTasks,
                                     {{"queue", place.queue}, {"prefix", place.token_prefix}});
  });
}

}  // namespace parley::db
