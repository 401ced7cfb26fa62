# check_docs.awk - the awk half of check_docs.sh; see there for what the marks mean.
#
#   -v mode=split -v into=DIR FILE       one DIR/N.cmd, N.want per case; prints "N kind line" for each
#   -v mode=links FILE                   prints "line target" for each relative link
#   -v mode=loose FILE                   prints "line what" for code and figures that nothing holds to be right
#   -v mode=names FILE                   prints "line path word" for each file of the tree that it names
#   -v mode=compare WANT GOT             what a command printed
#   -v mode=exact WANT GOT               a generated table
#   -v mode=figures WANT GOT             one with figures of another machine
#                                        (these three print the first difference, and end with status 1)
#   -v mode=replace -v at=LINE NEW FILE  FILE with the generated lines after line LINE replaced by NEW

# ---- split -----------------------------------------------------------------------------------------

function start(kind, command) {
    close_case()
    number++
    print number, kind, FNR
    printf "%s\n", command > (into "/" number ".cmd")
    printf "" > (into "/" number ".want")
    open = 1
}
function close_case() {
    if (!open) return
    close(into "/" number ".cmd")
    close(into "/" number ".want")
    open = 0
}
mode == "split" && generated {
    if ($0 == "<!-- end -->") { generated = 0; close_case() }
    else print > (into "/" number ".want")
    next
}
mode == "split" && /^<!-- generated[:,]/ {
    kind = /^<!-- generated, figures of one machine: / ? "figures" : "exact"
    command = $0
    sub(/^<!-- generated[^:]*: /, "", command)
    sub(/ -->$/, "", command)
    start(kind, command)
    generated = FNR
    next
}
mode == "split" && /^<!-- from / {
    if (!match($0, /^<!-- from [A-Za-z0-9_.\/-]+( [A-Za-z0-9_]+)? -->$/)) { print 0, "mark", FNR; next }
    split($0, part, " ")
    start("exact", "awk " (part[4] == "-->" ? "" : "-v name=" part[4] " ") "-f scripts/fragment.awk " part[3])
    generated = FNR
    next
}
mode == "split" && /^```/ {
    close_case()
    if (fence) fence = ""
    else fence = $0 == "```console" ? "console" : "other"
    more = 0
    next
}
mode == "split" && fence == "console" {
    if (/^\$ /) start("compare", substr($0, 3))
    else if (more && /^> /) print substr($0, 3) > (into "/" number ".cmd")
    else if (open) print > (into "/" number ".want")
    else print 0, "stray", FNR
    more = /^\$ / || (more && /^> /)
}
mode == "split" { next }

# ---- links -----------------------------------------------------------------------------------------

mode == "links" && /^```/ { fence = !fence }
mode == "links" && !fence {
    line = $0
    gsub(/`[^`]*`/, "", line)
    while (match(line, /\]\([^)]*\)/)) {
        target = substr(line, RSTART + 2, RLENGTH - 3)
        line = substr(line, RSTART + RLENGTH)
        sub(/#.*/, "", target)
        if (target != "" && target !~ /^[a-z]+:/) print FNR, target
    }
}
mode == "links" { next }

# ---- names -----------------------------------------------------------------------------------------
#
# `ref/ops/ops.h`, `golden/runs/sdxl-*`; a name with an element in capitals (NAME.c, tests/ROOM) is a pattern
# for people. `word` in `ref/x.c`: the word stands in the file.

mode == "names" && /^```/ { fence = !fence }
mode == "names" && !fence {
    n = split($0, part, "`")
    for (i = 2; i < n; i += 2) {
        path = part[i]
        if (path !~ /^(ref|tests|scripts|golden|docs)\/[A-Za-z0-9_.\/*-]+$/) continue
        if (path ~ /(^|[\/_.-])[A-Z]+([\/_.-]|$)/) continue
        if (path ~ /^golden\/(test_.*|.*\.c)$/) continue # docs/breaks.md: short for ref/golden, tests/golden
        word = i > 2 && part[i - 1] == " in " && part[i - 2] ~ /^[A-Za-z_][A-Za-z0-9_]*$/ ? part[i - 2] : "-"
        print FNR, path, word
    }
}
mode == "names" { next }

# ---- loose -----------------------------------------------------------------------------------------
#
# On a page where everything is checked: a block of code that is not taken from a file, and a figure with a
# point in the text that stands in no block of the page (commands, what they print, code, tables).

mode == "loose" && /^<!-- (from|generated)/ { kept = 1; next }
mode == "loose" && /^<!-- end -->/ { kept = 0; next }
mode == "loose" && /^```/ {
    fence = !fence
    if (fence && !kept && $0 != "```console") print FNR, "a block that no mark holds to its source: " $0
    next
}
mode == "loose" && (fence || kept) { blocks = blocks "\n" $0; next }
mode == "loose" {
    line = $0
    gsub(/\]\([^)]*\)|v[0-9]\.[0-9]|arXiv [0-9.]+|\*\*[0-9]+\.[0-9]+\*\*/, "", line) # links, versions, exercises
    while (match(line, /[0-9]+\.[0-9]+(e[-+]?[0-9]+)?/)) {
        figure[++figures] = substr(line, RSTART, RLENGTH)
        figure_at[figures] = FNR
        line = substr(line, RSTART + RLENGTH)
    }
}
mode == "loose" { next }

# ---- replace ---------------------------------------------------------------------------------------

mode == "replace" && FILENAME == ARGV[1] { new[++news] = $0; next }
mode == "replace" {
    if (FNR > at && skipping && $0 == "<!-- end -->") skipping = 0
    if (!skipping) print
    if (FNR == at) {
        skipping = 1
        for (i = 1; i <= news; i++) print new[i]
    }
    next
}

# ---- compare, exact, figures ------------------------------------------------------------------------------

FILENAME == ARGV[1] { want[++wants] = $0; next }
{ got[++gots] = $0 }

# Runs of blanks count as one.
function tidy(line) {
    gsub(/[ \t]+/, " ", line)
    sub(/ $/, "", line)
    sub(/^ /, "", line)
    return line
}
function absolute(x) { return x < 0 ? -x : x }

# One unit of the last digit that is written: 0.4823 -> 0.0001, 1.2e-7 -> 1e-8.
function unit(text,   parts, point) {
    split(text, parts, "e")
    point = index(parts[1], ".")
    return exp(log(10) * (parts[2] - (point ? length(parts[1]) - point : 0)))
}
function order_equal(x, y) {
    x += 0
    y += 0
    if (x == y) return 1
    if (x * y <= 0) return 0
    x = absolute(x)
    y = absolute(y)
    return x <= 10 * y && y <= 10 * x
}
function number_at(text) { return match(text, /^-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?/) ? RLENGTH : 0 }

# Does the line g match the line w with its marks?
function same(w, g,   literal, mark, rest, length_of, i) {
    if (!match(w, /\.\.\.|(~|≈)-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?/)) return w == g
    literal = substr(w, 1, RSTART - 1)
    mark = substr(w, RSTART, RLENGTH)
    rest = substr(w, RSTART + RLENGTH)
    if (substr(g, 1, length(literal)) != literal) return 0
    g = substr(g, length(literal) + 1)
    if (mark == "...") {
        for (i = 0; i <= length(g); i++)
            if (same(rest, substr(g, i + 1))) return 1
        return 0
    }
    length_of = number_at(g)
    if (!length_of) return 0
    i = substr(g, 1, length_of)
    if (mark ~ /^~/) {
        mark = substr(mark, 2)
        if (absolute(mark - i) > 1.001 * unit(mark)) return 0
    } else {
        sub(/^≈/, "", mark)
        if (!order_equal(mark, i)) return 0
    }
    return same(rest, substr(g, length_of + 1))
}

# The lines from w on against those from g on; remembers how far it came.
function all_lines(w, g,   i) {
    if (g > furthest) { furthest = g; furthest_want = w }
    if (w > wants) return g > gots
    if (want[w] == "...") {
        for (i = g; i <= gots + 1; i++)
            if (all_lines(w + 1, i)) return 1
        return 0
    }
    return g <= gots && same(tidy(want[w]), tidy(got[g])) && all_lines(w + 1, g + 1)
}

# Words are equal, but for those in backticks; figures (with a point or an exponent) agree in their order.
function figures_equal(w, g,   a, b, n, i) {
    gsub(/`[^`]*`/, "`...`", w)
    gsub(/`[^`]*`/, "`...`", g)
    n = split(tidy(w), a, " ")
    if (n != split(tidy(g), b, " ")) return 0
    for (i = 1; i <= n; i++) {
        if (a[i] == b[i]) continue
        if (number_at(a[i]) != length(a[i]) || number_at(b[i]) != length(b[i])) return 0
        if (a[i] !~ /[.e]/ || b[i] !~ /[.e]/ || !order_equal(a[i], b[i])) return 0
    }
    return 1
}

function row_equal(w, g) { return mode == "exact" ? w == g : figures_equal(w, g) }

END {
    if (mode == "split") {
        close_case()
        if (generated) print 0, "unended", generated
        exit 0
    }
    if (mode == "loose") {
        for (i = 1; i <= figures; i++)
            if (!index(blocks, figure[i])) print figure_at[i], "the figure " figure[i] " stands in no block of the page"
        exit 0
    }
    if (mode == "compare" && all_lines(1, 1)) exit 0
    if (mode == "figures" || mode == "exact") {
        for (furthest = 1; furthest <= wants && furthest <= gots; furthest++)
            if (!row_equal(want[furthest], got[furthest])) break
        if (furthest > wants && furthest > gots) exit 0
        furthest_want = furthest
    }
    if (mode == "compare" || mode == "figures" || mode == "exact") {
        print "    expected: " (furthest_want <= wants ? want[furthest_want] : "(the end)")
        print "    found:    " (furthest <= gots ? got[furthest] : "(the end)")
        exit 1
    }
}
