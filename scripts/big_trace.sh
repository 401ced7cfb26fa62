#!/bin/sh
# big_trace.sh - a trace larger than memory: make one, read it, and say what that took.
#
#   scripts/big_trace.sh [-g GIB] [-d DIR] [-k]
#
# Makes DIR/big.safetensors (4 GiB in $TMPDIR if nothing else is said), reads it through trace_file_read
# and by mole inspect --ranges, and fails when peak memory is above 64 MiB. -k keeps the file, and makes
# DIR/changed.safetensors beside it, which differs in one number of one tap: for mole compare.
set -eu

gib=4 dir=${TMPDIR:-/tmp} keep=0
while getopts g:d:k option; do
    case $option in
        g) gib=$OPTARG ;;
        d) dir=$OPTARG ;;
        k) keep=1 ;;
        *) exit 2 ;;
    esac
done

CC=${CC:-cc} out=${BUILD:-build}/$(basename "${CC:-cc}")
make --no-print-directory CC="$CC" BUILD="${BUILD:-build}" all
# shellcheck disable=SC2046 # a list of flags
$CC -O2 -std=c11 -fopenmp -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -Iref -o "$out/big_trace" \
    scripts/big_trace.c "$out/libmole-f32.a" \
    $(pkg-config --cflags --libs openblas libpng jansson libutf8proc libzip) -lm

[ $keep = 1 ] || trap 'rm -f "$dir/big.safetensors"' EXIT
"$out/big_trace" make "$dir/big.safetensors" "$gib"
"$out/big_trace" read "$dir/big.safetensors"
"$out/mole" inspect --ranges "$dir/big.safetensors" | tail -n 8
if [ $keep = 1 ]; then
    "$out/big_trace" make "$dir/changed.safetensors" "$gib" 37
    echo "kept: $dir/big.safetensors $dir/changed.safetensors"
fi
