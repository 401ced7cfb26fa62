/* causes_hunt.h - what the hypotheses of causes_*.c share: the culprit, scratch memory, other taps,
 * and the one judge that accepts a prediction. Nobody outside includes it. */
#ifndef MOLE_CAUSES_CAUSES_HUNT_H
#define MOLE_CAUSES_CAUSES_HUNT_H

#include "causes/culprit.h"
#include "mole/run.h"

/* What a sentence claims.
 *   FOUND_WAY      the layer is computed in a certain wrong way. Another way of the same family may
 *                  give the same numbers: then the sentence names both.
 *   FOUND_NUMBERS  how the candidate's numbers follow from the expected ones, or where they differ.
 *                  Such a sentence is true of the numbers, whatever the reason. */
typedef enum { FOUND_NOTHING, FOUND_WAY, FOUND_NUMBERS } found_t;

typedef struct {
    char kind[32], text[CAUSE_TEXT];
    double remaining; /* rms */
    bool accepted;
    found_t what;
} finding_t;

enum { RIVALS = 3 };

typedef struct {
    const run_t *run;
    const culprit_t *c;
    const char *name;  /* the tap's, without "step.000/" */
    char module[512];  /* the layer's: without ".mole...." and ".in" too */
    const char *part;  /* "", ".mole.base", ".mole.face.expert" ... or ".in" */
    double difference; /* rms(candidate - expected) */
    double scale;      /* rms(expected) */
    double tolerance;  /* rms that counts as nothing: CAUSE_ROUNDINGS roundings */
    size_t block;      /* neighbouring numbers that share one error: 1, or a group of a norm */
    finding_t best;    /* the accepted one, or the best that explains a part */
    char rival[RIVALS][CAUSE_TEXT]; /* accepted ones of the same family that fit as well */
    size_t rivals;
    size_t runs; /* of the reference, that hypotheses asked for */
    void **kept;
    size_t kept_count;
} hunt_t;

/* Count numbers that live until the hypothesis returns. */
double *hunt_doubles(hunt_t *h, size_t count);
real_t *hunt_reals(hunt_t *h, const double *x, size_t count); /* x NULL: not filled */

/* ---- the judge (causes_judge.c) --------------------------------------------------------------- */

/* Does `guess` (culprit's count), the layer computed in another way, predict the candidate? Among
 * several accepted ones of one hypothesis the first stays unless a later one leaves less than a
 * quarter; one that fits as well becomes its rival. */
bool hunt_try(hunt_t *h, const double *guess, const char *kind, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* guess = expected + weight * delta. */
bool hunt_try_delta(hunt_t *h, const double *delta, double weight, const char *kind,
                    const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same for a guess of which `parameters` numbers were fitted to the candidate. */
bool hunt_try_fitted(hunt_t *h, const double *guess, size_t parameters, const char *kind,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same for the best of so many tries. */
bool hunt_try_chosen(hunt_t *h, const double *guess, double tries, const char *kind,
                     const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The candidate is `guess`, a rearrangement of known numbers: no rivals. */
bool hunt_is(hunt_t *h, const double *guess, const char *kind, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The candidate is the expected tensor with `parameters` fitted gains or offsets: no rivals, and only
 * for a difference that no order of summation makes. */
bool hunt_fits(hunt_t *h, const double *guess, size_t parameters, const char *kind,
               const char *format, ...) __attribute__((format(printf, 5, 6)));
/* What the caller has proven of the numbers. */
void hunt_say(hunt_t *h, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The rms of one rounding error in numbers whose rms is `rms`. */
double hunt_rounding(const hunt_t *h, double rms);
/* Whether two tensors are equal within the tolerance. */
bool hunt_same(const hunt_t *h, const double *a, const double *b, size_t count);
/* Whether n numbers that are off by `wrong` come as near as `rest` to one of `tries` predictions by
 * chance less than once in 10^5. */
bool hunt_beyond_chance(double rest, double wrong, double n, double tries);

/* A number that was fitted, in 6 digits, or in so many more that its distance from `other` shows; a
 * distance that is rounding is none. */
enum { HUNT_NUMBER = 32 };
const char *hunt_number(const hunt_t *h, char text[HUNT_NUMBER], double x, double other);

/* ---- names and other taps --------------------------------------------------------------------- */

/* The candidate's tap of this name, the culprit's step in front; NULL when it has none. */
double *hunt_tap(hunt_t *h, const char *name, shape_t *shape);
/* The tap of a neighbour: `from`, which the layer's name ends with, replaced by `to`. */
double *hunt_neighbour(hunt_t *h, const char *from, const char *to, shape_t *shape);
/* What the reference has at the culprit, on the candidate's other taps, when `change` alters what comes by as
 * `name`, the culprit's step in front. NULL: it cannot be had, or runs enough were made. */
double *hunt_again(hunt_t *h, const char *name, void (*change)(void *, double *, shape_t),
                   void *who);
/* The layer's name ends like this, and the culprit is its output: whole, base, or input. */
bool hunt_layer_is(const hunt_t *h, const char *tail);

/* ---- computing -------------------------------------------------------------------------------- */

/* The slices of a tensor along an axis: number i belongs to slice i / inner % size. */
typedef struct {
    size_t outer, size, inner;
} axis_t;
axis_t hunt_axis(const shape_t *s, int axis);

/* (B,C,P) <-> (B,P,C), each of B*C*P numbers. */
void hunt_swap_axes(double *out, const double *x, size_t B, size_t C, size_t P);

/* out = the culprit's layer on another input of shape c->input_shape: with experts when the culprit
 * is the whole layer, the linear map alone for ".mole.base". NULL when the part is another one. */
double *hunt_apply(hunt_t *h, const double *x);
/* out (M,N) = x (M,K) weight^T + bias, through ops. */
double *hunt_linear(hunt_t *h, const double *x, const real_t *weight, const real_t *bias, size_t M,
                    size_t K, size_t N);

/* Least squares: y ~ p a + q b; false when the two directions are (nearly) one. */
bool hunt_fit2(const double *y, const double *a, const double *b, size_t n, double *p, double *q);

/* x rounded to `bits` significant bits, ties to even; below 2^lowest the spacing stays. */
double cause_round(double x, int bits, int lowest);

/* Sinusoids of a timestep, `dim` numbers, over and over. flip: cosines first. */
typedef struct {
    double t, shift, period;
    bool flip;
} time_way_t;
void hunt_embed_time(double *out, size_t count, size_t dim, time_way_t way);
/* The whole number, of XL's for sizes and corner, whose sinusoid (dim) is; -1: none's. scratch (dim). */
int hunt_number_of(const double *sinusoid, size_t dim, bool flip, double *scratch);

/* Activations that are taken for one another. */
typedef struct {
    double (*function)(double);
    const char *name;
} cause_act_t;
enum { CAUSE_SILU = 1, CAUSE_ACTS = 7 };
extern const cause_act_t cause_acts[CAUSE_ACTS];

/* ---- the hypotheses, one function per family ------------------------------------------------- */

typedef void hypothesis_t(hunt_t *h);
hypothesis_t cause_constant, cause_identity, cause_swapped_taps; /* causes_numbers.c */
hypothesis_t cause_stored_precision;
hypothesis_t cause_named_gain, cause_fitted, cause_input_gain; /* causes_gain.c */
hypothesis_t cause_permuted, cause_heads_layout, cause_swapped_halves,
    cause_reversed; /* causes_axes.c */
hypothesis_t cause_input_layout, cause_shifted;
hypothesis_t cause_border, cause_localised; /* causes_place.c */
hypothesis_t cause_norm, cause_norm_input;  /* causes_norm.c */
hypothesis_t cause_one_pass, cause_sums;    /* causes_sums.c */
hypothesis_t cause_linear, cause_conv, cause_input_activation,
    cause_low_precision;                                             /* causes_linear.c */
hypothesis_t cause_mole;                                             /* causes_mole.c */
hypothesis_t cause_activation, cause_time_proj, cause_added_numbers; /* causes_activation.c */
hypothesis_t cause_attention;                                        /* causes_attention.c */
hypothesis_t cause_upsample, cause_skip, cause_residual;             /* causes_image.c */
hypothesis_t cause_guidance, cause_step, cause_image;                /* causes_sampler.c */
hypothesis_t cause_noise, cause_embeddings, cause_prompt;            /* causes_text.c */
hypothesis_t cause_encoders;
hypothesis_t cause_timestep, cause_latents_scale, cause_bare_latents, cause_added_sizes,
    cause_tokens;           /* causes_rerun.c */
hypothesis_t cause_weights; /* causes_weights.c */
hypothesis_t cause_copied, cause_other_input, cause_pooled, cause_added_input; /* causes_input.c */

#endif
