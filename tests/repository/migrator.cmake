parley_test(migrator_test SOURCES migrator_test.cc LINKS parley::migrator)
parley_test(migrator_moves_test SOURCES migrator_moves_test.cc LINKS parley::migrator)
parley_test(concurrent_section_test SOURCES concurrent_section_test.cc LINKS parley::migrator)
parley_test(schema_check_test SOURCES schema_check_test.cc LINKS parley::migrator)
parley_test(migrate_binary_test SOURCES migrate_binary_test.cc
  LINKS parley::migrator nlohmann_json::nlohmann_json)
# One thread each, and mostly PostgreSQL's work: nothing for ThreadSanitizer to see.
if(NOT PARLEY_SANITIZE STREQUAL "thread")
  parley_test(catalog_test SOURCES catalog_test.cc LINKS parley::migrator)
  parley_test(dump_test SOURCES dump_test.cc LINKS parley::migrator)
  parley_test(migrate_schema_test SOURCES migrate_schema_test.cc LINKS parley::migrator)
  parley_test(migration_facts_test SOURCES migration_facts_test.cc LINKS parley::migration_author)
  parley_test(sql_text_oracle_test SOURCES sql_text_oracle_test.cc LINKS parley::migrator)
  parley_test(stairway_test SOURCES stairway_test.cc LINKS parley::migrator)
  parley_test(verify_test SOURCES verify_test.cc LINKS parley::migrator)
  parley_test(wait_test SOURCES wait_test.cc LINKS parley::migrator)
endif()
add_dependencies(repository_tests parley-migrate)
target_compile_definitions(repository_tests
  PRIVATE PARLEY_MIGRATE_BINARY="$<TARGET_FILE:parley-migrate>"
          PARLEY_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
