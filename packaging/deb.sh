#!/bin/bash
# Builds the Debian package: packaging/deb.sh SUITE ARCH, to dist/serd_VERSION_ARCH.deb
#
# SUITE is bookworm (Debian 12, Python 3.11) or trixie (Debian 13, Python 3.13), ARCH amd64 or arm64.
# The virtual environment is made in a clean root of that release, so it fits its Python. Needs
# what root.sh needs, and the network.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/overlay.sh
suite=$1 arch=$2
case $suite in
bookworm) release=12 python=3.11 next=3.12 ;;
trixie) release=13 python=3.13 next=3.14 ;;
*) echo "deb.sh: no such release: $suite (bookworm or trixie)" >&2; exit 2 ;;
esac
# Two builds of one revision are the same: the date is the commit's, not today's.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y pyproject.toml)}"
version=$(sed -n 's/^VERSION: Final = "\(.*\)"/\1/p' serd/version.py)-1+deb$release
cache=$(realpath -m "${SERD_CACHE:-.cache/system}")
mkdir -p "$cache/pip" dist

root=$(packaging/root.sh "$suite" "$arch" build python3-venv libportaudio2)
layer=$cache/layers/deb-$suite-$arch
merged=$(overlay_up "$root" "deb-$suite-$arch")
trap 'overlay_down "$layer"' EXIT
# What the lock file pins is kept from the last build; it is most of the work.
kept=$cache/venvs/$suite-$arch
mkdir -p "$merged/opt/serd" "$cache/venvs"
[ ! -d "$kept" ] || cp -a "$kept" "$merged/opt/serd/venv"
packaging/enter.sh "$merged" "--bind-ro=$PWD:/src" "--bind=$cache/pip:/root/.cache/pip" \
    /src/packaging/venv.sh /opt/serd/venv
rm -rf "$kept"
cp -a "$merged/opt/serd/venv" "$kept"

# The rest is the same for every release and architecture.
tree=$layer/package
put() { install -Dm "${3:-0644}" "$1" "$tree$2"; }
mkdir -p "$tree/opt/serd" "$tree/usr/bin" "$tree/DEBIAN"
cp -a "$merged/opt/serd/venv" "$tree/opt/serd/"
find "$tree/opt" -type d -exec chmod 0755 {} +
# Wheels bring modules and libraries marked as programs.
rm -f "$tree/opt/serd/venv/.gitignore" # newer Pythons write one
find "$tree/opt/serd/venv/lib" -type f -exec chmod 0644 {} +
ln -s /opt/serd/venv/bin/serd "$tree/usr/bin/serd"
put packaging/serd-setup /usr/sbin/serd-setup 0755
units=/usr/lib/systemd/system
[ "$release" -gt 12 ] || units=/lib/systemd/system # where Debian 12 has them
put systemd/serd.service $units/serd.service
put systemd/serd-dashboard.service $units/serd-dashboard.service
[ "$release" -lt 13 ] || put systemd/serd-backoff.conf $units/serd.service.d/backoff.conf
put systemd/serd.sysusers /usr/lib/sysusers.d/serd.conf
put systemd/serd.tmpfiles /usr/lib/tmpfiles.d/serd.conf
mkdir -p "$tree/etc/serd"
packaging/system_config.sh >"$tree/etc/serd/config.yaml"
echo /etc/serd/config.yaml >"$tree/DEBIAN/conffiles"

doc=/usr/share/doc/serd
put packaging/debian/copyright $doc/copyright
put packaging/debian/lintian-overrides /usr/share/lintian/overrides/serd
date=$(date -uR -d "@$SOURCE_DATE_EPOCH")
{
    printf 'serd (%s) unstable; urgency=medium\n\n  * See changelog.gz beside this file.\n\n' "$version"
    printf ' -- The serd authors <serd@serd.invalid>  %s\n' "$date"
} >"$layer/changelog"
put "$layer/changelog" $doc/changelog.Debian
put CHANGELOG.md $doc/changelog
gzip -9n "$tree$doc/changelog.Debian" "$tree$doc/changelog"
for page in docs/install.md docs/home-assistant.md docs/architecture.md; do
    [ ! -e $page ] || put $page $doc/"$(basename $page)"
done
for page in man/*.1; do # `make man` makes them
    [ -e "$page" ] || { echo "deb.sh: no manual pages: run make man first" >&2; exit 69; }
    put "$page" "/usr/share/man/man1/$(basename "$page")"
    gzip -9n "$tree/usr/share/man/man1/$(basename "$page")"
done
put packaging/serd-setup.8 /usr/share/man/man8/serd-setup.8
gzip -9n "$tree/usr/share/man/man8/serd-setup.8"
complete() { # SHELL PATH
    install -d "$tree$(dirname "$2")"
    packaging/enter.sh "$merged" /opt/serd/venv/bin/serd completion "$1" >"$tree$2"
    test -s "$tree$2"
}
complete bash /usr/share/bash-completion/completions/serd
complete zsh /usr/share/zsh/vendor-completions/_serd
complete fish /usr/share/fish/vendor_completions.d/serd.fish

size=$(du -sk --exclude=DEBIAN "$tree" | cut -f1)
sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" \
    -e "s/@PYTHON@/$python/; s/@PYTHON_NEXT@/$next/" packaging/debian/control.in >"$tree/DEBIAN/control"
for script in preinst postinst prerm postrm; do
    install -m 0755 packaging/debian/$script "$tree/DEBIAN/$script"
done
(cd "$tree" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) \
    >"$tree/DEBIAN/md5sums"
package=dist/serd_${version}_$arch.deb
dpkg-deb --root-owner-group -Zxz --threads-max=2 --build "$tree" "$package" >/dev/null
echo "$package: $(du -h "$package" | cut -f1), installed $((size / 1024)) MB"
