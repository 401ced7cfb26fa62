/* api_model.c - the models of mole.h: open a folder, run a component on given arrays, watch its taps. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api_check.h"
#include "api/api_tokenizer.h"
#include "core/ieee.h"
#include "pipeline/pipeline.h"

enum { REAL = sizeof(mole_real_t) };

struct mole_model {
    tap_sink_t sink; /* first: the sink that a tap receives is the model */
    pipeline_t pipeline;
    pool_t names; /* of the experts, for the names of taps */
    arena_t *arena;
    atomic_flag busy; /* a call is on its way */
    matmul_way_t matmul;
    mole_form_t form;
    mole_tap_t *tap;
    void *who;
    real_t *copy; /* what a tap is shown: in torch's order, (room) */
    size_t room;
    bool blind; /* there was no memory for a copy */
};

/* ---- opening ----------------------------------------------------------------------------------- */

static void check_experts(check_t *c, const mole_expert_file_t *expert, size_t experts,
                          const char *gates, mole_files_t *files) {
    check_that(c, experts <= MOLE_EXPERTS, "%zu experts, at most %d", experts, MOLE_EXPERTS);
    check_that(c, expert || !experts, "expert is NULL, expected %zu", experts);
    check_that(c, experts || !gates, "gates without experts");
    *files = (mole_files_t){.experts = experts, .gates = gates};
    for (size_t i = 0; !c->failed && i < experts; i++) {
        const char *name = expert[i].name;
        check_that(c, name && expert[i].path, "expert %zu has no name or no path", i);
        for (size_t k = 0; !c->failed && k < i; k++)
            check_that(c, strcmp(name, expert[k].name) != 0, "expert '%s' is given twice", name);
        if (c->failed) return;
        bool plain = name[0] && !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")];
        check_that(c, plain && strlen(name) <= 64,
                   "expert %zu: the name '%.80s' is not made of a-z, 0-9 and _", i, name);
        files->path[i] = expert[i].path;
    }
}

int mole_model_open(mole_model_t **model, const char *folder, const mole_expert_file_t *expert,
                    size_t experts, const char *gates, mole_error_t *error) {
    check_t c = check_start("model_open", error);
    check_that(&c, model != NULL, "model is NULL");
    check_that(&c, folder != NULL, "folder is NULL");
    if (c.failed) return -1;
    *model = NULL;
    pipeline_files_t files = {.folder = folder};
    check_experts(&c, expert, experts, gates, &files.mole);
    if (c.failed) return -1;
    mole_model_t *m = xcalloc(1, sizeof *m);
    for (size_t i = 0; i < experts; i++)
        files.mole.name[i] = pool_printf(&m->names, "%s", expert[i].name);
    m->matmul = MATMUL_BLAS;
    m->form = MOLE_DIRECT;
    atomic_flag_clear(&m->busy);
    if (ieee_check(c.err) || pipeline_open(&m->pipeline, &files, c.err) ||
        arena_create(&m->arena, 0, c.err)) {
        mole_model_close(m);
        return -1;
    }
    *model = m;
    return 0;
}

void mole_model_close(mole_model_t *m) {
    if (!m) return;
    pipeline_close(&m->pipeline);
    pool_free(&m->names);
    arena_destroy(m->arena);
    free(m->copy);
    free(m);
}

void mole_model_info(const mole_model_t *m, mole_model_info_t *info) {
    const pipeline_t *p = &m->pipeline;
    const text_encoder_config_t *text = text_encoder_config(p->text_encoder[0]);
    const unet_config_t *unet = unet_config(p->unet);
    const vae_config_t *vae = vae_config(p->vae);
    *info = (mole_model_info_t){.vocab = text->vocab_size,
                                .max_length = text->max_position_embeddings,
                                .hidden_size = text->hidden_size,
                                .latent_channels = unet->in_channels,
                                .context_width = unet->cross_attention_dim,
                                .image_channels = vae->out_channels,
                                .pixels_per_latent = vae_scale(p->vae),
                                .scaling_factor = vae->scaling_factor,
                                .mole_layers = p->mole ? p->mole_layers : 0};
}

const mole_tokenizer_t *mole_model_tokenizer(const mole_model_t *m) {
    return api_tokenizer(m->pipeline.tokenizer[0]);
}

/* ---- one call at a time ------------------------------------------------------------------------ */

/* Claim the model; every claim that succeeds is followed by release. */
static bool claim(check_t *c, mole_model_t *m) {
    check_that(c, m != NULL, "model is NULL");
    if (c->failed) return false;
    bool taken = atomic_flag_test_and_set(&m->busy);
    check_that(c, !taken, "the model is in use: one call at a time, and none from a tap");
    return !c->failed;
}

static int release(check_t *c, mole_model_t *m) {
    check_that(c, !m->blind, "no memory to show a tap");
    m->blind = false;
    atomic_flag_clear(&m->busy);
    return check_result(c);
}

int mole_model_set(mole_model_t *m, mole_how_t how, mole_layer_form_t form, mole_error_t *error) {
    check_t c = check_start("model_set", error);
    check_how(&c, how);
    check_that(&c, form == MOLE_FORM_DIRECT || form == MOLE_FORM_STACKED,
               "form is %d, expected MOLE_FORM_DIRECT or MOLE_FORM_STACKED", (int)form);
    if (!claim(&c, m)) return -1;
    m->matmul = api_how(how);
    m->form = form == MOLE_FORM_DIRECT ? MOLE_DIRECT : MOLE_STACKED;
    return release(&c, m);
}

/* ---- taps -------------------------------------------------------------------------------------- */

static void show(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    mole_model_t *m = (mole_model_t *)(void *)self;
    size_t count = shape_count(view.shape), length = strlen(name);
    if (count > m->room) {
        free(m->copy);
        m->copy = malloc(count * sizeof *m->copy);
        m->room = m->copy ? count : 0;
    }
    m->blind = m->blind || !m->copy;
    if (!m->copy) return;
    view_to_torch(m->copy, x, view);
    int changed = m->tap(m->who, name, (size_t)view.shape.ndim, view.shape.dim, m->copy);
    bool input = length >= 3 && strcmp(name + length - 3, ".in") == 0;
    if (changed && !input) view_from_torch(x, m->copy, view);
}

int mole_model_watch(mole_model_t *m, mole_tap_t *watcher, void *who, int inputs,
                     mole_error_t *error) {
    check_t c = check_start("model_watch", error);
    if (!claim(&c, m)) return -1;
    m->tap = watcher;
    m->who = who;
    m->sink = (tap_sink_t){show, inputs};
    return release(&c, m);
}

/* ---- running ----------------------------------------------------------------------------------- */

static run_t start(mole_model_t *m) {
    return (run_t){
        .arena = m->arena, .sink = m->tap ? &m->sink : NULL, .matmul = m->matmul, .form = m->form};
}

/* An image of B x C x H x W numbers that the run is known to hold at once: more than the machine has
 * is refused before the arena would end the process. */
static void check_memory(check_t *c, size_t B, size_t C, size_t H, size_t W) {
    size_t count = 0;
    size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    bool fits = shape_count_checked(SHAPE4(B, C, H, W), &count) && count <= memory / REAL;
    check_that(c, fits, "B=%zu, H=%zu, W=%zu need more memory than this machine's %zu MiB", B, H, W,
               memory >> 20);
}

int mole_model_encode_text(mole_model_t *m, mole_real_t *out, const int32_t *ids, size_t B,
                           size_t T, mole_error_t *error) {
    check_t c = check_start("model_encode_text", error);
    if (!claim(&c, m)) return -1;
    const text_encoder_config_t *config = text_encoder_config(m->pipeline.text_encoder[0]);
    check_out(&c, "out", out, SHAPE3(B, T, config->hidden_size), REAL);
    check_in(&c, "ids", ids, SHAPE2(B, T), sizeof *ids);
    check_that(&c, T <= config->max_position_embeddings, "%zu tokens, at most %zu", T,
               config->max_position_embeddings);
    for (size_t i = 0; !c.failed && i < B * T; i++)
        check_that(&c, ids[i] >= 0 && (size_t)ids[i] < config->vocab_size,
                   "id %d at position %zu, vocabulary of %zu", (int)ids[i], i, config->vocab_size);
    if (!c.failed) {
        run_t run = start(m);
        arena_mark_t mark = arena_mark(m->arena);
        text_encoder_forward(&run, m->pipeline.text_encoder[0], out, NULL, ids, B, T);
        arena_release(m->arena, mark);
    }
    return release(&c, m);
}

int mole_model_unet(mole_model_t *m, mole_real_t *out, const mole_real_t *sample, double timestep,
                    const mole_real_t *context, size_t B, size_t H, size_t W, size_t S,
                    mole_error_t *error) {
    check_t c = check_start("model_unet", error);
    if (!claim(&c, m)) return -1;
    const unet_config_t *config = unet_config(m->pipeline.unet);
    check_out(&c, "out", out, SHAPE4(B, config->out_channels, H, W), REAL);
    check_in(&c, "sample", sample, SHAPE4(B, config->in_channels, H, W), REAL);
    check_in(&c, "context", context, SHAPE3(B, S, config->cross_attention_dim), REAL);
    check_that(&c, timestep - timestep == 0, "timestep is %g, expected a finite number", timestep);
    check_that(&c, !config->added_embedding,
               "this UNet also takes text_embeds and time_ids, which this function does not");
    check_memory(&c, B, config->block_out_channels[0], H, W);
    if (!c.failed) {
        run_t run = start(m);
        arena_mark_t mark = arena_mark(m->arena);
        conditioning_t given = {.B = B, .S = S, .encoder_hidden_states = context};
        context_kv_t kv = unet_context(&run, m->pipeline.unet, &given);
        unet_forward(&run, m->pipeline.unet, out, sample, timestep, &kv, H, W);
        arena_release(m->arena, mark);
    }
    return release(&c, m);
}

int mole_model_decode(mole_model_t *m, mole_real_t *image, const mole_real_t *latents, size_t B,
                      size_t H, size_t W, mole_error_t *error) {
    check_t c = check_start("model_decode", error);
    if (!claim(&c, m)) return -1;
    const vae_config_t *config = vae_config(m->pipeline.vae);
    size_t scale = vae_scale(m->pipeline.vae), most = SIZE_MAX / scale;
    check_that(&c, H <= most && W <= most, "H=%zu, W=%zu: too large", H, W);
    if (!c.failed) {
        check_out(&c, "image", image, SHAPE4(B, config->out_channels, H * scale, W * scale), REAL);
        check_in(&c, "latents", latents, SHAPE4(B, config->latent_channels, H, W), REAL);
        check_memory(&c, B, config->block_out_channels[0], H * scale, W * scale);
    }
    if (!c.failed) {
        run_t run = start(m);
        arena_mark_t mark = arena_mark(m->arena);
        vae_decode(&run, m->pipeline.vae, image, latents, B, H, W);
        arena_release(m->arena, mark);
    }
    return release(&c, m);
}
