#!/usr/bin/env bash
# Builds Parley and runs it here: PostgreSQL, the three services, and a demo through them.
# See --help. Everything it keeps is under var/; everything it starts listens on loopback only.
set -euo pipefail
# shellcheck source=deploy/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'TEXT'
usage: deploy/local/up.sh [--detach] [--no-demo] [--conversation FILE]

Installs what is missing (apt, on Debian 12), builds, starts a private PostgreSQL cluster, migrates,
starts the services, runs the demo, and stays up until Ctrl-C.

  --detach             leave everything running and return; deploy/local/down.sh stops it
  --no-demo            start only
  --conversation FILE  let the demo replay FILE: JSON Lines, {"speaker": "...", "text": "..."}

environment:
  PARLEY_DATABASE_URL    use this database; no cluster is started
  PARLEY_POSTGRES_PORT   port of the private cluster  (default: the first free one from 54329)
  PARLEY_CHATD_PORT, PARLEY_MESSAGED_PORT, PARLEY_SCHEDULERD_PORT   (default: 50051, 50052, 50053)
  PARLEY_WORKERS, PARLEY_LOG_LEVEL, ...   passed to the services; see parley-chatd --help

exit codes: 0 stopped by Ctrl-C, or left running by --detach; 1 something failed, and nothing is
left running; 2 wrong usage; 130 interrupted while starting
TEXT
}

DETACH=no
DEMO=yes
CONVERSATION=
while (($#)); do
  case $1 in
    --detach) DETACH=yes ;;
    --no-demo) DEMO=no ;;
    --conversation)
      [[ $# -ge 2 ]] || { usage >&2; exit 2; }
      CONVERSATION=$(realpath -m -- "$2")
      shift
      ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done

BIN=$ROOT/build/release/bin
PORTS=("${PARLEY_CHATD_PORT:-50051}" "${PARLEY_MESSAGED_PORT:-50052}" "${PARLEY_SCHEDULERD_PORT:-50053}")
ADDRESSES=("${PORTS[@]/#/127.0.0.1:}")
CLUSTER=   # set once we started one
STARTED=no # whether anything must be stopped
UP=no      # whether Ctrl-C is now the ordinary end

# stop_all: services first, for they drain into the database.
stop_all() {
  trap '' INT TERM HUP
  forget_process up
  [[ $STARTED == yes ]] || return 0
  STARTED=no
  say
  say "Stopping: the services finish what they are doing, then PostgreSQL stops."
  local rc=0
  stop_services || rc=1
  if [[ -n $CLUSTER ]]; then
    cluster_stop "$CLUSTER" || rc=1
  fi
  rm -f "$VAR/run/database-url" "$VAR/run/addresses"
  local where="the database you named"
  [[ -z $CLUSTER ]] || where=$(short "$CLUSTER")
  say "Stopped. The data stays in $where."
  return "$rc"
}

finish() {
  local rc=$?
  stop_all || rc=1
  exit "$rc"
}

interrupted() {
  if [[ $UP == yes ]]; then exit 0; fi
  exit 130
}

running_services() {
  local name
  for name in "${SERVICES[@]}"; do
    if running_process "$name" >/dev/null; then say "$name"; fi
  done
}

# leave_if_running: ends here if all services run; what is left of a run that died is stopped.
leave_if_running() {
  local running
  mapfile -t running < <(running_services)
  if ((${#running[@]} == ${#SERVICES[@]})); then
    say "Parley is running already, on $(cat "$VAR/run/addresses")."
    say "Talk to it with deploy/local/demo.py; stop it with deploy/local/down.sh."
    exit 0
  fi
  if ((${#running[@]} > 0)) && [[ $1 == mend ]]; then
    note "a run before this one did not end well; stopping what is left of it"
    stop_services || true
  fi
}

check_ports() {
  local i
  for i in "${!SERVICES[@]}"; do
    port_free "${PORTS[i]}" ||
      fail "port ${PORTS[i]} is taken by another program. End it, or choose another port for" \
        "parley-${SERVICES[i]}: PARLEY_${SERVICES[i]^^}_PORT=..."
  done
}

build() {
  if [[ ! -e $ROOT/build/release/build.ninja ]]; then
    note "the first build takes some minutes; later ones build what has changed"
  fi
  local log=$VAR/log/configure.log
  if ! (cd "$ROOT" && cmake --preset release) >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "the build could not be configured"
  fi
  (cd "$ROOT" && NINJA_STATUS='         [%f/%t, %e s] ' cmake --build --preset release --target \
    parley-migrate "${SERVICES[@]/#/parley-}") || fail "the build failed"
}

start_database() {
  if [[ -n ${PARLEY_DATABASE_URL:-} ]]; then
    note "PARLEY_DATABASE_URL is set: using that database"
    return 0
  fi
  local dir port
  dir=$(local_cluster_dir) || fail "there is no place for PostgreSQL's data"
  [[ $dir == "$VAR"/* ]] ||
    note "PostgreSQL's user cannot reach $VAR; the data is in $dir"
  if cluster_running "$dir"; then
    port=$(cluster_port "$dir")
    note "the cluster is running already"
  else
    port=${PARLEY_POSTGRES_PORT:-$(free_port 54329 54399)} || fail "no port from 54329 to 54399 is free"
    [[ -e $dir/data/PG_VERSION ]] || note "creating the cluster"
    cluster_create "$dir" --data-checksums
    port_free "$port" || fail "port $port is taken by another program; set PARLEY_POSTGRES_PORT"
  fi
  STARTED=yes
  CLUSTER=$dir
  cluster_running "$dir" || cluster_start "$dir" "$port" || fail "PostgreSQL did not start"
  cluster_application "$dir" "$port"
  PARLEY_DATABASE_URL=$(cluster_url "$dir" "$port" parley parley)
  note "listening on 127.0.0.1:$port, log $(short "$dir/server.log")"
}

# show_log NAME: the end of a service's log, on standard error.
show_log() {
  say "the end of $VAR/log/$1.log:" >&2
  tail -n 15 "$VAR/log/$1.log" >&2
}

start_services() {
  local i name admin
  STARTED=yes
  for i in "${!SERVICES[@]}"; do
    name=${SERVICES[i]}
    admin=$((9051 + i))
    port_free "$admin" || admin=0 # a free one
    # A session of its own: Ctrl-C reaches this script only, which stops things in their order.
    setsid "$BIN/parley-$name" --listen "${ADDRESSES[i]}" --admin-listen "127.0.0.1:$admin" \
      </dev/null >>"$VAR/log/$name.log" 2>&1 9>&- &
    PIDS[i]=$!
    remember_process "$name" "$!" 2>/dev/null || { show_log "$name"; fail "parley-$name did not start"; }
  done
}

# admin_address NAME: where its admin port is, by the last line of its log that says so.
admin_address() {
  sed -n 's/.*"message":"admin port","address":"\([^"]*\)".*/\1/p' "$VAR/log/$1.log" | tail -n 1
}

# wait_serving: until the health of all services says SERVING; one that ends fails at once.
wait_serving() {
  local i name deadline=$((SECONDS + 60))
  until /usr/bin/python3 "$ROOT/deploy/local/health.py" --timeout 1 "${ADDRESSES[@]}" \
    2>"$VAR/log/health.log"; do
    for i in "${!SERVICES[@]}"; do
      name=${SERVICES[i]}
      running_process "$name" >/dev/null ||
        { show_log "$name"; fail "parley-$name ended while starting"; }
    done
    if ((SECONDS > deadline)); then
      cat "$VAR/log/health.log" >&2
      fail "the services were not ready within a minute; see $VAR/log"
    fi
    sleep 0.1
  done
}

run_demo() {
  local arguments=()
  [[ -z $CONVERSATION ]] || arguments=(-- "$CONVERSATION")
  /usr/bin/python3 "$ROOT/deploy/local/demo.py" --chat "${ADDRESSES[0]}" --message "${ADDRESSES[1]}" \
    --scheduler "${ADDRESSES[2]}" "${arguments[@]}" || fail "the demo failed; see $VAR/log"
}

# stay_up: until Ctrl-C, or until a service ends by itself.
stay_up() {
  local ended i rc=0
  UP=yes
  say
  say "Parley is up. Ctrl-C stops it."
  wait -n -p ended "${PIDS[@]}" || rc=$?
  for i in "${!SERVICES[@]}"; do
    if [[ ${PIDS[i]} == "${ended:-}" ]]; then
      show_log "${SERVICES[i]}"
      fail "parley-${SERVICES[i]} ended by itself, exit code $rc"
    fi
  done
}

main() {
  mkdir -p "$VAR/log" "$VAR/run"
  exec 9>"$VAR/run/lock"
  if ! flock -n 9; then
    leave_if_running look
    fail "another up.sh is at work in this checkout; deploy/local/down.sh stops what it started"
  fi
  leave_if_running mend
  trap finish EXIT
  trap interrupted INT TERM HUP
  remember_process up $$

  step "Packages"
  local packages=("${PACKAGES_BUILD[@]}" "${PACKAGES_PYTHON[@]}")
  [[ -n ${PARLEY_DATABASE_URL:-} ]] || packages+=("${PACKAGES_POSTGRESQL[@]}")
  need_packages "${packages[@]}"
  if [[ $DEMO == yes && -n $CONVERSATION ]]; then
    /usr/bin/python3 "$ROOT/deploy/local/demo.py" --check -- "$CONVERSATION" ||
      fail "this conversation cannot be replayed"
  fi
  # Only for the lines that the demo prints to go on with; nothing here needs it.
  (need_grpcurl) || note "grpcurl could not be installed; going on without it"
  check_ports

  step "Build"
  build

  step "PostgreSQL"
  start_database
  export PARLEY_DATABASE_URL
  (umask 077 && printf '%s\n' "$PARLEY_DATABASE_URL" >"$VAR/run/database-url")

  step "Schema"
  "$BIN/parley-migrate" up || fail "the schema could not be migrated"

  step "Services"
  printf '%s\n' "${ADDRESSES[*]}" >"$VAR/run/addresses"
  start_services
  wait_serving
  local i
  for i in "${!SERVICES[@]}"; do
    note "parley-${SERVICES[i]} serves on ${ADDRESSES[i]}, log $(short "$VAR/log/${SERVICES[i]}.log")"
    note "  metrics on http://$(admin_address "${SERVICES[i]}")/metrics"
  done

  if [[ $DEMO == yes ]]; then
    step "Demo"
    run_demo
  fi

  if [[ $DETACH == yes ]]; then
    STARTED=no
    forget_process up
    say
    say "Parley is up. deploy/local/down.sh stops it."
  else
    stay_up
  fi
}

PIDS=()
main
