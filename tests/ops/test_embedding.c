/* embedding: rows are copied bit for bit, numbers outside the table are refused. */
#include <math.h>
#include <string.h>

#include "../fixture.h"
#include "ops/ops.h"

static void rows_are_copied(void **state) {
    (void)state;
    const int32_t ids[5] = {3, 0, 3, 4, 1};
    real_t table[5 * 3], out[5 * 3];
    for (size_t i = 0; i < 15; i++) table[i] = (real_t)i / 7;
    table[9] = (real_t)-0.0;
    table[10] = (real_t)NAN;
    embedding(out, ids, table, 5, 5, 3);
    for (size_t n = 0; n < 5; n++)
        assert_memory_equal(out + n * 3, table + ids[n] * 3, 3 * sizeof(real_t));
}

static void embed(int32_t id) {
    real_t table[6] = {0}, out[4];
    int32_t ids[2] = {1, id};
    embedding(out, ids, table, 2, 3, 2);
}
static void below_the_table(void) {
    embed(-1);
}
static void past_the_table(void) {
    embed(3);
}

static void broken_contracts_abort(void **state) {
    (void)state;
    fixture_aborts(below_the_table, "embedding: id -1 at position 1, table of 3 rows");
    fixture_aborts(past_the_table, "embedding: id 3 at position 1, table of 3 rows");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(rows_are_copied),
        fixture_test(broken_contracts_abort),
    };
    return cmocka_run_group_tests_name("ops/embedding " REAL_NAME, tests, NULL, NULL);
}
