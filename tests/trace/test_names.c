/* test_names.c - globs, map files, suggestions. */
#include "../scratch.h"
#include "../unit.h"
#include "map_fixture.h"
#include "trace/names.h"

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
    check_mapped(map, "enc.3.ln1", "text_encoder.3.layer_norm1");
    check_mapped(map, "enc.3.4.ln1", "enc.3.4.ln1");
    check_mapped(map, "enc.first", "first.rule");
    check_mapped(map, "u12.bc", "unet.12[c]b");
    check_mapped(map, "u12.c", "unet.12[c]");
    check_mapped(map, "xu12.c", "xu12.c");
    check_mapped(map, "x#y", "hash");
    check_mapped(map, "a.b.weird*", "back\\slash.a.b");
    check_mapped(map, "\xc3\xa9-a-b-c", "c.a-b.\xc3\xa9\xc3\xa9");
    check_mapped(map, "ab", "whole");
    check_mapped(map, "abc", "abc");
    check_mapped(map, "gone.", "gone.");
    check_mapped(map, "gone", "gone"); /* nothing would be left */
    check_mapped(map, "goner", "r");
    check_mapped(map, "with space", "joined -x");
    check_mapped(map, "", "");
    /* steps: the whole name first, then what follows the prefix */
    check_mapped(map, "step.003/enc.3.ln1", "step.003/text_encoder.3.layer_norm1");
    check_mapped(map, "step.1234/ab", "step.1234/whole");
    check_mapped(map, "step.007/all.x", "seventh.x");
    check_mapped(map, "step.008/all.x", "step.008/all.x");
    check_mapped(map, "step./ab", "step./ab");
    check_mapped(map, "step.3ab", "step.3ab");
    check_mapped(map, "steps.003/ab", "steps.003/ab");
    check_mapped(map, "step.003/nothing", "step.003/nothing");
    name_map_free(map);
    name_map_free(NULL);
    check_mapped(NULL, "as.it.is", "as.it.is");
}

/* A file of `start`, `count` times `piece`, `end`. */
static const char *repeated(const char *start, const char *piece, size_t count, const char *end) {
    char *text = xmalloc(strlen(start) + count * strlen(piece) + strlen(end) + 1), *to = text;
    to = stpcpy(to, start);
    for (size_t i = 0; i < count; i++) to = stpcpy(to, piece);
    stpcpy(to, end);
    const char *path = scratch_text("bad.map", text);
    free(text);
    return path;
}

/* What looks like more than is taken, and is not. */
static void large_rules(void **state) {
    (void)state;
    const char *text = "regex [(((((((((((((((((({9999}]+\\([[:alpha:](]x\\{(y{1,999}) -> \\1\n";
    name_map_t *map = map_of(scratch_text("good.map", text));
    char *name = name_map_apply(map, "({(qx{yy");
    assert_string_equal(name, "yy");
    free(name);
    name_map_free(map);
    map = map_of(repeated("glob ", "*a", 64, " -> x\n"));
    name_map_free(map);
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
        {"regex (a*)\\1 -> b\n", "line 1:", "has a back-reference"},
        {"regex (x{1,40}){1,40} -> b\n", "line 1:", "multiply to more than 1000"},
        {"regex (x{33}){,33} -> b\n", "line 1:", "multiply to more than 1000"},
        {"regex ((((((((((((((((((a)))))))))))))))))) -> b\n", "line 1:", "16 deep"},
        {"regex ((a*)+)* -> b\n", "line 1:", "repeats in repeats in repeats"},
        {"regex a*** -> b\n", "line 1:", "repeats in repeats in repeats"},
        {"regex ((a{2})?b){3}{2} -> b\n", "line 1:", "repeats in repeats in repeats"},
        {"regex (aaaaaaaa){300} -> b\n", "line 1:", "longer than 2000 characters"},
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
    static const char fair[] = "regex ((a+\\))*\\[+)?([^)*]+.)*\\{* -> b\n";
    if (name_map_open(&map, scratch_text("fair.map", fair), &err)) fail_msg("%s", err.text);
    name_map_free(map);
    assert_int_equal(name_map_open(&map, repeated("glob ", "*a", 65, " -> x\n"), &err), -1);
    assert_message(&err, "bad.map: line 1:", "more than 64 wildcards", NULL);
    assert_int_equal(name_map_open(&map, repeated("glob ", "a", 1001, " -> x\n"), &err), -1);
    assert_message(&err, "bad.map: line 1:", "longer than 1000 bytes", NULL);
    assert_int_equal(name_map_open(&map, repeated("", "glob a* -> b\n", 1001, ""), &err), -1);
    assert_message(&err, "bad.map: 1001 rules", "at most 1000", NULL);
    assert_int_equal(name_map_open(&map, scratch_write("nul.map", "glob a -> b\n\0", 13), &err),
                     -1);
    assert_message(&err, "nul.map", "NUL", NULL);
    assert_int_equal(name_map_open(&map, scratch_path("lmd"), &err), -1);
    assert_message(&err, "lmd: cannot open", "ldm, diffusers", NULL);
    assert_int_equal(name_map_open(&map, scratch_folder(), &err), -1);
    assert_message(&err, "is a directory", NULL);
    size_t most = (size_t)64 << 20;
    char *large = xmalloc(most + 1);
    memset(large, '\n', most + 1);
    assert_int_equal(name_map_open(&map, scratch_write("large.map", large, most + 1), &err), -1);
    assert_message(&err, "large.map", "at most", NULL);
    free(large);
}

/* ---- writing a map file ---------------------------------------------------------------------- */

/* A name of characters that mean something in a map, in names, or in a shell. */
static char *nasty_name(uint32_t *seed) {
    static const char *const parts[] = {
        "a", "b",    "7",  ".",  "/", " ",   "#",  "-",         "->",
        "*", "?",    "**", "\\", "1", "\\1", " #", " -> ",      "\xc3\xa9",
        "(", "glob", "$",  "'",  "[", "|",   "  ", "step.003/", "step.12/"};
    char name[400] = "";
    for (size_t n = 1 + (*seed = *seed * 1664525 + 1013904223) / 0x20000000u; n > 0; n--)
        strcat(
            name,
            parts[(*seed = *seed * 1664525 + 1013904223) / 256 % (sizeof parts / sizeof *parts)]);
    return xstrdup(name);
}

static bool is_new(const char *name, char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) return false;
    return true;
}

/* What was written is read back: every name becomes what it was to become. */
static void maps_are_written(void **state) {
    (void)state;
    enum { NAMES = 300 };
    char *from[NAMES], *to[NAMES];
    uint32_t seed = 1;
    err_t err;
    for (int round = 0; round < 20; round++) {
        size_t count = 0;
        while (count < NAMES) {
            from[count] = nasty_name(&seed);
            to[count] = nasty_name(&seed);
            bool usable = is_new(from[count], from, count) && is_new(to[count], to, count);
            count += usable;
            if (!usable) free(from[count]), free(to[count]);
        }
        const char *path = scratch_path("written.map");
        if (name_map_write(path, (const char *const *)from, (const char *const *)to, count, &err))
            fail_msg("%s", err.text);
        name_map_t *map = map_of(path);
        for (size_t i = 0; i < count; i++) check_mapped(map, from[i], to[i]);
        name_map_free(map);
        for (size_t i = 0; i < count; i++) free(from[i]), free(to[i]);
    }
    assert_int_equal(scratch_entries(), 1);
}

/* A name that means the same in every step is one line; one that does not keeps its steps. */
static void steps_are_written_once(void **state) {
    (void)state;
    static const char *const from[] = {"step.000/a", "step.001/a", "step.000/b", "step.001/b",
                                       "step.000/c", "step.001/d", "e"};
    static const char *const to[] = {"step.000/x", "step.001/x", "step.000/y", "step.001/z",
                                     "step.000/w", "step.001/w", "step.001/e"};
    err_t err;
    size_t bytes;
    const char *path = scratch_path("steps.map");
    assert_int_equal(name_map_write(path, from, to, 7, &err), 0);
    char *text = scratch_slurp(path, &bytes), *line = strchr(text, '\n') + 1;
    assert_string_equal(line, "glob a -> x\n"
                              "glob step.000/b -> step.000/y\n"
                              "glob step.001/b -> step.001/z\n"
                              "glob step.000/c -> step.000/w\n"
                              "glob step.001/d -> step.001/w\n"
                              "glob e -> step.001/e\n");
    free(text);
    name_map_t *map = map_of(path);
    for (size_t i = 0; i < 7; i++) check_mapped(map, from[i], to[i]);
    check_mapped(map, "step.017/a", "step.017/x");
    check_mapped(map, "step.017/b", "step.017/b");
    name_map_free(map);
}

static void maps_that_are_not_written(void **state) {
    (void)state;
    static const char *const two[] = {"a", "b"}, *const one[] = {"x", "x"};
    err_t err;
    size_t entries = scratch_entries();
    const char *path = scratch_path("none.map");
    assert_int_equal(name_map_write(path, two, one, 2, &err), -1);
    assert_message(&err, "none.map", "'a' and 'b' would both become 'x'", NULL);
    assert_int_equal(name_map_write(path, one, two, 2, &err), -1);
    assert_message(&err, "none.map", "'x' would become both 'a' and 'b'", NULL);
    assert_int_equal(name_map_write(path, two, two, 0, &err), -1);
    assert_message(&err, "none.map", "no name of the candidate is known", NULL);
    assert_int_equal(name_map_write(scratch_path("missing/none.map"), two, two, 2, &err), -1);
    assert_message(&err, "missing/none.map", NULL);
    assert_int_equal(scratch_entries(), entries);
}

/* A rule for one name is found without trying the others, and still only after those before it. */
static void exact_rules_keep_their_place(void **state) {
    (void)state;
    name_map_t *map = map_of(scratch_text("order.map", "glob a.b    -> first\n"
                                                       "glob a.*    -> second.\\1\n"
                                                       "glob a.c    -> third\n"
                                                       "regex b.*   -> fourth\n"
                                                       "glob b.c    -> fifth\n"
                                                       "glob d      -> sixth\n"
                                                       "glob d      -> seventh\n"
                                                       "glob \\ e\\   ->  \\ \\#\\- \n"));
    check_mapped(map, "a.b", "first");
    check_mapped(map, "a.c", "second.c");
    check_mapped(map, "b.c", "fourth");
    check_mapped(map, "d", "sixth");
    check_mapped(map, " e ", " #-");
    name_map_free(map);
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
        cmocka_unit_test_setup_teardown(large_rules, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(wrong_rules, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(maps_are_written, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(steps_are_written_once, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(maps_that_are_not_written, scratch_setup, scratch_teardown),
        cmocka_unit_test_setup_teardown(exact_rules_keep_their_place, scratch_setup,
                                        scratch_teardown),
        cmocka_unit_test(suggestions),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
