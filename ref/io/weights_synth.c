/* weights_synth.c - see weights.h: weights without a file. The formula is in synth.c; here its numbers go
 * straight to where the model wants them. */
#include <stdlib.h>
#include <string.h>

#include "io/weights_internal.h"

int weights_open_synth(weights_t **weights, const char *path, const synth_spec_t *spec,
                       const char *component) {
    weights_t *w = xcalloc(1, sizeof *w);
    w->path = xstrdup(path);
    w->synth = xmalloc(sizeof *w->synth);
    *w->synth = *spec;
    w->component = xstrdup(component);
    *weights = w;
    return 0;
}

const synth_spec_t *weights_synth(const weights_t *weights) {
    return weights->synth;
}

void weights_note_made(weights_t *w, const char *name, shape_t shape) {
    if (w->made_count == w->made_room) {
        w->made_room = 2 * w->made_room + 64;
        w->made = xrealloc(w->made, w->made_room * sizeof *w->made);
    }
    w->made[w->made_count++] = (made_t){xstrdup(name), shape};
    w->parameters += shape_count(shape);
}

static void make_plain(real_t *out, const synth_tensor_t *tensor, size_t count) {
    enum { SHARE = 1 << 16 };
#pragma omp parallel for schedule(static) if (count > SHARE)
    for (size_t from = 0; from < count; from += SHARE)
        synth_numbers(out + from, tensor, from, count - from < SHARE ? count - from : SHARE);
}

/* (Co,Ci,taps) by the formula, stored (Co,taps,Ci). Returns 0, or -1 when memory is out. */
static int make_packed(real_t *out, const synth_tensor_t *tensor, size_t Co, size_t Ci,
                       size_t taps) {
    size_t filter = Ci * taps;
    int failed = 0;
#pragma omp parallel if (Co * filter > 65536)
    {
        real_t *row = malloc(filter * sizeof *row);
        if (!row) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(static)
        for (size_t o = 0; o < Co; o++) {
            if (!row) continue;
            synth_numbers(row, tensor, o * filter, filter);
            weights_pack_filter(out + o * filter, row, Ci, taps);
        }
        free(row);
    }
    return failed ? -1 : 0;
}

int weights_make(weights_t *w, const char *name, shape_t shape, bool conv, const real_t **out,
                 err_t *err) {
    for (size_t i = w->made_count; i > 0; i--)
        if (strcmp(w->made[i - 1].name, name) == 0)
            return err_set(err, "%s: tensor '%s' is bound twice", w->path, name);
    char *whole = xasprintf("%s.%s", w->component, name);
    synth_tensor_t tensor = synth_tensor(w->synth, whole, shape);
    free(whole);
    size_t count = shape_count(shape);
    real_t *numbers = weights_own(w, count);
    int failed = numbers ? 0 : -1;
    if (numbers && w->synth->names)
        numbers[0] = 0; /* the rest is never touched, and costs nothing */
    else if (numbers && conv)
        failed =
            make_packed(numbers, &tensor, shape.dim[0], shape.dim[1], shape.dim[2] * shape.dim[3]);
    else if (numbers)
        make_plain(numbers, &tensor, count);
    if (failed) {
        char text[SHAPE_TEXT];
        return err_set(err, "%s: tensor '%s' %s: out of memory", w->path, name,
                       shape_text(text, shape));
    }
    weights_note_made(w, name, shape);
    *out = numbers;
    return 0;
}
