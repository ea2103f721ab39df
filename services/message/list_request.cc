#include "services/message/list_request.h"

#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/fingerprint.h"
#include "services/message/message_convert.h"
#include "services/message/message_rules.h"
#include "services/runtime/page_token.h"
#include "services/runtime/wire.h"

namespace parley::message {
namespace {

using db::MessageRepository;
using Anchor = MessageRepository::Anchor;
using ListParams = MessageRepository::ListParams;

constexpr runtime::PageLimits kPageLimits{.standard = 20, .max = 200};

void SetAnchor(const v1::ListMessagesRequest& request, ListParams& params, Violations& violations) {
  switch (request.anchor_case()) {
    case v1::ListMessagesRequest::kBeforeSeq:
      if (request.before_seq() <= 0) violations.Add("before_seq", "must be positive");
      params.anchor = Anchor::kBefore;
      params.seq = request.before_seq();
      break;
    case v1::ListMessagesRequest::kAfterSeq:
      if (request.after_seq() < 0) violations.Add("after_seq", "must not be negative");
      params.anchor = Anchor::kAfter;
      params.seq = request.after_seq();
      break;
    case v1::ListMessagesRequest::kAroundSeq:
      if (request.around_seq() <= 0) violations.Add("around_seq", "must be positive");
      if (request.offset() > 0) violations.Add("offset", "must be 0 with around_seq");
      params.anchor = Anchor::kAround;
      params.seq = request.around_seq();
      break;
    case v1::ListMessagesRequest::kBeforeTime:
      params.anchor = Anchor::kBeforeTime;
      params.before_time = runtime::FromTimestamp("before_time", request.before_time(), violations)
                               .value_or(absl::InfinitePast());
      break;
    case v1::ListMessagesRequest::ANCHOR_NOT_SET:
      params.anchor = Anchor::kNewest;
      break;
  }
}

}  // namespace

ListRequest FromRequest(const v1::ListMessagesRequest& request, Violations& violations) {
  ListRequest list;
  ListParams& params = list.params;
  CheckId("chat_id", request.chat_id(), violations);
  params.chat_id = request.chat_id();
  params.show_deleted = request.show_deleted();
  SetAnchor(request, params, violations);
  const std::int64_t start =
      params.anchor == Anchor::kBeforeTime ? absl::ToUnixMicros(params.before_time) : params.seq;
  list.binding = Fingerprint({"ListMessages", absl::StrCat(request.chat_id()),
                              absl::StrCat(request.anchor_case()), absl::StrCat(start),
                              params.show_deleted ? "all" : ""});
  const runtime::PageRequest page =
      runtime::CheckPage({request.limit(), request.offset(), request.page_token()}, list.binding,
                         kPageLimits, violations);
  params.limit = page.limit;
  params.offset = page.offset;
  if (const std::optional<std::int64_t> position = page.number(); position) {
    // Whatever the list began with, it goes on from a seq.
    if (params.anchor != Anchor::kAfter) params.anchor = Anchor::kBefore;
    params.seq = *position;
  }
  return list;
}

v1::ListMessagesResponse ToResponse(const MessageRepository::MessagePage& page,
                                    const std::string& binding, std::size_t max_bytes) {
  v1::ListMessagesResponse response;
  std::size_t bytes = 0;
  std::optional<std::int64_t> next = page.next;
  for (const Message& message : page.rows) {
    v1::Message proto = ToProto(message);
    constexpr std::size_t kFraming = 8;  // the tag and length of a repeated field
    bytes += proto.ByteSizeLong() + kFraming;
    if (bytes > max_bytes && !response.messages().empty()) {
      next = response.messages().rbegin()->seq();
      break;
    }
    *response.add_messages() = std::move(proto);
  }
  if (next) response.set_next_page_token(runtime::EncodePageToken(binding, absl::StrCat(*next)));
  return response;
}

}  // namespace parley::message
