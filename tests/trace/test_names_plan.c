/* test_names_plan.c - names that differ from ours in one way throughout a trace, made from the taps of
 * the golden cases. */
#include "../unit.h"
#include "golden/golden.h"
#include "trace/names_plan.h"

enum { MOST = 2400 };

/* Ours, and theirs, of which each stands for the one at the same place. */
typedef struct {
    const char *ours[MOST];
    char *theirs[MOST];
    bool taken[MOST];
    size_t count, meant[MOST];
    int answer; /* of a right guess about numbers; of a wrong one 0 */
    names_plan_t *plan;
} subject_t;

static int same(void *context, size_t theirs, size_t ours) {
    const subject_t *s = context;
    return s->answer < 0 ? -1 : s->answer && theirs == ours;
}

/* "unet.conv_in" with `from` as `to`, where it first stands. */
static char *replaced(const char *name, const char *from, const char *to) {
    const char *at = strstr(name, from);
    return at ? xasprintf("%.*s%s%s", (int)(at - name), name, to, at + strlen(from))
              : xstrdup(name);
}

static golden_case_t golden[3]; /* opened once */
static const char *const folders[3] = {"golden/runs/unet-step", "golden/runs/text-encoder",
                                       "golden/runs/vae-decode"};

static int open_cases(void **state) {
    (void)state;
    err_t err;
    for (size_t i = 0; i < 3; i++)
        if (golden_case_open(&golden[i], folders[i], &err)) fail_msg("%s", err.text);
    return 0;
}

static int close_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < 3; i++) golden_case_close(&golden[i]);
    return 0;
}

static void open_subject(subject_t *s, const char *folder) {
    size_t at = 0;
    while (strcmp(folders[at], folder) != 0) at++;
    memset(s, 0, sizeof *s);
    s->count = golden[at].taps;
    assert_true(s->count <= MOST);
    s->answer = 1;
    for (size_t i = 0; i < s->count; i++) s->ours[i] = golden[at].tap[i].name;
}

static void plan_it(subject_t *s, size_t strangers) {
    names_question_t q = {.ours = s->ours,
                          .count = s->count,
                          .taken = s->taken,
                          .theirs = (const char *const *)s->theirs,
                          .strangers = strangers,
                          .same = same,
                          .context = s};
    names_plan_free(s->plan);
    s->plan = names_plan(&q, s->meant);
}

/* Every one of ours with `from` as `to` is known, but for what has no `from`; returns how many there are. */
static size_t all_known(subject_t *s, const char *from, const char *to, const char *said) {
    size_t changed = 0;
    for (size_t i = 0; i < s->count; i++) s->theirs[i] = replaced(s->ours[i], from, to);
    plan_it(s, s->count);
    for (size_t i = 0; i < s->count; i++) {
        bool same_name = strcmp(s->theirs[i], s->ours[i]) == 0;
        changed += !same_name;
        if (s->meant[i] != i)
            fail_msg("'%s' became '%s', not '%s'", s->theirs[i],
                     s->meant[i] < s->count ? s->ours[s->meant[i]] : "nothing", s->ours[i]);
    }
    bool found = said == NULL;
    for (size_t i = 0; i < names_plan_said(s->plan); i++)
        found |= said && strstr(names_plan_saying(s->plan, i), said);
    if (!found) fail_msg("'%s' is not said", said);
    for (size_t i = 0; i < s->count; i++) free(s->theirs[i]);
    return changed;
}

static void close_subject(subject_t *s) {
    names_plan_free(s->plan);
    s->plan = NULL;
}

static subject_t subject;

static void words_in_front(void **state) {
    (void)state;
    static const struct {
        const char *folder, *from, *to, *said;
        size_t changed;
    } cases[] = {
        {"golden/runs/unet-step", "unet.", "", "2256 names lack words in front: '", 2256},
        {"golden/runs/unet-step", "unet", "pipe.unet", "2257 names have words too many in front",
         2257},
        {"golden/runs/unet-step", "unet.", "model.", "2256 names have other words in front", 2256},
        {"golden/runs/unet-step", "unet", "unet._orig_mod", "'_orig_mod' taken off 2257 names",
         2257},
        {"golden/runs/unet-step", "unet", "module.unet", "'module' taken off 2257 names", 2257},
        {"golden/runs/unet-step", ".attn1", ".attn1.base_layer", "'base_layer' taken off", 600},
        {"golden/runs/unet-step", ".to_q", "._orig_mod.to_q", "'_orig_mod' taken off", 100},
        {"golden/runs/unet-step", "unet", "base_model.model.unet", "'base_model' taken off", 2257},
        {"golden/runs/text-encoder", "text_encoder.text_model.", "text_encoder.",
         "38 names lack words", 38},
        {"golden/runs/text-encoder", "text_encoder.text_model.", "", "38 names lack words", 38},
        {"golden/runs/text-encoder", "text_encoder.", "", "38 names lack words", 38},
        {"golden/runs/text-encoder", "text_encoder.", "clip.", "38 names have other words", 38},
        {"golden/runs/vae-decode", "vae.", "", "95 names lack words in front", 95},
        {"golden/runs/vae-decode", "vae.decoder.", "", "93 names lack words in front", 93},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_subject(&subject, cases[i].folder);
        size_t changed = all_known(&subject, cases[i].from, cases[i].to, cases[i].said);
        if (changed < cases[i].changed) fail_msg("case %zu: %zu names changed", i, changed);
        close_subject(&subject);
    }
}

/* Words parted by something else, an ending, and several changes at once. */
static void spelling(void **state) {
    (void)state;
    static const char parts[] = "_/-:";
    for (size_t p = 0; p < sizeof parts - 1; p++) {
        open_subject(&subject, "golden/runs/unet-step");
        for (size_t i = 0; i < subject.count; i++) {
            subject.theirs[i] = xasprintf("%s%s", p % 2 ? "" : "module.", subject.ours[i]);
            for (char *c = subject.theirs[i] + (p % 2 ? 0 : 7); *c; c++)
                if (*c == '.') *c = parts[p];
        }
        plan_it(&subject, subject.count);
        for (size_t i = 0; i < subject.count; i++) {
            if (subject.meant[i] != i) fail_msg("'%s' is not known", subject.theirs[i]);
            free(subject.theirs[i]);
        }
        close_subject(&subject);
    }
    static const char *const endings[] = {".output", ".out", "_output", ".output.0"};
    for (size_t e = 0; e < 4; e++) {
        open_subject(&subject, "golden/runs/vae-decode");
        for (size_t i = 0; i < subject.count; i++)
            subject.theirs[i] = xasprintf("%s%s", subject.ours[i], endings[e]);
        plan_it(&subject, subject.count);
        for (size_t i = 0; i < subject.count; i++) {
            if (subject.meant[i] != i) fail_msg("'%s' is not known", subject.theirs[i]);
            free(subject.theirs[i]);
        }
        assert_non_null(strstr(names_plan_saying(subject.plan, 0), endings[e]));
        close_subject(&subject);
    }
}

/* ---- what is no such change ------------------------------------------------------------------ */

static void check(const char *const *ours, size_t count, const char *const *theirs,
                  size_t strangers, const int *wanted, int answer) {
    memset(&subject, 0, sizeof subject);
    subject.count = count;
    subject.answer = answer;
    for (size_t i = 0; i < count; i++) subject.ours[i] = ours[i];
    for (size_t i = 0; i < strangers; i++) subject.theirs[i] = (char *)theirs[i];
    plan_it(&subject, strangers);
    for (size_t i = 0; i < strangers; i++) {
        size_t want = wanted[i] < 0 ? SIZE_MAX : (size_t)wanted[i];
        if (subject.meant[i] != want)
            fail_msg("'%s' became %zd, not %d", theirs[i], (ssize_t)subject.meant[i], wanted[i]);
    }
}

#define CHECK(ours, theirs, answer, ...)                                                           \
    do {                                                                                           \
        const int wanted[] = {__VA_ARGS__};                                                        \
        check(ours, sizeof(ours) / sizeof *(ours), theirs, sizeof(theirs) / sizeof *(theirs),      \
              wanted, answer);                                                                     \
        names_plan_free(subject.plan);                                                             \
        subject.plan = NULL;                                                                       \
    } while (0)

/* decoder.x is not encoder.x, block 0 not block 1, and what stands before a slash is another pass. */
static void other_things_stay(void **state) {
    (void)state;
    static const char *const ours[] = {"vae.encoder.conv_in", "vae.encoder.conv_out",
                                       "vae.encoder.mid_block.resnets.0.conv1"};
    static const char *const decoder[] = {"vae.decoder.conv_in", "vae.decoder.conv_out",
                                          "vae.decoder.mid_block.resnets.0.conv1"};
    static const char *const pass[] = {"x/vae.encoder.conv_in", "x/vae.encoder.conv_out",
                                       "x/vae.encoder.mid_block.resnets.0.conv1"};
    static const char *const step[] = {"step.000/vae.encoder.conv_in",
                                       "step.000/vae.encoder.conv_out"};
    CHECK(ours, decoder, 1, -1, -1, -1);
    CHECK(ours, pass, 1, -1, -1, -1);
    CHECK(ours, step, 1, -1, -1);
    static const char *const blocks[] = {"unet.down_blocks.0.conv1", "unet.down_blocks.0.conv2",
                                         "unet.down_blocks.0.norm1"};
    static const char *const others[] = {"unet.down_blocks.1.conv1", "unet.down_blocks.1.conv2",
                                         "unet.down_blocks.1.norm1"};
    CHECK(blocks, others, 1, -1, -1, -1);
}

/* Words that nobody knows are taken off, or put in front, only if numbers speak for it. */
static void unknown_words_need_numbers(void **state) {
    (void)state;
    static const char *const ours[] = {"unet.a", "unet.b", "unet.c"};
    static const char *const theirs[] = {"mine.unet.a", "mine.unet.b", "mine.unet.c"};
    CHECK(ours, theirs, 1, 0, 1, 2);
    CHECK(ours, theirs, 0, -1, -1, -1);
    CHECK(ours, theirs, -1, -1, -1, -1);
    static const char *const two[] = {"mine.unet.a", "mine.unet.b"};
    CHECK(ours, two, 1, -1, -1); /* too few */
}

/* A part of the network without its path may be any of those: numbers decide, or nobody. */
static void rivals_need_numbers(void **state) {
    (void)state;
    static const char *const ours[] = {"unet.up_blocks.0.conv1", "unet.up_blocks.0.conv2",
                                       "unet.up_blocks.0.norm1", "unet.mid_block.conv1",
                                       "unet.mid_block.conv2",   "unet.mid_block.norm1"};
    static const char *const first[] = {"conv1", "conv2", "norm1"};
    CHECK(ours, first, 1, 0, 1, 2);
    CHECK(ours, first, -1, -1, -1, -1);
    static const char *const either[] = {"unet.conv", "vae.conv"}, *const bare[] = {"conv"};
    CHECK(either, bare, 1, 0);
    CHECK(either, bare, -1, -1);
    static const char *const one[] = {"unet.conv", "unet.up_blocks.0.conv"};
    CHECK(one, bare, -1, 0); /* a known word before unknown ones */
}

/* Taken names are nobody else's, in no way; two may mean one; a step stays with its name. */
static void taken_names_and_steps(void **state) {
    (void)state;
    static const char *const ours[] = {"step.000/unet.a", "step.001/unet.a"};
    static const char *const theirs[] = {"step.001/a", "step.000/module.a", "step.000/a"};
    CHECK(ours, theirs, 1, 1, 0, 0);
    memset(&subject, 0, sizeof subject);
    subject.count = 2;
    subject.ours[0] = "unet.a", subject.ours[1] = "unet.b";
    subject.taken[0] = true;
    subject.theirs[0] = (char *)"a", subject.theirs[1] = (char *)"b";
    plan_it(&subject, 2);
    assert_true(subject.meant[0] == SIZE_MAX && subject.meant[1] == 1);
    assert_int_equal(names_plan_apply(subject.plan, "a"), 0);
    assert_int_equal(names_plan_apply(subject.plan, "_orig_mod.b"), 1);
    assert_int_equal(names_plan_apply(subject.plan, "c"), SIZE_MAX);
    names_plan_free(subject.plan);
    subject.plan = NULL;
}

/* Names of single-file checkpoints, also with more in front, and of kohya. */
static void checkpoints(void **state) {
    (void)state;
    static const char *const ours[] = {"unet.conv_in", "unet.down_blocks.0.attentions.0.proj_in",
                                       "vae.decoder.up_blocks.0.resnets.0.norm1"};
    static const char *const bare[] = {"input_blocks.0.0", "input_blocks.1.1.proj_in",
                                       "decoder.up.3.block.0.norm1", "input_blocks.0"};
    static const char *const whole[] = {
        "model.diffusion_model.input_blocks.0.0", "model.diffusion_model.input_blocks.1.1.proj_in",
        "first_stage_model.decoder.up.3.block.0.norm1", "model.diffusion_model.input_blocks.7.0"};
    static const char *const front[] = {
        "pipe.model.diffusion_model._orig_mod.input_blocks.0.0.output",
        "pipe.model.diffusion_model._orig_mod.input_blocks.1.1.proj_in.output",
        "pipe.first_stage_model._orig_mod.decoder.up.3.block.0.norm1.output"};
    static const char *const kohya[] = {"lora_unet_down_blocks_0_attentions_0_proj_in"};
    CHECK(ours, bare, -1, 0, 1, 2, 0);
    CHECK(ours, whole, -1, 0, 1, 2, -1);
    CHECK(ours, front, -1, 0, 1, 2);
    CHECK(ours, kohya, -1, 1);
    assert_true(names_are_ldm(bare, 4) && names_are_ldm(whole, 4) && names_are_ldm(front, 3));
    assert_false(names_are_ldm(ours, 3));
    assert_false(names_are_ldm(ours, 0));
}

static void awkward_names(void **state) {
    (void)state;
    static const char *const ours[] = {"unet.conv_in", "a.b_c", "a_b.c"};
    static const char *const theirs[] = {"module", "...", "_",     "",
                                         "output", "/",   "a.b.c", "conv_in"};
    CHECK(ours, theirs, 1, -1, -1, -1, -1, -1, -1, -1, 0); /* a.b.c: one of two */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_in_front),      cmocka_unit_test(spelling),
        cmocka_unit_test(other_things_stay),   cmocka_unit_test(unknown_words_need_numbers),
        cmocka_unit_test(rivals_need_numbers), cmocka_unit_test(taken_names_and_steps),
        cmocka_unit_test(checkpoints),         cmocka_unit_test(awkward_names),
    };
    return cmocka_run_group_tests_name("names_plan", tests, open_cases, close_cases);
}
