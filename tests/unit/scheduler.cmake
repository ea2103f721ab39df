parley_test(scheduler_unit_test
  SOURCES push_place_test.cc push_rules_test.cc push_targets_test.cc queue_rules_test.cc schedule_rules_test.cc
          task_rules_test.cc waiting_room_test.cc
  LINKS parley::scheduler)
