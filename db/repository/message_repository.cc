#include "db/repository/message_repository.h"

#include <algorithm>
#include <future>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/chat_repository.h"
#include "db/repository/message_rows.h"
#include "db/repository/paging.h"
#include "db/repository/statements.h"
#include "db/repository/user_repository.h"

namespace parley::db {
namespace {

namespace statements = sql::message;

using Anchor = MessageRepository::Anchor;
using ListParams = MessageRepository::ListParams;
using MessagePage = MessageRepository::MessagePage;

constexpr std::int64_t kNoSeq = std::numeric_limits<std::int64_t>::max();

absl::Status NotPermitted(std::int64_t user_id) {
  return Error(absl::StatusCode::kPermissionDenied, reason::kNotPermitted,
               absl::StrCat("user ", user_id, " may not do this to the message"),
               {{"user_id", absl::StrCat(user_id)}});
}

absl::Status MessageDeleted() {
  return Error(absl::StatusCode::kFailedPrecondition, reason::kMessageDeleted,
               "the message has been deleted");
}

std::vector<Message> MessagesOf(const HotResult& rows) {
  std::vector<Message> messages;
  messages.reserve(static_cast<std::size_t>(rows.rows()));
  for (int row = 0; row < rows.rows(); ++row) {
    // A chat without messages to list comes as a row of NULLs.
    if (!rows.IsNull(row, 0)) messages.push_back(MessageFromHot(rows, row, 0));
  }
  return messages;
}

// One more than asked for tells whether there is a next page.
HotStep ListStep(const ListParams& params) {
  const bool newest_first = params.anchor != Anchor::kAfter;
  const std::int64_t start = params.anchor == Anchor::kNewest ? kNoSeq : params.seq;
  HotParams values;
  values.Bigint(params.chat_id).Bigint(start).Bigint(params.limit + 1).Boolean(params.show_deleted);
  if (params.offset == 0) {
    return {newest_first ? &statements::ListNewest : &statements::ListOldest, std::move(values)};
  }
  // Nobody has more messages than this, and sums with it do not overflow.
  constexpr std::int64_t kMaxOffset = std::int64_t{1} << 61;
  values.Bigint(std::min(params.offset, kMaxOffset));
  return {newest_first ? &statements::ListNewestAtOffset : &statements::ListOldestAtOffset,
          std::move(values)};
}

absl::StatusOr<MessagePage> PageOf(const ListParams& params, const HotResult& rows) {
  if (rows.rows() == 0) return ChatNotFound(params.chat_id);
  std::vector<Message> messages = MessagesOf(rows);
  // The server lists them so, but nothing obliges it to.
  const bool newest_first = params.anchor != Anchor::kAfter;
  std::sort(messages.begin(), messages.end(), [newest_first](const Message& a, const Message& b) {
    return newest_first ? a.seq > b.seq : a.seq < b.seq;
  });
  return CutPage<std::int64_t>(std::move(messages), params.limit,
                               [](const Message& message) { return message.seq; });
}

// `above` are messages at the anchor and after it, the nearest first; `below` those before it.
MessagePage PageAround(std::vector<Message> above, std::vector<Message> below, std::int32_t limit) {
  const auto size = static_cast<std::size_t>(limit);
  // Half of the page each; where one side is short, the other fills it up.
  const std::size_t half = (size + 1) / 2;
  const std::size_t wanted = below.size() < size - half ? size - below.size() : half;
  above.resize(std::min(above.size(), wanted));
  std::reverse(above.begin(), above.end());
  above.insert(above.end(), std::make_move_iterator(below.begin()),
               std::make_move_iterator(below.end()));
  return CutPage<std::int64_t>(std::move(above), limit,
                               [](const Message& message) { return message.seq; });
}

// The chat and seq of a message that is named by either.
absl::StatusOr<MessageKey> Locate(Session& session, const MessageKey& key) {
  if (key.id == 0) return key;
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<MessageKeyRow> found,
      session.QueryOptional<MessageKeyRow>(statements::LocateMessage, {{"id", key.id}}));
  if (!found) return MessageNotFound(key);
  return found->key;
}

// The message, under its chat's lock, which everything that changes a message takes first.
absl::StatusOr<Message> LockMessage(Session& session, const MessageKey& key) {
  PARLEY_ASSIGN_OR_RETURN(const MessageKey place, Locate(session, key));
  PARLEY_RETURN_IF_ERROR(
      session.QueryOptional<IdRow>(statements::LockChatToSend, {{"chat_id", place.chat_id}})
          .status());
  PARLEY_ASSIGN_OR_RETURN(
      std::optional<Message> message,
      session.QueryOptional<Message>(statements::ReadMessage,
                                     {{"chat_id", place.chat_id}, {"seq", place.seq}}));
  if (!message) return MessageNotFound(key);
  return *std::move(message);
}

absl::Status NoteEvent(Session& session, const Message& message, absl::string_view kind) {
  return session
      .Execute(statements::InsertEvent,
               {{"chat_id", message.chat_id}, {"seq", message.seq}, {"kind", kind}})
      .status();
}

absl::StatusOr<Message> ChangedMessage(absl::StatusOr<std::optional<Message>> row) {
  if (!row.ok()) return row.status();
  if (!*row) return InternalError("a locked message could not be changed");
  return **std::move(row);
}

// Why a mark could not be found.
absl::Status WhyNoMark(Session& session, std::int64_t chat_id, std::int64_t user_id) {
  PARLEY_ASSIGN_OR_RETURN(
      const std::optional<IdRow> chat,
      session.QueryOptional<IdRow>(statements::FindChat, {{"chat_id", chat_id}}));
  if (!chat) return ChatNotFound(chat_id);
  return NotAMember(chat_id, user_id);
}

std::vector<UnreadCount> UnreadOf(const HotResult& rows) {
  std::vector<UnreadCount> counts;
  counts.reserve(static_cast<std::size_t>(rows.rows()));
  for (int row = 0; row < rows.rows(); ++row) {
    counts.push_back({.chat_id = rows.Bigint(row, 0),
                      .read_seq = rows.Bigint(row, 1),
                      .last_seq = rows.Bigint(row, 2),
                      .unread = rows.Bigint(row, 3)});
  }
  return counts;
}

}  // namespace

absl::Status MessageNotFound(const MessageKey& key) {
  if (key.id != 0) {
    return Error(absl::StatusCode::kNotFound, reason::kMessageNotFound,
                 absl::StrCat("message ", key.id, " does not exist"),
                 {{"message_id", absl::StrCat(key.id)}});
  }
  return Error(absl::StatusCode::kNotFound, reason::kMessageNotFound,
               absl::StrCat("chat ", key.chat_id, " has no message ", key.seq),
               {{"chat_id", absl::StrCat(key.chat_id)}, {"seq", absl::StrCat(key.seq)}});
}

MessageRepository::MessageRepository(SessionPool& pool, const Options& options)
    : pool_(pool),
      language_(options.language),
      read_lane_(pool.dsn(),
                 {.connections = options.read_connections, .queue = options.read_queue}) {
  for (std::int32_t i = 0; i < options.send_lanes; ++i) {
    send_lanes_.push_back(std::make_unique<MergeLane>(pool.dsn(), options.send,
                                                      std::make_unique<SendMerger>(language_)));
  }
}

std::vector<LaneView> MessageRepository::send_lanes() const {
  std::vector<LaneView> views;
  views.reserve(send_lanes_.size());
  for (const auto& lane : send_lanes_) views.push_back(lane->view());
  return views;
}

MergeLane& MessageRepository::LaneOf(std::int64_t chat_id) {
  return *send_lanes_[static_cast<std::uint64_t>(chat_id) % send_lanes_.size()];
}

void MessageRepository::Send(std::vector<SendParams> messages, absl::Time deadline,
                             std::function<void(SendOp::Outcomes)> done,
                             std::function<bool()> abandoned) {
  MergeLane& lane = LaneOf(messages.front().chat_id);
  lane.Submit(std::make_unique<SendOp>(std::move(messages), deadline, std::move(done),
                                       std::move(abandoned)));
}

absl::StatusOr<Message> MessageRepository::Send(const SendParams& params, absl::Time deadline) {
  std::promise<absl::StatusOr<Message>> promise;
  Send({params}, deadline,
       [&](SendOp::Outcomes outcomes) { promise.set_value(std::move(outcomes.front())); });
  return promise.get_future().get();
}

void MessageRepository::Read(HotStep step, absl::Time deadline,
                             std::function<void(absl::StatusOr<HotResult>)> done) {
  read_lane_.Submit({std::move(step), deadline, std::move(done)});
}

void MessageRepository::Get(const MessageKey& key, absl::Time deadline, MessageDone done) {
  HotStep step = key.id != 0 ? HotStep{&statements::GetMessageById, HotParams().Bigint(key.id)}
                             : HotStep{&statements::GetMessage,
                                       HotParams().Bigint(key.chat_id).Bigint(key.seq)};
  Read(std::move(step), deadline, [key, done = std::move(done)](absl::StatusOr<HotResult> rows) {
    if (!rows.ok()) return done(rows.status());
    if (rows->rows() == 0) return done(MessageNotFound(key));
    done(MessageFromHot(*rows, 0, 0));
  });
}

void MessageRepository::BatchGet(const std::vector<std::int64_t>& ids, absl::Time deadline,
                                 MessagesDone done) {
  Read({&statements::BatchGetMessagesById, HotParams().BigintArray(ids)}, deadline,
       [done = std::move(done)](absl::StatusOr<HotResult> rows) {
         if (!rows.ok()) return done(rows.status());
         done(MessagesOf(*rows));
       });
}

void MessageRepository::BatchGet(std::int64_t chat_id, const std::vector<std::int64_t>& seqs,
                                 absl::Time deadline, MessagesDone done) {
  Read({&statements::BatchGetMessages, HotParams().Bigint(chat_id).BigintArray(seqs)}, deadline,
       [done = std::move(done)](absl::StatusOr<HotResult> rows) {
         if (!rows.ok()) return done(rows.status());
         done(MessagesOf(*rows));
       });
}

void MessageRepository::List(const ListParams& params, absl::Time deadline,
                             std::function<void(absl::StatusOr<MessagePage>)> done) {
  if (params.anchor == Anchor::kAround) return ListAround(params, deadline, std::move(done));
  if (params.anchor == Anchor::kBeforeTime) {
    return Read({&statements::FindSeqAtTime,
                 HotParams().Bigint(params.chat_id).Timestamptz(params.before_time)},
                deadline,
                [this, params, deadline, done = std::move(done)](absl::StatusOr<HotResult> rows) {
                  if (!rows.ok()) return done(rows.status());
                  if (rows->rows() == 0) return done(ChatNotFound(params.chat_id));
                  ListParams before = params;
                  before.anchor = Anchor::kBefore;
                  before.seq = rows->Bigint(0, 0);
                  List(before, deadline, done);
                });
  }
  Read(ListStep(params), deadline,
       [params, done = std::move(done)](absl::StatusOr<HotResult> rows) {
         if (!rows.ok()) return done(rows.status());
         done(PageOf(params, *rows));
       });
}

void MessageRepository::ListAround(const ListParams& params, absl::Time deadline,
                                   std::function<void(absl::StatusOr<MessagePage>)> done) {
  ListParams above = params;
  above.anchor = Anchor::kAfter;
  above.seq = params.seq - 1;
  ListParams below = params;
  below.anchor = Anchor::kBefore;
  // What arrives between the two statements is newer than both.
  List(above, deadline,
       [this, below, deadline, done = std::move(done)](absl::StatusOr<MessagePage> newer) {
         if (!newer.ok()) return done(newer.status());
         List(below, deadline,
              [below, newer = std::move(newer->rows), done](absl::StatusOr<MessagePage> older) {
                if (!older.ok()) return done(older.status());
                // The row more than the page that tells whether another page follows.
                const bool more = older->next.has_value();
                MessagePage page = PageAround(newer, std::move(older->rows), below.limit);
                if (!page.next && more) page.next = page.rows.back().seq;
                done(std::move(page));
              });
       });
}

absl::StatusOr<Message> MessageRepository::Edit(const EditParams& params, absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry,
      [&](Session& session) -> absl::StatusOr<Message> {
        PARLEY_ASSIGN_OR_RETURN(Message before, LockMessage(session, params.key));
        if (before.user_id != params.user_id) return NotPermitted(params.user_id);
        if (before.deleted) return MessageDeleted();
        if (params.version && *params.version != before.version) return EtagMismatch();
        if (before.text == params.text) return before;
        PARLEY_RETURN_IF_ERROR(session
                                   .Execute(statements::KeepRevision,
                                            {{"chat_id", before.chat_id}, {"seq", before.seq}})
                                   .status());
        PARLEY_RETURN_IF_ERROR(NoteEvent(session, before, "updated"));
        return ChangedMessage(
            session.QueryOptional<Message>(statements::EditMessage, {{"chat_id", before.chat_id},
                                                                     {"seq", before.seq},
                                                                     {"text", params.text},
                                                                     {"language", language_}}));
      });
}

absl::StatusOr<Message> MessageRepository::Delete(const MessageKey& key, std::int64_t user_id,
                                                  absl::Time deadline) {
  return RunTransaction(
      pool_, deadline, OnLostCommit::kSafeToRetry,
      [&](Session& session) -> absl::StatusOr<Message> {
        PARLEY_ASSIGN_OR_RETURN(Message before, LockMessage(session, key));
        if (before.user_id != user_id) {
          PARLEY_ASSIGN_OR_RETURN(
              const std::optional<IdRow> manager,
              session.QueryOptional<IdRow>(statements::FindManager,
                                           {{"chat_id", before.chat_id}, {"user_id", user_id}}));
          if (!manager) return NotPermitted(user_id);
        }
        if (before.deleted) return before;
        const std::vector<Bind> place = {{"chat_id", before.chat_id}, {"seq", before.seq}};
        PARLEY_RETURN_IF_ERROR(session.Execute(statements::DeleteRevisions, place).status());
        PARLEY_RETURN_IF_ERROR(NoteEvent(session, before, "deleted"));
        return ChangedMessage(session.QueryOptional<Message>(statements::DeleteMessage, place));
      });
}

absl::StatusOr<Page<MessageRevision, std::int32_t>> MessageRepository::ListRevisions(
    const MessageKey& key, const PageParams<std::int32_t>& page, absl::Time deadline) {
  using RevisionPage = Page<MessageRevision, std::int32_t>;
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<RevisionPage> {
    PARLEY_ASSIGN_OR_RETURN(const MessageKey place, Locate(session, key));
    const std::vector<Bind> binds = {{"chat_id", place.chat_id}, {"seq", place.seq}};
    PARLEY_ASSIGN_OR_RETURN(const std::optional<Message> message,
                            session.QueryOptional<Message>(statements::ReadMessage, binds));
    if (!message) return MessageNotFound(key);
    PARLEY_ASSIGN_OR_RETURN(
        std::vector<MessageRevision> rows,
        session.Query<MessageRevision>(
            statements::ListRevisions,
            {{"chat_id", place.chat_id},
             {"seq", place.seq},
             {"before", page.after.value_or(std::numeric_limits<std::int32_t>::max())},
             {"offset", page.offset},
             {"limit", page.limit + 1}}));
    return CutPage<std::int32_t>(std::move(rows), page.limit,
                                 [](const MessageRevision& row) { return row.revision; });
  });
}

absl::Status MessageRepository::MarkRead(std::int64_t chat_id, std::int64_t user_id,
                                         std::int64_t seq, absl::Time deadline) {
  return RunTransaction(
             pool_, deadline, OnLostCommit::kSafeToRetry,
             [&](Session& session) -> absl::StatusOr<std::int64_t> {
               const std::vector<Bind> mark = {{"chat_id", chat_id}, {"user_id", user_id}};
               PARLEY_ASSIGN_OR_RETURN(
                   const std::optional<IdRow> locked,
                   session.QueryOptional<IdRow>(statements::LockReadMark, mark));
               if (!locked) return WhyNoMark(session, chat_id, user_id);
               return session.Execute(statements::MoveReadMark,
                                      {{"chat_id", chat_id}, {"user_id", user_id}, {"seq", seq}});
             })
      .status();
}

void MessageRepository::GetUnreadCounts(std::int64_t user_id,
                                        const std::vector<std::int64_t>& chat_ids,
                                        absl::Time deadline, UnreadDone done) {
  Read({&statements::GetUnreadCounts, HotParams().Bigint(user_id).BigintArray(chat_ids)}, deadline,
       [this, user_id, deadline, done = std::move(done)](absl::StatusOr<HotResult> rows) {
         if (!rows.ok()) return done(rows.status());
         if (rows->rows() > 0) return done(UnreadOf(*rows));
         Read({&statements::FindReader, HotParams().Bigint(user_id)}, deadline,
              [user_id, done](absl::StatusOr<HotResult> user) {
                if (!user.ok()) return done(user.status());
                if (user->rows() == 0) return done(UserNotFound(user_id));
                done(std::vector<UnreadCount>());
              });
       });
}

}  // namespace parley::db
