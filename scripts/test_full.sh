#!/usr/bin/env bash
# test_full.sh - the full-size fingerprints of golden/full: make test-full.
#
#   scripts/test_full.sh FOLDER_OF_PROGRAMS [CASE...]
#
# Every case in float32; the MoLE step in both of its forms; the text encoder and the MoLE step, which has every
# layer of the UNet, in float64 as well; those of v2.1 and XL in both, without the UNets alone, whose layers the
# MoLE ones have (sd21-unet, sdxl-unet: by name). Prints what each took, and ends in "N passed, N failed, N skipped".
# What the memory of this machine cannot hold is skipped, and says so.
set -u
programs=${1:?usage: scripts/test_full.sh FOLDER_OF_PROGRAMS [CASE...]}
shift
cases=("$@")
[ $# -gt 0 ] || cases=(text-encoder vae-decode unet-step unet-step-48x80 unet-step-mole run-2-mole
    sd21-text-encoder sd21-unet-mole sdxl-text-encoder sdxl-text-encoder-2 sdxl-unet-mole)
passed=0 failed=0 skipped=0

# check GIB CASE OPTIONS...: one case, if so many GiB are free.
check() {
    local need=$1 name=$2 start=$SECONDS free
    shift 2
    free=$(awk '/^MemAvailable:/ {print int($2 / 1048576)}' /proc/meminfo)
    if [ "$free" -lt "$need" ]; then
        echo "SKIP $name $*: needs $need GiB of memory, $free are free"
        skipped=$((skipped + 1))
        return
    fi
    if "$programs/mole" verify "$@" "golden/full/$name"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
    echo "  $((SECONDS - start)) s"
}

for name in "${cases[@]}"; do
    if [ ! -f "golden/full/$name/manifest.json" ]; then
        echo "FAIL $name: golden/full/$name is missing"
        failed=$((failed + 1))
        continue
    fi
    case $name in
    sd21-* | sdxl-*) # opened whole, whatever the case runs
        check 9 "$name" --widen use
        check 14 "$name" --widen use --precision f64
        continue
        ;;
    esac
    check 9 "$name"
    case $name in
    unet-step-mole)
        check 9 "$name" --mole stacked
        check 16 "$name" --precision f64
        ;;
    text-encoder) check 12 "$name" --precision f64 ;;
    esac
done
echo "test-full: $SECONDS s"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
