#include "services/message/watch_token.h"

#include <limits>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/fingerprint.h"

namespace parley::message {
namespace {

// version, digest, then for each chat three numbers: how much its id is above the one before, seq
// and event. A number is seven bits a byte, the lowest first; the highest bit says that more
// follow.
constexpr char kVersion = 1;
constexpr std::size_t kDigestSize = 8;  // bytes: tells mistakes, is no secret

std::string Digest(std::int64_t user_id, absl::string_view body) {
  return absl::HexStringToBytes(Fingerprint({"resume_token", absl::StrCat(user_id), body}))
      .substr(0, kDigestSize);
}

void AppendNumber(std::int64_t number, std::string& body) {
  auto rest = static_cast<std::uint64_t>(number);
  while (rest >= 0x80) {
    body.push_back(static_cast<char>(rest | 0x80));
    rest >>= 7;
  }
  body.push_back(static_cast<char>(rest));
}

// Takes a number off the front of `body`; nullopt if there is none that is not negative.
std::optional<std::int64_t> TakeNumber(absl::string_view& body) {
  constexpr int kBits = 63;
  std::uint64_t number = 0;
  for (int shift = 0; shift < kBits && !body.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(body.front());
    body.remove_prefix(1);
    number |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return static_cast<std::int64_t>(number);
  }
  return std::nullopt;
}

std::optional<WatchPositions> ParseBody(absl::string_view body) {
  WatchPositions positions;
  std::int64_t chat_id = 0;
  while (!body.empty()) {
    const std::optional<std::int64_t> step = TakeNumber(body);
    const std::optional<std::int64_t> seq = TakeNumber(body);
    const std::optional<std::int64_t> event = TakeNumber(body);
    if (!step || !seq || !event || *step == 0 || positions.size() == kMaxWatchedChats ||
        *step > std::numeric_limits<std::int64_t>::max() - chat_id) {
      return std::nullopt;
    }
    chat_id += *step;
    positions.emplace_hint(positions.end(), chat_id, ChatPosition{*seq, *event});
  }
  return positions;
}

}  // namespace

std::string EncodeResumeToken(std::int64_t user_id, const WatchPositions& positions) {
  std::string body;
  std::int64_t last = 0;
  for (const auto& [chat_id, position] : positions) {
    AppendNumber(chat_id - last, body);
    AppendNumber(position.seq, body);
    AppendNumber(position.event, body);
    last = chat_id;
  }
  return absl::WebSafeBase64Escape(
      absl::StrCat(absl::string_view(&kVersion, 1), Digest(user_id, body), body));
}

absl::StatusOr<WatchPositions> DecodeResumeToken(std::int64_t user_id, absl::string_view token) {
  std::string bytes;
  if (absl::WebSafeBase64Unescape(token, &bytes) && bytes.size() >= 1 + kDigestSize &&
      bytes.front() == kVersion) {
    const absl::string_view body = absl::string_view(bytes).substr(1 + kDigestSize);
    if (bytes.compare(1, kDigestSize, Digest(user_id, body)) == 0) {
      if (std::optional<WatchPositions> positions = ParseBody(body)) return *std::move(positions);
    }
  }
  Violations violations;
  violations.Add("resume_token",
                 "is not the resume_token of a frame of such a watch; start again without one");
  return violations.ToStatus();
}

}  // namespace parley::message
