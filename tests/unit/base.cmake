parley_test(base_test
  SOURCES base_cron_test.cc base_error_test.cc base_fingerprint_test.cc base_local_time_test.cc
          base_login_test.cc base_recurrence_test.cc base_text_test.cc
  LINKS parley::base)

parley_binary(cron-occurrences
  SOURCES cron_occurrences.cc
  LINKS parley::base)
parley_binary(local-times SOURCES local_times.cc LINKS parley::base)
# Half a minute of a core, for right answers; base_test is what the sanitizers look at.
if(NOT PARLEY_SANITIZE)
  add_test(NAME cron_zoneinfo_test
    COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/cron_zoneinfo_test.py
            $<TARGET_FILE:cron-occurrences>)
  add_test(NAME local_time_zoneinfo_test
    COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_SOURCE_DIR}/local_time_zoneinfo_test.py
            $<TARGET_FILE:local-times>)
  set_tests_properties(cron_zoneinfo_test local_time_zoneinfo_test PROPERTIES TIMEOUT 300)
endif()
