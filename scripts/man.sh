#!/bin/sh
# man.sh - the manual page, made from what the program says about itself.
#
#   scripts/man.sh PROGRAM VERSION >mole.1
#
# Commands and their one-line descriptions come from `mole --help`, options and examples from `mole
# COMMAND --help`; only what no --help says is written here. Status: 0, or 1 when a --help failed.
set -u

program=$1 version=$2
LC_ALL=C
export LC_ALL

help=$("$program" --help) || exit 1
commands=$(echo "$help" | awk '/^usage:/ { on = 1; next } on && /^  [a-z]/ { print $1; seen = 1; next }
                               seen { exit }')
[ -n "$commands" ] || { echo "man.sh: $program --help lists no commands" >&2; exit 1; }

cat <<PAGE
.\\" Made by scripts/man.sh from the --help of the program.
.TH MOLE 1 "" "mole $version" "User commands"
.SH NAME
mole, mole\\-f64 \\- reference implementation of MoLE on Stable Diffusion
.SH SYNOPSIS
.B mole
.I COMMAND
.RI [ OPTIONS ]
.br
.B mole
.RI [ COMMAND ]
.BR \\-\\-help ", " \\-h
.br
.B mole help
.RI [ COMMAND ]
.br
.B mole
.BR \\-\\-version ", " \\-V
.SH DESCRIPTION
MoLE (Mixture of Low\\-rank Experts, arXiv 2410.23332) on Stable Diffusion v1.5,
in C, for comparing another implementation with: prompt in, picture out, and
every tensor on the way under the name that diffusers gives its module.
.PP
.B mole
computes in float32,
.B mole\\-f64
in float64; they have the same commands, and
.B \\-\\-precision f64
makes the first start the second, which is expected in the same folder.
.SH COMMANDS
PAGE

# One command's --help as roff: usage, paragraphs, a .TP for every option, the example.
# Two spaces end an option's own words, or else column 23 does.
command_page() {
    awk '
    BEGIN { fresh = 1 } # no .PP after a heading
    function paragraph() { if (!fresh) print ".PP"; fresh = 1 }
    # A line of text: no control line, and minus signs that survive being copied.
    function say(text) {
        gsub(/\\/, "\\e", text); gsub(/-/, "\\-", text)
        print (text ~ /^[.\047]/ ? "\\&" : "") text
    }
    function bold(text) { gsub(/-/, "\\-", text); print ".B " text }
    /^usage:/ || (usage && /^ +mole /) {
        line = $0; sub(/^(usage:)? */, "", line)
        if (usage) print ".br"; else paragraph()
        bold(line); usage = 1; fresh = 0; next
    }
    { usage = 0 }
    /^examples?:/ { paragraph(); print "Example:"; print ".PP"; print ".EX"; example = 1; next }
    example { sub(/^  /, ""); say($0); next }
    /^$/ { fresh = 0; option = 0; next }
    /^  (-[a-zA-Z], )?--/ {
        words = substr($0, 3); at = match(words, /  +/)
        if (at) { spec = substr(words, 1, at - 1); text = substr(words, at + RLENGTH) }
        else if (length(words) > 20) { spec = substr(words, 1, 20); text = substr(words, 22) }
        else { spec = words; text = "" }
        sub(/ +$/, "", spec)
        print ".TP"; bold(spec)
        if (text != "") say(text)
        option = 1; fresh = 0; next
    }
    option && /^    / { sub(/^ +/, ""); say($0); next }
    { if (option) fresh = 0; option = 0; paragraph(); sub(/^ +/, ""); say($0) }
    END { if (example) print ".EE" }'
}

for command in $commands; do
    printf '.SS %s \\- %s\n' "$command" "$(echo "$help" | sed -n "s/^  $command  *//p")"
    text=$("$program" "$command" --help) || { echo "man.sh: $command --help failed" >&2; exit 1; }
    echo "$text" | command_page
done

cat <<'PAGE'
.SH EXIT STATUS
.TP
.B 0
done; or, of commands that compare: agrees
.TP
.B 1
differs
.TP
.B 2
usage: an option or a value that cannot be
.TP
.B 3
bad or missing input, or output that cannot be written
.SH ENVIRONMENT
.TP
.B OMP_NUM_THREADS
threads to use where
.B \-\-threads
is not given
.SH FILES
A model is a diffusers pipeline folder with safetensors files. Experts are
LoRA files in kohya's naming, and gates a file of the authors' training, both in
safetensors. Pickled files are not read.
.PP
Output appears under its own name only when it is whole.
.SH LIBRARY
The same reference can be called from C (mole.h,
.B pkg\-config mole\-f32
or
.BR mole\-f64 )
and from Python.
PAGE
