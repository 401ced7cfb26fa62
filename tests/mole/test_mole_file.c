/* Experts and gates from files: what becomes of alpha and rank, which tensor goes where, and what is
 * refused. The files are made here, with the authors' keys, for a Linear and a 1x1 convolution. */
#include "../scratch.h"
#include "../unit.h"
#include "io/safetensors.h"
#include "mole/mole_check.h"
#include "mole/mole_file.h"

enum { D = 4, O = 6, TARGETS = 2, ROOM = 64 };

static const char *const keys[TARGETS] = {"down_blocks_0_attentions_0_proj_in",
                                          "mid_block_attentions_0_transformer_blocks_0_ff_net_2"};
static const char *const paths[TARGETS] = {"down_blocks.0.attentions.0.proj_in",
                                           "mid_block.attentions.0.transformer_blocks.0.ff.net.2"};

/* The same layers as single files have them. */
static const char *const ldm_keys[TARGETS] = {"input_blocks_1_1_proj_in",
                                              "middle_block_1_transformer_blocks_0_ff_net_2"};
static const char *const ldm_paths[TARGETS] = {"input_blocks.1.1.proj_in",
                                               "middle_block.1.transformer_blocks.0.ff.net.2"};

/* ---- files ------------------------------------------------------------------------------------------- */

/* One tensor of a file to be, its numbers first, first + 1, ... */
typedef struct {
    char name[256];
    shape_t shape;
    float first;
    dtype_t dtype;
} entry_t;

typedef struct {
    entry_t entry[ROOM];
    size_t count;
    const char *key, *value; /* of metadata, or NULL */
} file_t;

static entry_t *put(file_t *file, const char *prefix, const char *key, const char *suffix,
                    shape_t shape, float first) {
    assert_in_range(file->count, 0, ROOM - 1);
    entry_t *e = &file->entry[file->count++];
    *e = (entry_t){.shape = shape, .first = first, .dtype = DTYPE_F32};
    snprintf(e->name, sizeof e->name, "%s%s%s", prefix, key, suffix);
    return e;
}

static entry_t *find(file_t *file, const char *part) {
    for (size_t i = 0; i < file->count; i++)
        if (strstr(file->entry[i].name, part)) return &file->entry[i];
    fail_msg("no entry %s", part);
    return NULL;
}

static const char *save(const file_t *file, const char *name) {
    err_t err;
    st_writer_t *writer;
    const char *path = scratch_path(name);
    if (st_writer_open(&writer, path, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < file->count; i++) {
        const entry_t *e = &file->entry[i];
        size_t n = shape_count(e->shape);
        float *x = malloc((n + 1) * sizeof *x);
        for (size_t j = 0; j < n; j++) x[j] = e->first + (float)j;
        if (st_writer_add(writer, e->name, e->dtype, e->shape, x, &err)) fail_msg("%s", err.text);
        free(x);
    }
    if (file->key) st_writer_metadata(writer, file->key, file->value);
    if (st_writer_finish(writer, &err)) fail_msg("%s", err.text);
    return path;
}

/* The first target is a convolution, whose factors a file holds with two more dimensions. */
static file_t lora(size_t rank, float alpha, float first) {
    file_t file = {.count = 0};
    for (size_t i = 0; i < TARGETS; i++) {
        size_t R = rank + i; /* ranks differ between layers */
        shape_t down = i ? SHAPE2(R, D) : SHAPE4(R, D, 1, 1);
        shape_t up = i ? SHAPE2(O, R) : SHAPE4(O, R, 1, 1);
        put(&file, "lora_unet_", keys[i], ".alpha", SHAPE0(), alpha);
        put(&file, "lora_unet_", keys[i], ".lora_down.weight", down, first + (float)(10 * i));
        put(&file, "lora_unet_", keys[i], ".lora_up.weight", up, first + (float)(10 * i) + 5);
    }
    return file;
}

static file_t gates(size_t rows) {
    file_t file = {.count = 0};
    for (size_t i = 0; i < TARGETS; i++) {
        float at = (float)(100 * i);
        put(&file, "moe_lora_unet_", keys[i], ".softmoe.Phi_1.weight", SHAPE2(rows, D), at);
        put(&file, "moe_lora_unet_", keys[i], ".softmoe.Phi_1.bias", SHAPE1(rows), at + 20);
        put(&file, "moe_lora_unet_", keys[i], ".softmoe.face_scale.weight", SHAPE2(1, O), at + 30);
        put(&file, "moe_lora_unet_", keys[i], ".softmoe.face_scale.bias", SHAPE1(1), at + 40);
        put(&file, "moe_lora_unet_", keys[i], ".softmoe.hand_scale.weight", SHAPE2(1, O), at + 50);
        put(&file, "moe_lora_unet_", keys[i], ".softmoe.hand_scale.bias", SHAPE1(1), at + 60);
    }
    return file;
}

/* ---- loading ----------------------------------------------------------------------------------------- */

typedef struct {
    file_t face, hand, gates;
    bool no_gates, allow_unused;
    mole_layer_t layer[TARGETS];
    mole_set_t *set;
    err_t err;
} subject_t;

static subject_t subject(void) {
    return (subject_t){.face = lora(2, 1, 1), .hand = lora(3, 6, 2), .gates = gates(2)};
}

static int load(subject_t *s) {
    mole_target_t target[TARGETS];
    for (size_t i = 0; i < TARGETS; i++)
        target[i] = (mole_target_t){paths[i], ldm_paths[i], D, O, i == 0, &s->layer[i]};
    mole_files_t files = {.experts = 2, .name = {"face", "hand"}};
    files.path[0] = save(&s->face, "face.safetensors");
    files.path[1] = save(&s->hand, "hand.safetensors");
    if (!s->no_gates) files.gates = save(&s->gates, "gates.safetensors");
    return mole_files_load(&s->set, &files, target, TARGETS, s->allow_unused, &s->err);
}

static void must_load(subject_t *s) {
    if (load(s)) fail_msg("%s", s->err.text);
}

static void must_refuse(subject_t *s, const char *file, const char *tensor, const char *word) {
    if (load(s) == 0) fail_msg("%s: %s was accepted", file, tensor);
    assert_message(&s->err, file, tensor, word, NULL);
    assert_null(s->set);
}

/* ---- what is read ------------------------------------------------------------------------------------ */

static void every_tensor_in_its_place(void **state) {
    (void)state;
    subject_t s = subject();
    must_load(&s);
    for (size_t i = 0; i < TARGETS; i++) {
        const mole_layer_t *layer = &s.layer[i];
        float at = (float)(100 * i), ten = (float)(10 * i);
        assert_int_equal(layer->experts, 2);
        assert_true(layer->local_weight[0] == (real_t)at);
        assert_true(layer->local_bias[1] == (real_t)(at + 21));
        for (size_t e = 0; e < 2; e++) {
            const mole_expert_t *expert = &layer->expert[e];
            assert_string_equal(expert->name, e ? "hand" : "face");
            assert_int_equal(expert->rank, 2 + e + i);
            assert_true(expert->down[0] == (real_t)((float)(1 + e) + ten));
            assert_true(expert->up[0] == (real_t)((float)(1 + e) + ten + 5));
            assert_true(expert->global_weight[0] == (real_t)(at + 30 + (float)(20 * e)));
            assert_true(expert->global_bias == (double)(at + 40 + (float)(20 * e)));
        }
    }
    mole_set_free(s.set);
}

/* Under the names of single files, the gates' too, and one file each: the same layers. */
static void names_of_single_files(void **state) {
    (void)state;
    for (int which = 0; which < 3; which++) {
        subject_t s = subject();
        file_t *files[] = {&s.face, &s.hand, &s.gates};
        for (size_t k = 0; k < files[which]->count; k++) {
            char *name = files[which]->entry[k].name, made[256];
            size_t i = strstr(name, keys[1]) != NULL;
            char *at = strstr(name, keys[i]);
            snprintf(made, sizeof made, "%.*s%s%s", (int)(at - name), name, ldm_keys[i],
                     at + strlen(keys[i]));
            strcpy(name, made);
        }
        must_load(&s);
        assert_true(s.layer[1].expert[0].down[0] == (real_t)11);
        assert_true(s.layer[1].expert[1].up[0] == (real_t)17);
        assert_true(s.layer[1].local_weight[0] == (real_t)100);
        mole_set_free(s.set);
        /* A layer that is missing is asked for under the file's own kind of name. */
        find(files[which], ldm_keys[1])->name[0] = 'x';
        must_refuse(&s,
                    which == 0   ? "face"
                    : which == 1 ? "hand"
                                 : "gates",
                    ldm_keys[1], which < 2 ? "left over" : "missing");
    }
}

/* Each layer's alpha by its own rank. */
static void scale_is_alpha_by_rank(void **state) {
    (void)state;
    subject_t s = subject();
    must_load(&s);
    assert_true(s.layer[0].expert[0].scale == 1.0 / 2);
    assert_true(s.layer[1].expert[0].scale == 1.0 / 3);
    assert_true(s.layer[0].expert[1].scale == 6.0 / 3);
    assert_true(s.layer[1].expert[1].scale == 6.0 / 4);
    mole_set_free(s.set);
}

/* Missing or 0: the rank stands in, so that the scale is 1. */
static void alpha_missing_or_zero(void **state) {
    (void)state;
    subject_t s = subject();
    find(&s.face, ".alpha")->first = 0;
    s.hand.entry[0] = s.hand.entry[--s.hand.count]; /* the alpha of layer 0 */
    must_load(&s);
    assert_true(s.layer[0].expert[0].scale == 1);
    assert_true(s.layer[1].expert[0].scale == 1.0 / 3);
    assert_true(s.layer[0].expert[1].scale == 1);
    assert_true(s.layer[1].expert[1].scale == 6.0 / 4);
    mole_set_free(s.set);
}

static void without_gates(void **state) {
    (void)state;
    subject_t s = subject();
    s.no_gates = true;
    must_load(&s);
    assert_null(s.layer[0].local_weight);
    assert_null(mole_set_gates(s.set));
    mole_set_free(s.set);
}

/* The one note of a set that loads holds these words; NULL: there is none. */
static void must_note(subject_t *s, const char *file, const char *word, const char *other) {
    must_load(s);
    const notes_t *notes = mole_set_notes(s->set);
    assert_int_equal(notes->count, file ? 1 : 0);
    if (file) {
        err_t said = {""};
        err_set(&said, "%s", notes->text[0]);
        assert_message(&said, "warning: ", file, word, other, NULL);
    }
    mole_set_free(s->set);
}

/* Factors of the text encoder are not applied, and a note says so. */
static void text_encoder_factors(void **state) {
    (void)state;
    static const char *const prefixes[] = {"lora_te_", "lora_te1_", "lora_te2_"};
    for (size_t i = 0; i < 3; i++) {
        subject_t s = subject();
        put(&s.face, prefixes[i], "text_model_encoder_layers_0_mlp_fc1", ".lora_up.weight",
            SHAPE2(2, 2), 1);
        must_note(&s, "face.safetensors", "1 tensor of a text encoder", prefixes[i]);
    }
    subject_t s = subject();
    must_note(&s, NULL, NULL, NULL);
}

/* An expert that is taken away, or that is off, may be meant; it is said. */
static void unusual_alphas(void **state) {
    (void)state;
    subject_t s = subject();
    find(&s.hand, ".alpha")->first = -3;
    must_note(&s, "hand.safetensors", "hand taken away where alpha is negative, in 1 layer",
              "is -3");
    s = subject();
    find(&s.face, ".alpha")->first = 1e-9F;
    must_note(&s, "face.safetensors", "face off where alpha is next to nothing", "is 1e-09");
    s = subject();
    find(&s.face, ".alpha")->first = 2000; /* rank 2: the largest scale that is taken */
    must_load(&s);
    assert_true(s.layer[0].expert[0].scale == 1000);
    mole_set_free(s.set);
}

/* ---- what is refused --------------------------------------------------------------------------------- */

static void left_overs(void **state) {
    (void)state;
    for (int which = 0; which < 3; which++) {
        subject_t s = subject();
        file_t *file[] = {&s.face, &s.hand, &s.gates};
        static const char *const name[] = {"face.safetensors", "hand.safetensors",
                                           "gates.safetensors"};
        put(file[which], "lora_unet_", "up_blocks_9_attentions_0_proj_in", ".alpha", SHAPE0(), 1);
        must_refuse(&s, name[which], "up_blocks_9", "left over");
        s.allow_unused = true;
        must_note(&s, name[which], "1 tensor that nothing uses", "up_blocks_9");
    }
}

/* Factors of q, k and v in one matrix: three times the rank with one alpha, and no layer's name. */
static void fused_factors(void **state) {
    (void)state;
    static const char fused[] = "mid_block_attentions_0_transformer_blocks_0_attn1_to_qkv";
    subject_t s = subject();
    put(&s.face, "lora_unet_", fused, ".lora_down.weight", SHAPE2(6, D), 1);
    put(&s.face, "lora_unet_", fused, ".lora_up.weight", SHAPE2(3 * O, 6), 1);
    must_refuse(&s, "face.safetensors", fused, "left over");
}

/* Linear layers from files that write every factor as a 1x1 convolution, and the reverse: the same
 * numbers. */
static void factors_as_convolutions(void **state) {
    (void)state;
    subject_t plain = subject(), turned = subject();
    for (size_t i = 0; i < turned.face.count; i++) {
        entry_t *e = &turned.face.entry[i];
        if (e->shape.ndim == 2)
            e->shape = SHAPE4(e->shape.dim[0], e->shape.dim[1], 1, 1);
        else if (e->shape.ndim == 4)
            e->shape = SHAPE2(e->shape.dim[0], e->shape.dim[1]);
    }
    must_load(&plain);
    must_load(&turned);
    for (size_t i = 0; i < TARGETS; i++) {
        const mole_expert_t *a = plain.layer[i].expert, *b = turned.layer[i].expert;
        assert_int_equal(a->rank, b->rank);
        assert_memory_equal(a->down, b->down, a->rank * D * sizeof *a->down);
        assert_memory_equal(a->up, b->up, a->rank * O * sizeof *a->up);
    }
    mole_set_free(plain.set);
    mole_set_free(turned.set);
}

/* A scale that no training gives. */
static void absurd_alphas(void **state) {
    (void)state;
    static const struct {
        float alpha;
        const char *said;
    } rows[] = {
        {9.99e9F, "is 9.99e+09"}, {-9.99e9F, "is -9.99e+09"}, {2001, "is 2001"}, {-1e38F, "e+38"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        subject_t s = subject();
        find(&s.face, ".alpha")->first = rows[i].alpha;
        s.allow_unused = true;
        must_refuse(&s, "face.safetensors", ".alpha", rows[i].said);
    }
}

/* Other ways to change a layer are named, and --allow-unused does not make two factors of them. */
static void other_kinds_of_factors(void **state) {
    (void)state;
    static const char *const endings[][2] = {
        {".dora_scale", "DoRA"},     {".lora_mid.weight", "mixes the ranks"},
        {".hada_w1_a", "LoHa"},      {".lokr_w1", "LoKr"},
        {".lokr_w2_a", "LoKr"},      {".oft_blocks", "OFT"},
        {".a1.weight", "GLoRA"},     {".on_input", "(IA)^3"},
        {".diff", "difference"},     {".lora_up.bias", "bias"},
        {".bias_values", "bias"},    {".scalar", "scale"},
        {".reshape_weight", "shape"}};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        for (int alone = 0; alone < 2; alone++) { /* beside the two factors, or in their place */
            subject_t s = subject();
            s.allow_unused = true;
            if (alone) s.hand.entry[4] = s.hand.entry[--s.hand.count];
            put(&s.hand, "lora_unet_", keys[1], endings[i][0], SHAPE1(2), 1);
            must_refuse(&s, "hand.safetensors", endings[i][0], endings[i][1]);
        }
}

static void other_conventions(void **state) {
    (void)state;
    static const char *const names[] = {
        "unet.down_blocks.0.attentions.0.proj_in.lora_A.weight",
        "unet.down_blocks.0.attentions.0.proj_in.lora.down.weight",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        subject_t s = subject();
        s.face.count = 0;
        put(&s.face, "", names[i], "", SHAPE2(2, 2), 1);
        must_refuse(&s, "face.safetensors", names[i], "kohya");
    }
}

/* alpha / sqrt(rank): LyCORIS' and PEFT's ways to say it. */
static void rank_stabilised(void **state) {
    (void)state;
    static const char *const on[][2] = {
        {"ss_network_args", "{\"algo\": \"lora\", \"rs_lora\": \"True\"}"},
        {"ss_network_args", "{\"rs_lora\": true}"},
        {"lora_adapter_metadata",
         "{\"text_encoder.use_rslora\": false, \"unet.use_rslora\": true}"},
        {"use_rslora", "true"},
        {"config", "rs_lora=True"}};
    static const char *const off[][2] = {{"ss_network_args", "{\"rs_lora\": \"False\"}"},
                                         {"lora_adapter_metadata", "{\"use_rslora\": false}"},
                                         {"use_rslora", "False"},
                                         {"ss_training_comment", "no rs_lora here"}};
    for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
        subject_t s = subject();
        s.hand.key = on[i][0];
        s.hand.value = on[i][1];
        must_refuse(&s, "hand.safetensors", on[i][0], "sqrt(rank)");
    }
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        subject_t s = subject();
        s.hand.key = off[i][0];
        s.hand.value = off[i][1];
        must_note(&s, NULL, NULL, NULL);
    }
}

/* A tensor of every kind, gone. */
static void missing_tensors(void **state) {
    (void)state;
    static const char *const parts[] = {"lora_down",  "lora_up",           "Phi_1.weight",
                                        "Phi_1.bias", "face_scale.weight", "hand_scale.bias"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        subject_t s = subject();
        file_t *file = i < 2 ? &s.face : &s.gates;
        *find(file, parts[i]) = file->entry[file->count - 1];
        file->count--;
        must_refuse(&s, i < 2 ? "face.safetensors" : "gates.safetensors", parts[i], "missing");
    }
}

/* Gates of another number of experts belong to other files. */
static void gates_of_other_experts(void **state) {
    (void)state;
    for (size_t rows = 1; rows < 4; rows += 2) {
        subject_t s = subject();
        s.gates = gates(rows);
        must_refuse(&s, "gates.safetensors", "Phi_1.weight", "2 experts");
    }
}

static void shapes(void **state) {
    (void)state;
    subject_t s = subject();
    find(&s.hand, "lora_down")->shape = SHAPE4(0, D, 1, 1);
    must_refuse(&s, "hand.safetensors", "lora_down", "rank 0");
    s = subject();
    find(&s.hand, "lora_down")->shape = SHAPE2(3, D + 1);
    must_refuse(&s, "hand.safetensors", "lora_down", "(3, 5)");
    s = subject();
    find(&s.hand, "lora_up")->shape = SHAPE2(O, 4);
    must_refuse(&s, "hand.safetensors", "lora_up", "(6, 3)");
    s = subject();
    find(&s.hand, "lora_up")->shape = SHAPE4(O, 3, 3, 3);
    must_refuse(&s, "hand.safetensors", "lora_up", "(6, 3, 3, 3)");
    s = subject();
    find(&s.gates, "hand_scale.weight")->shape = SHAPE2(1, O + 1);
    must_refuse(&s, "gates.safetensors", "hand_scale.weight", "(1, 6)");
    s = subject();
    find(&s.face, ".alpha")->shape = SHAPE1(2);
    must_refuse(&s, "face.safetensors", ".alpha", "(2)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_in_its_place),
        cmocka_unit_test(names_of_single_files),
        cmocka_unit_test(scale_is_alpha_by_rank),
        cmocka_unit_test(alpha_missing_or_zero),
        cmocka_unit_test(without_gates),
        cmocka_unit_test(text_encoder_factors),
        cmocka_unit_test(unusual_alphas),
        cmocka_unit_test(absurd_alphas),
        cmocka_unit_test(other_kinds_of_factors),
        cmocka_unit_test(other_conventions),
        cmocka_unit_test(rank_stabilised),
        cmocka_unit_test(left_overs),
        cmocka_unit_test(fused_factors),
        cmocka_unit_test(factors_as_convolutions),
        cmocka_unit_test(missing_tensors),
        cmocka_unit_test(gates_of_other_experts),
        cmocka_unit_test(shapes),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
