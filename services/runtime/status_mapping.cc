#include "services/runtime/status_mapping.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "base/text.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace parley::runtime {
namespace {

// Trailers share 8 KiB, and the message travels twice: as text and inside the details.
constexpr std::size_t kMaxMessageBytes = 1024;
constexpr std::size_t kMaxViolations = 20;
constexpr std::size_t kMaxValueBytes = 256;

std::string Cut(absl::string_view text, std::size_t max) {
  return text.size() <= max ? std::string(text) : absl::StrCat(CutText(text, max), "...");
}

// Whether the text may hold what callers must not see, and so is replaced.
bool IsMasked(const absl::Status& status, const ErrorDetails& details) {
  return status.code() == absl::StatusCode::kInternal ||
         (status.code() == absl::StatusCode::kUnknown &&
          details.reason != reason::kCommitInDoubt) ||
         details.reason == reason::kInternal;
}

void AddBadRequest(const ErrorDetails& details, google::rpc::Status& wire) {
  if (details.violations.empty()) return;
  google::rpc::BadRequest bad_request;
  const std::size_t shown = std::min(details.violations.size(), kMaxViolations);
  for (std::size_t i = 0; i < shown; ++i) {
    google::rpc::BadRequest::FieldViolation& violation = *bad_request.add_field_violations();
    violation.set_field(Cut(details.violations[i].first, kMaxValueBytes));
    violation.set_description(Cut(details.violations[i].second, kMaxValueBytes));
  }
  if (shown < details.violations.size()) {
    google::rpc::BadRequest::FieldViolation& last =
        *bad_request.mutable_field_violations(static_cast<int>(shown) - 1);
    last.set_description(
        absl::StrCat(last.description(), " (and ", details.violations.size() - shown, " more)"));
  }
  wire.add_details()->PackFrom(bad_request);
}

void AddRetryInfo(const ErrorDetails& details, google::rpc::Status& wire) {
  if (!details.retry_delay) return;
  google::rpc::RetryInfo retry;
  const std::int64_t nanos = absl::ToInt64Nanoseconds(*details.retry_delay);
  retry.mutable_retry_delay()->set_seconds(nanos / 1'000'000'000);
  retry.mutable_retry_delay()->set_nanos(static_cast<std::int32_t>(nanos % 1'000'000'000));
  wire.add_details()->PackFrom(retry);
}

void AddQuotaFailure(const ErrorDetails& details, google::rpc::Status& wire) {
  if (details.quota_subject.empty()) return;
  google::rpc::QuotaFailure failure;
  google::rpc::QuotaFailure::Violation& violation = *failure.add_violations();
  violation.set_subject(Cut(details.quota_subject, kMaxValueBytes));
  violation.set_description(Cut(details.quota_description, kMaxValueBytes));
  wire.add_details()->PackFrom(failure);
}

}  // namespace

std::string CodeName(absl::StatusCode code) { return absl::StatusCodeToString(code); }

google::rpc::Status ToRpcStatus(const absl::Status& status, absl::string_view log_id) {
  google::rpc::Status wire;
  if (status.ok()) return wire;
  const ErrorDetails details = DetailsOf(status);
  const bool masked = IsMasked(status, details);
  const std::string message =
      masked ? absl::StrCat("internal error; the server's log has it under ", log_id)
             : Cut(status.message(), kMaxMessageBytes);

  google::rpc::ErrorInfo info;
  info.set_reason(details.reason.empty() ? CodeName(status.code()) : details.reason);
  info.set_domain("parley");
  for (const auto& [name, value] : details.metadata) {
    (*info.mutable_metadata())[name] = Cut(value, kMaxValueBytes);
  }
  // A masked error is a bug of ours, whatever code it came with.
  wire.set_code(masked ? grpc::StatusCode::INTERNAL : static_cast<int>(status.code()));
  wire.set_message(message);
  wire.add_details()->PackFrom(info);
  AddBadRequest(details, wire);
  AddRetryInfo(details, wire);
  AddQuotaFailure(details, wire);
  return wire;
}

grpc::Status ToGrpcStatus(const absl::Status& status, absl::string_view log_id) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status wire = ToRpcStatus(status, log_id);
  return grpc::Status(static_cast<grpc::StatusCode>(wire.code()), wire.message(),
                      wire.SerializeAsString());
}

}  // namespace parley::runtime
