#!/bin/sh
# breaks.sh - break the code on purpose, one small change at a time, and see which test says so.
#
#   scripts/breaks.sh [-a] [-j JOBS] [-d DIR] [-o FILE] [NAME...]
#
# NAME     breaks, or whole lists (ops, mole, ...), of tests/breaks; default: all
# -a       ask every test program, not only until the first that fails
# -j JOBS  compilers and programs at a time (default: cores)
# -d DIR   a copy of the tree is broken and built there (default build/breaks)
# -o FILE  the table for people is written there (default docs/breaks.md when all breaks run)
# -n       only look whether every break still applies
#
# For each break: patch one file of the copy, rebuild what depends on it, run test programs in both
# number types (those that the break names, then its room's, then all others) until one fails, put the
# file back. Programs that fail on the unbroken copy are not asked. Status: 0 when every break is caught
# in every number type it is a break in; 1 when one survives, no longer applies or does not compile, or
# when a program fails without any break.
set -u
cd "$(dirname "$0")/.." || exit 1

all=0 jobs=$(nproc 2>/dev/null || echo 2) dir=build/breaks page='' only_apply=0
while getopts aj:d:no: option; do
    case $option in
        a) all=1 ;;
        j) jobs=$OPTARG ;;
        d) dir=$OPTARG ;;
        n) only_apply=1 ;;
        o) page=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || [ -n "$page" ] || page=docs/breaks.md

unset MAKEFLAGS MAKELEVEL
breaks() { # breaks MODE [-v NAME=VALUE]...: see scripts/breaks.awk
    mode=$1
    shift
    LC_ALL=C awk -v mode="$mode" "$@" -f scripts/breaks.awk tests/breaks/*.txt
}

list=$(breaks list) || exit 1
for wanted; do
    echo "$list" | awk -v w="$wanted" '$1 == w || $2 == w { found = 1 } END { exit !found }' || {
        echo "breaks.sh: no break or list '$wanted' in tests/breaks" >&2
        exit 2
    }
done
if [ $# -gt 0 ]; then
    list=$(echo "$list" | awk -v wanted=" $* " 'index(wanted, " " $1 " ") || index(wanted, " " $2 " ")')
fi

stale=0
while read -r name _ file _; do
    breaks apply -v name="$name" -v source="$file" >/dev/null || stale=$((stale + 1))
done <<END
$list
END
[ $stale = 0 ] || { echo "$stale breaks do not apply: bring tests/breaks up to date" >&2; exit 1; }
[ $only_apply = 0 ] || exit 0

# ---- the copy ------------------------------------------------------------------------------------

tree=$dir/tree
mkdir -p "$tree" || exit 1
make_tree() { # make_tree TARGET...
    make -C "$tree" --no-print-directory -j "$jobs" "$@" >"$dir/make.log" 2>&1
}
for entry in * .ci .clang*; do
    case $entry in
        golden) ln -sfn "$PWD/golden" "$tree/golden" ;;
        build | out) ;;
        *)
            rm -rf "${tree:?}/$entry"
            cp -Rp "$entry" "$tree"
            ;;
    esac
done
# shellcheck disable=SC2016 # for make
out=$(printf 'include Makefile\nwhere:\n\t@echo $(OUT)\n' | make -s -C "$tree" -f - where) || exit 1

# What an interrupted run has broken is compiled anew.
clean_objects() { # clean_objects FILE
    for type in f32 f64; do rm -f "$tree/$out/$type/${1%.c}.o"; done
}
[ ! -f "$dir/broken" ] || clean_objects "$(cat "$dir/broken")"

# tests/api looks at what is installed, which is not rebuilt for every break.
tests=$(cd tests && find . -name 'test_*.c' ! -path './api/*' | sed 's/^\.\///; s/\.c$//' | LC_ALL=C sort)
# The failed cases of one program, "TYPE TEST CASE" a line: all with -a, else the first, after which
# nobody listens and the program ends at its next line. A case without a result is a crash.
run_one() { # run_one TYPE
    (
        cd "$tree" || exit
        export MOLE="$out/mole" MOLE_F64="$out/mole-f64" CMOCKA_MESSAGE_OUTPUT=STDOUT
        export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
        timeout -k 5 120 stdbuf -oL "$out/$1/tests/$test" 2>&1 </dev/null
    ) | LC_ALL=C awk -v all="$all" -v prefix="$1 $test " '
        /^\[==========\] .* run\.$/ { running = ""; exit }
        match($0, /\[ RUN      \] /) { running = substr($0, RSTART + RLENGTH); next }
        match($0, /\[       OK \] |\[  SKIPPED \] /) { running = "" }
        match($0, /\[  FAILED  \] /) {
            print prefix substr($0, RSTART + RLENGTH)
            running = ""
            if (!all) exit
        }
        END { if (running != "") print prefix running " (crashed)" }'
}
run() { # run TYPE...
    for type; do run_one "$type" >"$dir/cases.$type" & done
    wait
    for type; do cat "$dir/cases.$type"; done
}

stamp=$({ echo "$out"; find Makefile ref tests scripts/run_tests.sh golden -type f ! -path '*/breaks/*' \
    -exec cksum {} +; } | cksum)
if [ "$stamp" != "$(cat "$dir/sound" 2>/dev/null)" ]; then
    echo "the code as it is:"
    rm -f "$dir/sound"
    make_tree all tests || { tail -n 20 "$dir/make.log"; exit 1; }
    make -C "$tree" --no-print-directory JOBS="$jobs" run-tests >"$dir/run.log" 2>&1
    grep '^[0-9]* passed, [0-9]* failed' "$dir/run.log" || { tail -n 20 "$dir/run.log"; exit 1; }
    sed -n 's|^FAIL f../tests/\([^ ]*\) .*|\1|p' "$dir/run.log" | sort -u >"$dir/unsound"
    echo "$stamp" >"$dir/sound"
else
    make_tree all tests || { tail -n 20 "$dir/make.log"; exit 1; }
fi
# A program that fails without any break says nothing about one.
unsound=$(cat "$dir/unsound" 2>/dev/null)
if [ -n "$unsound" ]; then
    echo "not asked, because they fail without any break:" "$unsound"
    tests=$(echo "$tests" | grep -v -x -F -f "$dir/unsound")
fi

# ---- the breaks ----------------------------------------------------------------------------------

# The programs in the order in which they are asked, the slow ones last.
slow='^verify/test_runs\|^verify/test_compare\|^cli/\|^mole/test_layers\|^pipeline/test_memory'
ordered() { # ordered ROOM TEST...
    room=$1
    shift
    {
        for test; do echo "$test"; done
        echo "$tests" | grep "^$room/" | grep -v -e "$slow"
        echo "$tests" | grep -v -e "$slow"
        echo "$tests"
    } | awk '!seen[$0]++'
}

ask() { # ask: the tests one by one; lines "TYPE TEST CASE" go to $dir/caught
    : >"$dir/caught"
    wanted=$types
    for test in $order; do
        case $test in
            cli/*) make_tree "$out/mole" "$out/mole-f64" || return 1 ;;
        esac
        targets=''
        for type in $wanted; do targets="$targets $out/$type/tests/$test"; done
        # shellcheck disable=SC2086 # lists
        make_tree $targets || return 1
        # shellcheck disable=SC2086
        run $wanted >>"$dir/caught"
        [ $all = 0 ] || continue
        left=''
        for type in $wanted; do grep -q "^$type " "$dir/caught" || left="$left $type"; done
        wanted=$left
        [ -n "$wanted" ] || return 0
    done
}

# What was found out about the same break of the same code by the same tests is not asked again.
mkdir -p "$dir/done"
results=$dir/results
: >"$results"
survived=0 number=0 total=$(echo "$list" | wc -l)
begin=$(date +%s)
while read -r name room file only hints; do
    number=$((number + 1))
    key=$({ echo "$stamp $all $hints"; breaks apply -v name="$name" -v source="$file"; } | cksum)
    if [ "$key" = "$(head -n 1 "$dir/done/$name" 2>/dev/null)" ]; then
        sed "1d; s|^|$name |" "$dir/done/$name" >>"$results"
        continue
    fi
    echo "$file" >"$dir/broken"
    for type in f32 f64; do cp -p "$tree/$out/$type/${file%.c}.o" "$dir/$type.o"; done
    breaks apply -v name="$name" -v source="$file" >"$tree/$file" || exit 1
    types='f32 f64'
    [ "$only" = both ] || types=$only
    place=${file#ref/}
    # shellcheck disable=SC2086 # a list of tests
    order=$(ordered "${place%%/*}" $hints | grep -v -x -F -f "$dir/unsound")
    if ask; then
        missed=''
        for type in $types; do grep -q "^$type " "$dir/caught" || missed="$missed $type"; done
        verdict=${missed:+SURVIVES in$missed}
        verdict=${verdict:-caught}
    else
        verdict='DOES NOT COMPILE'
        tail -n 20 "$dir/make.log"
    fi
    if [ "$verdict" = caught ]; then
        { echo "$key"; cat "$dir/caught"; } >"$dir/done/$name"
    else
        survived=$((survived + 1))
    fi
    cp -p "$file" "$tree/$file"
    for type in f32 f64; do
        cp "$dir/$type.o" "$tree/$out/$type/${file%.c}.o"
    done
    rm -f "$dir/broken"
    sed "s|^|$name |" "$dir/caught" >>"$results"
    printf '%3d/%d  %-18s %-34s %s\n' "$number" "$total" "$verdict" "$name" \
        "$(awk '{ by = $2 " " $3; if (!(by in t)) order[++n] = by
                  if (index(t[by], $1) == 0) t[by] = t[by] " " $1 }
                END { for (i = 1; i <= n && i <= 2; i++) printf "%s%s:%s", (i > 1 ? ", " : ""), order[i], t[order[i]]
                      if (n > 2) printf " and %d more", n - 2 }' "$dir/caught")"
done <<END
$list
END
echo "$number breaks, $survived not caught, $((($(date +%s) - begin + 59) / 60)) min"

# ---- the page ------------------------------------------------------------------------------------

if [ -n "$page" ] && [ $survived = 0 ]; then
    {
        sed -n '/^<!-- breaks -->/q; p' docs/breaks.md
        echo "<!-- breaks -->"
        for room in $(echo "$list" | awk '!seen[$2]++ { print $2 }'); do
            printf '\n## %s\n\n' "$room"
            echo "| break | what was changed | where | caught by |"
            echo "|---|---|---|---|"
            echo "$list" | awk -v room="$room" '$2 == room { print $1, $3, $4 }' |
                while read -r name file only; do
                    about=$(breaks show -v name="$name" -v key=about)
                    field=$(breaks show -v name="$name" -v key=field)
                    why=$(breaks show -v name="$name" -v key=only)
                    by=$(awk -v name="$name" '$1 == name {
                             by = "`" $3 "` " $4 ($5 ? " " $5 : ""); if (!(by in t)) order[++n] = by; t[by]++ }
                         END { for (i = 1; i <= n; i++) printf "%s%s", (i > 1 ? "; " : ""), order[i] }' \
                        "$results")
                    [ "$only" = both ] || about="$about (${only} only: ${why#"$only" })"
                    [ -z "$field" ] || about="$about. Seen: $field"
                    echo "| $name | $about | \`${file#ref/}\` | $by |"
                done
        done
    } >"$dir/page" && cp "$dir/page" "$page" && echo "$page"
fi
[ $survived = 0 ] && [ -z "$unsound" ]
