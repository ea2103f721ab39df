#include "db/repository/event_repository.h"

#include <string>

#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/chat_repository.h"
#include "db/repository/event_rows.h"
#include "db/repository/statements.h"

namespace parley::db {
namespace {

// What a message weighs besides its text, roughly.
constexpr std::size_t kMessageBytes = 64;

absl::StatusOr<std::vector<std::int64_t>> QueryIds(Session& session, const Statement& statement,
                                                   std::vector<Bind> binds) {
  PARLEY_ASSIGN_OR_RETURN(const std::vector<IdRow> rows,
                          session.Query<IdRow>(statement, std::move(binds)));
  std::vector<std::int64_t> ids;
  ids.reserve(rows.size());
  for (const IdRow& row : rows) ids.push_back(row.id);
  return ids;
}

// Makes a batch of the rows that follow the chat's own.
EventRepository::Batch ToBatch(const EventRepository::ReadParams& params,
                               std::vector<EventRow> rows) {
  const ChatPosition top{rows.front().event.message.seq, rows.front().event.event};
  std::int64_t sent = 0;
  for (const EventRow& row : rows) {
    if (!row.is_chat && row.event.kind == MessageEvent::Kind::kSent) ++sent;
  }
  const std::int64_t changed = static_cast<std::int64_t>(rows.size()) - 1 - sent;

  EventRepository::Batch batch;
  batch.end = params.after;
  std::size_t bytes = 0;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    MessageEvent& event = rows[i].event;
    const bool is_sent = event.kind == MessageEvent::Kind::kSent;
    // All that was sent is in the batch once the first change is reached, unless there was too
    // much.
    if (!is_sent && sent < params.limit) batch.end.seq = std::max(batch.end.seq, top.seq);
    // A change of a message that is yet to be shown waits, and so do all after it.
    if (!is_sent && event.message.seq > batch.end.seq) break;
    bytes += kMessageBytes + event.message.text.size();
    if (bytes > params.max_bytes && !batch.events.empty()) {
      batch.more = true;
      return batch;
    }
    (is_sent ? batch.end.seq : batch.end.event) = is_sent ? event.message.seq : event.event;
    batch.events.push_back(std::move(event));
  }
  if (sent < params.limit) {
    batch.end.seq = std::max(batch.end.seq, top.seq);
    // With all messages shown, no change had to wait.
    if (changed < params.limit) batch.end.event = std::max(batch.end.event, top.event);
  }
  batch.more = !Covers(batch.end, top);
  return batch;
}

}  // namespace

absl::StatusOr<EventRepository::Positions> EventRepository::FindPositions(
    const std::vector<std::int64_t>& chat_ids, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Positions> {
    PARLEY_ASSIGN_OR_RETURN(const std::vector<PositionRow> rows,
                            session.Query<PositionRow>(sql::event::FindPositions,
                                                       {{"chat_ids", ArrayLiteral(chat_ids)}}));
    Positions positions;
    for (const PositionRow& row : rows) positions[row.chat_id] = row.position;
    return positions;
  });
}

absl::StatusOr<std::vector<std::int64_t>> EventRepository::FindMoved(
    const std::vector<std::pair<std::int64_t, ChatPosition>>& known, absl::Time deadline) {
  std::vector<std::int64_t> chat_ids;
  std::vector<std::int64_t> seqs;
  std::vector<std::int64_t> events;
  for (const auto& [chat_id, position] : known) {
    chat_ids.push_back(chat_id);
    seqs.push_back(position.seq);
    events.push_back(position.event);
  }
  return RunOnce(pool_, deadline, [&](Session& session) {
    return QueryIds(session, sql::event::FindMoved,
                    {{"chat_ids", ArrayLiteral(chat_ids)},
                     {"seqs", ArrayLiteral(seqs)},
                     {"events", ArrayLiteral(events)}});
  });
}

absl::StatusOr<EventRepository::Batch> EventRepository::Read(const ReadParams& params,
                                                             absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<Batch> {
    PARLEY_ASSIGN_OR_RETURN(
        std::vector<EventRow> rows,
        session.Query<EventRow>(sql::event::ReadEvents, {{"chat_id", params.chat_id},
                                                         {"seq", params.after.seq},
                                                         {"event", params.after.event},
                                                         {"limit", params.limit}}));
    if (rows.empty()) return ChatNotFound(params.chat_id);
    return ToBatch(params, std::move(rows));
  });
}

absl::StatusOr<std::vector<Membership>> EventRepository::ListMemberships(
    const std::vector<std::int64_t>& user_ids, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return session.Query<Membership>(sql::event::ListMemberships,
                                     {{"user_ids", ArrayLiteral(user_ids)}});
  });
}

absl::StatusOr<std::vector<Membership>> EventRepository::FindMembers(
    std::int64_t chat_id, const std::vector<std::int64_t>& user_ids, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return session.Query<Membership>(sql::event::FindMembers,
                                     {{"chat_id", chat_id}, {"user_ids", ArrayLiteral(user_ids)}});
  });
}

absl::StatusOr<std::vector<std::int64_t>> EventRepository::FindUsers(
    const std::vector<std::int64_t>& user_ids, absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return QueryIds(session, sql::event::FindUsers, {{"user_ids", ArrayLiteral(user_ids)}});
  });
}

}  // namespace parley::db
