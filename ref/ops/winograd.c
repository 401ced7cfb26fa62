/* winograd.c - 3x3 convolution with 4 multiplications where the definition has 9.
 *
 * Lavin and Gray 2015 (arXiv 1509.09308), F(2x2,3x3). The output is cut into tiles of 2x2 pixels. A tile
 * depends on a 4x4 patch d of the input; with the filter g (3x3) of one pair of channels its share is
 *
 *   y = A' [ (G g G') * (B' d B) ] A        ' transposed, * number by number
 *
 *        | 1  0  0 |        | 1  0 -1  0 |
 *   G =  | ½  ½  ½ |   B' = | 0  1  1  0 |   A' = | 1  1  1  0 |
 *        | ½ -½  ½ |        | 0 -1  1  0 |        | 0  1 -1 -1 |
 *        | 0  0  1 |        | 0  1  0 -1 |
 *
 * that is, 16 products for 4 outputs, 4 each instead of 9. The sum over input channels may be taken before
 * the outer transform, so each of the 16 places is one matrix product: tiles x Ci times Ci x Co.
 *
 *   U (16,Co,Ci) = G g G'     V (16,tiles,Ci) = B' d B     M = V U'     y = A' M A + bias
 *
 * The transforms are additions of whole rows of channels, which lie side by side. They work on a block of
 * tiles and a share of the output channels at a time, so that scratch stays small and near.
 *
 * Numerical notes. The additions before the product make numbers that are larger than the input, and those
 * after it take them apart again: the error is about twice that of a direct sum (docs/numbers.md has it
 * measured). Not a sum of the definition's terms in another order, so the provable bound for sums does not
 * cover it; --conv tiles is the path to compare a port with. F(4x4,3x3) would be another 1.8 times cheaper
 * and 30 times less exact: left out on purpose. */
#include "ops/winograd.h"

#include <omp.h>
#include <string.h>

#include "core/vectorised.h"

enum { TILE = 2, PATCH = 4, PLACES = PATCH * PATCH };
/* Numbers in scratch: U of a share of the output channels; V and M of a block of tiles. */
enum { U_NUMBERS = 16 << 20, VM_NUMBERS = 12 << 20 };

bool winograd_can(conv2d_geometry_t g) {
    return g.kernel_h == 3 && g.kernel_w == 3 && g.stride == 1;
}

static size_t ceiling(size_t n, size_t of) {
    return (n + of - 1) / of;
}

static size_t at_most(size_t n, size_t most) {
    return n < most ? n : most;
}

static size_t count_tiles(size_t B, size_t Ho, size_t Wo) {
    return B * ceiling(Ho, TILE) * ceiling(Wo, TILE);
}

/* Making U costs as much as the products of a few dozen tiles save; and narrow layers (the first and the
 * last of a network) gain nothing. */
bool winograd_pays(size_t B, size_t Ci, size_t Ho, size_t Wo, size_t Co) {
    return Ci >= 64 && Co >= 64 && count_tiles(B, Ho, Wo) >= 64;
}

/* Output channels at a time, and tiles at a time: equal parts. */
static size_t share_of_channels(size_t Ci, size_t Co) {
    size_t most = at_most(Co, U_NUMBERS / (PLACES * Ci) + 1);
    return ceiling(Co, ceiling(Co, most));
}

static size_t block_of_tiles(size_t tiles, size_t Ci, size_t share) {
    size_t most = at_most(tiles, VM_NUMBERS / (PLACES * (Ci + share)) + 1);
    return ceiling(tiles, ceiling(tiles, most));
}

size_t winograd_work(size_t B, size_t Ci, size_t Ho, size_t Wo, size_t Co) {
    size_t share = share_of_channels(Ci, Co);
    size_t block = block_of_tiles(count_tiles(B, Ho, Wo), Ci, share);
    return PLACES * (share * Ci + block * (Ci + share)) + (Ci > share ? Ci : share);
}

/* u[16] = G g G' of one filter: g (3,3,Ci), u's places `step` numbers apart. */
VECTORISED static void filter_transform(real_t *u, size_t step, const real_t *g, size_t Ci) {
#pragma omp simd
    for (size_t c = 0; c < Ci; c++) {
        real_t h[PATCH][3];
        for (size_t j = 0; j < 3; j++) {
            real_t g0 = g[j * Ci + c], g1 = g[(3 + j) * Ci + c], g2 = g[(6 + j) * Ci + c];
            h[0][j] = g0;
            h[1][j] = (g0 + g2 + g1) / 2;
            h[2][j] = (g0 + g2 - g1) / 2;
            h[3][j] = g2;
        }
        for (size_t i = 0; i < PATCH; i++) {
            u[(i * PATCH + 0) * step + c] = h[i][0];
            u[(i * PATCH + 1) * step + c] = (h[i][0] + h[i][2] + h[i][1]) / 2;
            u[(i * PATCH + 2) * step + c] = (h[i][0] + h[i][2] - h[i][1]) / 2;
            u[(i * PATCH + 3) * step + c] = h[i][2];
        }
    }
}

/* v[16] = B' d B of one patch: d[16] are its pixels, v's places `step` numbers apart. */
VECTORISED static void patch_transform(real_t *v, size_t step, const real_t *const d[PLACES],
                                       size_t Ci) {
#pragma omp simd
    for (size_t c = 0; c < Ci; c++) {
        real_t t[PATCH][PATCH];
        for (size_t j = 0; j < PATCH; j++) {
            real_t d0 = d[j][c], d1 = d[4 + j][c], d2 = d[8 + j][c], d3 = d[12 + j][c];
            t[0][j] = d0 - d2;
            t[1][j] = d1 + d2;
            t[2][j] = d2 - d1;
            t[3][j] = d1 - d3;
        }
        for (size_t i = 0; i < PATCH; i++) {
            v[(i * PATCH + 0) * step + c] = t[i][0] - t[i][2];
            v[(i * PATCH + 1) * step + c] = t[i][1] + t[i][2];
            v[(i * PATCH + 2) * step + c] = t[i][2] - t[i][1];
            v[(i * PATCH + 3) * step + c] = t[i][1] - t[i][3];
        }
    }
}

/* y[4] = A' m A + bias of one tile: m's places `step` numbers apart, y[] its pixels. */
VECTORISED static void tile_transform(real_t *const y[TILE * TILE], const real_t *m, size_t step,
                                      const real_t *bias, size_t channels) {
#pragma omp simd
    for (size_t n = 0; n < channels; n++) {
        real_t s[TILE][PATCH], b = bias[n];
        for (size_t j = 0; j < PATCH; j++) {
            real_t m0 = m[j * step + n], m1 = m[(4 + j) * step + n], m2 = m[(8 + j) * step + n],
                   m3 = m[(12 + j) * step + n];
            s[0][j] = m0 + m1 + m2;
            s[1][j] = m1 - m2 - m3;
        }
        for (size_t i = 0; i < TILE; i++) {
            y[i * TILE][n] = s[i][0] + s[i][1] + s[i][2] + b;
            y[i * TILE + 1][n] = s[i][1] - s[i][2] - s[i][3] + b;
        }
    }
}

/* Where tile number `tile` begins in the output. */
typedef struct {
    size_t b, y, x;
} place_t;

static place_t place_of(size_t tile, size_t Ho, size_t Wo) {
    size_t tall = ceiling(Ho, TILE), wide = ceiling(Wo, TILE);
    return (place_t){tile / (tall * wide), tile / wide % tall * TILE, tile % wide * TILE};
}

/* The 16 pixels under a tile; those outside the image are `zeros`. A coordinate left of or above the
 * image wraps to a huge number, so one comparison covers both sides. */
static void find_patch(const real_t *d[PLACES], const real_t *in, const real_t *zeros, place_t at,
                       size_t Ci, size_t H, size_t W, conv2d_geometry_t g) {
    for (size_t i = 0; i < PLACES; i++) {
        size_t y = at.y + i / PATCH - g.top, x = at.x + i % PATCH - g.left;
        d[i] = y < H && x < W ? in + ((at.b * H + y) * W + x) * Ci : zeros;
    }
}

/* The 4 pixels of a tile; those beyond an odd edge go to `spare`: the tile's own m, number for number after
 * it was read. */
static void find_tile(real_t *y[TILE * TILE], real_t *out, real_t *spare, place_t at, size_t Ho,
                      size_t Wo, size_t Co) {
    for (size_t i = 0; i < TILE * TILE; i++) {
        size_t row = at.y + i / TILE, column = at.x + i % TILE;
        y[i] = row < Ho && column < Wo ? out + ((at.b * Ho + row) * Wo + column) * Co : spare;
    }
}

void winograd(real_t *out, const real_t *in, const real_t *weight, const real_t *bias, size_t B,
              size_t Ci, size_t H, size_t W, size_t Co, conv2d_geometry_t g, size_t Ho, size_t Wo,
              real_t *work, matmul_way_t how) {
    size_t tiles = count_tiles(B, Ho, Wo), share = share_of_channels(Ci, Co);
    size_t block = block_of_tiles(tiles, Ci, share);
    size_t most = Ci > share ? Ci : share;
    real_t *zeros = work, *U = zeros + most, *V = U + PLACES * share * Ci;
    real_t *M = V + PLACES * block * Ci;
    memset(zeros, 0, most * sizeof *zeros);

    for (size_t n0 = 0; n0 < Co; n0 += share) {
        size_t channels = at_most(share, Co - n0);
#pragma omp parallel for schedule(static)
        for (size_t n = 0; n < channels; n++)
            filter_transform(U + n * Ci, channels * Ci, weight + (n0 + n) * 9 * Ci, Ci);

        for (size_t t0 = 0; t0 < tiles; t0 += block) {
            size_t high = at_most(block, tiles - t0);
#pragma omp parallel for schedule(static)
            for (size_t t = 0; t < high; t++) {
                const real_t *d[PLACES];
                find_patch(d, in, zeros, place_of(t0 + t, Ho, Wo), Ci, H, W, g);
                patch_transform(V + t * Ci, high * Ci, d, Ci);
            }
            matmul_batch(M, V, U, PLACES, high, channels, Ci, how);
#pragma omp parallel for schedule(static)
            for (size_t t = 0; t < high; t++) {
                real_t *y[TILE * TILE], *m = M + t * channels;
                find_tile(y, out + n0, m, place_of(t0 + t, Ho, Wo), Ho, Wo, Co);
                tile_transform(y, m, high * channels, bias ? bias + n0 : zeros, channels);
            }
        }
    }
}
