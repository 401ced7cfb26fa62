/* names.h - from the names that a port gave its taps to ours.
 *
 * A map file is a list of rules, one a line, first match wins; '#' starts a comment:
 *
 *   glob   PATTERN  ->  REPLACEMENT      * and ? match within a path element, ** across; \1 .. \9 are the
 *                                        pieces that the wildcards matched
 *   regex  PATTERN  ->  REPLACEMENT      POSIX extended, the whole name; \1 .. \9 are its groups
 * A backslash takes the character after it as it is, in a glob any, in a replacement any but a letter or
 * digit.
 *
 * Built-in maps have names: "ldm" (single-file checkpoints and kohya), "diffusers" (module names without
 * the component in front), "auto" (no rule: a comparison finds by the numbers what it does not by the
 * names). */
#ifndef MOLE_TRACE_NAMES_H
#define MOLE_TRACE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "core/shape.h"

typedef struct name_map name_map_t;

/* A built-in map's name, or a file. 0, or -1 and err ("FILE: line 3: ..."). name_map_free is due. */
int name_map_open(name_map_t **map, const char *path_or_name, err_t *err);
void name_map_free(name_map_t *map);
/* Whether that is a built-in map's name. */
bool name_map_is_builtin(const char *path_or_name);
/* Whether it is the map "auto". */
bool name_map_is_auto(const name_map_t *map);

/* The name that `name` maps to, in fresh memory; a copy of it where no rule matches, or map is NULL. */
char *name_map_apply(const name_map_t *map, const char *name);

/* A map file of exact rules, from[i] -> to[i], that name_map_open reads back: appears whole or not at
 * all. Where both have the same step in front, one rule stands for every step. 0, or -1 and err: also
 * when two names would become one, or one name two. */
int name_map_write(const char *path, const char *const *from, const char *const *to, size_t count,
                   err_t *err);

/* Length of what stands in a name before one of the endings with a '.', '/' or '_' in front, and perhaps
 * ".0" behind it: of "conv.output.0" that is 4 where "output" is one. 0 where nothing does. */
size_t name_before(const char *name, const char *const *endings, size_t count);

/* Whether a name matches a glob, as in rules. */
bool name_matches(const char *glob, const char *name);

/* The reference name that a left-over candidate name most likely means, or NULL: equal shape first, then
 * likeness of the words in it. */
const char *name_suggest(const char *name, shape_t shape, const char *const *names,
                         const shape_t *shapes, size_t count);

#endif
