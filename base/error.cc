#include "base/error.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace parley {
namespace {

// Payload keys. One payload a value, so that nothing has to be encoded and parsed again.
constexpr std::size_t kMaxViolations = 100;
constexpr absl::string_view kReasonKey = "parley/reason";
constexpr absl::string_view kRetryKey = "parley/retry-micros";
constexpr absl::string_view kQuotaSubjectKey = "parley/quota-subject";
constexpr absl::string_view kQuotaDescriptionKey = "parley/quota-description";
constexpr absl::string_view kMetadataPrefix = "parley/metadata/";
constexpr absl::string_view kViolationPrefix = "parley/violation/";

}  // namespace

absl::Status Error(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                   std::initializer_list<std::pair<absl::string_view, std::string>> metadata) {
  absl::Status status(code, message);
  status.SetPayload(kReasonKey, absl::Cord(reason));
  for (const auto& [name, value] : metadata) {
    status.SetPayload(absl::StrCat(kMetadataPrefix, name), absl::Cord(value));
  }
  return status;
}

absl::Status InternalError(absl::string_view detail) {
  return Error(absl::StatusCode::kInternal, reason::kInternal, detail);
}

absl::Status WithRetryDelay(absl::Status status, absl::Duration delay) {
  status.SetPayload(kRetryKey, absl::Cord(absl::StrCat(absl::ToInt64Microseconds(delay))));
  return status;
}

absl::Status WithQuota(absl::Status status, absl::string_view subject,
                       absl::string_view description) {
  status.SetPayload(kQuotaSubjectKey, absl::Cord(subject));
  status.SetPayload(kQuotaDescriptionKey, absl::Cord(description));
  return status;
}

void Violations::Add(absl::string_view field, absl::string_view description) {
  // A request may be wrong in as many places as it has bytes; nobody reads more than these.
  if (violations_.size() >= kMaxViolations) return;
  violations_.emplace_back(absl::StrCat(prefix_, field), description);
}

absl::Status Violations::ToStatus() const {
  if (violations_.empty()) return absl::OkStatus();
  absl::Status status =
      Error(absl::StatusCode::kInvalidArgument, reason::kInvalidArgument,
            absl::StrJoin(violations_, "; ", [](std::string* out, const auto& violation) {
              absl::StrAppend(out, violation.first, ": ", violation.second);
            }));
  for (std::size_t i = 0; i < violations_.size(); ++i) {
    // The index keeps the order: payloads come back in no particular one.
    status.SetPayload(absl::StrFormat("%s%06d/%s", kViolationPrefix, i, violations_[i].first),
                      absl::Cord(violations_[i].second));
  }
  return status;
}

ErrorDetails DetailsOf(const absl::Status& status) {
  ErrorDetails details;
  std::vector<std::pair<std::string, std::string>> numbered;
  status.ForEachPayload([&](absl::string_view key, const absl::Cord& value) {
    std::int64_t micros = 0;
    if (key == kReasonKey) {
      details.reason = std::string(value);
    } else if (key == kRetryKey) {
      if (absl::SimpleAtoi(std::string(value), &micros)) {
        details.retry_delay = absl::Microseconds(micros);
      }
    } else if (key == kQuotaSubjectKey) {
      details.quota_subject = std::string(value);
    } else if (key == kQuotaDescriptionKey) {
      details.quota_description = std::string(value);
    } else if (absl::ConsumePrefix(&key, kMetadataPrefix)) {
      details.metadata.emplace_back(key, value);
    } else if (absl::ConsumePrefix(&key, kViolationPrefix)) {
      numbered.emplace_back(key, value);
    }
  });
  std::sort(details.metadata.begin(), details.metadata.end());
  std::sort(numbered.begin(), numbered.end());
  for (auto& [key, description] : numbered) {
    details.violations.emplace_back(key.substr(key.find('/') + 1), std::move(description));
  }
  return details;
}

}  // namespace parley
