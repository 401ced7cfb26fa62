/* profile.c - where the time of a run went, as a table and as JSON. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/profile.h"
#include "io/file.h"

void cli_print_profile(const profile_t *p) {
    profile_row_t total = profile_total(p);
    printf("%-22s %10s %7s %10s %9s %8s\n", "profile", "seconds", "share", "GFLOP", "GFLOP/s",
           "calls");
    for (int k = 0; k <= PROFILE_KINDS; k++) {
        bool last = k == PROFILE_KINDS;
        profile_row_t row = last ? total : p->row[k];
        printf("%-22s %10.3f %6.1f%% %10.1f", last ? "total" : profile_kind_name(k), row.seconds,
               total.seconds > 0 ? 100 * row.seconds / total.seconds : 0, row.gflop);
        if (row.gflop > 0 && row.seconds > 0)
            printf(" %9.1f", row.gflop / row.seconds);
        else
            printf(" %9s", "-");
        printf(" %8zu\n", row.calls);
    }
}

int cli_write_profile(const profile_t *p, const char *path, err_t *err) {
    json_t *kinds = json_array();
    for (int k = 0; k < PROFILE_KINDS; k++)
        json_array_append_new(kinds,
                              json_pack("{s:s, s:f, s:f, s:I}", "kind", profile_kind_name(k),
                                        "seconds", p->row[k].seconds, "gflop", p->row[k].gflop,
                                        "calls", (json_int_t)p->row[k].calls));
    json_t *root = json_pack("{s:s, s:o}", "format", "mole profile 1", "kinds", kinds);
    char *text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    out_file_t out;
    int status = out_file_open(&out, path, "", err);
    if (!status) {
        status =
            out_file_write(&out, text, strlen(text), err) || out_file_write(&out, "\n", 1, err);
        if (status)
            out_file_abort(&out);
        else
            status = out_file_commit(&out, err);
    }
    free(text);
    json_decref(root);
    return status ? -1 : 0;
}
