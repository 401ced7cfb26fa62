/* What each tap of a UNet is, and that the code shown is that of the sources. */
#include "../pipeline/tiny.h"
#include "../scratch.h"
#include "xray/kinds.h"

static void kind_is(const pipeline_t *pipeline, const char *name, const char *expected) {
    const char *found = kind_of(pipeline, name)->key;
    if (strcmp(found, expected) != 0)
        fail_msg("%s: kind '%s', should be '%s'", name, found, expected);
}

static void of_names(void **state) {
    (void)state;
    pipeline_t with = tiny_open(true), without = tiny_open(false);
#define DOWN  "unet.down_blocks.0"
#define BLOCK DOWN ".attentions.1.transformer_blocks.0"
    static const char *const rows[][2] = {
        {"unet.conv_in", "conv"},
        {DOWN ".resnets.0.conv1", "conv"},
        {DOWN ".resnets.0.norm1", "group_norm"},
        {DOWN ".resnets.0.time_emb_proj", "linear"},
        {DOWN ".resnets.0", "resnet"},
        {DOWN ".attentions.1", "transformer"},
        {DOWN ".attentions.1.norm", "group_norm"},
        {DOWN ".attentions.1.proj_in", "mole"},
        {BLOCK, "transformer_block"},
        {BLOCK ".norm1", "layer_norm"},
        {BLOCK ".attn1", "self_attention"},
        {BLOCK ".attn2", "cross_attention"},
        {BLOCK ".attn2.to_k", "mole"},
        {BLOCK ".attn2.to_out.0", "mole"},
        {BLOCK ".ff", "feed_forward"},
        {BLOCK ".ff.net.0", "geglu"},
        {BLOCK ".ff.net.2", "mole"},
        {DOWN ".downsamplers.0", "downsampler"},
        {DOWN ".downsamplers.0.conv", "conv"},
        {DOWN, "down"},
        {"unet.up_blocks.3.upsamplers.0", "upsampler"},
        {"unet.up_blocks.12", "up"},
        {"unet.mid_block", "mid"},
        {"unet.time_proj", "time_proj"},
        {"unet.time_embedding", "time_embedding"},
        {"unet.time_embedding.act", "silu"},
        {"unet.conv_act", "silu"},
        {"unet", "unet"},
        {"guided", "guidance"},
        {"latents", "sampler"},
        {"unet.down_blocks", "other"},
        {"unet.down_blocks.", "other"},
        {"x", "other"},
        {"", "other"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) kind_is(&with, rows[i][0], rows[i][1]);
    kind_is(&without, DOWN ".attentions.1.proj_in", "linear");
    pipeline_close(&with);
    pipeline_close(&without);
}

/* Each kind but "other" has an equation and code; each piece stands in its file, whole. */
static void the_code_is_in_the_sources(void **state) {
    (void)state;
    size_t kinds, codes;
    const kind_t *kind = kinds_all(&kinds);
    const kind_code_t *code = kinds_code(&codes);
    for (size_t i = 0; i < kinds; i++) {
        size_t found = 0;
        for (size_t k = 0; k < codes; k++) found += strcmp(code[k].key, kind[i].key) == 0;
        bool other = strcmp(kind[i].key, "other") == 0;
        if (other ? found > 0 : !found || !*kind[i].equation) fail_msg("kind %s", kind[i].key);
    }
    for (size_t k = 0; k < codes; k++) {
        size_t bytes;
        char *file = scratch_slurp(code[k].file, &bytes);
        if (!strstr(file, code[k].text))
            fail_msg("%s has no such %s", code[k].file, code[k].function);
        assert_non_null(strstr(code[k].text, code[k].function));
        assert_true(text_ends(code[k].text, "\n}\n"));
        free(file);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(of_names),
        fixture_test(the_code_is_in_the_sources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
