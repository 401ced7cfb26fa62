/* layout.h - where everything on a sheet stands.
 *
 * Eight columns of CELL pixels, GAP apart, within MARGIN; sections from top to bottom, as many as there is
 * something to show of. The width is always LAYOUT_WIDTH. Panels do not overlap. */
#ifndef MOLE_SHEET_LAYOUT_H
#define MOLE_SHEET_LAYOUT_H

#include "core/pool.h"
#include "sheet/canvas.h"
#include "sheet/record.h"

enum {
    LAYOUT_COLUMNS = 8,
    LAYOUT_CELL = 256,
    LAYOUT_GAP = 16,
    LAYOUT_MARGIN = 28,
    LAYOUT_WIDTH =
        2 * LAYOUT_MARGIN + LAYOUT_COLUMNS * LAYOUT_CELL + (LAYOUT_COLUMNS - 1) * LAYOUT_GAP,
    LAYOUT_TITLE = 4, /* scales of the font */
    LAYOUT_HEADING = 3,
    LAYOUT_LABEL = 2
};

/* What is wanted of a sheet. */
typedef enum {
    SHEET_PICTURES = 1, /* with and without experts */
    SHEET_STEPS = 2,    /* latents and predicted pictures */
    SHEET_GATES = 4,    /* local gates as maps, global gates as curves */
    SHEET_WORD = 8,     /* attention to a word */
    SHEET_ALL = 15
} sheet_parts_t;

typedef enum {
    PANEL_TEXT,        /* `text`, wrapped at the width; index: scale */
    PANEL_PICTURE,     /* index: which of layout_what_t's */
    PANEL_LATENTS,     /* index: which of the steps that are shown; so in all PANEL_..._STEP */
    PANEL_CLEAN,       /* likewise */
    PANEL_LOCAL,       /* of `expert`, over all layers and steps */
    PANEL_LOCAL_LEVEL, /* index: resolution */
    PANEL_LOCAL_STEP,
    PANEL_GLOBAL, /* curves of all experts */
    PANEL_WORD,
    PANEL_WORD_STEP,
    PANEL_BAR /* the colours of a heat map with the number at either end; index 1: of the word */
} panel_kind_t;

typedef struct {
    panel_kind_t kind;
    rect_t at;
    size_t index, expert;
    const char *text;
} panel_t;

/* What a layout is made for. */
typedef struct {
    unsigned parts; /* of sheet_parts_t */
    const record_t *record;
    size_t width, height;      /* of the picture */
    size_t pictures;           /* how many are shown; the last one is the picture itself */
    const char *const *labels; /* (pictures) */
    const char *title, *settings;
    const char *word; /* NULL: none */
} layout_what_t;

typedef struct {
    size_t width, height;
    panel_t *panel; /* (count), owned */
    size_t count;
    pool_t pool; /* of the texts */
} sheet_layout_t;

sheet_layout_t layout_new(const layout_what_t *what);
void layout_free(sheet_layout_t *layout);

/* The size at which a picture fits into a square of `side`: a whole multiple of its own if it is smaller. */
rect_t layout_fit(size_t side, size_t width, size_t height);

#endif
