/* peek_text.c - mole peek: a tensor as text; see peek.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/peek.h"

/* Of more than THRESHOLD numbers EDGE at either end of a dimension are shown, as PyTorch does it. */
enum { THRESHOLD = 1000, EDGE = 3, ONE_LINE = 16, LINE_COLUMNS = 100, BAR_COLUMNS = 40 };

const char *peek_number(char text[PEEK_NUMBER], double x, dtype_t dtype, int digits) {
    static const dtype_t broken_numbers[] = {DTYPE_F64,         DTYPE_F32,         DTYPE_F16,
                                             DTYPE_BF16,        DTYPE_F8_E4M3,     DTYPE_F8_E5M2,
                                             DTYPE_F8_E4M3FNUZ, DTYPE_F8_E5M2FNUZ, DTYPE_F8_E8M0};
    bool whole = true;
    for (size_t i = 0; i < sizeof broken_numbers / sizeof *broken_numbers; i++)
        whole = whole && dtype != broken_numbers[i];
    if (isnan(x)) /* printf may say "-nan" */
        snprintf(text, PEEK_NUMBER, "nan");
    else if (whole)
        snprintf(text, PEEK_NUMBER, "%.0f", x);
    else
        snprintf(text, PEEK_NUMBER, "%.*g", digits, x);
    return text;
}

static const trace_entry_t *entry_of(const peek_t *p) {
    return trace_file_at(p->trace, p->index);
}

/* ---- one line per tensor ------------------------------------------------------------------------------ */

void peek_print_head(int width) {
    static const char *const heads[] = {"mean", "deviation", "min", "max", "norm"};
    printf("%-*s  %-5s %-18s", width, "tensor", "type", "shape");
    for (int i = 0; i < 5; i++) printf(" %12s", heads[i]);
    printf(" %10s\n", "not finite");
}

void peek_print_line(const trace_entry_t *entry, const tally_t *t, int digits, int width) {
    char shape[SHAPE_TEXT], number[PEEK_NUMBER];
    const double figure[] = {t->mean, t->deviation, t->min, t->max, t->norm};
    printf("%-*s  %-5s %-18s", width, entry->name, dtype_name(entry->dtype),
           shape_text(shape, entry->shape));
    for (int i = 0; i < 5; i++) printf(" %12s", peek_number(number, figure[i], DTYPE_F64, digits));
    printf(" %10zu\n", t->nan + t->inf);
}

/* ---- statistics --------------------------------------------------------------------------------------- */

static void print_figure(const peek_t *p, const char *what, double value) {
    char number[PEEK_NUMBER];
    printf("%-10s  %s\n", what, peek_number(number, value, DTYPE_F64, p->digits));
}

static void print_tally(const peek_t *p) {
    const tally_t *t = &p->tally;
    printf("%-10s  %zu\n", "numbers", t->count);
    print_figure(p, "mean", t->mean);
    print_figure(p, "deviation", t->deviation);
    print_figure(p, "min", t->min);
    print_figure(p, "max", t->max);
    print_figure(p, "norm", t->norm);
    printf("%-10s  %zu\n", "zeros", t->zeros);
    printf("%-10s  %zu", "not finite", t->nan + t->inf);
    if (t->nan + t->inf) printf(" (%zu NaN, %zu Inf)", t->nan, t->inf);
    printf("\n");
}

static void print_histogram(const peek_t *p) {
    const histogram_t *h = &p->histogram;
    size_t parts = h->low < h->high ? HISTOGRAM_BINS : 1, most = 1;
    int digits = p->digits < 4 ? p->digits : 4;
    for (size_t i = 0; i < parts; i++)
        if (h->bin[i] > most) most = h->bin[i];
    for (size_t i = 0; i < parts; i++) {
        char from[PEEK_NUMBER], to[PEEK_NUMBER], bar[BAR_COLUMNS + 1];
        size_t length = (size_t)ceil((double)h->bin[i] / (double)most * BAR_COLUMNS);
        memset(bar, '#', length);
        bar[length] = '\0';
        peek_number(from, histogram_edge(h, i), DTYPE_F64, digits);
        peek_number(to, histogram_edge(h, parts > 1 ? i + 1 : HISTOGRAM_BINS), DTYPE_F64, digits);
        printf("%10s .. %-10s |%-*s %zu\n", from, to, BAR_COLUMNS, bar, h->bin[i]);
    }
}

/* ---- numbers ------------------------------------------------------------------------------------------ */

/* What of a slice is shown, and its numbers as texts of one width. */
typedef struct {
    shape_t whole, shown; /* of the slice; how many of each dimension */
    char (*text)[PEEK_NUMBER];
    int width;
    size_t next; /* to print */
} table_t;

/* The place in the slice of place i among those shown. */
static size_t place_of(size_t i, size_t shown, size_t size) {
    return i < EDGE || shown == size ? i : size - shown + i;
}

static size_t flat_of(const table_t *t, size_t number) {
    size_t index[SHAPE_DIMS], flat = 0;
    shape_index(index, t->shown, number);
    for (int d = 0; d < t->whole.ndim; d++)
        flat = flat * t->whole.dim[d] + place_of(index[d], t->shown.dim[d], t->whole.dim[d]);
    return flat;
}

static int table_new(table_t *t, const peek_t *p, const slice_t *slice, err_t *err) {
    double x;
    *t = (table_t){.whole = slice->shape, .shown = slice->shape};
    if (shape_count(slice->shape) > THRESHOLD)
        for (int d = 0; d < t->shown.ndim; d++)
            if (t->shown.dim[d] > 2 * EDGE) t->shown.dim[d] = 2 * EDGE;
    size_t count = shape_count(t->shown);
    t->text = xmalloc((count + 1) * sizeof *t->text);
    for (size_t i = 0; i < count; i++) {
        if (slice_read(p->trace, p->index, slice, flat_of(t, i), 1, &x, err)) return -1;
        peek_number(t->text[i], x, entry_of(p)->dtype, p->digits);
        if ((int)strlen(t->text[i]) > t->width) t->width = (int)strlen(t->text[i]);
    }
    return 0;
}

/* "[1, 2, ..., 9]", broken into lines where it is long; `depth` brackets are open. */
static void print_row(table_t *t, int depth) {
    size_t count = t->shown.dim[depth], whole = t->whole.dim[depth];
    int column = depth + 1;
    printf("[");
    for (size_t i = 0; i < count; i++) {
        if (i) printf(",");
        if (column + t->width + 2 > LINE_COLUMNS && i) {
            printf("\n%*s", depth + 1, "");
            column = depth + 1;
        } else if (i) {
            printf(" ");
        }
        if (i == EDGE && count < whole) {
            printf("..., ");
            column += 5;
        }
        printf("%*s", t->width, t->text[t->next++]);
        column += t->width + 2;
    }
    printf("]");
}

static void print_block(table_t *t, int depth) {
    size_t count = t->shown.dim[depth];
    if (depth == t->whole.ndim - 1) {
        print_row(t, depth);
        return;
    }
    printf("[");
    for (size_t i = 0; i < count; i++) {
        if (i) {
            printf(",");
            for (int n = depth; n < t->whole.ndim - 1; n++) printf("\n");
            printf("%*s", depth + 1, "");
        }
        if (i == EDGE && count < t->whole.dim[depth]) {
            printf("...,");
            for (int n = depth; n < t->whole.ndim - 1; n++) printf("\n");
            printf("%*s", depth + 1, "");
        }
        print_block(t, depth + 1);
    }
    printf("]");
}

static void print_table(table_t *t) {
    size_t count = shape_count(t->shown);
    if (t->whole.ndim == 0) {
        printf("%s\n", t->text[0]);
    } else if (count == 0) {
        printf("[]\n");
    } else {
        print_block(t, 0);
        printf("\n");
    }
}

/* Of a tensor of more than two dimensions the first matrix. Its index into `text`. */
static slice_t first_matrix(const slice_t *whole, char text[SHAPE_TEXT]) {
    slice_t s = *whole;
    int leading = s.source.ndim - 2, used = snprintf(text, SHAPE_TEXT, "[");
    for (int d = 0; d < s.source.ndim; d++) {
        used += snprintf(text + used, SHAPE_TEXT - (size_t)used, "%s%s", d ? ", " : "",
                         d < leading ? "0" : ":");
        if (d < leading) s.range[d] = (slice_range_t){0, 1, 1, true};
    }
    snprintf(text + used, SHAPE_TEXT - (size_t)used, "]");
    if (leading > 0) s.shape = SHAPE2(s.source.dim[leading], s.source.dim[leading + 1]);
    return s;
}

static int print_first(const peek_t *p, err_t *err) {
    char place[SHAPE_TEXT];
    table_t table;
    slice_t first = first_matrix(&p->slice, place);
    if (shape_count(p->slice.shape) == 0) first = p->slice;
    int status = table_new(&table, p, &first, err);
    if (!status) {
        if (first.source.ndim > 2 && shape_count(first.shape)) printf("%s\n", place);
        print_table(&table);
    }
    free(table.text);
    return status;
}

/* A slice: what it is of, then its numbers; of few in one row, in the same line. */
static int print_slice(const peek_t *p, err_t *err) {
    char shape[SHAPE_TEXT];
    table_t table;
    int status = table_new(&table, p, &p->slice, err);
    size_t count = shape_count(p->slice.shape);
    if (!status && p->slice.shape.ndim < 2 && count && count <= ONE_LINE) {
        printf(":");
        for (size_t i = 0; i < count; i++) printf(" %s", table.text[i]);
        printf("\n");
    } else if (!status) {
        printf(" is %s:\n", shape_text(shape, p->slice.shape));
        print_table(&table);
    }
    free(table.text);
    return status;
}

/* Rows of the last dimension, numbers parted by blanks. */
static int print_plain(const peek_t *p, err_t *err) {
    char number[PEEK_NUMBER];
    const shape_t *shape = &p->slice.shape;
    size_t count = shape_count(*shape), row = shape->ndim ? shape->dim[shape->ndim - 1] : 1;
    double *piece = xmalloc(PEEK_PIECE * sizeof *piece);
    int status = 0;
    for (size_t at = 0, n; at < count && !status; at += n) {
        n = count - at < PEEK_PIECE ? count - at : PEEK_PIECE;
        status = slice_read(p->trace, p->index, &p->slice, at, n, piece, err);
        for (size_t i = 0; i < n && !status; i++)
            printf("%s%s", peek_number(number, piece[i], entry_of(p)->dtype, p->digits),
                   (at + i + 1) % row ? " " : "\n");
    }
    free(piece);
    return status;
}

int peek_print(const peek_t *p, err_t *err) {
    char shape[SHAPE_TEXT];
    const trace_entry_t *entry = entry_of(p);
    if (p->plain) return print_plain(p, err);
    if (p->statistics) {
        printf("%s%s  %s %s\n", entry->name, p->place ? p->place : "", dtype_name(entry->dtype),
               shape_text(shape, entry->shape));
        print_tally(p);
        if (tally_finite(&p->tally)) printf("\n"), print_histogram(p);
        printf("\n");
    }
    if (!p->place) return print_first(p, err);
    printf("%s %s%s", dtype_name(entry->dtype), shape_text(shape, entry->shape), p->place);
    return print_slice(p, err);
}
