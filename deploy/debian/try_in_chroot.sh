#!/usr/bin/env bash
# Installs the Debian package in a clean Debian, runs it there and removes it again. See --help.
set -euo pipefail
# shellcheck source=deploy/local/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../local/lib.sh"

usage() {
  cat <<'TEXT'
usage: deploy/debian/try_in_chroot.sh [--build DIR | PACKAGE.deb]

Makes a Debian 12 of its own (debootstrap; cached in /var/cache/parley-chroot), installs the package there,
boots its systemd, and does what an administrator does: creates the database, migrates, starts the three
services by their units, calls them, kills and stops them; then installs again, and purges. Nothing that it
mounts or starts outlives it.

  --build DIR   make the package first, of what has been built in DIR (default: build/package)

exit codes: 0 all of it worked; 1 something did not; 2 wrong usage; 77 it cannot be tried here: not root, or
namespaces and control groups cannot be made
TEXT
}

BUILD=$ROOT/build/package
PACKAGE=
while (($#)); do
  case $1 in
    --build)
      [[ $# -ge 2 ]] || { usage >&2; exit 2; }
      BUILD=$(realpath -- "$2")
      shift
      ;;
    --help | -h) usage; exit 0 ;;
    -*) usage >&2; exit 2 ;;
    *) PACKAGE=$(realpath -- "$1") ;;
  esac
  shift
done

# Beside the machine's other caches: another checkout need not fetch it all again.
CACHE=/var/cache/parley-chroot
CGROUP=parley-chroot-$$
WORK=
cleanup() {
  local rc=$? dir
  trap '' INT TERM HUP
  for dir in $(cgroups); do
    find "$dir/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
  [[ -z $WORK ]] || rm -rf --one-file-system "$WORK"
  exit "$rc"
}

# skip WHY: what it takes is not here.
skip() {
  say "$*" >&2
  exit 77
}

# mirror: where this machine has its Debian 12 from.
mirror() {
  # shellcheck disable=SC2016  # apt's own variables
  apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "bookworm" { print $2; exit }'
}

# base_system: the tar file of a Debian that has PostgreSQL, systemd and nothing of ours.
base_system() {
  local tar=$CACHE/bookworm.tar
  if [[ ! -e $tar ]]; then
    mkdir -p "$CACHE"
    debootstrap --variant=minbase --include=systemd,postgresql-15,iproute2 bookworm "$WORK/base" \
      "$(mirror)" >"$WORK/debootstrap.log" 2>&1 ||
      { tail -n 15 "$WORK/debootstrap.log" >&2; fail "debootstrap failed"; }
    tar -C "$WORK/base" -cf "$tar.new" .
    mv "$tar.new" "$tar"
    rm -rf --one-file-system "$WORK/base"
  fi
  printf '%s\n' "$tar"
}

make_package() {
  (cd "$BUILD" && cpack --config "$BUILD/CPackConfig.cmake" -G DEB -B "$WORK/package") \
    >"$WORK/cpack.log" 2>&1 || { tail -n 30 "$WORK/cpack.log" >&2; fail "cpack failed"; }
  ls "$WORK"/package/*.deb
}

# fill_root ROOT: what the chroot needs of this machine: its apt sources, and the packages fetched before.
fill_root() {
  cp -r /etc/apt/sources.list.d "$1/etc/apt/"
  rm -f "$1/etc/apt/sources.list"
  [[ ! -e /etc/apt/sources.list ]] || cp /etc/apt/sources.list "$1/etc/apt/"
  cp -r /etc/apt/apt.conf.d/. "$1/etc/apt/apt.conf.d/"
  rm -f "$1"/etc/apt/apt.conf.d/docker-*
  cp /etc/resolv.conf /etc/hosts "$1/etc/"
  mkdir -p "$CACHE/archives"
  cp -n "$CACHE"/archives/*.deb "$1/var/cache/apt/archives/" 2>/dev/null || true
  printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
  chmod 755 "$1/usr/sbin/policy-rc.d"
  mkdir -p "$1/try"
  cp "$PACKAGE" "$1/try/parley.deb"
  cp "$GRPCURL" "$1/try/grpcurl"
  cp "$ROOT/deploy/debian/in_chroot.sh" "$ROOT/deploy/docker/rootfs.sh" "$ROOT/tests/system/health.proto" \
    "$1/try/"
}

# in_root ROOT STAGE: runs a stage of in_chroot.sh. Mounts and processes end with the namespaces that they
# are in; the network is the machine's own.
in_root() {
  # shellcheck disable=SC2016  # that shell expands it
  unshare --mount --pid --ipc --uts --fork --kill-child --propagation private sh -euc '
    mount -t proc proc "$1/proc"
    mount -t tmpfs -o mode=755 tmpfs "$1/run"
    exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TZ=UTC \
      DEBIAN_FRONTEND=noninteractive bash /try/in_chroot.sh "$2"' sh "$1" "$2"
}

# cgroups: the hierarchies that systemd needs: the unified one, and with version 1 its own.
cgroups() {
  local dir
  for dir in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    case $(stat -f -c %T "$dir" 2>/dev/null) in
      cgroup2fs | cgroupfs) printf '%s\n' "$dir" ;;
    esac
  done
}

# boot ROOT: boots its systemd, which runs the stage `run` of in_chroot.sh and ends with it: in namespaces
# of its own, the network's too, and below a cgroup of its own.
boot() {
  local root=$1 dir
  cat >"$root/etc/systemd/system/try.service" <<'TEXT'
[Service]
Type=oneshot
Environment=LC_ALL=C.UTF-8 TZ=UTC
ExecStart=bash /try/in_chroot.sh run
StandardOutput=file:/try/run.log
StandardError=inherit
TimeoutStartSec=180
ExecStopPost=systemctl --no-block exit $EXIT_STATUS
TEXT
  local hierarchies rc=0
  mapfile -t hierarchies < <(cgroups)
  for dir in "${hierarchies[@]}"; do mkdir "$dir/$CGROUP"; done
  (
    for dir in "${hierarchies[@]}"; do echo "$BASHPID" >"$dir/$CGROUP/cgroup.procs"; done
    exec timeout -s KILL 300 unshare --mount --pid --ipc --uts --net --cgroup --fork --kill-child \
      --propagation private "$BASH" "$ROOT/deploy/debian/boot_chroot.sh" "$root" "${hierarchies[@]}"
  ) </dev/null >"$WORK/systemd.log" 2>&1 || rc=$?
  cat "$root/try/run.log"
  return "$rc"
}

main() {
  [[ $EUID -eq 0 ]] || skip "root is needed to make a chroot"
  unshare --mount --pid --ipc --uts --net --cgroup --fork true 2>/dev/null || skip "no namespaces can be made"
  [[ -n $(cgroups) && -w $(cgroups | tail -n 1) ]] || skip "no control groups can be made"
  need_packages "${PACKAGES_PACKAGING[@]}"
  need_grpcurl || fail "grpcurl is needed and could not be installed"
  trap cleanup EXIT
  trap 'exit 130' INT TERM HUP
  mkdir -p "$VAR"
  WORK=$(mktemp -d "$VAR/chroot.XXXXXX")

  step "Package"
  [[ -n $PACKAGE ]] || PACKAGE=$(make_package)
  lintian --allow-root --fail-on error,warning "$PACKAGE" || fail "lintian has something to say"
  note "${PACKAGE##*/}, $(du -h "$PACKAGE" | cut -f 1)"

  step "Debian"
  local base root=$WORK/root
  base=$(base_system)
  mkdir "$root"
  tar -C "$root" -xpf "$base"
  fill_root "$root"

  step "Install"
  in_root "$root" install || fail "the package cannot be installed"
  cp -n "$root"/var/cache/apt/archives/*.deb "$CACHE/archives/" || true
  step "Run"
  boot "$root" || { tail -n 20 "$WORK/systemd.log" >&2; fail "the services do not run"; }
  step "Remove"
  in_root "$root" remove || fail "the package cannot be removed"
  step "Done"
}

main
