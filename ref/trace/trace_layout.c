/* trace_layout.c - see trace_layout.h. */
#include "trace/trace_layout.h"

#include <stdlib.h>
#include <string.h>

static size_t lesser(size_t a, size_t b) {
    return a < b ? a : b;
}

/* step[axis]: how far apart neighbours along it are, row-major. */
static void row_major(size_t step[SHAPE_DIMS], shape_t shape) {
    size_t count = 1;
    for (int i = shape.ndim - 1; i >= 0; i--) {
        step[i] = count;
        count *= shape.dim[i];
    }
}

void trace_layout_order(trace_layout_t *l, const int *order, const bool *repeat) {
    size_t count = 1;
    for (int i = l->view.ndim - 1; i >= 0; i--) {
        bool once = repeat && repeat[order[i]];
        l->stride[order[i]] = once ? 0 : count;
        if (!once) count *= l->view.dim[order[i]];
    }
}

size_t trace_layout_place(const trace_layout_t *l, size_t flat) {
    size_t place = 0;
    for (int i = l->view.ndim - 1; i >= 0; i--) {
        place += flat % l->view.dim[i] * l->stride[i];
        flat /= l->view.dim[i];
    }
    return place;
}

size_t trace_layout_stored(const trace_layout_t *l) {
    size_t count = 1;
    for (int i = 0; i < l->view.ndim; i++)
        if (l->stride[i]) count *= l->view.dim[i];
    return count;
}

bool trace_layout_is_plain(const trace_layout_t *l) {
    size_t step[SHAPE_DIMS];
    row_major(step, l->view);
    for (int i = 0; i < l->view.ndim; i++)
        if (l->view.dim[i] > 1 && l->stride[i] != step[i]) return false;
    return true;
}

/* ---- scattering ---------------------------------------------------------------------------------------- */

enum { CHUNK = 1 << 16 };

/* The axes that are stored, the fastest first, with what a step along each means as it is read; and those
 * that are not. */
typedef struct {
    int axes, repeats;
    size_t dim[SHAPE_DIMS], step[SHAPE_DIMS], at[SHAPE_DIMS];
    size_t times[SHAPE_DIMS], times_step[SHAPE_DIMS];
} walk_t;

static walk_t walk_of(const trace_layout_t *l) {
    walk_t w = {0};
    size_t step[SHAPE_DIMS];
    row_major(step, l->view);
    for (size_t stride = 1, more = 1; more;) {
        more = 0;
        for (int i = 0; i < l->view.ndim; i++) {
            if (l->view.dim[i] < 2 || l->stride[i] != stride) continue;
            w.dim[w.axes] = l->view.dim[i];
            w.step[w.axes++] = step[i];
            stride *= l->view.dim[i];
            more = 1;
            break;
        }
    }
    for (int i = 0; i < l->view.ndim; i++)
        if (l->view.dim[i] > 1 && l->stride[i] == 0) {
            w.times[w.repeats] = l->view.dim[i];
            w.times_step[w.repeats++] = step[i];
        }
    return w;
}

/* The place, as it is read, of the stored number `at`. */
static size_t start_walk(walk_t *w, size_t at) {
    size_t place = 0;
    for (int i = 0; i < w->axes; i++) {
        w->at[i] = at % w->dim[i];
        place += w->at[i] * w->step[i];
        at /= w->dim[i];
    }
    return place;
}

/* On by `run` along the fastest axis, which ends there or before its end. */
static size_t walk_on(walk_t *w, size_t place, size_t run) {
    place += run * w->step[0];
    w->at[0] += run;
    for (int i = 0; i + 1 < w->axes && w->at[i] == w->dim[i]; i++) {
        place -= w->dim[i] * w->step[i];
        w->at[i] = 0;
        w->at[i + 1]++;
        place += w->step[i + 1];
    }
    return place;
}

/* x[0 .. run), whose places begin at `place`, `step` apart, go to the band where they are in it. */
static void scatter(trace_band_t *band, const double *x, size_t run, size_t place, size_t step) {
    size_t at = place - band->first; /* beyond the band when it lies before it */
    for (size_t k = 0; k < run; k++, at += step)
        if (at < band->count) band->x[at] = x[k];
}

/* The same for every repetition. */
static void scatter_all(trace_band_t *band, const walk_t *w, const double *x, size_t run,
                        size_t place, int repeat) {
    size_t step = w->axes ? w->step[0] : 1;
    if (repeat == w->repeats) {
        scatter(band, x, run, place, step);
        return;
    }
    for (size_t i = 0; i < w->times[repeat]; i++)
        scatter_all(band, w, x, run, place + i * w->times_step[repeat], repeat + 1);
}

/* The stored numbers from *low on, before *high, hold the band: axes before the first along which its ends
 * differ are at one place. */
static void stored_range(const trace_layout_t *l, const trace_band_t *band, size_t *low,
                         size_t *high) {
    size_t step[SHAPE_DIMS], first = band->first, last = band->first + band->count - 1;
    row_major(step, l->view);
    *low = *high = 0;
    bool apart = false;
    for (int i = 0; i < l->view.ndim; i++) {
        size_t from = first / step[i] % l->view.dim[i], to = last / step[i] % l->view.dim[i];
        *low += (apart ? 0 : from) * l->stride[i];
        *high += (apart ? l->view.dim[i] - 1 : to) * l->stride[i];
        apart |= from != to;
    }
    ++*high;
}

static int fill(const trace_layout_t *l, trace_band_t *band, trace_stored_t *read, void *who,
                err_t *err) {
    size_t low, high;
    walk_t w = walk_of(l);
    double *x = xmalloc(CHUNK * sizeof *x);
    stored_range(l, band, &low, &high);
    size_t place = start_walk(&w, low);
    int status = 0;
    for (size_t at = low; !status && at < high; at += CHUNK) {
        size_t n = lesser(high - at, CHUNK);
        status = read(who, band->entry, at, n, x, err);
        for (size_t done = 0, run; !status && done < n; done += run) {
            run = w.axes ? lesser(n - done, w.dim[0] - w.at[0]) : 1;
            scatter_all(band, &w, x + done, run, place, 0);
            if (w.axes) place = walk_on(&w, place, run);
        }
    }
    free(x);
    return status;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

/* Makes the band hold number `first`. */
static int move_band(const trace_layout_t *l, trace_band_t *band, size_t entry, size_t first,
                     trace_stored_t *read, void *who, err_t *err) {
    size_t start = first / TRACE_BAND * TRACE_BAND, count = shape_count(l->shape) - start;
    if (band->count && band->entry == entry && band->first == start) return 0;
    *band = (trace_band_t){band->x, band->room, entry, start, lesser(count, TRACE_BAND)};
    if (band->count > band->room) {
        free(band->x);
        band->x = malloc(band->count * sizeof *band->x);
        band->room = band->x ? band->count : 0;
        if (!band->x) {
            size_t bytes = band->count * sizeof *band->x;
            *band = (trace_band_t){0};
            return err_set(err, "out of memory for %zu bytes of a tensor in another order", bytes);
        }
    }
    int status = fill(l, band, read, who, err);
    if (status) band->count = 0;
    return status;
}

int trace_layout_read(const trace_layout_t *l, trace_band_t *band, size_t entry,
                      trace_stored_t *read, void *who, size_t first, size_t count, double *out,
                      err_t *err) {
    if (trace_layout_is_plain(l)) return read(who, entry, first, count, out, err);
    for (size_t done = 0, n; done < count; done += n) {
        size_t at = first + done;
        if (move_band(l, band, entry, at, read, who, err)) return -1;
        n = lesser(count - done, band->first + band->count - at);
        memcpy(out + done, band->x + (at - band->first), n * sizeof *out);
    }
    return 0;
}
