// What the process tells Prometheus.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/histogram.h"

namespace parley::runtime {

// A list of what there is to read and how. The parts of a service keep plain numbers; main adds
// them here, and they must live for as long as Text is called, which is while the host runs.
// Nothing is added any more then, and one thread calls it at a time.
class Metrics {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;
  struct Name {
    std::string name;  // with its unit: "parley_task_lateness_seconds"; counters end with _total
    std::string help;  // one sentence; the same for all labels
    Labels labels = {};
  };

  // Comes with the metrics of the process itself (process_*, parley_build_info).
  Metrics();

  // `read` is called at each scrape, and must not block. A gauge that is not known is NaN.
  void AddGauge(const Name& name, std::function<double()> read);
  void AddCounter(const Name& name, std::function<double()> read);
  void AddHistogram(const Name& name, const Histogram& histogram);

  // Everything, in the exposition format of Prometheus, version 0.0.4.
  std::string Text() const;

 private:
  enum class Type { kGauge, kCounter, kHistogram };
  struct Series {
    Labels labels;
    std::function<double()> read;          // of gauges and counters
    const Histogram* histogram = nullptr;  // of histograms
  };
  struct Family {
    Type type;
    std::string help;
    std::vector<Series> series;
  };

  void Add(Type type, const Name& name, Series series);

  std::map<std::string, Family> families_;
};

}  // namespace parley::runtime
