#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "services/runtime/trace.h"

namespace parley::runtime {
namespace {

using ::testing::MatchesRegex;

constexpr char kTraceId[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContext, ContinuesTheCallersTraceWithASpanOfItsOwn) {
  const TraceContext context = TraceContext::Continue(kParent, "vendor=1, other@x=a b");
  EXPECT_EQ(context.trace_id(), kTraceId);
  EXPECT_THAT(std::string(context.span_id()), MatchesRegex("[0-9a-f]{16}"));
  EXPECT_NE(context.span_id(), "00f067aa0ba902b7");
  EXPECT_EQ(context.traceparent(), absl::StrCat("00-", kTraceId, "-", context.span_id(), "-01"));
  EXPECT_EQ(context.tracestate(), "vendor=1, other@x=a b");
}

TEST(TraceContext, PassesOnWhetherTheTraceIsSampled) {
  const std::string parent = absl::StrCat("00-", kTraceId, "-00f067aa0ba902b7-");
  for (const auto& [flags, sampled] : {std::pair("00", "-00"),
                                       {"01", "-01"},
                                       {"02", "-00"},
                                       {"03", "-01"},
                                       {"fe", "-00"},
                                       {"ff", "-01"}}) {
    EXPECT_THAT(TraceContext::Continue(parent + flags, "").traceparent(),
                ::testing::EndsWith(sampled))
        << flags;
  }
}

TEST(TraceContext, TakesALaterVersionByTheFieldsThatItKnows) {
  for (const char* parent :
       {"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-is-new"}) {
    EXPECT_EQ(TraceContext::Continue(parent, "").trace_id(), kTraceId) << parent;
  }
}

TEST(TraceContext, BeginsANewTraceInPlaceOfAnInvalidOne) {
  std::set<std::string> seen;
  for (const char* parent :
       {"", "00", "garbage", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473 -00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
        " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}) {
    const TraceContext context = TraceContext::Continue(parent, "vendor=1");
    EXPECT_THAT(std::string(context.trace_id()), MatchesRegex("[0-9a-f]{32}")) << parent;
    EXPECT_NE(context.trace_id(), kTraceId) << parent;
    EXPECT_TRUE(seen.insert(std::string(context.trace_id())).second) << parent;
    EXPECT_EQ(context.tracestate(), "") << parent;
  }
}

TEST(TraceContext, DropsATracestateThatIsNone) {
  std::string many;
  for (int i = 0; i < 33; ++i) absl::StrAppend(&many, i == 0 ? "" : ",", "k", i, "=1");
  for (const std::string& state :
       {std::string("no-equals"), std::string("=1"), std::string("k="), std::string("k=1,k=2"),
        std::string("Key=1"), std::string("k=a=b"), std::string("k=\x01"), std::string(","),
        "k=" + std::string(257, 'v'), "k=1," + std::string(512, ' '), many}) {
    EXPECT_EQ(TraceContext::Continue(kParent, state).tracestate(), "") << state;
    EXPECT_EQ(TraceContext::Continue(kParent, state).trace_id(), kTraceId) << state;
  }
}

}  // namespace
}  // namespace parley::runtime
