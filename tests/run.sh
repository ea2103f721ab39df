#!/usr/bin/env bash
# Builds Parley and runs its whole test suite against a PostgreSQL of its own. See --help.
set -euo pipefail
# shellcheck source=deploy/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/local/lib.sh"

usage() {
  cat <<'TEXT'
usage: tests/run.sh [--preset release|ci|dev|tsan] [CTEST-ARGUMENT...]

Installs what is missing (apt, on Debian 12), builds, starts a throw-away PostgreSQL cluster, runs
the tests by ctest, prints its summary last and exits with its code. The cluster is removed whatever
happens.

  --preset NAME      what to build and test (default: release); dev is AddressSanitizer and
                     UndefinedBehaviorSanitizer, tsan is ThreadSanitizer (without the system tests)
  CTEST-ARGUMENT...  passed to ctest: -R chat, -j 4, --rerun-failed, ...

environment:
  PARLEY_TEST_JOBS   how many test programs run side by side (default: 4; most wait most of the time)
  PARLEY_TEST_KEEP   set: keep the cluster's directory when tests fail, stopped
TEXT
}

PRESET=release
while (($#)); do
  case $1 in
    --preset)
      [[ $# -ge 2 ]] || { usage >&2; exit 2; }
      PRESET=$2
      shift
      ;;
    --help | -h) usage; exit 0 ;;
    *) break ;;
  esac
  shift
done
case $PRESET in
  release | ci | dev | tsan) ;;
  *) usage >&2; exit 2 ;;
esac

CLUSTER=

remove_cluster() {
  local rc=$?
  trap '' INT TERM HUP
  if [[ -n $CLUSTER ]]; then
    cluster_stop "$CLUSTER" || true
    if [[ $rc -ne 0 && -n ${PARLEY_TEST_KEEP:-} ]]; then
      say "kept: $CLUSTER" >&2
    else
      rm -rf "$CLUSTER"
    fi
  fi
  exit "$rc"
}

# Whether the memory has room for a cluster. Thousands of databases are made and dropped in a run, some
# hundred files each, and a file system on a disk takes its time to make files where others have just been
# deleted: ext4 passes over every inode that was freed in the last seconds.
memory_has_room() {
  local available
  available=$(df --output=avail -B 1M /dev/shm 2>/dev/null | tail -n 1) || return 1
  ((available >= 4096 && $(awk '/^MemAvailable:/ {print int($2 / 1024)}' /proc/meminfo) >= 8192))
}

# A temporary directory that the cluster's user can reach, which TMPDIR may not be.
make_cluster_dir() {
  local base dir bases=("${TMPDIR:-/tmp}" /tmp /var/tmp)
  if memory_has_room; then bases=(/dev/shm "${bases[@]}"); fi
  for base in "${bases[@]}"; do
    dir=$(mktemp -d "$base/parley-test.XXXXXX") || continue
    if cluster_dir_usable "$dir"; then
      printf '%s\n' "$dir"
      return 0
    fi
    rmdir "$dir"
  done
  return 1
}

start_cluster() {
  local port
  CLUSTER=$(make_cluster_dir) || fail "there is no place for a temporary cluster"
  cluster_create "$CLUSTER"
  # Below the range from which the system hands out ports of its own, and away from up.sh's.
  port=$(free_port $((20000 + RANDOM % 8000)) 32000) || fail "no free port for PostgreSQL"
  # The statement-coverage test asks pg_stat_statements. fsync is off because nobody will want this
  # cluster back after a power cut; a killed server or client loses nothing by it.
  cluster_start "$CLUSTER" "$port" \
    "shared_preload_libraries = 'pg_stat_statements'" \
    "pg_stat_statements.max = 50000" \
    "pg_stat_statements.track = all" \
    "max_connections = 300" \
    "fsync = off" ||
    fail "PostgreSQL did not start"
  PARLEY_TEST_DATABASE_URL=$(cluster_url "$CLUSTER" "$port" postgres postgres)
}

build() {
  cd "$ROOT"
  local log=$VAR/log/configure-$PRESET.log
  mkdir -p "$VAR/log"
  if ! cmake --preset "$PRESET" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "the build could not be configured"
  fi
  NINJA_STATUS='         [%f/%t, %e s] ' cmake --build --preset "$PRESET" || fail "the build failed"
}

main() {
  step "Packages and tools"
  local packages=("${PACKAGES_BUILD[@]}" "${PACKAGES_POSTGRESQL[@]}" "${PACKAGES_PYTHON[@]}"
    python3-psycopg2 "${PACKAGES_CELERY[@]}" "${PACKAGES_CLOCK[@]}" "${PACKAGES_WATCH[@]}"
    "${PACKAGES_POOLER[@]}"
    "${PACKAGES_ORIGINAL[@]}" "${PACKAGES_DEPLOY[@]}" "${PACKAGES_CREDENTIALS[@]}"
    "${PACKAGES_HOSTILE[@]}")
  [[ $PRESET != dev && $PRESET != tsan ]] || packages+=("${PACKAGES_CLANG[@]}")
  need_packages "${packages[@]}"
  local tool
  for tool in grpcurl dbmate goose; do
    "need_$tool" || fail "$tool is needed and could not be installed"
  done

  step "Build, preset $PRESET"
  build

  trap remove_cluster EXIT
  trap 'exit 130' INT TERM HUP
  step "PostgreSQL"
  start_cluster

  step "Tests"
  export PARLEY_TEST_DATABASE_URL
  export PARLEY_BIN_DIR=$ROOT/build/$PRESET/bin
  export TZ=UTC
  # Settings of the caller's would change what the programs under test do.
  local name
  for name in "${!PARLEY_@}"; do
    [[ $name == PARLEY_TEST_* || $name == PARLEY_BIN_DIR ]] || unset "$name"
  done
  local symbolizer=external_symbolizer_path=/usr/bin/llvm-symbolizer-14
  export ASAN_OPTIONS=$symbolizer:detect_stack_use_after_return=1:strict_string_checks=1
  export LSAN_OPTIONS="print_suppressions=0 suppressions='$ROOT/tests/support/lsan.supp'"
  export UBSAN_OPTIONS=$symbolizer:print_stacktrace=1
  # What gRPC's library does through memcpy, free and the like is not ours to judge, and to look up each
  # suppressed report about it takes most of a test's time.
  export TSAN_OPTIONS="$symbolizer halt_on_error=1 second_deadlock_stack=1 ignore_noninstrumented_modules=1 suppressions='$ROOT/tests/support/tsan.supp'"
  # The sanitizers place their shadow memory where address randomisation may have put something else.
  local launcher=()
  if [[ $PRESET == dev || $PRESET == tsan ]] && setarch -R true 2>/dev/null; then
    launcher=(setarch -R)
  fi
  # gRPC is installed without instrumentation, so every call makes TSan write, look up and drop hundreds of
  # false reports, and services under load miss their deadlines. The system tests run under the other
  # sanitizers; what our threads share is raced by the other tiers.
  [[ $PRESET != tsan ]] || set -- -LE system "$@"
  "${launcher[@]}" ctest --test-dir "$ROOT/build/$PRESET" --output-on-failure --no-tests=error \
    -j "${PARLEY_TEST_JOBS:-4}" "$@"
}

main "$@"
