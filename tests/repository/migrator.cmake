parley_test(migrator_test SOURCES migrator_test.cc LINKS parley::migrator parley::test_support)
parley_test(schema_check_test SOURCES schema_check_test.cc LINKS parley::migrator parley::test_support)
parley_test(migrate_binary_test SOURCES migrate_binary_test.cc
  LINKS parley::migrator parley::test_support)
add_dependencies(migrate_binary_test parley-migrate)
target_compile_definitions(migrate_binary_test
  PRIVATE PARLEY_MIGRATE_BINARY="$<TARGET_FILE:parley-migrate>")
