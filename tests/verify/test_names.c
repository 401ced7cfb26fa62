/* test_names.c - map files, globs, the built-in maps against the taps of the golden cases, and
 * suggestions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../scratch.h"
#include "verify/golden.h"
#include "verify/names.h"

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

/* ---- the built-in maps ----------------------------------------------------------------------- */

typedef struct {
    golden_case_t golden;
    const char *component; /* "unet" */
} taps_t;

static void open_taps(taps_t *taps, const char *folder, const char *component) {
    err_t err;
    if (golden_case_open(&taps->golden, folder, &err) != 0) fail_msg("%s", err.text);
    taps->component = component;
}

/* Place of a name in the order of execution; fails when there is no such tap. */
static size_t place_of(const taps_t *taps, const char *name) {
    const golden_tap_t *tap = golden_case_find(&taps->golden, name);
    if (!tap) fail_msg("no tap '%s'", name);
    return (size_t)(tap - taps->golden.tap);
}

/* Every tap of the golden cases without its component, and in kohya's spelling. */
static void every_tap(const char *folder, const char *component, const char *kohya) {
    taps_t taps;
    open_taps(&taps, folder, component);
    name_map_t *diffusers = map_of("diffusers"), *ldm = map_of("ldm");
    size_t skip = strlen(component) + 1, checked = 0;
    char name[512], wanted[512];
    for (size_t i = 0; i < taps.golden.taps; i++) {
        const char *ours = taps.golden.tap[i].name;
        check(diffusers, ours, ours);
        check(ldm, ours, ours);
        if (strncmp(ours, component, skip - 1) != 0 || ours[skip - 1] != '.') continue;
        check(diffusers, ours + skip, ours);
        snprintf(name, sizeof name, "step.003/%s", ours + skip);
        snprintf(wanted, sizeof wanted, "step.003/%s", ours);
        check(diffusers, name, wanted);
        checked++;
        if (!kohya || strstr(ours, ".mole.")) continue;
        snprintf(name, sizeof name, "step.012/%s%s", kohya, ours + skip);
        for (char *p = name + 9; *p; p++)
            if (*p == '.') *p = '_';
        check(ldm, name + 9, ours);
        snprintf(wanted, sizeof wanted, "step.012/%s", ours);
        check(ldm, name, wanted);
        strcat(name, ".in");
        strcat(wanted, ".in");
        check(ldm, name, wanted);
    }
    assert_true(checked > 30);
    name_map_free(diffusers);
    name_map_free(ldm);
    golden_case_close(&taps.golden);
}

static void names_of_diffusers_and_kohya(void **state) {
    (void)state;
    every_tap("golden/runs/unet-step", "unet", "lora_unet_");
    every_tap("golden/runs/text-encoder", "text_encoder", "lora_te_");
    every_tap("golden/runs/vae-decode", "vae", NULL);
    name_map_t *map = map_of("diffusers");
    check(map, "encoder.layers.3.mlp.fc1", "text_encoder.text_model.encoder.layers.3.mlp.fc1");
    check(map, "final_layer_norm", "text_encoder.text_model.final_layer_norm");
    check(map, "encoder.down_blocks.0.resnets.0", "vae.encoder.down_blocks.0.resnets.0");
    check(map, "decoder.mid_block.attentions.0.query", "vae.decoder.mid_block.attentions.0.to_q");
    check(map, "vae.decoder.mid_block.attentions.0.proj_attn.in",
          "vae.decoder.mid_block.attentions.0.to_out.0.in");
    check(map, "decoder.mid_block.attentions.0", "vae.decoder.mid_block.attentions.0");
    check(map, "mid_block.attentions.0.query", "unet.mid_block.attentions.0.query");
    check(map, "latents", "latents");
    check(map, "down_blocksx", "down_blocksx");
    name_map_free(map);
}

/* LDM's modules in the order of their execution, by its own numbering: mapped, they must be taps, and in
 * the order of execution of ours. */
typedef struct {
    const taps_t *taps;
    const name_map_t *map;
    size_t last, checked;
    const char *prefix;
} walk_t;

static void next(walk_t *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void next(walk_t *w, const char *format, ...) {
    char rest[256], name[512];
    va_list args;
    va_start(args, format);
    vsnprintf(rest, sizeof rest, format, args);
    va_end(args);
    snprintf(name, sizeof name, "%s%s", w->prefix, rest);
    char *mapped = name_map_apply(w->map, name);
    size_t place = place_of(w->taps, mapped);
    if (w->checked++ && place <= w->last)
        fail_msg("'%s' became '%s', tap %zu, after tap %zu", name, mapped, place, w->last);
    w->last = place;
    free(mapped);
}

static void next_resnet(walk_t *w, const char *place, bool shortcut) {
    static const char *const parts[] = {"in_layers.0", "in_layers.2", "emb_layers.1",
                                        "out_layers.0", "out_layers.3"};
    for (size_t i = 0; i < 5; i++) next(w, "%s.%s", place, parts[i]);
    if (shortcut) next(w, "%s.skip_connection", place);
    next(w, "%s", place);
}

static void next_attention(walk_t *w, const char *place) {
    static const char *const parts[] = {"norm",
                                        "proj_in",
                                        "transformer_blocks.0.norm1",
                                        "transformer_blocks.0.attn1.to_q",
                                        "transformer_blocks.0.attn1.to_out.0",
                                        "transformer_blocks.0.attn1",
                                        "transformer_blocks.0.attn2.to_v",
                                        "transformer_blocks.0.ff.net.0.proj",
                                        "transformer_blocks.0.ff.net.2",
                                        "transformer_blocks.0",
                                        "proj_out"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) next(w, "%s.%s", place, parts[i]);
    next(w, "%s", place);
}

static void walk_ldm_unet(walk_t *w) {
    char place[64];
    next(w, "time_embed.0");
    next(w, "time_embed.1");
    next(w, "time_embed.2");
    next(w, "time_embed");
    next(w, "input_blocks.0.0");
    for (int i = 1; i < 12; i++) {
        snprintf(place, sizeof place, "input_blocks.%d.0", i);
        if (i % 3 == 0) {
            next(w, "input_blocks.%d.0.op", i);
            next(w, "%s", place);
            next(w, "input_blocks.%d", i); /* the level */
            continue;
        }
        next_resnet(w, place, i == 4 || i == 7);
        snprintf(place, sizeof place, "input_blocks.%d.1", i);
        if (i < 9) next_attention(w, place);
    }
    next(w, "input_blocks.11");
    next_resnet(w, "middle_block.0", false);
    next_attention(w, "middle_block.1");
    next_resnet(w, "middle_block.2", false);
    next(w, "middle_block");
    for (int i = 0; i < 12; i++) {
        snprintf(place, sizeof place, "output_blocks.%d.0", i);
        next_resnet(w, place, true);
        snprintf(place, sizeof place, "output_blocks.%d.1", i);
        if (i > 2) next_attention(w, place);
        if (i % 3 != 2) continue;
        snprintf(place, sizeof place, "output_blocks.%d.%d", i, i == 2 ? 1 : 2);
        if (i < 11) next(w, "%s.conv", place);
        if (i < 11) next(w, "%s", place);
        next(w, "output_blocks.%d", i);
    }
    next(w, "out.0");
    next(w, "out.1");
    next(w, "out.2");
}

static void ldm_unet(void **state) {
    (void)state;
    static const char *const prefixes[] = {"model.diffusion_model.", "diffusion_model.", ""};
    taps_t taps;
    open_taps(&taps, "golden/runs/unet-step", "unet");
    name_map_t *map = map_of("ldm");
    for (size_t p = 0; p < 3; p++) {
        walk_t w = {.taps = &taps, .map = map, .prefix = prefixes[p]};
        walk_ldm_unet(&w);
        assert_true(w.checked > 330);
    }
    check(map, "model.diffusion_model", "unet");
    check(map, "step.049/model.diffusion_model.output_blocks.5.1.proj_in.in",
          "step.049/unet.up_blocks.1.attentions.2.proj_in.in");
    check(map, "input_blocks.4.1.transformer_blocks.0.attn2.to_k.mole.face.expert",
          "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.mole.face.expert");
    check(map, "lora_unet_input_blocks_4_1_proj_in", "unet.down_blocks.1.attentions.0.proj_in");
    check(map, "lora_unet_output_blocks_2_1_conv.in", "unet.up_blocks.0.upsamplers.0.conv.in");
    static const char *const strangers[] = {"input_blocks",
                                            "input_blocks.12.0",
                                            "input_blocks.10.1",
                                            "input_blocks.3.1",
                                            "input_blocks.1",
                                            "input_blocks.1.2",
                                            "output_blocks.12.0",
                                            "output_blocks.0.1",
                                            "output_blocks.11.2",
                                            "output_blocks.3.2",
                                            "output_blocks.1",
                                            "middle_block.3",
                                            "out",
                                            "out.3",
                                            "time_embeds.0",
                                            "input_blocks.x",
                                            "input_blocks.100.0",
                                            "outer.0",
                                            "first_stage_model.decoder.up.4.block.0",
                                            "first_stage_model.decoder.up.0.other",
                                            "cond_stage_model.model",
                                            "model.diffusion_models.out.0",
                                            "lora_x_conv_in"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        check(map, strangers[i], strangers[i]);
    name_map_free(map);
    golden_case_close(&taps.golden);
}

static void walk_vae_resnet(walk_t *w, const char *place, bool shortcut) {
    next(w, "%s.norm1", place);
    next(w, "%s.conv1", place);
    next(w, "%s.norm2", place);
    next(w, "%s.conv2", place);
    if (shortcut) next(w, "%s.nin_shortcut", place);
    next(w, "%s", place);
}

static void walk_ldm_vae(walk_t *w) {
    static const char *const attention[] = {".norm", ".q", ".k", ".v", ".proj_out", ""};
    char place[64];
    next(w, "post_quant_conv");
    next(w, "decoder.conv_in");
    walk_vae_resnet(w, "decoder.mid.block_1", false);
    for (size_t i = 0; i < 6; i++) next(w, "decoder.mid.attn_1%s", attention[i]);
    walk_vae_resnet(w, "decoder.mid.block_2", false);
    for (int level = 3; level >= 0; level--) {
        for (int block = 0; block < 3; block++) {
            snprintf(place, sizeof place, "decoder.up.%d.block.%d", level, block);
            walk_vae_resnet(w, place, block == 0 && level < 2);
        }
        if (level) next(w, "decoder.up.%d.upsample.conv", level);
        if (level) next(w, "decoder.up.%d.upsample", level);
    }
    next(w, "decoder.norm_out");
    next(w, "decoder.conv_out");
    next(w, "decoder");
}

static void ldm_vae_and_text(void **state) {
    (void)state;
    taps_t taps;
    open_taps(&taps, "golden/runs/vae-decode", "vae");
    name_map_t *map = map_of("ldm");
    for (int bare = 0; bare < 2; bare++) {
        walk_t w = {.taps = &taps, .map = map, .prefix = bare ? "" : "first_stage_model."};
        walk_ldm_vae(&w);
        assert_true(w.checked > 80);
    }
    golden_case_close(&taps.golden);
    check(map, "first_stage_model", "vae");
    check(map, "first_stage_model.quant_conv", "vae.quant_conv");
    check(map, "first_stage_model.encoder.down.1.block.0.nin_shortcut",
          "vae.encoder.down_blocks.1.resnets.0.conv_shortcut");
    check(map, "first_stage_model.encoder.down.1.downsample.conv",
          "vae.encoder.down_blocks.1.downsamplers.0.conv");
    check(map, "first_stage_model.encoder.mid.attn_1.q.in",
          "vae.encoder.mid_block.attentions.0.to_q.in");
    check(map, "cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc1",
          "text_encoder.text_model.encoder.layers.1.mlp.fc1");
    check(map, "cond_stage_model.transformer", "text_encoder");
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
        cmocka_unit_test_setup_teardown(wrong_rules, scratch_setup, scratch_teardown),
        cmocka_unit_test(names_of_diffusers_and_kohya),
        cmocka_unit_test(ldm_unet),
        cmocka_unit_test(ldm_vae_and_text),
        cmocka_unit_test(suggestions),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
