#!/bin/bash
# Puts the add-on's repository together: packaging/homeassistant/archive.sh FOLDER
#
# Home Assistant builds an add-on from its own folder alone, so that gets all that it is made of: the
# Dockerfile is serd's Containerfile and a stage more, and the source of serd lies beside it.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$1
here=packaging/homeassistant
mkdir -p "$target/serd/packaging/container"
cp $here/repository.yaml $here/README.md "$target/"
cp -r $here/serd/. "$target/serd/"
cp CHANGELOG.md "$target/serd/CHANGELOG.md"
{
    # shellcheck disable=SC2016 # for Docker
    sed -e 's|^ARG BASE=.*|ARG BUILD_FROM=docker.io/library/debian:trixie-slim|' -e 's|\${BASE}|${BUILD_FROM}|' \
        -e '/^# serd in a container/,/^# BASE may be/d' packaging/container/Containerfile
    cat $here/addon.Containerfile
} >"$target/serd/Dockerfile"
cp pyproject.toml README.md LICENSE "$target/serd/"
cp packaging/venv.sh packaging/build.lock "$target/serd/packaging/"
cp packaging/container/{requirements.lock,shrink.sh,asound.conf} "$target/serd/packaging/container/"
cp -r serd "$target/serd/serd"
find "$target" -name __pycache__ -prune -exec rm -rf {} +
