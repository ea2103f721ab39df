parley_test(access_test
  SOURCES caller_limits_test.cc method_table_test.cc token_verifier_test.cc
  LINKS parley::access)
