/* Every element of every weight matters in the golden cases: with one of them changed, a tap is beyond a
 * bound of float32. No part of a kernel hides where images are small.
 *
 * Of each tensor one element per row (output channel) changes in a round, at another place of the row in
 * each: of a 3x3 kernel all nine are asked. Every module starts from the truth, and a row's change is seen
 * in its own channel alone, so that one run asks many elements, each by the error that it would have made
 * alone. An element changes by the rms of its row. Where that is within the bounds of its own tap (an
 * element of a quiet row that meets hardly any input), it is changed alone, and some tap behind has to
 * show it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../fixture.h"
#include "../scratch.h"
#include "elements.h"

enum { TEXT = ELEMENTS_TEXT };

/* Tensors that share a tap change in turns. */
typedef enum { TURN_WEIGHT, TURN_OTHER, TURN_ALPHA, TURNS } turn_t;

typedef struct {
    const char *name, *part, *file;
    bool with_mole;       /* the case has experts */
    bool experts;         /* they change, and not the model */
    size_t rounds[TURNS]; /* of each turn */
    size_t unseen;        /* tensors that no tap shows */
} asked_t;

static elements_t elements;
static const asked_t *asked;
static const char *only; /* the only element to change, or NULL */
static size_t total, hidden;
static double least;
static char least_seen[TEXT];

static bool ends(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static double rms_of(const double *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum / (double)n);
}

/* The layers with experts: "unet.a.b", and how files of experts write it, "lora_unet_a_b.". */
typedef struct {
    char name[TEXT], key[TEXT];
} layer_t;

static layer_t *layer;
static size_t layers;

static void list_layers(void) {
    layer = xcalloc(elements.golden.taps + 1, sizeof *layer);
    layers = 0;
    for (size_t i = 0; i < elements.golden.taps; i++) {
        const char *name = elements.golden.tap[i].name;
        layer_t *l = &layer[layers];
        if (!ends(name, ".mole.base")) continue;
        snprintf(l->name, TEXT, "%.*s", (int)(strlen(name) - strlen(".mole.base")), name);
        snprintf(l->key, TEXT, "lora_unet_%.200s.", l->name + strlen("unet."));
        for (char *c = l->key; *c; c++)
            if (*c == '.' && c[1]) *c = '_';
        layers++;
    }
}

/* Of a tensor in a file of experts, or NULL. */
static const char *layer_of(const char *key) {
    for (size_t i = 0; i < layers; i++)
        if (strncmp(key, layer[i].key, strlen(layer[i].key)) == 0) return layer[i].name;
    return NULL;
}

/* Where a tensor is seen. */
typedef struct {
    size_t tap; /* SIZE_MAX: nowhere */
    turn_t turn;
    bool rows; /* row r is seen in channel r of the tap alone */
    size_t
        per_row; /* 0, or row r is seen in the tap r * per_row further on: Phi, one row per expert */
} seen_t;

static seen_t seen_of_experts(const char *expert, const char *name) {
    seen_t s = {.tap = SIZE_MAX, .turn = TURN_WEIGHT, .rows = strstr(name, ".lora_up.") != NULL};
    const char *at = layer_of(strncmp(name, "moe_", 4) == 0 ? name + 4 : name);
    char tap[TEXT];
    if (!at) return s;
    if (ends(name, ".alpha") || ends(name, ".bias") || strstr(name, ".lora_down."))
        s.turn = ends(name, ".alpha") ? TURN_ALPHA : TURN_OTHER;
    if (strstr(name, ".Phi_1."))
        snprintf(tap, TEXT, "%.200s.mole.face.local", at);
    else if (strstr(name, "_scale."))
        snprintf(tap, TEXT, "%.200s.mole.%s.global", at, strstr(name, "face_") ? "face" : "hand");
    else
        snprintf(tap, TEXT, "%.200s.mole.%s.expert", at, expert);
    s.tap = elements_tap(&elements, tap);
    snprintf(tap, TEXT, "%.200s.mole.hand.local", at);
    if (strstr(name, ".Phi_1.")) s.per_row = elements_tap(&elements, tap) - s.tap;
    return s;
}

static seen_t seen_of_model(const char *name) {
    seen_t s = {.turn = ends(name, ".bias") ? TURN_OTHER : TURN_WEIGHT, .rows = true};
    const char *dot = strrchr(name, '.'), *embeddings = strstr(name, "embeddings.");
    char tap[TEXT];
    if (embeddings) {
        s.rows = false;
        s.turn = strstr(name, "position") ? TURN_OTHER : TURN_WEIGHT;
        dot = embeddings + strlen("embeddings");
    }
    snprintf(tap, TEXT, "%s.%.*s.mole.base", asked->part, (int)(dot - name), name);
    s.tap = elements_tap(&elements, tap);
    tap[strlen(tap) - strlen(".mole.base")] = '\0';
    if (s.tap == SIZE_MAX) s.tap = elements_tap(&elements, tap);
    return s;
}

static uint64_t hash(const char *text, uint64_t seed) {
    uint64_t h = 14695981039346656037U ^ seed;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211U;
    return (h ^ h >> 31) * 0x9E3779B97F4A7C15U >> 20;
}

/* A row of the token table that the case's text uses. */
static size_t used_row(const char *name, size_t rows, uint64_t draw) {
    const st_tensor_t *ids = st_find(elements.golden.tensors, "input/input_ids");
    if (!strstr(name, "token_embedding") || !ids) return (size_t)(draw % rows);
    double id;
    size_t at = (size_t)(draw % shape_count(ids->shape));
    dtype_to_double(&id, (const char *)ids->data + at * dtype_size(ids->dtype), ids->dtype, 1);
    return (size_t)id;
}

/* x (rows, columns): one element of every row where rows are seen apart, else one of all. */
static void change_tensor(double *x, const st_tensor_t *t, const seen_t *s, size_t round) {
    size_t n = shape_count(t->shape), rows = t->shape.ndim > 0 ? t->shape.dim[0] : 1;
    size_t columns = n / rows, kernel = 1;
    if (t->shape.ndim == 4) kernel = t->shape.dim[2] * t->shape.dim[3];
    bool each = s->rows || s->per_row;
    for (size_t r = 0; r < (each ? rows : 1); r++) {
        char what[TEXT];
        uint64_t draw = hash(t->name, round * rows + r);
        size_t row = each ? r : used_row(t->name, rows, draw >> 8);
        size_t column = draw % (columns / kernel) * kernel + round % kernel;
        double *line = x + row * columns;
        snprintf(what, TEXT, "%.200s[%zu,%zu]", t->name, row, column);
        if (only && strcmp(what, only) != 0) continue;
        line[column] += columns > 1 ? rms_of(line, columns) : rms_of(x, n);
        elements_note(&elements, s->tap + row * s->per_row, s->rows ? (long)row : ELEMENTS_ALL,
                      what);
    }
}

/* The file with its tensors changed, under `to` in the scratch folder; how many of them no tap shows. */
static size_t change_file(const char *from, const char *to, const char *expert, turn_t turn,
                          size_t round) {
    err_t err;
    st_file_t *in;
    st_writer_t *out;
    size_t unseen = 0;
    if (st_open(&in, from, &err) || st_writer_open(&out, scratch_path(to), &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < st_count(in); i++) {
        const st_tensor_t *t = st_at(in, i);
        size_t count = shape_count(t->shape);
        double *x = xmalloc((count + 1) * sizeof *x);
        float *narrow = xmalloc((count + 1) * sizeof *narrow);
        dtype_to_double(x, t->data, t->dtype, count);
        seen_t s = expert ? seen_of_experts(expert, t->name) : seen_of_model(t->name);
        unseen += s.tap == SIZE_MAX;
        if (s.tap != SIZE_MAX && s.turn == turn) change_tensor(x, t, &s, round);
        for (size_t k = 0; k < count; k++) narrow[k] = (float)x[k];
        if (st_writer_add(out, t->name, DTYPE_F32, t->shape, narrow, &err))
            fail_msg("%s", err.text);
        free(x);
        free(narrow);
    }
    st_close(in);
    if (st_writer_finish(out, &err)) fail_msg("%s", err.text);
    return unseen;
}

/* ---- the cases ---------------------------------------------------------------------------------------- */

static const char *const mole[] = {"face", "hand", "gates"};

static void link_file(const char *from, const char *to) {
    char here[1024], target[2048];
    assert_non_null(getcwd(here, sizeof here));
    snprintf(target, sizeof target, "%s/golden/models/%s", here, from);
    assert_int_equal(symlink(target, scratch_path(to)), 0);
}

/* The model and its experts in the scratch folder, as links; a changed file replaces its own. */
static void link_model(const char *part) {
    static const char *const parts[] = {"model_index.json", "scheduler", "text_encoder",
                                        "tokenizer",        "unet",      "vae"};
    char from[TEXT], to[TEXT];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(from, TEXT, "sd15-tiny/%s", parts[i]);
        if (strcmp(parts[i], part) != 0) link_file(from, parts[i]);
    }
    assert_int_equal(mkdir(scratch_path(part), 0700), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(to, TEXT, "%s/%s", part, i ? "config.json" : asked->file);
        snprintf(from, TEXT, "sd15-tiny/%.200s", to);
        link_file(from, to);
    }
    for (size_t i = 0; i < 3; i++) {
        snprintf(to, TEXT, "%s.safetensors", mole[i]);
        snprintf(from, TEXT, "sd15-tiny-mole/%.200s", to);
        link_file(from, to);
    }
}

static pipeline_files_t changed_files(void) {
    pipeline_files_t files = {.folder = scratch_folder()};
    if (asked->with_mole)
        files.mole =
            (mole_files_t){2,
                           {"face", "hand"},
                           {scratch_path("face.safetensors"), scratch_path("hand.safetensors")},
                           scratch_path("gates.safetensors"),
                           false};
    return files;
}

/* Every file anew. */
static void change_files(turn_t turn, size_t round) {
    char from[TEXT], to[TEXT];
    size_t unseen = 0;
    elements_forget_changes(&elements);
    snprintf(from, TEXT, "golden/models/sd15-tiny/%s/%s", asked->part, asked->file);
    snprintf(to, TEXT, "%s/%s", asked->part, asked->file);
    if (!asked->experts) unseen = change_file(from, to, NULL, turn, round);
    for (size_t i = 0; asked->experts && i < 3; i++) {
        snprintf(from, TEXT, "golden/models/sd15-tiny-mole/%s.safetensors", mole[i]);
        snprintf(to, TEXT, "%s.safetensors", mole[i]);
        unseen += change_file(from, to, mole[i], turn, round);
    }
    assert_int_equal(unseen, asked->unseen);
    assert_true(elements.changes > 0);
}

static void weigh(const char *what, double used) {
    if (used < least) {
        least = used;
        snprintf(least_seen, TEXT, "%s", what);
    }
    hidden += used <= 1;
}

/* One round. alone: what its own tap hides is changed again, alone. */
static void ask(turn_t turn, size_t round, bool alone) {
    change_files(turn, round);
    pipeline_files_t files = changed_files();
    elements_run(&elements, &files);
    size_t all = elements.changes;
    change_t *of = xmalloc(all * sizeof *of);
    memcpy(of, elements.change, all * sizeof *of);
    for (size_t i = 0; i < all; i++) {
        if (alone && of[i].used <= 1) {
            only = of[i].what;
            change_files(turn, round);
            of[i].used = elements_run_free(&elements, &files);
            printf("  %s: its own tap hides it; running free %.3g times a bound\n", only,
                   of[i].used);
            only = NULL;
        }
        weigh(of[i].what, of[i].used);
    }
    total += all;
    free(of);
}

/* Returns how many elements of those asked are hidden. */
static size_t hidden_in(asked_t a, bool alone) {
    asked = &a;
    total = hidden = 0;
    least = INFINITY;
    elements_open(&elements, a.name);
    list_layers();
    assert_int_equal(scratch_setup(NULL), 0);
    link_model(a.part);
    for (int turn = 0; turn < TURNS; turn++)
        for (size_t round = 0; round < a.rounds[turn]; round++) ask((turn_t)turn, round, alone);
    printf("%s: %zu elements changed, %zu of them hidden; the least, %s, is %.3g times a bound\n",
           a.name, total, hidden, least_seen, least);
    scratch_teardown(NULL);
    free(layer);
    elements_close(&elements);
    return hidden;
}

static const char weights[] = "diffusion_pytorch_model.safetensors";

/* Biases and the weights of norms are all asked in one round. */
static void every_element_of_the_unet(void **state) {
    (void)state;
    asked_t a = {"unet-plain", "unet", weights, .rounds = {9, 1, 0}};
    assert_int_equal(hidden_in(a, true), 0);
}

static void every_element_of_experts(void **state) {
    (void)state;
    asked_t a = {"unet-mole", "unet", weights, true, true, {2, 3, 1}, 0};
    assert_int_equal(hidden_in(a, true), 0);
}

static void every_element_of_the_text_encoder(void **state) {
    (void)state;
    asked_t a = {"text-encoder", "text_encoder", "model.safetensors", .rounds = {9, 4, 0}};
    assert_int_equal(hidden_in(a, true), 0);
}

/* The decoder alone: encoder and quant_conv have no taps. */
static void every_element_of_the_decoder(void **state) {
    (void)state;
    asked_t a = {"vae-decode", "vae", weights, .rounds = {9, 1, 0}, .unseen = 108};
    assert_int_equal(hidden_in(a, true), 0);
}

/* What the others could miss: at a bottom level of 1x1 all of a kernel but its centre is hidden. */
static void small_images_hide_kernels(void **state) {
    (void)state;
    asked_t a = {"unet-step", "unet", weights, .with_mole = true, .rounds = {1, 0, 0}};
    assert_true(hidden_in(a, false) > 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_of_the_unet),
        cmocka_unit_test(every_element_of_experts),
        cmocka_unit_test(every_element_of_the_text_encoder),
        cmocka_unit_test(every_element_of_the_decoder),
        cmocka_unit_test(small_images_hide_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
