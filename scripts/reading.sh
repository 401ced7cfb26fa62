#!/bin/sh
# reading.sh - the pages of docs/ in two tracks, as tables: what each is about, and minutes of reading.
#
#   scripts/reading.sh learn|port
#
# A minute is 200 words, of code and tables too; from ten on, in steps of five. Status 1 when a page is in no track.
set -eu
cd "$(dirname "$0")/.."

learn() {
    cat <<'PAGES'
course/README.md|what the course answers, and how it is checked
course/00-what-you-will-build.md|from a sentence to a picture, on one map
course/01-noise.md|how taking noise away can make a picture
course/02-latents.md|where the picture is while it is made
course/03-blocks.md|convolution, GroupNorm, SiLU, the ResNet block
course/04-attention.md|how a word reaches a pixel
course/05-words.md|how a network reads
course/06-unet.md|the UNet as a U
course/07-steps.md|a step, and guidance
course/08-experts.md|experts, and why there are two kinds of gates
course/09-numbers.md|float32, float64, and what "equal" means
course/10-other-models.md|v2.1 and XL: what changes
course/11-find-the-bug.md|twelve wrong ports
course/12-fast.md|how it got fast, and stayed the same
architecture.md|the specification: from prompt to PNG beside `ref/`, with one run's numbers worked out by hand
fast.md|where the time goes, and what is done about it, lesson by lesson
glossary.md|the words of the reports
PAGES
}
port() {
    cat <<'PAGES'
check-your-port.md|from nothing to the first wrong layer, in ten minutes
recipes.md|PyTorch, ONNX, Keras, JAX, C and C++, Rust and Swift: what to copy
numbers.md|float64 as truth, bounds and where they come from, what is equal bit for bit
decisions.md|where the authors' code is ambiguous or unusual, what was decided, and why
cli.md|every command and option
files.md|models, experts and gates, traces and the names in them, latents, PNG metadata
base-models.md|v1.5, v2.1 and XL: what to type for which files, what is proven
trace-format.md|the traces that are read, from any program
golden-format.md|the golden cases, for readers and writers in any language
library.md|the reference from C and Python
reports.md|what the reports of `mole compare` hold
mutants.md|wrong ports, and what `mole compare` says of each
real-ports.md|independent implementations held against this one, and what was found
resolution.md|how small a mistake still shows, per golden case and per computing type
original.md|the golden data held against the authors' own code
breaks.md|the mistakes that the tests were seen to catch
security.md|files from strangers: what they can do, and every limit
many-machines.md|one list of prompts on many machines, with Slurm or GNU parallel
synth.md|weights of any size by formula, in place or as files
performance.md|how fast, against what, and how cost grows
PAGES
}

for page in docs/*.md docs/*/*.md; do
    page=${page#docs/}
    [ "$page" = README.md ] || { learn; port; } | grep -q "^$page|" || {
        echo "reading.sh: docs/$page is in neither track" >&2
        exit 1
    }
done
echo "| page | about | minutes |"
echo "|---|---|---|"
case ${1:-} in learn) learn ;; port) port ;; *) echo "reading.sh: learn or port" >&2; exit 2 ;; esac |
    while IFS='|' read -r page about; do
        words=$(wc -w <"docs/$page")
        minutes=$(((words + 199) / 200))
        [ $minutes -lt 10 ] || minutes=$(((minutes + 2) / 5 * 5))
        echo "$page|$about|$minutes"
    done | awk -F'|' '{ print "| [" $1 "](" $1 ") | " $2 " | " $3 " |"; all += $3 } END { print "| all | | " all " |" }'
