/* slow.c - see slow.h. */
#include "slow.h"

#include <math.h>

typedef long double wide_t;

void slow_matmul(double *out, double *magnitude, const double *a, const double *b,
                 bool b_transposed, const double *before, size_t M, size_t N, size_t K) {
    for (size_t m = 0; m < M; m++) {
        for (size_t n = 0; n < N; n++) {
            wide_t sum = before ? before[m * N + n] : 0, size = fabsl(sum);
            for (size_t k = 0; k < K; k++) {
                wide_t term = (wide_t)a[m * K + k] * (b_transposed ? b[n * K + k] : b[k * N + n]);
                sum += term;
                size += fabsl(term);
            }
            out[m * N + n] = (double)sum;
            magnitude[m * N + n] = (double)size;
        }
    }
}

void slow_linear(double *out, double *magnitude, const double *x, const double *weight,
                 const double *bias, size_t M, size_t K, size_t N) {
    for (size_t m = 0; m < M; m++) {
        for (size_t n = 0; n < N; n++) {
            wide_t sum = bias ? bias[n] : 0, size = fabsl(sum);
            for (size_t k = 0; k < K; k++) {
                wide_t term = (wide_t)x[m * K + k] * weight[n * K + k];
                sum += term;
                size += fabsl(term);
            }
            out[m * N + n] = (double)sum;
            magnitude[m * N + n] = (double)size;
        }
    }
}

/* The padded image's number at (row, column), counted from its own top left corner. */
static wide_t padded(const double *plane, size_t H, size_t W, const size_t pad[4], size_t row,
                     size_t column) {
    if (row < pad[2] || row >= pad[2] + H || column < pad[0] || column >= pad[0] + W) return 0;
    return plane[(row - pad[2]) * W + (column - pad[0])];
}

void slow_conv2d(double *out, double *magnitude, const double *in, const double *weight,
                 const double *bias, size_t B, size_t Ci, size_t H, size_t W, size_t Co,
                 slow_conv2d_t g) {
    size_t Ho = (H + g.pad[2] + g.pad[3] - g.kernel_h) / g.stride + 1;
    size_t Wo = (W + g.pad[0] + g.pad[1] - g.kernel_w) / g.stride + 1;
    for (size_t at = 0; at < B * Co * Ho * Wo; at++) {
        size_t x = at % Wo, y = at / Wo % Ho, o = at / (Wo * Ho) % Co, b = at / (Wo * Ho * Co);
        wide_t sum = bias ? bias[o] : 0, size = fabsl(sum);
        for (size_t i = 0; i < Ci; i++) {
            for (size_t u = 0; u < g.kernel_h; u++) {
                for (size_t v = 0; v < g.kernel_w; v++) {
                    wide_t term = padded(in + (b * Ci + i) * H * W, H, W, g.pad, y * g.stride + u,
                                         x * g.stride + v) *
                                  weight[((o * Ci + i) * g.kernel_h + u) * g.kernel_w + v];
                    sum += term;
                    size += fabsl(term);
                }
            }
        }
        out[at] = (double)sum;
        magnitude[at] = (double)size;
    }
}

/* Mean and 1/sqrt(var + eps) of n neighbouring numbers. */
static void moments(wide_t *mean, wide_t *inverse, const double *x, size_t n, double eps) {
    wide_t sum = 0, var = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    *mean = sum / n;
    for (size_t i = 0; i < n; i++) var += (x[i] - *mean) * (x[i] - *mean) / n;
    *inverse = 1 / sqrtl(var + (wide_t)eps);
}

/* Its magnitude: the mean is subtracted, so its own rounding is magnified by inverse. */
static void normalised(double *out, double *magnitude, double x, wide_t mean, wide_t inverse,
                       double weight, double bias) {
    *out = (double)((x - mean) * inverse * weight + bias);
    *magnitude = (double)((fabsl((wide_t)x) + fabsl(mean)) * inverse * fabs(weight) + fabs(bias));
}

void slow_group_norm(double *out, double *magnitude, const double *x, const double *weight,
                     const double *bias, size_t B, size_t C, size_t P, size_t G, double eps) {
    size_t size = C / G * P; /* a group is contiguous in torch's order */
    for (size_t group = 0; group < B * G; group++) {
        wide_t mean, inverse;
        moments(&mean, &inverse, x + group * size, size, eps);
        for (size_t i = group * size; i < (group + 1) * size; i++) {
            size_t c = i / P % C;
            normalised(out + i, magnitude + i, x[i], mean, inverse, weight[c], bias[c]);
        }
    }
}

void slow_layer_norm(double *out, double *magnitude, const double *x, const double *weight,
                     const double *bias, size_t M, size_t C, double eps) {
    for (size_t i = 0; i < M * C; i++) {
        wide_t mean, inverse;
        moments(&mean, &inverse, x + i / C * C, C, eps);
        normalised(out + i, magnitude + i, x[i], mean, inverse, weight[i % C], bias[i % C]);
    }
}

double slow_sigmoid(double x) {
    return (double)(1 / (1 + expl(-(wide_t)x)));
}
double slow_silu(double x) {
    return (double)(x / (1 + expl(-(wide_t)x)));
}
/* 1 + erf(z) = erfc(-z) */
static wide_t wide_gelu(double x) {
    return x * erfcl(-(wide_t)x * sqrtl(0.5L)) / 2;
}
double slow_gelu(double x) {
    return (double)wide_gelu(x);
}
double slow_quick_gelu(double x) {
    return (double)(x / (1 + expl(-(wide_t)1.702 * x)));
}

void slow_geglu(double *out, const double *x, size_t M, size_t N) {
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++)
            out[m * N + n] = (double)(x[2 * m * N + n] * wide_gelu(x[(2 * m + 1) * N + n]));
}

/* softmax_n = 1 / sum_j exp(x_j - x_n): no maximum needed, since 1/inf is the right 0. */
void slow_softmax(double *out, const double *x, size_t M, size_t N) {
    for (size_t m = 0; m < M; m++) {
        for (size_t n = 0; n < N; n++) {
            wide_t sum = 0;
            for (size_t j = 0; j < N; j++) sum += expl((wide_t)x[m * N + j] - x[m * N + n]);
            out[m * N + n] = (double)(1 / sum);
        }
    }
}

/* One head at a time, each number's index spelled out: (b, token, h*D + d). */
typedef struct {
    const double *q, *k, *v;
    size_t B, T, S, NH, D;
    double scale;
} heads_t;

static wide_t score(const heads_t *a, size_t b, size_t h, size_t t, size_t s, wide_t *size) {
    wide_t sum = 0;
    *size = 0;
    for (size_t d = 0; d < a->D; d++) {
        wide_t term = (wide_t)a->q[((b * a->T + t) * a->NH + h) * a->D + d] *
                      a->k[((b * a->S + s) * a->NH + h) * a->D + d] * a->scale;
        sum += term;
        *size += fabsl(term);
    }
    return sum;
}

void slow_attention(double *out, double *magnitude, const double *q, const double *k,
                    const double *v, size_t B, size_t T, size_t S, size_t NH, size_t D,
                    double scale, bool causal) {
    heads_t a = {q, k, v, B, T, S, NH, D, scale};
    for (size_t row = 0; row < B * T * NH; row++) {
        size_t h = row % NH, t = row / NH % T, b = row / (NH * T);
        size_t seen = causal ? t + 1 : S;
        for (size_t d = 0; d < D; d++) out[row * D + d] = magnitude[row * D + d] = 0;
        for (size_t s = 0; s < seen; s++) {
            wide_t total = 0, size = 0, worst = 0, mine = score(&a, b, h, t, s, &size);
            for (size_t j = 0; j < seen; j++) {
                total += expl(score(&a, b, h, t, j, &size) - mine);
                if (size > worst) worst = size;
            }
            for (size_t d = 0; d < D; d++) {
                wide_t term = v[((b * S + s) * NH + h) * D + d] / total;
                out[row * D + d] = (double)(out[row * D + d] + term);
                magnitude[row * D + d] += (double)(fabsl(term) * (1 + worst));
            }
        }
    }
}

/* Frequency j: max_period^(-j/divisor), or with each step of exp(-ln(max_period) j / divisor)
 * rounded. */
static wide_t frequency(size_t j, double divisor, double max_period, bool f32) {
    if (!f32) return powl(max_period, -(wide_t)j / divisor);
    float log_period = (float)log(max_period);
    float product = -log_period * (float)j;
    float quotient = product / (float)divisor;
    return (float)expl(quotient);
}

void slow_timestep_embedding(double *out, double *magnitude, const double *t, size_t B, size_t dim,
                             bool flip, double shift, double max_period, bool f32) {
    size_t half = dim / 2;
    for (size_t i = 0; i < B * dim; i++) {
        size_t column = i % dim, j = half ? column % half : 0;
        out[i] = magnitude[i] = 0;
        if (column >= 2 * half) continue;
        wide_t angle = frequency(j, (double)half - shift, max_period, f32) * t[i / dim];
        if (f32) angle = (float)angle;
        bool is_sine = (column < half) != flip;
        wide_t value = is_sine ? sinl(angle) : cosl(angle);
        out[i] = f32 ? (double)(float)value : (double)value;
        magnitude[i] = (double)(1 + fabsl(angle) * (1 + logl(max_period)));
    }
}

void slow_upsample(double *out, const double *in, size_t B, size_t C, size_t H, size_t W, size_t Ho,
                   size_t Wo, const size_t *rows, const size_t *columns) {
    for (size_t i = 0; i < B * C * Ho * Wo; i++)
        out[i] = in[(i / (Ho * Wo) * H + rows[i / Wo % Ho]) * W + columns[i % Wo]];
}

void slow_concat(double *out, const double *a, const double *b, size_t B, size_t Ca, size_t Cb,
                 size_t P) {
    for (size_t i = 0; i < B * (Ca + Cb) * P; i++) {
        size_t p = i % P, c = i / P % (Ca + Cb), n = i / (P * (Ca + Cb));
        out[i] = c < Ca ? a[(n * Ca + c) * P + p] : b[(n * Cb + c - Ca) * P + p];
    }
}
