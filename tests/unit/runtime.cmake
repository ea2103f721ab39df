parley_test(runtime_test
  SOURCES runtime_admin_test.cc runtime_executor_test.cc runtime_metrics_test.cc runtime_page_token_test.cc
          runtime_request_parser_test.cc runtime_service_config_test.cc runtime_status_mapping_test.cc
          runtime_trace_test.cc runtime_wire_test.cc
  LINKS parley::runtime)
target_compile_definitions(unit_tests PRIVATE PARLEY_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
