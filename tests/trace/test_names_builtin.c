/* test_names_builtin.c - the built-in maps, against the taps of the golden cases. */
#include "../unit.h"
#include "golden/golden.h"
#include "map_fixture.h"
#include "trace/names.h"

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
        check_mapped(diffusers, ours, ours);
        check_mapped(ldm, ours, ours);
        if (strncmp(ours, component, skip - 1) != 0 || ours[skip - 1] != '.') continue;
        check_mapped(diffusers, ours + skip, ours);
        snprintf(name, sizeof name, "step.003/%s", ours + skip);
        snprintf(wanted, sizeof wanted, "step.003/%s", ours);
        check_mapped(diffusers, name, wanted);
        checked++;
        if (!kohya || strstr(ours, ".mole.")) continue;
        snprintf(name, sizeof name, "step.012/%s%s", kohya, ours + skip);
        for (char *p = name + 9; *p; p++)
            if (*p == '.') *p = '_';
        check_mapped(ldm, name + 9, ours);
        snprintf(wanted, sizeof wanted, "step.012/%s", ours);
        check_mapped(ldm, name, wanted);
        strcat(name, ".in");
        strcat(wanted, ".in");
        check_mapped(ldm, name, wanted);
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
    check_mapped(map, "encoder.layers.3.mlp.fc1",
                 "text_encoder.text_model.encoder.layers.3.mlp.fc1");
    check_mapped(map, "final_layer_norm", "text_encoder.text_model.final_layer_norm");
    check_mapped(map, "encoder.down_blocks.0.resnets.0", "vae.encoder.down_blocks.0.resnets.0");
    check_mapped(map, "decoder.mid_block.attentions.0.query",
                 "vae.decoder.mid_block.attentions.0.to_q");
    check_mapped(map, "vae.decoder.mid_block.attentions.0.proj_attn.in",
                 "vae.decoder.mid_block.attentions.0.to_out.0.in");
    check_mapped(map, "decoder.mid_block.attentions.0", "vae.decoder.mid_block.attentions.0");
    check_mapped(map, "mid_block.attentions.0.query", "unet.mid_block.attentions.0.query");
    check_mapped(map, "latents", "latents");
    check_mapped(map, "down_blocksx", "down_blocksx");
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
    check_mapped(map, "model.diffusion_model", "unet");
    check_mapped(map, "step.049/model.diffusion_model.output_blocks.5.1.proj_in.in",
                 "step.049/unet.up_blocks.1.attentions.2.proj_in.in");
    check_mapped(
        map, "input_blocks.4.1.transformer_blocks.0.attn2.to_k.mole.face.expert",
        "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.mole.face.expert");
    check_mapped(map, "lora_unet_input_blocks_4_1_proj_in",
                 "unet.down_blocks.1.attentions.0.proj_in");
    check_mapped(map, "lora_unet_output_blocks_2_1_conv.in",
                 "unet.up_blocks.0.upsamplers.0.conv.in");
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
                                            "cond_stage_model.other",
                                            "model.diffusion_models.out.0",
                                            "lora_x_conv_in"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        check_mapped(map, strangers[i], strangers[i]);
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
    check_mapped(map, "first_stage_model", "vae");
    check_mapped(map, "first_stage_model.quant_conv", "vae.quant_conv");
    check_mapped(map, "first_stage_model.encoder.down.1.block.0.nin_shortcut",
                 "vae.encoder.down_blocks.1.resnets.0.conv_shortcut");
    check_mapped(map, "first_stage_model.encoder.down.1.downsample.conv",
                 "vae.encoder.down_blocks.1.downsamplers.0.conv");
    check_mapped(map, "first_stage_model.encoder.mid.attn_1.q.in",
                 "vae.encoder.mid_block.attentions.0.to_q.in");
    check_mapped(map, "cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc1",
                 "text_encoder.text_model.encoder.layers.1.mlp.fc1");
    check_mapped(map, "cond_stage_model.transformer", "text_encoder");
    check_mapped(map, "cond_stage_model.model.transformer.resblocks.3.mlp.c_fc",
                 "text_encoder.text_model.encoder.layers.3.mlp.fc1");
    check_mapped(map, "conditioner.embedders.0.transformer.text_model.encoder.layers.1.mlp.fc1",
                 "text_encoder.text_model.encoder.layers.1.mlp.fc1");
    check_mapped(map, "conditioner.embedders.1.model.transformer.resblocks.3.ln_2",
                 "text_encoder_2.text_model.encoder.layers.3.layer_norm2");
    check_mapped(map, "model.diffusion_model.label_emb.0.2", "unet.add_embedding.linear_2");
    name_map_free(map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_diffusers_and_kohya),
        cmocka_unit_test(ldm_unet),
        cmocka_unit_test(ldm_vae_and_text),
    };
    return cmocka_run_group_tests_name("names_builtin", tests, NULL, NULL);
}
