/* name_glob.c - globs over tap names: see names.h.
 *
 * '.' and '/' part the elements of a name. * is any number of characters within an element, ? is one
 * (of UTF-8, not a byte), ** is anything at all; a backslash takes the character after it as it is. The
 * earlier wildcard takes as much as it can. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "trace/names_internal.h"

typedef struct {
    const char *glob, *name;
    size_t length;        /* of the name */
    unsigned char *tried; /* bit g * (length + 1) + n: glob + g does not match name + n */
    name_piece_t *pieces;
} matcher_t;

static bool is_separator(char c) {
    return c == '.' || c == '/';
}

/* End of the UTF-8 character at n. */
static size_t after_character(const char *name, size_t n) {
    for (n++; ((unsigned char)name[n] & 0xc0) == 0x80; n++) {
    }
    return n;
}

static void keep_piece(const matcher_t *m, size_t wildcard, size_t start, size_t end) {
    if (m->pieces && wildcard < NAME_PIECES) m->pieces[wildcard] = (name_piece_t){start, end};
}

static bool match_from(const matcher_t *m, size_t g, size_t n, size_t wildcard);

/* At a star: every length, longest first. What failed once is not tried again, so that the whole takes
 * no more than glob x name x name steps. */
static bool match_star(const matcher_t *m, size_t g, size_t n, size_t wildcard) {
    bool across = m->glob[g + 1] == '*';
    size_t bit = g * (m->length + 1) + n, end = n;
    if (m->tried[bit / 8] & (1u << bit % 8)) return false;
    while (m->name[end] && (across || !is_separator(m->name[end]))) end++;
    for (;; end--) {
        if (match_from(m, g + (across ? 2 : 1), end, wildcard + 1)) {
            keep_piece(m, wildcard, n, end);
            return true;
        }
        if (end == n) break;
    }
    m->tried[bit / 8] |= (unsigned char)(1u << bit % 8);
    return false;
}

static bool match_from(const matcher_t *m, size_t g, size_t n, size_t wildcard) {
    for (; m->glob[g]; g++) {
        if (m->glob[g] == '*') return match_star(m, g, n, wildcard);
        if (m->glob[g] == '?') {
            if (!m->name[n] || is_separator(m->name[n])) return false;
            size_t end = after_character(m->name, n);
            keep_piece(m, wildcard++, n, end);
            n = end;
            continue;
        }
        if (m->glob[g] == '\\' && m->glob[g + 1]) g++;
        if (m->glob[g] != m->name[n]) return false;
        n++;
    }
    return m->name[n] == '\0';
}

bool glob_match(const char *glob, const char *name, name_piece_t *pieces) {
    size_t length = strlen(name);
    matcher_t m = {.glob = glob, .name = name, .length = length, .pieces = pieces};
    m.tried = xcalloc((strlen(glob) + 1) * (length + 1) / 8 + 1, 1);
    bool matched = match_from(&m, 0, 0, 0);
    free(m.tried);
    return matched;
}

size_t glob_wildcards(const char *glob) {
    size_t count = 0;
    for (const char *p = glob; *p; p++) {
        if (*p == '\\' && p[1])
            p++;
        else if (*p == '*' || *p == '?')
            count++;
        if (*p == '*' && p[1] == '*') p++;
    }
    return count;
}

bool name_matches(const char *glob, const char *name) {
    return glob_match(glob, name, NULL);
}
