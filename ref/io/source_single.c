/* source_single.c - see source.h: a single-file LDM checkpoint, Stable Diffusion v1.x as its first authors
 * saved it.
 *
 * One safetensors file holds all components under names of its own (ldm_names.h). Such a file has no
 * configurations: those of SD v1.5 are assumed (synth.h has them), and the shapes of its tensors are
 * held against them. There is no tokenizer. */
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/ldm_names.h"
#include "io/source_internal.h"

static const ldm_layout_t *const layout = &ldm_layout_v1;

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

/* ---- configurations: the architecture is known by the width of the UNet's first convolution --------- */

static int read_made(const st_file_t *file, const char *path, const char *rest, char **text,
                     err_t *err) {
    static const struct {
        size_t width;
        const char *model;
    } archs[] = {{320, "synth:sd15"}, {16, "synth:sd15-tiny"}};
    static const char first[] = "model.diffusion_model.input_blocks.0.0.weight";
    char found[SHAPE_TEXT];
    const st_tensor_t *conv = st_find(file, first);
    if (!conv)
        return err_set(err,
                       "%s: tensor '%s' is missing: this is no single-file checkpoint of "
                       "Stable Diffusion v1.x; --model takes such a file or a diffusers folder",
                       path, first);
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        if (!shape_equal(conv->shape, SHAPE4(archs[i].width, 4, 3, 3))) continue;
        char *made = file_join(archs[i].model, rest);
        int status = synth_file(text, made, err);
        free(made);
        return status;
    }
    return err_set(err, "%s: tensor '%s': expected (320, 4, 3, 3), found %s", path, first,
                   shape_text(found, conv->shape));
}

static int read_text(const char *path, size_t limit, char **text, size_t *bytes, err_t *err) {
    char *name;
    const char *rest;
    st_file_t *file;
    (void)limit; /* a few hundred bytes */
    if (!source_split(path, &name, &rest)) return err_set(err, "%s: no such file", path);
    int status = st_open(&file, name, err);
    if (!status) {
        if (!starts_with(rest, "tokenizer/")) status = read_made(file, name, rest, text, err);
        if (*text) *bytes = strlen(*text);
        st_close(file);
    }
    free(name);
    return status;
}

/* ---- tensors -------------------------------------------------------------------------------------- */

static char *saved_name(const source_t *source, const char *name) {
    return ldm_name(layout, ((const source_files_t *)source)->component, name);
}

static size_t find(source_t *source, const char *name, shape_t shape) {
    char *saved = saved_name(source, name);
    size_t found = saved ? source_files_find(source, saved, shape) : SOURCE_NONE;
    free(saved);
    return found;
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

static source_owner_t owner(const source_t *source, const char *saved, const char **own) {
    const char *component = ((const source_files_t *)source)->component;
    *own = saved;
    for (size_t i = 0; i < LDM_COMPONENTS && layout->component[i].component; i++) {
        if (!starts_with(saved, layout->component[i].prefix)) continue;
        *own = saved + strlen(layout->component[i].prefix);
        return strcmp(layout->component[i].component, component) == 0 ? SOURCE_OWN : SOURCE_OTHERS;
    }
    return is_of_the_file(saved) ? SOURCE_OTHERS : SOURCE_STRANGE;
}

static int open_tensors(source_t **source, const char *folder, const char *stem, err_t *err) {
    char *path;
    const char *component;
    (void)stem;
    if (!source_split(folder, &path, &component)) return err_set(err, "%s: no such file", folder);
    source_files_t *f = xcalloc(1, sizeof *f);
    f->component = xstrdup(component);
    f->source = (source_t){.class = &source_single,
                           .path = path,
                           .loose = true,
                           .doubt = "is this a checkpoint of Stable Diffusion v1.x alone?"};
    int status = source_files_add(f, path, err);
    *source = status ? NULL : &f->source;
    if (status) source_files_close(&f->source);
    return status;
}

const source_class_t source_single = {.read = read_text,
                                      .open = open_tensors,
                                      .find = find,
                                      .count = source_files_count,
                                      .at = source_files_at,
                                      .numbers = source_files_numbers,
                                      .forget = source_files_forget,
                                      .saved_name = saved_name,
                                      .owner = owner,
                                      .metadata = source_files_metadata,
                                      .close = source_files_close};
