/* gate_maps.c - see gate_maps.h. */
#include "pipeline/gate_maps.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/tap_name.h"
#include "io/png.h"

enum { LEVELS = 8, PIXELS_PER_LATENT = 8 };

typedef struct {
    size_t H, W, layers;
    double *sum; /* (H*W) */
} map_t;

struct gate_maps {
    tap_sink_t sink, *next;
    size_t experts, levels, H, W;
    const char *name[MOLE_EXPERTS];
    map_t map[MOLE_EXPERTS][LEVELS];
    double *local; /* the D of the layer whose G comes next: (T) */
    size_t local_count, room;
};

/* "....mole.<expert>.<what>": the expert's index, or -1. */
static int expert_of(const gate_maps_t *m, const char *text, const char *what) {
    tap_name_t name = tap_name(text);
    if (strcmp(name.part, what) != 0) return -1;
    if (strstr(text, ".attn2.to_k.") || strstr(text, ".attn2.to_v.")) return -1;
    for (size_t i = 0; i < m->experts; i++)
        if (tap_span_is(name.expert, m->name[i])) return (int)i;
    return -1;
}

static void keep_local(gate_maps_t *m, const real_t *x, view_t view) {
    size_t B = view.shape.dim[0], T = view.shape.dim[1];
    if (T > m->room) {
        m->local = xrealloc(m->local, T * sizeof *m->local);
        m->room = T;
    }
    for (size_t t = 0; t < T; t++) m->local[t] = (double)x[(B - 1) * T + t];
    m->local_count = T;
}

static void add_global(gate_maps_t *m, size_t expert, const real_t *x, view_t view) {
    double global = (double)x[view.shape.dim[0] - 1];
    for (size_t level = 0; level < m->levels; level++) {
        map_t *map = &m->map[expert][level];
        if (map->H * map->W != m->local_count) continue;
        for (size_t t = 0; t < m->local_count; t++) map->sum[t] += global * m->local[t];
        map->layers++;
        return;
    }
}

static void listen(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    gate_maps_t *m = (gate_maps_t *)self;
    if (m->next) m->next->tap(m->next, name, x, view);
    int local = expert_of(m, name, "local"), global = expert_of(m, name, "global");
    if (local >= 0) keep_local(m, x, view);
    if (global >= 0) add_global(m, (size_t)global, x, view);
}

gate_maps_t *gate_maps_new(const mole_files_t *files, size_t H, size_t W, tap_sink_t *next) {
    gate_maps_t *m = xcalloc(1, sizeof *m);
    m->sink = (tap_sink_t){listen, next && next->inputs};
    m->next = next;
    m->experts = files->experts;
    m->H = H;
    m->W = W;
    for (size_t i = 0; i < m->experts; i++) m->name[i] = files->name[i];
    for (size_t h = H, w = W; m->levels < LEVELS; h = (h + 1) / 2, w = (w + 1) / 2) {
        size_t level = m->levels++;
        for (size_t i = 0; i < m->experts; i++)
            m->map[i][level] = (map_t){h, w, 0, xcalloc(h * w, sizeof(double))};
        if (h == 1 && w == 1) break;
    }
    return m;
}

tap_sink_t *gate_maps_sink(gate_maps_t *maps) {
    return &maps->sink;
}

void gate_maps_free(gate_maps_t *m) {
    if (!m) return;
    for (size_t i = 0; i < m->experts; i++)
        for (size_t level = 0; level < m->levels; level++) free(m->map[i][level].sum);
    free(m->local);
    free(m);
}

/* Draw one map into the column of a wide picture; range[0], range[1] are its weakest and strongest. */
static void draw(uint8_t *pixels, size_t stride, const map_t *map, size_t height, size_t width,
                 double range[2]) {
    size_t count = map->H * map->W;
    range[0] = INFINITY;
    range[1] = -INFINITY;
    for (size_t t = 0; t < count; t++) {
        double strength = map->sum[t] / (double)map->layers;
        range[0] = fmin(range[0], strength);
        range[1] = fmax(range[1], strength);
    }
    double span = range[1] > range[0] ? range[1] - range[0] : 1;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            size_t t = y * map->H / height * map->W + x * map->W / width;
            double strength = map->sum[t] / (double)map->layers;
            pixels[y * stride + x] = (uint8_t)lround(255 * (strength - range[0]) / span);
        }
}

static int write_expert(const gate_maps_t *m, size_t expert, const char *folder, err_t *err) {
    size_t height = m->H * PIXELS_PER_LATENT, width = m->W * PIXELS_PER_LATENT, columns = 0;
    for (size_t level = 0; level < m->levels; level++) columns += m->map[expert][level].layers > 0;
    if (!columns) return err_set(err, "no gates were seen for expert '%s'", m->name[expert]);
    uint8_t *pixels = xcalloc(height * width, columns);
    char text[1024];
    size_t used =
        (size_t)snprintf(text, sizeof text, "strength D G of expert %s:", m->name[expert]);
    for (size_t level = 0, column = 0; level < m->levels; level++) {
        const map_t *map = &m->map[expert][level];
        if (!map->layers) continue;
        double range[2];
        draw(pixels + column++ * width, columns * width, map, height, width, range);
        if (used < sizeof text)
            used += (size_t)snprintf(text + used, sizeof text - used, " %zux%zu %.4f..%.4f", map->W,
                                     map->H, range[0], range[1]);
    }
    char *path = xasprintf("%s/%s.png", folder, m->name[expert]);
    picture_text_t note = {"mole:gates", text};
    int status = picture_write(path, pixels, columns * width, height, 1, &note, 1, err);
    free(path);
    free(pixels);
    return status;
}

int gate_maps_write(const gate_maps_t *m, const char *folder, err_t *err) {
    if (mkdir(folder, 0777) && errno != EEXIST)
        return err_set(err, "%s: cannot be made: %s", folder, strerror(errno));
    for (size_t i = 0; i < m->experts; i++)
        if (write_expert(m, i, folder, err)) return -1;
    return 0;
}
