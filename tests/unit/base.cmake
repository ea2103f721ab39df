parley_test(base_test
  SOURCES base_error_test.cc base_fingerprint_test.cc base_local_time_test.cc base_text_test.cc
  LINKS parley::base)
