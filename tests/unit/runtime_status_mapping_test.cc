#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "services/runtime/status_mapping.h"

namespace parley::runtime {
namespace {

template <class Detail>
Detail DetailOf(const grpc::Status& status) {
  google::rpc::Status wire;
  EXPECT_TRUE(wire.ParseFromString(status.error_details()));
  Detail detail;
  for (const auto& any : wire.details()) {
    if (any.UnpackTo(&detail)) return detail;
  }
  ADD_FAILURE() << "no such detail";
  return detail;
}

TEST(ToGrpcStatus, CarriesReasonAndMetadata) {
  const grpc::Status status = ToGrpcStatus(
      Error(absl::StatusCode::kNotFound, reason::kChatNotFound, "chat 5", {{"chat_id", "5"}}),
      "id");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "chat 5");
  const auto info = DetailOf<google::rpc::ErrorInfo>(status);
  EXPECT_EQ(info.reason(), "CHAT_NOT_FOUND");
  EXPECT_EQ(info.domain(), "parley");
  EXPECT_EQ(info.metadata().at("chat_id"), "5");
}

TEST(ToGrpcStatus, HidesWhatIsInternalAndNamesTheLogId) {
  for (const absl::Status& secret :
       {InternalError("SELECT secret"), absl::UnknownError("SELECT secret"),
        Error(absl::StatusCode::kAlreadyExists, reason::kInternal, "SELECT secret")}) {
    const grpc::Status status = ToGrpcStatus(secret, "abc");
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
    EXPECT_EQ(status.error_message().find("secret"), std::string::npos);
    EXPECT_EQ(status.error_details().find("secret"), std::string::npos);
    EXPECT_NE(status.error_message().find("abc"), std::string::npos);
  }
}

TEST(ToGrpcStatus, LeavesACommitInDoubtAsItIs) {
  const grpc::Status status = ToGrpcStatus(
      Error(absl::StatusCode::kUnknown, reason::kCommitInDoubt, "may have happened"), "id");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNKNOWN);
  EXPECT_EQ(status.error_message(), "may have happened");
}

TEST(ToGrpcStatus, ListsViolationsAndSaysHowManyMoreThereAre) {
  Violations violations;
  for (int i = 0; i < 25; ++i) violations.Add("f" + std::to_string(i), "is wrong");
  const auto bad = DetailOf<google::rpc::BadRequest>(ToGrpcStatus(violations.ToStatus(), "id"));
  ASSERT_EQ(bad.field_violations_size(), 20);
  EXPECT_EQ(bad.field_violations(0).field(), "f0");
  EXPECT_NE(bad.field_violations(19).description().find("5 more"), std::string::npos);
}

TEST(ToGrpcStatus, TellsWhenToRetry) {
  const auto retry = DetailOf<google::rpc::RetryInfo>(ToGrpcStatus(
      WithRetryDelay(Error(absl::StatusCode::kUnavailable, reason::kDatabaseUnavailable, "away"),
                     absl::Milliseconds(1500)),
      "id"));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
}

TEST(ToGrpcStatus, StaysUnderTheTrailerLimitAndCutsBetweenCharacters) {
  Violations violations;
  for (int i = 0; i < 100; ++i) {
    violations.Add("field", std::string(1000, 'x') + "日本語");
  }
  const grpc::Status status = ToGrpcStatus(violations.ToStatus(), "id");
  // Base64 makes the details a third longer.
  EXPECT_LT(status.error_message().size() + status.error_details().size() * 4 / 3, 12u * 1024);
  std::string text;
  for (int i = 0; i < 600; ++i) text += "日";
  const std::string cut = ToGrpcStatus(absl::InvalidArgumentError(text), "id").error_message();
  EXPECT_EQ((cut.size() - 3) % 3, 0u);
}

}  // namespace
}  // namespace parley::runtime
