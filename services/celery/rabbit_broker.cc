#include "services/celery/rabbit_broker.h"

#include <amqp_framing.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"

namespace parley::celery {
namespace {

using Verdict = RabbitChannel::Verdict;

constexpr absl::Duration kConfirmPatience = absl::Seconds(10);
// A channel that was idle for longer is asked whether it still is one.
constexpr absl::Duration kFresh = absl::Seconds(1);
constexpr char kBroadcasts[] = "celery.pidbox";

amqp_bytes_t Bytes(const std::string& text) {
  return {text.size(), const_cast<char*>(text.data())};
}

// A message's properties in librabbitmq's terms, which point into the message and into this.
class Properties {
 public:
  explicit Properties(const CeleryMessage& message) : headers_(MessageHeaders(message)) {
    for (amqp_field_value_t& null : nulls_) null = {.kind = AMQP_FIELD_KIND_VOID, .value = {}};
    for (const auto& [name, value] : headers_) {
      entries_.push_back({.key = Bytes(name), .value = std::visit(*this, value)});
    }
    properties_._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG |
                         AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG |
                         AMQP_BASIC_REPLY_TO_FLAG | AMQP_BASIC_PRIORITY_FLAG |
                         AMQP_BASIC_HEADERS_FLAG;
    properties_.content_type = amqp_cstring_bytes("application/json");
    properties_.content_encoding = amqp_cstring_bytes("utf-8");
    properties_.delivery_mode = AMQP_DELIVERY_PERSISTENT;
    properties_.correlation_id = Bytes(message.id);
    properties_.reply_to = amqp_empty_bytes;
    properties_.priority = static_cast<std::uint8_t>(message.priority);
    properties_.headers = {static_cast<int>(entries_.size()), entries_.data()};
  }
  Properties(const Properties&) = delete;
  Properties& operator=(const Properties&) = delete;

  const amqp_basic_properties_t& get() const { return properties_; }

  // Of a header's value.
  amqp_field_value_t operator()(std::monostate) { return nulls_[0]; }
  amqp_field_value_t operator()(bool value) {
    amqp_field_value_t field = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value = {}};
    field.value.boolean = value ? 1 : 0;
    return field;
  }
  amqp_field_value_t operator()(std::int64_t value) {
    amqp_field_value_t field = {.kind = AMQP_FIELD_KIND_I64, .value = {}};
    field.value.i64 = value;
    return field;
  }
  amqp_field_value_t operator()(const std::string& value) {
    amqp_field_value_t field = {.kind = AMQP_FIELD_KIND_UTF8, .value = {}};
    field.value.bytes = Bytes(value);
    return field;
  }
  amqp_field_value_t operator()(TwoNulls) {
    amqp_field_value_t field = {.kind = AMQP_FIELD_KIND_ARRAY, .value = {}};
    field.value.array = {2, nulls_};
    return field;
  }
  amqp_field_value_t operator()(NoEntries) {
    amqp_field_value_t field = {.kind = AMQP_FIELD_KIND_TABLE, .value = {}};
    field.value.table = amqp_empty_table;
    return field;
  }

 private:
  const std::vector<std::pair<std::string, HeaderValue>> headers_;
  amqp_field_value_t nulls_[2];
  std::vector<amqp_table_entry_t> entries_;
  amqp_basic_properties_t properties_ = {};
};

}  // namespace

RabbitBroker::RabbitBroker(BrokerUrl url, std::optional<HandoffLedger> ledger)
    : url_(std::move(url)), ledger_(std::move(ledger)) {}

absl::Status RabbitBroker::Open(const std::string& queue) {
  channel_.reset();
  PARLEY_ASSIGN_OR_RETURN(channel_, RabbitChannel::Open(url_));
  PARLEY_RETURN_IF_ERROR(Judge(channel_->SelectConfirms()));
  return Ask(queue);
}

absl::Status RabbitBroker::Ask(const std::string& queue) {
  PARLEY_RETURN_IF_ERROR(Judge(channel_->Probe()));
  PARLEY_RETURN_IF_ERROR(Judge(channel_->FindQueue(queue)));
  used_at_ = SteadyNow();
  return absl::OkStatus();
}

absl::Status RabbitBroker::Judge(absl::Status status) {
  // One that is blocked is kept: there RabbitMQ says when it goes on, and until then it would not
  // even notice that others are closed.
  if (!status.ok() && channel_->Ready().ok()) channel_.reset();
  return status;
}

absl::Status RabbitBroker::Check(const std::string& queue) {
  if (channel_ == nullptr || !channel_->LooksAlive()) return Open(queue);
  PARLEY_RETURN_IF_ERROR(channel_->Ready());
  if (SteadyNow() < used_at_ + kFresh) return absl::OkStatus();
  const absl::Status status = Ask(queue);
  // Without a channel: it was too old.
  return channel_ == nullptr ? Open(queue) : status;
}

std::vector<HandoffOutcome> RabbitBroker::Push(const std::vector<Handoff>& handoffs) {
  std::vector<HandoffOutcome> outcomes(handoffs.size());
  absl::Status ready = Check(handoffs.front().message.queue);
  if (ready.ok()) ready = Judge(channel_->Probe());
  if (ready.ok() && ledger_.has_value()) {
    std::vector<std::string> keys;
    keys.reserve(handoffs.size());
    for (const Handoff& handoff : handoffs) keys.push_back(handoff.key);
    const auto entered = ledger_->Enter(keys);
    ready = entered.status();
    for (std::size_t i = 0; ready.ok() && i < handoffs.size(); ++i) {
      if (!(*entered)[i]) outcomes[i].kind = HandoffOutcome::Kind::kWithdrawn;
    }
  }
  if (ready.ok()) {
    PublishAll(handoffs, outcomes);
  } else {
    for (HandoffOutcome& outcome : outcomes) outcome.error = std::string(ready.message());
  }
  return outcomes;
}

void RabbitBroker::PublishAll(const std::vector<Handoff>& handoffs,
                              std::vector<HandoffOutcome>& outcomes) {
  Published published;
  absl::Status status;
  for (std::size_t i = 0; i < handoffs.size() && status.ok(); ++i) {
    if (outcomes[i].kind == HandoffOutcome::Kind::kWithdrawn) continue;
    const CeleryMessage& message = handoffs[i].message;
    status = channel_->Publish("", message.queue, Properties(message).get(), MessageBody(message));
    // One that failed may have gone out.
    outcomes[i].kind = HandoffOutcome::Kind::kInDoubt;
    published[channel_->published()] = i;
  }
  if (status.ok()) status = AwaitConfirms(handoffs, std::move(published), outcomes);
  if (status.ok()) {
    used_at_ = SteadyNow();
    return;
  }
  status = Judge(std::move(status));
  for (HandoffOutcome& outcome : outcomes) {
    const bool is_open = outcome.kind == HandoffOutcome::Kind::kInDoubt ||
                         outcome.kind == HandoffOutcome::Kind::kNotTaken;
    if (is_open && outcome.error.empty()) outcome.error = std::string(status.message());
  }
}

absl::Status RabbitBroker::AwaitConfirms(const std::vector<Handoff>& handoffs, Published waiting,
                                         std::vector<HandoffOutcome>& outcomes) {
  std::map<std::string, std::size_t> by_id;
  for (const auto& [number, i] : waiting) by_id[handoffs[i].message.id] = i;
  const absl::Time deadline = SteadyNow() + kConfirmPatience;
  while (!waiting.empty()) {
    PARLEY_ASSIGN_OR_RETURN(const Verdict verdict, channel_->Next(deadline));
    if (verdict.kind == Verdict::Kind::kBlocked) continue;  // it may not last
    if (verdict.kind == Verdict::Kind::kReturned) {
      const auto found = by_id.find(verdict.correlation_id);
      if (found != by_id.end()) {
        outcomes[found->second] = {HandoffOutcome::Kind::kNotTaken, "RabbitMQ: the queue is gone"};
      }
      continue;
    }
    const auto last = waiting.upper_bound(verdict.number);
    const auto first = verdict.all_before ? waiting.begin() : waiting.lower_bound(verdict.number);
    for (auto entry = first; entry != last; ++entry) {
      HandoffOutcome& outcome = outcomes[entry->second];
      if (verdict.kind == Verdict::Kind::kRefused) {
        outcome = {HandoffOutcome::Kind::kNotTaken, "RabbitMQ: the queue takes no more"};
      } else if (outcome.kind == HandoffOutcome::Kind::kInDoubt) {
        outcome.kind = HandoffOutcome::Kind::kAccepted;
      }
    }
    waiting.erase(first, last);
  }
  return absl::OkStatus();
}

absl::Status RabbitBroker::Revoke(const std::string& id) {
  // On a channel of its own, which an exchange that is not there would cost.
  PARLEY_ASSIGN_OR_RETURN(const std::unique_ptr<RabbitChannel> channel, RabbitChannel::Open(url_));
  PARLEY_RETURN_IF_ERROR(channel->FindExchange(kBroadcasts));
  PARLEY_RETURN_IF_ERROR(channel->SelectConfirms());
  amqp_table_entry_t headers[2];
  headers[0] = {.key = amqp_cstring_bytes("clock"),
                .value = {.kind = AMQP_FIELD_KIND_I64, .value = {.i64 = 1}}};
  headers[1] = {.key = amqp_cstring_bytes("expires"),
                .value = {.kind = AMQP_FIELD_KIND_I64, .value = {.i64 = 0}}};
  amqp_basic_properties_t properties = {};
  properties._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG |
                      AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_HEADERS_FLAG;
  properties.content_type = amqp_cstring_bytes("application/json");
  properties.content_encoding = amqp_cstring_bytes("utf-8");
  properties.delivery_mode = AMQP_DELIVERY_NONPERSISTENT;
  properties.headers = {2, headers};
  PARLEY_RETURN_IF_ERROR(channel->Publish(kBroadcasts, "", properties, RevokeBody(id)));
  absl::StatusOr<Verdict> verdict;
  do {
    verdict = channel->Next(SteadyNow() + kConfirmPatience);
  } while (verdict.ok() && verdict->kind == Verdict::Kind::kReturned);
  PARLEY_RETURN_IF_ERROR(verdict.status());
  return channel->Ready();
}

}  // namespace parley::celery
