/* test_names.c - globs, map files, suggestions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../scratch.h"
#include "trace/names.h"

static name_map_t *map_of(const char *path_or_name) {
    err_t err;
    name_map_t *map;
    if (name_map_open(&map, path_or_name, &err) != 0) fail_msg("%s", err.text);
    return map;
}

static void check(const name_map_t *map, const char *name, const char *wanted) {
    char *mapped = name_map_apply(map, name);
    if (strcmp(mapped, wanted) != 0) fail_msg("'%s' became '%s', not '%s'", name, mapped, wanted);
    free(mapped);
}

/* ---- globs ----------------------------------------------------------------------------------- */

static void globs(void **state) {
    (void)state;
    const struct {
        const char *glob, *name;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"a", "a", true},
        {"a", "ab", false},
        {"*", "", true},
        {"*", "conv_in", true},
        {"*", "unet.conv_in", false},
        {"*", "step.000/x", false},
        {"*.*", "unet.conv_in", true},
        {"*/*", "a/b", true},
        {"*/*", "a.b", false},
        {"**", "", true},
        {"**", "step.000/unet.conv_in", true},
        {"**conv_in", "step.000/unet.conv_in", true},
        {"**.conv_in", "conv_in", false},
        {"unet.**", "unet.", true},
        {"unet.**", "unet", false},
        {"unet.*.norm", "unet.a.norm", true},
        {"unet.*.norm", "unet.a.b.norm", false},
        {"unet.**.norm", "unet.a.b.norm", true},
        {"unet.**.norm", "unet.norm", false},
        {"*norm?", "norm1", true},
        {"*norm?", "norm", false},
        {"*norm?", "group_norm12", false},
        {"a?b", "a.b", false},
        {"a?b", "a/b", false},
        {"a?b",
         "a\xc3\xa9"
         "b",
         true},
        {"a??b",
         "a\xc3\xa9"
         "b",
         false},
        {"*a*a*b", "aaaaaaab", true},
        {"*a*a*b", "aaaaaaac", false},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"\\\\", "\\", true},
        {"a\\", "a\\", true},
        {"[ab]", "a", false},
        {"[ab]", "[ab]", true},
        {"***", "a.b", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (name_matches(cases[i].glob, cases[i].name) != cases[i].matches)
            fail_msg("'%s' on '%s' should be %d", cases[i].glob, cases[i].name, cases[i].matches);
}

/* Would take longer than the universe has by trying every split. */
static void globs_that_explode(void **state) {
    (void)state;
    char glob[120], name[2001];
    memset(name, 'a', sizeof name - 1);
    name[2000] = '\0';
    glob[0] = '\0';
    for (int i = 0; i < 30; i++) strcat(glob, i % 2 ? "**a" : "*a");
    assert_true(name_matches(glob, name));
    strcat(glob, "b");
    assert_false(name_matches(glob, name));
}

/* ---- map files ------------------------------------------------------------------------------- */

static void rules(void **state) {
    (void)state;
    name_map_t *map = map_of(scratch_text(
        "good.map", "\xef\xbb\xbf# a port's names\r\n"
                    "\n"
                    "glob   enc.*.ln?       ->  text_encoder.\\1.layer_norm\\2   # a comment\r\n"
                    "  glob\tenc.first      ->\tfirst.rule\n"
                    "glob   enc.first       ->  second.rule\n"
                    "regex  u([0-9]+)\\.(a|b)?(.*) -> unet.\\1[\\3]\\2\n"
                    "glob   x#y             ->  hash\n"
                    "glob   **.weird\\*     ->  back\\\\slash.\\1\n"
                    "glob   ?-**-*          ->  \\3.\\2.\\1\\1\n"
                    "regex  a|ab            ->  whole\n"
                    "glob   gone*           ->  \\1\n"
                    "glob   step.007/all**  ->  seventh\\1\n"
                    "glob   with space      ->  joined -x\n"));
    check(map, "enc.3.ln1", "text_encoder.3.layer_norm1");
    check(map, "enc.3.4.ln1", "enc.3.4.ln1");
    check(map, "enc.first", "first.rule");
    check(map, "u12.bc", "unet.12[c]b");
    check(map, "u12.c", "unet.12[c]");
    check(map, "xu12.c", "xu12.c");
    check(map, "x#y", "hash");
    check(map, "a.b.weird*", "back\\slash.a.b");
    check(map, "\xc3\xa9-a-b-c", "c.a-b.\xc3\xa9\xc3\xa9");
    check(map, "ab", "whole");
    check(map, "abc", "abc");
    check(map, "gone.", "gone.");
    check(map, "gone", "gone"); /* nothing would be left */
    check(map, "goner", "r");
    check(map, "with space", "joined -x");
    check(map, "", "");
    /* steps: the whole name first, then what follows the prefix */
    check(map, "step.003/enc.3.ln1", "step.003/text_encoder.3.layer_norm1");
    check(map, "step.1234/ab", "step.1234/whole");
    check(map, "step.007/all.x", "seventh.x");
    check(map, "step.008/all.x", "step.008/all.x");
    check(map, "step./ab", "step./ab");
    check(map, "step.3ab", "step.3ab");
    check(map, "steps.003/ab", "steps.003/ab");
    check(map, "step.003/nothing", "step.003/nothing");
    name_map_free(map);
    name_map_free(NULL);
    check(NULL, "as.it.is", "as.it.is");
}

static void wrong_rules(void **state) {
    (void)state;
    const struct {
        const char *text, *where, *defect;
    } bad[] = {
        {"", "bad.map", "no rule"},
        {"# only\n\n", "bad.map", "no rule"},
        {"glob a -> b\nglub a -> b\n", "bad.map: line 2:", "'glub a -> b'"},
        {"globs a -> b\n", "line 1:", "glob or regex"},
        {"glob a b\n", "line 1:", "expected: glob PATTERN -> REPLACEMENT"},
        {"regex a->b\n", "line 1:", "expected: regex PATTERN -> REPLACEMENT"},
        {"glob -> b\n", "line 1:", "pattern is empty"},
        {"regex -> b\n", "line 1:", "pattern is empty"},
        {"glob a ->\n", "line 1:", "replacement is empty"},
        {"regex a -> # b\n", "line 1:", "replacement is empty"},
        {"glob a -> b -> c\n", "line 1:", "two arrows"},
        {"\n\nregex (a -> b\n", "bad.map: line 3:", "regular expression is wrong"},
        {"regex a{2,1} -> b\n", "line 1:", "regular expression is wrong"},
        {"glob *.? -> \\3\n", "line 1:", "\\3, the pattern has 2"},
        {"glob ** -> \\2\n", "line 1:", "\\2, the pattern has 1"},
        {"glob \\* -> \\1\n", "line 1:", "\\1, the pattern has 0"},
        {"regex (a)(b) -> \\3\n", "line 1:", "\\3, the pattern has 2"},
        {"glob * -> \\0\n", "line 1:", "neither"},
        {"glob * -> a\\\n", "line 1:", "neither"},
        {"glob * -> \\n\n", "line 1:", "neither"},
        {"glob a -> b\nglob \xff -> b\n", "line 2:", "not UTF-8"},
        {"glob a\x01 -> b\n", "line 1:", "control"},
        {"glob a\rb -> b\n", "line 1:", "control"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err_t err = {""};
        name_map_t *map = (name_map_t *)&err;
        if (name_map_open(&map, scratch_text("bad.map", bad[i].text), &err) == 0)
            fail_msg("accepted: %s", bad[i].text);
        assert_null(map);
        assert_message(&err, bad[i].where, bad[i].defect, NULL);
    }
    err_t err = {""};
    name_map_t *map;
    assert_int_equal(name_map_open(&map, scratch_write("nul.map", "glob a -> b\n\0", 13), &err),
                     -1);
    assert_message(&err, "nul.map", "NUL", NULL);
    assert_int_equal(name_map_open(&map, scratch_path("lmd"), &err), -1);
    assert_message(&err, "lmd: cannot open", "ldm, diffusers", NULL);
    assert_int_equal(name_map_open(&map, scratch_folder(), &err), -1);
    assert_message(&err, "is a directory", NULL);
    char *large = xmalloc((1 << 20) + 1);
    memset(large, '\n', (1 << 20) + 1);
    assert_int_equal(name_map_open(&map, scratch_write("large.map", large, (1 << 20) + 1), &err),
                     -1);
    assert_message(&err, "large.map", "at most", NULL);
    free(large);
}

/* ---- suggestions ----------------------------------------------------------------------------- */

static const char *const ours[] = {
    "step.000/unet.down_blocks.0.attentions.1.proj_in",
    "step.000/unet.down_blocks.1.attentions.0.proj_in",
    "step.001/unet.down_blocks.0.attentions.1.proj_in",
    "unet.time_embedding.linear_1",
    "unet.time_embedding.linear_2",
    "vae.decoder.conv_out",
    "unet.mid_block",
};
static const shape_t shapes[] = {{3, {2, 4, 8}}, {3, {2, 4, 8}},    {3, {2, 4, 8}},    {2, {2, 32}},
                                 {2, {2, 32}},   {4, {1, 3, 8, 8}}, {4, {2, 64, 1, 1}}};
enum { OURS = sizeof ours / sizeof ours[0] };

static void suggestions(void **state) {
    (void)state;
    const struct {
        const char *name;
        shape_t shape;
        int wanted; /* -1: none */
    } cases[] = {
        {"Step0_DownBlocks0_Attention1_ProjIn", {3, {2, 4, 8}}, 0},
        {"step0.downblocks.1.attn.0.proj_in", {3, {2, 4, 8}}, 1},
        {"step_1/down.0/attn.1/proj_in", {3, {2, 4, 8}}, 2},
        {"step.000/model.diffusion_model.input_blocks.4.1.proj_in",
         {3, {2, 4, 8}},
         1}, /* by a map */
        {"temb.linear2", {2, {2, 32}}, 4},
        {"temb.linear1", {2, {2, 32}}, 3},
        {"quite.something.else", {4, {1, 3, 8, 8}}, 5}, /* the only one of that shape */
        {"quite.something.else", {3, {2, 4, 8}}, -1},   /* one of three */
        {"time_embedding.linear_1", {3, {2, 4, 8}}, 3}, /* alike enough for another shape */
        {"unet.mid_block", {4, {2, 1, 1, 64}}, 6},
        {"quite.something.else", {1, {7}}, -1},
        {"", {1, {7}}, -1},
        {"...", {3, {2, 4, 8}}, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *found = name_suggest(cases[i].name, cases[i].shape, ours, shapes, OURS);
        const char *wanted = cases[i].wanted < 0 ? NULL : ours[cases[i].wanted];
        if (found != wanted)
            fail_msg("'%s': suggested %s, not %s", cases[i].name, found ? found : "nothing",
                     wanted ? wanted : "nothing");
    }
    assert_null(name_suggest("a", SHAPE1(1), NULL, NULL, 0));
    char *endless = xmalloc(5001); /* more words, and longer ones, than are looked at */
    for (size_t i = 0; i < 5000; i++) endless[i] = i < 2500 ? "a."[i % 2] : 'b';
    endless[5000] = '\0';
    assert_null(name_suggest(endless, SHAPE1(7), ours, shapes, OURS));
    free(endless);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(globs),
        cmocka_unit_test(globs_that_explode),
        cmocka_unit_test_setup_teardown(rules, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(wrong_rules, scratch_setup, scratch_teardown),
        cmocka_unit_test(suggestions),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
