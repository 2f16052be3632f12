# shellcheck shell=bash
# To be sourced: a root made by root.sh with a layer of changes over it, so that the root itself
# stays clean. overlay_up ROOT NAME prints the folder where both are seen as one.
# Needs overlayfs, which every Debian kernel has.

overlay_up() {
    local root=$1 layer
    layer=$(dirname "$root")/../layers/$2
    overlay_down "$layer"
    mkdir -p "$layer/upper" "$layer/work" "$layer/merged"
    mount -t overlay overlay -o "lowerdir=$root,upperdir=$layer/upper,workdir=$layer/work" "$layer/merged"
    realpath "$layer/merged"
}

# overlay_down LAYER: LAYER is the folder above the one that overlay_up printed.
overlay_down() {
    ! mountpoint -q "$1/merged" || umount "$1/merged"
    # Never into something that is still mounted there.
    ! grep -q " $(realpath -m "$1")/" /proc/mounts || return 1
    rm -rf --one-file-system "$1"
}
