/* match_numbers.c - which row an entry of an unknown name is, by its numbers, and then by its place among
 * those that are known.
 *
 * The nearest pair of an entry and a row that nobody stands for is taken first, so that an entry which is a
 * little wrong does not take the row of its neighbour. What a fault has changed is near no row. Where as many
 * entries as rows are left between two known ones, in the file's order and the reference's, and the shapes
 * agree one by one, they are each other's. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compare/match.h"
#include "core/name_ids.h"
#include "core/tap_name.h"

typedef struct {
    double apart;
    size_t entry, row;
} pair_t;

typedef struct {
    pair_t *pair;
    size_t count, room;
} pairs_t;

static int by_apart(const void *a, const void *b) {
    const pair_t *one = a, *other = b;
    if (one->apart != other->apart) return one->apart < other->apart ? -1 : 1;
    if (one->entry != other->entry) return one->entry < other->entry ? -1 : 1;
    return (one->row > other->row) - (one->row < other->row);
}

static void add_pair(pairs_t *p, pair_t pair) {
    if (p->count == p->room) {
        p->room = 2 * p->room + 64;
        p->pair = xrealloc(p->pair, p->room * sizeof *p->pair);
    }
    p->pair[p->count++] = pair;
}

/* The entries, and of each the one whose input it is by its name, or NO_ROW. */
typedef struct {
    match_t *m;
    size_t entries, *module;
} numbers_t;

/* Nobody knows it, and it is no input. */
static bool is_stranger(const numbers_t *n, size_t entry) {
    return n->m->row[entry] == NO_ROW && !n->m->settled[entry] && n->module[entry] == NO_ROW &&
           !tap_name_is_input(trace_file_at(n->m->candidate, entry)->name);
}

static bool is_vacant(const match_t *m, size_t row) {
    return m->source[row] == NO_ROW && !tap_name_is_input(m->r->row[row].name);
}

static void take(match_t *m, size_t entry, size_t row) {
    m->source[row] = entry;
    m->row[entry] = row;
}

/* ---- by numbers ---------------------------------------------------------------------------------------- */

/* Every entry's rows that are nearer than one of their deviation's sixteenths. */
static pairs_t near_pairs(const numbers_t *n) {
    const match_t *m = n->m;
    size_t rows = m->r->rows;
    pairs_t near = {NULL, 0, 0};
    sample_t *truth = xcalloc(rows + 1, sizeof *truth), s;
    for (size_t i = 0; i < rows; i++)
        if (is_vacant(m, i)) sample_truth(&truth[i], m, i);
    for (size_t e = 0; e < n->entries; e++) {
        if (!is_stranger(n, e)) continue;
        sample_entry(&s, m, e);
        for (size_t i = 0; s.variance > 0 && i < rows; i++) {
            if (!(truth[i].variance > 0) ||
                !shape_equal(m->r->row[i].shape, trace_file_at(m->candidate, e)->shape))
                continue;
            double apart = sample_distance(&s, &truth[i]);
            if (apart < 1) add_pair(&near, (pair_t){apart, e, i});
        }
    }
    free(truth);
    return near;
}

static size_t take_nearest(const numbers_t *n) {
    match_t *m = n->m;
    pairs_t near = near_pairs(n);
    size_t taken = 0;
    if (near.count) qsort(near.pair, near.count, sizeof *near.pair, by_apart);
    for (size_t i = 0; i < near.count; i++) {
        if (m->row[near.pair[i].entry] != NO_ROW || m->source[near.pair[i].row] != NO_ROW) continue;
        take(m, near.pair[i].entry, near.pair[i].row);
        taken++;
    }
    free(near.pair);
    return taken;
}

/* ---- by place ------------------------------------------------------------------------------------------ */

/* So many entries and rows from these on belong together, or none do. */
static bool shapes_agree(const match_t *m, const size_t *entry, size_t from, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!shape_equal(trace_file_at(m->candidate, entry[i])->shape, m->r->row[from + i].shape))
            return false;
    return true;
}

/* Strangers entry[0 .. count) lie between the entries of two rows, both excluded. */
static size_t fill_gap(match_t *m, const size_t *entry, size_t count, size_t after, size_t before) {
    if (!count || after + 1 + count != before) return 0;
    for (size_t i = after + 1; i < before; i++)
        if (!is_vacant(m, i)) return 0;
    if (!shapes_agree(m, entry, after + 1, count)) return 0;
    for (size_t i = 0; i < count; i++) take(m, entry[i], after + 1 + i);
    return count;
}

/* Whether the file has what is known in the reference's order. */
static bool in_order(const numbers_t *n) {
    size_t last = 0;
    for (size_t e = 0; e < n->entries; e++) {
        size_t row = n->m->row[e];
        if (row == NO_ROW || row == REPEATED) continue;
        if (row < last) return false;
        last = row;
    }
    return true;
}

/* Before the first known entry and behind the last as well: there the reference's ends are the other. */
static size_t take_places(const numbers_t *n) {
    match_t *m = n->m;
    size_t count = 0, taken = 0, after = SIZE_MAX; /* + 1: the first row */
    size_t *stranger = xcalloc(n->entries + 1, sizeof *stranger);
    for (size_t e = 0; e < n->entries; e++) {
        size_t row = m->row[e];
        if (is_stranger(n, e)) stranger[count++] = e;
        if (row == NO_ROW || row == REPEATED) continue;
        taken += fill_gap(m, stranger, count, after, row);
        after = row;
        count = 0;
    }
    taken += fill_gap(m, stranger, count, after, m->r->rows);
    free(stranger);
    return taken;
}

/* ---- inputs -------------------------------------------------------------------------------------------- */

static void find_modules(numbers_t *n) {
    static const char *const endings[] = {"in", "input", "inputs"};
    name_ids_t names = {0};
    n->module = xcalloc(n->entries + 1, sizeof *n->module);
    for (size_t e = 0; e < n->entries; e++)
        name_id(&names, trace_file_at(n->m->candidate, e)->name);
    for (size_t e = 0; e < n->entries; e++) {
        const char *name = trace_file_at(n->m->candidate, e)->name;
        size_t length = name_before(name, endings, sizeof endings / sizeof *endings);
        char *module = xasprintf("%.*s", (int)length, name);
        n->module[e] = length ? name_id_of(&names, module) : NO_ROW;
        free(module);
    }
    name_ids_free(&names);
}

/* What goes into a module is called as the module is. */
static void name_inputs(const numbers_t *n) {
    match_t *m = n->m;
    name_ids_t rows = {0};
    for (size_t i = 0; i < m->r->rows; i++) name_id(&rows, m->r->row[i].name);
    for (size_t e = 0; e < n->entries; e++) {
        if (m->row[e] != NO_ROW || m->settled[e] || n->module[e] == NO_ROW) continue;
        size_t row = m->row[n->module[e]];
        if (row == NO_ROW || row == REPEATED) continue;
        char *ours = xasprintf("%s.in", m->r->row[row].name);
        size_t in = name_id_of(&rows, ours);
        trace_file_set_alias(m->candidate, e, ours);
        m->asked[e] = false;
        if (in != SIZE_MAX && m->source[in] == NO_ROW) take(m, e, in);
        free(ours);
    }
    name_ids_free(&rows);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static size_t count_strangers(const numbers_t *n) {
    size_t left = 0;
    for (size_t e = 0; e < n->entries; e++) left += is_stranger(n, e);
    return left;
}

void match_numbers(match_t *m) {
    numbers_t n = {m, trace_file_count(m->candidate), NULL};
    find_modules(&n);
    size_t strangers = count_strangers(&n);
    if (strangers) {
        size_t near = take_nearest(&n), placed = in_order(&n) ? take_places(&n) : 0;
        name_inputs(&n);
        compare_note(m->r, xasprintf("names: of %zu taps whose names say nothing %zu were known by "
                                     "their numbers, %zu by their place between those%s",
                                     strangers, near, placed,
                                     count_strangers(&n) ? "; the others were not compared, and a "
                                                           "fault may be in them"
                                                         : ""));
    }
    free(n.module);
}
