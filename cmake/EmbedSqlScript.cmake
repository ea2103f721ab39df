# Writes SQL files as C++ (see EmbedSql.cmake). Comments are dropped from statements, because SOCI's
# scanner for :names does not know them. Lines are handled without CMake lists, which would eat
# semicolons and brackets. What fragments.sql names by "-- fragment: X" stands in the statements of
# all files in place of {X}.
cmake_minimum_required(VERSION 3.25)

# Appends `text` to `out` as one C++ raw string literal.
function(append_literal out text)
  set(${out} "${${out}}R\"parley(${text})parley\"" PARENT_SCOPE)
endfunction()

# Takes the section after the first `mark` out of `text`: its name, its text without comments, and
# what follows it. An empty name: there is none.
macro(take_section mark)
  set(section "")
  string(FIND "${text}" "${mark}" start)
  if(start GREATER -1)
    string(LENGTH "${mark}" skip)
    math(EXPR start "${start} + ${skip}")
    string(SUBSTRING "${text}" ${start} -1 text)
    string(REGEX MATCH "^[A-Za-z0-9]+" section "${text}")
    string(LENGTH "${section}" skip)
    string(SUBSTRING "${text}" ${skip} -1 text)
    string(FIND "${text}" "${mark}" next)
    string(SUBSTRING "${text}" 0 ${next} body)
    string(REGEX REPLACE "--[^\n]*" "" body "${body}")
    string(REGEX REPLACE "[ \t\r\n]+" " " body "${body}")
    string(STRIP "${body}" body)
    string(REGEX REPLACE ";$" "" body "${body}")
  endif()
endmacro()

set(declarations "")
set(definitions "")
set(all "")
set(fragments "")
foreach(file IN LISTS FILES)
  file(READ ${file} text)
  get_filename_component(name ${file} NAME)
  get_filename_component(stem ${file} NAME_WE)
  if(MODE STREQUAL "migrations")
    string(APPEND definitions "    {\"${name}\",\n     ")
    append_literal(definitions "${text}")
    string(APPEND definitions "},\n")
    continue()
  endif()

  if(stem STREQUAL "fragments")
    take_section("-- fragment: ")
    while(section)
      list(APPEND fragments ${section})
      set(fragment_${section} "${body}")
      take_section("-- fragment: ")
    endwhile()
    continue()
  endif()

  string(APPEND declarations "namespace ${stem} {\n")
  string(APPEND definitions "namespace ${stem} {\n")
  # Everything before the first "-- name:" is the file's own comment.
  take_section("-- name: ")
  while(section)
    foreach(fragment IN LISTS fragments)
      string(REPLACE "{${fragment}}" "${fragment_${fragment}}" body "${body}")
    endforeach()
    string(APPEND declarations "extern const Statement ${section};\n")
    string(APPEND definitions "const Statement ${section}{\"${stem}.${section}\",\n    ")
    append_literal(definitions "/* ${stem}.${section} */ ${body}")
    string(APPEND definitions "};\n")
    string(APPEND all "    &${stem}::${section},\n")
    take_section("-- name: ")
  endwhile()
  string(APPEND declarations "}  // namespace ${stem}\n")
  string(APPEND definitions "}  // namespace ${stem}\n")
endforeach()

if(MODE STREQUAL "migrations")
  file(WRITE ${SOURCE} "// Generated from db/migrations.
#include \"db/migrator/embedded.h\"

namespace parley::db {
namespace {
constexpr EmbeddedMigration kFiles[] = {
${definitions}};
}  // namespace

std::span<const EmbeddedMigration> EmbeddedMigrations() { return kFiles; }

}  // namespace parley::db
")
else()
  file(WRITE ${HEADER} "// Generated from db/repository/sql.
#pragma once

#include <span>

#include \"db/core/statement.h\"

namespace parley::db::sql {

${declarations}
// Every statement there is, for the test that each is executed.
std::span<const Statement* const> AllStatements();

}  // namespace parley::db::sql
")
  file(WRITE ${SOURCE} "// Generated from db/repository/sql.
#include \"db/repository/statements.h\"

namespace parley::db::sql {

${definitions}
namespace {
constexpr const Statement* kAll[] = {
${all}};
}  // namespace

std::span<const Statement* const> AllStatements() { return kAll; }

}  // namespace parley::db::sql
")
endif()
