parley_test(migration_set_test SOURCES migration_set_test.cc LINKS parley::migrator)
parley_test(sql_text_test SOURCES sql_text_test.cc LINKS parley::migrator)
parley_test(migration_lint_test SOURCES migration_lint_test.cc
  LINKS parley::migration_author)
