// Sends, as writes of the hot lane.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "db/core/hot_connection.h"
#include "db/core/merge_lane.h"
#include "db/model/message.h"

namespace parley::db {

// One message to be written.
struct SendParams {
  std::int64_t chat_id = 0;
  std::int64_t user_id = 0;
  std::string text;
  std::int64_t reply_to_seq = 0;  // 0: none
  std::string request_id;         // empty: not remembered
  std::string fingerprint;        // of the content
};

// Messages of one caller, written with one commit; each has its own outcome.
struct SendOp : MergeOp {
  using Outcomes = std::vector<absl::StatusOr<Message>>;  // as many as messages, in their order
  SendOp(std::vector<SendParams> sends, absl::Time until, std::function<void(Outcomes)> answer,
         std::function<bool()> is_abandoned);
  void Fail(const absl::Status& status) override;
  bool IsAbandoned() const override { return abandoned && abandoned(); }
  bool KeepRepeatable() override;  // all or none

  std::vector<SendParams> messages;
  std::function<void(Outcomes)> done;
  std::function<bool()> abandoned;  // null: never
};

// Makes one AdvanceChats and one InsertMessages of many SendOps.
class SendMerger final : public Merger {
 public:
  // `language` is a text search configuration of the database.
  explicit SendMerger(std::string language) : language_(std::move(language)) {}
  MergedWrites Merge(const std::vector<MergeOp*>& ops, bool now_or_never) override;

 private:
  const std::string language_;
};

}  // namespace parley::db
