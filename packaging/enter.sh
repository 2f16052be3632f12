#!/bin/bash
# Runs a command in a root made by root.sh: packaging/enter.sh ROOT [--bind=FROM:TO]... COMMAND...
#
# The command sees this machine's network, and no service is started in the root.
#
# An emulated machine sees the real one's /proc/cpuinfo, and LiteRT crashes when it looks for an ARM
# processor there. So a foreign root has /etc/cpuinfo, as a Raspberry Pi 4 writes it, put over that,
# and qemu is told to be that processor.
set -euo pipefail
root=$1
shift
binds=()
while [[ ${1:-} == --bind*=* ]]; do
    binds+=("$1")
    shift
done
settings=()
for name in PIP_CERT PIP_INDEX_URL PIP_DEFAULT_TIMEOUT SERD_DEBUG; do
    [ -z "${!name:-}" ] || settings+=("--setenv=$name=${!name}")
done
if [ -e "$root/etc/cpuinfo" ]; then
    settings+=(--setenv=QEMU_CPU=cortex-a72)
    # shellcheck disable=SC2016 # for the shell inside
    set -- sh -c 'mount --bind /etc/cpuinfo /proc/cpuinfo && exec "$@"' sh "$@"
fi
exec systemd-nspawn --quiet --register=no --keep-unit --as-pid2 --resolv-conf=off \
    --console=pipe --directory="$root" "${binds[@]}" "${settings[@]}" \
    --setenv=LC_ALL=C.UTF-8 --setenv=DEBIAN_FRONTEND=noninteractive "$@"
