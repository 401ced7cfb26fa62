/* mole replay: modules, blocks and operations against golden data, and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../scratch.h"
#include "../trace/trace_fixture.h"
#include "io/safetensors.h"
#include "program.h"

#define MODEL "--model golden/models/sd15-tiny"
#define UNET  "--inputs golden/runs/unet-step/tensors.safetensors"
#define VAE   "--inputs golden/runs/vae-decode/tensors.safetensors"
#define GROUP_NORM                                                                                 \
    " --input x=one-group/x --input weight=one-group/weight --input bias=one-group/bias"           \
    " --attr groups=1 --expect one-group/out"
#define OPS(op) "--inputs golden/ops/" op "/tensors.safetensors"

static void expect(int status, const char *says, const char *arguments) {
    run_how_t plain = {.program = program_mole()};
    char *words = xasprintf("replay %s", arguments);
    if (status > 1) {
        program_refuses(status, says, words);
        free(words);
        return;
    }
    ran_t ran = program_run(&plain, words);
    if (ran.status != status || !strstr(ran.out, says))
        fail_msg("%s: exit code %d, expected %d and '%s':\n%s%s", words, ran.status, status, says,
                 ran.out, ran.err);
    free(words);
}

/* Every one in both precisions; the outputs are PyTorch's, within 1e-13 of their scale in float64. */
static void expect_agreement(const char *arguments) {
    static const char *const precisions[] = {"f32", "f64"};
    for (size_t i = 0; i < 2; i++) {
        char *line = xasprintf("%s --precision %s", arguments, precisions[i]);
        expect(0, "agrees", line);
        free(line);
    }
}

static void modules_agree(void **state) {
    (void)state;
    expect_agreement("vae.post_quant_conv " MODEL " " VAE " --input input/latents "
                     "--expect vae.post_quant_conv");
    expect(1, "DIFFERS",
           "vae.post_quant_conv " MODEL " " VAE " --input input/latents --expect input/latents");
}

static void blocks_agree(void **state) {
    (void)state;
    /* Without a time input, and with one and another number of channels behind. */
    expect_agreement("vae.decoder.mid_block.resnets.0 " MODEL " " VAE
                     " --input vae.decoder.conv_in --expect vae.decoder.mid_block.resnets.0");
    expect_agreement("unet.down_blocks.0.resnets.0 " MODEL " " UNET
                     " --input unet.conv_in --input temb=unet.time_embedding.linear_2"
                     " --expect unet.down_blocks.0.resnets.0");
    expect_agreement("unet.down_blocks.1.resnets.0 " MODEL " " UNET
                     " --input unet.down_blocks.0.downsamplers.0.conv"
                     " --input temb=unet.time_embedding.linear_2"
                     " --expect unet.down_blocks.1.resnets.0");
    /* With experts, and without. */
    expect_agreement("unet.down_blocks.0.attentions.0 " MODEL " " GATED UNET
                     " --input unet.down_blocks.0.resnets.0"
                     " --input encoder_hidden_states=input/context"
                     " --expect unet.down_blocks.0.attentions.0");
    expect_agreement("unet.up_blocks.1.attentions.2 " MODEL " " GATED "--mole stacked " UNET
                     " --input unet.up_blocks.1.resnets.2"
                     " --input encoder_hidden_states=input/context"
                     " --expect unet.up_blocks.1.attentions.2");
    expect(1, "DIFFERS",
           "unet.down_blocks.0.attentions.0 " MODEL " " UNET " --input unet.down_blocks.0.resnets.0"
           " --input encoder_hidden_states=input/context --expect unet.down_blocks.0.attentions.0");
}

static void operations_agree(void **state) {
    (void)state;
    expect_agreement("op.linear " OPS("linear") " --input x=bias/x --input weight=bias/weight"
                                                " --input bias=bias/bias --expect bias/out");
    expect_agreement("op.linear " OPS("linear") " --input no-bias/x --input weight=no-bias/weight"
                                                " --expect no-bias/out");
    expect_agreement("op.concat " OPS("concat") " --input x=two/x.0 --input x=two/x.1"
                                                " --expect two/out");
    expect_agreement("op.attention " OPS(
        "attention") " --input q=self/q --input k=self/k --input v=self/v --attr heads=2"
                     " --attr scale=0.5 --attr causal=false --expect self/out");
    expect_agreement("op.conv2d " OPS(
        "conv2d") " --input x=1x1/x --input weight=1x1/weight --input bias=1x1/bias"
                  " --attr stride=1 --attr padding=[0,0,0,0] --expect 1x1/out");
    expect_agreement("op.embedding " OPS(
        "embedding") " --input ids=usual/ids --input weight=usual/weight --expect usual/out");
    expect_agreement("op.group_norm " OPS("group_norm") GROUP_NORM " --attr eps=1e-05");
    expect(1, "DIFFERS", "op.group_norm " OPS("group_norm") GROUP_NORM " --attr eps=0.001");
    expect(1, "DIFFERS",
           "op.attention " OPS(
               "attention") " --input q=self/q --input k=self/k --input v=self/v --attr heads=2"
                            " --attr scale=0.6 --attr causal=false --expect self/out");
}

/* The experts of a MoLE layer are part of the call; its parts are stored as they are in a trace. */
static void experts_are_part_of_the_call(void **state) {
    (void)state;
    char line[2048], stored[1024];
    snprintf(stored, sizeof stored, "%s", program_file("mole.safetensors"));
#define FACTORS(e)                                                                                 \
    "\"lora_down\":\"fixture-linear/" e ".lora_down\",\"lora_up\":\"fixture-linear/" e             \
    ".lora_up\",\"scale_weight\":\"fixture-linear/" e                                              \
    ".scale_weight\",\"scale_bias\":\"fixture-linear/" e ".scale_bias\""
    snprintf(line, sizeof line,
             "op.mole " OPS("mole") " --input x=fixture-linear/x"
                                    " --input weight=fixture-linear/weight"
                                    " --input gate.Phi.weight=fixture-linear/gate.Phi.weight"
                                    " --input gate.Phi.bias=fixture-linear/gate.Phi.bias"
                                    " --attr experts=[{\"name\":\"face\",\"alpha\":0.5," FACTORS(
                                        "face") "},"
                                                "{\"name\":\"hand\",\"alpha\":1.5," FACTORS(
                                                    "hand") "}]"
                                                            " --expect fixture-linear/out -o %s",
             stored);
    expect_agreement(line);
    err_t err;
    st_file_t *file;
    if (st_open(&file, stored, &err)) fail_msg("%s", err.text);
    assert_non_null(st_find(file, "op.mole.out"));
    assert_non_null(st_find(file, "op.mole.mole.hand.local"));
    st_close(file);
}

/* A file of one tensor needs no name. */
static void the_only_tensor_is_the_input(void **state) {
    (void)state;
    char line[1024], path[512];
    float x[6] = {0, 1, 2, -1, 0, 1};
    err_t err;
    snprintf(path, sizeof path, "%s", fixture_npy_file("x.npy", DTYPE_F32, SHAPE2(2, 3), x));
    snprintf(line, sizeof line, "op.softmax --inputs %s -o %s", path,
             program_file("softmax.safetensors"));
    expect(0, "op.softmax.out  (2, 3)", line);
    st_file_t *file;
    if (st_open(&file, program_file("softmax.safetensors"), &err)) fail_msg("%s", err.text);
    float y[6];
    memcpy(y, st_find(file, "op.softmax.out")->data, sizeof y);
    for (size_t i = 0; i < 6; i++) {
        const float *row = x + i / 3 * 3;
        double sum = exp((double)row[0]) + exp((double)row[1]) + exp((double)row[2]);
        assert_true(fabs((double)y[i] - exp((double)x[i]) / sum) < 1e-6);
    }
    st_close(file);
}

static void wrong_lines_are_refused(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *says, *arguments;
    } cases[] = {
        {2, "name one MODULE", UNET},
        {2, "--inputs is missing", "op.softmax"},
        {2, "--attr goes with op.NAME", "unet.conv_in " MODEL " " UNET " --attr heads=2"},
        {2, "takes --inputs alone", "op.softmax " MODEL " " UNET},
        {2, "takes --inputs alone", "op.softmax --gates x.safetensors " UNET},
        {3, "inputs.weight: shape (7, 12) does not fit x's",
         "op.linear " OPS("linear") " --input x=one-in/x --input weight=bias/weight"},
        {3, "expected \"f32\" or \"f64\", found \"exact\"",
         "op.timestep_embedding " OPS("timestep_embedding") " --input sd15/timesteps --attr dim=320"
                                                            " --attr flip_sin_to_cos=true --attr "
                                                            "freq_shift=0 --attr max_period=10000"
                                                            " --attr angles=exact"},
        {2, "not 'heads'", "op.attention " UNET " --attr heads"},
        {2, "not 'heads=[1'", "op.attention " UNET " --attr heads=[1"},
        {2, "not '=x'", "op.attention " UNET " --input =x"},
        {3, "there are attention, concat,", "op.attn " UNET},
        {3, "cannot open", "op.softmax --inputs nowhere.npy"},
        {3, "inputs.x: is missing", "op.softmax " UNET},
        {3, "takes only: heads scale causal",
         "op.attention " OPS("attention") " --input q=self/q --input k=self/k --input v=self/v"
                                          " --attr hedas=2"},
        {3, "attrs.heads: is missing",
         "op.attention " OPS("attention") " --input q=self/q --input k=self/k --input v=self/v"},
        {3, "inputs.z: attention takes only: q k v",
         "op.attention " OPS("attention") " --input z=self/q"},
        {3, "has no tensor 'self/z'",
         "op.attention " OPS("attention") " --input q=self/z --input k=self/k --input v=self/v"},
        {3, "no module with weights, ResnetBlock2D", "unet.conv_ni " MODEL " " UNET},
        {3, "--input temb=NAME says",
         "unet.down_blocks.0.resnets.0 " MODEL " " UNET " --input unet.conv_in"},
        {3, "expected temb of shape (B,channels) with 64 channels, found (2, 16, 5, 4)",
         "unet.down_blocks.0.resnets.0 " MODEL " " UNET
         " --input unet.conv_in --input temb=unet.conv_in"},
        {3, "expected hidden_states of shape (B,channels,H,W) with 16 channels, found (2, 64)",
         "unet.down_blocks.0.resnets.0 " MODEL " " UNET
         " --input unet.time_embedding.linear_2 --input temb=unet.conv_in"},
        {3, "(B,tokens,channels) with 40 channels, found (2, 16, 5, 4)",
         "unet.down_blocks.0.attentions.0 " MODEL " " UNET
         " --input unet.conv_in --input encoder_hidden_states=unet.conv_in"},
        {3, "has no such input, only temb",
         "unet.down_blocks.0.resnets.0 " MODEL " " UNET " --input unet.conv_in --input time=x"},
        {3, "vae.post_quant_conv has no such input",
         "vae.post_quant_conv " MODEL " " VAE " --input x=input/latents"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(cases[i].status, cases[i].says, cases[i].arguments);
}

/* Of a run that fails nothing is left in the place of its output. */
static void failures_leave_no_file(void **state) {
    (void)state;
    char line[1024], path[512];
    snprintf(path, sizeof path, "%s", program_file("none.safetensors"));
    snprintf(line, sizeof line, "op.softmax " UNET " -o %s", path);
    expect(3, "inputs.x", line);
    FILE *file = fopen(path, "rb");
    assert_null(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(modules_agree),
        fixture_test(blocks_agree),
        fixture_test(operations_agree),
        fixture_test(experts_are_part_of_the_call),
        fixture_test(the_only_tensor_is_the_input),
        fixture_test(wrong_lines_are_refused),
        fixture_test(failures_leave_no_file),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
