/* passes.c - see passes.h. */
#include "compare/passes.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare/match.h"
#include "compare/truth_run.h"

/* ---- the spool ----------------------------------------------------------------------------------------- */

struct spool {
    FILE *file;
    size_t end; /* in numbers */
};

int spool_open(spool_t **spool, err_t *err) {
    FILE *file = tmpfile();
    if (!file)
        return err_set(err, "no temporary file can be made: set TMPDIR to a folder with room");
    *spool = xcalloc(1, sizeof **spool);
    (*spool)->file = file;
    return 0;
}

void spool_close(spool_t *spool) {
    if (!spool) return;
    fclose(spool->file);
    free(spool);
}

int spool_write(spool_t *s, const double *x, size_t count, size_t *at, err_t *err) {
    *at = s->end;
    if (fseeko(s->file, (off_t)(s->end * sizeof *x), SEEK_SET) ||
        fwrite(x, sizeof *x, count, s->file) != count)
        return err_set(err, "a temporary file cannot be written: the disk is full?");
    s->end += count;
    return 0;
}

int spool_read(spool_t *s, size_t at, double *x, size_t count, err_t *err) {
    if (fseeko(s->file, (off_t)(at * sizeof *x), SEEK_SET) ||
        fread(x, sizeof *x, count, s->file) != count)
        return err_set(err, "a temporary file cannot be read");
    return 0;
}

/* ---- rows by name -------------------------------------------------------------------------------------- */

typedef struct row_key {
    const char *name;
    size_t row;
} row_key_t;

static int by_name(const void *a, const void *b) {
    return strcmp(((const row_key_t *)a)->name, ((const row_key_t *)b)->name);
}

void pass_index_rows(comparison_t *c) {
    size_t rows = c->result->rows;
    c->key = xrealloc(c->key, (rows + 1) * sizeof *c->key);
    c->identity = xrealloc(c->identity, (rows + 1) * sizeof *c->identity);
    for (size_t i = 0; i < rows; i++) {
        c->key[i] = (row_key_t){c->result->row[i].name, i};
        c->identity[i] = i;
    }
    c->keys = rows;
    qsort(c->key, rows, sizeof *c->key, by_name);
}

size_t pass_find_row(const comparison_t *c, const char *name) {
    row_key_t wanted = {name, 0};
    if (!c->keys) return SIZE_MAX;
    const row_key_t *found = bsearch(&wanted, c->key, c->keys, sizeof *c->key, by_name);
    return found ? found->row : SIZE_MAX;
}

void pass_drop_inputs(comparison_t *c) {
    compare_result_t *r = c->result;
    size_t kept = 0;
    for (size_t i = 0; i < r->rows; i++) {
        if (r->row[i].is_input && !r->row[i].candidate_name) {
            free((char *)r->row[i].name);
            continue;
        }
        c->meta[kept] = c->meta[i];
        r->row[kept++] = r->row[i];
    }
    r->rows = kept;
    pass_index_rows(c);
}

int pass_open(comparison_t *c) {
    if (c->opened) return 0;
    if (golden_open_model(c->golden, &c->pipeline, c->err)) return -1;
    c->opened = true;
    return 0;
}

void pass_close(comparison_t *c) {
    if (c->opened) pipeline_close(&c->pipeline);
    spool_close(c->spool);
    free(c->meta);
    free(c->key);
    free(c->identity);
    free(c->a);
    free(c->b);
    free(c->c);
    free(c->torch);
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

/* Scratch of at least `count` numbers. */
static void make_room(comparison_t *c, size_t count) {
    if (count <= c->room) return;
    c->room = count;
    c->a = xrealloc(c->a, count * sizeof *c->a);
    c->b = xrealloc(c->b, count * sizeof *c->b);
    c->c = xrealloc(c->c, count * sizeof *c->c);
    c->torch = xrealloc(c->torch, count * sizeof *c->torch);
}

void pass_get(comparison_t *c, double *out, const real_t *x, view_t view) {
    size_t count = shape_count(view.shape);
    view_to_torch(c->torch, x, view);
    for (size_t i = 0; i < count; i++) out[i] = (double)c->torch[i];
}

void pass_put(comparison_t *c, real_t *x, const double *in, view_t view) {
    size_t count = shape_count(view.shape);
    for (size_t i = 0; i < count; i++) c->torch[i] = (real_t)in[i];
    view_from_torch(x, c->torch, view);
}

/* What matching looks at is kept, in the order of places, and nothing else. */
static int read_places(comparison_t *c, size_t row, size_t first, size_t count, double *out,
                       err_t *err) {
    size_t place[MATCH_PLACES], kept = 0;
    double x[MATCH_PLACES];
    size_t places = match_places(shape_count(c->result->row[row].shape), place);
    if (spool_read(c->spool, c->meta[row].spooled, x, places, err)) return -1;
    for (size_t i = 0; i < places && kept < count; i++)
        if (place[i] == first + kept) out[kept++] = x[i];
    return kept == count ? 0 : err_set(err, "%s: not kept", c->result->row[row].name);
}

int pass_keep_places(comparison_t *c, size_t row) {
    size_t place[MATCH_PLACES], at;
    double x[MATCH_PLACES];
    size_t places = match_places(shape_count(c->result->row[row].shape), place);
    for (size_t i = 0; i < places; i++) x[i] = c->a[place[i]];
    if (spool_write(c->spool, x, places, &at, c->err)) return -1;
    c->meta[row].spooled = at;
    return 0;
}

/* Of a tap of that shape. */
static size_t row_of(const void *who, const char *name, shape_t shape) {
    const comparison_t *c = who;
    size_t at = pass_find_row(c, name);
    return at != SIZE_MAX && shape_equal(c->result->row[at].shape, shape) ? at : SIZE_MAX;
}

static int start_truth(comparison_t *c, err_t *err) {
    truth_of_t of = {c->run, c->golden, &c->pipeline, row_of, c};
    return truth_run_start(&c->truth, of, err);
}

int pass_truth(comparison_t *c, size_t row, size_t first, size_t count, double *out, err_t *err) {
    const row_meta_t *m = &c->meta[row];
    if (c->own) {
        if (!c->passing) return read_places(c, row, first, count, out, err);
        if (!c->truth && start_truth(c, err)) return -1;
        return truth_run_read(c->truth, row, first, count, out, err);
    }
    if (!m->in_case) return spool_read(c->spool, m->spooled + first, out, count, err);
    dtype_to_double(out, (const char *)m->tap->truth->data + first * sizeof(double), DTYPE_F64,
                    count);
    return 0;
}

void pass_begin(comparison_t *c) {
    c->passing = true;
}

void pass_end(comparison_t *c) {
    truth_run_end(c->truth);
    c->truth = NULL;
    c->passing = false;
}

/* The finaliser of MurmurHash3 over the three. */
double pass_sign(size_t row, size_t element, size_t draw) {
    uint64_t h = (uint64_t)row * 0x9E3779B97F4A7C15 ^ (uint64_t)element * 0xC2B2AE3D27D4EB4F ^
                 (uint64_t)draw * 0x165667B19E3779F9;
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD;
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53;
    return (h ^ h >> 33) & 1 ? 1 : -1;
}

double pass_rms(const double *a, const double *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return count ? sqrt(sum / (double)count) : 0;
}

double pass_most(const double *a, const double *b, size_t count) {
    double most = 0;
    for (size_t i = 0; i < count; i++) most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

/* ---- a pass -------------------------------------------------------------------------------------------- */

typedef struct {
    tap_sink_t sink;
    comparison_t *c;
    visit_t *visit;
    void *who;
    bool failed;
} visitor_t;

static void see(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    visitor_t *v = (visitor_t *)self;
    if (v->failed) return;
    size_t at = row_of(v->c, name, view.shape);
    make_room(v->c, shape_count(view.shape));
    v->failed = v->visit(v->c, v->who, at, name, x, view) != 0;
}

int pass_run(comparison_t *c, visit_t *visit, void *who, bool inputs) {
    visitor_t v = {{see, inputs}, c, visit, who, false};
    run_t run = *c->run;
    run.sink = &v.sink;
    run.form = MOLE_DIRECT;
    pass_begin(c);
    int status = golden_execute(&run, c->golden, &c->pipeline, c->err) || v.failed ? -1 : 0;
    pass_end(c);
    return status;
}
