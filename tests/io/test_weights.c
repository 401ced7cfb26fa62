/* test_weights.c - strict binding: every tensor once, by name and shape, finite, none left over. */
#include <math.h>
#include <unistd.h>

#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"
#include "io/weights.h"

typedef struct {
    const char *name;
    dtype_t dtype;
    shape_t shape;
    const void *data;
} item_t;

static const char *write_items(const char *file_name, const item_t *items, size_t count) {
    err_t err;
    st_writer_t *writer;
    const char *path = scratch_path(file_name);
    assert_int_equal(st_writer_open(&writer, path, &err), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(st_writer_add(writer, items[i].name, items[i].dtype, items[i].shape,
                                       items[i].data, &err),
                         0);
    assert_int_equal(st_writer_finish(writer, &err), 0);
    return path;
}

static weights_t *open_items(const item_t *items, size_t count) {
    err_t err;
    weights_t *weights;
    if (weights_open_part(&weights, write_items("w.safetensors", items, count), SOURCE_EXPERT, "",
                          &err) != 0)
        fail_msg("%s", err.text);
    return weights;
}

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static const float f32[6] = {1, -2, 3.5f, 0.25f, 5, 6};
static const double f64[6] = {1, -2, 3.5, 0.25, 5, 6};
static const uint16_t f16[6] = {0x3c00, 0xc000, 0x4300, 0x3400, 0x4500, 0x4600};
static const uint16_t bf16[6] = {0x3f80, 0xc000, 0x4060, 0x3e80, 0x40a0, 0x40c0};
static const int64_t i64[2] = {3, 4};

static const item_t good[] = {
    {"a.weight", DTYPE_F32, {2, {2, 3}}, f32},  {"b.weight", DTYPE_F64, {2, {2, 3}}, f64},
    {"c.weight", DTYPE_F16, {2, {3, 2}}, f16},  {"d.bias", DTYPE_BF16, {1, {6}}, bf16},
    {"position_ids", DTYPE_I64, {1, {2}}, i64}, {"none", DTYPE_F32, {1, {0}}, NULL},
};

static void every_dtype(void **state) {
    (void)state;
    err_t err;
    weights_t *weights = open_items(good, COUNT(good));
    const char *names[] = {"a.weight", "b.weight", "c.weight", "d.bias"};
    const shape_t shapes[] = {{2, {2, 3}}, {2, {2, 3}}, {2, {3, 2}}, {1, {6}}};
    const real_t *x[4], *none = NULL;
    for (int i = 0; i < 4; i++) {
        assert_true(weights_has(weights, names[i]));
        if (weights_take(weights, names[i], shapes[i], &x[i], &err) != 0) fail_msg("%s", err.text);
    }
    assert_int_equal(weights_take(weights, "none", SHAPE1(0), &none, &err), 0);
    assert_non_null(none);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 6; k++) assert_true((double)x[i][k] == f64[k]);
    assert_int_equal(weights_parameters(weights), 24);
    /* what is real_t already is used in place; the others take 64 bytes each, also the empty one */
    assert_int_equal(weights_owned_bytes(weights), dtype_real() == DTYPE_F32 ? 3 * 64 : 4 * 64);
    for (int i = 0; i < 4; i++) {
        bool in_place = good[i].dtype == dtype_real();
        if (!in_place) assert_int_equal((uintptr_t)x[i] % 64, 0);
    }
    weights_ignore(weights, "*position_ids");
    if (weights_finish(weights, false, &err) != 0) fail_msg("%s", err.text);
    weights_close(weights);
}

/* Data that starts at an odd address cannot be used in place. */
static void unaligned_data_is_copied(void **state) {
    (void)state;
    err_t err;
    const item_t items[] = {
        {"byte", DTYPE_U8, {0, {0}}, "x"},
        {"x", dtype_real(), {1, {6}}, sizeof(real_t) == 8 ? (const void *)f64 : f32}};
    weights_t *weights = open_items(items, 2);
    const real_t *x;
    assert_int_equal(weights_take(weights, "x", SHAPE1(6), &x, &err), 0);
    assert_int_equal((uintptr_t)x % 64, 0);
    for (int k = 0; k < 6; k++) assert_true((double)x[k] == f64[k]);
    weights_close(weights);
}

/* (Co,Ci,kh,kw) -> (Co,kh,kw,Ci), against the definition, for each dtype; 1x1 stays in place. */
static void convolutions_are_packed(void **state) {
    (void)state;
    enum { CO = 3, CI = 4, KH = 2, KW = 5, N = CO * CI * KH * KW };
    err_t err;
    float single[N];
    double dbl[N];
    uint16_t half[N];
    for (int i = 0; i < N; i++) {
        single[i] = (float)i;
        dbl[i] = i;
        half[i] = (uint16_t)(0x5800 + 8 * i); /* 128 + i */
    }
    const shape_t shape = SHAPE4(CO, CI, KH, KW), one_by_one = SHAPE4(CO * KH, CI * KW, 1, 1);
    const item_t items[] = {
        {"f32", DTYPE_F32, shape, single},
        {"f64", DTYPE_F64, shape, dbl},
        {"f16", DTYPE_F16, shape, half},
        {"1x1", dtype_real(), one_by_one, sizeof(real_t) == 8 ? (void *)dbl : single}};
    weights_t *weights = open_items(items, COUNT(items));
    for (int t = 0; t < 3; t++) {
        const real_t *packed;
        if (weights_take_conv(weights, items[t].name, shape, &packed, &err) != 0)
            fail_msg("%s", err.text);
        for (int o = 0; o < CO; o++)
            for (int c = 0; c < CI; c++)
                for (int y = 0; y < KH; y++)
                    for (int x = 0; x < KW; x++) {
                        int file = ((o * CI + c) * KH + y) * KW + x;
                        int here = ((o * KH + y) * KW + x) * CI + c;
                        assert_true((double)packed[here] == file + (t == 2 ? 128 : 0));
                    }
    }
    size_t owned = weights_owned_bytes(weights);
    const real_t *flat;
    assert_int_equal(weights_take_conv(weights, "1x1", one_by_one, &flat, &err), 0);
    for (int i = 0; i < N; i++) assert_true(flat[i] == (real_t)i);
    assert_int_equal(weights_owned_bytes(weights), owned);
    assert_int_equal(weights_finish(weights, false, &err), 0);
    weights_close(weights);
}

static void scalars(void **state) {
    (void)state;
    err_t err;
    double value;
    const float bad = NAN;
    const item_t items[] = {{"f16", DTYPE_F16, {0, {0}}, f16 + 2},
                            {"one", DTYPE_F32, {1, {1}}, f32 + 3},
                            {"int", DTYPE_I64, {0, {0}}, i64},
                            {"two", DTYPE_F32, {1, {2}}, f32},
                            {"nan", DTYPE_F32, {0, {0}}, &bad}};
    weights_t *weights = open_items(items, COUNT(items));
    assert_int_equal(weights_take_scalar(weights, "f16", &value, &err), 0);
    assert_true(value == 3.5);
    assert_int_equal(weights_take_scalar(weights, "one", &value, &err), 0);
    assert_true(value == 0.25);
    assert_int_equal(weights_take_scalar(weights, "int", &value, &err), 0);
    assert_true(value == 3.0);
    assert_int_equal(weights_take_scalar(weights, "two", &value, &err), -1);
    assert_message(&err, "w.safetensors", "'two'", "expected shape ()", "found (2)", NULL);
    assert_int_equal(weights_take_scalar(weights, "nan", &value, &err), -1);
    assert_message(&err, "w.safetensors", "'nan'", "NaN", NULL);
    assert_int_equal(weights_take_scalar(weights, "f16", &value, &err), -1);
    assert_message(&err, "w.safetensors", "'f16'", "twice", NULL);
    assert_int_equal(weights_take_scalar(weights, "nowhere", &value, &err), -1);
    assert_message(&err, "w.safetensors", "'nowhere'", "missing", NULL);
    assert_int_equal(weights_parameters(weights), 3);
    weights_close(weights);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void misfits(void **state) {
    (void)state;
    err_t err;
    weights_t *weights = open_items(good, COUNT(good));
    const real_t *x = NULL;
    assert_int_equal(weights_take(weights, "a.weight", SHAPE2(3, 2), &x, &err), -1);
    assert_message(&err, "w.safetensors", "'a.weight'", "expected shape (3, 2)", "found (2, 3)",
                   "config.json", NULL);
    assert_int_equal(weights_take(weights, "a.weight", SHAPE3(2, 3, 1), &x, &err), -1);
    assert_message(&err, "expected shape (2, 3, 1)", NULL);
    assert_int_equal(weights_take(weights, "position_ids", SHAPE1(2), &x, &err), -1);
    assert_message(&err, "w.safetensors", "'position_ids'", "expected dtype", "found I64", NULL);
    assert_int_equal(weights_take(weights, "a.wieght", SHAPE2(2, 3), &x, &err), -1);
    assert_message(&err, "w.safetensors", "'a.wieght' (2, 3) is missing", "nearest", "'a.weight'",
                   NULL);
    assert_int_equal(weights_take(weights, "something.quite.different", SHAPE0(), &x, &err), -1);
    assert_message(&err, "'something.quite.different' () is missing", "right component", NULL);
    assert_null(x);
    assert_int_equal(weights_take(weights, "a.weight", SHAPE2(2, 3), &x, &err), 0);
    assert_int_equal(weights_take(weights, "a.weight", SHAPE2(2, 3), &x, &err), -1);
    assert_message(&err, "w.safetensors", "'a.weight'", "twice", NULL);
    /* a name that is bound already is no suggestion */
    assert_int_equal(weights_take(weights, "a.weigh", SHAPE2(2, 3), &x, &err), -1);
    assert_message(&err, "'a.weigh' (2, 3) is missing", "'b.weight'", NULL);
    assert_null(strstr(err.text, "'a.weight'"));
    assert_false(weights_has(weights, "a"));
    shape_t shape;
    assert_true(weights_shape(weights, "c.weight", &shape));
    assert_true(shape_equal(shape, SHAPE2(3, 2)));
    assert_false(weights_shape(weights, "c.weights", &shape));
    weights_close(weights);
}

/* A NaN or an Inf anywhere, in every dtype, plain or convolution, is found and its place is
 * named. */
static void not_finite(void **state) {
    (void)state;
    enum { CO = 2, CI = 700, KH = 3, KW = 2, N = CO * CI * KH * KW };
    static float single[N];
    static uint16_t half[N];
    const shape_t shape = SHAPE4(CO, CI, KH, KW);
    const size_t places[] = {0, 1, 4095, 4096, 5000, N - 1};
    for (size_t p = 0; p < COUNT(places); p++)
        for (int infinite = 0; infinite < 2; infinite++) {
            memset(single, 0, sizeof single);
            memset(half, 0, sizeof half);
            single[places[p]] = infinite ? -INFINITY : NAN;
            half[places[p]] = infinite ? 0xfc00 : 0x7e01;
            const item_t items[] = {{"s", DTYPE_F32, shape, single}, {"h", DTYPE_F16, shape, half}};
            weights_t *weights = open_items(items, 2);
            char index[64];
            snprintf(index, sizeof index, "(%zu, %zu, %zu, %zu)", places[p] / (CI * KH * KW),
                     places[p] / (KH * KW) % CI, places[p] / KW % KH, places[p] % KW);
            for (int t = 0; t < 4; t++) {
                err_t err;
                const real_t *x;
                const char *name = t % 2 ? "h" : "s";
                int status = t < 2 ? weights_take(weights, name, shape, &x, &err)
                                   : weights_take_conv(weights, name, shape, &x, &err);
                assert_int_equal(status, -1);
                assert_message(&err, "w.safetensors", t % 2 ? "'h'" : "'s'",
                               infinite ? "Inf" : "NaN", index, NULL);
            }
            weights_close(weights);
        }
}

static void left_overs(void **state) {
    (void)state;
    err_t err;
    item_t items[8];
    char names[8][32];
    for (int i = 0; i < 8; i++) {
        snprintf(names[i], sizeof names[i], "block.%d.weight", i);
        items[i] = (item_t){names[i], DTYPE_F32, SHAPE1(6), f32};
    }
    weights_t *weights = open_items(items, 8);
    const real_t *x;
    assert_int_equal(weights_take(weights, "block.0.weight", SHAPE1(6), &x, &err), 0);
    assert_int_equal(weights_finish(weights, false, &err), -1);
    assert_message(&err, "w.safetensors", "7 of 8", "left over", "'block.1.weight' (6)",
                   "'block.5.weight' (6), ...", "--allow-unused", NULL);
    assert_null(strstr(err.text, "block.0"));
    assert_null(strstr(err.text, "block.6"));
    assert_int_equal(weights_finish(weights, true, &err), 0);

    weights_ignore(weights, "block.[1-5].*");
    weights_ignore(weights, "nothing*");
    assert_int_equal(weights_finish(weights, false, &err), -1);
    assert_message(&err, "2 of 8", "'block.6.weight' (6), 'block.7.weight' (6);", NULL);
    assert_int_equal(weights_count(weights), 8);
    for (size_t i = 0; i < 8; i++) {
        weight_entry_t entry = weights_entry(weights, i);
        assert_string_equal(entry.name, names[i]);
        assert_true(shape_equal(entry.shape, SHAPE1(6)));
        assert_int_equal(entry.dtype, DTYPE_F32);
        assert_string_equal(entry.file, weights_path(weights));
        assert_int_equal(entry.state, i == 0  ? WEIGHT_TAKEN
                                      : i < 6 ? WEIGHT_IGNORED
                                              : WEIGHT_LEFT_OVER);
    }
    weights_ignore(weights, "block.?.weight");
    assert_int_equal(weights_finish(weights, false, &err), 0);
    weights_close(weights);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void aliases(void **state) {
    (void)state;
    err_t err;
    const item_t items[] = {{"encoder.fc.weight", DTYPE_F32, {1, {6}}, f32},
                            {"attn.query.weight", DTYPE_F32, {1, {6}}, f32},
                            {"old.attn.key.weight", DTYPE_F32, {1, {6}}, f32},
                            {"text_model.both", DTYPE_F32, {1, {6}}, f32},
                            {"both", DTYPE_F32, {1, {6}}, f32}};
    weights_t *weights = open_items(items, COUNT(items));
    const real_t *x, *y;
    assert_false(weights_has(weights, "text_model.encoder.fc.weight"));
    weights_alias_prefix(weights, "text_model.", "");
    weights_alias_suffix(weights, ".to_q.weight", ".query.weight");
    weights_alias_prefix(weights, "new.", "old.");
    weights_alias_suffix(weights, ".to_k.weight", ".key.weight");
    assert_int_equal(weights_take(weights, "text_model.encoder.fc.weight", SHAPE1(6), &x, &err), 0);
    assert_int_equal(weights_take(weights, "attn.to_q.weight", SHAPE1(6), &x, &err), 0);
    assert_int_equal(weights_take(weights, "new.attn.to_k.weight", SHAPE1(6), &x, &err), 0);
    assert_false(weights_has(weights, "text_model.to_q.weight"));
    /* the name as it stands comes first */
    assert_int_equal(weights_take(weights, "text_model.both", SHAPE1(6), &x, &err), 0);
    assert_int_equal(weights_take(weights, "both", SHAPE1(6), &y, &err), 0);
    assert_int_equal(weights_finish(weights, false, &err), 0);
    /* the model's other name for a tensor that is bound already */
    assert_int_equal(weights_take(weights, "encoder.fc.weight", SHAPE1(6), &x, &err), -1);
    assert_message(&err, "'encoder.fc.weight'", "twice", NULL);
    weights_close(weights);
}

/* ---- folders and shards ---------------------------------------------------------------------- */

static void expect_open_error(const char *word, const char *more) {
    err_t err;
    weights_t *weights = (weights_t *)&err;
    if (weights_open(&weights, scratch_folder(), "model", &err) == 0) fail_msg("opened: %s", word);
    assert_null(weights);
    assert_message(&err, scratch_folder(), word, more, NULL);
}

static void index_text(const char *map) {
    char text[1024];
    snprintf(text, sizeof text, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": %s}", map);
    scratch_text("model.safetensors.index.json", text);
}

static void expect_path(const char *ending) {
    err_t err;
    weights_t *weights;
    if (weights_open(&weights, scratch_folder(), "model", &err) != 0) fail_msg("%s", err.text);
    if (!text_ends(weights_path(weights), ending)) fail_msg("%s", weights_path(weights));
    weights_close(weights);
}

/* What save_pretrained(variant="fp16") writes stands in for the plain files, and never comes before them. */
static void variants(void **state) {
    (void)state;
    const item_t half[] = {{"z", DTYPE_F16, {1, {6}}, f16}},
                 whole[] = {{"z", DTYPE_F32, {1, {6}}, f32}};
    unlink(scratch_path("w.safetensors"));
    write_items("model.fp16.safetensors", half, 1);
    expect_path("/model.fp16.safetensors");
    write_items("model.safetensors", whole, 1);
    expect_path("/model.safetensors");
    unlink(scratch_path("model.safetensors"));
    write_items("model.fp16-00001-of-00001.safetensors", half, 1);
    scratch_text("model.safetensors.index.fp16.json",
                 "{\"weight_map\": {\"z\": \"model.fp16-00001-of-00001.safetensors\"}}");
    expect_open_error("model.fp16.safetensors: there is also", "index.fp16.json");
    unlink(scratch_path("model.fp16.safetensors"));
    expect_path("/model.fp16");
    unlink(scratch_path("model.safetensors.index.fp16.json"));
    expect_open_error("neither model.safetensors", "model.safetensors.index.json");
    unlink(scratch_path("model.fp16-00001-of-00001.safetensors"));
}

static void shards(void **state) {
    (void)state;
    err_t err;
    weights_t *weights;
    const real_t *x;
    unlink(scratch_path("w.safetensors"));
    const item_t one[] = {{"x", DTYPE_F32, {1, {6}}, f32}, {"y", DTYPE_F32, {1, {6}}, f32}};
    const item_t two[] = {{"z", DTYPE_F16, {1, {6}}, f16}};
    expect_open_error("neither model.safetensors", "index.json");
    scratch_text("model.bin", "");
    expect_open_error("model.bin", "pickled");
    unlink(scratch_path("model.bin"));

    write_items("s1.safetensors", one, 2);
    write_items("s2.safetensors", two, 1);
    index_text("{\"x\": \"s1.safetensors\", \"z\": \"s2.safetensors\", \"y\": \"s1.safetensors\"}");
    if (weights_open(&weights, scratch_folder(), "model", &err) != 0) fail_msg("%s", err.text);
    assert_int_equal(weights_count(weights), 3);
    assert_int_equal(weights_take(weights, "z", SHAPE1(6), &x, &err), 0);
    assert_true((double)x[2] == 3.5);
    assert_int_equal(weights_take(weights, "x", SHAPE1(6), &x, &err), 0);
    assert_true((double)x[2] == 3.5);
    assert_int_equal(weights_finish(weights, false, &err), -1);
    assert_message(&err, "/model:", "1 of 3", "'y'", NULL);
    weights_close(weights);

    const char *escapes[] = {"../s1.safetensors", "/etc/passwd", "..", ".", "",
                             "a/s1.safetensors",  "a\\\\b"};
    for (size_t i = 0; i < COUNT(escapes); i++) {
        char map[128];
        snprintf(map, sizeof map, "{\"x\": \"%s\"}", escapes[i]);
        index_text(map);
        expect_open_error("index.json: weight_map: 'x'", "not a plain file name");
    }
    index_text("{\"x\": 1}");
    expect_open_error("index.json: weight_map: 'x'", "not a file name");
    index_text("[]");
    expect_open_error("index.json: weight_map", "not an object");
    index_text("{\"x\": \"s3.safetensors\"}");
    expect_open_error("index.json", "s3.safetensors: cannot open");
    index_text("{\"x\": \"s1.safetensors\", \"y\": \"s2.safetensors\", \"z\": \"s2.safetensors\"}");
    expect_open_error("index.json: tensor 'y' is missing in", "s2.safetensors");
    index_text("{\"x\": \"s1.safetensors\", \"z\": \"s2.safetensors\"}");
    expect_open_error("index.json: tensor 'y' is in", "weight_map has it in 'no file'");
    index_text("{\"x\": \"s1.safetensors\", \"x\": \"s2.safetensors\"}");
    expect_open_error("index.json:1:", "duplicate");
    scratch_text("model.safetensors.index.json", "{");
    expect_open_error("index.json:1:", "expected");
    /* the same name in two shards */
    write_items("s2.safetensors", one, 1);
    index_text("{\"x\": \"s1.safetensors\", \"y\": \"s1.safetensors\"}");
    if (weights_open(&weights, scratch_folder(), "model", &err) != 0) fail_msg("%s", err.text);
    weights_close(weights); /* s2 is not named, and not opened */
    const item_t again[] = {{"z", DTYPE_F32, {1, {6}}, f32}, {"x", DTYPE_F32, {1, {6}}, f32}};
    write_items("s2.safetensors", again, 2);
    index_text("{\"x\": \"s1.safetensors\", \"y\": \"s1.safetensors\", \"z\": \"s2.safetensors\"}");
    expect_open_error("tensor 'x' is in", "s2.safetensors");

    write_items("model.safetensors", one, 2);
    expect_open_error("model.safetensors: there is also", "which of them");
    unlink(scratch_path("model.safetensors.index.json"));
    if (weights_open(&weights, scratch_folder(), "model", &err) != 0) fail_msg("%s", err.text);
    assert_non_null(strstr(weights_path(weights), "model.safetensors"));
    weights_close(weights);
    weights_close(NULL);
}

/* A matrix that stays as it is stored: the numbers of weights_take; bound once, of its shape and finite like
 * any other. What the file holds as real_t is used in place. */
static void matrices_as_stored(void **state) {
    (void)state;
    static const uint16_t bad[6] = {0x3c00, 0xc000, 0x4300, 0x3400, 0x7e00, 0x4600};
    static const item_t items[] = {{"c.weight", DTYPE_F16, {2, {3, 2}}, f16},
                                   {"d.weight", DTYPE_BF16, {2, {3, 2}}, bf16},
                                   {"bad", DTYPE_F16, {2, {3, 2}}, bad},
                                   {"own",
                                    sizeof(real_t) == 8 ? DTYPE_F64 : DTYPE_F32,
                                    {2, {3, 2}},
                                    sizeof(real_t) == 8 ? (const void *)f64 : (const void *)f32}};
    const shape_t shape = SHAPE2(3, 2);
    const char *const names[] = {"c.weight", "d.weight"};
    const real_t *x;
    real_t found[6];
    late_t late;
    err_t err;
    weights_t *w = open_items(items, COUNT(items));
    weights_set_widen(w, WIDEN_BY_SIZE); /* tiny: at load */
    assert_false(weights_late(w));
    weights_set_widen(w, WIDEN_AS_USED);
    assert_true(weights_late(w));
    for (size_t i = 0; i < COUNT(names); i++) {
        assert_int_equal(weights_take_late(w, names[i], shape, &x, &late, &err), 0);
        assert_null(x);
        late_numbers(found, &late, 6);
        for (size_t k = 0; k < 6; k++) assert_true((double)found[k] == f64[k]);
        assert_int_equal(weights_take_late(w, names[i], shape, &x, &late, &err), -1);
        assert_message(&err, names[i], "bound twice", NULL);
    }
    assert_int_equal(weights_take_late(w, "own", shape, &x, &late, &err), 0);
    assert_non_null(x);
    assert_null(late.weights);
    assert_int_equal(weights_take_late(w, "bad", SHAPE2(2, 3), &x, &late, &err), -1);
    assert_message(&err, "'bad'", "expected shape (2, 3)", NULL);
    assert_int_equal(weights_take_late(w, "bad", shape, &x, &late, &err), -1);
    assert_message(&err, "'bad'", "NaN at index (2, 0)", NULL);
    weights_close(w);
    w = open_items(items, COUNT(items));
    assert_int_equal(weights_take_late(w, "c.weight", shape, &x, &late, &err), 0);
    assert_non_null(x);
    weights_close(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_as_stored),
        cmocka_unit_test(every_dtype),
        cmocka_unit_test(unaligned_data_is_copied),
        cmocka_unit_test(convolutions_are_packed),
        cmocka_unit_test(scalars),
        cmocka_unit_test(misfits),
        cmocka_unit_test(not_finite),
        cmocka_unit_test(left_overs),
        cmocka_unit_test(aliases),
        cmocka_unit_test(variants),
        cmocka_unit_test(shards),
    };
    return cmocka_run_group_tests_name("weights", tests, scratch_setup, scratch_teardown);
}
