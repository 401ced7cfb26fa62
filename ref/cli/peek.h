/* peek.h - what the files of mole peek share. */
#ifndef MOLE_CLI_PEEK_H
#define MOLE_CLI_PEEK_H

#include "trace/slice.h"
#include "trace/tally.h"
#include "trace/trace_file.h"

struct json_t;

typedef struct {
    trace_file_t *trace;
    size_t index;      /* of the tensor */
    const char *place; /* "[0, :, 3:8]" as it was asked for, or NULL: all of it */
    slice_t slice;
    tally_t tally;         /* of the slice */
    histogram_t histogram; /* filled with `statistics` */
    int digits;
    bool statistics; /* to be shown */
    bool plain;      /* its numbers and nothing else */
} peek_t;

enum { PEEK_PIECE = 1 << 16, PEEK_JSON_MOST = 1 << 20 };

/* Reads the whole slice in pieces, `piece` (PEEK_PIECE) being room for one: into the tally, and into the
 * histogram if `statistics`. 0, or -1 and err. */
int peek_measure(peek_t *peek, double *piece, err_t *err);

/* ---- text ---- */

/* "-0.25", "1e+20", "nan": as many digits as asked for, integers whole. */
enum { PEEK_NUMBER = 64 };
const char *peek_number(char text[PEEK_NUMBER], double x, dtype_t dtype, int digits);
/* Statistics, histogram and numbers of one tensor or slice. 0, or -1 and err. */
int peek_print(const peek_t *peek, err_t *err);
/* One line for a tensor, and the head of such lines; the name takes `width` columns. */
void peek_print_line(const trace_entry_t *entry, const tally_t *tally, int digits, int width);
void peek_print_head(int width);

/* ---- JSON ---- */

/* An object for the tensor; of a slice, and only of one, with its numbers. NULL and err when they cannot be
 * read. */
struct json_t *peek_json(const peek_t *peek, err_t *err);

/* ---- a picture ---- */

/* To a PNG, colours from -most to most (NaN: as far as the numbers go). 0, or -1 and err. */
int peek_picture(const peek_t *peek, double most, const char *path, err_t *err);

#endif
