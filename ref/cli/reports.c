/* reports.c - see reports.h. */
#include "cli/reports.h"

bool reports_option(reports_t *reports, int option, const char *value) {
    switch (option) {
    case OPT_JSON: reports->json = value; return true;
    case OPT_JUNIT: reports->junit = value; return true;
    case OPT_HTML: reports->html = value; return true;
    default: return false;
    }
}

int reports_check(const reports_t *reports, const cli_output_t *more, size_t count,
                  const char *command) {
    enum { OWN = 3 };
    cli_output_t outputs[OWN + REPORTS_MORE] = {{"--json", reports->json, CLI_JSON},
                                                {"--junit", reports->junit, CLI_XML},
                                                {"--html", reports->html, CLI_HTML}};
    for (size_t i = 0; i < count; i++) outputs[OWN + i] = more[i];
    return cli_check_outputs(command, outputs, OWN + count);
}

int reports_write(const reports_t *reports, const compare_result_t *result,
                  const golden_case_t *golden, trace_file_t *reference, trace_file_t *candidate,
                  err_t *err) {
    if (reports->json && report_json(result, reports->json, err)) return -1;
    if (reports->junit && report_junit(result, reports->junit, err)) return -1;
    if (reports->html && report_html(result, golden, reference, candidate, reports->html, err))
        return -1;
    return 0;
}
