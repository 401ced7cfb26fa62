/* generate_note.c - see generate_note.h. */
#include "cli/generate_note.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "io/png.h"

/* ---- the text ------------------------------------------------------------------------------------- */

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* Sizes that the model is told, where they were given. */
static char *told_sizes(const generate_options_t *o) {
    const size_conditioning_t *s = &o->size;
    if (!o->sized) return xstrdup("");
    return xasprintf(", Original size: %zux%zu, Crop top left: %zux%zu, Target size: %zux%zu",
                     s->original_size[0], s->original_size[1], s->crops_coords_top_left[0],
                     s->crops_coords_top_left[1], s->target_size[0], s->target_size[1]);
}

/* Settings that most runs leave alone are named only when they are not. */
static char *unusual(const generate_options_t *o, const ddim_config_t *s,
                     sampler_choice_t sampler) {
    char chunks[48] = "", *told = told_sizes(o);
    char *asked = what_if_text(&o->what_if, &o->common.files.mole);
    if (o->max_chunks > 1) snprintf(chunks, sizeof chunks, ", Max chunks: %zu", o->max_chunks);
    char *deviations = deviations_text(o->deviations);
    static const char *const conv[] = {"", ", Conv: tiles", ", Conv: winograd"};
    bool other = sampler.kind == SAMPLER_DDIM && !ddim_is_class(s->class_name);
    char *text =
        xasprintf("%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s%s", other ? ", Scheduler asked for: " : "",
                  other ? s->class_name : "",
                  s->rescale_betas_zero_snr ? ", Rescale betas zero SNR: true" : "",
                  s->clip_sample ? ", Clip sample: true" : "",
                  o->syntax == PROMPT_WEIGHTED ? ", Prompt syntax: weighted" : "", chunks,
                  o->latents ? ", Latents: " : "", o->latents ? base_name(o->latents) : "",
                  o->common.matmul == MATMUL_PLAIN ? ", Matmul: plain" : "", conv[o->common.conv],
                  o->common.form == MOLE_DIRECT ? ", MoLE form: direct" : "",
                  sampler.final_sigma_min ? ", Final sigma: sigma_min" : "",
                  o->negative_rule == NEGATIVE_ZEROS ? ", Negative rule: zeros" : "",
                  *deviations ? ", Deviations: " : "", deviations, told, asked);
    free(deviations);
    free(told);
    free(asked);
    return text;
}

char *generate_note(const generate_options_t *o, const picture_prompt_t *prompt, uint64_t seed,
                    const ddim_config_t *s, sampler_choice_t sampler, uint64_t weights) {
    const prompt_settings_t *set = &prompt->set;
    char experts[512], *more = unusual(o, s, sampler);
    cli_experts_text(&o->common, experts, sizeof experts);
    char *text = xasprintf(
        "%s\nNegative prompt: %s\nSteps: %zu, Sampler: %s, CFG scale: %g, Seed: %llu, "
        "Size: %zux%zu, Model: %s, Eta: %g, MoLE experts: %s, Timestep spacing: %s, Steps "
        "offset: %d, Set alpha to one: %s, Prediction type: %s, RNG: %s, Precision: %s%s, "
        "Weights: %016llx",
        prompt->positive, prompt->negative, set->steps, sampler_name(sampler.kind), set->scale,
        (unsigned long long)seed, set->width, set->height, base_name(o->common.files.folder),
        o->eta, experts, timestep_spacing_name(s->timestep_spacing), s->steps_offset,
        s->set_alpha_to_one ? "true" : "false", prediction_type_name(s->prediction_type),
        o->noise == NOISE_CPU ? "CPU" : "GPU", REAL_NAME, more, (unsigned long long)weights);
    free(more);
    return text;
}

/* ---- which weights -------------------------------------------------------------------------------- */

static uint64_t fnv(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *from = data;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ from[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t add_file(uint64_t hash, const char *path) {
    enum { BLOCK = 4096, PLACES = 256 };
    static const size_t whole = (size_t)16 << 20;
    unsigned char block[BLOCK];
    size_t bytes;
    int fd = path ? file_open_read(path, &bytes, NULL) : -1;
    if (fd < 0) return hash;
    unsigned char length[8]; /* little endian, and 8 bytes on every machine */
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)bytes >> 8 * i);
    hash = fnv(hash, length, sizeof length);
    size_t stride = bytes <= whole ? BLOCK : bytes / PLACES;
    for (size_t at = 0; at < bytes; at += stride) {
        ssize_t got = pread(fd, block, BLOCK, (off_t)at);
        if (got <= 0) break;
        hash = fnv(hash, block, (size_t)got);
    }
    close(fd);
    return hash;
}

static int is_weights(const struct dirent *entry) {
    const char *dot = strrchr(entry->d_name, '.');
    return dot && strcmp(dot, ".safetensors") == 0;
}

static uint64_t add_folder(uint64_t hash, const char *model, const char *component) {
    struct dirent **entry;
    char *folder = file_join(model, component);
    int count = scandir(folder, &entry, is_weights, alphasort);
    for (int i = 0; i < count; i++) {
        char *path = file_join(folder, entry[i]->d_name);
        hash = add_file(hash, path);
        free(path);
        free(entry[i]);
    }
    if (count >= 0) free(entry);
    free(folder);
    return hash;
}

uint64_t generate_weights(const generate_options_t *o) {
    static const char *const components[] = {"text_encoder", "text_encoder_2", "unet", "vae"};
    const mole_files_t *mole = &o->common.files.mole;
    const char *model = o->common.files.folder;
    uint64_t hash = 0xcbf29ce484222325u;
    if (file_exists(model)) hash = add_file(hash, model);
    for (size_t i = 0; i < sizeof components / sizeof *components; i++)
        hash = add_folder(hash, model, components[i]);
    for (size_t i = 0; i < mole->experts; i++) hash = add_file(hash, mole->path[i]);
    hash = add_file(hash, mole->gates);
    return add_file(hash, o->latents);
}

/* ---- what is there -------------------------------------------------------------------------------- */

/* The last line of a note, the settings; NULL when there is none. */
static const char *settings_of(const char *note) {
    const char *last = NULL;
    for (const char *at = note; (at = strstr(at, "\nSteps: ")); at++) last = at + 1;
    return last;
}

/* Does "Key: " begin here? A value like "face, hand (gated)" has commas, but no colon behind them. */
static bool key_begins(const char *text) {
    size_t length = strcspn(text, ":,\n");
    return isupper((unsigned char)text[0]) && text[length] == ':' && text[length + 1] == ' ';
}

static bool setting_ends(const char *text) {
    return !*text || (strncmp(text, ", ", 2) == 0 && key_begins(text + 2));
}

/* The setting of which byte `at` is part. */
static void setting_at(char shown[SHOWN_TEXT], const char *settings, size_t at) {
    size_t begin = 0, end = at;
    for (size_t i = 0; i < at; i++)
        if (setting_ends(settings + i)) begin = i + 2;
    while (!setting_ends(settings + end)) end++;
    char *text = xasprintf("%.*s", (int)(end - begin), settings + begin);
    text_shown(shown, text);
    free(text);
}

/* Is there a setting with the key of `setting`? */
static bool has_key(const char *settings, const char *setting) {
    size_t length = strcspn(setting, ":") + 1;
    if (strncmp(settings, setting, length) == 0) return true;
    for (const char *at = settings; (at = strstr(at, ", ")); at += 2)
        if (strncmp(at + 2, setting, length) == 0) return true;
    return false;
}

static size_t common_prefix(const char *a, const char *b) {
    size_t i = 0;
    while (a[i] && a[i] == b[i]) i++;
    return i;
}

/* "there already, with ... where this run has ..." */
static int say_difference(const char *path, const char *there, const char *note, err_t *err) {
    static const char hint[] = "--overwrite makes it anew";
    const char *old = settings_of(there), *new = settings_of(note);
    if (!old) return err_set(err, "%s: there already, and not a picture of mole; %s", path, hint);
    size_t same = common_prefix(there, note), head = (size_t)(new - note);
    if (same < head) {
        const char *mark = strstr(note, "\nNegative prompt: ");
        return err_set(err, "%s: there already, made with another %s; %s", path,
                       same < (size_t)(mark - note) ? "prompt" : "negative prompt", hint);
    }
    char was[SHOWN_TEXT], is[SHOWN_TEXT];
    same = common_prefix(old, new);
    if (setting_ends(old + same) && setting_ends(new + same)) { /* one of the two ends here */
        if (old[same]) setting_at(was, old, same + 2);
        if (new[same]) setting_at(is, new, same + 2);
        return err_set(err, "%s: there already, made %s %s; %s", path,
                       old[same] ? "with" : "without", old[same] ? was : is, hint);
    }
    setting_at(was, old, same);
    setting_at(is, new, same);
    if (!has_key(old, is))
        return err_set(err, "%s: there already, made without %s; %s", path, is, hint);
    if (!has_key(new, was))
        return err_set(err, "%s: there already, made with %s; %s", path, was, hint);
    return err_set(err, "%s: there already, made with %s where this run has %s; %s", path, was, is,
                   hint);
}

int generate_is_there(const char *path, const char *note, err_t *err) {
    struct stat info;
    if (stat(path, &info)) return 0; /* whether it can be made is asked elsewhere */
    if (S_ISDIR(info.st_mode)) return 0;
    picture_t picture;
    if (picture_read(&picture, path, err))
        return err_prefix(err, "there already, and not a picture (--overwrite makes it anew)");
    const char *there = "";
    for (size_t i = 0; i < picture.text_count; i++)
        if (strcmp(picture.keys[i], GENERATE_NOTE) == 0) there = picture.values[i];
    int same = strcmp(there, note) == 0 ? 1 : say_difference(path, there, note, err);
    picture_free(&picture);
    return same;
}

/* ---- leftovers ------------------------------------------------------------------------------------ */

/* A whole number, and what stands behind it; false when there is none. */
static bool take_number(const char **text, unsigned long *number) {
    char *end;
    if (!isdigit((unsigned char)**text)) return false;
    errno = 0;
    *number = strtoul(*text, &end, 10);
    *text = end;
    return !errno;
}

/* "OUT-0012.png.tmp.4711.0", see io/file.h: of a picture of this shard, by a process that is gone? */
static bool is_leftover(const generate_options_t *o, const char *name) {
    const char *out = base_name(o->output);
    unsigned long number = 1, process, serial;
    size_t stem = strlen(out);
    bool several = generate_pictures(o) > 1;
    bool ending = stem >= 4 && strcasecmp(out + stem - 4, ".png") == 0;
    if (several && ending) stem -= 4;
    if (strncmp(name, out, stem) != 0) return false;
    name += stem;
    if (several && (*name++ != '-' || !take_number(&name, &number))) return false;
    if (several && ending && strncmp(name, out + stem, 4) != 0) return false;
    if (several && ending) name += 4;
    if (strncmp(name, ".tmp.", 5) != 0) return false;
    name += 5;
    if (!take_number(&name, &process) || *name++ != '.' || !take_number(&name, &serial) || *name)
        return false;
    if (number < 1 || number > generate_pictures(o) || !generate_is_ours(o, number)) return false;
    if (process < 1 || process > INT_MAX) return false;
    return kill((pid_t)process, 0) != 0 && errno == ESRCH;
}

void generate_sweep(const generate_options_t *o) {
    const char *slash = strrchr(o->output, '/');
    char *folder =
        slash ? xasprintf("%.*s", (int)(slash - o->output) + 1, o->output) : xstrdup(".");
    DIR *entries = opendir(folder);
    struct dirent *entry;
    while (entries && (entry = readdir(entries))) {
        if (!is_leftover(o, entry->d_name)) continue;
        char *path = file_join(folder, entry->d_name);
        unlink(path);
        free(path);
    }
    if (entries) closedir(entries);
    free(folder);
}
