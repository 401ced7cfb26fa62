/* reports.h - --json, --junit and --html of the subcommands that compare. */
#ifndef MOLE_CLI_REPORTS_H
#define MOLE_CLI_REPORTS_H

#include "cli/cli.h"
#include "report/report.h"

typedef struct {
    const char *json, *junit, *html; /* files, or NULL */
} reports_t;

/* For a subcommand's long option table; its own options begin at OPT_OWN_REPORTS. */
enum { OPT_JSON = OPT_OWN, OPT_JUNIT, OPT_HTML, OPT_OWN_REPORTS };
#define REPORTS_OPTIONS                                                                            \
    {"json", required_argument, NULL, OPT_JSON}, {"junit", required_argument, NULL, OPT_JUNIT}, {  \
        "html", required_argument, NULL, OPT_HTML                                                  \
    }

/* Whether it is one of the options, which is then set. */
bool reports_option(reports_t *reports, int option, const char *value);
/* cli_check_outputs of them and of `count` more, at most REPORTS_MORE. */
enum { REPORTS_MORE = 8 };
int reports_check(const reports_t *reports, const cli_output_t *more, size_t count,
                  const char *command);
/* As report_html; reference and candidate may be NULL. Returns 0, or -1 and err. */
int reports_write(const reports_t *reports, const compare_result_t *result,
                  const golden_case_t *golden, trace_file_t *reference, trace_file_t *candidate,
                  err_t *err);

#endif
