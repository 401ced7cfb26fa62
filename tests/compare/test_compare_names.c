/* test_compare_names.c - a right trace and a wrong one under other names: the same word on both as under
 * ours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compare_made.h"

typedef char *rename_t(const char *name);

/* The truth of the case as float64 under other names, with TAP edited; and one tap more. */
static void rename_all(rename_t *rename, edit_t *edit, const char *more, edit_t *edit_more) {
    err_t err;
    st_writer_t *w;
    assert_int_equal(st_writer_open(&w, candidate, &err), 0);
    for (size_t i = 0; i <= golden.taps; i++) {
        bool extra = i == golden.taps;
        const golden_tap_t *t = extra ? golden_case_find(&golden, TAP) : &golden.tap[i];
        shape_t shape = t->shape;
        if (extra && !more) break;
        double *x = fixture_bytes(2 * shape_count(shape) * sizeof *x);
        dtype_to_double(x, t->truth->data, DTYPE_F64, shape_count(shape));
        edit_t *change = strcmp(t->name, TAP) != 0 ? NULL : extra ? edit_more : edit;
        if (change) change(x, &shape);
        char *name = extra ? xstrdup(more) : rename(t->name);
        if (name) put(w, name, DTYPE_F64, shape, x);
        free(name);
    }
    if (st_writer_finish(w, &err)) fail_msg("%s", err.text);
    fixture_free(NULL);
}

static char *compiled(const char *name) {
    return xasprintf("vae._orig_mod%s", name + strlen("vae"));
}
static char *bare(const char *name) {
    return xstrdup(name + strlen("vae."));
}
static char *wrapped(const char *name) {
    return xasprintf("module.%s.output", name);
}
static char *underscores(const char *name) {
    char *out = xstrdup(name);
    for (char *p = out; *p; p++)
        if (*p == '.') *p = '_';
    return out;
}
static char *as_it_is(const char *name) {
    return xstrdup(name);
}
/* Names that say nothing. */
static char *numbered(const char *name) {
    size_t place = (size_t)(golden_case_find(&golden, name) - golden.tap);
    return xasprintf("layer%zu", place);
}
/* As single-file checkpoints have it, as far as one table here goes; the others are left out. */
static char *checkpoint(const char *name) {
    static const char *const table[][2] = {
        {"vae.decoder.conv_in", "first_stage_model.decoder.conv_in"},
        {"vae.decoder.mid_block.resnets.0.norm1", "first_stage_model.decoder.mid.block_1.norm1"},
        {TAP, "first_stage_model.decoder.mid.block_1.conv1"},
        {"vae.decoder.mid_block.resnets.0.norm2", "first_stage_model.decoder.mid.block_1.norm2"},
        {"vae.decoder.mid_block.resnets.0", "first_stage_model.decoder.mid.block_1"},
        {"vae.decoder.up_blocks.0.resnets.1", "first_stage_model.decoder.up.3.block.1"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(name, table[i][0]) == 0) return xstrdup(table[i][1]);
    return NULL;
}

static const struct {
    rename_t *rename;
    const char *said, *options;
} ways[] = {
    {compiled, "note       names: '_orig_mod' taken off 95 names\n", ""},
    {bare, "names: 95 names lack words in front: ", ""},
    {wrapped, "names: the ending '.output' taken off 95 names\n", ""},
    {underscores, "names: 95 names spelled otherwise: ", ""},
    {checkpoint, "names: 6 names as the built-in map 'ldm' knows them", ""},
    {checkpoint, NULL, "--map ldm"},
    {bare, NULL, "--map diffusers"},
    {numbered, "names: of 95 taps whose names say nothing 95 were known by their numbers, 0 by",
     "--map auto"},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

static void right_is_right_and_wrong_is_wrong(void **state) {
    (void)state;
    for (size_t i = 0; i < WAYS; i++) {
        rename_all(ways[i].rename, NULL, NULL, NULL);
        expect(0, ways[i].said, CASE, ways[i].options);
        rename_all(ways[i].rename, gain, NULL, NULL);
        expect(1, "culprit    #3 " TAP, CASE, ways[i].options);
    }
    make(candidate, (made_t){0});
    expect(0, NULL, CASE, "");
    assert_null(strstr(output, "names: "));
}

/* What a fault has changed is known by its place, if the file has the reference's order; else it is said that
 * nobody looked at it. */
static void what_is_wrong_is_known_by_its_place(void **state) {
    (void)state;
    rename_all(numbered, zeros, NULL, NULL);
    expect(1, "culprit    #3 " TAP, CASE, "--map auto");
    assert_non_null(strstr(output, "94 were known by their numbers, 1 by their place"));
    expect(1, "culprit    #1 " TAP, CASE, "--map auto --only 'vae.decoder.mid_block.**'");
    err_t err;
    st_writer_t *w;
    assert_int_equal(st_writer_open(&w, candidate, &err), 0);
    for (size_t i = golden.taps; i-- > 0;) {
        const golden_tap_t *t = &golden.tap[i];
        char *name = numbered(t->name);
        double *x = fixture_bytes(shape_count(t->shape) * sizeof *x);
        shape_t shape = t->shape;
        dtype_to_double(x, t->truth->data, DTYPE_F64, shape_count(shape));
        if (strcmp(t->name, TAP) == 0) zeros(x, &shape);
        put(w, name, DTYPE_F64, shape, x);
        free(name);
    }
    assert_int_equal(st_writer_finish(w, &err), 0);
    fixture_free(NULL);
    expect(0,
           "94 were known by their numbers, 0 by their place between those; the others were not "
           "compared, and a fault may be in them",
           CASE, "--map auto");
    expect(1, TAP, CASE, "--map auto --complete");
}

/* ---- two names for one tap ------------------------------------------------------------------- */

static void equal_numbers_may_stand_twice(void **state) {
    (void)state;
    char options[400];
    static const char one[] = "glob mine -> " TAP "\n";
    snprintf(options, sizeof options, "--map %s", scratch_text("one.map", one));
    rename_all(as_it_is, NULL, "mine", NULL);
    expect(0, "two names that mean the same, and the same numbers under both", CASE, options);
    rename_all(as_it_is, NULL, "mine", tiny_spike);
    expect(3, "both stand for '" TAP "', and their numbers differ", CASE, options);
    assert_non_null(strstr(output, "'mine'"));
    /* Nobody asked for a map: a name of its own goes before one that was found. */
    rename_all(as_it_is, NULL, "module." TAP, gain);
    expect(0, NULL, CASE, "");
    rename_all(compiled, NULL, "module." TAP, NULL);
    expect(0, "two names that mean the same", CASE, "");
    rename_all(compiled, NULL, "module." TAP, gain);
    expect(3, "both stand for '" TAP "', and their numbers differ", CASE, "");
}

/* ---- written maps ---------------------------------------------------------------------------- */

/* The output without the notes on names. */
static void keep_output(char *to) {
    for (char *line = output, *next; *line; line = next) {
        next = line + strcspn(line, "\n");
        next += *next == '\n';
        if (strncmp(line, "note       names:", 17) == 0) continue;
        memcpy(to, line, (size_t)(next - line));
        to += next - line;
    }
    *to = '\0';
}

/* What was found is written, and read back says the same of the same trace. */
static void maps_are_written_and_read(void **state) {
    (void)state;
    static char first[sizeof output], second[sizeof output];
    char options[700];
    for (size_t i = 0; i < WAYS; i++) {
        rename_all(ways[i].rename, gain, NULL, NULL);
        snprintf(options, sizeof options, "%s --no-isolate --all --write-map %s", ways[i].options,
                 scratch_path("found.map"));
        expect(1, TAP, CASE, options);
        keep_output(first);
        snprintf(options, sizeof options, "--no-isolate --all --map %s", scratch_path("found.map"));
        expect(1, TAP, CASE, options);
        assert_null(strstr(output, "names:"));
        keep_output(second);
        assert_string_equal(first, second);
    }
}

static void maps_that_cannot_be_written(void **state) {
    (void)state;
    char options[400];
    snprintf(options, sizeof options, "--write-map %s", scratch_path("none/found.map"));
    make(candidate, (made_t){0});
    expect(3, "none/found.map", CASE, options);
    snprintf(options, sizeof options, "--write-map %s", scratch_path("strangers.map"));
    rename_all(numbered, NULL, NULL, NULL);
    size_t entries = scratch_entries();
    expect(3, "no tap has a name that the reference knows; there is 'layer", CASE, options);
    assert_non_null(strstr(output, "give --map; --map auto goes by the numbers"));
    assert_int_equal(scratch_entries(), entries);
}

/* ---- nothing in common ----------------------------------------------------------------------- */

static void detected_maps_are_named(void **state) {
    (void)state;
    rename_all(checkpoint, NULL, NULL, NULL);
    expect(3, "the built-in map 'ldm'", "golden/runs/text-encoder", "");
    rename_all(as_it_is, NULL, NULL, NULL);
    expect(3, "no tap has a name that the reference knows", "golden/runs/text-encoder", "");
    assert_null(strstr(output, "ldm"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(right_is_right_and_wrong_is_wrong),
        fixture_test(what_is_wrong_is_known_by_its_place),
        fixture_test(equal_numbers_may_stand_twice),
        fixture_test(maps_are_written_and_read),
        fixture_test(maps_that_cannot_be_written),
        fixture_test(detected_maps_are_named),
    };
    return cmocka_run_group_tests_name("compare_names", tests, open_case, close_case);
}
