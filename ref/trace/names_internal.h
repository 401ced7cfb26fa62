/* names_internal.h - what the files of names.h share, and nobody else includes. */
#ifndef MOLE_TRACE_NAMES_INTERNAL_H
#define MOLE_TRACE_NAMES_INTERNAL_H

#include "trace/names.h"

enum { NAME_PIECES = 9 }; /* \1 .. \9 */

/* name[start .. end): what a wildcard matched. */
typedef struct {
    size_t start, end;
} name_piece_t;

/* Whether the whole name matches; pieces (NAME_PIECES, or NULL) are written then. */
bool glob_match(const char *glob, const char *name, name_piece_t *pieces);
/* Wildcards in a glob: how many pieces it has. */
size_t glob_wildcards(const char *glob);

/* The built-in maps: the name in fresh memory, or NULL when they do not know it. */
char *names_from_ldm(const char *name);
char *names_from_diffusers(const char *name);

#endif
