/* synth.c - see synth.h: the formula. The files of a made folder are in synth_files.c. */
#include "io/synth.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

/* ---- specifications --------------------------------------------------------------------------- */

static const char prefix[] = "synth:";
static const char *const archs[] = {"sd15", "sd15-tiny", "sd21", "sd21-tiny", "sdxl", "sdxl-tiny"};
static const char *const allowed[] = {
    [SYNTH_MODEL] =
        "synth:sd15, synth:sd21, synth:sdxl, or each as synth:sd15-tiny, then if wanted ,seed=N",
    [SYNTH_EXPERT] = "synth: and any of rank=R,alpha=A,seed=N",
    [SYNTH_GATES] = "synth: or synth:seed=N",
};

bool synth_is(const char *text) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool read_whole(const char *text, uint64_t least, uint64_t most, uint64_t *value) {
    char *end;
    if (*text < '0' || *text > '9') return false;
    errno = 0;
    *value = strtoull(text, &end, 10);
    return !errno && !*end && *value >= least && *value <= most;
}

/* One word between commas. */
static bool read_word(synth_spec_t *spec, synth_kind_t kind, bool first, const char *word) {
    uint64_t number;
    char *end;
    if (kind == SYNTH_MODEL && first) {
        for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
            if (strcmp(word, archs[i]) == 0)
                return snprintf(spec->arch, sizeof spec->arch, "%s", word) > 0;
        return false;
    }
    if (strcmp(word, "names") == 0) return spec->names = true;
    if (strncmp(word, "seed=", 5) == 0) return read_whole(word + 5, 0, UINT64_MAX, &spec->seed);
    if (kind != SYNTH_EXPERT) return false;
    if (strncmp(word, "rank=", 5) == 0) {
        if (!read_whole(word + 5, 1, SYNTH_RANK_MAX, &number)) return false;
        spec->rank = (size_t)number;
        return true;
    }
    if (strncmp(word, "alpha=", 6) != 0 || !((word[6] >= '0' && word[6] <= '9') || word[6] == '.'))
        return false;
    spec->alpha = (double)strtof(word + 6, &end);
    return !*end && isfinite(spec->alpha) && spec->alpha > 0;
}

int synth_parse(synth_spec_t *spec, synth_kind_t kind, const char *text, const char **rest,
                err_t *err) {
    *spec = (synth_spec_t){.kind = kind, .rank = 256};
    size_t length = strlen(text);
    const char *slash = kind == SYNTH_MODEL ? strchr(text, '/') : NULL;
    if (slash) length = (size_t)(slash - text);
    bool good = synth_is(text) && length < 256;
    char words[256] = "", shown[SHOWN_TEXT];
    if (good)
        snprintf(words, sizeof words, "%.*s", (int)(length - strlen(prefix)),
                 text + strlen(prefix));
    bool first = true;
    for (char *word = words; good && (*word || (first && kind == SYNTH_MODEL)); first = false) {
        char *comma = strchr(word, ',');
        if (comma) *comma = '\0';
        good = read_word(spec, kind, first, word) && !(comma && !comma[1]);
        word = comma ? comma + 1 : word + strlen(word);
    }
    if (!good)
        return err_set(err, "%s: not understood; expected %s", text_shown(shown, text),
                       allowed[kind]);
    if (spec->alpha == 0) spec->alpha = (double)spec->rank;
    if (rest) *rest = slash ? slash + 1 : "";
    return 0;
}

/* ---- what kind of tensor ------------------------------------------------------------------------ */

/* The first row whose ending fits the module's name gives the gain: the standard deviation of a weight
 * is gain / sqrt(fan in). 1.6 makes up for SiLU, which halves the energy; branches that are added to a
 * stream of many layers get less. */
static const struct {
    const char *ending;
    double gain;
} gains[] = {
    {"time_embedding.linear_1", 1.4},
    {"time_embedding.linear_2", 1.6},
    {"conv1", 1.6},
    {"conv2", 0.8},
    {"conv_shortcut", 0.75},
    {".to_q", 1.25},
    {".to_k", 1.25},
    {".q_proj", 1.25},
    {".k_proj", 1.25},
    {".to_out.0", 0.9},
    {".out_proj", 0.9},
    {".ff.net.0.proj", 1.1},
    {".mlp.fc1", 1.2},
    {".mlp.fc2", 0.9},
    {".proj_out", 0.4},
    {"coder.conv_in", 0.25},
    {"decoder.conv_out", 0.65},
    {"conv_out", 2.0},
    {".token_embedding", 0.03},
    {".position_embedding", 0.01},
    {".Phi_1", 1.3},
    {"_scale", 3.0},
    {"", 1.0},
};

static bool ends_with(const char *text, size_t length, const char *ending) {
    size_t part = strlen(ending);
    return part <= length && memcmp(text + length - part, ending, part) == 0;
}

static bool is_norm(const char *name, size_t length) {
    static const char *const norms[] = {".norm",        ".norm1",        ".norm2",
                                        ".norm3",       "conv_norm_out", ".group_norm",
                                        ".layer_norm1", ".layer_norm2",  ".final_layer_norm"};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++)
        if (ends_with(name, length, norms[i])) return true;
    return false;
}

/* offset + amplitude * u, u uniform in -1..1, has the standard deviation amplitude / sqrt(3). */
static void choose_range(synth_tensor_t *t, const synth_spec_t *spec, const char *name,
                         shape_t shape) {
    const char *dot = strrchr(name, '.');
    size_t module = dot ? (size_t)(dot - name) : strlen(name), fan_in = 1, row = 0;
    if (strncmp(name, "input.", 6) == 0) {
        t->amplitude = (float)sqrt(3.0);
        return;
    }
    if (ends_with(name, strlen(name), ".bias")) {
        t->amplitude = ends_with(name, module, "_scale")   ? 1.0F
                       : ends_with(name, module, ".Phi_1") ? 0.5F
                                                           : 0.1F;
        return;
    }
    if (is_norm(name, module)) {
        t->offset = 1.0F;
        t->amplitude = 0.1F;
        return;
    }
    while (!ends_with(name, module, gains[row].ending)) row++;
    double gain = gains[row].gain;
    if (ends_with(name, module, ".lora_up")) gain = 0.6 * (double)spec->rank / spec->alpha;
    if (!ends_with(name, module, "_embedding"))
        for (int i = 1; i < shape.ndim; i++) fan_in *= shape.dim[i];
    t->amplitude = (float)(gain * sqrt(3.0 / (double)fan_in));
}

/* ---- numbers ------------------------------------------------------------------------------------ */

/* FNV-1a. */
static uint64_t hash_name(const char *name) {
    uint64_t hash = 0xCBF29CE484222325U;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001B3U;
    return hash;
}

/* The finaliser of SplitMix64. */
static uint64_t mix64(uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9U;
    x = (x ^ x >> 27) * 0x94D049BB133111EBU;
    return x ^ x >> 31;
}

synth_tensor_t synth_tensor(const synth_spec_t *spec, const char *name, shape_t shape) {
    uint64_t key = mix64(hash_name(name) + spec->seed * 0x9E3779B97F4A7C15U);
    synth_tensor_t tensor = {.a = (uint32_t)key, .b = (uint32_t)(key >> 32)};
    choose_range(&tensor, spec, name, shape);
    return tensor;
}

/* 24 well mixed bits of an index. */
static inline int32_t bits_of(uint32_t i, uint32_t a, uint32_t b) {
    uint32_t x = i * 0x9E3779B1U + a;
    x = (x ^ x >> 16) * 0x85EBCA6BU;
    x = ((x ^ b) ^ x >> 13) * 0xC2B2AE35U;
    return (int32_t)((x ^ x >> 16) >> 8) - (1 << 23);
}

void synth_numbers_f32(float *out, const synth_tensor_t *t, size_t first, size_t count) {
    const uint32_t a = t->a, b = t->b, from = (uint32_t)first;
    const float offset = t->offset, amplitude = t->amplitude;
    for (size_t i = 0; i < count; i++) {
        float u = (float)bits_of(from + (uint32_t)i, a, b) * 0x1p-23F;
        out[i] = offset + amplitude * u;
    }
}

void synth_numbers(real_t *out, const synth_tensor_t *t, size_t first, size_t count) {
    enum { CHUNK = 4096 };
    float some[CHUNK];
    for (size_t done = 0; done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        synth_numbers_f32(some, t, first + done, n);
        for (size_t i = 0; i < n; i++) out[done + i] = (real_t)some[i];
    }
}
