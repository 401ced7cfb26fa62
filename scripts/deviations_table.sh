#!/bin/sh
# deviations_table.sh - what each of the authors' deviations does to a picture: Markdown, for docs.
#
#   scripts/deviations_table.sh         (`mole` on PATH; from the root of the repository)
#
# Ten steps of the tiny XL model with experts in float64, without a deviation and with each. The difference of
# the pictures before they are rounded: the largest, of numbers from 0 to 1, and its rms relative to the rms of
# the picture.
set -u
command -v mole >/dev/null || { echo "deviations_table.sh: no program 'mole' on PATH" >&2; exit 1; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
experts=golden/models/sdxl-tiny-mole

picture() { # picture NAME OPTIONS...: a trace of it
    name=$1
    shift
    mole generate --precision f64 --model golden/models/sdxl-tiny --face "$experts/face.safetensors" \
        --hand "$experts/hand.safetensors" --gates "$experts/gates.safetensors" --prompt "a hand" --seed 23 \
        --steps 10 --width 64 --height 48 "$@" -q -o "$work/$name.png" --trace "$work/$name.safetensors" \
        >/dev/null || exit 1
}

row() { # row NAME OPTIONS...
    picture other "$@"
    mole compare "$work/usual.safetensors" "$work/other.safetensors" --filter image |
        awk -v name="$1 $2" '/^>0 image/ { print "| `" name "` | " $4 " | " $6 " |"; seen = 1 }
                              END { exit !seen }' || echo "| \`$1 $2\` | 0 | 0 |"
}

picture usual
echo "| option | largest difference | relative rms |"
echo "|---|---|---|"
for name in prompt-suffixes vae-without-attention text-projection-unturned bf16-gates; do
    row --deviation $name
done
row --preset authors-xl
