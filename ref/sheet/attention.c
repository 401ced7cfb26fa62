/* attention.c - see attention.h. */
#include "sheet/attention.h"

#include <math.h>
#include <stdlib.h>

#include "core/err.h"
#include "core/fmath.h"

static double score(const real_t *q, const real_t *k, size_t D) {
    double sum = 0;
    for (size_t d = 0; d < D; d++) sum += (double)q[d] * (double)k[d];
    return sum / sqrt((double)D);
}

/* out (S) += the softmax of one query of one head / NH; k rows C apart; scores (S) is scratch. */
static void add_softmax(double *out, double *scores, const real_t *q, const real_t *k, size_t S,
                        size_t D, size_t C) {
    double most = -INFINITY, all = 0;
    for (size_t s = 0; s < S; s++) {
        scores[s] = score(q, k + s * C, D);
        most = fmax(most, scores[s]);
    }
    for (size_t s = 0; s < S; s++) {
        scores[s] = fmath_exp(scores[s] - most);
        all += scores[s];
    }
    for (size_t s = 0; s < S; s++) out[s] += scores[s] / all / (double)(C / D);
}

void attention_shares(double *out, const real_t *q, const real_t *k, size_t T, size_t S, size_t NH,
                      size_t D) {
    size_t C = NH * D;
    double *scores = xmalloc(T * S * sizeof *scores); /* a row for each query: threads share none */
#pragma omp parallel for schedule(static)
    for (size_t t = 0; t < T; t++) {
        for (size_t s = 0; s < S; s++) out[t * S + s] = 0;
        for (size_t h = 0; h < NH; h++)
            add_softmax(out + t * S, scores + t * S, q + t * C + h * D, k + h * D, S, D, C);
    }
    free(scores);
}

void attention_to(double *out, const real_t *q, const real_t *k, size_t T, size_t S, size_t NH,
                  size_t D, const size_t *token, size_t count) {
    for (size_t i = 0; i < count; i++)
        REQUIRE(token[i] < S, "attention_to: token %zu of %zu", token[i], S);
    double *shares = xmalloc(T * S * sizeof *shares);
    attention_shares(shares, q, k, T, S, NH, D);
    for (size_t t = 0; t < T; t++) {
        out[t] = 0;
        for (size_t i = 0; i < count; i++) out[t] += shares[t * S + token[i]];
    }
    free(shares);
}
