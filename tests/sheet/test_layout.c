/* Where everything on a sheet stands: inside of it, and nothing over anything else. */
#include "../fixture.h"
#include "sheet/layout.h"

/* A record of a run that never was. */
static record_t *record(size_t experts, size_t levels, size_t steps) {
    static const char *const names[] = {"face", "hand", "a_third_one_with_a_rather_long_nam", "x"};
    record_t *r = fixture_bytes(sizeof *r);
    *r = (record_t){.steps = steps, .levels = levels, .experts = experts};
    r->shown = record_spread(steps, RECORD_STEPS, r->step);
    for (size_t i = 0; i < levels; i++) r->level[i].H = r->level[i].W = (size_t)64 >> i;
    for (size_t e = 0; e < experts; e++) {
        r->expert[e].name = names[e % 4];
        r->expert[e].local.count = 1;
        for (size_t i = 0; i < levels; i++)
            r->expert[e].level[i] =
                (record_map_t){.H = r->level[i].H, .W = r->level[i].W, .count = 1};
    }
    return r;
}

static sampler_t *plan(size_t steps) {
    sampler_t *sampler = fixture_bytes(sizeof *sampler);
    err_t err;
    sampler_choice_t choice = {SAMPLER_DDIM, false};
    if (sampler_plan(sampler, choice, &ddim_config_authors, steps, 0, &err))
        fail_msg("%s", err.text);
    return sampler;
}

static bool apart(const rect_t *a, const rect_t *b) {
    return a->x + (ptrdiff_t)a->width <= b->x || b->x + (ptrdiff_t)b->width <= a->x ||
           a->y + (ptrdiff_t)a->height <= b->y || b->y + (ptrdiff_t)b->height <= a->y;
}

static void check(const sheet_layout_t *l) {
    assert_int_equal(l->width, LAYOUT_WIDTH);
    for (size_t i = 0; i < l->count; i++) {
        const rect_t *a = &l->panel[i].at;
        if (a->x < LAYOUT_MARGIN || a->y < LAYOUT_MARGIN ||
            a->x + (ptrdiff_t)a->width > LAYOUT_WIDTH - LAYOUT_MARGIN ||
            a->y + (ptrdiff_t)a->height > (ptrdiff_t)l->height - LAYOUT_MARGIN)
            fail_msg("panel %zu, kind %d: %td, %td, %zu x %zu in %zu", i, l->panel[i].kind, a->x,
                     a->y, a->width, a->height, l->height);
        for (size_t k = 0; k < i; k++)
            if (!apart(a, &l->panel[k].at))
                fail_msg("panels %zu (%d) and %zu (%d) overlap", k, l->panel[k].kind, i,
                         l->panel[i].kind);
    }
}

static size_t count_of(const sheet_layout_t *l, panel_kind_t kind) {
    size_t count = 0;
    for (size_t i = 0; i < l->count; i++) count += l->panel[i].kind == kind;
    return count;
}

static const char *const labels[] = {"without experts",
                                     "a label of more than one line, as no expert has one",
                                     "hand alone",
                                     "a",
                                     "b",
                                     "c",
                                     "d",
                                     "e",
                                     "f",
                                     "g",
                                     "h",
                                     "i",
                                     "j",
                                     "k",
                                     "l",
                                     "m",
                                     "n",
                                     "o"};
static const char words[] =
    "a portrait of a smiling woman, waving her hand, soft light, and so on, "
    "longerthanalinecaneverbelongerthanalinecaneverbelongerthanalinecaneverbe"
    "longerthanalinecaneverbelongerthanalinecaneverbelongerthanalinecanever";

static sheet_layout_t layout(const record_t *r, unsigned parts, size_t width, size_t height,
                             size_t pictures, const char *word) {
    layout_what_t what = {parts, r, width, height, pictures, labels, words, words, word};
    return layout_new(&what);
}

static void nothing_overlaps(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{512, 512}, {64, 64},  {8, 8},
                                      {768, 512}, {8, 1024}, {1000, 24}};
    static const size_t steps[] = {1, 2, 7, 8, 50};
    for (size_t i = 0; i < 6 * 5 * 4; i++) {
        size_t experts = i % 4 * 5, n = steps[i / 4 % 5];
        const size_t *size = sizes[i / 20];
        record_t *r = record(experts, 1 + i % 8, n);
        sampler_t *sampler = plan(n);
        r->sampler = *sampler;
        for (unsigned parts = 0; parts <= SHEET_ALL; parts++) {
            sheet_layout_t l = layout(r, parts, size[0], size[1], experts ? experts + 2 : 1,
                                      i % 3 ? "hand" : NULL);
            check(&l);
            layout_free(&l);
        }
        sampler_free(sampler);
        fixture_free(NULL);
    }
}

/* What there is to show is shown, in the usual case. */
static void everything_is_there(void **state) {
    (void)state;
    record_t *r = record(2, 4, 20);
    sampler_t *sampler = plan(20);
    r->sampler = *sampler;
    sheet_layout_t l = layout(r, SHEET_ALL, 512, 512, 4, "hand");
    assert_int_equal(count_of(&l, PANEL_PICTURE), 4);
    assert_int_equal(count_of(&l, PANEL_LATENTS), 8);
    assert_int_equal(count_of(&l, PANEL_CLEAN), 8);
    assert_int_equal(count_of(&l, PANEL_LOCAL), 2);
    assert_int_equal(count_of(&l, PANEL_LOCAL_LEVEL), 8);
    assert_int_equal(count_of(&l, PANEL_LOCAL_STEP), 6);
    assert_int_equal(count_of(&l, PANEL_GLOBAL), 1);
    assert_int_equal(count_of(&l, PANEL_WORD), 1);
    assert_int_equal(count_of(&l, PANEL_WORD_STEP), 4);
    assert_int_equal(count_of(&l, PANEL_BAR), 3);
    layout_free(&l);
    /* Without gates none are shown; a resolution without layers is left out. */
    r->expert[0].local.count = 0;
    l = layout(r, SHEET_GATES | SHEET_STEPS, 512, 512, 1, NULL);
    assert_int_equal(count_of(&l, PANEL_LOCAL) + count_of(&l, PANEL_GLOBAL), 0);
    assert_int_equal(count_of(&l, PANEL_PICTURE), 0);
    layout_free(&l);
    r->expert[0].local.count = 1;
    r->expert[1].level[2].count = 0;
    l = layout(r, SHEET_GATES, 512, 512, 1, NULL);
    assert_int_equal(count_of(&l, PANEL_LOCAL_LEVEL), 7);
    assert_int_equal(count_of(&l, PANEL_LOCAL_STEP), 7);
    layout_free(&l);
    sampler_free(sampler);
}

static void fits_is(size_t side, size_t width, size_t height, size_t w, size_t h) {
    rect_t fit = layout_fit(side, width, height);
    if (fit.width != w || fit.height != h)
        fail_msg("%zu x %zu in %zu: %zu x %zu", width, height, side, fit.width, fit.height);
}

static void sizes_of_pictures(void **state) {
    (void)state;
    fits_is(256, 512, 512, 256, 256);
    fits_is(256, 256, 256, 256, 256);
    fits_is(528, 64, 64, 512, 512);
    fits_is(256, 96, 64, 192, 128);
    fits_is(256, 1024, 512, 256, 128);
    fits_is(256, 8, 8192, 1, 256);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(nothing_overlaps),
        fixture_test(everything_is_there),
        fixture_test(sizes_of_pictures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
