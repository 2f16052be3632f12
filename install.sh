#!/bin/bash
# Installs serd as a service on Debian or Raspberry Pi OS: sudo ./install.sh
#
# Run it from a clone or an unpacked release; it may be run again. See ./install.sh --help.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: sudo ./install.sh [OPTION]...

Installs serd to /opt/serd and starts it as the service "serd". An existing installation is replaced;
configuration and journal are kept.

  --node NAME            name of this place in topics and events (default: the host name)
  --microphone ID        an ID or a part of a name from "serd devices" (default: the system's)
  --source FILE          an audio file instead of a microphone (for testing); not in a home directory
  --broker HOST[:PORT]   the MQTT broker (default: localhost:1883)
  --username NAME        user name at the broker, if it requires a login
  --password-file FILE   file with the password
  --yes                  do not ask questions, even on a terminal
  --no-start             install only; do not start the service
  --wheels FOLDER        take Python packages from this folder instead of the network

  --upgrade              upgrade an installation without questions or other changes
  --uninstall            remove serd; configuration and journal are kept
  --uninstall --purge    remove those as well
TEXT
}
step() { echo "==> $1"; }
note() { echo "    $1"; }
fail() { echo "install.sh: $1" >&2; exit "${2:-69}"; }

# Check this first: a 32-bit system cannot run serd, even with a 64-bit kernel.
architecture=$(dpkg --print-architecture 2>/dev/null || uname -m)
case $architecture in
amd64 | arm64) ;;
*)
    fail "this system is $architecture, but serd needs a 64-bit system (arm64 or amd64), because its \
neural network library exists for no other; on a Raspberry Pi, install \"Raspberry Pi OS (64-bit)\""
    ;;
esac

cd "$(dirname "$(realpath "$0")")"
prefix=/opt/serd
venv=$prefix/venv
config=/etc/serd/config.yaml
local=/usr/local
unit=$local/lib/systemd/system/serd.service
page=$local/lib/systemd/system/serd-dashboard.service

task=install purge=no questions=yes start=yes wheels='' settings=()
while [ $# -gt 0 ]; do
    case $1 in
    --node | --microphone | --source | --broker | --username | --password-file | --wheels)
        if [ -z "${2:-}" ]; then fail "$1 needs a value" 2; fi
        if [ "$1" = --wheels ]; then wheels=$2; else settings+=("$1" "$2"); fi
        shift 2
        ;;
    --yes) questions=no; shift ;;
    --no-start) start=no; shift ;;
    --upgrade) task=upgrade; shift ;;
    --uninstall) task=uninstall; shift ;;
    --purge) purge=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail "unknown option: $1" 2 ;;
    esac
done
[ $purge = no ] || [ $task = uninstall ] || fail "--purge goes with --uninstall" 2
[ $task = install ] || [ ${#settings[@]} = 0 ] ||
    fail "--$task takes no settings; use serd-setup for them" 2
[ "$(id -u)" = 0 ] || fail "this needs root: sudo ./install.sh"
booted() { [ -d /run/systemd/system ]; }

uninstall() {
    step "Stopping and removing the service"
    if booted; then systemctl disable --now --quiet serd-dashboard serd 2>/dev/null || true; fi
    rm -f /etc/systemd/system/multi-user.target.wants/serd{,-dashboard}.service
    rm -rf /run/serd "$unit" "$unit.d" "$page" $local/lib/sysusers.d/serd.conf $local/lib/tmpfiles.d/serd.conf
    if booted; then
        systemctl daemon-reload
        systemctl reset-failed --quiet serd serd-dashboard 2>/dev/null || true
    fi
    step "Removing the program from $prefix"
    rm -rf $prefix $local/bin/serd $local/sbin/serd-setup
    if [ $purge = yes ]; then
        step "Removing configuration, secrets, journal and the user serd"
        rm -rf /etc/serd /etc/systemd/system/serd{,-dashboard}.service.d /var/lib/serd /run/serd
        rm -f /etc/default/serd-dashboard
        rm -f /etc/credstore/serd.*
        rmdir --ignore-fail-on-non-empty /etc/credstore 2>/dev/null || true
        if getent passwd serd >/dev/null; then userdel serd; fi
        if getent group serd >/dev/null; then groupdel serd; fi
    else
        note "$config, /etc/credstore/serd.* and /var/lib/serd stay; --purge removes them"
    fi
    note "Debian packages that serd used (python3-venv, libportaudio2) stay"
}

if [ "$(dpkg-query -W -f '${db:Status-Status}' serd 2>/dev/null || true)" = installed ]; then
    fail "serd is installed as a Debian package; use apt to upgrade or remove it"
fi
if [ $task = uninstall ]; then
    uninstall
    echo "serd is removed."
    exit 0
fi

if ! [ -f pyproject.toml ] || ! [ -d serd ]; then
    fail "run this from a clone or an unpacked release of serd"
fi
[ $task = install ] || [ -d $venv ] || fail "nothing to upgrade: serd is not in $prefix"

step "Checking the system packages that serd needs"
missing=()
for package in python3 python3-venv libportaudio2 ca-certificates; do
    dpkg -s $package >/dev/null 2>&1 || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    note "installing with apt: ${missing[*]}"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null
else
    note "all installed"
fi
python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
    fail "serd runs on Python 3.11 to 3.13; this is $(python3 --version). Debian 12 and 13 have them"

step "Creating the Python environment in $venv"
note "with the packages pinned in packaging/requirements.lock, verified by their hashes; takes a few minutes on a Pi"
rm -rf $venv.new
mkdir -p $prefix
packaging/venv.sh $venv.new "$wheels"
# It moves to its place only when it is complete; then its programs must name that place.
find $venv.new/bin -type f -exec sed -i "1s|^#!$venv.new/|#!$venv/|" {} +

if [ -e $config ]; then
    if ! said=$($venv.new/bin/python -m serd --config $config config validate 2>&1); then
        rm -rf $venv.new
        echo "$said" >&2
        fail "this version rejects $config; correct it and try again. Nothing was changed" 78
    fi
fi
was_running=no
if booted && systemctl is-active --quiet serd; then
    was_running=yes
    systemctl stop serd
fi
rm -rf $venv
mv $venv.new $venv

step "Installing the service, its user and the commands serd and serd-setup"
install -Dm 0644 systemd/serd.service $unit
install -Dm 0644 systemd/serd-dashboard.service $page
rm -rf $unit.d
if [ "$(systemctl --version 2>/dev/null | awk 'NR == 1 { print int($2) }')" -ge 254 ] 2>/dev/null; then
    install -Dm 0644 systemd/serd-backoff.conf $unit.d/backoff.conf
fi
install -Dm 0644 systemd/serd.sysusers $local/lib/sysusers.d/serd.conf
install -Dm 0644 systemd/serd.tmpfiles $local/lib/tmpfiles.d/serd.conf
install -Dm 0755 packaging/serd-setup $local/sbin/serd-setup
install -Dm 0755 install.sh $prefix/install.sh # so that --uninstall needs no source
mkdir -p $local/bin
ln -sfn $venv/bin/serd $local/bin/serd
systemd-sysusers $local/lib/sysusers.d/serd.conf
systemd-tmpfiles --create $local/lib/tmpfiles.d/serd.conf

fresh=no
if [ -e $config ] && { [ $task = upgrade ] || ! packaging/system_config.sh | cmp -s - $config; }; then
    step "Keeping the configuration in $config"
else
    step "Writing the configuration to $config"
    install -d /etc/serd
    packaging/system_config.sh >$config
    chmod 0644 $config
    fresh=yes
fi
if [ ${#settings[@]} -gt 0 ] || [ $fresh = yes ]; then
    [ $questions = yes ] || settings+=(--no-questions)
    $local/sbin/serd-setup --no-restart "${settings[@]}"
fi

if ! booted; then
    note "systemd is not running here, so the service was not started"
    exit 0
fi
systemctl daemon-reload
systemctl try-restart serd-dashboard 2>/dev/null || true # who has it on gets the new one
if [ $start = no ] && [ $was_running = no ]; then
    note "start it with: systemctl enable --now serd"
    exit 0
fi
step "Starting serd"
systemctl enable --quiet serd
systemctl restart serd || {
    journalctl --no-pager -u serd -n 15 >&2
    fail "serd does not start; its output is above"
}
note "$(systemctl show -P StatusText serd)"
cat <<'TEXT'
serd runs, and starts with the machine.
    what it is doing:     systemctl status serd
    what it says:         journalctl -fu serd
    what it hears:        sudo serd tail, or in a browser: sudo systemctl enable --now serd-dashboard
    other settings:       sudo serd-setup, or /etc/serd/config.yaml, then sudo systemctl restart serd
TEXT
