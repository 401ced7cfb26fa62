#!/bin/sh
# course_table.sh - the chapters of docs/course with their questions, exercises and minutes, as a table.
# Status 1 where an exercise has no solution, or all chapters have fewer than 45.
set -eu
cd "$(dirname "$0")/../docs/course"
rows=$(for page in [0-9]*.md; do
    title=$(sed -n 's/^# //p;1q' "$page")
    exercises=$(grep -c '^\*\*[0-9]*\.[0-9]*\*\*' "$page")
    solutions=$(grep -c '<summary>Solution</summary>' "$page")
    [ "$exercises" = "$solutions" ] || { echo "$page: $exercises exercises, $solutions solutions" >&2; exit 1; }
    words=$(wc -w <"$page")
    echo "$title|$page|$exercises|$(((words + 199) / 200))"
done)
echo "| chapter | exercises | minutes |"
echo "|---|---|---|"
echo "$rows" | awk -F'|' '{ printf "| [%s](%s) | %d | %d |\n", $1, $2, $3, $4; e += $3; m += $4 }
    END { printf "| all | %d | %d |\n", e, m; exit e < 45 }'
