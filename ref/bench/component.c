/* component.c - see component.h. */
#include "bench/component.h"

#include <stdlib.h>

#include "io/file.h"

struct component {
    component_kind_t kind;
    pipeline_t part; /* one member of it */
    arena_t *arena;
    run_t run;
    size_t batch, H, W; /* of the latents */
    real_t *in, *out, *pooled;
    int32_t *ids;
    context_kv_t context;
};

/* Numbers that look like noise, the same in every run. */
static void fill(real_t *x, size_t n) {
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (real_t)(state >> 8) / (real_t)(1 << 23) - 1;
    }
}

static const char *const folder[] = {"text_encoder", "text_encoder_2", "unet", "vae"};

bool component_exists(component_kind_t kind, const pipeline_files_t *files) {
    char *path = file_join(files->folder, folder[kind]), *config = file_join(path, "config.json");
    bool there = source_has(config);
    free(path);
    free(config);
    return there;
}

static bool is_text(const component_t *c) {
    return c->kind == COMPONENT_TEXT_ENCODER || c->kind == COMPONENT_TEXT_ENCODER_2;
}

static int open_part(component_t *c, const pipeline_files_t *files, err_t *err) {
    static const text_use_t pooled = {.skip = 1, .pooled = true};
    char *path = file_join(files->folder, folder[c->kind]);
    int status;
    if (is_text(c))
        status = text_encoder_open(&c->part.text_encoder[0], path, folder[c->kind],
                                   c->kind == COMPONENT_TEXT_ENCODER ? TEXT_USE_LAST : pooled,
                                   files->allow_unused, err);
    else if (c->kind == COMPONENT_UNET)
        status = unet_open(&c->part.unet, path, files->allow_unused, err);
    else
        status = vae_open(&c->part.vae, path, files->allow_unused, err);
    free(path);
    if (!status && c->kind == COMPONENT_UNET && files->mole.experts)
        status = pipeline_attach_experts(&c->part, &files->mole, files->allow_unused, err);
    return status;
}

static void start_text_encoder(component_t *c) {
    const text_encoder_config_t *t = text_encoder_config(c->part.text_encoder[0]);
    c->W = t->max_position_embeddings < 77 ? t->max_position_embeddings : 77;
    size_t count = c->batch * c->W;
    c->ids = xmalloc(count * sizeof *c->ids);
    for (size_t i = 0; i < count; i++) c->ids[i] = (int32_t)(i * 7919 % t->vocab_size);
    c->out = arena_reals(c->arena, count * t->hidden_size);
    if (text_encoder_use(c->part.text_encoder[0]).pooled)
        c->pooled = arena_reals(c->arena, c->batch * t->projection_dim);
}

static void start_unet(component_t *c) {
    const unet_config_t *u = unet_config(c->part.unet);
    size_t n = c->batch * u->in_channels * c->H * c->W, S = 77;
    real_t *tokens = arena_reals(c->arena, c->batch * S * u->cross_attention_dim);
    real_t *pooled = arena_reals(c->arena, c->batch * unet_text_embeds(u));
    real_t *time_ids = arena_reals(c->arena, c->batch * UNET_TIME_IDS);
    c->in = arena_reals(c->arena, n);
    c->out = arena_reals(c->arena, n);
    fill(c->in, n);
    fill(tokens, c->batch * S * u->cross_attention_dim);
    fill(pooled, c->batch * unet_text_embeds(u));
    for (size_t i = 0; i < c->batch * UNET_TIME_IDS; i++) time_ids[i] = (real_t)(8 * c->H);
    conditioning_t given = {c->batch, S, tokens, pooled, time_ids};
    c->context = unet_context(&c->run, c->part.unet, &given);
}

static void start_vae(component_t *c) {
    const vae_config_t *v = vae_config(c->part.vae);
    size_t scale = vae_scale(c->part.vae), n = c->batch * v->latent_channels * c->H * c->W;
    c->in = arena_reals(c->arena, n);
    c->out = arena_reals(c->arena, c->batch * v->out_channels * c->H * c->W * scale * scale);
    fill(c->in, n);
}

/* Pixels per latent are the VAE's affair; where it is not open they are those of every Stable Diffusion. */
static size_t unit_of(const component_t *c) {
    return c->kind == COMPONENT_VAE_DECODER ? vae_scale(c->part.vae) : 8;
}

static int choose_size(component_t *c, size_t width, size_t height, err_t *err) {
    if (is_text(c)) return 0;
    size_t unit = unit_of(c), usual = 512 / unit;
    if (c->kind == COMPONENT_UNET) usual = unet_config(c->part.unet)->sample_size;
    if (width % unit || height % unit)
        return err_set(err, "%zu x %zu pixels: width and height must be multiples of %zu", width,
                       height, unit);
    c->W = width ? width / unit : usual;
    c->H = height ? height / unit : usual;
    return 0;
}

int component_open(component_t **component, component_kind_t kind, const pipeline_files_t *files,
                   const run_t *run, size_t batch, size_t width, size_t height, err_t *err) {
    component_t *c = xcalloc(1, sizeof *c);
    *c = (component_t){.kind = kind, .run = *run, .batch = batch};
    if (open_part(c, files, err) || choose_size(c, width, height, err) ||
        arena_create(&c->arena, 0, err)) {
        component_close(c);
        return -1;
    }
    c->run.arena = c->arena;
    if (is_text(c))
        start_text_encoder(c);
    else if (kind == COMPONENT_UNET)
        start_unet(c);
    else
        start_vae(c);
    *component = c;
    return 0;
}

void component_close(component_t *c) {
    if (!c) return;
    pipeline_close(&c->part);
    arena_destroy(c->arena);
    free(c->ids);
    free(c);
}

void component_run(component_t *c, tap_sink_t *sink) {
    run_t run = c->run;
    run.sink = sink;
    if (is_text(c))
        text_encoder_forward(&run, c->part.text_encoder[0], c->out, c->pooled, c->ids, c->batch,
                             c->W);
    else if (c->kind == COMPONENT_UNET)
        unet_forward(&run, c->part.unet, c->out, c->in, 981, &c->context, c->H, c->W);
    else
        vae_decode(&run, c->part.vae, c->out, c->in, c->batch, c->H, c->W);
}

/* The one that is open. */
static pipeline_component_t component_part(const component_t *c) {
    pipeline_component_t part[PIPELINE_COMPONENTS];
    REQUIRE(pipeline_components(&c->part, part) == 1, "component: more than one is open");
    return part[0];
}

size_t component_weight_bytes(const component_t *c) {
    size_t numbers = weights_parameters(component_part(c).weights);
    for (size_t i = 0; c->part.mole && i < c->part.mole_layer[0].experts; i++)
        numbers += weights_parameters(mole_set_expert(c->part.mole, i));
    if (c->part.mole && mole_set_gates(c->part.mole))
        numbers += weights_parameters(mole_set_gates(c->part.mole));
    return numbers * sizeof(real_t);
}

double component_gflop(component_t *c) {
    modules_t modules = component_part(c).modules;
    profile_t profile;
    if (c->kind == COMPONENT_UNET && !c->context.ready) component_run(c, NULL);
    profile_start(&profile, &modules, 1, NULL);
    component_run(c, &profile.sink);
    double gflop = profile_total(&profile).gflop;
    profile_free(&profile);
    return gflop;
}
