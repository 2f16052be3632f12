#!/bin/bash
# Builds the container image: packaging/container/build.sh [IMAGE [ARCH]]   (default: serd, this machine's)
#
# With buildah, without a daemon, also where no namespaces can be made. $BASE is the Debian base image;
# BASE=debootstrap makes one by packaging/container/base.sh, for machines without an image registry.
# $SERD_BUILDAH holds more of buildah's options, such as --root. With SOURCE_DATE_EPOCH two builds
# from the same packages give the same layers.
set -euo pipefail
cd "$(dirname "$0")/../.."
image=${1:-serd}
arch=${2:-$(dpkg --print-architecture)}
base=${BASE:-docker.io/library/debian:trixie-slim}
# shellcheck disable=SC2206 # options are words
buildah=(buildah ${SERD_BUILDAH:-})
more=(--pull-always)
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
if [ "$base" = debootstrap ]; then
    base=localhost/serd-base:trixie-$arch
    "${buildah[@]}" inspect --type image "$base" >/dev/null 2>&1 ||
        packaging/container/base.sh trixie "$arch" "$base"
fi
case $base in
localhost/*)
    # This machine's authorities, for a mirror that answers in its own name.
    more=(--pull-never --volume /etc/ssl/certs:/etc/ssl/certs:ro)
    ;;
esac
exec "${buildah[@]}" build --quiet --format docker --layers --arch "$arch" \
    --timestamp "${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}" \
    --build-arg "BASE=$base" "${more[@]}" -f packaging/container/Containerfile -t "$image" .
