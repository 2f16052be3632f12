#!/bin/bash
# Makes a Debian root to build or test in, and keeps it: packaging/root.sh SUITE ARCH PURPOSE [PACKAGE...]
#
# SUITE is bookworm or trixie, ARCH amd64 or arm64, PURPOSE a word that keeps roots with different
# packages apart. The root goes to $SERD_CACHE/roots/SUITE-ARCH-PURPOSE (default .cache/system) and
# is printed. One that is there already is used again; packages that
# it lacks are added.
#
# Needs root, debootstrap and systemd-nspawn (systemd-container); for an architecture other than
# this machine's also qemu-user-static and binfmt-support. $SERD_MIRROR names another mirror.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "root.sh: $1" >&2; exit "${2:-69}"; }

[ $# -ge 3 ] || fail "usage: packaging/root.sh SUITE ARCH PURPOSE [PACKAGE...]" 2
suite=$1 arch=$2 purpose=$3
shift 3
[ "$(id -u)" = 0 ] || fail "making a Debian root needs root: run it with sudo"
for program in debootstrap systemd-nspawn; do
    command -v "$program" >/dev/null || fail "$program is missing: apt-get install debootstrap systemd-container"
done

cache=$(realpath -m "${SERD_CACHE:-.cache/system}")
mirror=${SERD_MIRROR:-http://deb.debian.org/debian}
root=$cache/roots/$suite-$arch-$purpose
mkdir -p "$cache/roots"

# Foreign programs run through qemu, which the kernel starts for us (binfmt_misc). The "F" in its
# flags means that it is found from within the root, too.
emulate() {
    local misc=/proc/sys/fs/binfmt_misc
    [ -e $misc/register ] || mount -t binfmt_misc binfmt_misc $misc || fail "this kernel has no binfmt_misc"
    [ -e $misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64 2>/dev/null || true
    grep -qs '^flags:.*F' $misc/qemu-aarch64 ||
        fail "arm64 cannot be emulated: apt-get install qemu-user-static binfmt-support"
}
[ "$arch" = "$(dpkg --print-architecture)" ] || emulate

if [ ! -e "$root/.complete" ]; then
    ! grep -q " $root/" /proc/mounts || fail "something is still mounted in $root: unmount it first"
    rm -rf --one-file-system "$root"
    script=/usr/share/debootstrap/scripts/$suite
    [ -e "$script" ] || script=/usr/share/debootstrap/scripts/sid # an older debootstrap, a newer suite
    debootstrap --variant=minbase --arch="$arch" --include=ca-certificates \
        "$suite" "$root" "$mirror" "$script" >"$root.log" 2>&1 ||
        { tail -20 "$root.log" >&2; fail "debootstrap failed; all it said is in $root.log"; }
    # The network as this machine sees it: its resolver, its authorities, its apt proxy.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    apt-config dump | grep -E '^Acquire::(http|https|Check-)' >"$root/etc/apt/apt.conf.d/99host" || true
    echo 'APT::Install-Recommends "false";' >"$root/etc/apt/apt.conf.d/99lean"
    if [ "$arch" != "$(dpkg --print-architecture)" ]; then
        cp packaging/cpuinfo "$root/etc/cpuinfo"
    fi
    touch "$root/.complete"
fi
cp -L --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"

missing=()
for package in "$@"; do
    chroot "$root" dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    {
        packaging/enter.sh "$root" apt-get -q update
        packaging/enter.sh "$root" apt-get -qy install "${missing[@]}"
    } >"$root.log" 2>&1 ||
        { tail -20 "$root.log" >&2; fail "apt could not install ${missing[*]} in $root"; }
fi
echo "$root"
