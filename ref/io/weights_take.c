/* weights_take.c - see weights.h: checking, widening and packing the tensors that a model takes. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/weights_internal.h"

/* ---- owned memory ---------------------------------------------------------------------------- */

enum { BLOCK_BYTES = 16 << 20, ALIGNMENT = 64 };

/* `count` numbers, 64-byte aligned, that live until weights_close; NULL when memory is out: from the newest
 * block of many small tensors, or a block of its own. */
static real_t *own(weights_t *weights, size_t count) {
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
    const source_t *source = weights->source;
    char shown[SHOWN_TEXT], near_shown[SHOWN_TEXT], hint[SHOWN_TEXT + 64];
    char *saved = source->class->saved_name ? source->class->saved_name(source, name) : NULL;
    const char *near = weights_nearest(weights, text_shown(shown, saved ? saved : name));
    free(saved);
    if (near)
        snprintf(hint, sizeof hint, "the nearest name in the file is '%s'",
                 text_shown(near_shown, near));
    else
        snprintf(hint, sizeof hint,
                 "is this the right component, and does its config.json belong to it?");
    return err_set(err, "%s: tensor '%s' %s is missing; %s", weights_path(weights), shown, expected,
                   hint);
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

/* -1 and err: the number with that flat index is NaN or Inf. */
static int refuse_number(const weights_t *weights, size_t index, size_t bad, err_t *err) {
    const source_t *source = weights->source;
    source_tensor_t tensor = source->class->at(source, index);
    char shown[SHOWN_TEXT], text[SHAPE_TEXT];
    real_t number;
    source->class->numbers(source, index, bad, 1, &number);
    shape_t at = tensor.shape;
    for (int i = at.ndim - 1; i >= 0; i--) {
        at.dim[i] = bad % tensor.shape.dim[i];
        bad /= tensor.shape.dim[i];
    }
    return err_set(
        err,
        "%s: tensor '%s' holds %s at index %s: the file is damaged, or was saved by a run "
        "that overflowed",
        tensor.file, text_shown(shown, tensor.name), isnan(number) ? "NaN" : "Inf",
        shape_text(text, at));
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

/* The tensor of that name and shape, not yet taken, and its index; -1 and err. */
static int claim(const weights_t *weights, const char *name, shape_t expected, size_t *index,
                 source_tensor_t *tensor, err_t *err) {
    const source_t *source = weights->source;
    char shown[SHOWN_TEXT], want[SHAPE_TEXT], got[SHAPE_TEXT];
    shape_text(want, expected);
    *index = weights_find(weights, name, expected);
    if (*index == SOURCE_NONE) return refuse_missing(weights, name, want, err);
    *tensor = source->class->at(source, *index);
    text_shown(shown, tensor->name);
    if (!shape_equal(tensor->shape, expected) &&
        !(source->loose && same_but_ones(tensor->shape, expected)))
        return err_set(
            err,
            "%s: tensor '%s': expected shape %s, found %s; does config.json belong to this file?",
            tensor->file, shown, want, shape_text(got, tensor->shape));
    if (weights_is_taken(weights, *index))
        return err_set(err, "%s: tensor '%s' %s is bound twice", tensor->file, shown, want);
    return 0;
}

/* The same for numbers that a network computes with. */
static int claim_floating(const weights_t *weights, const char *name, shape_t expected,
                          size_t *index, source_tensor_t *tensor, err_t *err) {
    char shown[SHOWN_TEXT];
    if (claim(weights, name, expected, index, tensor, err)) return -1;
    if (is_floating(tensor->dtype)) return 0;
    return err_set(err, "%s: tensor '%s': expected dtype F32, F16, BF16 or F64, found %s",
                   tensor->file, text_shown(shown, tensor->name), dtype_name(tensor->dtype));
}

static int refuse_memory(const weights_t *weights, const source_tensor_t *tensor, err_t *err) {
    char shown[SHOWN_TEXT], shape[SHAPE_TEXT];
    return err_set(err, "%s: tensor '%s' %s: out of memory", weights_path(weights),
                   text_shown(shown, tensor->name), shape_text(shape, tensor->shape));
}

static void mark_taken(weights_t *weights, size_t index, const source_tensor_t *tensor) {
    if (index >= weights->taken_room) {
        size_t room = 2 * index + 64;
        weights->taken = xrealloc(weights->taken, room * sizeof *weights->taken);
        memset(weights->taken + weights->taken_room, 0, room - weights->taken_room);
        weights->taken_room = room;
    }
    weights->taken[index] = true;
    weights->parameters += shape_count(tensor->shape);
}

/* A copy was made: what was read of the file may go. */
static void forget(const weights_t *weights, size_t index) {
    const source_t *source = weights->source;
    if (source->class->forget) source->class->forget(source, index);
}

static void read_numbers(const source_t *source, size_t index, real_t *out, size_t count) {
    enum { SHARE = 1 << 16 };
#pragma omp parallel for schedule(static) if (count > SHARE)
    for (size_t from = 0; from < count; from += SHARE)
        source->class->numbers(source, index, from, count - from < SHARE ? count - from : SHARE,
                               out + from);
}

/* Numbers of its own; of names only one is written. */
static real_t *copy_numbers(weights_t *weights, size_t index, size_t count) {
    real_t *out = own(weights, count);
    if (out && weights->source->names_only)
        out[0] = 0;
    else if (out)
        read_numbers(weights->source, index, out, count);
    return out;
}

int weights_take(weights_t *weights, const char *name, shape_t expected, const real_t **out,
                 err_t *err) {
    size_t index;
    source_tensor_t tensor;
    if (claim_floating(weights, name, expected, &index, &tensor, err)) return -1;
    size_t count = shape_count(tensor.shape), bad = count;
    const real_t *x = tensor.data;
    bool in_place = x && tensor.dtype == dtype_real() && (uintptr_t)x % sizeof *x == 0;
    if (!in_place) x = copy_numbers(weights, index, count);
    if (!x) return refuse_memory(weights, &tensor, err);
    if (tensor.data || tensor.unchecked)
        bad = first_not_finite(x, count); /* a formula's are finite */
    if (bad < count) return refuse_number(weights, index, bad, err);
    if (!in_place) forget(weights, index);
    mark_taken(weights, index, &tensor);
    *out = x;
    return 0;
}

/* ---- as used ---------------------------------------------------------------------------------- */

static double machine_memory(void) {
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

void weights_set_widen(weights_t *weights, widen_t widen) {
    const source_t *source = weights->source;
    double bytes = 0;
    size_t count = source->class->count(source);
    for (size_t i = 0; i < count; i++) {
        source_tensor_t t = source->class->at(source, i);
        bytes += (double)shape_count(t.shape) * sizeof(real_t);
    }
    weights->late =
        widen == WIDEN_AS_USED || (widen == WIDEN_BY_SIZE && bytes > machine_memory() / 3);
    if (source->names_only) weights->late = false;
}

bool weights_late(const weights_t *weights) {
    return weights->late;
}

/* The first that is not finite of a tensor's numbers, or their count. */
static size_t find_bad_late(const source_t *source, size_t index, size_t count) {
    enum { CHUNK = 4096 };
    int found = 0;
#pragma omp parallel for schedule(static) if (count > 65536)
    for (size_t from = 0; from < count; from += CHUNK) {
        real_t x[CHUNK];
        size_t n = count - from < CHUNK ? count - from : CHUNK;
        source->class->numbers(source, index, from, n, x);
        if (first_not_finite(x, n) < n) {
#pragma omp atomic write
            found = 1;
        }
    }
    for (size_t from = 0; found && from < count; from += CHUNK) {
        real_t x[CHUNK];
        size_t n = count - from < CHUNK ? count - from : CHUNK, at;
        source->class->numbers(source, index, from, n, x);
        at = first_not_finite(x, n);
        if (at < n) return from + at;
    }
    return count;
}

int weights_take_late(weights_t *weights, const char *name, shape_t expected, const real_t **out,
                      late_t *late, err_t *err) {
    size_t index;
    source_tensor_t tensor;
    *late = (late_t){0};
    if (!weights->late) return weights_take(weights, name, expected, out, err);
    if (claim_floating(weights, name, expected, &index, &tensor, err)) return -1;
    if (tensor.data && tensor.dtype == dtype_real())
        return weights_take(weights, name, expected, out, err);
    size_t count = shape_count(tensor.shape), bad = count;
    if (tensor.data || tensor.unchecked) bad = find_bad_late(weights->source, index, count);
    if (bad < count) return refuse_number(weights, index, bad, err);
    forget(weights, index);
    mark_taken(weights, index, &tensor);
    *out = NULL;
    *late = (late_t){weights, index};
    return 0;
}

void late_numbers(real_t *out, const late_t *late, size_t count) {
    read_numbers(late->weights->source, late->index, out, count);
    forget(late->weights, late->index);
}

/* out (kh*kw, Ci) of one filter = its x (Ci, kh*kw), transposed */
static void pack_filter(real_t *out, const real_t *x, size_t Ci, size_t taps) {
    for (size_t t = 0; t < taps; t++)
        for (size_t c = 0; c < Ci; c++) out[t * Ci + c] = x[c * taps + t];
}

/* The first filter's first number that is not finite; row has room for a filter. */
static size_t find_bad(const source_t *source, size_t index, real_t *row, size_t Co,
                       size_t filter) {
    for (size_t o = 0; o < Co; o++) {
        source->class->numbers(source, index, o * filter, filter, row);
        size_t at = first_not_finite(row, filter);
        if (at < filter) return o * filter + at;
    }
    return Co * filter;
}

/* out (Co,taps,Ci) = the tensor's numbers (Co,Ci,taps). Returns 0, or -1 when memory is out; *bad is the
 * first that is not finite, or their count. No OpenMP reduction: clang keeps a lock for one, whose name the
 * library would show. */
static int pack_conv(const source_t *source, size_t index, real_t *out, size_t Co, size_t Ci,
                     size_t taps, size_t *bad) {
    size_t filter = Ci * taps;
    int failed = 0, found = 0;
#pragma omp parallel if (Co * filter > 65536)
    {
        real_t *row = malloc(filter * sizeof *row);
#pragma omp for schedule(static)
        for (size_t o = 0; o < Co; o++) {
            int *flag = !row ? &failed : NULL;
            if (row) {
                source->class->numbers(source, index, o * filter, filter, row);
                if (first_not_finite(row, filter) < filter) flag = &found;
                pack_filter(out + o * filter, row, Ci, taps);
            }
            if (flag) {
#pragma omp atomic write
                *flag = 1;
            }
        }
        free(row);
    }
    *bad = Co * filter;
    if (failed) return -1;
    real_t *row = found ? malloc(filter * sizeof *row) : NULL;
    if (row) *bad = find_bad(source, index, row, Co, filter);
    free(row);
    return found && !row ? -1 : 0;
}

int weights_take_conv(weights_t *weights, const char *name, shape_t expected, const real_t **out,
                      err_t *err) {
    REQUIRE(expected.ndim == 4, "weights_take_conv: '%s' expects %d dimensions, not 4", name,
            expected.ndim);
    size_t Co = expected.dim[0], Ci = expected.dim[1], taps = expected.dim[2] * expected.dim[3];
    size_t index, count = Co * Ci * taps, bad = count;
    source_tensor_t tensor;
    if (taps == 1 || Ci == 1 || weights->source->names_only)
        return weights_take(weights, name, expected, out, err);
    if (claim_floating(weights, name, expected, &index, &tensor, err)) return -1;
    real_t *packed = own(weights, count);
    if (!packed || pack_conv(weights->source, index, packed, Co, Ci, taps, &bad))
        return refuse_memory(weights, &tensor, err);
    if (bad < count) return refuse_number(weights, index, bad, err);
    forget(weights, index);
    mark_taken(weights, index, &tensor);
    *out = packed;
    return 0;
}

int weights_take_scalar(weights_t *weights, const char *name, double *value, err_t *err) {
    size_t index;
    shape_t shape;
    source_tensor_t tensor;
    if (!weights_shape(weights, name, &shape)) shape = SHAPE0();
    bool one = shape.ndim == 1 && shape.dim[0] == 1;
    if (claim(weights, name, one ? shape : SHAPE0(), &index, &tensor, err)) return -1;
    double number;
    real_t computed;
    if (tensor.data) {
        dtype_to_double(&number, tensor.data, tensor.dtype, 1);
    } else {
        weights->source->class->numbers(weights->source, index, 0, 1, &computed);
        number = (double)computed;
    }
    if (!isfinite(number)) {
        char shown[SHOWN_TEXT];
        return err_set(err, "%s: tensor '%s' holds %s", tensor.file, text_shown(shown, tensor.name),
                       isnan(number) ? "NaN" : "Inf");
    }
    mark_taken(weights, index, &tensor);
    *value = number;
    return 0;
}
