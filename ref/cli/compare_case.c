/* compare_case.c - see compare_case.h. */
#include "cli/compare_case.h"

int compare_case(golden_case_t *golden, const char *folder, trace_file_t *candidate,
                 const compare_options_t *options, compare_result_t *result, err_t *err) {
    run_t run = {.matmul = MATMUL_BLAS, .conv = CONV_TILES, .form = MOLE_DIRECT};
    if (golden_case_open(golden, folder, err)) return -1;
    int status = arena_create(&run.arena, 0, err);
    if (!status) {
        status = compare_golden(&run, golden, candidate, options, result, err);
        arena_destroy(run.arena);
    }
    if (status) golden_case_close(golden);
    return status;
}
