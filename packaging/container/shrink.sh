#!/bin/sh
# Takes out of serd's Python environment what only those need who develop against numpy:
# packaging/container/shrink.sh VENV
set -eu
cd "$1"/lib/python3*/site-packages
rm -rf numpy/f2py numpy/distutils numpy/_core/include numpy/_core/lib
find . -name '*.pyi' -delete
