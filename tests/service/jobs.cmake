parley_test(worker_test
  SOURCES worker_test.cc
  LINKS parley::jobs)
