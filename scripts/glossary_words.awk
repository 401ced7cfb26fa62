# glossary_words.awk - words of the glossary as JSON, [[word, meaning], ...]: what the HTML report explains offline.
#
#   awk -f scripts/glossary_words.awk docs/glossary.md > glossary.json
#
# Of the sections of `wanted` every word: of a row "a, b" both. Links and code marks go; "<", which would mean something
# to HTML, is escaped.

BEGIN { wanted = "|What is compared|What is measured|The verdict|"; print "[" }

/^## / { inside = index(wanted, "|" substr($0, 4) "|"); next }

inside && /^\| / && !/^\| (word|---) / {
    split($0, cell, / *\| */)
    meaning = cell[3]
    while (match(meaning, /\[[^]]*\]\([^)]*\)/)) {
        link = substr(meaning, RSTART, RLENGTH)
        before = substr(meaning, 1, RSTART - 1)
        after = substr(meaning, RSTART + RLENGTH)
        sub(/^\[/, "", link)
        sub(/\].*/, "", link)
        meaning = before link after
    }
    gsub(/`/, "", meaning)
    gsub(/["\\]/, "\\\\&", meaning)
    gsub(/</, "\\u003c", meaning)
    gsub(/`/, "", cell[2])
    words = split(cell[2], word, ", ")
    for (i = 1; i <= words; i++) {
        printf "%s[\"%s\", \"%s\"]", count++ ? ",\n" : "", word[i], meaning
    }
}

END { print "\n]" }
