/* xray.c - see xray.h.
 *
 * The page is ref/xray/page/: page.html, page.css and page.js, which make puts into xray_page.inc as two
 * strings, before and after the data. The data are a script element that the browser does not run; no '<' is
 * left in it, so that no text can end it. The page shows every text as text. */
#include "xray/xray.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/json.h"
#include "xray/data.h"
#include "xray_page.inc"

struct xray {
    watch_t watch;
    words_t words;
    const pipeline_t *pipeline;
    pipeline_image_t image;
    json_t *picture;            /* NULL: not yet */
    json_t *clean[WATCH_STEPS]; /* likewise */
};

int xray_open(xray_t **xray, const xray_what_t *what, tap_sink_t *next, err_t *err) {
    xray_t *x = xcalloc(1, sizeof *x);
    x->pipeline = what->pipeline;
    x->image = *what->image;
    watch_what_t watch = {what->pipeline, &x->image, what->experts, &x->words};
    int status =
        words_find(&x->words, what->pipeline->tokenizer[0], what->prompt, &what->syntax, err);
    if (!status) status = watch_open(&x->watch, &watch, next, err);
    if (status) xray_close(x);
    *xray = status ? NULL : x;
    return status;
}

void xray_close(xray_t *x) {
    if (!x) return;
    watch_close(&x->watch);
    words_free(&x->words);
    json_decref(x->picture);
    for (size_t i = 0; i < WATCH_STEPS; i++) json_decref(x->clean[i]);
    free(x);
}

tap_sink_t *xray_sink(xray_t *x) {
    return &x->watch.sink;
}

void xray_picture(xray_t *x, const uint8_t *pixels) {
    json_decref(x->picture);
    x->picture = data_picture(pixels, x->image.width, x->image.height, DATA_PICTURE_SIDE);
}

size_t xray_steps(const xray_t *x) {
    return x->watch.steps;
}

void xray_decode(xray_t *x, const run_t *run, size_t i) {
    size_t count = 3 * x->image.width * x->image.height, n = x->watch.C * x->watch.H * x->watch.W;
    real_t *image = xmalloc(count * sizeof *image), *latents = xmalloc(n * sizeof *latents);
    uint8_t *pixels = xmalloc(count);
    run_t unwatched = *run;
    unwatched.sink = NULL;
    memcpy(latents, x->watch.clean[i], n * sizeof *latents);
    pipeline_decode(&unwatched, x->pipeline, &x->image, latents, image);
    pipeline_to_rgb8(pixels, image, x->image.height, x->image.width);
    json_decref(x->clean[i]);
    x->clean[i] = data_picture(pixels, x->image.width, x->image.height, DATA_STEP_SIDE);
    free(pixels);
    free(latents);
    free(image);
}

/* data_of, with the pictures and what is said of the run. */
static json_t *whole(const xray_t *x, const char *note) {
    const watch_t *w = &x->watch;
    json_t *value = data_of(w), *latents = json_array(), *clean = json_array();
    for (size_t i = 0; i < w->steps; i++) {
        json_array_append_new(latents, data_latents(w->input[i], w->C, w->H, w->W));
        json_array_append(clean, x->clean[i]);
    }
    json_object_set_new(value, "note", data_text(note));
    json_object_set_new(value, "latents", latents);
    json_object_set_new(value, "clean", clean);
    json_object_set(value, "picture", x->picture);
    return value;
}

int xray_write(const xray_t *x, const char *path, const char *note, err_t *err) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    if (!to) return err_set(err, "%s: no memory for the page", path);
    json_t *value = whole(x, note);
    fputs(page_before, to);
    json_write_html(value, JSON_REAL_PRECISION(5), to);
    fputs(page_after, to);
    json_decref(value);
    out_file_t out = {.fd = -1};
    int status = fclose(to) ? err_set(err, "%s: no memory for the page", path) : 0;
    if (!status) status = out_file_open(&out, path, "", err);
    if (!status) status = out_file_write(&out, text, bytes, err);
    if (!status)
        status = out_file_commit(&out, err);
    else
        out_file_abort(&out);
    free(text);
    return status;
}
