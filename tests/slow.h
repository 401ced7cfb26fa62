/* slow.h - every operation once more, slowly: the oracle of tests/ops.
 *
 * Written from the equations of ref/ops/ops.h, in torch's own order of dimensions (images are
 * (B,C,H,W) row-major), one number of the output at a time, with sums in long double. Nothing is
 * shared with ref/ops, not even an idea where there was a choice: softmax does not subtract a
 * maximum, gelu goes through erfc, frequencies through pow.
 *
 * `magnitude`, where there is one, receives for each output the size of what was added up (sum
 * |a||b| and the like): rounding errors are proportional to it, not to a result that may have
 * cancelled. */
#ifndef MOLE_TESTS_SLOW_H
#define MOLE_TESTS_SLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* before (M,N) is what out held, or NULL. */
void slow_matmul(double *out, double *magnitude, const double *a, const double *b,
                 bool b_transposed, const double *before, size_t M, size_t N, size_t K);
void slow_linear(double *out, double *magnitude, const double *x, const double *weight,
                 const double *bias, size_t M, size_t K, size_t N);

typedef struct {
    size_t kernel_h, kernel_w, stride;
    size_t pad[4]; /* left, right, top, bottom */
} slow_conv2d_t;
void slow_conv2d(double *out, double *magnitude, const double *in, const double *weight,
                 const double *bias, size_t B, size_t Ci, size_t H, size_t W, size_t Co,
                 slow_conv2d_t g);

void slow_group_norm(double *out, double *magnitude, const double *x, const double *weight,
                     const double *bias, size_t B, size_t C, size_t P, size_t G, double eps);
void slow_layer_norm(double *out, double *magnitude, const double *x, const double *weight,
                     const double *bias, size_t M, size_t C, double eps);

double slow_sigmoid(double x);
double slow_silu(double x);
double slow_gelu(double x);
double slow_quick_gelu(double x);
void slow_geglu(double *out, const double *x, size_t M, size_t N);

void slow_softmax(double *out, const double *x, size_t M, size_t N);
/* magnitude: sum_s p |v| (1 + scale sum |q||k|), since an error of a score is a relative one of
 * its p. */
void slow_attention(double *out, double *magnitude, const double *q, const double *k,
                    const double *v, size_t B, size_t T, size_t S, size_t NH, size_t D,
                    double scale, bool causal);

/* f32: exponent, frequency, angle and result rounded to float32 at each step. */
void slow_timestep_embedding(double *out, double *magnitude, const double *t, size_t B, size_t dim,
                             bool flip, double shift, double max_period, bool f32);

/* rows[y] and columns[x] are the source's indices. */
void slow_upsample(double *out, const double *in, size_t B, size_t C, size_t H, size_t W, size_t Ho,
                   size_t Wo, const size_t *rows, const size_t *columns);

/* torch.cat((a, b), dim=1) of (B,Ca,P) and (B,Cb,P). */
void slow_concat(double *out, const double *a, const double *b, size_t B, size_t Ca, size_t Cb,
                 size_t P);

#endif
