/* match.h - what the files behind compare_match() share: which entry of the candidate is which row. */
#ifndef MOLE_COMPARE_MATCH_H
#define MOLE_COMPARE_MATCH_H

#include <stdint.h>

#include "compare/compare_internal.h"
#include "compare/layout_forms.h"

#define NO_ROW   SIZE_MAX
#define REPEATED (SIZE_MAX - 1) /* the same numbers stand under another name that means the same */

typedef struct {
    compare_result_t *r;
    trace_file_t *candidate;
    const compare_options_t *options;
    const truths_t *truths;
    size_t *source;   /* (rows): the candidate's entry, or NO_ROW */
    size_t *row;      /* (entries): the row, NO_ROW or REPEATED */
    bool *asked;      /* (entries): by --filter, and no input: a stranger among them is an extra */
    bool *settled;    /* (entries): the map had a rule for it, nobody else decides */
    size_t batch_row; /* of axis 0 the candidate has this one alone; NO_ROW: not so */
} match_t;

/* ---- match_names.c ------------------------------------------------------------------------------------- */

/* By name: row and source. -1 and err: two entries of different numbers stand for one row. */
int match_names(match_t *m, err_t *err);

/* ---- match_numbers.c ----------------------------------------------------------------------------------- */

/* Of entries that nobody knows by name, after match_names(): row and source by their numbers, and of those
 * between two that are known by their place. Says so. */
void match_numbers(match_t *m);

/* ---- match_batch.c ------------------------------------------------------------------------------------- */

/* Finds m->batch_row, of rows and their sources. */
void match_batch(match_t *m);
/* Whether `stored` numbers are that one row of a tensor of `shape`. */
bool match_is_batch_row(const match_t *m, shape_t shape, size_t stored);
/* Says of which rows of the comparison it is so. */
void match_note_batch(const match_t *m);

/* ---- match_layouts.c ----------------------------------------------------------------------------------- */

/* Gives entries whose numbers lie otherwise than their row's the layout in which they are the row's, and
 * says so. */
void match_layouts(match_t *m);

/* ---- match_scores.c ------------------------------------------------------------------------------------ */

/* scores[f]: how far an entry's numbers are from a row's in a form, near 0 where they are the row's, 2/3
 * or so where they are others; NaN: they cannot tell. only: of axis 0 this one is looked at, or NO_ROW. */
void match_scores(const match_t *m, size_t entry, size_t row, const form_t *form, size_t forms,
                  size_t only, float *scores);

/* ---- match_places.c ------------------------------------------------------------------------------------ */

/* The places of a tensor of `count` numbers whose truth is looked at by matching and by finding the type, in
 * their order, each once. Returns how many. */
enum { MATCH_HEAD = 256, MATCH_SPREAD = 64, MATCH_PLACES = MATCH_HEAD + 2 * MATCH_SPREAD };
size_t match_places(size_t count, size_t place[MATCH_PLACES]);
/* Where block b of BLOCKS begins that a sample is made of, of a tensor of more than MATCH_SPREAD numbers. */
enum { MATCH_BLOCK = 16, MATCH_BLOCKS = MATCH_SPREAD / MATCH_BLOCK };
size_t match_block(size_t count, size_t b);
/* Place k of min(MATCH_SPREAD, count), spread over the tensor. */
size_t match_place(size_t count, size_t k);

/* ---- match_values.c ------------------------------------------------------------------------------------ */

/* A few numbers of a tensor tell it from others of its shape. */
typedef struct {
    double x[MATCH_SPREAD];
    size_t count;
    double variance; /* 0: they say nothing */
} sample_t;

void sample_truth(sample_t *s, const match_t *m, size_t row);
void sample_entry(sample_t *s, const match_t *m, size_t entry);
/* Mean square of the difference, in units of a sixteenth of the truth's deviation, squared: a port with
 * one mistake before it is closer than 1, another tensor is not. Infinity: further, or nobody can say. */
double sample_distance(const sample_t *candidate, const sample_t *truth);
/* 1 when a row's numbers are an entry's, 0 when not, -1 when the numbers cannot tell. */
int match_same(const match_t *m, size_t entry, size_t row);

/* What the extras perhaps mean; entry[i] is that of extra i. */
void match_suggest(match_t *m, const size_t *entry);

#endif
