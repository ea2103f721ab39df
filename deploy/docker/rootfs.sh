#!/usr/bin/env bash
# Puts into a directory what the installed programs need to run, and nothing else: themselves, their libraries,
# time zones, and who they are.
#
# usage: rootfs.sh DIRECTORY
set -euo pipefail

root=$1
programs=(/usr/bin/parley-{chatd,messaged,schedulerd,migrate})

# take PATH...: copies files to where they are, what links point to included.
take() { cp --parents -L "$@" "$root"; }

mkdir -p "$root"/{etc,tmp,usr/bin,usr/lib,usr/share}
chmod 1777 "$root/tmp"
# Debian 12 has all of it below /usr.
for dir in bin lib lib64; do
  [[ ! -L /$dir ]] || ln -s "usr/$dir" "$root/$dir"
done
mkdir -p "$root/usr/lib64"
mapfile -t libraries < <(ldd "${programs[@]}" | grep -oE '/[^ ]+\.so[^ ]*' | sort -u)
take "${programs[@]}"
take "${libraries[@]}"
cp -r --parents /usr/share/zoneinfo /usr/share/parley "$root"
echo 'parley:x:65532:65532:Parley services:/:/usr/sbin/nologin' >"$root/etc/passwd"
echo 'parley:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
