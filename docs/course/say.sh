#!/bin/sh
# say.sh - Python lines with NumPy as np, the plain functions of docs/course/code/, and the reference as ref;
# expressions are printed.
#
#   docs/course/say.sh LINE...
exec "${0%/*}/../../scripts/with_numpy.sh" "${0%/*}/code/say.py" "$@"
