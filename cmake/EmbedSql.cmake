# SQL files built into the code.
#
# parley_embed_statements(out_var dir file.sql...): each "-- name: X" section of chat.sql becomes
#   parley::db::sql::chat::X, declared in the generated header db/repository/statements.h. A file
#   fragments.sql, given first, holds what statements have in common.
# parley_embed_migrations(out_var dir file.sql...): the files become what
#   parley::db::EmbeddedMigrations() (db/migrator/embedded.h) returns: file names and texts.
# out_var receives the generated sources. The work is done by EmbedSqlScript.cmake at build time.

set(PARLEY_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_DIR}/EmbedSqlScript.cmake)

function(parley_embed_statements out_var dir)
  list(TRANSFORM ARGN PREPEND ${dir}/ OUTPUT_VARIABLE files)
  set(header ${CMAKE_BINARY_DIR}/generated/db/repository/statements.h)
  set(source ${CMAKE_BINARY_DIR}/generated/db/repository/statements.cc)
  add_custom_command(
    OUTPUT ${header} ${source}
    COMMAND ${CMAKE_COMMAND} -D MODE=statements "-DFILES=${files}" -D HEADER=${header}
            -D SOURCE=${source} -P ${PARLEY_EMBED_SCRIPT}
    DEPENDS ${files} ${PARLEY_EMBED_SCRIPT}
    VERBATIM)
  set(${out_var} ${header} ${source} PARENT_SCOPE)
endfunction()

function(parley_embed_migrations out_var dir)
  list(TRANSFORM ARGN PREPEND ${dir}/ OUTPUT_VARIABLE files)
  set(source ${CMAKE_BINARY_DIR}/generated/db/migrator/embedded.cc)
  add_custom_command(
    OUTPUT ${source}
    COMMAND ${CMAKE_COMMAND} -D MODE=migrations "-DFILES=${files}" -D SOURCE=${source}
            -P ${PARLEY_EMBED_SCRIPT}
    DEPENDS ${files} ${PARLEY_EMBED_SCRIPT}
    VERBATIM)
  set(${out_var} ${source} PARENT_SCOPE)
endfunction()
