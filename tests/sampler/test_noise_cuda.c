/* test_noise_cuda.c - Philox against its authors' known answers, and torch.cuda's normals against
 * numbers that people published from their GPUs, for tensors below and above what a GPU holds. */
#include <math.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/json.h"
#include "sampler/noise.h"
#include "sampler/philox.h"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* ---- the bijection --------------------------------------------------------------------------- */

/* Random123 (Salmon and others), tests/kat_vectors, philox4x32 with 10 rounds: all zeros, all ones,
 * the digits of pi. */
static void known_answers(void **state) {
    static const uint32_t rows[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    uint32_t out[4];
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        philox4x32_10(out, rows[i], rows[i] + 4);
        assert_memory_equal(out, rows[i] + 6, sizeof out);
    }
}

static void read_words(json_node_t row, const char *key, size_t count, uint32_t *words) {
    const char *text[4];
    size_t found;
    err_t err;
    must(json_get_strings(row, key, count, count, text, &found, &err), &err);
    for (size_t i = 0; i < count; i++) words[i] = (uint32_t)strtoul(text[i], NULL, 16);
}

static void golden_blocks(void **state) {
    json_file_t *file;
    json_node_t row;
    err_t err;
    size_t count;
    uint32_t counter[4], key[2], result[4];
    (void)state;
    must(json_file_open(&file, "golden/sampler/philox.json", &err), &err);
    must(json_get_length(json_file_root(file), "blocks", &count, &err), &err);
    assert_true(count >= 10);
    for (size_t i = 0; i < count; i++) {
        must(json_get_item(json_file_root(file), "blocks", i, &row, &err), &err);
        read_words(row, "counter", 4, counter);
        read_words(row, "key", 2, key);
        read_words(row, "result", 4, result);
        philox4x32_10(counter, counter, key); /* in place */
        assert_memory_equal(counter, result, sizeof result);
    }
    json_file_close(file);
}

/* ---- published numbers ----------------------------------------------------------------------- */

/* `n` numbers from number `at` on of torch.randn(total, device="cuda") after manual_seed(seed). */
typedef struct {
    const char *source;
    uint64_t seed;
    size_t total, threads, at, n;
    double scale, shift, digits; /* numbers are printed as shift + scale x, so many units apart */
    double values[19];
} published_t;

static const double root5 = 2.2360679774997897;

static const published_t published[] = {
    {"AUTOMATIC1111's rng_philox.py, docstring",
     0,
     12,
     0,
     0,
     12,
     1,
     0,
     1e-6,
     {-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564, -0.62285122,
      -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497}},
    {"pytorch issue 79496", 10, 3, 0, 0, 3, 1, 0, 6e-5, {-0.1029, 1.6810, -0.2708}},
    {"a public script's log, torch.manual_seed(42)",
     42,
     19,
     0,
     0,
     19,
     1,
     0,
     6e-5,
     {0.1940, 2.1614, -0.1721, 0.8491, -1.9244, 0.6530, -0.6494, -0.8175, 0.5280, -1.2753, -1.6621,
      -0.3033, -0.0926, 0.1992, -1.1204, 1.8577, -0.7145, 0.6881, 0.7968}},
    /* pytorch issue 158398, torch.randn([1, 64, 2048]), an RTX 3060: 28 multiprocessors of 1536. */
    {"issue 158398, row 0", 42, 131072, 28 * 1536, 0, 3, 1, 0, 6e-5, {0.1940, 2.1614, -0.1721}},
    {"issue 158398, end of row 0",
     42,
     131072,
     28 * 1536,
     2045,
     3,
     1,
     0,
     6e-5,
     {1.4540, -2.7733, -0.8932}},
    {"issue 158398, row 61",
     42,
     131072,
     28 * 1536,
     61 * 2048,
     3,
     1,
     0,
     6e-5,
     {-0.4861, 0.3358, 1.0578}},
    {"issue 158398, row 62",
     42,
     131072,
     28 * 1536,
     62 * 2048,
     3,
     1,
     0,
     6e-5,
     {0.7881, 0.8339, -1.1424}},
    {"issue 158398, row 63",
     42,
     131072,
     28 * 1536,
     63 * 2048,
     3,
     1,
     0,
     6e-5,
     {-1.2356, -0.4083, -0.4695}},
    {"issue 158398, end of row 63",
     42,
     131072,
     28 * 1536,
     131069,
     3,
     1,
     0,
     6e-5,
     {-0.4841, 1.2850, -0.0282}},
    /* pytorch issue 97097, normal_(5, 5 ** 0.5), an RTX A4000: 48 multiprocessors of 1536. */
    {"issue 97097, row 0", 14, 100000, 48 * 1536, 0, 3, root5, 5, 6e-5, {2.8731, 5.2727, 2.9889}},
    {"issue 97097, row 997",
     14,
     100000,
     48 * 1536,
     99700,
     3,
     root5,
     5,
     6e-5,
     {8.6297, 2.3137, 6.2596}},
    {"issue 97097, end", 14, 100000, 48 * 1536, 99997, 3, root5, 5, 6e-5, {8.2207, 6.5395, 4.2604}},
    /* pytorch issue 143086, 49 * 12 * 112 * 144 numbers: many rounds of Philox per thread. An H100
     * SXM has 132 multiprocessors of 2048, an A100 has 108. */
    {"issue 143086, start", 1, 9483264, 132 * 2048, 0, 3, 1, 0, 6e-5, {-0.2963, 2.6764, -0.1408}},
    {"issue 143086, H100",
     1,
     9483264,
     132 * 2048,
     9483261,
     3,
     1,
     0,
     6e-5,
     {-0.6970, -0.7780, 0.3267}},
    {"issue 143086, A100",
     1,
     9483264,
     108 * 2048,
     9483261,
     3,
     1,
     0,
     6e-5,
     {0.1549, -0.6797, -0.1656}},
};

static void published_numbers(void **state) {
    const published_t *drawn = NULL;
    float *out = NULL;
    err_t err;
    (void)state;
    for (size_t r = 0; r < COUNT(published); r++) {
        const published_t *p = &published[r];
        if (!drawn || drawn->seed != p->seed || drawn->total != p->total ||
            drawn->threads != p->threads) {
            out = realloc(out, p->total * sizeof *out);
            assert_non_null(out);
            must(noise_randn_cuda(out, p->total, p->seed, 0, p->threads, &err), &err);
            drawn = p;
        }
        for (size_t i = 0; i < p->n; i++) {
            double got = p->shift + p->scale * (double)out[p->at + i];
            if (!(fabs(got - p->values[i]) <= p->digits))
                fail_msg("%s: number %zu is %.8f, published %.8f", p->source, p->at + i, got,
                         p->values[i]);
        }
    }
    free(out);
}

/* ---- layout ---------------------------------------------------------------------------------- */

/* Up to the number of threads, an element depends on nothing but its index. */
static void sizes_agree_below_the_limit(void **state) {
    static float all[NOISE_CUDA_SAME], some[NOISE_CUDA_SAME];
    static const size_t sizes[] = {0, 1, 255, 256, 257, 16384, NOISE_CUDA_SAME};
    err_t err;
    (void)state;
    must(noise_randn_cuda(all, NOISE_CUDA_SAME, 9, 4, 0, &err), &err);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        memset(some, 0, sizeof some);
        must(noise_randn_cuda(some, sizes[i], 9, 4, 132 * 2048, &err), &err);
        assert_memory_equal(some, all, sizes[i] * sizeof *all);
        if (sizes[i] < NOISE_CUDA_SAME) assert_true(some[sizes[i]] == 0);
        assert_int_equal(noise_cuda_advance(sizes[i], 0), sizes[i] ? 4 : 0);
    }
}

/* 256 threads, 3000 numbers: element (4 w + q) 256 + t is normal q of round w of thread t, so that
 * element 0 of a later offset is element 1024 w of the first. */
static void rounds_and_offsets(void **state) {
    enum { T = 256, N = 3000 };
    float all[N], one;
    err_t err;
    (void)state;
    must(noise_randn_cuda(all, N, 5, 0, T, &err), &err);
    for (uint64_t w = 0; 4 * T * w < N; w++) {
        must(noise_randn_cuda(&one, 1, 5, 4 * w, T, &err), &err);
        assert_true(one == all[4 * T * w]);
    }
    assert_int_equal(noise_cuda_advance(N, T), 12);
    assert_int_equal(noise_cuda_advance(4 * T, T), 4);
    assert_int_equal(noise_cuda_advance(4 * T + 1, T), 8);
    float high[4], low[4]; /* all 64 bits of seed and offset count */
    must(noise_randn_cuda(low, 4, 5, 0, 0, &err), &err);
    must(noise_randn_cuda(high, 4, 5 + (UINT64_C(1) << 32), 0, 0, &err), &err);
    assert_memory_not_equal(low, high, sizeof low);
    must(noise_randn_cuda(high, 4, 5, UINT64_C(1) << 34, 0, &err), &err);
    assert_memory_not_equal(low, high, sizeof low);
}

static void check_refused(size_t n, uint64_t offset, size_t threads, const char *message) {
    float out[4] = {7, 7, 7, 7};
    err_t err;
    assert_int_equal(noise_randn_cuda(out, n, 1, offset, threads, &err), -1);
    if (!strstr(err.text, message)) fail_msg("\"%s\" is not in: %s", message, err.text);
    for (size_t i = 0; i < COUNT(out); i++) assert_true(out[i] == 7);
}

static void refusals(void **state) {
    (void)state;
    check_refused(NOISE_CUDA_SAME + 1, 0, 0, "40961 numbers, at most 40960");
    check_refused(4, 2, 0, "not a multiple of 4");
    check_refused(4, 0, 1000, "multiple of 256");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),      cmocka_unit_test(golden_blocks),
        cmocka_unit_test(published_numbers),  cmocka_unit_test(sizes_agree_below_the_limit),
        cmocka_unit_test(rounds_and_offsets), cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
