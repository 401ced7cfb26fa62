# embed_page.awk - a page of several files as two C strings, before and after its data.
#
#   awk -v made=FOLDER -f scripts/embed_page.awk PAGES/page.html > report_page.inc
#
# A line {{NAME}} of page.html is replaced by the file NAME beside it, {{made/NAME}} by that of the folder `made`; the
# line {{data}} is where the first string, page_before, ends and the second, page_after, begins.

function put(line) {
    gsub(/\\/, "&&", line)
    gsub(/["?]/, "\\\\&", line) # two '?' and a bracket would be a trigraph
    printf "    \"%s\\n\"\n", line
}

BEGIN { print "static const char page_before[] =" }

{
    if (FNR == 1) { folder = FILENAME; sub(/[^\/]*$/, "", folder) }
    if ($0 == "{{data}}") {
        print "    \"\";\nstatic const char page_after[] ="
    } else if (substr($0, 1, 2) == "{{") {
        name = substr($0, 3, length($0) - 4)
        name = sub(/^made/, "", name) ? made name : folder name
        while ((status = (getline line < name)) > 0) put(line)
        if (status < 0) { print "embed_page.awk: cannot read " name > "/dev/stderr"; exit 1 }
        close(name)
    } else put($0)
}

END { print "    \"\";" }
