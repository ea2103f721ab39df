# shellcheck shell=bash
# Pieces shared by up.sh, down.sh, tests/run.sh and .ci/run. Sourced, never run.
#
# Functions end with `return 0`, not `return`: in a trap the latter means the status before the trap.
#
# PostgreSQL refuses to run as root, so everything that touches a cluster goes through pg_run, which
# changes to the package's own user when we are root and does nothing when we are not.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
VAR=$ROOT/var
SERVICES=(chatd messaged schedulerd)

# shellcheck disable=SC2034  # for those who source this
PACKAGES_BUILD=(
  g++ cmake ninja-build ccache pkg-config libgrpc++-dev libgrpc-dev protobuf-compiler
  protobuf-compiler-grpc libprotobuf-dev libsoci-dev libboost-dev libpq-dev libabsl-dev libgtest-dev
  libgmock-dev libsodium-dev libutf8proc-dev nlohmann-json3-dev libcli11-dev libspdlog-dev
  libhiredis-dev librabbitmq-dev librhonabwy-dev libssl-dev prometheus-cpp-dev
  tzdata
  ca-certificates
)
# shellcheck disable=SC2034
PACKAGES_POSTGRESQL=(postgresql-15)
# What makes the Debian package and tries it; what reads the other files of deploy/.
# shellcheck disable=SC2034
PACKAGES_PACKAGING=(debootstrap dpkg-dev iproute2 lintian)
# shellcheck disable=SC2034
PACKAGES_DEPLOY=(python3-yaml)
# What the sanitizer presets compile with, and what gives their reports names.
# shellcheck disable=SC2034
PACKAGES_CLANG=(clang-14 libclang-rt-14-dev llvm-14)
# shellcheck disable=SC2034
PACKAGES_PYTHON=(python3 python3-grpcio python3-protobuf)
# What the tests of push targets hand tasks to.
# shellcheck disable=SC2034
PACKAGES_CELERY=(redis-server rabbitmq-server python3-celery python3-redis)
# What scrapes the services in the tests, and checks the alerts (promtool).
# shellcheck disable=SC2034
PACKAGES_WATCH=(prometheus)
# What the original application is made of, whose database can be adopted.
# shellcheck disable=SC2034
PACKAGES_ORIGINAL=(python3-sqlalchemy alembic)
# What plays the issuer of tokens and the authority of certificates.
# shellcheck disable=SC2034
PACKAGES_CREDENTIALS=(python3-jwt python3-cryptography openssl)
# What plays clients that no library would be.
# shellcheck disable=SC2034
PACKAGES_HOSTILE=(python3-h2)
# What may stand between the services and PostgreSQL.
# shellcheck disable=SC2034
PACKAGES_POOLER=(pgbouncer)
# What puts the clock of a PostgreSQL wrong.
# shellcheck disable=SC2034
PACKAGES_CLOCK=(faketime)

# ---- Telling what happens --------------------------------------------------------------------

say() { printf '%s\n' "$*"; }
note() { printf '         %s\n' "$*"; }
fail() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# short PATH: as the reader would type it in the directory where the script was called.
short() { printf '%s\n' "${1#"$PWD"/}"; }

# step TITLE: a numbered heading with the seconds since the script began.
STEP=0
step() {
  STEP=$((STEP + 1))
  printf '[%4d s] %d. %s\n' "$SECONDS" "$STEP" "$*"
}

# ---- Packages and tools ----------------------------------------------------------------------

# as_root COMMAND...: runs it as root, through sudo if need be.
as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "root is needed for: $* (run it as root, or install sudo)"
  fi
}

# need_packages PACKAGE...: installs those that are missing; silent and quick when none is.
need_packages() {
  local package state missing=()
  local -A installed=()
  # The architecture-qualified names of libraries are as good as the plain ones. dpkg-query fails
  # when it does not know one of the names.
  while read -r package state; do
    [[ $state != installed ]] || installed[${package%:*}]=yes
  done < <(dpkg-query -W -f '${binary:Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
  for package in "$@"; do
    [[ -n ${installed[$package]:-} ]] || missing+=("$package")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  command -v apt-get >/dev/null ||
    fail "this script installs packages with apt-get only; please install: ${missing[*]}"
  note "installing ${missing[*]}"
  # The server's package would create and start a cluster of its own on port 5432.
  local dropin=/etc/postgresql-common/createcluster.d/parley.conf
  local guard=no
  if [[ " ${missing[*]} " == *" postgresql-15 "* ]]; then
    guard=yes
    as_root mkdir -p "${dropin%/*}"
    echo 'create_main_cluster = false' | as_root tee "$dropin" >/dev/null
  fi
  # These would be started now and at every boot; who wants one here starts one of its own.
  local server servers=() policy=/usr/sbin/policy-rc.d
  for server in redis-server rabbitmq-server prometheus pgbouncer; do
    [[ " ${missing[*]} " != *" $server "* ]] || servers+=("$server")
  done
  if [[ ${#servers[@]} -eq 0 || -e $policy ]]; then
    policy=
  else
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  local log rc=0
  log=$(mktemp)
  {
    as_root apt-get -q update &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "${missing[@]}"
  } </dev/null 2>&1 | package_progress "$log" || rc=1
  [[ $guard == no ]] || as_root rm -f "$dropin"
  [[ -z $policy ]] || as_root rm -f "$policy"
  if [[ ${#servers[@]} -gt 0 && -d /run/systemd/system ]]; then
    as_root systemctl --quiet disable "${servers[@]}" || true
  fi
  if [[ $rc -ne 0 ]]; then
    tail -n 25 "$log" >&2
    rm -f "$log"
    fail "the packages could not be installed"
  fi
  rm -f "$log"
}

# package_progress LOG: keeps all of apt's output in LOG and shows a line now and then.
package_progress() {
  local line count=0
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$1"
    case $line in
      'Need to get'*) note "$line" ;;
      'Setting up'*)
        count=$((count + 1))
        if ((count % 25 == 0)); then note "$count packages set up"; fi
        ;;
    esac
  done
}

# need_go: Go by whatever installation there is, Debian's if none.
need_go() { command -v go >/dev/null || need_packages golang-go; }

# need_npm: Node and npm by whatever installation there is, Debian's if none.
need_npm() {
  command -v node >/dev/null || need_packages nodejs || return 1
  command -v npm >/dev/null || need_packages npm
}

# quietly NAME COMMAND...: its output goes to var/tools/NAME.log, whose end is shown if it fails.
quietly() {
  local log=$VAR/tools/$1.log
  shift
  mkdir -p "$VAR/tools"
  "$@" >"$log" 2>&1 || {
    tail -n 5 "$log" >&2
    return 1
  }
}

# need_grpcurl: sets GRPCURL to a grpcurl, the caller's own or one built into var/tools/bin.
# Version 1.8.9 builds with Debian 12's Go as well as with later ones.
need_grpcurl() {
  if command -v grpcurl >/dev/null; then
    GRPCURL=$(command -v grpcurl)
  else
    GRPCURL=$VAR/tools/bin/grpcurl
    if [[ ! -x $GRPCURL ]]; then
      need_go || return 1
      note "building grpcurl into var/tools/bin"
      mkdir -p "$VAR/tools/bin"
      quietly grpcurl env -C "$VAR" GOBIN="$VAR/tools/bin" GOFLAGS= \
        go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.8.9 || return 1
    fi
  fi
  export GRPCURL
}

# need_dbmate, need_goose: set DBMATE and GOOSE to the tools whose reading of our migrations the tests
# compare with ours: these versions and no others, in var/tools.
DBMATE_VERSION=2.36.0
need_dbmate() {
  export DBMATE=$VAR/tools/dbmate/node_modules/.bin/dbmate
  [[ $("$DBMATE" --version 2>/dev/null) != "dbmate version $DBMATE_VERSION" ]] || return 0
  need_npm || return 1
  note "installing dbmate into var/tools"
  # Of its own directory: npm removes from one what it was not asked for.
  quietly dbmate npm install --prefix "$VAR/tools/dbmate" --no-save --no-audit --no-fund \
    "dbmate@$DBMATE_VERSION"
}

# The last version that builds with Debian 12's Go. The tags leave out the databases that are not ours.
GOOSE_VERSION=v3.17.0
need_goose() {
  export GOOSE=$VAR/tools/bin/goose
  [[ $("$GOOSE" --version 2>/dev/null) != "goose version: $GOOSE_VERSION" ]] || return 0
  need_go || return 1
  note "building goose into var/tools/bin"
  mkdir -p "$VAR/tools/bin"
  local tags=no_clickhouse,no_mssql,no_mysql,no_redshift,no_sqlite3,no_vertica,no_ydb
  quietly goose env -C "$VAR" GOBIN="$VAR/tools/bin" GOFLAGS= \
    go install -tags "$tags" "github.com/pressly/goose/v3/cmd/goose@$GOOSE_VERSION"
}

# ---- PostgreSQL ------------------------------------------------------------------------------

# The directory of initdb and pg_ctl, which Debian keeps off the PATH; the newest there is.
pg_bindir() {
  local candidates
  mapfile -t candidates < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV)
  local dir
  for dir in "${candidates[@]}"; do
    if [[ -x $dir/initdb && -x $dir/pg_ctl ]]; then
      printf '%s\n' "$dir"
      return 0
    fi
  done
  return 1
}

# pg_run COMMAND...: as the user that may run PostgreSQL, in a directory that this user can enter.
# A server must not inherit the lock that up.sh holds on descriptor 9.
pg_run() {
  local as=()
  [[ $EUID -ne 0 ]] || as=(runuser -u postgres --)
  "${as[@]}" env -C / LC_ALL=C.UTF-8 "$@" 9>&-
}

# cluster_dir_usable DIR: makes DIR for the cluster's user; false if that user cannot reach it.
cluster_dir_usable() {
  mkdir -p "$1" && chmod 700 "$1" || return 1
  if [[ $EUID -eq 0 ]]; then
    chown postgres: "$1" || return 1
  fi
  # A parent directory may be closed to that user (a checkout in /root).
  pg_run test -x "$1"
}

# cluster_create DIR [INITDB-OPTION...]: a cluster in DIR/data with a random password for its
# superuser `postgres`. Done in full or not at all, whenever it is interrupted.
cluster_create() {
  local dir=$1 bindir
  shift
  bindir=$(pg_bindir) || fail "no PostgreSQL server is installed"
  [[ ! -e $dir/data/PG_VERSION ]] || return 0
  pg_run rm -rf "$dir/data.new"
  # shellcheck disable=SC2016  # that shell expands it
  head -c 24 /dev/urandom | base64 | tr -d '+/=\n' |
    pg_run sh -c 'umask 077; cat > "$1"' sh "$dir/password"
  pg_run "$bindir/initdb" -D "$dir/data.new" -U postgres --pwfile="$dir/password" \
    -A scram-sha-256 -E UTF8 --locale=C.UTF-8 "$@" >/dev/null
  echo "include 'parley.conf'" | pg_run tee -a "$dir/data.new/postgresql.conf" >/dev/null
  pg_run mv "$dir/data.new" "$dir/data"
}

# cluster_running DIR
cluster_running() {
  local bindir
  [[ -e $1/data/PG_VERSION ]] && bindir=$(pg_bindir) &&
    pg_run "$bindir/pg_ctl" -D "$1/data" status >/dev/null 2>&1
}

# cluster_start DIR PORT [SETTING...]: starts it on loopback and waits until it accepts connections.
# A setting is a line of postgresql.conf.
cluster_start() {
  local dir=$1 port=$2 bindir
  shift 2
  bindir=$(pg_bindir) || fail "no PostgreSQL server is installed"
  # The path of a Unix socket must fit 107 bytes; TCP is enough where it does not.
  local sockets=
  if ((${#dir} + 7 + ${#port} + 11 <= 107)); then
    pg_run mkdir -p -m 700 "$dir/socket"
    sockets="\"$dir/socket\""
  fi
  {
    printf 'port = %d\n' "$port"
    printf "listen_addresses = '127.0.0.1'\n"
    printf "unix_socket_directories = '%s'\n" "${sockets//\'/\'\'}"
    printf '%s\n' "$@"
  } | pg_run tee "$dir/data/parley.conf" >/dev/null
  if ! pg_run "$bindir/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -t 60 start >/dev/null; then
    tail -n 15 "$dir/server.log" >&2
    return 1
  fi
}

# cluster_stop DIR: connections are closed, nothing committed is lost.
cluster_stop() {
  local bindir
  cluster_running "$1" || return 0
  bindir=$(pg_bindir)
  pg_run "$bindir/pg_ctl" -D "$1/data" -m fast -w -t 60 stop >/dev/null
}

# cluster_crash DIR: ends it without a checkpoint and starts it again; it recovers from its log.
cluster_crash() {
  local bindir
  bindir=$(pg_bindir)
  pg_run "$bindir/pg_ctl" -D "$1/data" -l "$1/server.log" -m immediate -w -t 60 restart >/dev/null
}

# cluster_port DIR: of a running cluster.
cluster_port() { pg_run sed -n 4p "$1/data/postmaster.pid"; }

# cluster_url DIR PORT ROLE DATABASE
cluster_url() {
  printf 'postgresql://%s:%s@127.0.0.1:%d/%s?sslmode=disable\n' \
    "$3" "$(pg_run cat "$1/password")" "$2" "$4"
}

# cluster_application DIR PORT: the role and the database `parley`; the role owns the database and
# is nothing more than that.
cluster_application() {
  local url
  url=$(cluster_url "$1" "$2" postgres postgres)
  local password
  password=$(pg_run cat "$1/password")
  "$(pg_bindir)/psql" -X -q -v ON_ERROR_STOP=1 -v password="$password" "$url" <<'SQL'
SELECT 'CREATE ROLE parley LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'parley')
\gexec
ALTER ROLE parley PASSWORD :'password';
SELECT 'CREATE DATABASE parley OWNER parley'
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'parley')
\gexec
SQL
}

# ---- Ports and processes ---------------------------------------------------------------------

# port_free PORT: whether a server could listen there.
port_free() {
  /usr/bin/python3 - "$1" <<'PY'
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
try:
    s.bind(("127.0.0.1", int(sys.argv[1])))
except OSError:
    sys.exit(1)
PY
}

# free_port FIRST LAST: the first free port between them.
free_port() {
  local port
  for ((port = $1; port <= $2; port++)); do
    if port_free "$port"; then
      printf '%d\n' "$port"
      return 0
    fi
  done
  return 1
}

# process_start PID: when it started, in clock ticks since the machine did; false if it is gone.
# With the pid it names one process for ever, so a stale pid file never points at a stranger.
process_start() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  local fields
  # The name in parentheses may hold spaces; what follows it does not.
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != Z ]] || return 1
  printf '%s\n' "${fields[19]}"
}

# remember_process NAME PID; forget_process NAME; running_process NAME prints the pid if it lives.
remember_process() { printf '%s %s\n' "$2" "$(process_start "$2")" >"$VAR/run/$1.pid"; }
forget_process() { rm -f "$VAR/run/$1.pid"; }
running_process() {
  local pid start now
  { read -r pid start <"$VAR/run/$1.pid"; } 2>/dev/null || return 1
  now=$(process_start "$pid") || return 1
  [[ $now == "$start" ]] || return 1
  printf '%s\n' "$pid"
}

# wait_gone SECONDS NAME...: true once none of the named processes runs.
wait_gone() {
  local deadline=$((SECONDS + $1)) name alive
  shift
  while :; do
    alive=no
    for name in "$@"; do
      running_process "$name" >/dev/null && alive=yes
    done
    [[ $alive == yes ]] || return 0
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# stop_services: SIGTERM to all at once, so that they drain side by side; SIGKILL to what is left
# after half a minute, longer than any drain.
stop_services() {
  local name pid rc=0
  for name in "${SERVICES[@]}"; do
    if pid=$(running_process "$name"); then
      kill -TERM "$pid" 2>/dev/null || true
    fi
  done
  if ! wait_gone 30 "${SERVICES[@]}"; then
    for name in "${SERVICES[@]}"; do
      if pid=$(running_process "$name"); then
        say "parley-$name (pid $pid) did not end after SIGTERM: killed" >&2
        kill -KILL "$pid" 2>/dev/null || true
        rc=1
      fi
    done
    wait_gone 5 "${SERVICES[@]}" || true
  fi
  for name in "${SERVICES[@]}"; do
    forget_process "$name"
  done
  return "$rc"
}

# local_cluster_dir: where the cluster of up.sh lives: var/postgresql, or, if the user that PostgreSQL
# runs as cannot reach that, a directory of this checkout's own in /var/lib, with a link to it.
local_cluster_dir() {
  local dir=$VAR/postgresql
  if [[ ! -L $dir ]] && cluster_dir_usable "$dir"; then
    printf '%s\n' "$dir"
    return 0
  fi
  rmdir "$dir" 2>/dev/null || true
  local elsewhere
  elsewhere=/var/lib/parley-local/$(printf '%s' "$ROOT" | sha256sum | cut -c 1-12)
  mkdir -p "${elsewhere%/*}" && chmod 755 "${elsewhere%/*}" || return 1
  cluster_dir_usable "$elsewhere" || return 1
  ln -sfn "$elsewhere" "$dir"
  printf '%s\n' "$elsewhere"
}
