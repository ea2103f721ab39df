#include "services/runtime/process_numbers.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace parley::runtime {
namespace {

std::string ReadProc(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

double Number(absl::string_view text) {
  double number = 0;
  return absl::SimpleAtod(text, &number) ? number : std::nan("");
}

// When the machine started, in seconds since 1970.
double BootTime() {
  const std::string stat = ReadProc("/proc/stat");
  for (const absl::string_view line : absl::StrSplit(stat, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    if (words.front() == "btime" && words.size() > 1) return Number(words[1]);
  }
  return std::nan("");
}

}  // namespace

ProcessNumbers ReadProcessNumbers() {
  // proc(5): the fields of /proc/self/stat, counted from the third, which follows the name.
  enum Field { kUserTime = 11, kSystemTime = 12, kThreads = 17, kStart = 19, kVirtual, kResident };
  const std::string stat = ReadProc("/proc/self/stat");
  const std::size_t name_end = stat.rfind(") ");  // the name may hold blanks
  std::vector<absl::string_view> fields;
  if (name_end != std::string::npos) {
    fields = absl::StrSplit(absl::string_view(stat).substr(name_end + 2), ' ');
  }
  if (fields.size() <= kResident) {
    const double unknown = std::nan("");
    return {unknown, unknown, unknown, unknown, unknown};
  }
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  static const double boot_time = BootTime();
  return {.cpu_seconds = (Number(fields[kUserTime]) + Number(fields[kSystemTime])) / ticks,
          .resident_bytes = Number(fields[kResident]) * static_cast<double>(sysconf(_SC_PAGESIZE)),
          .virtual_bytes = Number(fields[kVirtual]),
          .start_time = boot_time + Number(fields[kStart]) / ticks,
          .threads = Number(fields[kThreads])};
}

double OpenFileDescriptors() {
  std::error_code error;
  const std::filesystem::directory_iterator files("/proc/self/fd", error);
  if (error) return std::nan("");
  // Without the one that reads the directory.
  return static_cast<double>(std::distance(begin(files), end(files))) - 1;
}

double MaxFileDescriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nan("");
  return static_cast<double>(limit.rlim_cur);
}

}  // namespace parley::runtime
