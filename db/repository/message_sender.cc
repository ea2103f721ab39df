#include "db/repository/message_sender.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "db/repository/chat_repository.h"
#include "db/repository/message_repository.h"
#include "db/repository/message_rows.h"
#include "db/repository/request_log.h"
#include "db/repository/statements.h"

namespace parley::db {
namespace {

// The columns of InsertMessages.
enum Column {
  kPosition,
  kIsMember,
  kIsActive,
  kHasReply,
  kSeq,
  kId,
  kSentAt,
  kEarlierSeq,
  kEarlierFingerprint,
  kEarlier,
};

absl::Status UserBlocked(std::int64_t user_id) {
  return Error(absl::StatusCode::kPermissionDenied, reason::kUserBlocked,
               absl::StrCat("user ", user_id, " is blocked"), {{"user_id", absl::StrCat(user_id)}});
}

// What the request id wrote has outlived the chat's retention.
absl::Status MessageExpired(const SendParams& params, std::int64_t seq) {
  return Error(absl::StatusCode::kNotFound, reason::kMessageExpired,
               "the message that this request_id wrote is older than the chat keeps messages",
               {{"chat_id", absl::StrCat(params.chat_id)}, {"seq", absl::StrCat(seq)}});
}

Message Written(const SendParams& params, const HotResult& rows, int row) {
  Message message;
  message.id = rows.Bigint(row, kId);
  message.chat_id = params.chat_id;
  message.seq = rows.Bigint(row, kSeq);
  message.user_id = params.user_id;
  message.text = params.text;
  message.reply_to_seq = params.reply_to_seq;
  message.create_time = rows.Timestamptz(row, kSentAt);
  message.update_time = message.create_time;
  return message;
}

absl::StatusOr<Message> Outcome(const SendParams& params, const HotResult& rows, int row) {
  if (!rows.IsNull(row, kEarlierSeq)) {
    if (rows.Text(row, kEarlierFingerprint) != params.fingerprint) {
      return RequestIdReused(params.request_id);
    }
    if (rows.IsNull(row, kEarlier)) return MessageExpired(params, rows.Bigint(row, kEarlierSeq));
    return MessageFromHot(rows, row, kEarlier);
  }
  if (!rows.Boolean(row, kIsMember)) return NotAMember(params.chat_id, params.user_id);
  if (!rows.Boolean(row, kIsActive)) return UserBlocked(params.user_id);
  if (!rows.Boolean(row, kHasReply)) {
    return MessageNotFound({.chat_id = params.chat_id, .seq = params.reply_to_seq});
  }
  if (rows.IsNull(row, kId)) return InternalError("a message was neither refused nor written");
  return Written(params, rows, row);
}

// Of a message that was not sent to the database because one before it in the batch had the same
// request id: what it would have been told after that one. `row` is that one's, `first` its
// outcome.
absl::StatusOr<Message> OutcomeOfTwin(const SendParams& params, const SendParams& first_params,
                                      const absl::StatusOr<Message>& first, const HotResult& rows,
                                      int row) {
  if (params.fingerprint == first_params.fingerprint || row < 0) return first;
  if (first.ok() && rows.IsNull(row, kEarlierSeq)) return RequestIdReused(params.request_id);
  // What its request id wrote before decides, or who its sender is.
  if (!rows.IsNull(row, kEarlierSeq) || rows.Boolean(row, kHasReply)) {
    return Outcome(params, rows, row);
  }
  if (!rows.Boolean(row, kIsActive)) return first;
  // The one before was refused for what it answers, so this one's turn has come, but not here.
  return Error(absl::StatusCode::kAborted, reason::kContention,
               "another message with this request_id was being sent; try again");
}

// The messages of one transaction, and how they are told apart in its answer.
class SendBatch {
 public:
  explicit SendBatch(const std::vector<MergeOp*>& ops) : ops_(ops) {
    std::map<std::tuple<std::int64_t, std::int64_t, absl::string_view>, std::size_t> seen;
    for (const MergeOp* op : ops) {
      for (const SendParams& params : static_cast<const SendOp*>(op)->messages) {
        Item item{.params = &params, .twin_of = items_.size()};
        if (!params.request_id.empty()) {
          item.twin_of =
              seen.try_emplace({params.chat_id, params.user_id, params.request_id}, items_.size())
                  .first->second;
        }
        if (item.twin_of == items_.size()) sent_.push_back(items_.size());
        items_.push_back(item);
      }
    }
  }

  std::vector<HotStep> Steps(const std::string& language, bool now_or_never) const {
    std::vector<HotStep> steps = LockSteps(now_or_never);
    steps.push_back(InsertStep(language));
    return steps;
  }

  void Answer(const HotResult& rows) const {
    std::vector<absl::StatusOr<Message>> outcomes = OutcomesOf(rows);
    auto outcome = outcomes.begin();
    for (MergeOp* op : ops_) {
      auto* send = static_cast<SendOp*>(op);
      const auto end = outcome + static_cast<std::ptrdiff_t>(send->messages.size());
      send->done(SendOp::Outcomes(std::make_move_iterator(outcome), std::make_move_iterator(end)));
      outcome = end;
    }
  }

 private:
  // One whose request id came before in the same batch is not sent to the database; it gets the
  // outcome of that one.
  struct Item {
    const SendParams* params = nullptr;
    std::size_t twin_of = 0;  // its own index: none
  };

  std::vector<HotStep> LockSteps(bool now_or_never) const {
    std::map<std::int64_t, std::int64_t> room;  // by chat, ascending: how many messages
    for (const std::size_t index : sent_) ++room[items_[index].params->chat_id];
    std::vector<HotStep> steps;
    std::vector<std::int64_t> chats;
    std::vector<std::int64_t> counts;
    for (const auto& [chat_id, count] : room) {
      chats.push_back(chat_id);
      counts.push_back(count);
      if (now_or_never) {
        steps.push_back({&sql::message::LockChatNowOrNever, HotParams().Bigint(chat_id)});
      }
    }
    steps.push_back(
        {&sql::message::AdvanceChats, HotParams().BigintArray(chats).BigintArray(counts)});
    return steps;
  }

  HotStep InsertStep(const std::string& language) const;

  std::vector<absl::StatusOr<Message>> OutcomesOf(const HotResult& rows) const {
    std::vector<absl::StatusOr<Message>> outcomes(items_.size());
    std::vector<int> row_of(items_.size(), -1);
    for (int row = 0; row < rows.rows(); ++row) {
      const std::size_t index = sent_[static_cast<std::size_t>(rows.Bigint(row, kPosition) - 1)];
      outcomes[index] = Outcome(*items_[index].params, rows, row);
      row_of[index] = row;
    }
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const std::size_t first = items_[i].twin_of;
      if (first != i) {
        outcomes[i] = OutcomeOfTwin(*items_[i].params, *items_[first].params, outcomes[first], rows,
                                    row_of[first]);
      } else if (row_of[i] < 0) {  // no row comes back of a chat that does not exist
        outcomes[i] = ChatNotFound(items_[i].params->chat_id);
      }
    }
    return outcomes;
  }

  const std::vector<MergeOp*> ops_;
  std::vector<Item> items_;
  std::vector<std::size_t> sent_;  // indexes of the items that go to the database
};

HotStep SendBatch::InsertStep(const std::string& language) const {
  std::vector<std::int64_t> chats;
  std::vector<std::int64_t> users;
  std::vector<std::optional<absl::string_view>> texts;
  std::vector<std::optional<absl::string_view>> request_ids;
  std::vector<std::optional<absl::string_view>> fingerprints;
  std::vector<std::optional<std::int64_t>> replies;
  for (const std::size_t index : sent_) {
    const SendParams& params = *items_[index].params;
    const bool remembered = !params.request_id.empty();
    chats.push_back(params.chat_id);
    users.push_back(params.user_id);
    texts.emplace_back(params.text);
    request_ids.push_back(remembered ? std::optional<absl::string_view>(params.request_id)
                                     : std::nullopt);
    fingerprints.push_back(remembered ? std::optional<absl::string_view>(params.fingerprint)
                                      : std::nullopt);
    replies.push_back(params.reply_to_seq != 0 ? std::optional<std::int64_t>(params.reply_to_seq)
                                               : std::nullopt);
  }
  return {&sql::message::InsertMessages, HotParams()
                                             .BigintArray(chats)
                                             .BigintArray(users)
                                             .TextArray(texts)
                                             .TextArray(request_ids)
                                             .TextArray(fingerprints)
                                             .BigintArray(replies)
                                             .Text(language)};
}

}  // namespace

SendOp::SendOp(std::vector<SendParams> sends, absl::Time until,
               std::function<void(Outcomes)> answer, std::function<bool()> is_abandoned)
    : messages(std::move(sends)), done(std::move(answer)), abandoned(std::move(is_abandoned)) {
  weight = messages.size();
  deadline = until;
  for (const SendParams& message : messages) keys.push_back(message.chat_id);
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
}

void SendOp::Fail(const absl::Status& status) { done(Outcomes(messages.size(), status)); }

bool SendOp::KeepRepeatable() {
  return std::all_of(messages.begin(), messages.end(),
                     [](const SendParams& message) { return !message.request_id.empty(); });
}

MergedWrites SendMerger::Merge(const std::vector<MergeOp*>& ops, bool now_or_never) {
  const auto batch = std::make_shared<const SendBatch>(ops);
  return {batch->Steps(language_, now_or_never),
          [batch](const std::vector<HotResult>& results) { batch->Answer(results.back()); }};
}

}  // namespace parley::db
