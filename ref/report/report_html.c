/* report_html.c - a comparison as one page that opens anywhere, without a network.
 *
 * The page is ref/report/page/: page.html, page.css and page.js, and the words of docs/glossary.md, which
 * make puts into report_page.inc as two strings, before and after the data. The data are the JSON report, the
 * pictures and the commands of mole replay, in a script element that the browser does not run. Inside it only
 * "</script" and "<!--" mean anything to HTML; no '<' is left there, so no name can end it. The page itself
 * shows every name as text. */
#include <string.h>

#include "io/json.h"
#include "report/report.h"
#include "report/report_parts.h"
#include "report/report_pictures.h"
#include "report/report_replay.h"
#include "report_page.inc"

int report_html(const compare_result_t *result, const golden_case_t *golden,
                trace_file_t *reference, trace_file_t *candidate, const char *path, err_t *err) {
    report_file_t file;
    json_t *pictures = report_pictures(result, golden, reference, candidate, err);
    json_t *replay = pictures ? report_replay(result, golden, candidate, err) : NULL;
    if (!replay || report_file_open(&file, path, err)) {
        json_decref(pictures);
        json_decref(replay);
        return -1;
    }
    json_t *value = report_json_value(result);
    json_object_set_new(value, "pictures", pictures);
    json_object_set_new(value, "replay", replay);
    fputs(page_before, file.to);
    json_write_html(value, 0, file.to);
    fputs(page_after, file.to);
    json_decref(value);
    return report_file_close(&file, 0, err);
}
