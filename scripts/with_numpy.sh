#!/bin/sh
# with_numpy.sh - run a Python script with a Python that has NumPy.
#
#   scripts/with_numpy.sh SCRIPT [ARGUMENT...]
#
# PYTHON=NAME is tried first, then python3 and /usr/bin/python3. Without NumPy the script is skipped, which
# is said in the form that scripts/run_tests.sh and .ci/run count.
set -u
for python in "${PYTHON:-python3}" python3 /usr/bin/python3; do
    "$python" -c 'import numpy' 2>/dev/null && exec "$python" "$@"
done
echo "SKIP $1: no Python with NumPy (scripts/setup.sh --more installs it)"
echo "0 passed, 0 failed, 1 skipped"
