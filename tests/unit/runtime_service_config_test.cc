#include <grpcpp/support/validate_service_config.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace parley::runtime {
namespace {

// gRPC's own reading of the files that callers are given: what it would ignore, or refuse a channel
// for.
TEST(PublishedServiceConfig, IsWhatGrpcTakes) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(PARLEY_SOURCE_DIR "/deploy/service_config")) {
    std::ifstream file(entry.path());
    const std::string json(std::istreambuf_iterator<char>(file), {});
    EXPECT_EQ(grpc::experimental::ValidateServiceConfigJSON(json), "") << entry.path();
    // It does look inside: a single attempt is no retry.
    const std::string attempts = "\"maxAttempts\": 5";
    ASSERT_NE(json.find(attempts), std::string::npos) << entry.path();
    std::string wrong = json;
    wrong.replace(wrong.find(attempts), attempts.size(), "\"maxAttempts\": 1");
    EXPECT_NE(grpc::experimental::ValidateServiceConfigJSON(wrong), "") << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 3);
}

}  // namespace
}  // namespace parley::runtime
