/* match_names.c - rows by the names of the candidate's entries: as they stand, as --map has them, or by a
 * rule that holds throughout the trace (trace/names_plan.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/match.h"
#include "core/name_ids.h"
#include "core/tap_name.h"
#include "trace/names_plan.h"

static const char input[] = ".in";

/* ---- two entries for one row --------------------------------------------------------------------------- */

static bool equal_statistics(const statistics_t *a, const statistics_t *b) {
    for (int k = 0; k < STATISTICS; k++)
        if (a->has[k] != b->has[k] || (a->has[k] && a->value[k] != b->value[k])) return false;
    return true;
}

/* 1 when two entries hold the same numbers in the same order, 0 when not; -1 and err. */
static int equal_numbers(trace_file_t *t, size_t a, size_t b, err_t *err) {
    enum { CHUNK = 1 << 16 };
    size_t count = trace_file_at(t, a)->count;
    const statistics_t *s = trace_file_statistics(t, a), *other = trace_file_statistics(t, b);
    if (s) return equal_statistics(s, other);
    if (trace_file_at(t, b)->count != count) return 0;
    double *x = xmalloc(CHUNK * sizeof *x), *y = xmalloc(CHUNK * sizeof *y);
    int equal = 1;
    for (size_t first = 0; equal == 1 && first < count; first += CHUNK) {
        size_t n = count - first < CHUNK ? count - first : CHUNK;
        if (trace_file_read(t, a, first, n, x, err) || trace_file_read(t, b, first, n, y, err))
            equal = -1;
        else
            equal = memcmp(x, y, n * sizeof *x) == 0;
    }
    free(x);
    free(y);
    return equal;
}

/* How often names that mean the same had the same numbers, and an example. */
typedef struct {
    size_t count, kept, left, row;
} repeats_t;

static int claim(match_t *m, size_t entry, size_t row, repeats_t *repeats, err_t *err) {
    if (m->source[row] == NO_ROW) {
        m->source[row] = entry;
        m->row[entry] = row;
        return 0;
    }
    size_t first = m->source[row];
    int equal = equal_numbers(m->candidate, first, entry, err);
    if (equal < 0) return -1;
    if (!equal)
        return err_set(err,
                       "%s: '%s' and '%s' both stand for '%s', and their numbers differ; leave one "
                       "out, or give each its own name by --map",
                       trace_file_path(m->candidate), trace_file_at(m->candidate, first)->name,
                       trace_file_at(m->candidate, entry)->name, m->r->row[row].name);
    if (!repeats->count++) *repeats = (repeats_t){1, first, entry, row};
    m->row[entry] = REPEATED;
    return 0;
}

static void note_repeats(const match_t *m, const repeats_t *repeats) {
    if (!repeats->count) return;
    compare_note(m->r,
                 xasprintf("names: %zu tap%s two names that mean the same, and the same numbers "
                           "under both: '%.120s' and '%.120s' are '%.120s'; the first was read",
                           repeats->count, repeats->count == 1 ? " has" : "s have",
                           trace_file_at(m->candidate, repeats->kept)->name,
                           trace_file_at(m->candidate, repeats->left)->name,
                           m->r->row[repeats->row].name));
}

/* ---- as they stand, and as the map has them ------------------------------------------------------------ */

typedef struct {
    match_t *m;
    name_ids_t rows; /* names of rows: their number */
    repeats_t repeats;
} names_t;

/* A name by the map: fresh, or NULL when no rule changes it. Of an input the rules for its module hold as
 * well. */
static char *by_map(const name_map_t *map, const char *name) {
    char *mapped = name_map_apply(map, name);
    if (strcmp(mapped, name) != 0) return mapped;
    free(mapped);
    if (!map || !tap_name_is_input(name)) return NULL;
    char *module = xasprintf("%.*s", (int)(strlen(name) - strlen(input)), name);
    char *ours = by_map(map, module);
    mapped = ours ? xasprintf("%s%s", ours, input) : NULL;
    free(ours);
    free(module);
    return mapped;
}

static int match_one(names_t *n, size_t i, err_t *err) {
    match_t *m = n->m;
    const char *name = trace_file_at(m->candidate, i)->name, *filter = m->options->filter;
    char *mapped = by_map(m->options->map, name);
    const char *ours = mapped ? mapped : name;
    size_t row = name_id_of(&n->rows, ours);
    m->settled[i] = mapped || row != NO_ROW;
    m->asked[i] = (!filter || name_matches(filter, ours)) && !tap_name_is_input(ours);
    int status = row == NO_ROW ? 0 : claim(m, i, row, &n->repeats, err);
    if (tap_name_is_input(ours)) trace_file_set_alias(m->candidate, i, ours);
    free(mapped);
    return status;
}

/* ---- by a rule that holds throughout ------------------------------------------------------------------- */

typedef struct {
    const match_t *m;
    const size_t *entry; /* (strangers) */
} strangers_t;

static int same_numbers(void *context, size_t theirs, size_t ours) {
    const strangers_t *s = context;
    return match_same(s->m, s->entry[theirs], ours);
}

/* What is no tap is perhaps what goes into one: NAME.in of what the rules make of NAME. */
static int match_inputs(names_t *n, names_plan_t *plan, err_t *err) {
    static const char *const endings[] = {"in", "input", "inputs"};
    enum { ENDINGS = sizeof endings / sizeof *endings };
    match_t *m = n->m;
    int status = 0;
    for (size_t i = 0; !status && i < trace_file_count(m->candidate); i++) {
        const char *name = trace_file_at(m->candidate, i)->name;
        if (m->settled[i] || m->row[i] != NO_ROW) continue;
        size_t length = name_before(name, endings, ENDINGS);
        if (!length) continue;
        char *module = xasprintf("%.*s", (int)length, name);
        size_t row = name_id_of(&n->rows, module);
        if (row == NO_ROW) row = names_plan_apply(plan, module);
        if (row != NO_ROW) {
            char *ours = xasprintf("%s%s", m->r->row[row].name, input);
            size_t in = name_id_of(&n->rows, ours);
            trace_file_set_alias(m->candidate, i, ours);
            m->asked[i] = false;
            if (in != NO_ROW) status = claim(m, i, in, &n->repeats, err);
            free(ours);
        }
        free(module);
    }
    return status;
}

static int use_plan(names_t *n, const names_plan_t *plan, const size_t *entry, const size_t *meant,
                    size_t strangers, err_t *err) {
    for (size_t i = 0; i < strangers; i++)
        if (meant[i] != NO_ROW && claim(n->m, entry[i], meant[i], &n->repeats, err)) return -1;
    for (size_t i = 0; i < names_plan_said(plan); i++)
        compare_note(n->m->r, xasprintf("names: %s", names_plan_saying(plan, i)));
    return 0;
}

static int match_by_plan(names_t *n, err_t *err) {
    const match_t *m = n->m;
    size_t entries = trace_file_count(m->candidate), rows = m->r->rows;
    const char **ours = xcalloc(rows + 1, sizeof *ours);
    const char **theirs = xcalloc(entries + 1, sizeof *theirs);
    size_t *entry = xcalloc(entries + 1, sizeof *entry),
           *meant = xcalloc(entries + 1, sizeof *meant);
    bool *taken = xcalloc(rows + 1, sizeof *taken);
    strangers_t strangers = {m, entry};
    names_question_t q = {ours, rows, taken, theirs, 0, m->options->map, same_numbers, &strangers};
    for (size_t i = 0; i < rows; i++) {
        ours[i] = tap_name_is_input(m->r->row[i].name) ? NULL : m->r->row[i].name;
        taken[i] = m->source[i] != NO_ROW;
    }
    for (size_t i = 0; i < entries; i++) {
        const char *name = trace_file_at(m->candidate, i)->name;
        if (m->settled[i] || tap_name_is_input(name)) continue;
        entry[q.strangers] = i;
        theirs[q.strangers++] = name;
    }
    names_plan_t *plan = names_plan(&q, meant);
    int status = use_plan(n, plan, entry, meant, q.strangers, err);
    if (!status) status = match_inputs(n, plan, err);
    names_plan_free(plan);
    free(ours);
    free(theirs);
    free(entry);
    free(meant);
    free(taken);
    return status;
}

int match_names(match_t *m, err_t *err) {
    names_t n = {.m = m};
    int status = 0;
    for (size_t i = 0; i < m->r->rows; i++) {
        name_id(&n.rows, m->r->row[i].name);
        m->source[i] = NO_ROW;
    }
    for (size_t i = 0; i < trace_file_count(m->candidate); i++) m->row[i] = NO_ROW;
    for (size_t i = 0; !status && i < trace_file_count(m->candidate); i++)
        status = match_one(&n, i, err);
    if (!status) status = match_by_plan(&n, err);
    note_repeats(m, &n.repeats);
    name_ids_free(&n.rows);
    return status;
}
