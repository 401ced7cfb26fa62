/* edit_distance.c - see edit_distance.h. */
#include "core/edit_distance.h"

#include <string.h>

size_t edit_distance(const char *a, const char *b, size_t limit) {
    enum { LONGEST = 256 };
    size_t row[LONGEST + 1], n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST || (n > m ? n - m : m - n) > limit) return limit + 1;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0], least = row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t edit = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < edit ? change : edit;
            if (row[j] < least) least = row[j];
        }
        if (least > limit) return limit + 1;
    }
    return row[m];
}
