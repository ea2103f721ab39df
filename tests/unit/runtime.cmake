parley_test(runtime_test
  SOURCES runtime_executor_test.cc runtime_page_token_test.cc runtime_request_parser_test.cc
          runtime_status_mapping_test.cc runtime_wire_test.cc
  LINKS parley::runtime)
