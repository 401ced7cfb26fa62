/* compare_bound.c - the sums of magnitudes that bound every correct way of adding up a linear map.
 *
 * For y = sum_k w_k x_k + b computed with unit roundoff u in any order, with or without fused multiply-adds,
 *
 *   |computed - y| <= gamma(K+1) (sum_k |w_k| |x_k| + |b|),   gamma(n) = n u / (1 - n u)
 *
 * (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). The bound cannot be broken by
 * rounding: an error above it is proof of a mistake. It grows with K where rounding grows with sqrt(K), so
 * that long sums may hide a mistake below it; 4 sqrt(K+1) u times the same sum is the warning line. */
#include <math.h>
#include <string.h>

#include "compare/compare_internal.h"

/* out (M,N) = |x| |W|^T + |b|, x (M,K) */
static void linear_magnitudes(double *out, const linear_t *l, const double *x, size_t M) {
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < l->out; n++) {
            double sum = l->bias ? fabs((double)l->bias[n]) : 0;
            for (size_t k = 0; k < l->in; k++)
                sum += fabs((double)l->weight[n * l->in + k] * x[m * l->in + k]);
            out[m * l->out + n] = sum;
        }
}

/* The same for a 1x1 convolution: x (B,in,P), out (B,out,P). */
static void pixel_magnitudes(double *out, const linear_t *l, const double *x, size_t B, size_t P) {
    for (size_t b = 0; b < B; b++)
        for (size_t n = 0; n < l->out; n++)
            for (size_t p = 0; p < P; p++) {
                double sum = l->bias ? fabs((double)l->bias[n]) : 0;
                for (size_t k = 0; k < l->in; k++)
                    sum += fabs((double)l->weight[n * l->in + k] * x[(b * l->in + k) * P + p]);
                out[(b * l->out + n) * P + p] = sum;
            }
}

static double window_magnitude(const conv_t *c, const double *x, size_t o, size_t H, size_t W,
                               size_t oy, size_t ox) {
    conv2d_geometry_t g = c->geometry;
    double sum = c->bias ? fabs((double)c->bias[o]) : 0;
    for (size_t u = 0; u < g.kernel_h; u++)
        for (size_t v = 0; v < g.kernel_w; v++) {
            size_t y = oy * g.stride + u - g.top,
                   z = ox * g.stride + v - g.left; /* wraps below 0 */
            if (y >= H || z >= W) continue;
            const real_t *w = c->weight + ((o * g.kernel_h + u) * g.kernel_w + v) * c->in;
            for (size_t i = 0; i < c->in; i++) sum += fabs((double)w[i] * x[(i * H + y) * W + z]);
        }
    return sum;
}

static void conv_magnitudes(double *out, const conv_t *c, const double *x, grid_t g) {
    grid_t o = conv_grid(c, g);
    for (size_t b = 0; b < g.B; b++)
        for (size_t n = 0; n < c->out; n++)
            for (size_t y = 0; y < o.H; y++)
                for (size_t z = 0; z < o.W; z++)
                    out[((b * c->out + n) * o.H + y) * o.W + z] =
                        window_magnitude(c, x + b * c->in * g.H * g.W, n, g.H, g.W, y, z);
}

size_t compare_bound_magnitudes(const module_t *module, double *out, const double *x,
                                shape_t shape) {
    if (module->kind == MODULE_CONV) {
        const conv_t *c = module->as.conv;
        if (shape.ndim != 4 || shape.dim[1] != c->in) return 0;
        conv_magnitudes(out, c, x, (grid_t){shape.dim[0], shape.dim[2], shape.dim[3]});
        return c->in * c->geometry.kernel_h * c->geometry.kernel_w;
    }
    if (module->kind != MODULE_LINEAR || shape.ndim < 2) return 0;
    const linear_t *l = module->as.linear;
    if (shape.ndim == 4 && shape.dim[1] == l->in)
        pixel_magnitudes(out, l, x, shape.dim[0], shape.dim[2] * shape.dim[3]);
    else if (shape.ndim != 4 && shape.dim[shape.ndim - 1] == l->in)
        linear_magnitudes(out, l, x, shape_count(shape) / l->in);
    else
        return 0;
    return l->in;
}
