/* test_deviations.c - the authors' deviations by name; bfloat16's rounding against its definition. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "../scratch.h"
#include "core/deviations.h"

static void names_and_presets(void **state) {
    (void)state;
    deviations_t set = 0, all = 0;
    err_t err;
    assert_int_equal(deviations_add(&set, "vae-without-attention", &err), 0);
    assert_int_equal(deviations_add(&set, "prompt-suffixes", &err), 0);
    assert_int_equal(set, DEVIATION_VAE_WITHOUT_ATTENTION | DEVIATION_PROMPT_SUFFIXES);
    char *text = deviations_text(set), *none = deviations_text(0);
    assert_string_equal(text, "prompt-suffixes, vae-without-attention");
    assert_string_equal(none, "");
    free(text);
    free(none);
    assert_int_equal(deviations_add(&set, "vae", &err), -1);
    assert_message(&err, "'vae'", "prompt-suffixes, vae-without-attention", "bf16-gates", NULL);
    for (size_t i = 0; i < DEVIATIONS; i++) all |= deviation_table[i].bit;
    assert_int_equal(preset_find("authors-xl")->deviations, all);
    assert_true(preset_find("authors-xl")->weighted);
    assert_int_equal(preset_find("paper")->deviations, DEVIATION_PROMPT_SUFFIXES);
    assert_false(preset_find("paper")->weighted);
    assert_null(preset_find("authors"));
    assert_null(preset_find(""));
}

/* The nearest number of 8 binary digits, of two equally near the even one: by scaling, not by bits. */
static double nearest(double x) {
    int exponent;
    double m = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(m, 8)), exponent - 8);
}

static void rounded_to_bfloat16(void **state) {
    (void)state;
    static const double ties[][2] = {{1.00390625, 1},    {1.01171875, 1.015625},
                                     {-1.00390625, -1},  {0.998046875, 1},
                                     {0.501953125, 0.5}, {257, 256},
                                     {259, 260},         {0, 0},
                                     {-3.5, -3.5}};
    for (size_t i = 0; i < sizeof ties / sizeof *ties; i++)
        assert_true((double)bf16_rounded(ties[i][0]) == ties[i][1]);
    for (double x = 1e-3; x < 40; x *= 1.00037) {
        assert_true((double)bf16_rounded(x) == nearest((double)(float)x));
        assert_true((double)bf16_rounded(-x) == -nearest((double)(float)x));
    }
    assert_true(isnan(bf16_rounded((double)NAN)));
    assert_true(isinf(bf16_rounded((double)INFINITY)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_presets),
        cmocka_unit_test(rounded_to_bfloat16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
