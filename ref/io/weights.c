/* weights.c - see weights.h: looking tensors up, and accounting for all of them. Tensors
 * are taken in weights_take.c. */
#include "io/weights.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/edit_distance.h"
#include "io/file.h"
#include "io/weights_internal.h"

/* ---- opening and closing ---------------------------------------------------------------------- */

static int start(weights_t **weights, source_t *source, int status) {
    *weights = NULL;
    if (status) return -1;
    *weights = xcalloc(1, sizeof **weights);
    (*weights)->source = source;
    return 0;
}

int weights_open(weights_t **weights, const char *folder, const char *stem, err_t *err) {
    source_t *source = NULL;
    int status = source_open(&source, folder, stem, err);
    return start(weights, source, status);
}

int weights_open_part(weights_t **weights, const char *path, source_part_t part, const char *name,
                      err_t *err) {
    source_t *source = NULL;
    int status = source_open_part(&source, path, part, name, err);
    return start(weights, source, status);
}

void weights_close(weights_t *weights) {
    if (!weights) return;
    source_close(weights->source);
    for (size_t i = 0; i < weights->alias_count; i++) {
        free(weights->aliases[i].name_part);
        free(weights->aliases[i].saved_part);
    }
    for (size_t i = 0; i < weights->ignored_count; i++) free(weights->ignored[i]);
    for (size_t i = 0; i < weights->block_count; i++) free(weights->blocks[i]);
    free(weights->taken);
    free(weights->aliases);
    free(weights->ignored);
    free(weights->blocks);
    free(weights);
}

const char *weights_path(const weights_t *weights) {
    return weights->source->path;
}

bool weights_names_only(const weights_t *weights) {
    return weights->source->names_only;
}

/* ---- names ----------------------------------------------------------------------------------- */

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

static bool has(source_t *source, const char *name, shape_t *shape) {
    const source_class_t *class = source->class;
    if (class->has) return class->has(source, name, shape);
    size_t index = class->find(source, name, SHAPE0());
    if (index != SOURCE_NONE) *shape = class->at(source, index).shape;
    return index != SOURCE_NONE;
}

/* The name that the source has, with `depth` aliases applied one after the other (a prefix and a suffix can
 * both apply), and its shape. Fresh memory, or NULL. */
static char *find_aliased(const weights_t *weights, const char *name, int depth, shape_t *shape) {
    char *found = NULL;
    if (has(weights->source, name, shape)) return xstrdup(name);
    for (size_t i = 0; depth > 0 && !found && i < weights->alias_count; i++) {
        char *saved = apply_alias(&weights->aliases[i], name);
        if (saved) found = find_aliased(weights, saved, depth - 1, shape);
        free(saved);
    }
    return found;
}

static char *find_name(const weights_t *weights, const char *name, shape_t *shape) {
    char *found = find_aliased(weights, name, 1, shape);
    return found ? found : find_aliased(weights, name, 2, shape);
}

size_t weights_find(const weights_t *weights, const char *name, shape_t shape) {
    source_t *source = weights->source;
    shape_t stored;
    char *found = find_name(weights, name, &stored);
    size_t index = found ? source->class->find(source, found, shape) : SOURCE_NONE;
    free(found);
    return index;
}

bool weights_has(const weights_t *weights, const char *name) {
    shape_t shape;
    char *found = find_name(weights, name, &shape);
    free(found);
    return found != NULL;
}

bool weights_shape(const weights_t *weights, const char *name, shape_t *shape) {
    shape_t stored;
    char *found = find_name(weights, name, &stored);
    free(found);
    if (!found || stored.ndim == SOURCE_OPEN_SHAPE) return false;
    *shape = stored;
    return true;
}

bool weights_is_taken(const weights_t *weights, size_t index) {
    return index < weights->taken_room && weights->taken[index];
}

const char *weights_nearest(const weights_t *weights, const char *name) {
    size_t limit = 2 + strlen(name) / 10;
    const char *best = NULL;
    for (size_t i = 0; i < weights_count(weights); i++) {
        const char *other = weights->source->class->at(weights->source, i).name;
        if (weights_is_taken(weights, i)) continue;
        size_t d = edit_distance(name, other, limit);
        if (d > limit) continue;
        best = other;
        limit = d ? d - 1 : 0;
    }
    return best;
}

void weights_forget(const weights_t *weights) {
    const source_t *source = weights->source;
    if (source->class->forget) source->class->forget(source, SOURCE_NONE);
}

/* ---- accounting ------------------------------------------------------------------------------ */

void weights_ignore(weights_t *weights, const char *pattern) {
    size_t n = weights->ignored_count++;
    weights->ignored = xrealloc(weights->ignored, (n + 1) * sizeof *weights->ignored);
    weights->ignored[n] = xstrdup(pattern);
}

static weight_state_t state_of(const weights_t *weights, size_t index, const char *saved) {
    const source_t *source = weights->source;
    const char *name = saved;
    if (weights_is_taken(weights, index)) return WEIGHT_TAKEN;
    source_owner_t owner =
        source->class->owner ? source->class->owner(source, saved, &name) : SOURCE_OWN;
    if (owner != SOURCE_OWN) return owner == SOURCE_OTHERS ? WEIGHT_IGNORED : WEIGHT_LEFT_OVER;
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
        weights_path(weights), left_over, weights_count(weights), list,
        left_over > NAMED ? ", ..." : "", weights->source->doubt);
}

void weights_note_unused(const weights_t *weights, notes_t *notes) {
    char first[SHOWN_TEXT] = "";
    size_t unused = 0;
    for (size_t i = 0; i < weights_count(weights); i++) {
        weight_entry_t entry = weights_entry(weights, i);
        if (entry.state == WEIGHT_LEFT_OVER && unused++ == 0) text_shown(first, entry.name);
    }
    if (unused)
        notes_add(notes, "warning: %s: %zu tensor%s that nothing uses: '%s'%s",
                  weights_path(weights), unused, unused > 1 ? "s" : "", first,
                  unused > 1 ? ", ..." : "");
}

void weights_metadata(const weights_t *weights,
                      void (*visit)(void *who, const char *key, const char *value), void *who) {
    const source_t *source = weights->source;
    if (source->class->metadata) source->class->metadata(source, visit, who);
}

size_t weights_count(const weights_t *weights) {
    return weights->source->class->count(weights->source);
}

weight_entry_t weights_entry(const weights_t *weights, size_t index) {
    source_tensor_t t = weights->source->class->at(weights->source, index);
    return (weight_entry_t){.name = t.name,
                            .file = t.file,
                            .dtype = t.dtype,
                            .shape = t.shape,
                            .state = state_of(weights, index, t.name)};
}

size_t weights_parameters(const weights_t *weights) {
    return weights->parameters;
}

size_t weights_owned_bytes(const weights_t *weights) {
    return weights->owned;
}
