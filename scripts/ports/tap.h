/* tap.h - a trace from C or C++: one .npy file per tensor, and an index with their names.
 *
 * Copy this file into your port. Include it once, name a folder that exists, and hand over what each module has
 * made, in float32 and in torch's order of dimensions (row-major, images (N,C,H,W), tokens (B,T,C)):
 *
 *     static mole_tap_t taps = {"dump"};
 *     const long long shape[] = {2, 320, 64, 64};
 *     mole_tap(&taps, "unet.conv_in", x, 4, shape);
 *
 * ggml counts dimensions from the innermost: give {ne[3], ne[2], ne[1], ne[0]}. `mole compare CASE dump` reads the
 * folder. Little-endian machines only, as .npy says of its numbers. Each call opens and closes its files: what
 * was dumped before a crash is there. Returns 0, or -1 where a file cannot be written or there is no room for the
 * shape's text. */
#ifndef MOLE_TAP_H
#define MOLE_TAP_H

#include <stdio.h>
#include <string.h>

typedef struct {
    const char *folder;
    int count;
} mole_tap_t;

static int mole_tap(mole_tap_t *t, const char *name, const float *x, int ndim, const long long *shape) {
    char path[4096], header[256] = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
    size_t numbers = 1, used = strlen(header), size = 246; /* 10 bytes and 246 are a multiple of 64 */
    for (int i = 0; i < ndim; i++) {
        if (used + 32 > size) return -1;
        used += (size_t)snprintf(header + used, sizeof header - used, "%lld, ", shape[i]);
        numbers *= (size_t)shape[i];
    }
    used += (size_t)snprintf(header + used, sizeof header - used, "), }");
    memset(header + used, ' ', size - used);
    header[size - 1] = '\n';

    snprintf(path, sizeof path, "%s/%05d.npy", t->folder, t->count);
    FILE *file = fopen(path, "wb");
    if (!file) return -1;
    int good = fwrite("\x93NUMPY\x01\x00\xf6\x00", 1, 10, file) == 10 && fwrite(header, 1, size, file) == size &&
               fwrite(x, sizeof *x, numbers, file) == numbers;
    if (fclose(file) != 0 || !good) return -1;

    snprintf(path, sizeof path, "%s/index.csv", t->folder);
    file = fopen(path, t->count ? "a" : "w");
    if (!file) return -1;
    good = fprintf(file, "%s\"%s\",%05d.npy\n", t->count ? "" : "name,file\n", name, t->count) > 0;
    t->count++;
    return fclose(file) == 0 && good ? 0 : -1;
}

#endif
