/* source_single.c - see source.h: a single-file LDM checkpoint, Stable Diffusion v1, v2 or XL as their
 * authors saved them.
 *
 * One safetensors file holds all components under names of its own (ldm_names.h). Such a file has no
 * configurations: what kind of model it is, keys and shapes tell; the configurations of that kind are assumed
 * (synth.h has them), and the shapes of all tensors are held against them. There is no tokenizer.
 *
 * OpenCLIP keeps the projections of q, k and v in one tensor (3D,D), here seen as three, NAME[0], [1], [2];
 * and its text projection as (D,P), for x P, here seen transposed, as torch's Linear has it. */
#include <stdlib.h>
#include <string.h>

#include "io/families.h"
#include "io/file.h"
#include "io/ldm_names.h"
#include "io/source_internal.h"

bool source_split(const char *path, char **file, const char **rest) {
    static const char ending[] = ".safetensors";
    const char *at = strstr(path, ending);
    while (at && at[strlen(ending)] && at[strlen(ending)] != '/') at = strstr(at + 1, ending);
    if (!at) return false;
    size_t length = (size_t)(at - path) + strlen(ending);
    *file = xasprintf("%.*s", (int)length, path);
    *rest = path + length + (path[length] == '/');
    if (file_exists(*file)) return true;
    free(*file);
    return false;
}

static bool starts_with(const char *text, const char *front) {
    return strncmp(text, front, strlen(front)) == 0;
}

/* ---- which kind of model ------------------------------------------------------------------------- */

#define UNET       "model.diffusion_model."
#define FIRST_CONV UNET "input_blocks.0.0.weight"
enum { BLOCKS = 12 }; /* input_blocks, at most */

/* By the name of a tensor that no other family has. Without any, the UNet alone tells. */
static const struct {
    const char *front; /* of its name */
    const family_t *family;
} kinds[] = {{"conditioner.embedders.1.model.", &families[FAMILY_XL]},
             {"conditioner.embedders.0.transformer.", &families[FAMILY_XL]},
             {"cond_stage_model.transformer.", &families[FAMILY_V1]},
             {"cond_stage_model.model.", &families[FAMILY_V2]},
             {UNET "label_emb.", &families[FAMILY_XL]}};

/* The same layouts in few channels. */
static const struct {
    const family_t *family;
    size_t channels, text; /* as in families.h */
    const char *model;
} narrow[] = {{&families[FAMILY_V1], 16, 40, "synth:sd15-tiny"},
              {&families[FAMILY_V2], 8, 24, "synth:sd21-tiny"},
              {&families[FAMILY_XL], 8, 36, "synth:sdxl-tiny"}};

/* Files of other families, which people try. */
static const struct {
    const char *front, *what, *more;
} strangers[] = {{UNET "double_blocks.", "a transformer of Flux", ""},
                 {"double_blocks.", "a transformer of Flux", ""},
                 {UNET "joint_blocks.", "a transformer of Stable Diffusion 3", ""},
                 {"joint_blocks.", "a transformer of Stable Diffusion 3", ""},
                 {"conditioner.embedders.0.model.", NULL,
                  ", which is told five numbers and has one text encoder"}};

static bool has_front(const st_file_t *file, const char *front) {
    for (size_t i = 0; i < st_count(file); i++)
        if (starts_with(st_at(file, i)->name, front)) return true;
    return false;
}

static int refuse_strangers(const st_file_t *file, const char *path, err_t *err) {
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++)
        if (has_front(file, strangers[i].front))
            return err_set(
                err,
                "%s: has tensors '%s...': this is %s%s; --model takes Stable Diffusion v1, v2 or "
                "XL",
                path, strangers[i].front,
                strangers[i].what ? strangers[i].what : families[FAMILY_XL_REFINER].name,
                strangers[i].more);
    return 0;
}

/* Channels in and out of the first convolution: 4 in. */
static int check_first(const st_file_t *file, const char *path, const st_tensor_t **conv,
                       err_t *err) {
    *conv = st_find(file, FIRST_CONV);
    if (!*conv)
        return err_set(err,
                       "%s: tensor '%s' is missing: this is no single-file checkpoint of "
                       "Stable Diffusion v1, v2 or XL; --model takes such a file or a diffusers "
                       "folder",
                       path, FIRST_CONV);
    const shape_t *shape = &(*conv)->shape;
    if (shape->ndim != 4 || shape->dim[1] == 4) return 0;
    return err_set(err, "%s: tensor '%s' takes %zu channels, expected 4: %s", path, FIRST_CONV,
                   shape->dim[1],
                   shape->dim[1] == 9 ? "an inpainting model, which is not supported"
                                      : "a model of pictures made from pictures is not supported");
}

/* The first that is as wide as the text; NULL without. */
static const st_tensor_t *text_of(const st_file_t *file) {
    const st_tensor_t *found = NULL;
    for (size_t i = 1; i < BLOCKS && !found; i++) {
        char *name = xasprintf(UNET "input_blocks.%zu.1.transformer_blocks.0.attn2.to_k.weight", i);
        found = st_find(file, name);
        free(name);
    }
    return found && found->shape.ndim >= 2 ? found : NULL;
}

static bool fits(size_t channels, size_t width, const st_tensor_t *conv, const st_tensor_t *text) {
    return shape_equal(conv->shape, SHAPE4(channels, 4, 3, 3)) &&
           (!text || text->shape.dim[1] == width);
}

/* Of the family, the one of these widths; NULL for none. */
static const char *model_of(const family_t *family, const st_tensor_t *conv,
                            const st_tensor_t *text) {
    if (fits(family->channels, family->text, conv, text)) return family->model;
    for (size_t i = 0; i < sizeof narrow / sizeof *narrow; i++)
        if (narrow[i].family == family && fits(narrow[i].channels, narrow[i].text, conv, text))
            return narrow[i].model;
    return NULL;
}

static const family_t *family_of(const st_file_t *file, const st_tensor_t *conv,
                                 const st_tensor_t *text) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (has_front(file, kinds[i].front)) return kinds[i].family;
    const family_t *v2 = &families[FAMILY_V2]; /* without a text encoder: by widths */
    return model_of(v2, conv, text) && text ? v2 : &families[FAMILY_V1];
}

/* The family, and the model whose configurations the file has. */
static int recognise(const st_file_t *file, const char *path, const family_t **family,
                     const char **model, err_t *err) {
    const st_tensor_t *conv;
    char found[SHAPE_TEXT];
    if (refuse_strangers(file, path, err) || check_first(file, path, &conv, err)) return -1;
    const st_tensor_t *text = text_of(file);
    const family_t *f = *family = family_of(file, conv, text);
    *model = model_of(f, conv, text);
    if (*model) return 0;
    if (text && fits(f->channels, 0, conv, NULL))
        return err_set(err,
                       "%s: its other tensors are those of %s, whose cross-attention hears vectors "
                       "of %zu numbers, but '%s' has %s",
                       path, f->name, f->text, text->name, shape_text(found, text->shape));
    return err_set(err, "%s: tensor '%s': expected (%zu, 4, 3, 3), found %s", path, FIRST_CONV,
                   f->channels, shape_text(found, conv->shape));
}

/* A component of which the file has no tensor at all. */
static int check_component(const st_file_t *file, const char *path, const family_t *family,
                           const char *component, err_t *err) {
    const char *prefix = ldm_prefix(family->layout, component);
    if (!prefix || has_front(file, prefix)) return 0;
    return err_set(err,
                   "%s: a file of %s without its %s: there are no tensors '%s...'; take a whole "
                   "checkpoint",
                   path, family->name, component, prefix);
}

static int read_made(const st_file_t *file, const char *path, const char *rest, char **text,
                     err_t *err) {
    const family_t *family;
    const char *model;
    if (recognise(file, path, &family, &model, err)) return -1;
    char *made = file_join(model, rest);
    int status = synth_file(text, made, err);
    free(made);
    return status;
}

static int read_text(const char *path, size_t limit, char **text, size_t *bytes, err_t *err) {
    char *name;
    const char *rest;
    st_file_t *file;
    (void)limit; /* a few hundred bytes */
    if (!source_split(path, &name, &rest)) return err_set(err, "%s: no such file", path);
    int status = st_open(&file, name, err);
    if (!status) {
        if (!starts_with(rest, "tokenizer")) status = read_made(file, name, rest, text, err);
        if (*text) *bytes = strlen(*text);
        st_close(file);
    }
    free(name);
    return status;
}

/* ---- tensors -------------------------------------------------------------------------------------- */

/* A tensor of the file, or a part of one. */
typedef struct {
    size_t of;   /* in the file */
    int part;    /* of three, row after row; -1: the whole */
    bool turned; /* (D,P) seen as (P,D) */
    char *name;  /* of a part, "NAME[0]" */
} seen_t;

typedef struct {
    source_t source; /* first */
    source_t *file;
    const ldm_layout_t *layout;
    char *component;
    bool open_clip, spare_layer;
    size_t last_layer; /* of OpenCLIP's, in the file */
    seen_t *seen;
    size_t count;
} single_t;

static void see(single_t *s, size_t of, int part, bool turned) {
    seen_t *seen = &s->seen[s->count++];
    *seen = (seen_t){.of = of, .part = part, .turned = turned};
    if (part >= 0) seen->name = xasprintf("%s[%d]", source_files_at(s->file, of).name, part);
}

/* OpenCLIP's, and whatever belongs to other components as it stands. */
static void see_tensor(single_t *s, size_t of, const char *prefix) {
    const char *name = source_files_at(s->file, of).name;
    bool own = s->open_clip && prefix && starts_with(name, prefix);
    bool fused =
        own && (text_ends(name, ".attn.in_proj_weight") || text_ends(name, ".attn.in_proj_bias"));
    for (int part = 0; fused && part < 3; part++) see(s, of, part, false);
    if (!fused) see(s, of, -1, own && text_ends(name, ".text_projection"));
}

/* The number of the last of "transformer.resblocks.23.ln_1.bias". */
static size_t layer_of(const char *own) {
    static const char front[] = "transformer.resblocks.";
    return starts_with(own, front) ? strtoul(own + strlen(front), NULL, 10) : 0;
}

static void see_all(single_t *s) {
    const char *prefix = ldm_prefix(s->layout, s->component);
    size_t count = source_files_count(s->file);
    s->seen = xcalloc(3 * count + 1, sizeof *s->seen);
    for (size_t i = 0; i < LDM_COMPONENTS && s->layout->component[i].component; i++)
        if (strcmp(s->layout->component[i].component, s->component) == 0) {
            s->open_clip = s->layout->component[i].open_clip;
            s->spare_layer = s->layout->component[i].spare_layer;
        }
    for (size_t i = 0; i < count; i++) {
        const char *name = source_files_at(s->file, i).name;
        size_t layer = prefix && starts_with(name, prefix) ? layer_of(name + strlen(prefix)) : 0;
        if (layer > s->last_layer) s->last_layer = layer;
        see_tensor(s, i, prefix);
    }
}

static char *saved_name(const source_t *source, const char *name) {
    const single_t *s = (const single_t *)source;
    return ldm_name(s->layout, s->component, name);
}

static size_t count_seen(const source_t *source) {
    return ((const single_t *)source)->count;
}

/* A third of the rows; where they are no multiple of three, the shape stays, which nothing expects. */
static source_tensor_t third(source_tensor_t t, const seen_t *seen) {
    size_t rows = t.shape.ndim ? t.shape.dim[0] : 0;
    t.name = seen->name;
    if (rows % 3) return t;
    t.shape.dim[0] = rows / 3;
    t.data = (const char *)t.data + (size_t)seen->part * shape_count(t.shape) * dtype_size(t.dtype);
    return t;
}

static source_tensor_t at(const source_t *source, size_t index) {
    const single_t *s = (const single_t *)source;
    const seen_t *seen = &s->seen[index];
    source_tensor_t t = source_files_at(s->file, seen->of);
    if (seen->part >= 0) return third(t, seen);
    if (seen->turned && t.shape.ndim == 2) {
        t.shape = SHAPE2(t.shape.dim[1], t.shape.dim[0]);
        t.data = NULL; /* `numbers` turns them */
        t.unchecked = true;
    }
    return t;
}

static size_t find(source_t *source, const char *name, shape_t shape) {
    const single_t *s = (const single_t *)source;
    char *saved = saved_name(source, name);
    size_t found = SOURCE_NONE;
    size_t of = saved ? source_files_find(s->file, saved, shape) : SOURCE_NONE;
    for (size_t i = 0; saved && found == SOURCE_NONE && i < s->count; i++) {
        const seen_t *seen = &s->seen[i];
        if (seen->name ? strcmp(seen->name, saved) == 0 : seen->of == of) found = i;
    }
    free(saved);
    return found;
}

static void numbers(const source_t *source, size_t index, size_t first, size_t count, real_t *out) {
    const single_t *s = (const single_t *)source;
    const seen_t *seen = &s->seen[index];
    source_tensor_t t = at(source, index);
    if (t.data) {
        dtype_to_real(out, (const char *)t.data + first * dtype_size(t.dtype), t.dtype, count);
        return;
    }
    size_t D = t.shape.dim[1], P = t.shape.dim[0]; /* number (p,d) is the file's (d,p) */
    for (size_t i = 0; i < count; i++) {
        size_t p = (first + i) / D, d = (first + i) % D;
        source_files_numbers(s->file, seen->of, d * P + p, 1, out + i);
    }
}

static void forget(const source_t *source, size_t index) {
    const single_t *s = (const single_t *)source;
    source_files_forget(s->file, index == SOURCE_NONE ? index : s->seen[index].of);
}

/* What such files hold besides and no run needs: averaged weights (model_ema.), the tables of the schedule,
 * marks (marks.h). */
static bool is_of_the_file(const char *name) {
    static const char *const fronts[] = {"model_ema.", "edm_"};
    static const char *const names[] = {"v_pred",
                                        "ztsnr",
                                        "betas",
                                        "alphas_cumprod",
                                        "alphas_cumprod_prev",
                                        "sqrt_alphas_cumprod",
                                        "sqrt_one_minus_alphas_cumprod",
                                        "log_one_minus_alphas_cumprod",
                                        "sqrt_recip_alphas_cumprod",
                                        "sqrt_recipm1_alphas_cumprod",
                                        "posterior_variance",
                                        "posterior_log_variance_clipped",
                                        "posterior_mean_coef1",
                                        "posterior_mean_coef2",
                                        "lvlb_weights",
                                        "logvar",
                                        "scale_factor",
                                        "denoiser.sigmas"};
    for (size_t i = 0; i < sizeof fronts / sizeof *fronts; i++)
        if (starts_with(name, fronts[i])) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* Of OpenCLIP's text encoder what no run needs: the scale of its training, its mask; and where transformers'
 * form has one layer less, the last one and the projection. */
static bool is_spare(const single_t *s, const char *own) {
    if (!s->open_clip) return false;
    if (strcmp(own, "logit_scale") == 0 || strcmp(own, "attn_mask") == 0) return true;
    return s->spare_layer && (strcmp(own, "text_projection") == 0 ||
                              (s->last_layer && layer_of(own) == s->last_layer));
}

static source_owner_t owner(const source_t *source, const char *saved, const char **own) {
    const single_t *s = (const single_t *)source;
    *own = saved;
    for (size_t i = 0; i < LDM_COMPONENTS && s->layout->component[i].component; i++) {
        if (!starts_with(saved, s->layout->component[i].prefix)) continue;
        *own = saved + strlen(s->layout->component[i].prefix);
        if (strcmp(s->layout->component[i].component, s->component) != 0) return SOURCE_OTHERS;
        return is_spare(s, *own) ? SOURCE_OTHERS : SOURCE_OWN;
    }
    return is_of_the_file(saved) ? SOURCE_OTHERS : SOURCE_STRANGE;
}

static void metadata(const source_t *source,
                     void (*visit)(void *who, const char *key, const char *value), void *who) {
    source_files_metadata(((const single_t *)source)->file, visit, who);
}

static void close_single(source_t *source) {
    single_t *s = (single_t *)source;
    if (s->file) source_files_close(s->file);
    for (size_t i = 0; i < s->count; i++) free(s->seen[i].name);
    free(s->seen);
    free(s->component);
    free(s->source.path);
    free(s);
}

static int open_tensors(source_t **source, const char *folder, const char *stem, err_t *err) {
    char *path;
    const char *component, *model;
    const family_t *family;
    (void)stem;
    *source = NULL;
    if (!source_split(folder, &path, &component)) return err_set(err, "%s: no such file", folder);
    single_t *s = xcalloc(1, sizeof *s);
    s->component = xstrdup(component);
    s->source = (source_t){.class = &source_single,
                           .path = path,
                           .loose = true,
                           .doubt = "is this a checkpoint of Stable Diffusion v1, v2 or XL alone?"};
    int status = source_open_file(&s->file, path, err);
    if (!status) {
        const st_file_t *file = ((const source_files_t *)(const void *)s->file)->file[0];
        status = recognise(file, path, &family, &model, err) ||
                 check_component(file, path, family, component, err);
    }
    if (status) {
        close_single(&s->source);
        return -1;
    }
    s->layout = family->layout;
    see_all(s);
    *source = &s->source;
    return 0;
}

const source_class_t source_single = {.read = read_text,
                                      .open = open_tensors,
                                      .find = find,
                                      .count = count_seen,
                                      .at = at,
                                      .numbers = numbers,
                                      .forget = forget,
                                      .saved_name = saved_name,
                                      .owner = owner,
                                      .metadata = metadata,
                                      .close = close_single};
