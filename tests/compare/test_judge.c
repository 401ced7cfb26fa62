/* The verdict of single rows, and of a result, from their figures alone. */
#include <math.h>
#include <stdint.h>

#include "../fixture.h"
#include "compare/compare_internal.h"

/* Whatever the reports count as a failure is one, also alone. */
static void every_failure_differs(void **state) {
    (void)state;
    assert_false(compare_differs(&(compare_result_t){.agreeing = 3, .suspicious = 2}));
    assert_true(compare_differs(&(compare_result_t){.differing = 1}));
    assert_true(compare_differs(&(compare_result_t){.inherited = 1}));
    assert_true(compare_differs(&(compare_result_t){.missing = 1, .complete = true}));
    assert_false(compare_differs(&(compare_result_t){.missing = 1}));
}

#define ISOLATED .has_isolated = true, .inputs_known = true

/* One row of each kind, judged with the limit 16. */
static void rows_are_judged(void **state) {
    (void)state;
    compare_row_t row[] = {
        {.ratio = 15},
        {.ratio = 17},
        {.ratio = NAN},
        {.ratio = 17, ISOLATED, .isolated_ratio = 1},
        {.ratio = 17, ISOLATED, .isolated_ratio = 17},
        {.ratio = 1, ISOLATED, .isolated_ratio = NAN},
        {.ratio = 1, ISOLATED, .isolated_ratio = 1, .has_bound = true, .bound_used = 2},
        {.ratio = 1, ISOLATED, .has_bound = true, .bound_used = 1, .typical_used = 2},
        {.ratio = 17, .decided = 18},
        /* Inputs that nobody saw: only a tap that is wrong altogether is accused. */
        {.ratio = 15, .has_isolated = true, .isolated_ratio = 17},
        {.ratio = 17, .has_isolated = true, .isolated_ratio = 17},
        {.ratio = 17, .has_isolated = true, .isolated_ratio = 15},
    };
    static const row_verdict_t expected[] = {
        ROW_AGREES,  ROW_DIFFERS,    ROW_DIFFERS,    ROW_INHERITED, ROW_DIFFERS, ROW_DIFFERS,
        ROW_DIFFERS, ROW_SUSPICIOUS, ROW_SUSPICIOUS, ROW_AGREES,    ROW_DIFFERS, ROW_INHERITED};
    enum { ROWS = sizeof row / sizeof *row };
    for (size_t i = 0; i < ROWS; i++) row[i].candidate_name = "x";
    compare_result_t r = {.row = row, .rows = ROWS};
    compare_judge(&r, 16);
    for (size_t i = 0; i < ROWS; i++) assert_int_equal(row[i].verdict, expected[i]);
    assert_int_equal(r.culprit, 1); /* the first that is wrong */
    assert_int_equal(r.agreeing, 2);
    assert_int_equal(r.differing, 6);
    assert_int_equal(r.inherited, 2);
    assert_int_equal(r.suspicious, 2);
    assert_int_equal(compare_undecided(&r), 1); /* the last: the other is within its bound */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failure_differs),
        cmocka_unit_test(rows_are_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
