parley_test(db_core_test
  SOURCES db_error_test.cc dsn_test.cc lane_test.cc listener_test.cc session_pool_test.cc session_test.cc
          transaction_test.cc
  LINKS parley::db_core)
