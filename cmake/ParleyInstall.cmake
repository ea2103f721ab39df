# What `cmake --install` puts where, and the Debian package that is made of it (cpack -G DEB).
include(GNUInstallDirs)
set(data ${CMAKE_INSTALL_DATADIR}/parley)
set(units ${CMAKE_INSTALL_PREFIX}/lib/systemd/system)

install(TARGETS parley-chatd parley-messaged parley-schedulerd parley-migrate
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# For those who write clients, and for other migrators.
install(DIRECTORY proto/parley proto/google DESTINATION ${data}/proto FILES_MATCHING PATTERN "*.proto")
install(DIRECTORY deploy/service_config DESTINATION ${data} FILES_MATCHING PATTERN "*.json")
install(DIRECTORY db/migrations DESTINATION ${data}
  FILES_MATCHING PATTERN "*.sql" PATTERN "SUM" PATTERN "LINT_BASELINE")
install(FILES db/schema.sql DESTINATION ${data})
install(DIRECTORY deploy/alerts deploy/dashboards DESTINATION ${data}
  FILES_MATCHING PATTERN "*.rules.yml" PATTERN "*.json")
install(FILES README.md ARCHITECTURE.md SECURITY.md deploy/runbook.md
  DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES deploy/systemd/credentials.conf DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

# For Prometheus and Grafana, and for who is woken by them.
install(FILES deploy/alerts/parley.rules.yml DESTINATION ${data}/alerts)
install(DIRECTORY deploy/dashboards DESTINATION ${data} FILES_MATCHING PATTERN "*.json")
install(FILES deploy/runbook.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Its database's password may be in there.
install(DIRECTORY deploy/etc/ DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/parley
  FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ FILES_MATCHING PATTERN "*.env")

# parley_compressed(file directory [name]): installs file.gz, as the manual and a package's changelogs are.
function(parley_compressed file directory)
  set(name ${ARGN})
  if(NOT name)
    get_filename_component(name ${file} NAME)
  endif()
  set(compressed ${CMAKE_BINARY_DIR}/installed/${name}.gz)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/installed)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  execute_process(COMMAND gzip -9cn ${file} OUTPUT_FILE ${compressed} COMMAND_ERROR_IS_FATAL ANY)
  install(FILES ${compressed} DESTINATION ${directory})
endfunction()

# ---- The programs: units and manual ----------------------------------------------------------

# parley_unit(name unit-template manual-template SUBJECT text): with the paths of this installation in them.
function(parley_unit name unit manual)
  cmake_parse_arguments(ARG "" "SUBJECT" "" ${ARGN})
  file(READ deploy/systemd/hardening.conf PARLEY_UNIT_HARDENING)
  string(STRIP "${PARLEY_UNIT_HARDENING}" PARLEY_UNIT_HARDENING)
  set(PARLEY_UNIT_NAME ${name})
  set(PARLEY_UNIT_SUBJECT ${ARG_SUBJECT})
  string(TOUPPER ${name} PARLEY_UPPER_NAME)
  configure_file(deploy/systemd/${unit} ${CMAKE_BINARY_DIR}/systemd/parley-${name}.service @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/systemd/parley-${name}.service DESTINATION ${units})
  configure_file(deploy/man/${manual} ${CMAKE_BINARY_DIR}/man/parley-${name}.8 @ONLY)
  parley_compressed(${CMAKE_BINARY_DIR}/man/parley-${name}.8 ${CMAKE_INSTALL_MANDIR}/man8)
endfunction()

set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS deploy/systemd/hardening.conf)
parley_unit(migrate parley-migrate.service.in parley-migrate.8.in)
foreach(pair IN ITEMS "chatd;users, chats, who belongs to which chat" "messaged;message history"
        "schedulerd;tasks that run later")
  list(GET pair 0 name)
  list(GET pair 1 subject)
  parley_unit(${name} parley-service.service.in service.8.in SUBJECT ${subject})
endforeach()
install(FILES deploy/systemd/sysusers.conf DESTINATION ${CMAKE_INSTALL_PREFIX}/lib/sysusers.d
  RENAME parley.conf)

# ---- The Debian package ----------------------------------------------------------------------

# The units and the configuration are where Debian looks for them only under /usr: preset `package`.
set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)  # for what goes to /etc
set(CPACK_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_NAME parley)
set(CPACK_PACKAGE_CONTACT "Parley maintainers <maintainers@parley.invalid>")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS
  "systemd | systemd-standalone-sysusers | systemd-sysusers, tzdata")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "postgresql (>= 15)")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "chats for other back ends, as gRPC services over PostgreSQL")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Three stateless services that keep all they know in one PostgreSQL database:
parley-chatd has users, chats and who belongs to which; parley-messaged has
the message history, numbered without holes, searched, watched and sent
later; parley-schedulerd runs tasks later, once or by a schedule.
parley-migrate brings the schema up to date.

Nothing is started by the installation: first say where the database is,
in /etc/parley/parley.env.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_SOURCE_DIR}/deploy/debian/postinst ${CMAKE_SOURCE_DIR}/deploy/debian/prerm
  ${CMAKE_SOURCE_DIR}/deploy/debian/postrm ${CMAKE_SOURCE_DIR}/deploy/debian/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

parley_compressed(${CMAKE_SOURCE_DIR}/deploy/debian/changelog ${CMAKE_INSTALL_DOCDIR} changelog.Debian)
parley_compressed(${CMAKE_SOURCE_DIR}/CHANGELOG.md ${CMAKE_INSTALL_DOCDIR} changelog)
install(FILES deploy/debian/copyright DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES deploy/debian/lintian-overrides DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides
  RENAME parley)
include(CPack)
