#!/bin/sh
# puzzle.sh - a wrong port without its name (chapter 11): what `mole compare` says of it, but for the cause.
#
#   docs/course/puzzle.sh N        N from 1 to 12; the trace is out/docs/puzzle-N.safetensors, the whole report .txt
#
# Whoever reads on sees the answers.
set -e
command -v mole >/dev/null || { echo "puzzle.sh: no program 'mole' on PATH" >&2; exit 1; }
root=${0%/*}/../..
answer() {
    cat <<'ANSWERS'
1 run-5-mole image-not-shifted
2 text-encoder linear-not-transposed
3 unet-step conv-kernel-ohwi
4 unet-step geglu-halves
5 vae-decode upsample-bilinear
6 unet-step attention-out-bias
7 unet-step phi-rows-swapped
8 text-encoder clip-skip
9 unet-step-plain downsample-asymmetric
10 unet-step rank-of-first-layer
11 unet-step geglu-tanh
12 run-5-mole-48x40 randn-tail
ANSWERS
}
set -- "$1" "$(answer | awk -v n="$1" '$1 == n { print $2 }')" "$(answer | awk -v n="$1" '$1 == n { print $3 }')"
[ -n "$2" ] || { echo "puzzle.sh: takes a number from 1 to 12" >&2; exit 2; }
report=out/docs/puzzle-$1.txt
if [ -s "$report" ] && [ -z "$(find "$root/tests/port" "$(command -v mole)" -type f -newer "$report" ! -name '*.pyc')" ]; then # seen before
    exec grep -E '^(verdict|culprit|  after)' "$report"
fi
mkdir -p out/docs
"$root/scripts/with_numpy.sh" "$root/tests/port/port.py" --case "golden/runs/$2" --case-taps --mutant "$3" \
    --dump "out/docs/puzzle-$1.safetensors" 2>/dev/null
mole compare "golden/runs/$2" "out/docs/puzzle-$1.safetensors" >"$report" || :
grep -E '^(verdict|culprit|  after)' "$report"
