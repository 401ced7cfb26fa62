/* compare_made.h - candidates for `mole compare`: the truth of golden/runs/vae-decode with one thing changed,
 * and the program's word on them. */
#ifndef MOLE_TESTS_VERIFY_COMPARE_MADE_H
#define MOLE_TESTS_VERIFY_COMPARE_MADE_H

#include "../fixture.h"
#include "../scratch.h"
#include "golden/golden.h"
#include "io/safetensors.h"
#include "mole_says.h"

#define CASE "golden/runs/vae-decode"
/* A tap in the middle: (1,32,3,4). */
#define TAP "vae.decoder.mid_block.resnets.0.conv1"

extern golden_case_t golden;
extern char candidate[300], reference[300], peer[300]; /* paths in the scratch folder */

/* Set-up and tear-down of a group. */
int open_case(void **state);
int close_case(void **state);

/* What may be done to one tap before it is written. x has room for twice its numbers. */
typedef void edit_t(double *x, shape_t *shape);
edit_t one_nan, one_inf, minus_inf, spike, tiny_spike, gain, zeros, ones, flat, fewer, more,
    nothing, nhwc, to_f16_like, to_bf16_like, minus_zero, denormal, twice_denormal, between,
    beyond_doubt, by_a_tenth;

typedef struct {
    edit_t *edit;       /* on one tap only */
    const char *tap;    /* which: NULL is TAP */
    dtype_t dtype;      /* how all taps are stored: DTYPE_F64 or DTYPE_F32 */
    bool drop;          /* it is left out */
    const char *rename; /* it stands under this name */
    const char *extra;  /* a further tap of that name */
    size_t only;        /* > 0: so many taps, then no more */
} made_t;

void put(st_writer_t *w, const char *name, dtype_t dtype, shape_t shape, const double *x);
void make(const char *path, made_t made);

/* mole compare OPTIONS first candidate: its exit code. */
int compare(const char *first, const char *options);
/* Fails unless it is `code`, and `text`, unless NULL, in the output. */
void expect(int code, const char *text, const char *first, const char *options);

#endif
