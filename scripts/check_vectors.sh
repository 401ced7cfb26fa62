#!/bin/sh
# check_vectors.sh - are the hot loops packed? Reads the instructions of the built objects.
#
#   scripts/check_vectors.sh OBJECTS        OBJECTS/ref/ops/softmax.o ... (build/cc/f32)
#   scripts/check_vectors.sh -l             the files that are read
#
# Every function below is compiled once for each kind of vectors where the compiler can do that (gcc, clang on x86-64:
# NAME.default, NAME.avx2, NAME.avx512f; ref/core/vectorised.h), else once. Each version must hold at least
# MOST packed additions, multiplications, divisions, minima and maxima on registers of its own width: 16 bytes
# (SSE2, NEON), 32 (AVX2), 64 (AVX-512). A branch in such a loop leaves none: the loop runs number by number, three
# to five times slower, and gives the same results, so that no other test sees it.
#
# OBJDUMP=aarch64-linux-gnu-objdump reads objects of another machine. The last line is "N passed, N failed, N
# skipped"; status 1 when one failed.
set -u

# FILE FUNCTION LEAST: three quarters of the fewest that gcc 12 or clang 14 make of it (clang joins some for AVX-512).
hot='
ref/ops/activations.o sigmoid_piece 26
ref/ops/activations.o silu_piece 27
ref/ops/activations.o gelu_piece 64
ref/ops/activations.o quick_gelu_piece 27
ref/ops/activations.o geglu_row 64
ref/ops/softmax.o exponentials 18
ref/ops/softmax.o divide 1
ref/ops/softmax.o sum_of 2
ref/ops/layer_norm.o normalise_row 12
ref/ops/group_norm.o channel_sums 4
ref/ops/group_norm.o normalise 3
ref/ops/winograd.o filter_transform 26
ref/ops/winograd.o patch_transform 24
ref/ops/winograd.o tile_transform 20
ref/ops/matmul.o dot 2
ref/mole/mole.o mean_of_channels 2
ref/mole/mole.o scale_row 1
ref/trace/diff.o usual_sums 12
'

if [ "${1:-}" = -l ]; then
    echo "$hot" | awk 'NF { print $1 }' | sort -u
    exit
fi
objects=${1:?usage: scripts/check_vectors.sh OBJECTS}
objdump=${OBJDUMP:-objdump}
command -v "$objdump" >/dev/null || {
    echo "SKIP packed loops: no $objdump (package binutils)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
}

# Lines "FUNCTION COUNT": packed arithmetic on registers of the function's own width.
count_packed() {
    "$objdump" -d --no-show-raw-insn "$1" | awk '
        /^[0-9a-f]+ <.*>:$/ {
            name = substr($2, 2, length($2) - 3)
            if (name ~ /\.(default|avx2|avx512f)\.[0-9]+$/) sub(/\.[0-9]+$/, "", name) # as clang counts them
            wide = name ~ /\.avx512f$/ ? "%zmm" : name ~ /\.avx2$/ ? "%ymm" : "%xmm"
            count[name] += 0
        }
        $2 ~ /^v?(add|sub|mul|div|min|max)p[sd]$/ && index($0, wide) { count[name]++ }
        $2 ~ /^f(add|sub|mul|div|min|max|minnm|maxnm)$/ && /v[0-9]+\.(4s|2d)/ { count[name]++ }
        END { for (name in count) print name, count[name] }'
}

echo "$hot" | {
    passed=0 failed=0 read_last=''
    while read -r file function least; do
        [ -n "$file" ] || continue
        [ "$file" = "$read_last" ] || packed=$(count_packed "$objects/$file") || exit 1
        read_last=$file
        versions=$(echo "$packed" | awk -v f="$function" '$1 == f || index($1, f ".") == 1')
        # The function that chooses a version at load holds nothing.
        case $versions in
            *.avx2*) versions=$(echo "$versions" | grep -E '\.(default|avx2|avx512f) ') ;;
        esac
        if [ -z "$versions" ]; then
            failed=$((failed + 1))
            echo "$file: no function $function: renamed, or inlined? The list is in $0"
            continue
        fi
        while read -r version found; do
            if [ "$found" -ge "$least" ]; then
                passed=$((passed + 1))
            else
                failed=$((failed + 1))
                echo "$file: $version: $found packed operations, at least $least expected: a branch in its loop?"
            fi
        done <<END
$versions
END
    done
    echo "$passed passed, $failed failed, 0 skipped"
    [ $failed = 0 ]
}
