#!/usr/bin/env bash
# check_clones.sh - does every kind of vectors give the same bits?
#
#   scripts/check_clones.sh FOLDER        FOLDER/mole, FOLDER/clones/KIND/mole (make clones)
#
# A loop marked VECTORISED (ref/core/vectorised.h) exists for vectors of 4, 8 and 16 floats, and the loader takes the
# widest that the processor has: on one machine only one of them would ever run. FOLDER/clones has programs of one
# kind each. The traces of a whole small run, of both number types, both ways of computing matrix products and both
# forms of the experts, must have the SHA-256 sum that FOLDER/mole gives. OpenBLAS is held to one kernel, as its own
# change the sums. A kind that this processor has not is skipped. The last line is "N passed, N failed, N skipped";
# status 1 when one failed.
set -u
folder=${1:?usage: scripts/check_clones.sh FOLDER}
models=golden/models
work=$(mktemp -d) || exit 3
trap 'rm -rf "$work"' EXIT
export OPENBLAS_CORETYPE=Nehalem
passed=0 failed=0 skipped=0

# sum PROGRAM OPTIONS...: of the trace of two steps with experts.
sum() {
    "$1" generate --model $models/sd15-tiny --face $models/sd15-tiny-mole/face.safetensors \
        --hand $models/sd15-tiny-mole/hand.safetensors --gates $models/sd15-tiny-mole/gates.safetensors \
        --prompt 'a portrait, waving' --seed 7 --steps 2 --width 64 --height 48 -q "${@:2}" \
        --trace "$work/trace.safetensors" -o "$work/picture.png" >"$work/said" 2>&1 &&
        sha256sum <"$work/trace.safetensors"
}

has() { [ "$1" = sse2 ] || grep -qw "$1" /proc/cpuinfo; }

for type in f32 f64; do
    for way in 'plain direct' 'plain stacked' 'blas direct' 'blas stacked'; do
        options=(--precision "$type" --matmul "${way% *}" --mole "${way#* }")
        expected=$(sum "$folder/mole" "${options[@]}") || { cat "$work/said" >&2; exit 3; }
        for kind in sse2 avx2 avx512f; do
            program=$folder/clones/$kind/mole
            if [ ! -x "$program" ] || ! has $kind; then
                echo "SKIP $kind, $type, $way: not on this machine"
                skipped=$((skipped + 1))
            elif found=$(sum "$program" "${options[@]}") && [ "$found" = "$expected" ]; then
                passed=$((passed + 1))
            else
                failed=$((failed + 1))
                echo "$kind, $type, $way: other bits than $folder/mole: compare traces of the two with mole compare"
            fi
        done
    done
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
