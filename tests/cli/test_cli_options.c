/* Every word of the command line that cannot be meant: one line that says what was expected, exit code
 * 2, or 3 where a file had to be read to know; and an output that was there before stays as it was. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../scratch.h"
#include "program.h"

typedef struct {
    int status;
    const char *words, *expected; /* words after SMALL_RUN "-o out.png" */
} refusal_t;

static const char *precious(void) {
    scratch_text("out.png", "an output of an earlier run");
    return program_file("out.png");
}

static void all_of(const refusal_t *row, size_t count) {
    const char *out = precious();
    for (size_t i = 0; i < count; i++) {
        char words[2048];
        snprintf(words, sizeof words, SMALL_RUN "-o %%s %s", row[i].words);
        program_refuses(row[i].status, row[i].expected, words, out);
    }
    size_t bytes;
    char *still = scratch_slurp(out, &bytes);
    assert_string_equal(still, "an output of an earlier run");
    free(still);
}

#define ALL_OF(rows) all_of(rows, sizeof(rows) / sizeof *(rows))

static void numbers(void **state) {
    (void)state;
    static const refusal_t rows[] = {
        {2, "--width 500", "multiple of 8"},
        {2, "--width 0", "multiple of 8"},
        {2, "--width -8", "multiple of 8"},
        {2, "--width 65536", "65528"},
        {2, "--width 99999999999999999999", "65528"},
        {2, "--width 8.0", "multiple of 8"},
        {2, "--width 8px", "'8px'"},
        {2, "--width ''", "''"},
        {2, "--height 500", "--height"},
        {2, "--height 0", "--height"},
        {2, "--height abc", "'abc'"},
        {2, "--steps 0", "1 to 1000"},
        {2, "--steps 1001", "1 to 1000"},
        {2, "--steps 1e3", "'1e3'"},
        {2, "--steps -1", "'-1'"},
        {2, "--steps +5", "'+5'"},
        {2, "--steps ~5", "' 5'"},
        {2, "--steps ''", "''"},
        {2, "--seed -1", "0 to 2^64-1"},
        {2, "--seed abc", "'abc'"},
        {2, "--seed 18446744073709551616", "0 to 2^64-1"},
        {2, "--seed 0x10", "'0x10'"},
        {2, "--seed 1.5", "'1.5'"},
        {2, "--seed ''", "0 to 2^64-1"},
        {2, "--seed 18446744073709551615 --images 2", "last seed"},
        {2, "--scale nan", "'nan'"},
        {2, "--scale inf", "'inf'"},
        {2, "--scale -1", "0 to 1000"},
        {2, "--scale 1001", "0 to 1000"},
        {2, "--scale 7,5", "'7,5'"},
        {2, "--scale ~7", "' 7'"},
        {2, "--scale ''", "''"},
        {2, "--eta -0.1", "0 to 1"},
        {2, "--eta 1.1", "0 to 1"},
        {2, "--eta nan", "'nan'"},
        {2, "--images 0", "1 to 1000000"},
        {2, "--images many", "'many'"},
        {2, "--max-chunks 0", "1 to 100"},
        {2, "--max-chunks 101", "1 to 100"},
        {2, "--threads 0", "1 to 1024"},
        {2, "--threads 1025", "1 to 1024"},
        {2, "--threads two", "'two'"},
    };
    ALL_OF(rows);
}

static void choices(void **state) {
    (void)state;
    static const refusal_t rows[] = {
        {2, "--precision f16", "f32 or f64"},
        {2, "--precision=", "f32 or f64"},
        {2, "--matmul mkl", "blas or plain"},
        {2, "--mole fast", "direct or stacked"},
        {2, "--syntax a1111", "plain or weighted"},
        {2, "--noise tpu", "cpu or cuda"},
        {2, "--preset best", "paper or authors-xl"},
        {2, "--deviation bf16", "no deviation is called 'bf16'; there are: prompt-suffixes,"},
        {3, "--preset authors-xl", "no text encoder of a StableDiffusionPipeline pools its text"},
        {3, "--scheduler eulers", "eulers: cannot open"},
        {3, "--scheduler euler --eta 0.5", "take no noise"},
        {2, "--negative-rule none", "encoded or zeros"},
        {2, "--original-size 512", "height first"},
        {2, "--original-size 512x512", "height first"},
        {2, "--target-size 0,512", "each from 1"},
        {2, "--target-size 512,", "height first"},
        {2, "--crops-coords-top-left -1,0", "TOP,LEFT"},
        {3, "--original-size 512,512", "addition_embed_type"},
        {2, "--expert face", "NAME=FILE"},
        {2, "--expert =x", "NAME=FILE"},
        {2, "--expert Face=x", "NAME=FILE"},
        {2, "--expert face=", "NAME=FILE"},
        {2, "--expert a.b=x", "NAME=FILE"},
    };
    ALL_OF(rows);
    /* A shortened --precision is read too late to start the other program: it must not be ignored. */
    const char *other = sizeof(real_t) == sizeof(float) ? "--prec f64" : "--prec f32";
    const refusal_t late[] = {{2, other, "in full"}};
    ALL_OF(late);
}

static void contradictions(void **state) {
    (void)state;
    static const refusal_t rows[] = {
        {2, "--from-file golden/models/sd15-tiny/model_index.json",
         "either --prompt or --from-file"},
        {2, "--face " EXPERTS "face.safetensors", "--plain-lora"},
        {2, "--hand " EXPERTS "hand.safetensors", "--plain-lora"},
        {2, "--gates " EXPERTS "gates.safetensors", "--gates without experts"},
        {2, "--plain-lora", "without an expert"},
        {2, GATED "--plain-lora", "leave out --gates"},
        {2, "--face a --face b", "given twice"},
        {2, "--face a --expert face=b", "given twice"},
        {2, "--gates-png x", "--gates-png without --gates"},
        {2, "--latents x --images 2", "--latents makes one picture"},
        {2, "--trace x --images 2", "--trace holds one picture"},
        {2, "more", "unexpected word 'more'"},
        {2, "-- --steps", "unexpected word '--steps'"},
        {2, "--bogus", "'--bogus'"},
        {2, "--s 3", "short for several"},
        {2, "--json", "'--json'"},
        {2, "-x", "'-x'"},
        {2, "--quiet=yes", "takes no value"},
        {2, "--steps", "--steps needs a value"},
        {2, "-o", "-o needs a value"},
    };
    ALL_OF(rows);
    const char *out = precious();
    program_refuses(2, "same file", SMALL_RUN "-o %s --trace %s", out, out);
    static const char *const doubles = "--expert a=x --expert b=x --expert c=x --expert d=x "
                                       "--expert e=x --expert f=x --expert g=x "
                                       "--expert h=x --expert i=x --expert j=x --expert k=x "
                                       "--expert l=x --expert m=x --expert n=x "
                                       "--expert o=x --expert p=x --expert q=x";
    const refusal_t many[] = {{2, doubles, "more than 16"}};
    ALL_OF(many);
}

static void missing(void **state) {
    (void)state;
    const char *out = precious();
    program_refuses(2, "--model is missing", "generate --prompt x -o %s", out);
    program_refuses(2, "--prompt", "generate --model golden/models/sd15-tiny -o %s", out);
    program_refuses(2, "-o OUT.png is missing",
                    "generate --model golden/models/sd15-tiny --prompt x");
    program_refuses(2, "no command 'paint'", "paint --model golden/models/sd15-tiny");
    program_refuses(2, "--model is missing", "inspect");
    program_refuses(2, "--model is missing", "inspect --json");
    program_refuses(2, "unexpected word", "inspect a b");
    program_refuses(2, "--plain-lora", "inspect --model golden/models/sd15-tiny --face x");
    program_refuses(2, "'--steps'", "inspect --steps 3");
    program_refuses(2, "--model is missing", "tokenize word");
    program_refuses(2, "one TEXT", "tokenize --model golden/models/sd15-tiny");
    program_refuses(2, "one TEXT", "tokenize --model golden/models/sd15-tiny two words");
    program_refuses(2, "1 to 100", "tokenize --model golden/models/sd15-tiny --max-chunks 0 x");
    program_refuses(2, "plain or weighted",
                    "tokenize --model golden/models/sd15-tiny --syntax b x");
    program_refuses(2, "at least one", "verify");
    program_refuses(2, "--bound takes", "verify --bound nan golden/runs/unet-step");
    program_refuses(2, "--bound takes", "verify --bound -1 golden/runs/unet-step");
    program_refuses(2, "--bound-ratio takes", "verify --bound-ratio x golden/runs/unet-step");
    program_refuses(2, "'--mask'", "verify --mask golden/runs/unet-step");
}

static void no_command(void **state) {
    (void)state;
    ran_t ran = program_run(NULL, "");
    assert_int_equal(ran.status, 2);
    assert_non_null(strstr(ran.err, "usage: mole COMMAND"));
    assert_string_equal(ran.out, "");
}

/* More pixels than any machine has memory for: refused before work, not ended by the system. */
static void too_large(void **state) {
    (void)state;
    const char *out = precious();
    program_refuses(3, "pixels need about",
                    SMALL_RUN "-q --width 65528 --height 65528 " GATED "-o %s", out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(numbers), fixture_test(choices),    fixture_test(contradictions),
        fixture_test(missing), fixture_test(no_command), fixture_test(too_large),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
