#!/bin/bash
# Makes a slim Debian base image without a registry: packaging/container/base.sh SUITE ARCH IMAGE
#
# As debian:SUITE-slim is: debootstrap's smallest variant without manual pages, translations and
# documents (licences stay). For machines that reach a Debian mirror and no image registry, and for
# tests. IMAGE becomes its name in buildah's storage ($SERD_BUILDAH holds more of buildah's options).
# Needs root, debootstrap and buildah; for an architecture other than this machine's also
# qemu-user-static and binfmt-support.
set -euo pipefail
suite=$1 arch=$2 image=$3
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2206 # options are words
buildah=(buildah ${SERD_BUILDAH:-})

cache=$(realpath -m "${SERD_CACHE:-.cache/system}")
root=$cache/roots/$suite-$arch-slim
packaging/root.sh "$suite" "$arch" slim >/dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -C "$root" --one-file-system --numeric-owner --sort=name --exclude=./.complete \
    --exclude='./usr/share/doc/*/*[!t]' --exclude='./usr/share/doc/*/*changelog*' \
    --exclude='./usr/share/man/*' --exclude='./usr/share/info/*' --exclude='./usr/share/locale/*' \
    --exclude='./usr/share/lintian/*' --exclude='./var/cache/*' --exclude='./var/lib/apt/lists/*' \
    --exclude='./var/log/*' --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' \
    --mtime="@${SOURCE_DATE_EPOCH:-0}" --clamp-mtime -cf "$work/root.tar" .
container=$("${buildah[@]}" from --arch "$arch" scratch)
"${buildah[@]}" add --quiet "$container" "$work/root.tar" / >/dev/null
"${buildah[@]}" config --cmd /bin/bash --arch "$arch" --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
"${buildah[@]}" commit --quiet --rm --format docker --timestamp "${SOURCE_DATE_EPOCH:-0}" "$container" "$image" >/dev/null
echo "$image: $(du -m "$work/root.tar" | cut -f1) MB"
