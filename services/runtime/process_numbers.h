// What the kernel counts of this process.
#pragma once

namespace parley::runtime {

struct ProcessNumbers {
  double cpu_seconds = 0;  // user and system
  double resident_bytes = 0;
  double virtual_bytes = 0;
  double start_time = 0;  // seconds since 1970
  double threads = 0;
};

// What cannot be read is NaN.
ProcessNumbers ReadProcessNumbers();
double OpenFileDescriptors();
double MaxFileDescriptors();

}  // namespace parley::runtime
