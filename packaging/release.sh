#!/bin/bash
# Builds all that is published of one revision: packaging/release.sh [FOLDER]   (default: dist)
#
# From what is committed, not from what lies around: wheel, sdist, models with their cards, the add-on,
# an SBOM, release notes and SHA256SUMS; Debian packages for $DEB_SUITES and $DEB_ARCHS and image
# archives for $IMAGE_ARCHS, where this machine can build them ($BASE as in container/build.sh). What is
# left out is said. Two builds of one revision give the same wheel, sdist and packages byte for byte.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-dist}")
revision=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$revision")
export SOURCE_DATE_EPOCH
umask 022
python=${PYTHON:-.venv/bin/python}
python=$(realpath -s "$python")
git diff --quiet HEAD || echo "release: what is not committed is not in it" >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/serd" "$work/built"
git archive "$revision" | tar -x -C "$work/serd"
version=$(sed -n 's/^VERSION: Final = "\(.*\)"/\1/p' "$work/serd/serd/version.py")
rm -rf "$out"
mkdir -p "$out"
skip() { echo "release: left out: $1" | tee -a "$work/left-out" >&2; }

echo "==> wheel and sdist of serd-emotion $version"
(cd "$work/serd" && "$python" -m build --no-isolation --outdir "$work/built" . >"$work/log" 2>&1) ||
    { tail -20 "$work/log" >&2; exit 70; }
cp "$work"/built/*.whl "$out/"
# setuptools takes times, owners and order of the sdist from the disk.
"$python" packaging/reproducible.py "$work"/built/*.tar.gz "$out/serd_emotion-$version.tar.gz"
"$python" -m twine check --strict "$out"/serd_emotion-* >/dev/null
"$python" -m check_wheel_contents "$out"/*.whl >/dev/null

echo "==> models and their cards"
for model in default permissive; do
    cp "$work/serd/serd/model/data/$model.tflite" "$out/serd-model-$model-$version.tflite"
done
cp "$work/serd/docs/model-card.md" "$out/serd-model-default-$version.md"
cp "$work/serd/docs/model-card-permissive.md" "$out/serd-model-permissive-$version.md"

echo "==> add-on"
(cd "$work/serd" && packaging/homeassistant/archive.sh "$work/addon/serd-addon-$version")
"$python" packaging/reproducible.py "$work/addon" "$out/serd-addon-$version.tar.gz"

echo "==> SBOM (CycloneDX)"
"$python" packaging/reproducible.py --sbom "$work/serd/packaging/requirements.lock" "$version" "$out/serd-$version.cdx.json"

echo "==> release notes"
awk -v version="$version" '
    /^## / { on = index($0, "[" version "]") > 0; if (on) found = 1; if ($0 ~ /\[Unreleased\]/) waiting = 1; else waiting = 0 }
    on { text = text $0 "\n" } waiting { next_text = next_text $0 "\n" }
    END { printf "%s", found ? text : next_text }' "$work/serd/CHANGELOG.md" >"$out/RELEASE-NOTES.md"
test -s "$out/RELEASE-NOTES.md" || { echo "release: CHANGELOG.md says nothing of $version" >&2; exit 78; }

native=$(dpkg --print-architecture)
can_emulate() { [ "$1" = "$native" ] || grep -qs '^flags:.*F' /proc/sys/fs/binfmt_misc/qemu-aarch64; }
for suite in ${DEB_SUITES-bookworm trixie}; do
    for arch in ${DEB_ARCHS-amd64 arm64}; do
        if [ "$(id -u)" != 0 ] || ! command -v debootstrap systemd-nspawn >/dev/null; then
            skip "the package for $suite $arch: needs root, debootstrap and systemd-container"
        elif ! can_emulate "$arch"; then
            skip "the package for $suite $arch: needs qemu-user-static and binfmt-support"
        else
            echo "==> Debian package for $suite $arch"
            (cd "$work/serd" && PYTHONPATH=$PWD "$python" -m tools.docs.manual man &&
                SERD_CACHE=${SERD_CACHE:-$OLDPWD/.cache/system} packaging/deb.sh "$suite" "$arch")
            mv "$work"/serd/dist/*.deb "$out/"
        fi
    done
done
for arch in ${IMAGE_ARCHS-amd64 arm64}; do
    if ! command -v buildah >/dev/null; then
        skip "the image for $arch: needs buildah"
    elif ! can_emulate "$arch"; then
        skip "the image for $arch: needs qemu-user-static and binfmt-support"
    else
        echo "==> container image for $arch"
        name=localhost/serd:$version-$arch
        (cd "$work/serd" && packaging/container/build.sh "$name" "$arch" >/dev/null)
        # shellcheck disable=SC2086 # options are words
        buildah ${SERD_BUILDAH:-} push --quiet "$name" "docker-archive:$work/image.tar:serd:$version"
        gzip -9n <"$work/image.tar" >"$out/serd-image-$version-$arch.tar.gz"
        rm "$work/image.tar"
    fi
done

(cd "$out" && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
echo "==> $out"
(cd "$out" && du -h -- *)
