/* The table of LDM names, both ways: well-known names, every layer of the layouts, and names it has not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "io/ldm_names.h"

static const struct {
    const ldm_layout_t *layout;
    const char *component, *ours, *theirs;
} pairs[] = {
    {&ldm_layout_v1, "unet", "down_blocks.0.resnets.1.conv1.weight",
     "input_blocks.2.0.in_layers.2.weight"},
    {&ldm_layout_v1, "unet", "down_blocks.2.downsamplers.0.conv.bias", "input_blocks.9.0.op.bias"},
    {&ldm_layout_v1, "unet", "up_blocks.0.upsamplers.0.conv.weight",
     "output_blocks.2.1.conv.weight"},
    {&ldm_layout_v1, "unet", "up_blocks.1.upsamplers.0.conv.weight",
     "output_blocks.5.2.conv.weight"},
    {&ldm_layout_v1, "unet", "up_blocks.3.attentions.2.proj_in.weight",
     "output_blocks.11.1.proj_in.weight"},
    {&ldm_layout_v1, "vae", "decoder.up_blocks.0.upsamplers.0.conv.weight",
     "decoder.up.3.upsample.conv.weight"},
    {&ldm_layout_v1, "vae", "encoder.down_blocks.1.resnets.0.conv_shortcut.bias",
     "encoder.down.1.block.0.nin_shortcut.bias"},
    {&ldm_layout_v1, "text_encoder", "text_model.final_layer_norm.bias",
     "text_model.final_layer_norm.bias"},
    /* XL: no attention at the first level down and the last one up; the deepest level has it */
    {&ldm_layout_xl, "unet", "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k.weight",
     "input_blocks.4.1.transformer_blocks.1.attn2.to_k.weight"},
    {&ldm_layout_xl, "unet", "down_blocks.2.attentions.1.proj_in.weight",
     "input_blocks.8.1.proj_in.weight"},
    {&ldm_layout_xl, "unet", "mid_block.attentions.0.transformer_blocks.9.ff.net.2.weight",
     "middle_block.1.transformer_blocks.9.ff.net.2.weight"},
    {&ldm_layout_xl, "unet", "up_blocks.0.upsamplers.0.conv.weight",
     "output_blocks.2.2.conv.weight"},
    {&ldm_layout_xl, "unet", "up_blocks.2.resnets.0.conv_shortcut.weight",
     "output_blocks.6.0.skip_connection.weight"},
    {&ldm_layout_xl, "vae", "decoder.mid_block.attentions.0.to_out.0.bias",
     "decoder.mid.attn_1.proj_out.bias"},
    {&ldm_layout_xl, "unet", "add_embedding.linear_1.weight", "label_emb.0.0.weight"},
    {&ldm_layout_xl, "unet", "add_embedding.linear_2.bias", "label_emb.0.2.bias"},
    {&ldm_layout_xl, "text_encoder", "text_model.encoder.layers.10.mlp.fc1.bias",
     "text_model.encoder.layers.10.mlp.fc1.bias"},
    {&ldm_layout_xl, "text_encoder_2", "text_projection.weight", "text_projection"},
    {&ldm_layout_xl, "text_encoder_2", "text_model.encoder.layers.31.self_attn.k_proj.bias",
     "transformer.resblocks.31.attn.in_proj_bias[1]"},
    {&ldm_layout_v2, "text_encoder", "text_model.encoder.layers.2.self_attn.q_proj.weight",
     "transformer.resblocks.2.attn.in_proj_weight[0]"},
    {&ldm_layout_v2, "text_encoder", "text_model.encoder.layers.22.self_attn.out_proj.weight",
     "transformer.resblocks.22.attn.out_proj.weight"},
    {&ldm_layout_v2, "text_encoder", "text_model.encoder.layers.2.layer_norm2.bias",
     "transformer.resblocks.2.ln_2.bias"},
    {&ldm_layout_v2, "text_encoder", "text_model.encoder.layers.2.mlp.fc2.weight",
     "transformer.resblocks.2.mlp.c_proj.weight"},
    {&ldm_layout_v2, "text_encoder", "text_model.embeddings.position_embedding.weight",
     "positional_embedding"},
    {&ldm_layout_v2, "text_encoder", "text_model.embeddings.token_embedding.weight",
     "token_embedding.weight"},
    {&ldm_layout_v2, "text_encoder", "text_model.final_layer_norm.bias", "ln_final.bias"},
};

static void must(const ldm_layout_t *layout, const char *component, const char *ours,
                 const char *theirs) {
    char *whole = ldm_name(layout, component, ours),
         *back = ldm_name_ours(layout, component, theirs);
    assert_non_null(whole);
    assert_non_null(back);
    size_t prefix = strlen(ldm_prefix(layout, component));
    assert_memory_equal(whole, ldm_prefix(layout, component), prefix);
    assert_string_equal(whole + prefix, theirs);
    assert_string_equal(back, ours);
    free(whole);
    free(back);
}

static void well_known(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        must(pairs[i].layout, pairs[i].component, pairs[i].ours, pairs[i].theirs);
    assert_string_equal(ldm_prefix(&ldm_layout_xl, "text_encoder"),
                        "conditioner.embedders.0.transformer.");
    assert_string_equal(ldm_prefix(&ldm_layout_xl, "text_encoder_2"),
                        "conditioner.embedders.1.model.");
    assert_null(ldm_prefix(&ldm_layout_v1, "text_encoder_2"));
}

/* ---- every linear map and convolution of the transformers ------------------------------------------ */

/* Both ways and back; returns how many there are. */
static size_t see_transformer(const ldm_layout_t *layout, const char *at, size_t depth) {
    static const char *const ends[] = {"proj_in", "proj_out"};
    static const char *const layers[] = {
        "attn1.to_q", "attn1.to_k", "attn1.to_v",     "attn1.to_out.0", "attn2.to_q",
        "attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.0.proj",  "ff.net.2"};
    size_t seen = 0, prefix = strlen(ldm_prefix(layout, "unet"));
    for (size_t i = 0; i < 2 + 10 * depth; i++) {
        char name[128];
        if (i < 2)
            snprintf(name, sizeof name, "%s.%s", at, ends[i]);
        else
            snprintf(name, sizeof name, "%s.transformer_blocks.%zu.%s", at, (i - 2) / 10,
                     layers[(i - 2) % 10]);
        char *theirs = ldm_name(layout, "unet", name);
        if (!theirs) fail_msg("%s has no name", name);
        must(layout, "unet", name, theirs + prefix);
        free(theirs);
        seen++;
    }
    return seen;
}

static size_t see_transformers(const ldm_layout_t *l, size_t mid_depth) {
    size_t seen = see_transformer(l, "mid_block.attentions.0", mid_depth);
    for (size_t level = 0; level < l->levels; level++)
        for (size_t layer = 0; layer <= l->layers && l->depth[level]; layer++) {
            char at[64];
            snprintf(at, sizeof at, "down_blocks.%zu.attentions.%zu", level, layer);
            if (layer < l->layers) seen += see_transformer(l, at, l->depth[level]);
            snprintf(at, sizeof at, "up_blocks.%zu.attentions.%zu", l->levels - 1 - level, layer);
            seen += see_transformer(l, at, l->depth[level]);
        }
    return seen;
}

static void every_layer(void **state) {
    (void)state;
    assert_int_equal(see_transformers(&ldm_layout_v1, 1), 192);
    assert_int_equal(see_transformers(&ldm_layout_xl, 10), 722);
}

/* ---- others ---------------------------------------------------------------------------------------- */

static void unknown_names(void **state) {
    (void)state;
    static const char *const ours[] = {"anything",
                                       "down_blocks.4.resnets.0.conv1",
                                       "down_blocks.3.attentions.0.proj_in",
                                       "down_blocks.3.downsamplers.0.conv",
                                       "up_blocks.0.attentions.0.proj_in",
                                       "up_blocks.3.upsamplers.0.conv",
                                       "down_blocks.0",
                                       "down_blocks.0.resnets.10.conv1"};
    static const char *const theirs[] = {
        "input_blocks.12.0", "input_blocks.3.1.conv", "input_blocks.10.1",
        "output_blocks.0.1", "output_blocks.2.2",     "middle_block.3",
        "input_blocks",      "input_blocks.30.0",     "conv_in"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        assert_null(ldm_name(&ldm_layout_v1, "unet", ours[i]));
    for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++)
        assert_null(ldm_name_ours(&ldm_layout_v1, "unet", theirs[i]));
    assert_null(ldm_name(&ldm_layout_v1, "tokenizer", "vocab"));
    assert_null(ldm_name_ours(&ldm_layout_v1, "vae", "decoder.up.4.block.0"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_known),
        cmocka_unit_test(every_layer),
        cmocka_unit_test(unknown_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
