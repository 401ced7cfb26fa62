# cmocka_output.awk - what one cmocka program wrote (its standard format) becomes a summary line on
# stdout, "passed failed skipped" in count_file, the story of failures and skips in detail_file, and a
# JUnit report in xml_file.
#
# Given by -v: name, status (of the program, or "missing", or "killed after N s"), time, count_file,
# detail_file, xml_file. The caller sets LC_ALL=C: tests may print any bytes.
#
#   [==========] Running 7 test(s).      announces (newer versions put the group's name before Running)
#   [ RUN      ] case                    begins a case; what follows, up to its result, is its story
#   [       OK ] case   FAILED, SKIPPED, or ERROR with the case's name (its setup failed)
#   [==========] 7 test(s) run.          begins cmocka's own summary, which is ignored
#
# The mark of a result need not start a line: a test may have printed without a newline.

function mark(word) { # the text after "[ word ] ", or "" and RLENGTH -1
    if (!match($0, "\\[ *" word " *\\] ")) return ""
    before = substr($0, 1, RSTART - 1)
    return substr($0, RSTART + RLENGTH)
}

function result(kind, why) {
    cases++
    case_name[cases] = running
    case_kind[cases] = kind
    case_why[cases] = why
    tally[kind]++
    group_seen++
    running = ""
    story = ""
}

function close_group() { # cases that were announced and gave no result
    if (running != "") result("failed", story "(" running " gave no result: program " ending() ")\n")
    for (; group_seen < announced;) {
        running = "announced, never run"
        result("failed", "(program " ending() ")\n")
    }
    announced = group_seen = 0
}

function ending() {
    return status ~ /^[0-9]+$/ ? "ended with status " status : status
}

function xml(text) {
    gsub(/&/, "\\&amp;", text)
    gsub(/</, "\\&lt;", text)
    gsub(/>/, "\\&gt;", text)
    gsub(/"/, "\\&quot;", text)
    gsub(/[\001-\010\013\014\016-\037]/, "?", text)
    gsub(/[\200-\377]/, "?", text) # may be invalid UTF-8; the log file has the bytes
    return text
}

BEGIN { tally["passed"] = tally["failed"] = tally["skipped"] = 0 }

/\[==========\] .*Running [0-9]+ test/ {
    close_group()
    match($0, /Running [0-9]+/)
    announced = substr($0, RSTART + 8, RLENGTH - 8) + 0
    in_summary = 0
    next
}
/\[==========\] .*[0-9]+ test\(s\) run/ {
    close_group()
    in_summary = 1
    next
}
in_summary && /^\[ *(PASSED|FAILED|SKIPPED|ERROR) *\]/ { next }
in_summary && /^ *[0-9]+ (FAILED|SKIPPED|ERROR)/ { next }
/^\[ RUN      \] / {
    if (running != "") result("failed", story "(" running " gave no result)\n")
    running = substr($0, 14)
    story = ""
    next
}
running != "" && mark("OK") == running { result("passed", ""); next }
running != "" && mark("FAILED") == running { result("failed", story before "\n"); next }
running != "" && mark("ERROR") == running { result("failed", story before "\n"); next }
running != "" && mark("SKIPPED") == running {
    why = story
    if (!match(why, /SKIP[^\n]*/)) why = "no reason given"
    else why = substr(why, RSTART, RLENGTH)
    sub(/^SKIP(PED)?[: ]*/, "", why)
    result("skipped", why)
    next
}
running != "" { story = story $0 "\n"; next }
{
    outside = outside $0 "\n"
    if ($0 ~ /^\[  FAILED  \] GROUP TEARDOWN/) teardown++
}

END {
    close_group()
    for (; teardown > 0; teardown--) {
        running = "GROUP TEARDOWN"
        result("failed", "")
    }
    if (status == "missing") running = "missing program"
    else if (cases == 0) running = "no result"
    else if (status != "0" && tally["failed"] == 0) running = "status"
    if (running != "") result("failed", running == "missing program" ? "" : "(program " ending() ")\n")

    summary = sprintf("%d passed", tally["passed"])
    if (tally["failed"]) summary = summary sprintf(", %d FAILED", tally["failed"])
    if (tally["skipped"]) summary = summary sprintf(", %d skipped", tally["skipped"])
    printf "%-4s %-44s %6.1f s  %s\n", tally["failed"] ? "FAIL" : "ok", name, time, summary

    print tally["passed"], tally["failed"], tally["skipped"] > count_file

    printf "" > detail_file
    if (tally["failed"]) printf "\n==== %s: %s\n", name, summary > detail_file
    for (i = 1; i <= cases; i++) {
        if (case_kind[i] == "failed") printf "-- %s\n%s", case_name[i], case_why[i] > detail_file
    }
    if (tally["failed"]) printf "%s====\n\n", outside > detail_file
    for (i = 1; i <= cases; i++) {
        if (case_kind[i] == "skipped") printf "SKIP %s %s: %s\n", name, case_name[i], case_why[i] > detail_file
    }

    suite = name
    gsub(/\//, ".", suite)
    printf "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" > xml_file
    printf "<testsuite name=\"%s\" tests=\"%d\" failures=\"%d\" errors=\"0\" skipped=\"%d\" time=\"%s\">\n", \
        xml(suite), cases, tally["failed"], tally["skipped"], time > xml_file
    for (i = 1; i <= cases; i++) {
        printf "  <testcase classname=\"%s\" name=\"%s\"", xml(suite), xml(case_name[i]) > xml_file
        if (case_kind[i] == "failed") {
            printf "><failure message=\"failed\">%s</failure></testcase>\n", xml(case_why[i] outside) > xml_file
        } else if (case_kind[i] == "skipped") {
            printf "><skipped message=\"%s\"/></testcase>\n", xml(case_why[i]) > xml_file
        } else {
            printf "/>\n" > xml_file
        }
    }
    printf "</testsuite>\n" > xml_file
}
