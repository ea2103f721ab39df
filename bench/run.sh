#!/usr/bin/env bash
# Measures Parley against PostgreSQL itself, side by side on this machine. See --help.
set -euo pipefail
# shellcheck source=deploy/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/local/lib.sh"
# shellcheck source=bench/lib.sh
source "$ROOT/bench/lib.sh"

usage() {
  cat <<'TEXT'
usage: bench/run.sh [--quick] [--rounds N] [--duration S] [--keep] [-- MESSAGED-OPTION...]

Installs what is missing (apt, on Debian 12), builds, starts a PostgreSQL of its own with durable
settings, fills it, and measures parley-messaged, pgbench and an empty gRPC server in turns. Prints a
table of medians and bars; keeps it, the plot and every figure in var/bench/. Takes about a quarter
of an hour. Let nothing else work on the machine meanwhile.

  --quick              one short round: shows that everything works, the figures mean little
  --rounds N           rounds (default: 5); medians are over these
  --duration S         seconds of each measurement (default: 6), after a warm-up
  --keep               leave PostgreSQL, messaged and the echo server running
  MESSAGED-OPTION...   passed to parley-messaged: --workers 8, ...

exit codes: 0 every bar is met; 1 one is missed, or something failed; 2 wrong usage; 130 interrupted
TEXT
}

wrong_usage() { usage >&2; exit 2; }

ROUNDS=5
DURATION=6
WARM_UP=2
DEPTH_DURATION=2
KEEP=no
IN_FLIGHT=64
CHATS=1000
MESSAGES=1000
DEEP=1000000
DEPTHS=(0 10 100 1000 10000 100000 500000 900000)
READER=2001
MESSAGED_OPTIONS=()
while (($#)); do
  case $1 in
    --quick) ROUNDS=1 DURATION=2 WARM_UP=1 DEPTH_DURATION=1 ;;
    --rounds | --duration)
      [[ ${2:-} =~ ^[1-9][0-9]{0,3}$ ]] || wrong_usage
      if [[ $1 == --rounds ]]; then ROUNDS=$2; else DURATION=$2; fi
      shift
      ;;
    --keep) KEEP=yes ;;
    --help | -h) usage; exit 0 ;;
    --) shift; MESSAGED_OPTIONS=("$@"); break ;;
    *) wrong_usage ;;
  esac
  shift
done

OUT=$VAR/bench/results/$(date +%Y%m%d-%H%M%S)
LEAVE=no  # whether the servers are to stay

finish() {
  local rc=$?
  trap '' INT TERM HUP
  stop_child
  if [[ $LEAVE == no ]]; then
    stop_process bench-messaged
    stop_process bench-echo
    remove_cluster
  fi
  exit "$rc"
}

start_servers() {
  local port
  port=$(free_port $((PORT + 1)) 32000) || fail "no free port"
  MESSAGED=127.0.0.1:$port
  port=$(free_port $((port + 1)) 32000) || fail "no free port"
  ECHO=127.0.0.1:$port
  start_server bench-messaged "$BIN/parley-messaged" --listen "$MESSAGED" "${MESSAGED_OPTIONS[@]}"
  wait_serving bench-messaged "$MESSAGED"
  MESSAGED_PID=$(running_process bench-messaged)
  sleep 2 # until what starting took has been given back
  memory "$MESSAGED_PID" VmRSS >"$OUT/idle.rss"
  "$BIN/parley-bench" capture --target "$MESSAGED" --out "$OUT/page.bin" ||
    fail "messaged gives no page"
  start_server bench-echo "$BIN/parley-bench" echo --listen "$ECHO" --reply "$OUT/page.bin"
  wait_serving bench-echo "$ECHO"
}

# The settings that a reader needs to judge the figures, as Markdown.
describe() {
  describe_machine
  say "- parley-messaged ${MESSAGED_OPTIONS[*]:-}: $("$BIN/parley-messaged" \
    "${MESSAGED_OPTIONS[@]}" --print-config |
    awk '$1 == "workers" || $1 == "queue" || $1 == "log-level" {print $1 "=" $NF}' | paste -sd ' ')"
  say "- $CHATS chats of $MESSAGES messages and one of $DEEP; medians of $ROUNDS round(s)," \
    "$DURATION s each after $WARM_UP s of warm-up ($DEPTH_DURATION s for the depths); $IN_FLIGHT calls" \
    "in flight over 2 connections, $IN_FLIGHT clients of pgbench -M prepared"
}

# parley NAME ARGUMENT...: calls messaged, and notes its peak of memory meanwhile.
parley() {
  local name=$1
  shift
  # Begins a new peak.
  echo 5 2>/dev/null >"/proc/$MESSAGED_PID/clear_refs" || true
  measure "$name.parley" "$BIN/parley-bench" load --json --target "$MESSAGED" \
    --chats "$CHATS" --duration "$DURATION" --warm-up "$WARM_UP" "$@"
  memory "$MESSAGED_PID" VmHWM >"$RAW/$name.hwm" 2>/dev/null || fail "parley-messaged has ended; see $OUT/bench-messaged.log"
}

# pgbench NAME FILE ARGUMENT...: the warm-up is cut off by the report, for which there are lines of
# progress, and of one client a log of each statement.
pgbench() {
  local name=$1 file=$2
  shift 2
  measure "$name.pgbench" "$PG/pgbench" -n -M prepared -P 1 -T $((DURATION + WARM_UP)) \
    -f "$BENCH/sql/$file.sql" "$@" "$PARLEY_DATABASE_URL"
}

pgbench_alone() {
  local name=$1 file=$2
  shift 2
  pgbench "$name" "$file" -c 1 -j 1 --log --log-prefix "$RAW/$name.pgbench.log" "$@"
}

MANY=(-D first=1 -D "last=$CHATS")
BUSY=(-D "first=$((CHATS + 2))" -D "last=$((CHATS + 2))")
CROWD=(-c "$IN_FLIGHT" -j 2)

list_echo() {
  measure list.echo "$BIN/parley-bench" load --json --target "$ECHO" --chats "$CHATS" \
    --scenario list --in-flight "$IN_FLIGHT" --duration "$DURATION" --warm-up "$WARM_UP"
}
list_parley() { parley list --scenario list --in-flight "$IN_FLIGHT"; }
list_pgbench() { pgbench list list "${CROWD[@]}" "${MANY[@]}"; }
send_parley() { parley send --scenario send --in-flight "$IN_FLIGHT"; }
send_pgbench() { pgbench send send "${CROWD[@]}" "${MANY[@]}"; }
busy_parley() { parley busy --scenario send --in-flight "$IN_FLIGHT" --chat $((CHATS + 2)); }
busy_pgbench() { pgbench busy send "${CROWD[@]}" "${BUSY[@]}"; }
one_parley() { parley one --scenario send --in-flight 1 --channels 1; }
one_pgbench() { pgbench_alone one send "${MANY[@]}"; }
unread_parley() {
  parley unread --scenario unread --in-flight 1 --channels 1 --user "$READER" --expect "$CHATS"
}
unread_pgbench() { pgbench_alone unread unread -D "reader=$READER"; }

# depths NUMBER...: in this order, ours and the plain OFFSET in turns.
depths() {
  local depth DURATION=$DEPTH_DURATION WARM_UP=1
  for depth in "$@"; do
    parley "depth-$depth" --scenario list --in-flight 1 --channels 1 --chat $((CHATS + 1)) \
      --offset "$depth"
    pgbench_alone "depth-$depth" offset -D "chat=$((CHATS + 1))" -D "depth=$depth"
  done
}

# round NUMBER: each pair side by side; who goes first changes from round to round.
round() {
  local pair order=(list send busy one unread)
  RAW=$OUT/round-$1
  mkdir "$RAW"
  for pair in "${order[@]}"; do
    if [[ $pair == list ]]; then list_echo; fi
    if (($1 % 2)); then
      "${pair}_parley"
      "${pair}_pgbench"
    else
      "${pair}_pgbench"
      "${pair}_parley"
    fi
  done
  depths "${DEPTHS[@]}"
  note "round $1 of $ROUNDS done, $(elapsed)"
}

# What one GetUnreadCounts runs, from PostgreSQL's own log; the health probe's ping left out.
count_statements() {
  local log=$CLUSTER/server.log before
  RAW=$OUT
  admin -c "ALTER SYSTEM SET log_statement = 'all'" -c "SELECT pg_reload_conf()" >/dev/null
  sleep 1.5
  before=$(pg_run stat -c %s "$log")
  measure unread.once "$BIN/parley-bench" load --json --target "$MESSAGED" --scenario unread \
    --in-flight 1 --channels 1 --count 1 --user "$READER"
  admin -c "ALTER SYSTEM RESET log_statement" -c "SELECT pg_reload_conf()" >/dev/null
  pg_run tail -c +$((before + 1)) "$log" |
    sed -nE 's/^.*LOG:  (statement|execute [^:]*): /\1: /p' |
    grep -vE ': (SELECT 1|ALTER SYSTEM|SELECT pg_reload_conf)' >"$OUT/unread.statements" || true
}

main() {
  take_turn
  refuse_leftovers bench-messaged bench-echo

  step "Packages"
  need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_POSTGRESQL[@]}" "${PACKAGES_PYTHON[@]}" \
    python3-matplotlib
  PG=$(pg_bindir) || fail "no PostgreSQL server is installed"
  step "Build"
  build parley-migrate parley-messaged parley-bench

  trap finish EXIT
  trap 'exit 130' INT TERM HUP
  mkdir -p "$OUT"
  step "PostgreSQL"
  start_cluster
  step "Rows"
  "$BIN/parley-migrate" up >"$OUT/migrate.log" || fail "the schema could not be migrated"
  admin -v "chats=$CHATS" -v "messages=$MESSAGES" -v "deep=$DEEP" -f "$BENCH/sql/prepare.sql" \
    >"$OUT/prepare.log" 2>&1 || { tail -n 5 "$OUT/prepare.log" >&2; fail "the rows could not be made"; }
  step "Servers"
  start_servers
  describe >"$OUT/header.md"

  step "Rounds"
  local number
  for ((number = 1; number <= ROUNDS; number++)); do round "$number"; done
  count_statements

  step "Result"
  local rc=0
  /usr/bin/python3 -B "$BENCH/report.py" "$OUT" || rc=1
  /usr/bin/python3 -B "$BENCH/plot.py" "$OUT/depth.csv" "$OUT/depth.svg" || rc=1
  ln -sfn "results/${OUT##*/}" "$VAR/bench/latest"
  say
  say "Kept in $(short "$OUT"): report.md, depth.svg, every figure."
  if [[ $KEEP == yes ]]; then
    LEAVE=yes
    say "Left running: messaged on $MESSAGED (pid $MESSAGED_PID), echo on $ECHO (pid" \
      "$(running_process bench-echo)), PostgreSQL in $CLUSTER, port $PORT."
  fi
  return "$rc"
}

main
