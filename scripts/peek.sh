#!/bin/sh
# peek.sh - numbers of one tensor of a safetensors file, with nothing but a shell: to look into a trace.
#
#   scripts/peek.sh FILE TENSOR [COUNT [FIRST]]
#
# Prints type and shape, then COUNT numbers (4) from number FIRST on (0), row-major, in six digits.
# F32 and F64 only. Status: 0, or 2 for wrong use, 3 for what cannot be read.
set -u

usage() {
    echo "usage: scripts/peek.sh FILE TENSOR [COUNT [FIRST]]" >&2
    exit 2
}
case $# in 2 | 3 | 4) ;; *) usage ;; esac
file=$1 tensor=$2 count=${3:-4} first=${4:-0}
case $count$first in *[!0-9]*) usage ;; esac
[ -r "$file" ] || { echo "peek.sh: $file: cannot be read" >&2; exit 3; }

# 8 bytes of header length, the header, the data.
length=$(od -A n -t u8 -N 8 "$file" | tr -d ' ')
case ${#length} in
    [1-9]) ;;
    *) echo "peek.sh: $file: not a safetensors file" >&2; exit 3 ;;
esac

# "name":{"dtype":"F64","shape":[2,77,40],"data_offsets":[0,49280]} -> F64 2,77,40 0 49280
entry=$(tail -c +9 "$file" | head -c "$length" | LC_ALL=C awk -v name="\"$tensor\":" 'BEGIN { RS = "}" }
    (at = index($0, name)) {
        line = substr($0, at + length(name))
        gsub(/[{"\] ]/, "", line)
        gsub(/dtype:|,shape:|,data_offsets:/, "", line)
        gsub(/\[/, " ", line)
        sub(/,[0-9]*$/, "", line)
        print line
        exit
    }')
[ -n "$entry" ] || { echo "peek.sh: $file: no tensor '$tensor'" >&2; exit 3; }

echo "$entry" | {
    read -r dtype shape begin || shape=''
    # A scalar has no dimensions: its second word is the offset.
    [ -n "$begin" ] || { begin=$shape shape=''; }
    case $dtype in
        F64) size=8 ;;
        F32) size=4 ;;
        *) echo "peek.sh: $tensor is $dtype; F32 and F64 can be shown" >&2; exit 3 ;;
    esac
    total=$(echo "$shape" | awk -F , '{ n = 1; for (i = 1; i <= NF; i++) n *= $i; print n }')
    [ "$first" -lt "$total" ] ||
        { echo "peek.sh: $tensor has $total numbers; there is no number $first" >&2; exit 3; }
    [ "$count" -le $((total - first)) ] || count=$((total - first))
    printf '%s (%s):' "$dtype" "$(echo "$shape" | sed 's/,/, /g')"
    tail -c +$((9 + length + begin + first * size)) "$file" | head -c $((count * size)) |
        od -A n -v -t f$size | awk '{ for (i = 1; i <= NF; i++) printf " %.6g", $i } END { print "" }'
}
