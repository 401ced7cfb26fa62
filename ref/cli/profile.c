/* profile.c - where the time of a run went, as a table and as JSON. */
#include <jansson.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/profile.h"

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
    return cli_write_json(path, root, err);
}
