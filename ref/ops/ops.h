/* ops.h - the catalogue: every operation of the network, and its contract.
 *
 * How to read an entry. Shapes are in torch's dimension order. "(B,C,H,W) channels-last" means torch's
 * memory format of that name: the same shape, stored as (B,H,W,C); everything else is row-major. A
 * (B,C,H,W) channels-last image and its (B, T=H*W, C) tokens are therefore the same memory.
 *
 * Rules for all of them. The caller owns every buffer; operations never allocate, keep no state and do
 * no input or output. `out` comes first and may not overlap an input unless its entry says so. Inputs
 * hold finite numbers; NaN and Inf propagate as in torch. There are no defaults: every epsilon,
 * activation and padding is an argument. A broken contract aborts with the operation's name (REQUIRE).
 * Results do not depend on the number of threads; with MATMUL_PLAIN they are the same bits on every
 * run (docs/numbers.md).
 *
 * Letters: B batch, T query tokens, S context tokens, C channels (Ci in, Co out), H W height and width,
 * M rows, N columns, K summed length, NH heads, D width of a head, G groups. */
#ifndef MOLE_OPS_H
#define MOLE_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/real.h"

/* ---- matrix products (matmul.c; matmul_blas.c is the only file that knows BLAS) --------------------- */

typedef enum {
    MATMUL_BLAS, /* OpenBLAS: fast; the order of its sums is its own affair */
    MATMUL_PLAIN /* loops that define the result: sums in index order, in double, rounded once */
} matmul_way_t;

/* matmul                torch.matmul
 *   out[m,n] = sum_k a[m,k] b[k,n]          (b_transposed: b[n,k])
 *   accumulate: the sum is added to what out holds (with MATMUL_PLAIN in the same double sum)
 *   out (M,N), a (M,K), b (K,N) or (N,K); ld* is the distance between rows, in numbers
 *   out overlaps neither a nor b. K = 0 gives zeros (or leaves out unchanged when accumulating). */
void matmul(real_t *out, size_t ld_out, const real_t *a, size_t lda, const real_t *b, size_t ldb,
            bool b_transposed, bool accumulate, size_t M, size_t N, size_t K, matmul_way_t how);

/* matmul_scaled         scale * torch.matmul(a, b)
 *   out[m,n] = scale sum_k a[m,k] b[k,n]             (with MATMUL_PLAIN rounded once)
 *   as matmul without accumulate and transposition */
void matmul_scaled(real_t *out, size_t ld_out, const real_t *a, size_t lda, const real_t *b,
                   size_t ldb, double scale, size_t M, size_t N, size_t K, matmul_way_t how);

/* matmul_here           matmul in the calling thread, for operations that share out their own work
 *   as matmul without accumulate; in one piece, whatever its size */
void matmul_here(real_t *out, size_t ld_out, const real_t *a, size_t lda, const real_t *b,
                 size_t ldb, bool b_transposed, size_t M, size_t N, size_t K, matmul_way_t how);

/* matmul_batch          torch.bmm(a, b.transpose(1, 2))
 *   out[i,m,n] = sum_k a[i,m,k] b[i,n,k]
 *   out (count,M,N), a (count,M,K), b (count,N,K) */
void matmul_batch(real_t *out, const real_t *a, const real_t *b, size_t count, size_t M, size_t N,
                  size_t K, matmul_way_t how);

/* linear                torch.nn.functional.linear
 *   out[m,n] = sum_k x[m,k] weight[n,k] + bias[n]
 *   out (M,N), x (M,K), weight (N,K), bias (N) or NULL */
void linear(real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t M,
            size_t K, size_t N, matmul_way_t how);

/* linear_scaled         scale * torch.nn.functional.linear(x, weight)
 *   out[m,n] = scale sum_k x[m,k] weight[n,k]        (with MATMUL_PLAIN rounded once)
 *   out (M,N), x (M,K), weight (N,K) */
void linear_scaled(real_t *out, const real_t *x, const real_t *weight, double scale, size_t M,
                   size_t K, size_t N, matmul_way_t how);

/* ---- convolution (conv2d.c, winograd.c) -------------------------------------------------------------- */

typedef enum {
    CONV_AUTO,    /* the faster one */
    CONV_TILES,   /* the definition's sums, as matrix products of a band of pixels */
    CONV_WINOGRAD /* F(2x2,3x3) wherever it can: 3x3 with stride 1. With MATMUL_PLAIN never. */
} conv2d_way_t;

typedef struct {
    size_t kernel_h, kernel_w, stride;
    size_t left, right, top, bottom; /* zero padding, in torch.nn.functional.pad's order */
} conv2d_geometry_t;

/* Height (or width) of the result: (n + before + after - kernel) / stride + 1. REQUIRE: it fits. */
size_t conv2d_out(size_t n, size_t before, size_t after, size_t kernel, size_t stride);

/* Numbers of scratch that conv2d needs. */
size_t conv2d_work(size_t B, size_t Ci, size_t H, size_t W, size_t Co, conv2d_geometry_t geometry,
                   conv2d_way_t way, matmul_way_t how);

/* conv2d                torch.nn.functional.conv2d (dilation 1, groups 1) after torch.nn.functional.pad
 *   out[b,o,y,x] = bias[o] + sum_{i,u,v} weight[o,i,u,v] in[b,i, y*stride+u-top, x*stride+v-left]
 *   in (B,Ci,H,W) channels-last; out (B,Co,Ho,Wo) channels-last; bias (Co) or NULL
 *   weight (Co,Ci,kh,kw) channels-last, that is stored (Co,kh,kw,Ci): see conv2d_pack_weight
 *   work: conv2d_work(...) numbers */
void conv2d(real_t *out, const real_t *in, const real_t *weight, const real_t *bias, size_t B,
            size_t Ci, size_t H, size_t W, size_t Co, conv2d_geometry_t geometry, real_t *work,
            conv2d_way_t way, matmul_way_t how);

/* (Co,Ci,kh,kw) row-major, as files have it -> channels-last, as conv2d wants it. */
void conv2d_pack_weight(real_t *out, const real_t *weight, size_t Co, size_t Ci, size_t kernel_h,
                        size_t kernel_w);

/* ---- normalisation ----------------------------------------------------------------------------------- */

/* group_norm            torch.nn.functional.group_norm; Wu & He 2018, section 3
 *   out[b,c,p] = (x[b,c,p] - mean) / sqrt(var + eps) * weight[c] + bias[c]
 *   mean, var over the C/G channels of c's group and all p; var divides by their number, not one less
 *   out, x (B,C,P) channels-last (stored (B,P,C)); weight, bias (C); out may be x
 *   G divides C; eps > 0 */
void group_norm(real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t B,
                size_t C, size_t P, size_t G, double eps);

/* layer_norm            torch.nn.functional.layer_norm over the last dimension
 *   out[m,c] = (x[m,c] - mean_m) / sqrt(var_m + eps) * weight[c] + bias[c]
 *   out, x (M,C); weight, bias (C); out may be x; eps > 0 */
void layer_norm(real_t *out, const real_t *x, const real_t *weight, const real_t *bias, size_t M,
                size_t C, double eps);

/* ---- activations: element by element, out may be x --------------------------------------------------- */

/* At -Inf silu, gelu and quick_gelu are -0, their limit, where torch has NaN; at Inf they are Inf, and NaN
 * gives NaN. In float32 each is within 0.51 ULP of its value, in float64 within 0.6. */

/* sigmoid               out = 1 / (1 + exp(-x)) */
void sigmoid(real_t *out, const real_t *x, size_t n);
/* silu                  out = x sigmoid(x)                      torch.nn.functional.silu */
void silu(real_t *out, const real_t *x, size_t n);
/* gelu                  out = x/2 (1 + erf(x / sqrt 2))    torch.nn.functional.gelu, "none" */
void gelu(real_t *out, const real_t *x, size_t n);
/* quick_gelu            out = x sigmoid(1.702 x)                transformers' QuickGELUActivation */
void quick_gelu(real_t *out, const real_t *x, size_t n);

/* geglu                 diffusers' GEGLU after its projection; Shazeer 2020
 *   out[m,n] = x[m,n] gelu(x[m,N+n])        the first half is the value, the second the gate
 *   out (M,N), x (M,2N) */
void geglu(real_t *out, const real_t *x, size_t M, size_t N);

/* ---- attention --------------------------------------------------------------------------------------- */

/* softmax               torch.softmax over the last dimension
 *   out[m,n] = exp(x[m,n] - max_m) / sum_n exp(x[m,n] - max_m)
 *   out, x (M,N); out may be x; N >= 1. A row of only -inf gives NaN, as in torch. An exponential
 *   below the normal numbers is 0. */
void softmax(real_t *out, const real_t *x, size_t M, size_t N);

/* Numbers of scratch that attention needs. Never tokens x tokens for all heads at once. */
size_t attention_work(size_t B, size_t T, size_t S, size_t NH, size_t D);

/* attention             torch.nn.functional.scaled_dot_product_attention on heads side by side
 *   out[b,t,h,:] = sum_s softmax_s(scale q[b,t,h,:] . k[b,s,h,:]) v[b,s,h,:]
 *   causal: s <= t only (T = S required)
 *   out, q (B,T,NH*D); k, v (B,S,NH*D); a head is D neighbouring channels
 *   work: attention_work(...) numbers */
void attention(real_t *out, const real_t *q, const real_t *k, const real_t *v, size_t B, size_t T,
               size_t S, size_t NH, size_t D, double scale, bool causal, real_t *work,
               matmul_way_t how);

/* ---- tables, time, space ----------------------------------------------------------------------------- */

/* embedding             torch.nn.functional.embedding
 *   out[n,:] = table[ids[n],:]              out (N,C), table (V,C), 0 <= ids[n] < V */
void embedding(real_t *out, const int32_t *ids, const real_t *table, size_t N, size_t V, size_t C);

/* pool_text             transformers' CLIPTextModel, pooled_output of its last hidden states
 *   out[b,:] = x[b,t_b,:],  t_b the first t with ids[b,t] = eos, 0 where there is none;
 *   eos = 2: the first t at which ids[b,t] is largest, for configurations whose eos_token_id is wrong
 *   out (B,C), x (B,T,C), ids (B,T) */
void pool_text(real_t *out, const real_t *x, const int32_t *ids, size_t B, size_t T, size_t C,
               int32_t eos);

typedef enum {
    ANGLES_EXACT, /* angles in double: the truth */
    ANGLES_F32 /* exponent, frequency and angle rounded to float32 at each step, as diffusers does */
} angles_t;

/* timestep_embedding    diffusers' get_timestep_embedding
 *   angle_j = t exp(-ln(max_period) j / (dim/2 - freq_shift)),  j < dim/2
 *   out[b] = [sin | cos], or [cos | sin] with flip_sin_to_cos; a zero at the end when dim is odd
 *   out (B,dim), t (B) */
void timestep_embedding(real_t *out, const double *t, size_t B, size_t dim, bool flip_sin_to_cos,
                        double freq_shift, double max_period, angles_t angles);

/* upsample_nearest      torch.nn.functional.interpolate(mode="nearest") to a given size
 *   out[b,c,y,x] = in[b,c, floor(y H/Ho), floor(x W/Wo)], with torch's rounding of the ratio
 *   in (B,C,H,W), out (B,C,Ho,Wo), both channels-last */
void upsample_nearest(real_t *out, const real_t *in, size_t B, size_t C, size_t H, size_t W,
                      size_t Ho, size_t Wo);

/* concat                torch.cat((a, b), dim=1) of channels-last images, or dim=-1 of tokens
 *   out (M,Ca+Cb), a (M,Ca), b (M,Cb) */
void concat(real_t *out, const real_t *a, const real_t *b, size_t M, size_t Ca, size_t Cb);

/* add                   out = a + b; out may be a or b */
void add(real_t *out, const real_t *a, const real_t *b, size_t n);

/* add_per_channel       out[b,p,c] = x[b,p,c] + y[b,c]: the time embedding's way into a ResNet
 *   out, x (B,C,P) channels-last, y (B,C); out may be x */
void add_per_channel(real_t *out, const real_t *x, const real_t *y, size_t B, size_t P, size_t C);

/* (B,C,H,W) row-major <-> channels-last; P = H*W */
void to_channels_last(real_t *out, const real_t *x, size_t B, size_t C, size_t P);
void from_channels_last(real_t *out, const real_t *x, size_t B, size_t C, size_t P);

#endif
