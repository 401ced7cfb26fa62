#!/bin/sh
# check_docs.sh - what the documentation prints is what the program prints.
#
#   scripts/check_docs.sh [-w] [FILE...]       (default: README.md CONTRIBUTING.md docs/*.md docs/course/*.md ...)
#
# Runs from the root of the repository with `mole` on PATH (make docs-check sees to both) and checks
#
# 1. every block fenced as ```console. A line "$ COMMAND" is run ("> " goes on with it in the next
#    line, as a shell shows it); it must succeed, and print on standard output the lines that follow, where
#       ...     alone in a line stands for any lines, within a line for any text
#       ~0.48   is a number that differs by at most one in the last digit written
#       ≈1e-14  is a number of the same order: at most ten times as large or as small
#    Runs of blanks count as one blank. Each command has a shell of its own, but "$ NAME=VALUE" holds for the
#    rest of the file, as it would for a reader who types it all.
# 2. every generated table: what stands between "<!-- generated: COMMAND -->" and "<!-- end -->" is what
#    COMMAND prints. With "<!-- generated, figures of one machine: COMMAND -->" names in backticks
#    may differ, and figures with a point or an exponent need only be of the same order; the bounds
#    that such figures must keep are COMMAND's own business: it fails when one is broken.
#    -w only writes these tables anew.
# 3. every fragment of a source: what stands between "<!-- from FILE FUNCTION -->" and "<!-- end -->" is that
#    function of FILE as a block of code (without FUNCTION: all of FILE); scripts/fragment.awk. -w writes it anew.
# 4. every relative link: its target exists.
# 5. in docs/course: no code but such fragments and tables, and no figure with a point in the text that does not
#    stand in a block of its page, where it is made or checked.
#
# Commands write below out/docs only, which is removed first and last. The last line is "N passed, N failed,
# N skipped"; each command, table and link is one case. Status: 0 all well, 1 not.
set -u

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.." || exit 1
write=0
if [ "${1:-}" = -w ]; then
    write=1
    shift
fi
[ $# -gt 0 ] || set -- README.md CONTRIBUTING.md docs/*.md docs/course/*.md scripts/golden/README.md
command -v mole >/dev/null || { echo "check_docs.sh: no program 'mole' on PATH: use make docs-check" >&2; exit 1; }

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work" out/docs' EXIT
trap 'exit 130' INT TERM
rm -rf out/docs
LC_ALL=C
export LC_ALL
passed=0 failed=0 commands=0

fail() { # fail FILE LINE WHAT
    failed=$((failed + 1))
    printf '%s:%s: %s\n' "$1" "$2" "$3"
}

run_case() { # run_case FILE NUMBER KIND LINE
    at=$work/$2
    if [ $write = 1 ] && [ "$3" = compare ]; then return; fi
    if grep -q '^[A-Za-z_]*=[^ ]*$' "$at.cmd"; then
        cat "$at.cmd" >>"$work/assigned"
    fi
    sh -c "$(cat "$work/assigned" "$at.cmd")" >"$at.got" 2>"$at.err" </dev/null
    status=$?
    if [ $status != 0 ]; then
        fail "$1" "$4" "status $status from: $(cat "$at.cmd")"
        tail -n 5 "$at.got" "$at.err" | sed 's/^/    /'
        return
    fi
    if [ $write = 1 ]; then
        awk -v mode=replace -v at="$4" -f "$here/check_docs.awk" "$at.got" "$1" >"$work/new" &&
            cat "$work/new" >"$1"
        passed=$((passed + 1))
        return
    fi
    awk -v mode="$3" -f "$here/check_docs.awk" "$at.want" "$at.got" >"$at.diff"
    status=$?
    if [ $status = 0 ]; then
        passed=$((passed + 1))
    else
        fail "$1" "$4" "$(cat "$at.cmd")"
        cat "$at.diff"
    fi
}

for file; do
    rm -f "$work"/*.cmd "$work"/*.want
    : >"$work/assigned"
    awk -v mode=split -v into="$work" -f "$here/check_docs.awk" "$file" >"$work/cases" ||
        fail "$file" 1 "cannot be taken apart"
    # Last case first when writing, so that line numbers stay right.
    [ $write = 0 ] || { sort -k3,3nr "$work/cases" >"$work/new" && mv "$work/new" "$work/cases"; }
    while read -r number kind line; do
        case $kind in
            stray) fail "$file" "$line" "output without a command: a console block starts with '\$ '" ;;
            unended) fail "$file" "$line" "no <!-- end -->" ;;
            mark) fail "$file" "$line" "not a mark: <!-- from FILE FUNCTION -->" ;;
            *) commands=$((commands + 1)) && run_case "$file" "$number" "$kind" "$line" ;;
        esac
    done <"$work/cases"
    [ $write = 0 ] || continue
    awk -v mode=links -f "$here/check_docs.awk" "$file" >"$work/links"
    while read -r line target; do
        if [ -e "$(dirname "$file")/$target" ]; then
            passed=$((passed + 1))
        else
            fail "$file" "$line" "no such file: $target"
        fi
    done <"$work/links"
    case $file in
        docs/course/*|*/course.md)
            awk -v mode=loose -f "$here/check_docs.awk" "$file" >"$work/loose"
            while read -r line what; do fail "$file" "$line" "$what"; done <"$work/loose"
            ;;
    esac
    awk -v mode=names -f "$here/check_docs.awk" "$file" >"$work/names"
    while read -r line path word; do
        # shellcheck disable=SC2086 # a pattern, perhaps
        if ! ls -d $path >"$work/found" 2>/dev/null; then
            fail "$file" "$line" "no such file: $path"
        elif [ "$word" != - ] && ! grep -qw -- "$word" "$path"; then
            fail "$file" "$line" "no $word in $path"
        else
            passed=$((passed + 1))
        fi
    done <"$work/names"
done

[ $commands -gt 0 ] || { echo "no command was found in: $*"; failed=$((failed + 1)); }
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
