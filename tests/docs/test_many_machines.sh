#!/bin/sh
# test_many_machines.sh - the lines of docs/many-machines.md make, together, what one run makes.
#
#   tests/docs/test_many_machines.sh      with mole on PATH; silent and status 0, or what went wrong and 1.
#                                         Without GNU parallel its line is skipped, which is said.
set -u
cd "$(dirname "$0")/../.." || exit 1
root=$PWD
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

fail() {
    echo "test_many_machines.sh: $*"
    exit 1
}

# A folder in which the page's lines run as they stand.
ln -s "$root/golden" "$work/golden"
cd "$work" || exit 1
printf 'a face\ntwo hands --s 3\nan old man\na piano\na hat --d 7\n' >prompts.txt
mkdir whole
what='--model golden/models/sd15-tiny --width 64 --height 64 --steps 2 -q --from-file prompts.txt'
# shellcheck disable=SC2086 # a list of words
mole generate $what -o whole/p.png >log 2>&1 || fail "one run: $(cat log)"

# same NAME: pictures/ holds what one run makes, and nothing else.
same() {
    diff -r whole pictures >log 2>&1 || fail "$1: $(cat log)"
    rm -r pictures
    mkdir pictures
}
mkdir pictures

# Tasks of an array that starts at 0 and counts by 2, the last one first.
for id in 4 2 0; do
    # shellcheck disable=SC2086
    SLURM_ARRAY_TASK_ID=$id SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_STEP=2 SLURM_ARRAY_TASK_COUNT=3 \
        "$root/scripts/slurm_array.sh" $what -o pictures/p.png >log 2>&1 || fail "Slurm task $id: $(cat log)"
done
same "Slurm"

# The block of the page that a shell can run: ```sh.
awk '/^```sh$/ { on = 1; next } /^```/ { on = 0 } on' "$root/docs/many-machines.md" >line
grep -q '| parallel ' line || fail "no line for GNU parallel in docs/many-machines.md"
if parallel --version 2>/dev/null | grep -q '^GNU parallel'; then
    sh ./line >log 2>&1 </dev/null || fail "GNU parallel: $(cat log)"
    same "GNU parallel"
else
    echo "SKIP the line of docs/many-machines.md for GNU parallel: not installed (scripts/setup.sh --more)"
fi
