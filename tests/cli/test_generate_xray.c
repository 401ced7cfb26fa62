/* mole generate --xray: a page whose numbers are those of the trace; the picture is what it is without it;
 * the same bytes again; nothing from outside ends its data; what is refused. */
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <unistd.h>

#include "../scratch.h"
#include "io/safetensors.h"
#include "program.h"

#define MODEL "generate --model golden/models/sd15-tiny -q --width 32 --height 24 "
#define SHORT MODEL "--prompt a~hand --steps 2 "

static size_t count_of(const char *text, const char *part) {
    size_t n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

/* The data of a page, which stand in one of its two scripts: nothing else opens or ends one. */
static json_t *data_of(const char *path) {
    static const char before[] = "<script type=\"application/json\" id=\"data\">\n";
    size_t bytes;
    char *page = scratch_slurp(path, &bytes), *from = strstr(page, before);
    assert_non_null(from);
    assert_int_equal(strlen(page), bytes);
    assert_int_equal(count_of(page, "<script"), 2);
    assert_int_equal(count_of(page, "</script"), 2);
    from += strlen(before);
    json_error_t why;
    json_t *data = json_loadb(from, (size_t)(strstr(from, "</script") - from), 0, &why);
    if (!data) fail_msg("%s: %s", path, why.text);
    free(page);
    return data;
}

static const json_t *module_of(const json_t *data, const char *name) {
    size_t i;
    json_t *m;
    json_array_foreach(json_object_get(data, "modules"), i,
                       m) if (strcmp(json_string_value(json_object_get(m, "name")), name) ==
                              0) return m;
    fail_msg("no module %s", name);
    return NULL;
}

static double figure(const json_t *of, const char *key, size_t step) {
    return json_number_value(json_array_get(json_object_get(of, key), step));
}

/* Five digits stand on the page. */
static void close_to(double got, double truth, const char *what) {
    if (!(fabs(got - truth) <= 1e-4 * fabs(truth) + 1e-7))
        fail_msg("%s: %g, should be %g", what, got, truth);
}

static void check_module(const json_t *data, const st_file_t *trace, const char *name) {
    for (size_t step = 0; step < 2; step++) {
        char *tap = xasprintf("step.00%zu/%s", step, name);
        const st_tensor_t *t = st_find(trace, tap);
        assert_non_null(t);
        size_t all = shape_count(t->shape), n = all / t->shape.dim[0];
        real_t *x = fixture_bytes(all * sizeof *x);
        dtype_to_real(x, t->data, t->dtype, all);
        double sum = 0, most = -INFINITY;
        for (size_t i = all - n; i < all; i++) {
            sum += (double)x[i];
            most = fmax(most, (double)x[i]);
        }
        const json_t *m = module_of(data, name);
        close_to(figure(m, "mean", step), sum / (double)n, tap);
        close_to(figure(m, "most", step), most, tap);
        free(tap);
    }
}

static void the_numbers_of_the_trace(void **state) {
    (void)state;
    const char *with = program_file("with.png"), *without = program_file("without.png"),
               *page = program_file("page.html"), *again = program_file("again.html"),
               *trace = program_file("t.safetensors"), *other = program_file("t2.safetensors");
    program_works(program_run(NULL, SHORT GATED "-o %s --trace %s", without, trace));
    ran_t ran = program_works(
        program_run(NULL, SHORT GATED "-o %s --xray %s --trace %s", with, page, other));
    assert_non_null(strstr(ran.out, "page.html  X-ray page\n"));
    program_same_file(with, without);
    program_same_file(trace, other);
    program_works(program_run(NULL, SHORT GATED "-o %s --xray %s --sheet %s", with, again,
                              program_file("sheet.png")));
    program_same_file(with, without);
    program_same_file(page, again); /* twice, and whatever else is written */
    json_t *data = data_of(page);
    st_file_t *file;
    err_t err;
    must(st_open(&file, trace, &err), &err);
    static const char *const names[] = {
        "unet.conv_in",
        "unet.mid_block",
        "unet.up_blocks.1.attentions.2.proj_out",
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k",
        "guided",
        "latents"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) check_module(data, file, names[i]);
    const char *layer = "unet.mid_block.attentions.0.proj_in";
    const json_t *gate = json_array_get(json_object_get(module_of(data, layer), "gates"), 1);
    const st_tensor_t *t =
        st_find(file, "step.001/unet.mid_block.attentions.0.proj_in.mole.hand.global");
    real_t G[2];
    dtype_to_real(G, t->data, t->dtype, 2);
    close_to(figure(gate, "global", 1), (double)G[1], "global gate");
    st_close(file);
    json_decref(data);
}

/* What the page says of the run. */
static void the_run(void **state) {
    (void)state;
    const char *page = program_file("run.html");
    program_works(program_run(NULL, MODEL "--prompt hands,~waving --steps 60 -o %s --xray %s",
                              program_file("r.png"), page));
    json_t *data = data_of(page);
    assert_int_equal(json_integer_value(json_object_get(data, "steps")), 60);
    assert_int_equal(json_array_size(json_object_get(data, "step")), 50);
    assert_int_equal(json_array_size(json_object_get(data, "kept")), 8);
    assert_int_equal(json_array_size(json_object_get(data, "clean")), 50);
    const json_t *words = json_object_get(data, "words");
    assert_int_equal(json_array_size(words), 3);
    assert_string_equal(json_string_value(json_array_get(words, 0)), "hands");
    const char *note = json_string_value(json_object_get(data, "note"));
    assert_memory_equal(note, "hands, waving\n", 14);
    assert_non_null(strstr(note, "Steps: 60"));
    static const char png[] = "data:image/png;base64,iVBORw0KGgo";
    assert_memory_equal(json_string_value(json_object_get(data, "picture")), png, strlen(png));
    assert_memory_equal(json_string_value(json_array_get(json_object_get(data, "clean"), 49)), png,
                        strlen(png));
    /* The last step's x0 is the picture, where the last level is without noise. */
    assert_string_equal(json_string_value(json_array_get(json_object_get(data, "clean"), 49)),
                        json_string_value(json_object_get(data, "picture")));
    json_decref(data);
}

static void hostile_prompts(void **state) {
    (void)state;
    static const char *const prompts[] = {
        "</script><script>window.hacked=1</script><!--",
        "\"'`<img src=x onerror=alert(1)>&amp;&lt;\\u003c",
        "\x01\x1b[31m\t\n\xe2\x80\xae\xe2\x81\xa6 x",
        "",
    };
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        const char *page = program_file("hostile.html");
        program_works(program_run(NULL, MODEL "--steps 1 --prompt %s -o %s --xray %s",
                                  *prompts[i] ? prompts[i] : "''", program_file("h.png"), page));
        json_t *data = data_of(page);
        const char *note = json_string_value(json_object_get(data, "note"));
        if (*prompts[i]) assert_memory_equal(note, prompts[i], strlen(prompts[i]));
        json_decref(data);
    }
}

#define OF(model)                                                                                  \
    "generate --model golden/models/" model " -q --width 32 --height 24 --steps 1 --prompt "       \
    "a~hand --face golden/models/" model "-mole/face.safetensors --hand golden/models/" model      \
    "-mole/hand.safetensors --gates golden/models/" model "-mole/gates.safetensors -o %s "         \
    "--xray %s"

/* Other models, other ways to draw; no guidance; one pixel of latents. */
static void other_settings(void **state) {
    (void)state;
    static const char *const rows[] = {
        SHORT GATED "--scale 1 --eta 0.5 --mole direct -o %s --xray %s",
        SHORT
        "--scheduler euler --syntax weighted --max-chunks 2 --negative (x:1.2) -o %s --xray %s",
        SHORT "--face " EXPERTS "face.safetensors --plain-lora -o %s --xray %s",
        SMALL_RUN "-q -o %s --xray %s",
        OF("sd21-tiny"),
        OF("sdxl-tiny"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        program_works(program_run(NULL, rows[i], program_file("r.png"), program_file("o.html")));
        json_decref(data_of(program_file("o.html")));
    }
}

static void refused(void **state) {
    (void)state;
    const char *out = program_file("never.png"), *page = program_file("never.html"),
               *none = program_file("none/never.html"), *same = program_file("never");
    program_refuses(2, "--xray", SHORT "-o %s --xray %s", out, program_file("never.jpg"));
    program_refuses(2, "--trace and --xray name the same file", SHORT "-o %s --xray %s --trace %s",
                    out, same, same);
    program_refuses(2, "-o and --xray name the same file", SHORT "-o %s --xray %s", same, same);
    program_refuses(3, "none/never", "generate --model nowhere --prompt x -o %s --xray %s", out,
                    none);
    program_refuses(2, "--xray shows one picture", SHORT "-o %s --xray %s --images 2", out, page);
    program_refuses(2, "--xray shows one picture: leave out --shard",
                    SHORT "-o %s --xray %s --shard 1/2", out, page);
}

/* Stopped: of the page nothing. */
static void stopped(void **state) {
    (void)state;
    const char *out = program_file("stopped.png"), *page = program_file("stopped.html");
    run_how_t how = {.signal_after_word = SIGINT, .word = "stopped.png  seed"};
    ran_t ran = program_run(&how, MODEL "--prompt x --steps 60 -o %s --xray %s", out, page);
    assert_int_equal(ran.status, 3);
    assert_int_equal(access(out, F_OK), 0);
    assert_int_not_equal(access(page, F_OK), 0);
    assert_null(strstr(program_listing(scratch_folder()), ".tmp."));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        fixture_test(the_numbers_of_the_trace),
        fixture_test(the_run),
        fixture_test(hostile_prompts),
        fixture_test(other_settings),
        fixture_test(refused),
        fixture_test(stopped),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
