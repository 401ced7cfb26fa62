/* Names of taps: step, component's module, expert, part, input. */
#include <stdlib.h>
#include <string.h>

#include "../fixture.h"
#include "core/tap_name.h"

static const struct {
    const char *text;
    bool has_step;
    size_t step;
    const char *name, *layer, *module, *suffix, *expert, *part;
    bool is_input;
} cases[] = {
    {"unet.conv_in", false, 0, "unet.conv_in", "unet.conv_in", "unet.conv_in", "", "", "", false},
    {"step.012/unet.conv_in.in", true, 12, "unet.conv_in.in", "step.012/unet.conv_in",
     "unet.conv_in", ".in", "", "", true},
    {"step.000/unet.a.to_q.mole.face.local", true, 0, "unet.a.to_q.mole.face.local",
     "step.000/unet.a.to_q", "unet.a.to_q", ".mole.face.local", "face", "local", false},
    {"unet.a.mole.base", false, 0, "unet.a.mole.base", "unet.a", "unet.a", ".mole.base", "", "base",
     false},
    {"unet.a.mole.left.hand.out", false, 0, "unet.a.mole.left.hand.out", "unet.a", "unet.a",
     ".mole.left.hand.out", "left.hand", "out", false},
    {"step.1000/latents", true, 1000, "latents", "step.1000/latents", "latents", "", "", "", false},
    {"image", false, 0, "image", "image", "image", "", "", "", false},
    /* what is no step, no expert, no input */
    {"step.x/a", false, 0, "step.x/a", "step.x/a", "step.x/a", "", "", "", false},
    {"step./a", false, 0, "step./a", "step./a", "step./a", "", "", "", false},
    {"step.12", false, 0, "step.12", "step.12", "step.12", "", "", "", false},
    {"footstep.1/a", false, 0, "footstep.1/a", "footstep.1/a", "footstep.1/a", "", "", "", false},
    {"unet.mole", false, 0, "unet.mole", "unet.mole", "unet.mole", "", "", "", false},
    {"unet.conv_in", false, 0, "unet.conv_in", "unet.conv_in", "unet.conv_in", "", "", "", false},
    {"", false, 0, "", "", "", "", "", "", false},
};

static void parts(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tap_name_t n = tap_name(cases[i].text);
        bool good = n.has_step == cases[i].has_step && n.step == cases[i].step &&
                    strcmp(n.name, cases[i].name) == 0 && tap_span_is(n.layer, cases[i].layer) &&
                    tap_span_is(n.module, cases[i].module) &&
                    strcmp(n.suffix, cases[i].suffix) == 0 &&
                    tap_span_is(n.expert, cases[i].expert) && strcmp(n.part, cases[i].part) == 0 &&
                    n.is_input == cases[i].is_input && n.is_mole == (*cases[i].part != '\0');
        if (!good) fail_msg("'%s' is read otherwise", cases[i].text);
        assert_true(tap_name_is_input(cases[i].text) == cases[i].is_input);
    }
}

static void layers(void **state) {
    (void)state;
    char *base = tap_name_layer("step.003/unet.a.in", ".mole.base");
    char *layer = tap_name_layer("step.003/unet.a.mole.face.out", "");
    assert_string_equal(base, "step.003/unet.a.mole.base");
    assert_string_equal(layer, "step.003/unet.a");
    free(base);
    free(layer);
}

static void steps(void **state) {
    (void)state;
    char text[STEP_PREFIX];
    assert_string_equal(tap_step(text, 0), "step.000/");
    assert_string_equal(tap_step(text, 49), "step.049/");
    assert_string_equal(tap_step(text, 1000), "step.1000/");
    assert_int_equal(tap_step_length("step.1000/latents"), 10);
    assert_int_equal(tap_step_length("latents"), 0);
    assert_false(tap_span_is(tap_name("unet.conv").layer, "unet.con"));
    assert_false(tap_span_is(tap_name("unet.conv").layer, "unet.conv_in"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts),
        cmocka_unit_test(layers),
        cmocka_unit_test(steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
