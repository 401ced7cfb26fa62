#!/bin/sh
# wrong.sh - a wrong port of the gallery (docs/mutants.md), and what `mole compare` says of it.
#
#   docs/course/wrong.sh MUTANT      the port in tests/port with that mistake, on the golden case that shows it
#
# `mole` has to be on PATH. Trace and report stay in out/docs/MUTANT.safetensors and .txt, and are used again while
# they are newer than the port.
set -e
command -v mole >/dev/null || { echo "wrong.sh: no program 'mole' on PATH" >&2; exit 1; }
root=${0%/*}/../..
trace=out/docs/$1.safetensors report=out/docs/$1.txt
wanted='^(verdict|culprit|  cause|  after)'
if [ -s "$report" ] && [ -z "$(find "$root/tests/port" "$(command -v mole)" -type f -newer "$report" ! -name '*.pyc')" ]; then
    exec grep -E "$wanted" "$report"
fi
case=$("$root/scripts/with_numpy.sh" "$root/tests/port/port.py" --list-mutants --json | awk -v name="\"$1\"," '
    $1 == "\"name\":" { here = $2 == name }
    here && $1 == "\"case\":" { gsub(/[",]/, "", $2); print $2 }')
[ -n "$case" ] || { echo "wrong.sh: no wrong port $1" >&2; exit 2; }
mkdir -p out/docs
"$root/scripts/with_numpy.sh" "$root/tests/port/port.py" --case "golden/runs/$case" --case-taps --mutant "$1" \
    --dump "$trace" 2>/dev/null
mole compare "golden/runs/$case" "$trace" >"$report" || :
grep -E "$wanted" "$report"
