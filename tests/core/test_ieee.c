/* ieee_check: well as the program starts, and an error where the process was set to compute in another way.
 * */
#include <fenv.h>
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "../fixture.h"
#include "core/ieee.h"

static void refused(const char *why) {
    err_t err = {""};
    assert_int_equal(ieee_check(&err), -1);
    if (!strstr(err.text, why)) fail_msg("'%s' does not say '%s'", err.text, why);
}

static void as_started(void **state) {
    err_t err;
    (void)state;
    assert_int_equal(ieee_check(&err), 0);
}

static void other_rounding(void **state) {
    static const int mode[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fesetround(mode[i]), 0);
        refused("another rounding mode");
        fesetround(FE_TONEAREST);
    }
    as_started(state);
}

/* Flush to zero is bit 15 of x86's control register, subnormal operands as zeros is bit 6. */
static void flushed_subnormals(void **state) {
    (void)state;
#ifdef __SSE__
    unsigned before = _mm_getcsr();
    for (int bit = 6; bit <= 15; bit += 9) {
        _mm_setcsr(before | 1u << bit);
        refused("flushes subnormal numbers");
        _mm_setcsr(before);
    }
    as_started(state);
#else
    printf("SKIP: how this processor flushes subnormal numbers is not known here\n");
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(as_started),
        fixture_test(other_rounding),
        fixture_test(flushed_subnormals),
    };
    return cmocka_run_group_tests_name("core/ieee " REAL_NAME, tests, NULL, NULL);
}
