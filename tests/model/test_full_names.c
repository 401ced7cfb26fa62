/* test_full_names.c - the loaders bind exactly the tensors of the full-size models, each once: golden/names
 * has their names and shapes, from diffusers and transformers. The formula's models take no memory here:
 * they have names alone, and each is what a loader asked for. */
#include "../scratch.h"
#include "../unit.h"
#include "io/families.h"
#include "model/text_encoder.h"
#include "model/unet.h"
#include "model/vae.h"
#include "pipeline/pipeline.h"

/* ---- lists: "a.{0..2}.b 320 4 3 3" is three tensors ---------------------------------------------------- */

typedef struct {
    char **rows; /* "a.0.b 320 4 3 3", sorted once complete */
    size_t count, room;
} list_t;

static void append(list_t *list, const char *row) {
    if (list->count == list->room) {
        list->room = 2 * list->room + 64;
        list->rows = realloc(list->rows, list->room * sizeof *list->rows);
        assert_non_null(list->rows);
    }
    list->rows[list->count++] = strdup(row);
}

static void expand(list_t *list, const char *row) {
    const char *open = strchr(row, '{');
    if (!open) {
        append(list, row);
        return;
    }
    char *end;
    long first = strtol(open + 1, &end, 10);
    assert_int_equal(strncmp(end, "..", 2), 0);
    long last = strtol(end + 2, &end, 10);
    assert_true(*end == '}' && first < last);
    for (long i = first; i <= last; i++) {
        char next[512];
        int length = snprintf(next, sizeof next, "%.*s%ld%s", (int)(open - row), row, i, end + 1);
        assert_in_range(length, 1, (int)sizeof next - 1);
        expand(list, next);
    }
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(list_t *list) {
    qsort(list->rows, list->count, sizeof *list->rows, by_text);
}

/* `wanted`: what a row starts with, one of two; "" is all. */
static list_t read_list(const char *path, const char *const wanted[2]) {
    size_t bytes;
    char *text = scratch_slurp(path, &bytes), *rest = text;
    list_t list = {0};
    for (char *row; (row = strsep(&rest, "\n"));)
        if (*row && (strncmp(row, wanted[0], strlen(wanted[0])) == 0 ||
                     strncmp(row, wanted[1], strlen(wanted[1])) == 0))
            expand(&list, row);
    free(text);
    sort(&list);
    return list;
}

static void list_free(list_t *list) {
    for (size_t i = 0; i < list->count; i++) free(list->rows[i]);
    free(list->rows);
}

/* ---- what a loader takes ------------------------------------------------------------------------------ */

static list_t taken(const weights_t *weights) {
    list_t list = {0};
    for (size_t i = 0; i < weights_count(weights); i++) {
        weight_entry_t entry = weights_entry(weights, i);
        char row[512];
        int at = snprintf(row, sizeof row, "%s", entry.name);
        for (int d = 0; d < entry.shape.ndim; d++)
            at += snprintf(row + at, sizeof row - (size_t)at, " %zu", entry.shape.dim[d]);
        assert_int_equal(entry.state, WEIGHT_TAKEN);
        append(&list, row);
    }
    sort(&list);
    return list;
}

static void same(list_t expected, list_t found, const char *of) {
    for (size_t i = 0; i < expected.count && i < found.count; i++)
        if (strcmp(expected.rows[i], found.rows[i]) != 0)
            fail_msg("%s: expected %s, the loader took %s", of, expected.rows[i], found.rows[i]);
    if (expected.count != found.count)
        fail_msg("%s: expected %zu tensors, the loader took %zu", of, expected.count, found.count);
    list_free(&expected);
    list_free(&found);
}

static const char *const all[2] = {"", ""};

static list_t golden(const char *model, const char *component, const char *const wanted[2]) {
    char path[256];
    snprintf(path, sizeof path, "golden/names/%s/%s/tensors.txt", model, component);
    return read_list(path, wanted);
}

/* What lies behind the first `layers` layers. */
static void leave_out(list_t *list, long layers) {
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        const char *row = list->rows[i], *layer = strstr(row, ".layers.");
        bool read = layer ? strtol(layer + strlen(".layers."), NULL, 10) < layers
                          : strstr(row, "final_layer_norm") == NULL;
        if (read)
            list->rows[kept++] = list->rows[i];
        else
            free(list->rows[i]);
    }
    list->count = kept;
}

/* `layers`: how many of them are read, 0 is all. */
static void check_text(const char *model, const char *component, text_use_t use, long layers) {
    char folder[128];
    err_t err;
    text_encoder_t *text;
    snprintf(folder, sizeof folder, "synth:%s,names/%s", model, component);
    if (text_encoder_open(&text, folder, component, use, false, &err)) fail_msg("%s", err.text);
    list_t expected = golden(model, component, all);
    if (layers) leave_out(&expected, layers);
    same(expected, taken(text_encoder_weights(text)), folder);
    text_encoder_close(text);
}

static void check_model(const char *model) {
    char folder[128];
    err_t err;
    unet_t *unet;
    snprintf(folder, sizeof folder, "synth:%s,names/unet", model);
    if (unet_open(&unet, folder, false, &err)) fail_msg("%s", err.text);
    same(golden(model, "unet", all), taken(unet_weights(unet)), folder);
    unet_close(unet);

    /* The decoder is all that is needed of it. */
    static const char *const decoder[2] = {"decoder.", "post_quant_conv."};
    vae_t *vae;
    snprintf(folder, sizeof folder, "synth:%s,names/vae", model);
    if (vae_open(&vae, folder, false, &err)) fail_msg("%s", err.text);
    same(golden(model, "vae", decoder), taken(vae_weights(vae)), folder);
    vae_close(vae);
}

/* "KEY IN OUT" of every layer, from the shapes of an expert's factors, which stand one behind the other. */
static list_t layers_of(const weights_t *expert) {
    static const char down[] = ".lora_down.weight", up[] = ".lora_up.weight";
    list_t list = {0};
    size_t in = 0;
    for (size_t i = 0; i < weights_count(expert); i++) {
        weight_entry_t entry = weights_entry(expert, i);
        char row[512];
        if (text_ends(entry.name, down)) in = entry.shape.dim[1];
        if (!text_ends(entry.name, up)) continue;
        int key = (int)(strlen(entry.name) - strlen(up));
        snprintf(row, sizeof row, "%.*s %zu %zu", key, entry.name, in, entry.shape.dim[0]);
        append(&list, row);
    }
    sort(&list);
    return list;
}

/* A LoRA has three tensors per layer, the gates have six. ldm: the golden names are those of single files,
 * which check_ldm_layers holds. */
static void check_experts(const char *model, size_t layers, bool ldm) {
    char folder[128], path[256];
    err_t err;
    pipeline_t p = {0};
    mole_files_t files = {.experts = 2,
                          .name = {"face", "hand"},
                          .path = {"synth:names,rank=4", "synth:names,rank=4"},
                          .gates = "synth:names"};
    snprintf(folder, sizeof folder, "synth:%s,names/unet", model);
    snprintf(path, sizeof path, "golden/names/%s/mole.txt", model);
    if (unet_open(&p.unet, folder, false, &err) || pipeline_attach_experts(&p, &files, false, &err))
        fail_msg("%s", err.text);
    assert_int_equal(p.mole_layers, layers);
    assert_int_equal(weights_count(mole_set_gates(p.mole)), 6 * layers);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(weights_count(mole_set_expert(p.mole, i)), 3 * layers);
        if (!ldm) same(read_list(path, all), layers_of(mole_set_expert(p.mole, i)), path);
    }
    pipeline_close(&p);
}

/* The same by the names of single files, as XL's experts have them. */
static void check_ldm_layers(const char *model, const ldm_layout_t *layout) {
    char folder[128], path[256];
    err_t err;
    unet_t *unet;
    size_t count;
    snprintf(folder, sizeof folder, "synth:%s,names/unet", model);
    snprintf(path, sizeof path, "golden/names/%s/mole.txt", model);
    if (unet_open(&unet, folder, false, &err)) fail_msg("%s", err.text);
    const mole_site_t *site = unet_mole_sites(unet, &count);
    list_t list = {0};
    for (size_t i = 0; i < count; i++) {
        const linear_t *layer = site[i].layer;
        char row[512], *name = ldm_name_theirs(layout, "unet", layer->name + strlen("unet."));
        assert_non_null(name);
        for (char *c = name; *c; c++)
            if (*c == '.') *c = '_';
        snprintf(row, sizeof row, "lora_unet_%s %zu %zu", name, layer->in, layer->out);
        append(&list, row);
        free(name);
    }
    sort(&list);
    same(read_list(path, all), list, path);
    unet_close(unet);
}

/* The rows of golden/names as an expert's tensors: "KEY IN OUT" is a factor of that input. */
static void check_family_of_file(const char *model, const family_t *family) {
    char path[256];
    snprintf(path, sizeof path, "golden/names/%s/mole.txt", model);
    list_t list = read_list(path, all);
    family_file_t experts = {0}, gates = {0};
    for (size_t i = 0; i < list.count; i++) {
        char name[320], *gap = strchr(list.rows[i], ' ');
        assert_non_null(gap);
        int key = (int)(gap - list.rows[i]);
        size_t in = strtoul(gap, NULL, 10);
        snprintf(name, sizeof name, "%.*s.lora_down.weight", key, list.rows[i]);
        family_see(&experts, name, SHAPE2(4, in));
        snprintf(name, sizeof name, "moe_%.*s.softmoe.Phi_1.weight", key, list.rows[i]);
        family_see(&gates, name, SHAPE2(2, in));
    }
    assert_string_equal(experts.part, "experts");
    assert_string_equal(gates.part, "gates");
    assert_ptr_equal(family_of_file(&experts), family);
    assert_ptr_equal(family_of_file(&gates), family);
    list_free(&list);
}

/* The table of families against the libraries' own configurations and layers. */
static void families_are_told_apart(void **state) {
    (void)state;
    static const char *const models[] = {"sd15", "sd21", "sdxl"};
    for (size_t i = 0; i < 3; i++) {
        const family_t *family = &families[i];
        char folder[128];
        err_t err;
        unet_config_t c;
        snprintf(folder, sizeof folder, "golden/names/%s/unet", models[i]);
        if (unet_config_read(&c, folder, &err)) fail_msg("%s", err.text);
        ldm_layout_t layout = unet_config_layout(&c);
        assert_ptr_equal(family_of_layout(&layout, c.use_linear_projection), family);
        assert_int_equal(c.block_out_channels[0], family->channels);
        assert_int_equal(c.cross_attention_dim, family->text);
        assert_int_equal(strcmp(family->model + strlen("synth:"), models[i]), 0);
        assert_ptr_not_equal(family_of_layout(&layout, !c.use_linear_projection), family);
        layout.depth[1]++;
        assert_null(family_of_layout(&layout, c.use_linear_projection));
        check_family_of_file(models[i], family);
    }
}

static void every_tensor_once(void **state) {
    (void)state;
    check_model("sd15");
    check_model("sd21");
    check_model("sdxl");
    check_text("sd15", "text_encoder", TEXT_USE_LAST, 0);
    check_text("sd21", "text_encoder", TEXT_USE_LAST, 0);
    /* XL reads the states before the last layer; of the second encoder the pooled vector needs all. */
    check_text("sdxl", "text_encoder", (text_use_t){.skip = 1}, 11);
    check_text("sdxl", "text_encoder_2", (text_use_t){.skip = 1, .pooled = true}, 0);
}

static void every_layer_has_experts(void **state) {
    (void)state;
    check_experts("sd15", 192, false);
    check_experts("sd21", 192, false);
    check_experts("sdxl", 722, true);
    check_ldm_layers("sdxl", &ldm_layout_xl);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_tensor_once),
                                       cmocka_unit_test(every_layer_has_experts),
                                       cmocka_unit_test(families_are_told_apart)};
    return cmocka_run_group_tests_name("full_names", tests, scratch_setup, scratch_teardown);
}
