# breaks.awk - the lists of deliberate breaks (tests/breaks/*.txt), for scripts/breaks.sh.
#
# A break:
#   break NAME                    a word
#   about one line, for people
#   field where it happened       (optional)
#   file ref/room/file.c          what is changed: a .c file
#   tests room/test_x ...         which tests to ask first (optional)
#   only f32|f64 REASON           it is no break in the other number type (optional)
#   -text                         hunks: text as it stands in the file, each line after its '-',
#   +text                         and what takes its place. Text is a part of the file: it may begin
#                                 and end inside a line. It must be there exactly once.
# Empty lines and lines that begin with # are passed over.
#
#   awk -v mode=list  -f breaks.awk LISTS             NAME room file only tests..., one break a line
#   awk -v mode=show -v name=NAME -v key=KEY -f ...   the value of one key
#   awk -v mode=apply -v name=NAME -v source=FILE -f breaks.awk LISTS >BROKEN

function fail(text) {
    print FILENAME ":" FNR ": " text >"/dev/stderr"
    failed = 1
    exit 1
}

FNR == 1 { room = FILENAME; sub(/.*\//, "", room); sub(/\.txt$/, "", room) }
/^#/ || /^$/ { last = ""; next }
$1 == "break" && /^break / {
    if (NF != 2 || $2 in at) fail("expected a new name, found: " $0)
    at[$2] = ++count
    title[count] = $2
    where[count] = room
    hunks[count] = 0
    last = ""
    next
}
!count { fail("expected \"break NAME\", found: " $0) }
/^-/ {
    if (last != "-") hunks[count]++
    find[count, hunks[count]] = last == "-" ? find[count, hunks[count]] "\n" substr($0, 2) : substr($0, 2)
    put[count, hunks[count]] = ""
    last = "-"
    next
}
/^\+/ {
    if (last == "") fail("a + line without a - line before it")
    put[count, hunks[count]] = last == "+" ? put[count, hunks[count]] "\n" substr($0, 2) : substr($0, 2)
    last = "+"
    next
}
/^(about|field|file|tests|only) / {
    key_of = $1
    if ((count, key_of) in value) fail("\"" key_of "\" twice")
    value[count, key_of] = substr($0, length(key_of) + 2)
    last = ""
    next
}
{ fail("not understood: " $0) }

function check(i) {
    if (!((i, "about") in value) || value[i, "file"] !~ /^ref\/[a-z]+\/[a-z0-9_]+\.c$/ || !hunks[i]) {
        print title[i] ": expected about, file (ref/room/file.c) and a hunk" >"/dev/stderr"
        exit 1
    }
}

function apply(i, text,    h, from, rest) {
    for (h = 1; h <= hunks[i]; h++) {
        from = index(text, find[i, h])
        rest = substr(text, from + length(find[i, h]))
        if (!from || index(rest, find[i, h])) {
            printf "%s: %s: the text to change is %s:\n%s\n", title[i], value[i, "file"],
                from ? "there more than once" : "not there", find[i, h] >"/dev/stderr"
            exit 1
        }
        text = substr(text, 1, from - 1) put[i, h] rest
    }
    return text
}

END {
    if (failed) exit 1
    if (mode == "list") {
        for (i = 1; i <= count; i++) {
            check(i)
            split(value[i, "only"], only, " ")
            print title[i], where[i], value[i, "file"], only[1] ? only[1] : "both", value[i, "tests"]
        }
        exit 0
    }
    if (!(name in at)) {
        print "no break " name >"/dev/stderr"
        exit 1
    }
    if (mode == "show") {
        print value[at[name], key]
        exit 0
    }
    text = ""
    while ((getline line <source) > 0) text = text line "\n"
    printf "%s", apply(at[name], text)
}
