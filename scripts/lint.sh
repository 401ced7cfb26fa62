#!/bin/sh
# lint.sh - what a reviewer should not have to say. Every finding is an error.
#
#   scripts/lint.sh [-j JOBS] -l LIBRARY -- FLAGS...    check (LIBRARY: libmole-f32.a of this tree)
#   scripts/lint.sh -f                                  lay out the code
#
# 1. clang-format: layout, by .clang-format
# 2. shellcheck on the scripts
# 3. rules of the house: includes go down the list of rooms, and no files include each other in a circle;
#    nothing calls a function of libm whose last bit is libm's own choice (core/fmath.h has them), matmul_blas.c
#    alone calls BLAS; no file over 500 lines, no tabs, no line over 110 columns (code ends at 100 by clang-format, which leaves comments alone)
# 4. clang-tidy: static analysis, by .clang-tidy
set -u

version=14 # the layout differs between versions, and so do the checks
jobs=2 library='' format=0
while getopts j:l:f option; do
    case $option in
        j) jobs=$OPTARG ;;
        l) library=$OPTARG ;;
        f) format=1 ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))

status=0
fail() {
    status=1
    echo "lint: $*"
}

tool() { # tool clang-format: the pinned version if it is here, else the system's
    if command -v "$1-$version" >/dev/null 2>&1; then
        echo "$1-$version"
    else
        echo "$1"
    fi
}

sources=$(find ref tests -name '*.[ch]' | sort)
clang_format=$(tool clang-format)

if [ $format = 1 ]; then
    # shellcheck disable=SC2086 # a list of files
    exec "$clang_format" -i $sources
fi

if "$clang_format" --version | grep -q "version $version\."; then
    # shellcheck disable=SC2086
    "$clang_format" --dry-run -Werror $sources || fail "layout (make format mends it)"
else
    echo "SKIP layout: $("$clang_format" --version); the layout is that of version $version"
fi

shellcheck scripts/*.sh tests/*/*.sh docs/course/*.sh .ci/run || fail "shellcheck"

# The rooms, top to bottom, of which each may include itself and those after it.
# shellcheck disable=SC2086
awk -v order="cli bench report compare causes golden trace api xray sheet pipeline sampler model prompt mole ops io core" '
    BEGIN { n = split(order, room, " "); for (i = 1; i <= n; i++) rank[room[i]] = i }
    FILENAME !~ /^ref\// { next }
    match($0, /^#include "[a-z]+\//) {
        split(FILENAME, path, "/")
        to = substr($0, 11, RLENGTH - 11)
        if (!(path[2] in rank)) { print FILENAME ": room " path[2] " is not on the map"; bad = 1 }
        else if (!(to in rank)) { print FILENAME ":" FNR ": no room " to; bad = 1 }
        else if (rank[to] < rank[path[2]]) {
            print FILENAME ":" FNR ": " path[2] " includes " to ", which is above it"
            bad = 1
        }
    }
    END { exit bad }' $sources /dev/null || fail "includes go down the list of rooms, never up"

# X.c, X.h and X_internal.h, which belongs to the files of X alone, are one file here. Files that include
# nothing which is left, and files that nothing left includes, are taken away until none goes: what remains
# is circles and what lies between them.
# shellcheck disable=SC2086
awk '
    function stem(path) { sub(/^ref\//, "", path); sub(/(_internal)?\.[ch]$/, "", path); return path }
    FILENAME !~ /^ref\// { next }
    /^#include "/ {
        split($0, part, "\"")
        from = stem(FILENAME); to = stem(part[2])
        if (from != to) edge[from, to] = FILENAME ":" FNR ": in a circle: " $0
    }
    END {
        do {
            split("", out); split("", in_) # how many edges leave and enter each
            for (e in edge) { split(e, end, SUBSEP); out[end[1]]++; in_[end[2]]++ }
            gone = 0
            for (e in edge) {
                split(e, end, SUBSEP)
                if (!(end[2] in out) || !(end[1] in in_)) { delete edge[e]; gone = 1 }
            }
        } while (gone)
        for (e in edge) { print edge[e]; bad = 1 }
        exit bad
    }' $sources /dev/null || fail "files include each other in a circle"

# shellcheck disable=SC2086
LC_ALL=C awk 'FNR == 501 { print FILENAME ": more than 500 lines"; bad = 1 }
     /\t/ { print FILENAME ":" FNR ": tab"; bad = 1 }
     { line = $0; gsub(/[\200-\277]/, "", line)
       if (length(line) > 110) { print FILENAME ":" FNR ": more than 110 columns"; bad = 1 } }
     END { exit bad }' $sources /dev/null || fail "form of the files"

# calls OBJECT PATTERN: undefined symbols that only OBJECT may have.
calls() {
    nm -A -u "$library" | awk -v object="$1" -v pattern="^($2)\$" '
        { n = split($1, at, ":"); symbol = $NF; sub(/@.*/, "", symbol)
          if (symbol ~ pattern && at[2] != object) { print at[2] " calls " symbol; bad = 1 } }
        END { exit bad }' || fail "only $1 may"
}
if [ -n "$library" ]; then
    # What is left of libm is exact by definition: sqrt, fma, rint, ldexp ...
    of_its_own='exp|exp2|exp10|expm1|log|log2|log10|log1p|pow|cbrt|hypot|(sin|cos|tan)h?|a(sin|cos|tan)h?|atan2|sincos'
    calls 'no object' "($of_its_own|erf|erfc|[lt]?gamma|j0|j1|jn|y0|y1|yn)[fl]?"
    calls matmul_blas.o 'cblas_.*|[sd]gem[mv]_'
fi

echo "clang-tidy: $(echo "$sources" | grep -c '\.c$') files"
clang_tidy=$(tool clang-tidy)
# One file per call: version 14 takes every va_list of a second file for uninitialised. Its count of
# suppressed warnings in system headers is no finding.
# shellcheck disable=SC2016 # expanded by the inner shell
echo "$sources" | grep '\.c$' | tr '\n' '\0' |
    xargs -0 -P "$jobs" -n 1 sh -c '
        tidy=$0 flags=$1; shift
        said=$("$tidy" --quiet "$@" -- $flags 2>&1) && exit 0
        echo "$said" | grep -a -v "warnings* generated"
        exit 1' "$clang_tidy" "$*" || fail "clang-tidy"

[ $status = 0 ] && echo "lint: clean"
exit $status
