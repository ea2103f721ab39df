#!/usr/bin/env bash
# Becomes the systemd of the Debian in a directory. try_in_chroot.sh runs it in namespaces made for it, as
# their first process; all that it mounts is theirs.
#
# usage: boot_chroot.sh ROOT CGROUP-HIERARCHY...
set -euo pipefail

root=$1
shift
# systemd gives services mounts of their own, which takes a root that is a mount itself.
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p dev/shm
mount -t tmpfs -o mode=1777 tmpfs dev/shm
[[ $1 == /sys/fs/cgroup ]] || mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
for hierarchy in "$@"; do
  mkdir -p ".$hierarchy"
  case $hierarchy in
    */systemd) mount -t cgroup -o none,name=systemd cgroup ".$hierarchy" ;;
    *) mount -t cgroup2 cgroup2 ".$hierarchy" ;;
  esac
done
ip link set lo up
pivot_root . .
umount -l .
# As systemd does where it is not in a container: credentials are mounted by a child of it.
mount --make-rshared /
exec env -i container=chroot PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --unit=try.service --show-status=no
