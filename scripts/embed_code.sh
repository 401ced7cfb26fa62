#!/bin/sh
# embed_code.sh - functions of the sources as C strings, for the page of mole generate --xray.
#
#   scripts/embed_code.sh LIST >xray_code.inc
#
# LIST has lines of KIND FILE FUNCTION; those that begin with '#' are passed over. Out comes the array code[] of
# kind_code_t (ref/xray/kinds.h). A function that is not there ends it with status 1.
set -eu
list=$1
here=$(dirname "$0")
fragment=$(mktemp)
trap 'rm -f "$fragment"' EXIT

echo 'static const kind_code_t code[] = {'
grep -v '^#' "$list" | while read -r kind file function; do
    awk -v name="$function" -f "$here/fragment.awk" "$file" >"$fragment" || exit 1
    echo "    {\"$kind\", \"$file\", \"$function\","
    # Two '?' and a bracket would be a trigraph.
    sed -e '1d' -e '$d' -e 's/\\/\\\\/g' -e 's/["?]/\\&/g' -e 's/.*/     "&\\n"/' "$fragment"
    echo '    },'
done || exit 1
echo '};'
