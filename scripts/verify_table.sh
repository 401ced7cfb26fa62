#!/bin/sh
# verify_table.sh - every golden run, every way: how far from PyTorch in float64, how far in float32.
#
#   scripts/verify_table.sh [-c FOLDER] f64|f32|rows    (`mole` on PATH; from the root of the repository)
#
# f64   worst error of each case (worst |difference| / max |truth|), eight ways, and the share of the bound
# f32   error in units of PyTorch's own float32 error, eight ways: "median / worst / small", where worst is
#       over taps of at least 16 numbers and small is that of the smaller ones taken together
# rows  the worst single taps of all, small ones too; a tap stands once, with the worst of its ways
# -c    keep what was run in FOLDER, and take it from there
#
# Cases of fingerprints are left out: they hold no truth to put in place, and tests/compare/test_runs runs them.
# Of float32 those with gates rounded to bfloat16 are too: of many thousands some round the other way.
#
# Markdown. Status 1 when `mole verify` finds a case out of bounds: float64 1e-11 running free (1e-9 after
# 50 steps) and 1e-12 with each module on true inputs; float32 ratio 2 with BLAS, 1 with plain loops.
set -u

cache=''
if [ "${1:-}" = -c ] && [ $# -ge 2 ]; then
    cache=$2
    shift 2
    mkdir -p "$cache" || exit 1
fi
case ${1:-} in
    f64 | f32 | rows) what=$1 ;;
    *) echo "usage: scripts/verify_table.sh [-c FOLDER] f64|f32|rows" >&2; exit 2 ;;
esac
command -v mole >/dev/null || { echo "verify_table.sh: no program 'mole' on PATH" >&2; exit 1; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# One line per tap: precision way form mode case, then error, rel rms, ratio, numbers, tap;
# one line per case: the same five, then "case" median worst small.
run() { # run PRECISION WAY FORM MODE
    forced=''
    [ "$4" = free ] || forced=--forced
    for folder in golden/runs/*; do
        ! grep -q '"kind": "fingerprint"' "$folder/manifest.json" || continue
        [ "$1" = f64 ] || ! grep -q '"bf16-gates"' "$folder/manifest.json" || continue
        bound=''
        [ "$1-$4" != f64-free ] || case $folder in *-50-*) bound='--bound 1e-9' ;; esac
        # shellcheck disable=SC2086 # options
        mole verify --precision "$1" --matmul "$2" --mole "$3" $forced $bound --all "$folder" ||
            echo "verify_table.sh: $* $folder: status $?" >>"$work/failed"
    done | LC_ALL=C awk -v ways="$1 $2 $3 $4" '
        /^(agrees|DIFFERS)/ {
            name = $2
            sub(/:$/, "", name)
            median = worst = small = "-"
            if (match($0, /ratio median [0-9.]+/)) median = substr($0, RSTART + 13, RLENGTH - 13)
            if (match($0, /, worst [0-9.]+/)) worst = substr($0, RSTART + 8, RLENGTH - 8)
            if (match($0, /together [0-9.]+/)) small = substr($0, RSTART + 9, RLENGTH - 9)
            print ways, name, "case", median, worst, small
        }
        /^ +[0-9]/ { print ways, name, $1, $2, $3, $4, $5 }' >>"$work/taps-$1"
}

for precision in f64 f32; do
    [ $precision = "$what" ] || [ "$what" = rows ] || continue
    if [ -n "$cache" ] && [ -f "$cache/taps-$precision" ]; then
        cp "$cache/taps-$precision" "$work"
        continue
    fi
    for mode in free forced; do
        for way in blas plain; do
            for form in direct stacked; do run $precision $way $form $mode; done
        done
    done
    if [ -s "$work/failed" ]; then
        cat "$work/failed" >&2
        exit 1
    fi
    [ -z "$cache" ] || cp "$work/taps-$precision" "$cache"
done

LC_ALL=C awk -v what="$what" '
function column(way, form, mode) { return way " " form " " mode }
BEGIN {
    n = 0
    split("blas direct free,blas stacked free,plain direct free,plain stacked free," \
          "blas direct forced,blas stacked forced,plain direct forced,plain stacked forced", way, ",")
}
{
    name = $5
    key = name SUBSEP column($2, $3, $4)
    if (!(name in seen)) { seen[name] = 1; order[++n] = name }
}
$6 == "case" { summary[key] = $7 " / " $8 " / " $9; next }
{
    if (!(key in error) || $6 + 0 > error[key] + 0) error[key] = $6
    list = $1 == "f64" ? "f64" : $2
    value = $1 == "f64" ? $6 : $8
    tap = $10
    sub(/^step\.[0-9]+/, "step.NNN", tap)
    id = list SUBSEP name SUBSEP tap
    if (!(id in greatest)) ids[list, ++length_of[list]] = id
    if (!(id in greatest) || value + 0 > greatest[id]) { greatest[id] = value + 0; row[id] = $0 }
}
function head(mode,   i) {
    printf "\n| case |"
    for (i = 1; i <= 8; i++) if (index(way[i], mode)) printf " %s |", substr(way[i], 1, index(way[i], mode) - 2)
    print (what == "f64" ? " bound | used |" : "")
    printf "|---|"
    for (i = 1; i <= (what == "f64" ? 6 : 4); i++) printf "---|"
    print ""
}
function table(mode,   c, i, worst, bound) {
    head(mode)
    for (c = 1; c <= n; c++) {
        printf "| %s |", order[c]
        worst = 0
        for (i = 1; i <= 8; i++) {
            if (!index(way[i], mode)) continue
            key = order[c] SUBSEP way[i]
            if (error[key] + 0 > worst) worst = error[key] + 0
            printf " %s |", what == "f64" ? error[key] : summary[key]
        }
        bound = mode == "forced" ? "1e-12" : order[c] ~ /-50-/ ? "1e-9" : "1e-11"
        print (what == "f64" ? " " bound " | " sprintf("%.3f", 100 * worst / bound) " % |" : "")
    }
}
# The rows of greatest value, of which each tap has one.
function top(list, most,   k, i, at, f, id) {
    for (k = 1; k <= most; k++) {
        at = ""
        for (i = 1; i <= length_of[list]; i++) {
            id = ids[list, i]
            if (!(id in used) && (at == "" || greatest[id] > greatest[at])) at = id
        }
        used[at] = 1
        split(row[at], f, " ")
        printf "| %s | %s`%s` | `%s, %s, %s` | `%s` | `%s` |\n", f[6], list == "f64" ? "" : f[8] " | ",
            f[9], f[2], f[3], f[4], f[5], f[10]
    }
}
END {
    if (what != "rows") {
        print "\nRunning free:"
        table("free")
        print "\nEach module on true inputs:"
        table("forced")
        exit
    }
    print "\nfloat64:\n\n| error | numbers | how | case | tap |\n|---|---|---|---|---|"
    top("f64", 8)
    print "\nfloat32 with BLAS:\n\n| error | ratio | numbers | how | case | tap |\n|---|---|---|---|---|---|"
    top("blas", 8)
    print "\nfloat32 with plain loops:\n\n| error | ratio | numbers | how | case | tap |\n|---|---|---|---|---|---|"
    top("plain", 8)
}' "$work"/taps-*
echo
