parley_test(scheduler_unit_test
  SOURCES task_rules_test.cc waiting_room_test.cc
  LINKS parley::scheduler parley::test_support)
