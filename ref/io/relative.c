/* relative.c - see relative.h. */
#include "io/relative.h"

#include <stdlib.h>
#include <string.h>

#include "core/err.h"

char *path_relative(const char *folder, const char *to) {
    size_t common = 0, i = 0;
    for (; folder[i] && folder[i] == to[i]; i++)
        if (folder[i] == '/') common = i + 1;
    if (!folder[i] && to[i] == '/') return xstrdup(to + i + 1);
    char *out = xstrdup("");
    for (const char *p = folder + common; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
        char *longer = xasprintf("../%s", out);
        free(out);
        out = longer;
    }
    char *whole = xasprintf("%s%s", out, to + common);
    free(out);
    return whole;
}
