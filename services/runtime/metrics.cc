#include "services/runtime/metrics.h"

#include <prometheus/check_names.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <cstdlib>
#include <limits>
#include <memory>

#include "services/runtime/process_numbers.h"

namespace parley::runtime {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

ClientMetric::Histogram ToPrometheus(const Histogram::Snapshot& read) {
  ClientMetric::Histogram histogram;
  histogram.sample_sum = read.sum;
  for (std::size_t i = 0; i < read.counts.size(); ++i) {
    histogram.sample_count += read.counts[i];
    histogram.bucket.push_back({.cumulative_count = histogram.sample_count,
                                .upper_bound = i < read.bounds.size()
                                                   ? read.bounds[i]
                                                   : std::numeric_limits<double>::infinity()});
  }
  return histogram;
}

}  // namespace

Metrics::Metrics() {
  AddGauge({"parley_build_info", "1; the version is in the label.", {{"version", PARLEY_VERSION}}},
           [] { return 1.0; });
  AddCounter({"process_cpu_seconds_total", "CPU time, user and system."},
             [] { return ReadProcessNumbers().cpu_seconds; });
  AddGauge({"process_resident_memory_bytes", "Memory that is in RAM."},
           [] { return ReadProcessNumbers().resident_bytes; });
  AddGauge({"process_virtual_memory_bytes", "Memory that is mapped."},
           [] { return ReadProcessNumbers().virtual_bytes; });
  AddGauge({"process_start_time_seconds", "When the process started, in seconds since 1970."},
           [] { return ReadProcessNumbers().start_time; });
  AddGauge({"process_threads", "Threads."}, [] { return ReadProcessNumbers().threads; });
  AddGauge({"process_open_fds", "Open file descriptors."}, OpenFileDescriptors);
  AddGauge({"process_max_fds", "File descriptors that may be open."}, MaxFileDescriptors);
}

void Metrics::AddGauge(const Name& name, std::function<double()> read) {
  Add(Type::kGauge, name, {.labels = name.labels, .read = std::move(read)});
}

void Metrics::AddCounter(const Name& name, std::function<double()> read) {
  Add(Type::kCounter, name, {.labels = name.labels, .read = std::move(read)});
}

void Metrics::AddHistogram(const Name& name, const Histogram& histogram) {
  Add(Type::kHistogram, name, {.labels = name.labels, .read = {}, .histogram = &histogram});
}

void Metrics::Add(Type type, const Name& name, Series series) {
  // Prometheus would refuse the whole answer for one bad name; it is the program's, and any test
  // that starts it finds it.
  if (!prometheus::CheckMetricName(name.name)) std::abort();
  Family& family =
      families_.try_emplace(name.name, Family{.type = type, .help = name.help, .series = {}})
          .first->second;
  if (family.type != type) std::abort();
  family.series.push_back(std::move(series));
}

std::string Metrics::Text() const {
  constexpr MetricType kTypes[] = {MetricType::Gauge, MetricType::Counter, MetricType::Histogram};
  std::vector<MetricFamily> families;
  families.reserve(families_.size());
  for (const auto& [name, family] : families_) {
    MetricFamily& out = families.emplace_back();
    out.name = name;
    out.help = family.help;
    out.type = kTypes[static_cast<int>(family.type)];
    for (const Series& series : family.series) {
      ClientMetric& metric = out.metric.emplace_back();
      for (const auto& [label, value] : series.labels) metric.label.push_back({label, value});
      switch (family.type) {
        case Type::kGauge:
          metric.gauge.value = series.read();
          break;
        case Type::kCounter:
          metric.counter.value = series.read();
          break;
        case Type::kHistogram:
          metric.histogram = ToPrometheus(series.histogram->Read());
          break;
      }
    }
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace parley::runtime
