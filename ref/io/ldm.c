/* ldm.c - see ldm.h. */
#include "io/ldm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/safetensors.h"
#include "io/synth.h"

bool ldm_split(const char *path, char **file, const char **rest) {
    static const char ending[] = ".safetensors/";
    const char *at = strstr(path, ending);
    if (!at) return false;
    size_t length = (size_t)(at - path) + strlen(ending) - 1;
    *file = xasprintf("%.*s", (int)length, path);
    *rest = path + length + 1;
    if (file_exists(*file)) return true;
    free(*file);
    return false;
}

bool ldm_is_known(const char *name) {
    static const char *const fronts[] = {"model.diffusion_model.", "first_stage_model.",
                                         "cond_stage_model.transformer.", "model_ema.", "edm_"};
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
        if (strncmp(name, fronts[i], strlen(fronts[i])) == 0) return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) return true;
    return false;
}

/* ---- configurations --------------------------------------------------------------------------------- */

int ldm_file(char **text, const char *path, err_t *err) {
    static const struct {
        size_t width;
        const char *model;
    } archs[] = {{320, "synth:sd15"}, {16, "synth:sd15-tiny"}};
    static const char first[] = "model.diffusion_model.input_blocks.0.0.weight";
    char *name, found[SHAPE_TEXT];
    const char *rest;
    *text = NULL;
    if (!ldm_split(path, &name, &rest)) return err_set(err, "%s: no such file", path);
    st_file_t *file;
    int status = st_open(&file, name, err);
    if (!status) {
        const st_tensor_t *conv = st_find(file, first);
        status = 1;
        for (size_t i = 0; conv && i < sizeof archs / sizeof *archs; i++)
            if (shape_equal(conv->shape, SHAPE4(archs[i].width, 4, 3, 3))) {
                char *made = file_join(archs[i].model, rest);
                status = synth_file(text, made, err);
                free(made);
            }
        if (status > 0 && !conv)
            status = err_set(err,
                             "%s: tensor '%s' is missing: this is no single-file checkpoint of "
                             "Stable Diffusion v1.x; --model takes such a file or a diffusers "
                             "folder",
                             name, first);
        else if (status > 0)
            status = err_set(err, "%s: tensor '%s': expected (320, 4, 3, 3), found %s", name, first,
                             shape_text(found, conv->shape));
        st_close(file);
    }
    free(name);
    return status;
}
