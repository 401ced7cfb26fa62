/* layout.c - see layout.h. */
#include "sheet/layout.h"

#include <stdlib.h>

#include "core/err.h"
#include "sheet/colour.h"

/* HEADING_DROP: so that a heading and the smaller text behind it stand on one line. */
enum {
    LABEL_GAP = 2,
    SECTION_GAP = 36,
    HEADING_GAP = 10,
    HEADING_DROP = 7 * (LAYOUT_HEADING - LAYOUT_LABEL),
    HEADING_TALL = TEXT_LINE * LAYOUT_HEADING,
    BAR_COLUMNS = 2,
    WORD_STEPS = 4
};

/* ---- parts -------------------------------------------------------------------------------------------- */

static ptrdiff_t column_at(size_t column) {
    return (ptrdiff_t)(LAYOUT_MARGIN + column * (LAYOUT_CELL + LAYOUT_GAP));
}

/* Width of so many columns with the gaps between them. */
static size_t span(size_t columns) {
    return columns * LAYOUT_CELL + (columns - 1) * LAYOUT_GAP;
}

rect_t layout_fit(size_t side, size_t width, size_t height) {
    size_t longer = width > height ? width : height;
    if (longer <= side) return (rect_t){0, 0, side / longer * width, side / longer * height};
    size_t w = width * side / longer, h = height * side / longer;
    return (rect_t){0, 0, w ? w : 1, h ? h : 1};
}

static void put(sheet_layout_t *l, panel_t panel) {
    l->panel = xrealloc(l->panel, (l->count + 1) * sizeof *l->panel);
    l->panel[l->count++] = panel;
}

static size_t text_lines(const char *text, size_t width, size_t scale) {
    return canvas_paragraph(NULL, 0, 0, width / (TEXT_ADVANCE * scale), text, scale,
                            (rgb_t){0, 0, 0});
}

/* Text at the layout's lower end, of so many columns; returns its height. */
static size_t add_text(sheet_layout_t *l, size_t column, size_t columns, const char *text,
                       size_t scale) {
    size_t height = text_lines(text, span(columns), scale) * TEXT_LINE * scale;
    put(l, (panel_t){.kind = PANEL_TEXT,
                     .at = {column_at(column), (ptrdiff_t)l->height, span(columns), height},
                     .index = scale,
                     .text = text});
    return height;
}

/* A heading, what it means behind it, and a colour bar at its right where `bar` is 0 (gates) or 1 (word). */
static void add_heading(sheet_layout_t *l, size_t column, size_t columns, const char *name,
                        const char *text, int bar) {
    size_t skip = (text_columns(name) + 1) * TEXT_ADVANCE * LAYOUT_HEADING;
    size_t width = span(columns - (bar < 0 ? 0 : BAR_COLUMNS));
    ptrdiff_t x = column_at(column), y = (ptrdiff_t)l->height;
    size_t lines = text_lines(text, width - skip, LAYOUT_LABEL), tall = HEADING_TALL;
    put(l,
        (panel_t){PANEL_TEXT, {x, y, skip, TEXT_LINE * LAYOUT_HEADING}, LAYOUT_HEADING, 0, name});
    put(l, (panel_t){.kind = PANEL_TEXT,
                     .at = {x + (ptrdiff_t)skip, y + HEADING_DROP, width - skip,
                            lines * TEXT_LINE * LAYOUT_LABEL},
                     .index = LAYOUT_LABEL,
                     .text = text});
    rect_t at = {column_at(column + columns - BAR_COLUMNS), y + HEADING_DROP, span(BAR_COLUMNS),
                 TEXT_LINE * LAYOUT_LABEL};
    if (bar >= 0) put(l, (panel_t){.kind = PANEL_BAR, .at = at, .index = (size_t)bar});
    if (HEADING_DROP + lines * TEXT_LINE * LAYOUT_LABEL > tall)
        tall = HEADING_DROP + lines * TEXT_LINE * LAYOUT_LABEL;
    l->height += tall + HEADING_GAP;
}

/* ---- rows of pictures --------------------------------------------------------------------------------- */

enum { ROW_MOST = MOLE_EXPERTS + 2 + 2 * RECORD_STEPS };

/* Panels side by side, each with a label above it, each of so many columns. */
typedef struct {
    size_t columns, count;
    panel_t panel[ROW_MOST]; /* kind, index, expert, and as text the label */
} row_t;

static void row_add(row_t *row, panel_kind_t kind, size_t expert, size_t index, const char *label) {
    REQUIRE(row->count < ROW_MOST, "layout: more than %d panels in a row", ROW_MOST);
    row->panel[row->count++] =
        (panel_t){.kind = kind, .index = index, .expert = expert, .text = label};
}

/* One line of panels, from `first`, so that all labels take the height of the tallest. */
static void place_line(sheet_layout_t *l, const row_t *row, size_t first, size_t n, size_t column,
                       rect_t size) {
    size_t lines = 0, tall = 0;
    for (size_t i = first; i < first + n; i++) {
        size_t own = text_lines(row->panel[i].text, span(row->columns), LAYOUT_LABEL);
        if (own > lines) lines = own;
    }
    tall = lines * TEXT_LINE * LAYOUT_LABEL + LABEL_GAP;
    for (size_t i = first; i < first + n; i++) {
        size_t at = column + (i - first) * row->columns;
        panel_t panel = row->panel[i];
        add_text(l, at, row->columns, panel.text, LAYOUT_LABEL);
        panel.at = (rect_t){column_at(at), (ptrdiff_t)(l->height + tall), size.width, size.height};
        put(l, panel);
    }
    l->height += tall + size.height + LAYOUT_GAP;
}

/* The row within `columns` from `column` on, in as many lines as it takes. */
static void place_row(sheet_layout_t *l, const layout_what_t *what, const row_t *row, size_t column,
                      size_t columns) {
    rect_t size = layout_fit(span(row->columns), what->width, what->height);
    size_t in_line = columns / row->columns;
    for (size_t first = 0; first < row->count; first += in_line) {
        size_t n = row->count - first < in_line ? row->count - first : in_line;
        place_line(l, row, first, n, column, size);
    }
}

/* ---- sections ----------------------------------------------------------------------------------------- */

static void title(sheet_layout_t *l, const layout_what_t *what) {
    l->height += add_text(l, 0, LAYOUT_COLUMNS, what->title, LAYOUT_TITLE) + HEADING_GAP;
    l->height += add_text(l, 0, LAYOUT_COLUMNS, what->settings, LAYOUT_LABEL) + SECTION_GAP;
}

static void pictures(sheet_layout_t *l, const layout_what_t *what) {
    row_t row = {.columns = 2};
    bool several = what->pictures > 1;
    add_heading(l, 0, LAYOUT_COLUMNS, several ? "Pictures" : "Picture",
                several ? "of one prompt, seed and settings" : "", -1);
    for (size_t i = 0; i < what->pictures; i++) row_add(&row, PANEL_PICTURE, 0, i, what->labels[i]);
    place_row(l, what, &row, 0, LAYOUT_COLUMNS);
    l->height += SECTION_GAP - LAYOUT_GAP;
}

/* "step 3 of 50, t 941" */
static const char *step_text(sheet_layout_t *l, const record_t *r, size_t shown) {
    return pool_printf(&l->pool, "step %zu, t %.4g", r->step[shown] + 1,
                       sampler_timestep(&r->sampler, r->step[shown]));
}

static void steps(sheet_layout_t *l, const layout_what_t *what) {
    const record_t *r = what->record;
    row_t latents = {.columns = 1}, clean = {.columns = 1};
    for (size_t i = 0; i < r->shown; i++) {
        row_add(&latents, PANEL_LATENTS, 0, i, step_text(l, r, i));
        row_add(&clean, PANEL_CLEAN, 0, i, step_text(l, r, i));
    }
    const char *of = pool_printf(&l->pool,
                                 "at %zu of %zu steps, as the network gets them: the first three "
                                 "channels as red, green and blue, from -%d (black) to %d (white)",
                                 r->shown, r->steps, LATENT_RANGE, LATENT_RANGE);
    add_heading(l, 0, LAYOUT_COLUMNS, "Latents", of, -1);
    place_row(l, what, &latents, 0, LAYOUT_COLUMNS);
    l->height += SECTION_GAP - LAYOUT_GAP;
    add_heading(l, 0, LAYOUT_COLUMNS, "Predicted picture",
                "in the same steps: what is left when all predicted noise is taken away at once "
                "(x0), decoded",
                -1);
    place_row(l, what, &clean, 0, LAYOUT_COLUMNS);
    l->height += SECTION_GAP - LAYOUT_GAP;
}

static void local_gates(sheet_layout_t *l, const layout_what_t *what, size_t expert) {
    const record_t *r = what->record;
    const record_expert_t *e = &r->expert[expert];
    row_t row = {.columns = 1};
    row_add(&row, PANEL_LOCAL, expert, 0, "all layers and steps");
    for (size_t i = 0; i < r->levels && row.count < LAYOUT_COLUMNS - 1; i++)
        if (e->level[i].count)
            row_add(&row, PANEL_LOCAL_LEVEL, expert, i,
                    pool_printf(&l->pool, "layers of %zux%zu", e->level[i].W, e->level[i].H));
    size_t room = LAYOUT_COLUMNS - row.count, n = r->shown < room ? r->shown : room;
    for (size_t i = 0; i < n; i++) {
        size_t shown = n > 1 ? i * (r->shown - 1) / (n - 1) : r->shown - 1;
        row_add(&row, PANEL_LOCAL_STEP, expert, shown, step_text(l, r, shown));
    }
    add_heading(l, 0, LAYOUT_COLUMNS, pool_printf(&l->pool, "Local gates of %s", e->name),
                "how much of it each place lets through, mean over layers, over the picture in "
                "grey",
                0);
    place_row(l, what, &row, 0, LAYOUT_COLUMNS);
    l->height += SECTION_GAP - LAYOUT_GAP;
}

static void global_gates(sheet_layout_t *l, size_t column) {
    enum { COLUMNS = 4, HEIGHT = 512 };
    add_heading(l, column, COLUMNS, "Global gates",
                "how much of each expert a step lets through; line: mean over layers, band: from "
                "the least to the most",
                -1);
    put(l, (panel_t){.kind = PANEL_GLOBAL,
                     .at = {column_at(column), (ptrdiff_t)l->height, span(COLUMNS), HEIGHT}});
    l->height += HEIGHT + LAYOUT_GAP;
}

/* One large map of all steps, and beside it four small ones. */
static void word(sheet_layout_t *l, const layout_what_t *what, size_t column) {
    const record_t *r = what->record;
    row_t all = {.columns = 2}, some = {.columns = 1};
    size_t n = r->shown < WORD_STEPS ? r->shown : WORD_STEPS;
    add_heading(l, column, 4, "Attention",
                pool_printf(&l->pool, "to \"%.80s\", mean over heads and layers", what->word), 1);
    row_add(&all, PANEL_WORD, 0, 0, "all steps");
    for (size_t i = 0; i < n; i++) {
        size_t shown = n > 1 ? i * (r->shown - 1) / (n - 1) : 0;
        row_add(&some, PANEL_WORD_STEP, 0, shown, step_text(l, r, shown));
    }
    size_t top = l->height, below;
    place_row(l, what, &all, column, 2);
    below = l->height;
    l->height = top;
    place_row(l, what, &some, column + 2, 2);
    if (below > l->height) l->height = below;
}

static bool has_gates(const record_t *r) {
    return r->experts && r->expert[0].local.count;
}

/* Curves and word side by side. */
static void lower(sheet_layout_t *l, const layout_what_t *what) {
    bool curves = (what->parts & SHEET_GATES) && has_gates(what->record);
    size_t top = l->height, below = top;
    if (curves) {
        global_gates(l, 0);
        below = l->height;
    }
    l->height = top;
    if ((what->parts & SHEET_WORD) && what->word) word(l, what, curves ? 4 : 0);
    if (below > l->height) l->height = below;
}

sheet_layout_t layout_new(const layout_what_t *what) {
    sheet_layout_t l = {.width = LAYOUT_WIDTH, .height = LAYOUT_MARGIN};
    title(&l, what);
    if (what->parts & SHEET_PICTURES) pictures(&l, what);
    if (what->parts & SHEET_STEPS) steps(&l, what);
    for (size_t i = 0; (what->parts & SHEET_GATES) && i < what->record->experts; i++)
        if (has_gates(what->record)) local_gates(&l, what, i);
    lower(&l, what);
    l.height += LAYOUT_MARGIN - LAYOUT_GAP;
    return l;
}

void layout_free(sheet_layout_t *l) {
    free(l->panel);
    pool_free(&l->pool);
    *l = (sheet_layout_t){0};
}
