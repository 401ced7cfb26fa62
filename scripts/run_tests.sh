#!/bin/sh
# run_tests.sh - run cmocka programs, count single test cases, never call a silence a success.
#
#   scripts/run_tests.sh -o DIR [-s PREFIX] [-j JOBS] [-t SECONDS] PROGRAM...
#
# -o DIR      log/ and junit/ (one file of each per program) are written there
# -s PREFIX   left out of the programs' names in messages (default: nothing)
# -j JOBS     programs at a time (default 1)
# -t SECONDS  a program that takes longer is killed (default 300)
#
# One line per program; of those that fail, all that is not a passed case, at the end. The last line is
# "N passed, N failed, N skipped". Failed are: a failed case; a case that was announced and never gave a
# result (the program crashed or hung); a program that is missing, announces no case, or ends with a
# status other than 0 without a failed case (a leak, say). Status: 0 all well, 1 something failed.
#
# A case is skipped by cmocka's skip(); print "SKIP: reason" in a line before it.
#
# Programs run from where this script is called, with two OpenMP and BLAS threads unless the environment
# says otherwise, so that parallel loops are parallel wherever the tests run.
set -u

out='' prefix='' jobs=1 limit=300
one='' # internal: run this program alone
while getopts o:s:j:t:1: option; do
    case $option in
        o) out=$OPTARG ;;
        s) prefix=$OPTARG ;;
        j) jobs=$OPTARG ;;
        t) limit=$OPTARG ;;
        1) one=$OPTARG ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ -n "$out" ] || { echo "run_tests.sh: -o DIR is missing" >&2; exit 2; }
parser=$(dirname "$0")/cmocka_output.awk

seconds() { # with a fraction where date knows it
    date +%s.%N | sed 's/\.N$//'
}

# Run one program: log/NAME.log, log/NAME.count "passed failed skipped", junit/NAME.xml, one line.
run_one() {
    program=$1
    name=${program#"$prefix"}
    file=$(echo "$name" | tr '/' '.')
    log=$out/log/$file.log
    start=$(seconds)
    if [ -x "$program" ]; then
        case $program in
            /*) ;;
            *) program=./$program ;;
        esac
        # In the background, so that an interrupt reaches this shell and is passed on.
        if command -v timeout >/dev/null 2>&1; then
            timeout -k 5 "$limit" "$program" >"$log" 2>&1 </dev/null &
        else
            "$program" >"$log" 2>&1 </dev/null &
        fi
        trap 'kill $!; exit 130' INT TERM
        wait $!
        status=$?
    else
        echo "no such program: $program" >"$log"
        status=missing
    fi
    time=$(echo "$start $(seconds)" | awk '{printf "%.1f", $2 - $1}')
    if [ "$status" = 124 ] || [ "$status" = 137 ]; then
        status="killed after $limit s"
    fi
    LC_ALL=C awk -v name="$name" -v status="$status" -v time="$time" \
        -v count_file="$out/log/$file.count" -v detail_file="$out/log/$file.detail" \
        -v xml_file="$out/junit/$file.xml" -f "$parser" "$log"
}

if [ -n "$one" ]; then
    run_one "$one"
    exit 0
fi

if [ $# = 0 ]; then
    echo "no test program to run" >&2
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi

rm -rf "$out/log" "$out/junit"
mkdir -p "$out/log" "$out/junit" || exit 1
: "${OMP_NUM_THREADS:=2}" "${OPENBLAS_NUM_THREADS:=2}" "${OMP_WAIT_POLICY:=passive}"
CMOCKA_MESSAGE_OUTPUT=STDOUT
export OMP_NUM_THREADS OPENBLAS_NUM_THREADS OMP_WAIT_POLICY CMOCKA_MESSAGE_OUTPUT
unset CMOCKA_XML_FILE

begin=$(seconds)
printf '%s\0' "$@" | xargs -0 -P "$jobs" -n 1 "$0" -o "$out" -s "$prefix" -t "$limit" -1
spent=$(echo "$begin $(seconds)" | awk '{printf "%.0f", $2 - $1}')

# What was not a success, in the order of the arguments; a program without a count has failed.
total='0 0 0'
for program; do
    file=$(echo "${program#"$prefix"}" | tr '/' '.')
    count=$(cat "$out/log/$file.count" 2>/dev/null) || count=
    case $count in
        [0-9]*' '[0-9]*' '[0-9]*) ;;
        *) echo "${program}: the runner lost it"; count='0 1 0' ;;
    esac
    [ ! -s "$out/log/$file.detail" ] || cat "$out/log/$file.detail"
    total=$(echo "$total $count" | awk '{print $1 + $4, $2 + $5, $3 + $6}')
done
echo "$# programs, $spent s; logs in $out/log, JUnit XML in $out/junit"
# shellcheck disable=SC2086 # three numbers
set -- $total
echo "$1 passed, $2 failed, $3 skipped"
[ "$2" = 0 ] && [ "$(($1 + $3))" -gt 0 ]
