/* sheet.c - see sheet.h. */
#include "sheet/sheet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/png.h"
#include "sheet/colour.h"
#include "sheet/plot.h"
#include "sheet/word.h"

/* Bytes of prompt and settings that are shown. */
enum { RUNS = MOLE_EXPERTS + 1, TITLE_MOST = 800, SETTINGS_MOST = 4000 };

static const rgb_t background = {244, 244, 241}, border = {190, 190, 186};
static const rgb_t title_ink = {24, 24, 24}, label_ink = {84, 84, 84};

struct sheet {
    record_t record;
    const pipeline_t *pipeline;
    pipeline_image_t image;
    unsigned parts;
    char *word; /* NULL: none */
    size_t runs;
    mole_what_if_t run[RUNS][MOLE_EXPERTS];
    char *label[RUNS + 1];
    uint8_t *picture[RUNS + 1];   /* (height,width,3) */
    uint8_t *clean[RECORD_STEPS]; /* likewise */
};

/* ---- what is shown ------------------------------------------------------------------------------------ */

/* The run that is watched, with the strength 0 for all experts but `alone`. */
static void plan_run(sheet_t *s, const sheet_what_t *what, size_t alone, char *label) {
    for (size_t i = 0; i < what->experts->experts; i++) {
        mole_what_if_t *asked = &s->run[s->runs][i];
        *asked = what->what_if ? what->what_if[i] : MOLE_AS_TRAINED;
        if (i != alone) asked->strength = 0;
    }
    s->label[s->runs++] = label;
}

static void plan_runs(sheet_t *s, const sheet_what_t *what) {
    const mole_files_t *e = what->experts;
    if (e->experts && (s->parts & SHEET_PICTURES)) {
        plan_run(s, what, MOLE_EXPERTS, xstrdup("without experts"));
        for (size_t i = 0; e->experts > 1 && i < e->experts; i++)
            plan_run(s, what, i, xasprintf("%s alone", e->name[i]));
    }
    const char *all = "the picture";
    if (e->experts == 1) all = "the picture: with the expert";
    if (e->experts > 1) all = "the picture: with all experts";
    s->label[s->runs] = xasprintf("%s%s", all, e->experts && !e->gates ? ", ungated" : "");
}

/* The word and its tokens; none is no mistake where nobody named one. */
static int choose_word(sheet_t *s, const sheet_what_t *what, record_what_t *record, size_t **token,
                       err_t *err) {
    *token = NULL;
    if (!(s->parts & SHEET_WORD)) return 0;
    s->word = what->word ? xstrdup(what->word) : word_usual(what->prompt, what->experts);
    if (!s->word) return 0;
    int status = word_tokens(token, &record->tokens, what->pipeline->tokenizer[0], what->prompt,
                             &what->syntax, s->word, err);
    record->token = *token;
    if (!status || what->word) return status;
    free(s->word); /* "don" of "don't" is a word to the eye, not to the tokenizer */
    s->word = NULL;
    return 0;
}

int sheet_open(sheet_t **sheet, const sheet_what_t *what, tap_sink_t *next, err_t *err) {
    sheet_t *s = xcalloc(1, sizeof *s);
    record_what_t record = {what->pipeline, what->image, what->experts, NULL, 0};
    size_t *token;
    s->pipeline = what->pipeline;
    s->image = *what->image;
    s->parts = what->parts;
    plan_runs(s, what);
    int status = choose_word(s, what, &record, &token, err);
    if (!status) status = record_open(&s->record, &record, next, err);
    free(token);
    if (status) sheet_close(s);
    *sheet = status ? NULL : s;
    return status;
}

void sheet_close(sheet_t *s) {
    if (!s) return;
    record_close(&s->record);
    for (size_t i = 0; i <= RUNS; i++) {
        free(s->picture[i]);
        free(s->label[i]);
    }
    for (size_t i = 0; i < RECORD_STEPS; i++) free(s->clean[i]);
    free(s->word);
    free(s);
}

tap_sink_t *sheet_sink(sheet_t *s) {
    return &s->record.sink;
}

size_t sheet_runs(const sheet_t *s) {
    return s->runs;
}

const mole_what_if_t *sheet_run(const sheet_t *s, size_t i) {
    return s->run[i];
}

const char *sheet_run_label(const sheet_t *s, size_t i) {
    return s->label[i];
}

void sheet_picture(sheet_t *s, size_t i, const uint8_t *pixels) {
    size_t bytes = 3 * s->image.width * s->image.height;
    s->picture[i] = xrealloc(s->picture[i], bytes);
    memcpy(s->picture[i], pixels, bytes);
}

size_t sheet_steps(const sheet_t *s) {
    return s->parts & SHEET_STEPS ? s->record.shown : 0;
}

void sheet_decode(sheet_t *s, const run_t *run, size_t i) {
    size_t pixels = 3 * s->image.width * s->image.height;
    real_t *image = xmalloc(pixels * sizeof *image);
    run_t unwatched = *run;
    unwatched.sink = NULL;
    pipeline_decode(&unwatched, s->pipeline, &s->image, s->record.clean[i], image);
    s->clean[i] = xrealloc(s->clean[i], pixels);
    pipeline_to_rgb8(s->clean[i], image, s->image.height, s->image.width);
    free(image);
}

/* ---- panels ------------------------------------------------------------------------------------------- */

static double largest(const record_map_t *map) {
    double *mean = xmalloc(map->H * map->W * sizeof *mean), most = 0;
    record_mean(mean, map);
    for (size_t i = 0; i < map->H * map->W; i++) most = fmax(most, mean[i]);
    free(mean);
    return most;
}

/* A map over the picture, from 0 to `most`. */
static void draw_heat(const sheet_t *s, canvas_t *c, rect_t at, const record_map_t *map,
                      double most) {
    size_t H = s->image.height, W = s->image.width;
    double *mean = xmalloc(map->H * map->W * sizeof *mean);
    uint8_t *pixels = xmalloc(3 * H * W);
    record_mean(mean, map);
    heat_over(pixels, s->picture[s->runs], H, W, mean, map->H, map->W, most);
    canvas_blit(c, at, pixels, W, H);
    free(pixels);
    free(mean);
}

static void draw_latents(const sheet_t *s, canvas_t *c, rect_t at, size_t shown) {
    const record_t *r = &s->record;
    uint8_t *pixels = xmalloc(3 * r->H * r->W);
    latents_rgb(pixels, r->latents[shown], r->C, r->H, r->W);
    canvas_blit(c, at, pixels, r->W, r->H);
    free(pixels);
}

/* The colours as they look over a middle grey, with 0 to the left and `most` to the right of them. */
static void draw_bar(canvas_t *c, rect_t at, double most) {
    enum { GREY = 128, STEP = TEXT_ADVANCE * LAYOUT_LABEL };
    char end[32];
    snprintf(end, sizeof end, "%.3g", most);
    ptrdiff_t right = at.x + (ptrdiff_t)at.width, text = (ptrdiff_t)(text_columns(end) * STEP);
    ptrdiff_t first = right - text - 8 - LAYOUT_CELL;
    for (ptrdiff_t x = 0; x < LAYOUT_CELL; x++)
        canvas_fill(c, (rect_t){first + x, at.y, 1, 16},
                    colour_over((double)x / (LAYOUT_CELL - 1), GREY));
    canvas_text(c, first - STEP - 8, at.y, "0", LAYOUT_LABEL, label_ink);
    canvas_text(c, right - text, at.y, end, LAYOUT_LABEL, label_ink);
}

static void draw_text(canvas_t *c, const panel_t *p) {
    size_t columns = p->at.width / (TEXT_ADVANCE * p->index);
    canvas_paragraph(c, p->at.x, p->at.y, columns, p->text, p->index,
                     p->index == LAYOUT_LABEL ? label_ink : title_ink);
}

static void draw_picture(const sheet_t *s, canvas_t *c, const panel_t *p, const uint8_t *pixels) {
    canvas_blit(c, p->at, pixels, s->image.width, s->image.height);
}

static void draw_panel(const sheet_t *s, canvas_t *c, const panel_t *p) {
    const record_t *r = &s->record;
    const record_expert_t *e = &r->expert[p->expert];
    double most = s->word ? largest(&r->word) : 0;
    switch (p->kind) {
    case PANEL_TEXT: draw_text(c, p); return;
    case PANEL_BAR: draw_bar(c, p->at, p->index ? most : 1); return;
    case PANEL_PICTURE: draw_picture(s, c, p, s->picture[p->index]); break;
    case PANEL_LATENTS: draw_latents(s, c, p->at, p->index); break;
    case PANEL_CLEAN: draw_picture(s, c, p, s->clean[p->index]); break;
    case PANEL_LOCAL: draw_heat(s, c, p->at, &e->local, 1); break;
    case PANEL_LOCAL_LEVEL: draw_heat(s, c, p->at, &e->level[p->index], 1); break;
    case PANEL_LOCAL_STEP: draw_heat(s, c, p->at, &e->at_step[p->index], 1); break;
    case PANEL_GLOBAL: plot_global(c, p->at, r); break;
    case PANEL_WORD: draw_heat(s, c, p->at, &r->word, most); break;
    case PANEL_WORD_STEP: draw_heat(s, c, p->at, &r->word_at[p->index], most); break;
    }
    canvas_frame(c, p->at, border);
}

/* The lines of a note behind its first, without an empty negative prompt. */
static const char *settings_of(const char *note) {
    static const char empty[] = "Negative prompt: \n";
    const char *line = strchr(note, '\n');
    if (!line) return "";
    return strncmp(line + 1, empty, strlen(empty)) == 0 ? line + strlen(empty) + 1 : line + 1;
}

/* So much of a text as a sheet has room for. */
static char *cut(const char *text, size_t length, size_t most) {
    bool longer = length > most;
    return xasprintf("%.*s%s", (int)(longer ? most : length), text, longer ? "..." : "");
}

int sheet_write(const sheet_t *s, unsigned parts, const char *path, const char *note, err_t *err) {
    char *title = cut(note, strcspn(note, "\n"), TITLE_MOST);
    char *settings = cut(settings_of(note), strlen(settings_of(note)), SETTINGS_MOST);
    layout_what_t what = {parts & s->parts,
                          &s->record,
                          s->image.width,
                          s->image.height,
                          s->runs + 1,
                          (const char *const *)s->label,
                          title,
                          settings,
                          s->word};
    sheet_layout_t layout = layout_new(&what);
    canvas_t canvas = canvas_new(layout.width, layout.height, background);
    for (size_t i = 0; i < layout.count; i++) draw_panel(s, &canvas, &layout.panel[i]);
    picture_text_t text = {"parameters", note};
    int status = picture_write(path, canvas.pixels, canvas.width, canvas.height, 3, &text, 1, err);
    canvas_free(&canvas);
    layout_free(&layout);
    free(title);
    free(settings);
    return status;
}
