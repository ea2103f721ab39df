#!/usr/bin/env bash
# What try_in_chroot.sh does inside the chroot, by stages: install, run (by its systemd), remove.
set -euo pipefail

LOG=/try/log
SERVICES=(chatd messaged schedulerd)
PORTS=(50051 50052 50053)

note() { printf '         %s\n' "$*"; }
fail() {
  printf 'in the chroot: %s\n' "$*" >&2
  exit 1
}

# quietly COMMAND...: what it says is shown only if it fails.
quietly() { "$@" >"$LOG" 2>&1 || { tail -n 30 "$LOG" >&2; fail "failed: $*"; }; }

# expect WHAT EXPECTED ACTUAL
expect() { [[ $2 == "$3" ]] || fail "$1: expected '$2', got '$3'"; }

install_package() { quietly apt-get -q -y install --no-install-recommends /try/parley.deb; }

check_files() {
  local file name
  expect "the user parley" "/usr/sbin/nologin" "$(getent passwd parley | cut -d : -f 7)"
  for file in /etc/parley/{parley,chatd,messaged,schedulerd}.env; do
    expect "$file" "640 root parley" "$(stat -c '%a %U %G' "$file")"
  done
  for name in "${SERVICES[@]}" migrate; do
    file=/usr/bin/parley-$name
    ! ldd "$file" | grep 'not found' || fail "$file lacks libraries"
    [[ ! -e /etc/systemd/system/multi-user.target.wants/parley-$name.service ]] ||
      fail "parley-$name is started at boot, before anybody has configured it"
  done
  quietly systemd-analyze verify --man=no /usr/lib/systemd/system/parley-*.service
  [[ ! -s $LOG ]] || { cat "$LOG" >&2; fail "systemd has something to say about the units"; }
  # 0 is a service that can do nothing, 100 one that can do all.
  quietly systemd-analyze security --no-pager --offline=true --threshold=15 \
    /usr/lib/systemd/system/parley-*.service
}

install() {
  quietly apt-get -q update
  install_package
  check_files
  note "$(dpkg-query -W -f '${Package} ${Version}' parley), $(dpkg -L parley | wc -l) paths," \
    "depends on $(dpkg-query -W -f '${Depends}' parley | tr ',' '\n' | wc -l) packages"
}

# migrate ARGUMENT...: parley-migrate as the user parley, with the environment that its unit gives it.
migrate() {
  local variables
  mapfile -t variables < <(runuser -u parley -- grep -hE '^[A-Z_]+=' /etc/parley/parley.env)
  runuser -u parley -- env -C / "${variables[@]}" parley-migrate "$@"
}

start_database() {
  systemctl start systemd-journald postgresql@15-main
  quietly runuser -u postgres -- createuser --createdb parley
  quietly runuser -u postgres -- createdb -O parley parley
}

# give_password: chatd alone is to come with a password, which it gets as the example says.
give_password() {
  local dropin=/etc/systemd/system/parley-chatd.service.d
  quietly runuser -u postgres -- psql -c "ALTER ROLE parley PASSWORD 'open sesame'"
  (umask 077 && printf '%s\n' '[parley]' host=127.0.0.1 dbname=parley user=parley 'password=open sesame' \
    >/etc/parley/pg_service.conf)
  echo 'PARLEY_DATABASE_URL=service=parley' >>/etc/parley/chatd.env
  mkdir "$dropin"
  cp /usr/share/doc/parley/examples/credentials.conf "$dropin/"
  systemctl daemon-reload
}

# call PORT METHOD JSON: by the schema that the package has installed.
call() {
  local protos
  mapfile -t protos < <(cd /usr/share/parley/proto && find . -name '*service.proto' -printf '-proto\n%P\n')
  /try/grpcurl -plaintext -import-path /usr/share/parley/proto "${protos[@]}" -max-time 10 \
    -d "$3" "127.0.0.1:$1" "$2"
}

# wait_serving PORT...
wait_serving() {
  local port deadline=$((SECONDS + 40))
  for port; do
    until /try/grpcurl -plaintext -import-path /try -proto health.proto -max-time 5 "127.0.0.1:$port" \
      grpc.health.v1.Health/Check 2>/dev/null | grep -q '"SERVING"'; do
      ((SECONDS < deadline)) || fail "nothing serves on port $port"
      sleep 0.1
    done
  done
}

call_services() {
  local user chat
  user=$(call 50051 parley.chat.v1.UserService/CreateUser '{"login": "ann"}' | sed -n 's/^  "id": "\(.*\)",$/\1/p')
  chat=$(call 50051 parley.chat.v1.ChatService/CreateChat \
    "{\"creator_user_id\": $user, \"title\": \"tea\", \"chat_type\": \"CHAT_TYPE_GROUP\"}" |
    sed -n 's/^  "id": "\(.*\)",$/\1/p')
  call 50052 parley.message.v1.MessageService/SendMessage \
    "{\"chat_id\": $chat, \"user_id\": $user, \"text\": \"Have some wine.\"}" >/dev/null
  call 50052 parley.message.v1.MessageService/ListMessages "{\"chat_id\": $chat}" |
    grep -q 'Have some wine' || fail "the message was not read back"
  call 50053 parley.scheduler.v1.SchedulerService/CreateTask '{"queue": "mail", "name": "digest"}' >/dev/null
  call 50053 parley.scheduler.v1.WorkerService/LeaseTasks '{"queues": ["mail"], "wait_for": "5s"}' |
    grep -q '"digest"' || fail "the task was not handed out"
  note "a user, a chat, a message and a task, through three services"
}

# main_pid NAME
main_pid() { systemctl show --value -p MainPID "parley-$1"; }

# check_processes: who runs the services, and with what rights.
check_processes() {
  local name pid status
  for name in "${SERVICES[@]}"; do
    pid=$(main_pid "$name")
    expect "who runs parley-$name" parley "$(stat -c %U "/proc/$pid")"
    status=$(grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' "/proc/$pid/status" | cut -f 2 | paste -sd ' ')
    expect "the rights of parley-$name" "0000000000000000 0000000000000000 1 2" "$status"
  done
}

# check_restarts: a service that was killed comes back; one that is told nonsense does not.
check_restarts() {
  local old deadline=$((SECONDS + 30))
  old=$(main_pid messaged)
  kill -KILL "$old"
  until [[ $(main_pid messaged) != 0 && $(main_pid messaged) != "$old" ]]; do
    ((SECONDS < deadline)) || fail "parley-messaged was killed, and not started again"
    sleep 0.1
  done
  wait_serving "${PORTS[@]}"
  systemctl stop parley-messaged
  echo 'PARLEY_WORKERS=many' >>/etc/parley/messaged.env
  systemctl start parley-messaged || true
  until [[ $(systemctl is-failed parley-messaged) == failed ]]; do
    ((SECONDS < deadline)) || fail "parley-messaged goes on with an option that is wrong"
    sleep 0.1
  done
  expect "its exit code" 2 "$(systemctl show --value -p ExecMainStatus parley-messaged)"
  expect "how often it was tried" 0 "$(systemctl show --value -p NRestarts parley-messaged)"
  sed -i '/^PARLEY_WORKERS=many$/d' /etc/parley/messaged.env
  systemctl start parley-messaged
  wait_serving "${PORTS[@]}"
  note "one was killed, and came back; told nonsense, and did not"
}

# check_image: the files that the container image consists of are all that the programs need.
check_image() {
  local image=/try/image name pid
  quietly /try/rootfs.sh "$image"
  local in_image=(env -i PARLEY_DATABASE_URL='postgresql://parley:open%20sesame@127.0.0.1/parley'
    PARLEY_LISTEN=127.0.0.1:50061 PARLEY_ADMIN_LISTEN=127.0.0.1:9061
    /usr/sbin/chroot --userspec=65532:65532 "$image")
  quietly "${in_image[@]}" /usr/bin/parley-migrate status --check
  for name in messaged schedulerd chatd; do
    "${in_image[@]}" "/usr/bin/parley-$name" >"$LOG" 2>&1 &
    pid=$!
    wait_serving 50061
    [[ $name != chatd ]] || call 50061 parley.chat.v1.UserService/ListUsers '{}' | grep -q '"ann"' ||
      fail "the image's chatd does not know what the package's did"
    kill -TERM "$pid"
    wait "$pid" || { cat "$LOG" >&2; fail "the image's parley-$name did not end well: $?"; }
  done
  note "the files of the image serve too: $(du -sh "$image" | cut -f 1)"
}

run() {
  local name units=("${SERVICES[@]/#/parley-}")
  trap '[[ $? -eq 0 ]] || journalctl --no-pager -n 40 -u "parley-*" >&2' EXIT
  start_database
  systemctl start parley-migrate
  migrate status --check >/dev/null || fail "migrations are left"
  quietly migrate verify --dir /usr/share/parley/migrations
  give_password
  systemctl start "${units[@]}"
  wait_serving "${PORTS[@]}"
  check_processes
  call_services
  check_restarts
  check_image
  systemctl stop "${units[@]}"
  for name in "${SERVICES[@]}"; do
    expect "how parley-$name ended" "success 0" \
      "$(systemctl show --value -p Result -p ExecMainStatus "parley-$name" | sort -r | paste -sd ' ')"
  done
}

remove() {
  rm /etc/parley/pg_service.conf
  echo '# ours' >>/etc/parley/chatd.env
  quietly dpkg -i /try/parley.deb
  grep -q '^# ours' /etc/parley/chatd.env || fail "an installation has overwritten the configuration"
  expect "chatd.env" "640 root parley" "$(stat -c '%a %U %G' /etc/parley/chatd.env)"
  dpkg -L parley >/try/paths
  quietly dpkg --remove parley
  [[ -e /etc/parley/chatd.env ]] || fail "a removal has taken the configuration"
  quietly dpkg --purge parley
  local path left=()
  while IFS= read -r path; do
    [[ -d $path || ! -e $path ]] || left+=("$path")
  done </try/paths
  [[ ${#left[@]} -eq 0 && ! -e /etc/parley ]] || fail "a purge has left ${left[*]} /etc/parley"
  note "installed over itself, removed, purged"
}

"$1"
