#!/bin/sh
# ops_list.sh - the operations that a golden case can call: the table of docs/golden-format.md.
#
# Reads the first call of each golden/ops/*/manifest.json, one call a line.
set -u

echo
echo '| op | inputs | attrs | what it is |'
echo '|---|---|---|---|'
LC_ALL=C awk '
# The keys of the object that begins with "name": { in the line.
function keys(line, name,    at, found) {
    if (!match(line, "\"" name "\": [{][^}]*[}]")) return ""
    line = substr(line, RSTART + length(name) + 5, RLENGTH - length(name) - 5)
    while (match(line, /"[^"]*": (null|"[^"]*"|\[[^]]*\]|[^,}]*)/)) {
        at = substr(line, RSTART + 1)
        found = found (found ? ", " : "") substr(at, 1, index(at, "\"") - 1)
        line = substr(line, RSTART + RLENGTH)
    }
    return found
}
FNR == 1 { done = 0 }
/^ "about": / { about = $0; sub(/^ "about": "/, "", about); sub(/",$/, "", about); gsub(/\|/, "\\|", about) }
/^  [{]"id": / && !done {
    done = 1
    op = $0
    sub(/.*"op": "/, "", op)
    sub(/".*/, "", op)
    printf "| `%s` | %s | %s | %s |\n", op, keys($0, "inputs"), keys($0, "attrs"), about
}' golden/ops/*/manifest.json
echo
