parley_test(scheduler_unit_test
  SOURCES local_time_test.cc task_rules_test.cc waiting_room_test.cc
  LINKS parley::scheduler parley::test_support)
