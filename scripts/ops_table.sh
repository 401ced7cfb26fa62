#!/bin/sh
# ops_table.sh - every operation against PyTorch: the worst call of each.
#
#   scripts/ops_table.sh        (test programs in $MOLE_BUILD, build/cc by default: make tests)
#
# Reads what tests/ops/test_golden and tests/mole/test_mole print. Columns: calls; worst error in float64
# (worst |difference| / max |truth|); float32 error in units of PyTorch's own, with BLAS and with plain loops
# (one column counts where an operation multiplies no matrices). Status 1 when a test fails.
set -u

build=${MOLE_BUILD:-build/cc}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
for precision in f64 f32; do
    for test in ops/test_golden mole/test_mole; do
        "$build/$precision/tests/$test" >"$work/log" 2>&1 ||
            { echo "ops_table.sh: $build/$precision/tests/$test: status $?" >&2; exit 1; }
        sed "s/^/$precision /" "$work/log" >>"$work/lines"
    done
done
echo
LC_ALL=C awk '
# "f64      linear/wide, plain out (2, 4, 40): max ..., 0.0591% of 1e-12", "..., 0.11 of PyTorch'"'"'s error, ..."
$2 ~ /^[a-z0-9_]+\// && / rel rms / {
    op = $2
    sub(/\/.*/, "", op)
    if (!(op in seen)) { seen[op] = 1; order[++n] = op }
    call = op SUBSEP $2
    sub(/,$/, "", call)
    if (!(call in calls)) { calls[call] = 1; count[op]++ }
    way = index($0, ", plain ") ? "plain" : index($0, ", BLAS ") ? "BLAS" : "either"
    if ($1 == "f64" && match($0, /[0-9.e+-]+% of 1e-12/)) {
        error = substr($0, RSTART, RLENGTH - 10) * 1e-14
        if (error > worst[op]) worst[op] = error
    }
    if ($1 == "f32" && match($0, /[0-9.e+-]+ of PyTorch/)) {
        ratio = substr($0, RSTART, RLENGTH - 11) + 0
        if (ratio > most[op, way]) most[op, way] = ratio
        has[op, way] = 1
    }
}
function cell(op, way) { return has[op, way] ? sprintf("%.2f", most[op, way]) : "" }
END {
    print "| operation | calls | float64 error | float32 ratio, BLAS | plain |\n|---|---|---|---|---|"
    for (i = 1; i <= n; i++) {
        op = order[i]
        plain = has[op, "either"] ? cell(op, "either") : cell(op, "plain")
        printf "| %s | %d | %.1e | %s | %s |\n", op, count[op], worst[op], cell(op, "BLAS"), plain
    }
}' "$work/lines"
echo
