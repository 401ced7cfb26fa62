#!/bin/sh
# check.sh - a plain version of the course against the reference, also with a change to its lines.
#
#   docs/course/check.sh [NAME [--change OLD NEW]...]
exec "${0%/*}/../../scripts/with_numpy.sh" "${0%/*}/code/check.py" "$@"
