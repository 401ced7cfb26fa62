/* weights.c - see weights.h: looking tensors up, and accounting for all of them. The files are
 * opened in weights_open.c, tensors are taken in weights_take.c. */
#include "io/weights.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/ldm.h"
#include "io/ldm_names.h"
#include "io/weights_internal.h"

const char *weights_path(const weights_t *weights) {
    return weights->path;
}

/* ---- names ----------------------------------------------------------------------------------- */

static bool find_saved(const weights_t *weights, const char *name, weight_place_t *place) {
    for (size_t f = 0; f < weights->file_count; f++) {
        const st_tensor_t *tensor = st_find(weights->files[f], name);
        if (!tensor) continue;
        *place = (weight_place_t){f, (size_t)(tensor - st_at(weights->files[f], 0))};
        return true;
    }
    return false;
}

static void add_alias(weights_t *weights, bool suffix, const char *name_part,
                      const char *saved_part) {
    size_t n = weights->alias_count++;
    weights->aliases = xrealloc(weights->aliases, (n + 1) * sizeof *weights->aliases);
    weights->aliases[n] = (alias_t){suffix, xstrdup(name_part), xstrdup(saved_part)};
}

void weights_alias_prefix(weights_t *weights, const char *name_part, const char *saved_part) {
    add_alias(weights, false, name_part, saved_part);
}

void weights_alias_suffix(weights_t *weights, const char *name_part, const char *saved_part) {
    add_alias(weights, true, name_part, saved_part);
}

/* The name with the alias applied, in fresh memory, or NULL when it does not apply. */
static char *apply_alias(const alias_t *alias, const char *name) {
    size_t length = strlen(name), part = strlen(alias->name_part);
    if (part > length) return NULL;
    if (alias->suffix) {
        size_t keep = length - part;
        if (strcmp(name + keep, alias->name_part) != 0) return NULL;
        return xasprintf("%.*s%s", (int)keep, name, alias->saved_part);
    }
    if (strncmp(name, alias->name_part, part) != 0) return NULL;
    return xasprintf("%s%s", alias->saved_part, name + part);
}

/* `depth` aliases one after the other: a prefix and a suffix can both apply. */
static bool find_aliased(const weights_t *weights, const char *name, int depth,
                         weight_place_t *place) {
    if (find_saved(weights, name, place)) return true;
    if (depth == 0) return false;
    for (size_t i = 0; i < weights->alias_count; i++) {
        char *saved = apply_alias(&weights->aliases[i], name);
        bool found = saved && find_aliased(weights, saved, depth - 1, place);
        free(saved);
        if (found) return true;
    }
    return false;
}

static bool find_ldm(const weights_t *weights, const char *name, weight_place_t *place) {
    char *saved = ldm_name(&ldm_layout_v1, weights->component, name);
    bool found = saved && find_saved(weights, saved, place);
    free(saved);
    return found;
}

const st_tensor_t *weights_find(const weights_t *weights, const char *name, weight_place_t *place) {
    if (weights->ldm)
        return find_ldm(weights, name, place) ? st_at(weights->files[place->file], place->index)
                                              : NULL;
    if (!find_aliased(weights, name, 1, place) && !find_aliased(weights, name, 2, place))
        return NULL;
    return st_at(weights->files[place->file], place->index);
}

bool weights_has(const weights_t *weights, const char *name) {
    if (weights->synth) return true;
    weight_place_t place;
    return weights_find(weights, name, &place) != NULL;
}

bool weights_shape(const weights_t *weights, const char *name, shape_t *shape) {
    weight_place_t place;
    const st_tensor_t *tensor = weights_find(weights, name, &place);
    if (tensor) *shape = tensor->shape;
    return tensor != NULL;
}

/* Levenshtein's distance, given up (limit + 1) as soon as it must exceed `limit`. */
static size_t distance(const char *a, const char *b, size_t limit) {
    enum { LONGEST = 256 };
    size_t row[LONGEST + 1], n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST || (n > m ? n - m : m - n) > limit) return limit + 1;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0], least = row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t edit = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < edit ? change : edit;
            if (row[j] < least) least = row[j];
        }
        if (least > limit) return limit + 1;
    }
    return row[m];
}

const char *weights_nearest(const weights_t *weights, const char *name) {
    size_t limit = 2 + strlen(name) / 10;
    const char *best = NULL;
    for (size_t f = 0; f < weights->file_count; f++)
        for (size_t i = 0; i < st_count(weights->files[f]); i++) {
            const char *other = st_at(weights->files[f], i)->name;
            if (weights->taken[f][i]) continue;
            size_t d = distance(name, other, limit);
            if (d > limit) continue;
            best = other;
            limit = d ? d - 1 : 0;
        }
    return best;
}

void weights_forget(const weights_t *weights) {
    for (size_t f = 0; f < weights->file_count; f++) st_forget(weights->files[f]);
}

/* ---- accounting ------------------------------------------------------------------------------ */

void weights_ignore(weights_t *weights, const char *pattern) {
    size_t n = weights->ignored_count++;
    weights->ignored = xrealloc(weights->ignored, (n + 1) * sizeof *weights->ignored);
    weights->ignored[n] = xstrdup(pattern);
}

static weight_state_t state_of(const weights_t *weights, size_t file, size_t index) {
    if (weights->taken[file][index]) return WEIGHT_TAKEN;
    const char *name = st_at(weights->files[file], index)->name;
    if (weights->ldm) {
        size_t prefix = strlen(ldm_prefix(&ldm_layout_v1, weights->component));
        if (strncmp(name, ldm_prefix(&ldm_layout_v1, weights->component), prefix) != 0)
            return ldm_is_known(name) ? WEIGHT_IGNORED : WEIGHT_LEFT_OVER;
        name += prefix;
    }
    for (size_t i = 0; i < weights->ignored_count; i++)
        if (fnmatch(weights->ignored[i], name, 0) == 0) return WEIGHT_IGNORED;
    return WEIGHT_LEFT_OVER;
}

int weights_finish(weights_t *weights, bool allow_unused, err_t *err) {
    enum { NAMED = 5 };
    char list[NAMED * (SHOWN_TEXT + SHAPE_TEXT + 8)] = "", shown[SHOWN_TEXT], shape[SHAPE_TEXT];
    size_t left_over = 0, used = 0;
    if (allow_unused) return 0;
    for (size_t i = 0; i < weights_count(weights); i++) {
        weight_entry_t entry = weights_entry(weights, i);
        if (entry.state != WEIGHT_LEFT_OVER) continue;
        if (left_over++ < NAMED)
            used += (size_t)snprintf(list + used, sizeof list - used, "%s'%s' %s", used ? ", " : "",
                                     text_shown(shown, entry.name), shape_text(shape, entry.shape));
    }
    if (left_over == 0) return 0;
    return err_set(
        err,
        "%s: %zu of %zu tensors are left over, which no part of the model uses: %s%s; %s "
        "(--allow-unused ignores them)",
        weights->path, left_over, weights_count(weights), list, left_over > NAMED ? ", ..." : "",
        weights->ldm ? "is this a checkpoint of Stable Diffusion v1.x alone?"
                     : "does config.json belong to this file?");
}

void weights_note_unused(const weights_t *weights, notes_t *notes) {
    char first[SHOWN_TEXT] = "";
    size_t unused = 0;
    for (size_t i = 0; i < weights_count(weights); i++) {
        weight_entry_t entry = weights_entry(weights, i);
        if (entry.state == WEIGHT_LEFT_OVER && unused++ == 0) text_shown(first, entry.name);
    }
    if (unused)
        notes_add(notes, "warning: %s: %zu tensor%s that nothing uses: '%s'%s", weights->path,
                  unused, unused > 1 ? "s" : "", first, unused > 1 ? ", ..." : "");
}

void weights_metadata(const weights_t *weights,
                      void (*visit)(void *who, const char *key, const char *value), void *who) {
    for (size_t f = 0; f < weights->file_count; f++)
        st_metadata_each(weights->files[f], visit, who);
}

size_t weights_count(const weights_t *weights) {
    size_t count = weights->made_count;
    for (size_t f = 0; f < weights->file_count; f++) count += st_count(weights->files[f]);
    return count;
}

weight_entry_t weights_entry(const weights_t *weights, size_t index) {
    if (index < weights->made_count)
        return (weight_entry_t){.name = weights->made[index].name,
                                .file = weights->path,
                                .dtype = DTYPE_F32,
                                .shape = weights->made[index].shape,
                                .state = WEIGHT_TAKEN};
    size_t f = 0, i = index;
    while (f < weights->file_count && i >= st_count(weights->files[f]))
        i -= st_count(weights->files[f++]);
    REQUIRE(f < weights->file_count, "weights_entry: %s has no tensor %zu", weights->path, index);
    const st_tensor_t *tensor = st_at(weights->files[f], i);
    return (weight_entry_t){.name = tensor->name,
                            .file = st_path(weights->files[f]),
                            .dtype = tensor->dtype,
                            .shape = tensor->shape,
                            .state = state_of(weights, f, i)};
}

size_t weights_parameters(const weights_t *weights) {
    return weights->parameters;
}

size_t weights_owned_bytes(const weights_t *weights) {
    return weights->owned;
}
