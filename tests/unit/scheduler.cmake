parley_test(scheduler_unit_test
  SOURCES cron_test.cc push_rules_test.cc push_targets_test.cc queue_rules_test.cc recurrence_test.cc
          task_rules_test.cc waiting_room_test.cc
  LINKS parley::scheduler)

parley_binary(cron-occurrences
  SOURCES cron_occurrences.cc
  LINKS parley::scheduler)
add_test(NAME cron_zoneinfo_test
  COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/cron_zoneinfo_test.py
          $<TARGET_FILE:cron-occurrences>)
set_tests_properties(cron_zoneinfo_test PROPERTIES TIMEOUT 300)
