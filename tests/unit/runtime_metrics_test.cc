// What is exported, and how it is written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "services/runtime/call_metrics.h"
#include "services/runtime/metrics.h"

namespace parley::runtime {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Histogram, CountsAValueOnABoundBelowIt) {
  Histogram histogram({1, 2});
  for (const double value : {0.5, 1.0, 1.5, 2.0, 3.0, 4.0}) histogram.Observe(value);
  EXPECT_THAT(histogram.Read().counts, ::testing::ElementsAre(2, 2, 2));
  EXPECT_DOUBLE_EQ(histogram.Read().sum, 12);
}

TEST(Metrics, WritesEachFamilyOnceWithItsSeries) {
  Metrics metrics;
  Histogram waits({0.5, 1});
  waits.Observe(0.25);
  waits.Observe(7);
  double size = 4;
  metrics.AddGauge({"parley_rooms", "Rooms.", {{"floor", "1"}}}, [&] { return size; });
  metrics.AddHistogram({"parley_wait_seconds", "Waits."}, waits);
  metrics.AddGauge({"parley_rooms", "Rooms.", {{"floor", "2"}}}, [] { return std::nan(""); });
  size = 5;  // it is read when it is asked for
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("# HELP parley_rooms Rooms.\n"
                              "# TYPE parley_rooms gauge\n"
                              "parley_rooms{floor=\"1\"} 5\n"
                              "parley_rooms{floor=\"2\"} Nan\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE parley_wait_seconds histogram\n"
                              "parley_wait_seconds_count 2\n"
                              "parley_wait_seconds_sum 7.25\n"
                              "parley_wait_seconds_bucket{le=\"0.5\"} 1\n"
                              "parley_wait_seconds_bucket{le=\"1\"} 1\n"
                              "parley_wait_seconds_bucket{le=\"+Inf\"} 2\n"));
}

TEST(Metrics, TellOfTheProcess) {
  const std::string text = Metrics().Text();
  for (const char* name :
       {"process_cpu_seconds_total", "process_resident_memory_bytes",
        "process_virtual_memory_bytes", "process_start_time_seconds", "process_threads",
        "process_open_fds", "process_max_fds", "parley_build_info{version=\""}) {
    EXPECT_THAT(text, HasSubstr(std::string("\n") + name)) << text;
  }
  EXPECT_THAT(text, Not(HasSubstr(" Nan")));
}

TEST(ServiceMetrics, HaveNoMethodsOfAServiceThatIsNotThere) {
  EXPECT_DEATH(ServiceMetrics("no.such.Service").Of("GetChat"), "");
}

}  // namespace
}  // namespace parley::runtime
