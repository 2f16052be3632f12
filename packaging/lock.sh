#!/bin/bash
# Writes anew what serd is installed with, each with its hashes, for Python 3.11 to 3.13 on amd64 and
# arm64: packaging/requirements.lock, and packaging/container/requirements.lock, which is the same
# for the container: without the embedded broker, with what the add-on needs. Needs the network; `make lock` runs it.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=${SERD_CACHE:-.cache/system}/tools
[ -x "$tools/bin/uv" ] || { python3 -m venv "$tools" && "$tools/bin/pip" -q install 'uv>=0.5'; }
compile() {
    "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --constraint packaging/constraints.txt --no-annotate --custom-compile-command "make lock" "$@"
}
export UV_NATIVE_TLS=1 # the authorities that this machine trusts
compile --upgrade --extra embedded --extra dashboard --extra metrics --extra silero pyproject.toml \
    -o packaging/requirements.lock
rm -f packaging/container/requirements.lock
compile --extra addon --extra dashboard --extra metrics --extra silero pyproject.toml --no-header \
    --constraint <(sed -n 's/ \\$//; /^[a-z0-9-]*==/p' packaging/requirements.lock) \
    -o packaging/container/requirements.lock
# What builds the wheel of serd itself.
echo 'setuptools>=77' | compile --upgrade - -o packaging/build.lock
