#!/usr/bin/env bash
# Stops what up.sh started from this checkout: the services, then the private PostgreSQL cluster.
# The data stays. Stopping what does not run is no mistake.
set -euo pipefail
# shellcheck source=deploy/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if (($#)); then
  say "usage: deploy/local/down.sh"
  [[ $1 == --help || $1 == -h ]] && exit 0
  exit 2
fi

rc=0
found=no

# An up.sh in the foreground stops everything itself, in its order.
if pid=$(running_process up); then
  found=yes
  kill -TERM "$pid"
  wait_gone 120 up || fail "up.sh (pid $pid) is still stopping things; try again later"
fi

for name in "${SERVICES[@]}"; do
  if running_process "$name" >/dev/null; then found=yes; fi
done
stop_services || rc=1

cluster=$VAR/postgresql
[[ ! -L $cluster ]] || cluster=$(readlink "$cluster")
if cluster_running "$cluster"; then
  found=yes
  cluster_stop "$cluster" || rc=1
fi

rm -f "$VAR/run/database-url" "$VAR/run/addresses" "$VAR/run/up.pid"
if [[ $found == yes ]]; then
  say "Parley is stopped. The data stays in $(short "$cluster")."
else
  say "Parley was not running."
fi
exit "$rc"
