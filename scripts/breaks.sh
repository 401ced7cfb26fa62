#!/bin/sh
# breaks.sh - break the code on purpose, one small change at a time, and see which test says so.
#
#   scripts/breaks.sh [-afnpr] [-j JOBS] [-d DIR] [-o FILE] [NAME...]
#
# NAME     breaks, or whole lists (ops, mole, ...), of tests/breaks; default: all
# -a       ask every test program, not only until the first that fails
# -j JOBS  compilers and programs at a time (default: cores)
# -d DIR   a copy of the tree is broken and built there (default build/breaks)
# -o FILE  the table for people is written there (default docs/breaks.md when all breaks run)
# -n       only look whether every break still applies
# -r       quick: ask only the test programs that a break names and those of its room
# -f       ask anew what is known already
# -p       ask nothing: write the page of what is known in DIR and what the page itself says so far
#
# For each break: patch one file of the copy, rebuild what depends on it, run test programs in both
# number types (those that the break names, then its room's, then all others) until one fails, put the
# file back. A program that says so must pass on the unbroken copy; one that does not is not asked again.
# A result is kept for as long as the broken file, the break and the program that caught it (with golden
# data and what tests share) stay the same. CFLAGS is passed on: CFLAGS=-O2 builds faster.
# Status: 0 when every break is caught in every number type it is a break in; 1 when one survives, no
# longer applies or does not compile, or when a program fails without any break.
set -u
cd "$(dirname "$0")/.." || exit 1

all=0 jobs=$(nproc 2>/dev/null || echo 2) dir=build/breaks page='' only_apply=0 room_only=0 fresh=0
ask=1
while getopts aj:d:no:rfp option; do
    case $option in
        a) all=1 ;;
        j) jobs=$OPTARG ;;
        d) dir=$OPTARG ;;
        n) only_apply=1 ;;
        r) room_only=1 ;;
        f) fresh=1 ;;
        p) ask=0 ;;
        o) page=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || [ -n "$page" ] || page=docs/breaks.md
[ $ask = 1 ] || fresh=0 # what is known is all there is

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
    [ $ask = 1 ] || break
    case $entry in
        golden) ln -sfn "$PWD/golden" "$tree/golden" ;;
        build | out) ;;
        *)
            rm -rf "${tree:?}/$entry"
            cp -Rp "$entry" "$tree"
            ;;
    esac
done
out=''
# shellcheck disable=SC2016 # for make
[ $ask = 0 ] || out=$(printf 'include Makefile\nwhere:\n\t@echo $(OUT)\n' |
    make -s -C "$tree" -f - where) || exit 1

# What an interrupted run has broken is compiled anew.
clean_objects() { # clean_objects FILE
    for type in f32 f64; do rm -f "$tree/$out/$type/${1%.c}.o"; done
}
[ $ask = 0 ] || [ ! -f "$dir/broken" ] || clean_objects "$(cat "$dir/broken")"

# tests/api looks at what is installed, which is not rebuilt for every break.
tests=$(cd tests && find . -name 'test_*.c' ! -path './api/*' | sed 's/^\.\///; s/\.c$//' | LC_ALL=C sort)
needs_program() { # needs_program TEST: does it run the command?
    grep -q '"MOLE\|program\.h"\|compare_made\.h"\|mole_says\.h"' "tests/$1.c"
}
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

# What every result depends on; to it come the break, the broken file and the program that caught it.
stamp=$({ echo "$all"; find tests golden -type f ! -path '*/breaks/*' ! -name 'test_*.c' \
    ! -name '*.py' ! -name '*.md' -exec cksum {} + | LC_ALL=C sort; } | cksum)
mkdir -p "$dir/done" "$dir/sound" || exit 1
code=$({ echo "$stamp"; find Makefile ref -type f -exec cksum {} + | LC_ALL=C sort; } | cksum)
touch "$dir/unsound"

# A program that fails without any break says nothing about one. Programs are looked at when they first
# catch something: sound TYPE TEST, in the unbroken tree.
sound() {
    mark=$dir/sound/$1.$(echo "$2" | tr / .)
    mine=$({ echo "$code"; cat "tests/$2.c"; } | cksum)
    [ "$mine" != "$(cat "$mark" 2>/dev/null)" ] || return 0
    ! needs_program "$2" || make_tree "$out/mole" "$out/mole-f64" || return 1
    make_tree "$out/$1/tests/$2" || return 1
    test=$2
    [ -z "$(run_one "$1")" ] || return 1
    echo "$mine" >"$mark"
}

# ---- the breaks ----------------------------------------------------------------------------------

# The programs in the order in which they are asked, the slow ones last.
slow='^compare/\|^cli/\|^mole/test_layers\|^pipeline/test_memory'
ordered() { # ordered ROOM TEST...
    room=$1
    shift
    {
        for test; do echo "$test"; done
        echo "$tests" | grep "^$room/" | grep -v -e "$slow"
        echo "$tests" | grep -v -e "$slow"
        echo "$tests"
    } | awk -v quick="$room_only" -v hints=$# -v room="$room/" \
        '(!quick || NR <= hints || index($0, room) == 1) && !seen[$0]++'
}

ask() { # ask: the tests one by one; lines "TYPE TEST CASE" go to $dir/caught
    : >"$dir/caught"
    wanted=$types
    for test in $order; do
        ! needs_program "$test" || make_tree "$out/mole" "$out/mole-f64" || return 1
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

# The key of a result: the break, the broken file, the programs that caught it.
key_of() { # key_of NAME FILE <"TYPE TEST CASE" lines
    {
        echo "$stamp"
        breaks apply -v name="$1" -v source="$2"
        awk '!seen[$2]++ { print $2 }' | while read -r test; do cksum <"tests/$test.c"; done
    } | cksum
}
is_known() { # is_known NAME FILE
    [ $fresh = 0 ] && [ -f "$dir/done/$1" ] || return 1
    sed 1d "$dir/done/$1" >"$dir/known"
    [ "$(head -n 1 "$dir/done/$1")" = "$(key_of "$1" "$2" <"$dir/known" 2>/dev/null)" ]
}
break_it() { # break_it NAME FILE TYPES HINTS: verdict
    types=$3
    place=${2#ref/}
    # shellcheck disable=SC2086 # a list of tests
    order=$(ordered "${place%%/*}" $4 | grep -v -x -F -f "$dir/unsound")
    echo "$2" >"$dir/broken"
    breaks apply -v name="$1" -v source="$2" >"$tree/$2" || exit 1
    if ask; then
        missed=''
        for type in $types; do grep -q "^$type " "$dir/caught" || missed="$missed $type"; done
        verdict=${missed:+SURVIVES in$missed}
        verdict=${verdict:-caught}
    else
        verdict='DOES NOT COMPILE'
        tail -n 20 "$dir/make.log"
    fi
    cp -p "$2" "$tree/$2"
    for type in f32 f64; do
        cp "$dir/$type.o" "$tree/$out/$type/${2%.c}.o"
    done
    rm -f "$dir/broken"
}

: >"$dir/unsound"
results=$dir/results
: >"$results"
survived=0 number=0 unknown=0 total=$(echo "$list" | wc -l)
begin=$(date +%s)
while read -r name room file only hints; do
    number=$((number + 1))
    if is_known "$name" "$file"; then
        sed "s|^|$name |" "$dir/known" >>"$results"
        continue
    fi
    if [ $ask = 0 ]; then
        unknown=$((unknown + 1))
        continue
    fi
    types='f32 f64'
    [ "$only" = both ] || types=$only
    targets=''
    for type in f32 f64; do targets="$targets $out/$type/${file%.c}.o"; done
    # shellcheck disable=SC2086 # a list
    make_tree $targets || { tail -n 20 "$dir/make.log"; exit 1; }
    for type in f32 f64; do cp -p "$tree/$out/$type/${file%.c}.o" "$dir/$type.o"; done
    while :; do
        break_it "$name" "$file" "$types" "$hints"
        [ "$verdict" = caught ] || break
        fails=''
        while read -r type by _; do
            sound "$type" "$by" || { fails=$by; echo "$by" >>"$dir/unsound"; }
        done <<UNTIL
$(cat "$dir/caught")
UNTIL
        [ -n "$fails" ] || break
        echo "not asked, because it fails without any break: $fails"
    done
    if [ "$verdict" = caught ]; then
        { key_of "$name" "$file" <"$dir/caught"; cat "$dir/caught"; } >"$dir/done/$name"
    else
        survived=$((survived + 1))
    fi
    sed "s|^|$name |" "$dir/caught" >>"$results"
    printf '%3d/%d  %-18s %-34s %s\n' "$number" "$total" "$verdict" "$name" \
        "$(awk '{ by = $2 " " $3; if (!(by in t)) order[++n] = by
                  if (index(t[by], $1) == 0) t[by] = t[by] " " $1 }
                END { for (i = 1; i <= n && i <= 2; i++) printf "%s%s:%s", (i > 1 ? ", " : ""), order[i], t[order[i]]
                      if (n > 2) printf " and %d more", n - 2 }' "$dir/caught")"
done <<END
$list
END
echo "$number breaks, $survived not caught, $unknown not asked, $((($(date +%s) - begin + 59) / 60)) min"

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
                    about=$(breaks show -v name="$name" -v key=about | sed 's/</\&lt;/g')
                    field=$(breaks show -v name="$name" -v key=field)
                    why=$(breaks show -v name="$name" -v key=only)
                    by=$(awk -v name="$name" '$1 == name {
                             by = "`" $3 "` " $4 ($5 ? " " $5 : ""); if (!(by in t)) order[++n] = by; t[by]++ }
                         END { for (i = 1; i <= n; i++) printf "%s%s", (i > 1 ? "; " : ""), order[i] }' \
                         "$results")
                    # What was not asked now keeps what the page says of the same change.
                    [ -n "$by" ] || by=$(awk -F ' [|] ' -v name="| $name" -v file="\`${file#ref/}\`" \
                        '$1 == name && $3 == file { sub(/ [|]$/, "", $4); print $4; exit }' docs/breaks.md)
                    [ "$only" = both ] || about="$about (${only} only: ${why#"$only" })"
                    [ -z "$field" ] || about="$about. Seen: $field"
                    echo "| $name | $about | \`${file#ref/}\` | ${by:-not asked yet} |"
                done
        done
    } >"$dir/page" && cp "$dir/page" "$page" && echo "$page"
fi
[ $survived = 0 ] && [ ! -s "$dir/unsound" ]
