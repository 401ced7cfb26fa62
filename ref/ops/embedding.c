/* embedding.c - rows of a table by number. */
#include <string.h>

#include "core/err.h"
#include "ops/ops.h"

void embedding(real_t *out, const int32_t *ids, const real_t *table, size_t N, size_t V, size_t C) {
    for (size_t n = 0; n < N; n++) {
        REQUIRE(ids[n] >= 0 && (size_t)ids[n] < V,
                "embedding: id %d at position %zu, table of %zu rows", (int)ids[n], n, V);
        memcpy(out + n * C, table + (size_t)ids[n] * C, C * sizeof *out);
    }
}
