// MessageService, the part that searches.
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "services/message/message_convert.h"
#include "services/message/message_rules.h"
#include "services/message/message_service.h"
#include "services/runtime/page_token.h"

namespace parley::message {
namespace {

using runtime::Call;

constexpr std::int64_t kMaxTimeUs = 253'402'300'800'000'000;  // the year 10000

SearchOrder OrderFrom(v1::SearchOrder order, Violations& violations) {
  switch (order) {
    case v1::SEARCH_ORDER_UNSPECIFIED:
    case v1::SEARCH_ORDER_NEWEST:
      return SearchOrder::kNewest;
    case v1::SEARCH_ORDER_RELEVANCE:
      return SearchOrder::kRelevance;
    default:
      violations.Add("order", "is not a known order");
  }
  return SearchOrder::kNewest;
}

std::string ToText(const SearchPosition& position) {
  // Nine digits tell any two floats apart.
  return absl::StrFormat("%.9g %d %d %d", position.rank, absl::ToUnixMicros(position.create_time),
                         position.chat_id, position.seq);
}

// The position that ToText wrote. Whoever knows how tokens are made can make others, so nothing is
// taken for granted.
std::optional<SearchPosition> FromText(const std::string& text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ' ');
  SearchPosition position;
  std::int64_t create_us = 0;
  if (parts.size() != 4 || !absl::SimpleAtof(parts[0], &position.rank) ||
      !std::isfinite(position.rank) || !absl::SimpleAtoi(parts[1], &create_us) || create_us < 0 ||
      create_us > kMaxTimeUs || !absl::SimpleAtoi(parts[2], &position.chat_id) ||
      !absl::SimpleAtoi(parts[3], &position.seq)) {
    return std::nullopt;
  }
  position.create_time = absl::FromUnixMicros(create_us);
  return position;
}

}  // namespace

grpc::ServerUnaryReactor* MessageService::SearchMessages(Context* context, const Bytes* in,
                                                         Bytes* out) {
  return calls_.Unary<v1::SearchMessagesRequest, v1::SearchMessagesResponse>(
      {.name = "SearchMessages"}, context, in, out,
      [this](const Call& call, const v1::SearchMessagesRequest& request) {
        return Search(call, request);
      });
}

absl::StatusOr<v1::SearchMessagesResponse> MessageService::Search(
    const Call& call, const v1::SearchMessagesRequest& request) {
  Violations violations;
  CheckSearchQuery("query", request.query(), violations);
  CheckId("user_id", request.user_id(), violations);
  if (request.chat_id() != 0) CheckId("chat_id", request.chat_id(), violations);
  const SearchOrder order = OrderFrom(request.order(), violations);
  const std::string binding = Fingerprint(
      {"SearchMessages", request.query(), absl::StrFormat("%d", request.user_id()),
       absl::StrFormat("%d", request.chat_id()), absl::StrFormat("%d", static_cast<int>(order))});
  const runtime::PageRequest page = runtime::CheckPage(
      {request.limit(), request.offset(), request.page_token()}, binding, {}, violations);
  std::optional<SearchPosition> after;
  if (page.position) {
    after = FromText(*page.position);
    if (!after) violations.Add("page_token", "is not a token of this list");
  }
  PARLEY_RETURN_IF_ERROR(violations.ToStatus());

  PARLEY_ASSIGN_OR_RETURN(const auto found,
                          parts_.search.Search({.query = request.query(),
                                                .user_id = request.user_id(),
                                                .chat_id = request.chat_id(),
                                                .order = order,
                                                .page = {page.limit, page.offset, after}},
                                               call.deadline()));
  v1::SearchMessagesResponse response;
  for (const Message& message : found.rows) *response.add_messages() = ToProto(message);
  if (found.next) {
    response.set_next_page_token(runtime::EncodePageToken(binding, ToText(*found.next)));
  }
  return response;
}

}  // namespace parley::message
