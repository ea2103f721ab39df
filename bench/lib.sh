# shellcheck shell=bash
# Pieces shared by run.sh and scheduler.sh. Sourced, never run; expects deploy/local/lib.sh.

# shellcheck disable=SC2034  # for those who source this
BIN=$ROOT/build/release/bin
# shellcheck disable=SC2034
BENCH=$ROOT/bench
OUT=      # where this run's results go
CLUSTER=  # set once there is one
CHILD=    # what measures just now

# ---- Servers ---------------------------------------------------------------------------------

# start_server NAME COMMAND...: in a session of its own, so that Ctrl-C reaches this script only. Its
# admin port is a free one, for another may run here on the default ones.
start_server() {
  local name=$1
  shift
  PARLEY_ADMIN_LISTEN=127.0.0.1:0 setsid "$@" </dev/null >>"$OUT/$name.log" 2>&1 9>&- &
  remember_process "$name" "$!" 2>/dev/null || true
}

stop_process() {
  local pid
  pid=$(running_process "$1") || return 0
  kill -TERM "$pid" 2>/dev/null || true
  if ! wait_gone 30 "$1" && pid=$(running_process "$1"); then kill -KILL "$pid" 2>/dev/null || true; fi
  forget_process "$1"
}

# wait_serving NAME ADDRESS
wait_serving() {
  local deadline=$((SECONDS + 60))
  until /usr/bin/python3 "$ROOT/deploy/local/health.py" --timeout 1 "$2" 2>/dev/null; do
    if ((SECONDS > deadline)) || ! running_process "$1" >/dev/null; then
      tail -n 15 "$OUT/$1.log" >&2
      fail "$1 does not serve"
    fi
    sleep 0.1
  done
}

# memory PID FIELD: of a process, in KiB.
memory() { sed -n "s/^$2:[[:space:]]*\([0-9]*\) kB$/\1/p" "/proc/$1/status"; }

# refuse_leftovers NAME...: servers that a run with --keep has left.
refuse_leftovers() {
  local name
  for name in "$@"; do
    ! running_process "$name" >/dev/null ||
      fail "$name of a run with --keep still runs, pid $(running_process "$name"); end it first"
  done
}

# ---- PostgreSQL ------------------------------------------------------------------------------

# A directory on a disk, which /tmp may not be, that the cluster's user can reach.
make_cluster_dir() {
  local base dir
  for base in "$VAR/bench" "${TMPDIR:-/var/tmp}" /var/tmp; do
    dir=$(mktemp -d "$base/parley-bench.XXXXXX") || continue
    if cluster_dir_usable "$dir"; then
      printf '%s\n' "$dir"
      return 0
    fi
    rmdir "$dir"
  done
  return 1
}

# Sets CLUSTER, PORT and ADMIN, and PARLEY_DATABASE_URL for the programs.
start_cluster() {
  CLUSTER=$(make_cluster_dir) || fail "there is no place for a cluster"
  cluster_create "$CLUSTER"
  PORT=$(free_port $((20000 + RANDOM % 8000)) 32000) || fail "no free port for PostgreSQL"
  # Nothing else is set: what is measured is what PostgreSQL does out of the box, durably.
  cluster_start "$CLUSTER" "$PORT" "max_connections = 200" || fail "PostgreSQL did not start"
  cluster_application "$CLUSTER" "$PORT"
  ADMIN=$(cluster_url "$CLUSTER" "$PORT" postgres parley)
  PARLEY_DATABASE_URL=$(cluster_url "$CLUSTER" "$PORT" parley parley)
  export PARLEY_DATABASE_URL
}

remove_cluster() {
  [[ -n $CLUSTER ]] || return 0
  cluster_stop "$CLUSTER" || true
  rm -rf "$CLUSTER"
}

admin() { "$PG/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@" "$ADMIN"; }

# ---- Measuring -------------------------------------------------------------------------------

# build TARGET...
build() {
  local log=$VAR/log/configure.log
  if ! (cd "$ROOT" && cmake --preset release) >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "the build could not be configured"
  fi
  (cd "$ROOT" && NINJA_STATUS='         [%f/%t, %e s] ' cmake --build --preset release --target \
    "$@") || fail "the build failed"
}

# take_turn: nobody else in this checkout measures meanwhile. Descriptor 9 is the lock.
take_turn() {
  mkdir -p "$VAR/log" "$VAR/run" "$VAR/bench"
  exec 9>"$VAR/bench/lock"
  flock -n 9 || fail "another benchmark is at work in this checkout"
  # Settings of the caller's would change what is measured.
  local name
  for name in "${!PARLEY_@}" "${!PG@}"; do
    [[ $name == PG || $name == PGSSL* ]] || unset "$name"
  done
  # The load comes from one caller, whom nothing is to hold back.
  export PARLEY_CALLER_RATE=0 PARLEY_CALLER_CALLS=0 PARLEY_CALLER_STREAMS=0
}

# measure NAME COMMAND...: its output goes to NAME in the round's folder RAW. A failure is noted and
# shows in the table; the others are measured all the same.
measure() {
  local name=$1 rc=0
  shift
  set -m # a process group of its own, for stop_child
  "$@" </dev/null >"$RAW/$name" 2>"$RAW/$name.err" 9>&- &
  CHILD=$!
  set +m
  wait "$CHILD" || rc=$?
  CHILD=
  if [[ $rc -ne 0 ]]; then note "$name ended with $rc; see $(short "$RAW/$name.err")"; fi
  sleep 0.2
}

# stop_child: what measures, and what it has started.
stop_child() { [[ -z $CHILD ]] || kill -TERM -- "-$CHILD" 2>/dev/null || true; }

# The machine and PostgreSQL, as a reader needs them to judge the figures; Markdown.
describe_machine() {
  local model commit setting settings=
  model=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
  commit=$(git -C "$ROOT" describe --always --dirty 2>/dev/null || echo unknown)
  for setting in fsync synchronous_commit full_page_writes wal_sync_method shared_buffers \
    max_wal_size max_connections; do
    settings+="$setting=$(admin -c "SHOW $setting"), "
  done
  say "- $(nproc) CPUs (${model:-unknown}), $(sed -n 's/^MemTotal: *//p' /proc/meminfo) of memory," \
    "Linux $(uname -r); load before the first round: $(cut -d ' ' -f 1-3 /proc/loadavg)"
  say "- commit $commit, $(date -u '+%Y-%m-%d %H:%M UTC'); all programs on this machine, over TCP on" \
    "loopback"
  say "- $("$PG/postgres" --version), on $(stat -f -c %T "$CLUSTER"): ${settings%, }"
}

elapsed() { printf '%d:%02d min\n' $((SECONDS / 60)) $((SECONDS % 60)); }
