#!/bin/sh
# names_table.sh - layers that experts wrap, and tensors of their files, of each full-size base: Markdown, for docs.
#
#   scripts/names_table.sh         (from the root of the repository)
#
# Counted in golden/names, which is made from the libraries' configurations; tests/model/test_full_names opens
# models, experts and gates made by formula and holds what is bound against the same lists, name by name.
set -u
echo "| base model | layers with experts | tensors of the gates | of one expert | parameters of an expert of rank 256 |"
echo "|---|---|---|---|---|"
for base in sd15 sd21 sdxl; do
    awk -v base=$base '{
        count = 1
        rest = $1
        while (match(rest, /[{][0-9]+[.][.][0-9]+[}]/)) {
            split(substr(rest, RSTART + 1, RLENGTH - 2), ends, "[.][.]")
            count *= ends[2] - ends[1] + 1
            rest = substr(rest, RSTART + RLENGTH)
        }
        layers += count
        numbers += count * 256 * ($2 + $3)
    }
    END { printf "| `synth:%s` | %d | %d | %d | %d |\n", base, layers, 6 * layers, 3 * layers, numbers }' \
        "golden/names/$base/mole.txt"
done
