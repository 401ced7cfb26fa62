#!/bin/sh
# test_check_docs.sh - scripts/check_docs.sh can fail: pages that are right pass, pages that are wrong do not.
#
#   tests/docs/test_check_docs.sh      silent and status 0, or what went wrong and status 1
#
# shellcheck disable=SC2016 # the pages' dollars and backticks are theirs
set -u

cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
printf '#!/bin/sh\n' >"$work/mole" && chmod +x "$work/mole"
PATH=$work:$PATH
export PATH

# page good|wrong NAME: the page on standard input passes, or does not.
page() {
    cat >"$work/page.md"
    if scripts/check_docs.sh "$work/page.md" >"$work/out" 2>&1; then verdict=good; else verdict=wrong; fi
    [ $verdict = "$1" ] && return
    : >"$work/bad" # a file: pipelines run in shells of their own
    echo "test_check_docs.sh: $2: found $verdict, expected $1"
    sed 's/^/    /' "$work/out"
}
# console good|wrong NAME: the same, for the lines of one block.
console() {
    { echo '```console'; cat; echo '```'; } | page "$1" "$2"
}
# table good|wrong NAME MARK PRINTED WANTED: a generated table.
table() {
    printf '<!-- generated%s: printf "%%b" "%s" -->\n%b<!-- end -->\n' "$3" "$4" "$5" | page "$1" "$2"
}

printf '$ echo one; echo two\none\ntwo\n' | console good 'equal lines'
printf '$ echo one; echo two\none\n' | console wrong 'a line is missing'
printf '$ echo one\none\ntwo\n' | console wrong 'a line too many'
printf '$ echo one\nOne\n' | console wrong 'another letter'
printf '$ echo "a   b"\na b\n' | console good 'blanks'
printf '$ echo one; false\none\n' | console wrong 'status'
printf '$ echo one \\\n> two\none two\n' | console good 'continued'
printf '$ X=5\n$ echo $X\n5\n' | console good 'assignment'
printf '$ echo one\none\n\n' | console wrong 'an empty line too many'
printf 'one\n$ true\n' | console wrong 'output without a command'
printf '$ echo one; echo two; echo three\n...\nthree\n' | console good 'any lines'
printf '$ echo one; echo two; echo three\n...\ntwo\n' | console wrong 'any lines, but not after'
printf '$ echo one\none\n...\n' | console good 'no lines'
printf '$ echo one two three\none ... three\n' | console good 'any text'
printf '$ echo one two three\none ... four\n' | console wrong 'any text, but not this'
printf '$ echo one two\nsix ...\n' | console wrong 'any text, after another'
printf '$ echo 0.4824\n~0.4823\n' | console good 'last digit'
printf '$ echo 0.4825\n~0.4823\n' | console wrong 'two of the last digit'
printf '$ echo -- -1.2e-7\n-- ~-1.1e-7\n' | console good 'last digit, exponent'
printf '$ echo one\n~1\n' | console wrong 'no number'
printf '$ echo 5e-14,\n≈1e-14,\n' | console good 'order'
printf '$ echo 2e-13,\n≈1e-14,\n' | console wrong 'another order'
printf '$ echo -- -1e-14,\n-- ≈1e-14,\n' | console wrong 'another sign'

table good 'table' '' 'a 1.5\nb\n' 'a 1.5\nb\n'
table wrong 'table, another digit' '' 'a 1.5\nb\n' 'a 1.6\nb\n'
table wrong 'table, a row is missing' '' 'a 1.5\nb\n' 'a 1.5\n'
one=', figures of one machine'
table good 'figures' "$one" 'a 1.5 x\n' 'a 3.0 x\n'
table wrong 'figures, another order' "$one" 'a 1.5\n' 'a 0.1\n'
table wrong 'figures, a count' "$one" 'a 15\n' 'a 16\n'
table wrong 'figures, a count with a point' "$one" 'a 16.0\n' 'a 15\n'
table wrong 'figures, a word more' "$one" 'a 1.5 b\n' 'a 1.5\n'
table wrong 'figures, a word' "$one" 'a 1.5\n' 'b 1.5\n'
table wrong 'figures, a row is missing' "$one" 'a 1.5\nb 2.5\n' 'a 1.5\n'
printf '$ true\n' | { echo '```console'; cat; echo '```'; echo '<!-- generated: true -->'; } | page wrong 'no end'

printf '```console\n$ true\n```\n[here](page.md) [there](http://x.example/y) [spot](#spot)\n' | page good 'links'
printf '```console\n$ true\n```\n[here](nowhere.md)\n' | page wrong 'a dead link'
printf '```console\n$ true\n```\n`tap_name` in `ref/core/tap_name.h`, `ref/*/run.h`, `ref/ops/NAME.c`\n' | page good 'names'
printf '```console\n$ true\n```\n| `ref/core/nothing.h` |\n' | page wrong 'a file that is not there'
printf '```console\n$ true\n```\n`tap_nam` in `ref/core/tap_name.h`\n' | page wrong 'a function that is not there'
printf '```\n$ false\n```\n' | page wrong 'no command at all'
printf 'int two(void) {\n    return 2;\n}\n/* Three. */\nint three(void);\nint three(void) {\n    return 3;\n}\n' >"$work/n.c"
printf 'def two():\n    return 2\n\n\ndef three():\n    return 3\n' >"$work/n.py"
# fragment good|wrong NAME FILE FUNCTION BLOCK: code from a source.
fragment() { printf '<!-- from %s/%s %s -->\n```%b```\n<!-- end -->\n' "$work" "$3" "$4" "$5" | page "$1" "$2"; }
fragment good 'a function of C' n.c two 'c\nint two(void) {\n    return 2;\n}\n'
fragment wrong 'one that was changed' n.c two 'c\nint two(void) {\n    return 3;\n}\n'
fragment wrong 'one that is gone' n.c four 'c\n'
fragment good 'a prototype before it' n.c three 'c\nint three(void) {\n    return 3;\n}\n'
fragment good 'a function of Python' n.py two 'python\ndef two():\n    return 2\n'
fragment wrong 'Python that was changed' n.py three 'python\ndef three():\n    return 2\n'
printf '<!-- from somewhere: two -->\n' | page wrong 'a mark of no form'

# course good|wrong NAME: a page of the course, where everything is held to something.
course() {
    cat >"$work/course.md"
    if scripts/check_docs.sh "$work/course.md" >"$work/out" 2>&1; then verdict=good; else verdict=wrong; fi
    [ $verdict = "$1" ] && return
    : >"$work/bad"
    echo "test_check_docs.sh: $2: found $verdict, expected $1"
    sed 's/^/    /' "$work/out"
}
printf 'It is 1.25 in v1.5.\n```console\n$ echo 1.25\n1.25\n```\n' | course good 'a figure that is printed'
printf 'It is 1.26.\n```console\n$ echo 1.25\n1.25\n```\n' | course wrong 'a figure that nothing prints'
printf '```console\n$ true\n```\n```c\nint x;\n```\n' | course wrong 'code from nowhere'
[ ! -e "$work/bad" ]
