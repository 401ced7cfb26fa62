/* test_noise.c - torch's CPU random numbers: golden/sampler/randn, published numbers
 * of the generator below it, and digests of samples too long to keep. */
#include <math.h>

#include "../scratch.h"
#include "../unit.h"
#include "golden/sha256.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "sampler/noise.h"

/* ---- the engine ------------------------------------------------------------------------------ */

/* The C++ standard, [rand.predef]: the 10000th number of a default mt19937 is 4123659995. Its first
 * three, of the authors' mt19937ar.c with the same seed. */
static void engine_published(void **state) {
    mt19937_t engine;
    (void)state;
    mt19937_seed(&engine, 5489);
    assert_int_equal(mt19937_next(&engine), 3499211612u);
    assert_int_equal(mt19937_next(&engine), 581869302u);
    assert_int_equal(mt19937_next(&engine), 3890346734u);
    for (int i = 3; i < 9999; i++) mt19937_next(&engine);
    assert_int_equal(mt19937_next(&engine), 4123659995u);
}

/* torch keeps 32 bits of the seed. */
static void engine_seeds(void **state) {
    mt19937_t a, b;
    (void)state;
    mt19937_seed(&a, 7);
    mt19937_seed(&b, 7 + (UINT64_C(1) << 40));
    assert_int_equal(mt19937_next(&a), mt19937_next(&b));
    mt19937_seed(&b, 8);
    assert_int_not_equal(mt19937_next(&a), mt19937_next(&b));
}

/* ---- golden vectors -------------------------------------------------------------------------- */

enum { PARTS_MAX = 8, NUMBERS_MAX = 16384, LONG = 1000, ENDS = 32, STRIDE = 97 };

typedef struct {
    char id[96];
    bool normal, f64, shortened;
    uint64_t seed;
    int64_t sizes[PARTS_MAX];
    size_t parts;
    const st_tensor_t *tensor;
} vector_t;

/* Fails the test with the loader's message. */
static vector_t read_vector(json_node_t root, size_t index, const st_file_t *tensors) {
    vector_t v = {.parts = 0};
    json_node_t row;
    const char *id, *function, *dtype, *stored, *tensor;
    int64_t seed;
    err_t err;
    must(json_get_item(root, "vectors", index, &row, &err), &err);
    must(json_get_string(row, "id", &id, &err), &err);
    must(json_get_string(row, "function", &function, &err), &err);
    must(json_get_string(row, "dtype", &dtype, &err), &err);
    must(json_get_string(row, "stored", &stored, &err), &err);
    must(json_get_string(row, "tensor", &tensor, &err), &err);
    must(json_get_int(row, "seed", 0, INT64_MAX, &seed, &err), &err);
    must(json_get_ints(row, "sizes", 1, NUMBERS_MAX, 1, PARTS_MAX, v.sizes, &v.parts, &err), &err);
    snprintf(v.id, sizeof v.id, "%s", id);
    v.normal = strcmp(function, "randn") == 0;
    if (!v.normal) assert_string_equal(function, "rand");
    v.f64 = strcmp(dtype, "float64") == 0;
    if (!v.f64) assert_string_equal(dtype, "float32");
    v.shortened = strcmp(stored, "all") != 0;
    if (v.shortened) assert_string_equal(stored, "first 32, last 32, every 97th");
    v.seed = (uint64_t)seed;
    v.tensor = st_find(tensors, tensor);
    if (!v.tensor) fail_msg("%s: tensor %s is missing", v.id, tensor);
    return v;
}

/* The numbers of a vector: one generator, one call per size. Returns how many. */
static size_t draw(const vector_t *v, void *out) {
    generator_t noise;
    size_t total = 0;
    noise_seed(&noise, v->seed);
    for (size_t p = 0; p < v->parts; p++) {
        size_t n = (size_t)v->sizes[p];
        assert_true(total + n <= NUMBERS_MAX);
        if (v->f64)
            (v->normal ? noise_randn_f64 : noise_rand_f64)((double *)out + total, n, &noise);
        else
            (v->normal ? noise_randn : noise_rand)((float *)out + total, n, &noise);
        total += n;
    }
    return total;
}

/* The index in the vector of stored number i. */
static size_t place(const vector_t *v, size_t total, size_t i) {
    if (!v->shortened || i < ENDS) return i;
    if (i < 2 * ENDS) return total - 2 * ENDS + i;
    return (i - 2 * ENDS) * STRIDE;
}

/* How far number `at` may be from torch's, relative to it. Uniforms and float32 blocks are equal everywhere;
 * for short float32 requests and all float64 normals torch takes libm's log, sin and cos, of which each libm
 * has its own last bit: one unit of float32, a few of float64. */
static double allowance(const vector_t *v, size_t at) {
    size_t part = 0, end = (size_t)v->sizes[0];
    while (at >= end) end += (size_t)v->sizes[++part];
    if (!v->normal) return 0;
    if (v->f64) return 0x1p-50;
    return v->sizes[part] < 16 ? 0x1p-23 : 0;
}

static void check_vector(const vector_t *v, void *out) {
    size_t total = draw(v, out), size = v->f64 ? sizeof(double) : sizeof(float);
    size_t expected = v->shortened ? 2 * ENDS + (total + STRIDE - 1) / STRIDE : total;
    assert_int_equal(v->tensor->dtype, v->f64 ? DTYPE_F64 : DTYPE_F32);
    assert_int_equal(v->tensor->bytes, expected * size);
    for (size_t i = 0; i < expected; i++) {
        size_t at = place(v, total, i);
        double got = v->f64 ? ((double *)out)[at] : (double)((float *)out)[at], truth;
        dtype_to_double(&truth, (const char *)v->tensor->data + i * size, v->tensor->dtype, 1);
        bool same_sign = signbit(got) == signbit(truth);
        if (!same_sign || !(fabs(got - truth) <= allowance(v, at) * fabs(truth)))
            fail_msg("%s: number %zu is %.17g, torch has %.17g", v->id, at, got, truth);
    }
}

static void golden_vectors(void **state) {
    json_file_t *manifest;
    st_file_t *tensors;
    err_t err;
    size_t count, normals = 0, longs = 0, doubles = 0, sequences = 0;
    double *out = malloc(NUMBERS_MAX * sizeof *out);
    (void)state;
    assert_non_null(out);
    must(json_file_open(&manifest, "golden/sampler/randn/manifest.json", &err), &err);
    must(st_open(&tensors, "golden/sampler/randn/tensors.safetensors", &err), &err);
    json_node_t root = json_file_root(manifest);
    must(json_get_length(root, "vectors", &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        vector_t v = read_vector(root, i, tensors);
        check_vector(&v, out);
        normals += v.normal && !v.f64;
        doubles += v.f64;
        sequences += v.parts > 1;
        longs += v.shortened;
    }
    /* What was promised is what was read. */
    assert_true(normals >= 60 && longs >= 8 && doubles >= 8 && sequences >= 8);
    printf("%zu vectors agree, %zu of them float32 normals\n", count, normals);
    st_close(tensors);
    json_file_close(manifest);
    free(out);
}

/* ---- whole samples, by digest ---------------------------------------------------------------- */

/* torch 2.13.0 on x86-64 with AVX-512 (and with ATEN_CPU_CAPABILITY=avx2):
 * g = torch.Generator().manual_seed(seed); sha256(torch.randn(n, generator=g).numpy().tobytes()) */
static void whole_samples(void **state) {
    static const struct {
        uint64_t seed;
        size_t n;
        const char *digest;
    } rows[] = {
        {42, 16384, "e97f3de04c7c6ba86354db4402b91d4402ede9c72aabed29a96dd7d635a798ba"},
        {4294967295, 16384, "9cd9e22a6fa43e2b77ccdaca07858b02451d0474e0b37ed5ea74c80ec1ac44bc"},
        {42, 1000000, "a3ff6db77853f063e9058d73f250772956a84aa16f70cc7674c2efa7c368b7c1"},
        {0, 999983, "5f220840e235035a552cdff167d64362514d81c3e33001b86e0571338f73cc6f"},
    };
    char text[SHA256_TEXT];
    generator_t noise;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        float *out = malloc(rows[i].n * sizeof *out);
        assert_non_null(out);
        noise_seed(&noise, rows[i].seed);
        noise_randn(out, rows[i].n, &noise);
        assert_string_equal(sha256_memory(text, out, rows[i].n * sizeof *out), rows[i].digest);
        free(out);
    }
    enum { MILLION = 1000000 };
    float *out = malloc(MILLION * sizeof *out);
    assert_non_null(out);
    noise_seed(&noise, 42);
    noise_rand(out, MILLION, &noise);
    assert_string_equal(sha256_memory(text, out, MILLION * sizeof *out),
                        "82371dc0b1b8c82d6c23a5549bd3b344c92006b2f087ef0b519d86a8e4db26fd");
    free(out);
}

/* ---- rules that vectors could only sample ---------------------------------------------------- */

/* Seeding forgets the spare normal; drawing nothing draws nothing; copies go their own way. */
static void generator_state(void **state) {
    generator_t noise, fork;
    float first[5], again[5];
    (void)state;
    noise_seed(&noise, 3);
    noise_randn(first, 3, &noise); /* leaves a spare */
    assert_true(noise.has_spare);
    noise_seed(&noise, 3);
    noise_randn(again, 0, &noise);
    noise_rand(again, 0, &noise);
    noise_randn(again, 3, &noise);
    assert_memory_equal(first, again, 3 * sizeof *first);
    fork = noise;
    noise_randn(first, 5, &noise);
    noise_randn(again, 5, &fork);
    assert_memory_equal(first, again, sizeof first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine_published), cmocka_unit_test(engine_seeds),
        cmocka_unit_test(golden_vectors),   cmocka_unit_test(whole_samples),
        cmocka_unit_test(generator_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
