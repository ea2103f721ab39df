parley_test(message_repository_test
  SOURCES event_repository_test.cc message_repository_test.cc retention_repository_test.cc
          scheduled_message_repository_test.cc
  LINKS parley::repository)
parley_test(search_repository_test
  SOURCES message_plan_test.cc search_plan_test.cc search_repository_test.cc
  LINKS parley::repository nlohmann_json::nlohmann_json)
