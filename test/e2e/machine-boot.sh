#!/bin/bash
# PID 1 of one test machine: machine-boot.sh NAME DIRECTORY
# Runs in fresh mount, uts and pid namespaces; whatever it mounts is seen in here only.
set -eu
name=$1 dir=$2
hostname "$name"
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir -p /etc/docker /var/lib/skein
mount --bind "$dir/etc" /etc/docker
mount --bind "$dir/skein" /var/lib/skein
# Before the engine starts, which keeps what it has read of it.
if [ -e "$dir/etc/resolv.conf" ]; then mount --bind "$dir/etc/resolv.conf" /etc/resolv.conf; fi
ulimit -n 65536 2>/dev/null || true
dockerd >>"$dir/dockerd.log" 2>&1 &
# Reaps whatever dies in this machine, for ever.
while :; do wait -n || sleep 0.2; done
