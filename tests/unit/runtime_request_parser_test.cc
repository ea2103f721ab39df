#include <gtest/gtest.h>

#include <string>

#include "parley/chat/v1/user_service.pb.h"
#include "parley/scheduler/v1/scheduler_service.pb.h"
#include "services/runtime/request_parser.h"
#include "tests/support/status_matchers.h"

namespace parley::runtime {
namespace {

using parley::testing::IsOk;
using parley::testing::StatusIs;
using parley::testing::Violates;

grpc::ByteBuffer Bytes(const std::string& text) {
  // In two slices, as a network may deliver them.
  const grpc::Slice slices[] = {grpc::Slice(text.substr(0, 1)), grpc::Slice(text.substr(1))};
  return grpc::ByteBuffer(slices, 2);
}

TEST(ParseRequest, ReadsAMessage) {
  chat::v1::CreateUserRequest sent;
  sent.set_login("ann");
  chat::v1::CreateUserRequest read;
  EXPECT_THAT(ParseRequest(Bytes(sent.SerializeAsString()), read), IsOk());
  EXPECT_EQ(read.login(), "ann");
}

TEST(ParseRequest, NamesTheFieldThatIsNotUtf8) {
  chat::v1::CreateUserRequest request;
  EXPECT_THAT(ParseRequest(Bytes("\x0a\x02\xff\xfe"), request), Violates("login"));
}

TEST(ParseRequest, NamesFieldsInsideMessages) {
  // user (1) { login (2) "\xff" }
  chat::v1::UpdateUserRequest request;
  EXPECT_THAT(ParseRequest(Bytes(std::string("\x0a\x03\x12\x01\xff")), request),
              Violates("user.login"));
}

TEST(ParseRequest, NamesEntriesOfMaps) {
  // headers (4) { key (1) "k", value (2) "\xff" }
  scheduler::v1::CreateTaskRequest request;
  EXPECT_THAT(ParseRequest(Bytes(std::string("\x22\x06\x0a\x01k\x12\x01\xff")), request),
              Violates("headers[0].value"));
}

TEST(ParseRequest, RefusesWhatIsNoMessage) {
  chat::v1::CreateUserRequest request;
  EXPECT_THAT(ParseRequest(Bytes("\x0a\x7f..."), request),
              StatusIs(absl::StatusCode::kInvalidArgument, reason::kInvalidArgument));
}

}  // namespace
}  // namespace parley::runtime
