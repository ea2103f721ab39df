parley_test(task_repository_test
  SOURCES push_repository_test.cc schedule_by_hand_test.cc schedule_catch_up_test.cc schedule_firing_test.cc
          schedule_repository_test.cc task_bounds_test.cc task_claim_plan_test.cc task_claim_test.cc
          queue_counters_test.cc task_dedupe_test.cc task_dedupe_race_test.cc task_list_plan_test.cc
          statistics_repository_test.cc task_list_test.cc task_repository_test.cc
  LINKS parley::repository nlohmann_json::nlohmann_json)
parley_test(queue_repository_test
  SOURCES limited_claim_test.cc limited_plan_test.cc queue_repository_test.cc
  LINKS parley::repository nlohmann_json::nlohmann_json)
