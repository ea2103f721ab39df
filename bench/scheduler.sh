#!/usr/bin/env bash
# Measures parley-schedulerd beside graphile-worker and Celery on this machine. See --help.
set -euo pipefail
# shellcheck source=deploy/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../deploy/local/lib.sh"
# shellcheck source=bench/lib.sh
source "$ROOT/bench/lib.sh"

usage() {
  cat <<'TEXT'
usage: bench/scheduler.sh [--quick] [--rounds N] [--duration S] [--keep] [-- SCHEDULERD-OPTION...]

Installs what is missing (apt, on Debian 12; graphile-worker by npm into var/bench/peers), builds,
starts a PostgreSQL with durable settings and two Redis servers of its own, and measures
parley-schedulerd, graphile-worker and Celery in turns. Prints a table of medians and bars; keeps it,
the plot and every figure in var/bench/. Takes about half an hour. Let nothing else work on the
machine meanwhile.

  --quick                one short round: shows that everything works, the figures mean little
  --rounds N             rounds (default: 3); medians are over these
  --duration S           seconds of each measurement of a rate (default: 6), after a warm-up
  --keep                 leave PostgreSQL and schedulerd running
  SCHEDULERD-OPTION...   passed to parley-schedulerd: --workers 8, ...

exit codes: 0 every bar is met; 1 one is missed, or something failed; 2 wrong usage; 130 interrupted
TEXT
}

wrong_usage() { usage >&2; exit 2; }

GRAPHILE=graphile-worker@0.17.3
ROUNDS=3
DURATION=6
WARM_UP=2
KEEP=no
IN_FLIGHT=64
BATCHES=2           # calls of 1,000 tasks in flight
TASKS=100000        # to drain
PLAIN_TASKS=20000   # those who are slow get fewer: what counts is the rate
CELERY_TASKS=10000
DURABLE_TASKS=2000
PARKED=1000000      # tasks that are due in a day
LATE_RATE=1000      # tasks a second
LATE_SECONDS=60
LATE_FROM=15        # seconds to create them in
HANDOFFS=1000
IDLE_SECONDS=30
SCHEDULERD_OPTIONS=()
while (($#)); do
  case $1 in
    --quick)
      ROUNDS=1 DURATION=2 WARM_UP=1 TASKS=20000 PLAIN_TASKS=2000 CELERY_TASKS=2000 DURABLE_TASKS=300
      PARKED=50000 LATE_SECONDS=5 LATE_FROM=5 HANDOFFS=200 IDLE_SECONDS=5
      ;;
    --rounds | --duration)
      [[ ${2:-} =~ ^[1-9][0-9]{0,3}$ ]] || wrong_usage
      if [[ $1 == --rounds ]]; then ROUNDS=$2; else DURATION=$2; fi
      shift
      ;;
    --keep) KEEP=yes ;;
    --help | -h) usage; exit 0 ;;
    --) shift; SCHEDULERD_OPTIONS=("$@"); break ;;
    *) wrong_usage ;;
  esac
  shift
done

OUT=$VAR/bench/scheduler/$(date +%Y%m%d-%H%M%S)
PEERS=$VAR/bench/peers
LEAVE=no   # whether the servers are to stay
SERVING=   # the database that schedulerd works on just now
WAITING=   # the worker that does nothing

finish() {
  local rc=$?
  trap '' INT TERM HUP
  stop_child
  [[ -z $WAITING ]] || kill -TERM "$WAITING" 2>/dev/null || true
  stop_process bench-redis
  stop_process bench-redis-durable
  if [[ $LEAVE == no ]]; then
    stop_process bench-schedulerd
    remove_cluster
  fi
  exit "$rc"
}

# ---- What is measured ------------------------------------------------------------------------

database() { cluster_url "$CLUSTER" "$PORT" parley "$1"; }

# sql DATABASE STATEMENT...
sql() {
  local url
  url=$(cluster_url "$CLUSTER" "$PORT" postgres "$1")
  shift
  local statement arguments=()
  for statement in "$@"; do arguments+=(-c "$statement"); done
  "$PG/psql" -X -q -A -t -v ON_ERROR_STOP=1 "${arguments[@]}" "$url" >/dev/null
}

# serve DATABASE: schedulerd works on it.
serve() {
  [[ $SERVING != "$1" ]] || return 0
  stop_process bench-schedulerd
  PARLEY_DATABASE_URL=$(database "$1") start_server bench-schedulerd "$BIN/parley-schedulerd" \
    --listen "$SCHEDULERD" "${SCHEDULERD_OPTIONS[@]}"
  wait_serving bench-schedulerd "$SCHEDULERD"
  SERVING=$1
}

# The next measurement begins with an empty queue, what was written before is on disk, and the planner
# knows what is there. That holds for every system.
clear_parley() { serve parley && sql parley "TRUNCATE tasks"; }
clear_graphile() { sql graphile "TRUNCATE graphile_worker._private_jobs"; }
settle() { sql "$1" "VACUUM (ANALYZE)" CHECKPOINT; }

bench() { "$BIN/parley-bench" "$@" --target "$SCHEDULERD"; }
graphile() {
  PGWORKER=$(database graphile) NODE_PATH=$PEERS/node_modules NODE_ENV=production NO_LOG_SUCCESS=1 \
    node "$BENCH/peers/graphile.js" "$@"
}
# celery_on REDIS-PORT COMMAND...: in the folder of its module.
celery_on() {
  BENCH_BROKER=redis://127.0.0.1:$1/0 PYTHONDONTWRITEBYTECODE=1 env -C "$BENCH/peers" "${@:2}"
}
celery_drain() { # REDIS-PORT TASKS
  BENCH_TASKS=$2 celery_on "$1" /usr/bin/python3 -m celery --quiet -A celery_peer worker -P prefork \
    -c 2 --prefetch-multiplier 64 -Ofair --without-gossip --without-mingle --without-heartbeat \
    -l warning
}

drain_parley() {
  clear_parley
  bench fill --queue drain --tasks "$TASKS"
  settle parley
  measure drain.parley bench work --json --queue drain --tasks "$TASKS"
}

# drain_graphile NAME JOBS OPTION...
drain_graphile() {
  clear_graphile
  graphile fill "$2"
  settle graphile
  measure "drain.$1" graphile drain "${@:3}"
}

# drain_celery NAME REDIS-PORT TASKS
drain_celery() {
  redis-cli -p "$2" flushall >/dev/null
  celery_on "$2" /usr/bin/python3 celery_peer.py fill "$3"
  measure "drain.$1" celery_drain "$2" "$3"
}

drain_peers() {
  drain_graphile graphile-batched-1 "$TASKS" --batched --processes 1
  drain_graphile graphile-batched-2 "$TASKS" --batched --processes 2
  drain_graphile graphile-plain "$PLAIN_TASKS" --plain --processes 1
  drain_celery celery "$REDIS" "$CELERY_TASKS"
  drain_celery celery-durable "$REDIS_DURABLE" "$DURABLE_TASKS"
}

create_parley() {
  clear_parley
  settle parley
  measure create.parley bench load --json --scenario create --queue create \
    --in-flight "$IN_FLIGHT" --duration "$DURATION" --warm-up "$WARM_UP"
}

# create_graphile CONNECTIONS
create_graphile() {
  clear_graphile
  settle graphile
  measure "create.graphile-$1" graphile add --in-flight "$IN_FLIGHT" --connections "$1" \
    --seconds "$DURATION" --warm-up "$WARM_UP"
}

# create_celery NAME REDIS-PORT PROCESSES THREADS
create_celery() {
  redis-cli -p "$2" flushall >/dev/null
  measure "create.$1-$3x$4" celery_on "$2" /usr/bin/python3 celery_peer.py "$3" "$4" "$DURATION" \
    "$WARM_UP"
}

create_peers() {
  create_graphile 10
  create_graphile 64
  create_celery celery "$REDIS" 1 64
  create_celery celery "$REDIS" 2 2
  create_celery celery-durable "$REDIS_DURABLE" 1 64
  create_celery celery-durable "$REDIS_DURABLE" 2 32
}

batch_parley() {
  clear_parley
  settle parley
  measure batch.parley bench load --json --scenario create-batch --queue create \
    --in-flight "$BATCHES" --duration "$DURATION" --warm-up "$WARM_UP"
}

batch_peers() {
  clear_graphile
  settle graphile
  measure batch.graphile graphile add-batch --in-flight "$BATCHES" --connections "$BATCHES" \
    --seconds "$DURATION" --warm-up "$WARM_UP"
}

handoff_parley() {
  clear_parley
  settle parley
  measure handoff.parley bench handoff --json --queue handoff --tasks "$HANDOFFS"
}

# One row, one commit, one client.
handoff_peers() {
  settle parley
  measure commit.pgbench "$PG/pgbench" -n -M prepared -P 1 -T $((DURATION + WARM_UP)) -c 1 -j 1 \
    -f "$BENCH/sql/commit.sql" --log --log-prefix "$RAW/commit.pgbench.log" "$(database parley)"
}

# late DATABASE: how late tasks are that are spread over time.
late() {
  serve "$1"
  settle "$1"
  bench fill --queue late --tasks $((LATE_RATE * LATE_SECONDS)) --from "$LATE_FROM" \
    --over "$LATE_SECONDS"
  measure "late.$1" bench work --json --queue late --tasks $((LATE_RATE * LATE_SECONDS))
}

# A schedulerd that has just started, with a worker who waits, and tasks for tomorrow.
idle() {
  local pid before after
  SERVING=
  serve parked
  bench work --queue idle --tasks 1 >/dev/null 2>&1 &
  WAITING=$!
  sleep 3 # until what starting took has been given back
  pid=$(running_process bench-schedulerd)
  before=$(cpu_ticks "$pid")
  sleep "$IDLE_SECONDS"
  after=$(cpu_ticks "$pid")
  printf '{"cpu_percent": %s, "rss_kib": %s, "ok": true}\n' \
    "$(awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" -v s="$IDLE_SECONDS" \
      'BEGIN {printf "%.3f", 100 * ticks / hz / s}')" \
    "$(memory "$pid" VmRSS)" >"$RAW/idle.parley"
  kill -TERM "$WAITING" 2>/dev/null || true
  wait "$WAITING" 2>/dev/null || true
  WAITING=
}

# cpu_ticks PID: that a process has used, in user and kernel.
cpu_ticks() {
  local stat
  read -r stat <"/proc/$1/stat"
  local fields
  read -ra fields <<<"${stat##*) }"
  printf '%d\n' $((fields[11] + fields[12]))
}

# round NUMBER: each beside its peers; who goes first changes from round to round.
round() {
  local part
  RAW=$OUT/round-$1
  mkdir "$RAW"
  for part in drain create batch handoff; do
    if (($1 % 2)); then
      "${part}_parley"
      "${part}_peers"
    else
      "${part}_peers"
      "${part}_parley"
    fi
    note "round $1 of $ROUNDS: $part, $(elapsed)"
  done
  if (($1 % 2)); then late parley; late parked; else late parked; late parley; fi
  idle
  note "round $1 of $ROUNDS done, $(elapsed)"
}

# ---- Setting up ------------------------------------------------------------------------------

need_peers() {
  command -v node >/dev/null || need_packages nodejs
  command -v npm >/dev/null || need_packages npm
  [[ -e $PEERS/node_modules/graphile-worker/package.json ]] || {
    note "installing $GRAPHILE into $(short "$PEERS")"
    mkdir -p "$PEERS"
    echo '{"private": true}' >"$PEERS/package.json"
    (cd "$PEERS" && npm install --no-audit --no-fund "$GRAPHILE") >"$VAR/log/npm.log" 2>&1 || {
      tail -n 10 "$VAR/log/npm.log" >&2
      fail "$GRAPHILE could not be installed"
    }
  }
}

# start_redis NAME PORT OPTION...
start_redis() {
  local dir=$CLUSTER/$1
  mkdir -p "$dir"
  start_server "$1" redis-server --port "$2" --bind 127.0.0.1 --dir "$dir" --save '' "${@:3}"
  local deadline=$((SECONDS + 10))
  until redis-cli -p "$2" ping >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "redis-server does not serve; see $OUT/$1.log"
    sleep 0.1
  done
}

start_servers() {
  local port
  port=$(free_port $((PORT + 1)) 32000) || fail "no free port"
  SCHEDULERD=127.0.0.1:$port
  REDIS=$(free_port $((port + 1)) 32000) || fail "no free port"
  start_redis bench-redis "$REDIS" --appendonly no
  REDIS_DURABLE=$(free_port $((REDIS + 1)) 32000) || fail "no free port"
  start_redis bench-redis-durable "$REDIS_DURABLE" --appendonly yes --appendfsync always
}

make_databases() {
  local name
  for name in parked graphile; do sql parley "CREATE DATABASE $name OWNER parley"; done
  for name in parley parked; do
    PARLEY_DATABASE_URL=$(database "$name") "$BIN/parley-migrate" up >>"$OUT/migrate.log" ||
      fail "the schema could not be migrated"
  done
  "$PG/psql" -X -q -c "CREATE TABLE bench_commits (n bigint NOT NULL)" "$(database parley)"
  graphile schema
  serve parked
  bench fill --queue parked --tasks "$PARKED" --from 86400 --over 3600
  settle parked
}

describe() {
  describe_machine
  say "- parley-schedulerd ${SCHEDULERD_OPTIONS[*]:-}: as it comes; workers on 2 Work streams with" \
    "credit for 1,000 tasks each, which ack what they get at once"
  say "- ${GRAPHILE/@/ } on Node.js $(node --version): batched is localQueue of 500," \
    "completeJobBatchDelay and failJobBatchDelay 0, 24 concurrent jobs a process; plain is without" \
    "these three. It deletes what is done; Parley moves it to its history"
  say "- Celery $(dpkg-query -W -f '${Version}' python3-celery), 2 processes, on" \
    "$(redis-server --version | sed -n 's/.*v=\([0-9.]*\).*/Redis \1/p'): as it comes and without" \
    "persistence, and, durable, with appendonly and appendfsync always. It acks before it works"
  say "- medians of $ROUNDS round(s), $DURATION s of each rate after $WARM_UP s of warm-up; $TASKS" \
    "tasks to drain, of plain graphile-worker $PLAIN_TASKS, of Celery $CELERY_TASKS and" \
    "$DURABLE_TASKS; $LATE_RATE tasks a second over $LATE_SECONDS s; $PARKED tasks parked"
}

main() {
  take_turn
  refuse_leftovers bench-schedulerd bench-redis bench-redis-durable

  step "Packages"
  need_packages "${PACKAGES_BUILD[@]}" "${PACKAGES_POSTGRESQL[@]}" "${PACKAGES_PYTHON[@]}" \
    python3-matplotlib python3-celery python3-redis redis-server
  need_peers
  PG=$(pg_bindir) || fail "no PostgreSQL server is installed"
  step "Build"
  build parley-migrate parley-schedulerd parley-bench

  trap finish EXIT
  trap 'exit 130' INT TERM HUP
  mkdir -p "$OUT"
  step "PostgreSQL and Redis"
  start_cluster
  start_servers
  step "Databases, and tasks that are due in a day"
  make_databases
  describe >"$OUT/header.md"

  step "Rounds"
  local number
  for ((number = 1; number <= ROUNDS; number++)); do round "$number"; done

  step "Result"
  local rc=0
  /usr/bin/python3 -B "$BENCH/scheduler_report.py" "$OUT" || rc=1
  /usr/bin/python3 -B "$BENCH/scheduler_plot.py" "$OUT/rates.csv" "$OUT/rates.svg" || rc=1
  ln -sfn "${OUT##*/}" "$VAR/bench/scheduler/latest"
  say
  say "Kept in $(short "$OUT"): report.md, rates.svg, every figure."
  if [[ $KEEP == yes ]]; then
    LEAVE=yes
    say "Left running: schedulerd on $SCHEDULERD (pid $(running_process bench-schedulerd)), PostgreSQL" \
      "in $CLUSTER, port $PORT."
  fi
  return "$rc"
}

main
