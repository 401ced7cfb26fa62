# fragment.awk - a function of a source file as a fenced block, for pages that show code.
#
#   awk -v name=FUNCTION -f scripts/fragment.awk FILE      the function FUNCTION, with the comment right above it
#   awk -f scripts/fragment.awk FILE                       the whole file
#
# FILE ends in .c, .h, .py or .sh. Status 1 when the function is not there.

function fence(text) { return "```" (text ~ /\.py$/ ? "python" : text ~ /\.sh$/ ? "sh" : "c") }

BEGIN { python = ARGV[1] ~ /\.py$/; file = ARGV[1]; print fence(file) }

name == "" { print; found = 1; next }

# ---- Python: from "def name(" to the line before the next one that is not indented further ----------------

python && inside {
    match($0, /^ */)
    if ($0 != "" && RLENGTH <= indent) { inside = 0; exit }
    held[++lines] = $0
    next
}
python && $0 ~ ("^ *(def|class) " name "[(:]") {
    match($0, /^ */)
    indent = RLENGTH
    inside = found = 1
    held[++lines] = $0
}
python { next }

# ---- C: from a line that is not indented and has "name(", to "}" in the first column -----------------------

inside {
    held[++lines] = $0
    if (!body && /;$/) { inside = lines = 0 } # a prototype
    if (/\{$/) body = 1
    if (/^}/) { found = 1; exit }
    next
}
/^\/\*/ { lines = 0; comment = 1 }
comment { held[++lines] = $0; if (/\*\//) comment = 0; next }
$0 ~ ("^[a-zA-Z].*[ *]" name "\\(") && !/;$/ { held[++lines] = $0; inside = 1; body = /\{$/; next }
{ lines = 0 }

END {
    while (lines > 0 && held[lines] == "") lines--
    for (i = 1; i <= lines; i++) print held[i]
    print "```"
    if (!found) { print "fragment.awk: no function " name " in " file > "/dev/stderr"; exit 1 }
}
