/* attention.h - how much of cross attention goes to which tokens of the text.
 *
 *   A[h,t,s]    = softmax over s of (q[t,h] . k[s,h] / sqrt(D))       h = 1..NH, D channels each
 *   shares[t,s] = mean over h of A[h,t,s]
 *   to[t]       = sum over the chosen s of shares[t,s] */
#ifndef MOLE_SHEET_ATTENTION_H
#define MOLE_SHEET_ATTENTION_H

#include <stddef.h>

#include "core/real.h"

/* In double; the same for any number of threads. q (T,NH*D), k (S,NH*D). */
void attention_shares(double *out /* (T,S) */, const real_t *q, const real_t *k, size_t T, size_t S,
                      size_t NH, size_t D);
/* out (T); token (count), each below S. */
void attention_to(double *out, const real_t *q, const real_t *k, size_t T, size_t S, size_t NH,
                  size_t D, const size_t *token, size_t count);

#endif
