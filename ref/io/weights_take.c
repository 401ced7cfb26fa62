/* weights_take.c - see weights.h: checking, widening and packing the tensors that a model takes. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/ldm_names.h"
#include "io/weights_internal.h"

/* ---- owned memory ---------------------------------------------------------------------------- */

enum { BLOCK_BYTES = 16 << 20, ALIGNMENT = 64 };

/* From the newest block of many small tensors, or a block of its own. */
real_t *weights_own(weights_t *weights, size_t count) {
    size_t bytes;
    if (__builtin_mul_overflow(count, sizeof(real_t), &bytes) || bytes > SIZE_MAX - ALIGNMENT)
        return NULL;
    bytes = (bytes + (bytes == 0) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    bool alone = bytes > BLOCK_BYTES / 8;
    char *at = weights->block_next;
    if (alone || bytes > weights->block_left) {
        size_t size = alone ? bytes : BLOCK_BYTES;
        char *block = aligned_alloc(ALIGNMENT, size);
        if (!block) return NULL;
        size_t n = weights->block_count++;
        weights->blocks = xrealloc(weights->blocks, (n + 1) * sizeof *weights->blocks);
        weights->blocks[n] = block;
        at = block;
        if (!alone) weights->block_left = size;
    }
    if (!alone) {
        weights->block_next = at + bytes;
        weights->block_left -= bytes;
    }
    weights->owned += bytes;
    return (real_t *)(void *)at;
}

/* ---- checks ---------------------------------------------------------------------------------- */

static int refuse_missing(const weights_t *weights, const char *name, const char *expected,
                          err_t *err) {
    const char *near = weights_nearest(weights, name);
    char shown[SHOWN_TEXT], hint[SHOWN_TEXT + 64];
    if (near)
        snprintf(hint, sizeof hint, "the nearest name in the file is '%s'",
                 text_shown(shown, near));
    else
        snprintf(hint, sizeof hint,
                 "is this the right component, and does its config.json belong to it?");
    return err_set(err, "%s: tensor '%s' %s is missing; %s", weights->path, name, expected, hint);
}

#ifdef MOLE_F64
typedef uint64_t bits_t;
static const bits_t exponent_bits = 0x7ff0000000000000u;
#else
typedef uint32_t bits_t;
static const bits_t exponent_bits = 0x7f800000u;
#endif

/* The index of the first NaN or Inf, or `count`. Both have all exponent bits set, and nothing else
 * has; a chunk is searched only when one of its numbers does, so that the usual case is a plain
 * sweep. */
static size_t first_not_finite(const real_t *x, size_t count) {
    enum { CHUNK = 4096 };
    for (size_t start = 0; start < count; start += CHUNK) {
        size_t end = count - start < CHUNK ? count : start + CHUNK;
        bits_t any = 0;
        for (size_t i = start; i < end; i++) {
            bits_t bits;
            memcpy(&bits, &x[i], sizeof bits);
            any |= (bits & exponent_bits) == exponent_bits;
        }
        for (size_t i = start; any && i < end; i++)
            if (!isfinite(x[i])) return i;
    }
    return count;
}

/* x: `count` numbers of the tensor, from its flat index `offset` on. */
static int check_finite(const weights_t *weights, const weight_place_t *place, const real_t *x,
                        size_t offset, size_t count, err_t *err) {
    size_t bad = first_not_finite(x, count), rest = offset + bad;
    if (bad == count) return 0;
    const st_file_t *file = weights->files[place->file];
    const st_tensor_t *tensor = st_at(file, place->index);
    char shown[SHOWN_TEXT], index[SHAPE_TEXT];
    shape_t at = tensor->shape;
    for (int i = at.ndim - 1; i >= 0; i--) {
        at.dim[i] = rest % tensor->shape.dim[i];
        rest /= tensor->shape.dim[i];
    }
    return err_set(
        err,
        "%s: tensor '%s' holds %s at index %s: the file is damaged, or was saved by a run "
        "that overflowed",
        st_path(file), text_shown(shown, tensor->name), isnan(x[bad]) ? "NaN" : "Inf",
        shape_text(index, at));
}

/* ---- taking ---------------------------------------------------------------------------------- */

static bool is_floating(dtype_t dtype) {
    return dtype == DTYPE_F64 || dtype == DTYPE_F32 || dtype == DTYPE_F16 || dtype == DTYPE_BF16;
}

/* (Co,Ci) and (Co,Ci,1,1): the same numbers. */
static bool same_but_ones(shape_t a, shape_t b) {
    shape_t *longer = a.ndim > b.ndim ? &a : &b;
    if (longer->ndim == 4 && longer->dim[2] == 1 && longer->dim[3] == 1) longer->ndim = 2;
    return shape_equal(a, b);
}

/* The tensor of that name and shape, not yet taken; or NULL and err. */
static const st_tensor_t *claim(weights_t *weights, const char *name, shape_t expected,
                                weight_place_t *place, err_t *err) {
    char shown[SHOWN_TEXT], want[SHAPE_TEXT], got[SHAPE_TEXT];
    shape_text(want, expected);
    const st_tensor_t *tensor = weights_find(weights, name, place);
    if (!tensor) {
        char *saved = weights->ldm ? ldm_name(&ldm_layout_v1, weights->component, name) : NULL;
        refuse_missing(weights, text_shown(shown, saved ? saved : name), want, err);
        free(saved);
        return NULL;
    }
    const char *path = st_path(weights->files[place->file]);
    text_shown(shown, tensor->name);
    if (!shape_equal(tensor->shape, expected) &&
        !(weights->ldm && same_but_ones(tensor->shape, expected))) {
        err_set(
            err,
            "%s: tensor '%s': expected shape %s, found %s; does config.json belong to this file?",
            path, shown, want, shape_text(got, tensor->shape));
        return NULL;
    }
    if (weights->taken[place->file][place->index]) {
        err_set(err, "%s: tensor '%s' %s is bound twice", path, shown, want);
        return NULL;
    }
    return tensor;
}

static int refuse_dtype(const weights_t *weights, const weight_place_t *place, err_t *err) {
    const st_file_t *file = weights->files[place->file];
    const st_tensor_t *tensor = st_at(file, place->index);
    char shown[SHOWN_TEXT];
    return err_set(err, "%s: tensor '%s': expected dtype F32, F16, BF16 or F64, found %s",
                   st_path(file), text_shown(shown, tensor->name), dtype_name(tensor->dtype));
}

static int refuse_memory(const weights_t *weights, const st_tensor_t *tensor, err_t *err) {
    char shown[SHOWN_TEXT], shape[SHAPE_TEXT];
    return err_set(err, "%s: tensor '%s' %s: out of memory", weights->path,
                   text_shown(shown, tensor->name), shape_text(shape, tensor->shape));
}

static void mark_taken(weights_t *weights, const weight_place_t *place) {
    weights->taken[place->file][place->index] = true;
    weights->parameters += shape_count(st_at(weights->files[place->file], place->index)->shape);
}

int weights_take(weights_t *weights, const char *name, shape_t expected, const real_t **out,
                 err_t *err) {
    weight_place_t place;
    if (weights->synth) return weights_make(weights, name, expected, false, out, err);
    const st_tensor_t *tensor = claim(weights, name, expected, &place, err);
    if (!tensor) return -1;
    if (!is_floating(tensor->dtype)) return refuse_dtype(weights, &place, err);
    const real_t *x = tensor->data;
    if (tensor->dtype != dtype_real() || (uintptr_t)x % sizeof *x != 0) {
        size_t count = shape_count(tensor->shape);
        real_t *wide = weights_own(weights, count);
        if (!wide) return refuse_memory(weights, tensor, err);
        dtype_to_real(wide, tensor->data, tensor->dtype, count);
        x = wide;
    }
    if (check_finite(weights, &place, x, 0, shape_count(tensor->shape), err) != 0) return -1;
    if (x != tensor->data) st_forget_tensor(weights->files[place.file], tensor);
    mark_taken(weights, &place);
    *out = x;
    return 0;
}

void weights_pack_filter(real_t *out, const real_t *x, size_t Ci, size_t taps) {
    for (size_t t = 0; t < taps; t++)
        for (size_t c = 0; c < Ci; c++) out[t * Ci + c] = x[c * taps + t];
}

int weights_take_conv(weights_t *weights, const char *name, shape_t expected, const real_t **out,
                      err_t *err) {
    REQUIRE(expected.ndim == 4, "weights_take_conv: '%s' expects %d dimensions, not 4", name,
            expected.ndim);
    size_t Co = expected.dim[0], Ci = expected.dim[1], taps = expected.dim[2] * expected.dim[3];
    if (taps == 1 || Ci == 1) return weights_take(weights, name, expected, out, err);
    if (weights->synth) return weights_make(weights, name, expected, true, out, err);
    weight_place_t place;
    const st_tensor_t *tensor = claim(weights, name, expected, &place, err);
    if (!tensor) return -1;
    if (!is_floating(tensor->dtype)) return refuse_dtype(weights, &place, err);

    size_t filter = Ci * taps, stored = filter * dtype_size(tensor->dtype);
    real_t *packed = weights_own(weights, Co * filter), *row = malloc(filter * sizeof *row);
    int status = packed && row ? 0 : refuse_memory(weights, tensor, err);
    for (size_t o = 0; !status && o < Co; o++) {
        dtype_to_real(row, (const char *)tensor->data + o * stored, tensor->dtype, filter);
        status = check_finite(weights, &place, row, o * filter, filter, err);
        if (!status) weights_pack_filter(packed + o * filter, row, Ci, taps);
    }
    free(row);
    if (status) return -1;
    st_forget_tensor(weights->files[place.file], tensor);
    mark_taken(weights, &place);
    *out = packed;
    return 0;
}

int weights_take_scalar(weights_t *weights, const char *name, double *value, err_t *err) {
    weight_place_t place;
    shape_t shape;
    if (weights->synth) { /* the one scalar there is: an expert's alpha */
        weights_note_made(weights, name, SHAPE0());
        *value = weights->synth->alpha;
        return 0;
    }
    if (!weights_shape(weights, name, &shape)) shape = SHAPE0();
    bool one = shape.ndim == 1 && shape.dim[0] == 1;
    const st_tensor_t *tensor = claim(weights, name, one ? shape : SHAPE0(), &place, err);
    if (!tensor) return -1;
    double number;
    dtype_to_double(&number, tensor->data, tensor->dtype, 1);
    if (!isfinite(number)) {
        char shown[SHOWN_TEXT];
        return err_set(err, "%s: tensor '%s' holds %s", st_path(weights->files[place.file]),
                       text_shown(shown, tensor->name), isnan(number) ? "NaN" : "Inf");
    }
    mark_taken(weights, &place);
    *value = number;
    return 0;
}
