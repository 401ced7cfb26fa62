#!/usr/bin/env bash
# bench.sh - measure, keep the numbers in docs/performance.json, make docs/performance.md: make bench.
#
#   scripts/bench.sh [OPTIONS]
#
#   --mole PROGRAM   what is measured (build/cc/mole)
#   --only PART      bench, growth, runs, torch or page; may be given several times. Default: all
#   --rounds N       rounds that have to count (5); N runs of each point of growth as well, at most 3
#   --threads N      (2, or 1 where there is one core)
#   --json FILE      where numbers are kept (docs/performance.json)
#   --page FILE      the page (docs/performance.md)
#   --again          measure also what is in the JSON file already
#
# bench: `mole bench`. growth: how cost grows with resolution, batch, rank, experts. runs: whole runs.
# torch: the same shapes in PyTorch, in turns with mole; it needs a Python with torch, diffusers and
# transformers (PYTHON=NAME, else .venv/bin/python, else python3) and is skipped without. A machine with
# nothing else to do and 24 GiB of memory is needed, and half an hour. What growth and torch have measured
# is kept part by part: after an interruption the same command goes on.
#
# OpenBLAS chooses its kernel: OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are taken out of the environment.
# Status: 0 all done, 2 usage, 3 something could not be measured.
set -u
cd "$(dirname "$0")/.." || exit 3
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

mole=build/cc/mole json=docs/performance.json page=docs/performance.md rounds=5 threads='' parts='' again=''
usage() {
    echo "bench.sh: $1 (try --help)" >&2
    exit 2
}
number() { # number OPTION VALUE
    case $2 in '' | 0* | *[!0-9]*) usage "$1: expected a whole number of at least 1, found '$2'" ;; esac
}
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p;}' "$0"; exit 0 ;;
        --again) again=--again; shift; continue ;;
    esac
    [ $# -gt 1 ] || usage "$1: not an option, or its value is missing"
    case $1 in
        --mole) mole=$2 ;;
        --json) json=$2 ;;
        --page) page=$2 ;;
        --rounds) number "$1" "$2"; rounds=$2 ;;
        --threads) number "$1" "$2"; threads=$2 ;;
        --only)
            case $2 in bench | growth | runs | torch | page) parts="$parts $2" ;;
                *) usage "--only: expected bench, growth, runs, torch or page, found '$2'" ;; esac ;;
        *) usage "unknown option $1" ;;
    esac
    shift 2
done
[ -n "$parts" ] || parts='bench growth runs torch page'
if [ -z "$threads" ]; then
    threads=$(nproc 2>/dev/null || echo 2)
    [ "$threads" -lt 2 ] || threads=2
fi
[ "${parts# }" = page ] || [ -x "$mole" ] || { echo "bench.sh: no program $mole: run make" >&2; exit 3; }

wanted() { case " $parts " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
status=0
failed() {
    echo "bench.sh: $1 could not be measured" >&2
    status=3
}
common=(--mole "$mole" --json "$json" --threads "$threads")

if wanted bench; then
    work=$(mktemp -d) || exit 3
    trap 'rm -rf "$work"' EXIT
    if "$mole" bench --rounds "$rounds" --threads "$threads" --json "$work/bench.json"; then
        python3 scripts/bench_common.py "$json" bench "$work/bench.json" || failed bench
    else
        failed bench
    fi
fi
if wanted growth; then
    # shellcheck disable=SC2086 # $again is one option or none
    python3 scripts/growth.py "${common[@]}" $again --rounds $((rounds < 3 ? rounds : 3)) \
        --images "$(dirname "$page")/img" || failed growth
fi
if wanted runs; then
    python3 scripts/bench_runs.py "${common[@]}" || failed runs
    folder=$(mktemp -d) || exit 3
    if "$mole" generate --model synth:sd15 --face synth:rank=256,alpha=64 \
        --hand synth:rank=256,alpha=128 --gates synth: --prompt hands --steps 4 --threads "$threads" -q \
        --profile-json "$folder/profile.json" -o "$folder/picture.png" >&2; then
        python3 scripts/bench_common.py "$json" profile "$folder/profile.json" || failed profile
    else
        failed profile
    fi
    rm -rf "$folder"
fi
if wanted torch; then
    python=
    for try in "${PYTHON:-}" .venv/bin/python python3; do
        if [ -n "$try" ] && "$try" -c 'import torch, diffusers, transformers' 2>/dev/null; then
            python=$try
            break
        fi
    done
    if [ -n "$python" ]; then
        # shellcheck disable=SC2086
        "$python" scripts/bench_torch.py "${common[@]}" $again --rounds "$rounds" || failed torch
    else
        echo "SKIP the comparison: no Python with torch, diffusers and transformers (make .venv/ready)" >&2
    fi
fi
if wanted page; then
    python3 scripts/performance_page.py --json "$json" --page "$page" || failed page
fi
exit $status
