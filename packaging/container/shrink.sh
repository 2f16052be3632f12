#!/bin/sh
# Takes out of serd's Python environment what is never loaded when serd runs:
# packaging/container/shrink.sh VENV
#
# Needs binutils (strip).
set -eu
cd "$1"/lib/python3*/site-packages
# For those who compile against numpy, or test it.
rm -rf numpy/f2py numpy/distutils numpy/_core/include numpy/_core/lib numpy/_core/_simd.*.so
find . -name '*.pyi' -delete
# rich colours source code with pygments; serd prints none.
find pygments/lexers pygments/styles pygments/formatters -type f \
    ! -name '__init__*' ! -name '_mapping*' ! -name 'python*' -delete
# LiteRT's tools that convert and write models; the interpreter needs none of these.
rm -rf google ml_dtypes flatbuffers tqdm
# Symbols for debuggers.
strip --strip-unneeded ai_edge_litert/libpywrap_litert_common.so yaml/_yaml.*.so
