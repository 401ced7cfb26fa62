/* replay.c - mole replay: a module, a block or an operation on given inputs, away from everything it could
 * inherit. */
#include "cli/replay.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/tensor_file.h"
#include "model/replay_block.h"
#include "model/replay_module.h"
#include "trace/diff.h"

static const char command[] = "replay";

static void print_help(void) {
    printf(
        "usage: mole replay MODULE --model FOLDER --inputs FILE [OPTIONS]\n"
        "       mole replay op.NAME --inputs FILE [OPTIONS]\n\n"
        "Run one module that has weights, one ResnetBlock2D or Transformer2DModel (names as in a\n"
        "trace), or one operation (attention, conv2d, softmax ...) on inputs from a file. With\n"
        "--expect also say how far a given result is from what comes out.\n\n%s%s"
        "  --inputs FILE        .npy, .npz or .safetensors; in torch's dimension order\n"
        "  --input NAME         which tensor is the input (MODULE.in, else the file's only one)\n"
        "  --input KEY=NAME     another input: temb of a ResnetBlock2D of the UNet,\n"
        "                       encoder_hidden_states of a Transformer2DModel, an operation's "
        "keys\n"
        "                       (x, weight, bias, q, k, v ...; default: the tensor of that name)\n"
        "  --attr KEY=VALUE     an operation's attribute, as JSON: heads=8, causal=false,\n"
        "                       padding=[1,1,1,1] (docs/golden-format.md has them all)\n"
        "  --expect NAME        a tensor of the same file to compare the result with\n"
        "  -o, --output FILE    store all that is computed as a trace: .safetensors\n\n"
        "examples:\n"
        "  mole replay vae.post_quant_conv --model golden/models/sd15-tiny \\\n"
        "      --inputs golden/runs/vae-decode/tensors.safetensors --input input/latents \\\n"
        "      --expect vae.post_quant_conv --precision f64\n"
        "  mole replay vae.decoder.mid_block.resnets.0 --model golden/models/sd15-tiny \\\n"
        "      --inputs golden/runs/vae-decode/tensors.safetensors --input vae.decoder.conv_in \\\n"
        "      --expect vae.decoder.mid_block.resnets.0 --precision f64\n"
        "  mole replay op.attention --inputs golden/ops/attention/tensors.safetensors \\\n"
        "      --input q=self/q --input k=self/k --input v=self/v --expect self/out \\\n"
        "      --attr heads=2 --attr scale=0.5 --attr causal=false\n",
        cli_model_help, cli_run_help(CLI_DIRECT_DEFAULTS));
}

/* ---- options ----------------------------------------------------------------------------------------- */

/* KEY=NAME, or NAME. */
static int add_input(replay_options_t *o, const char *text) {
    const char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : 0;
    if (o->given == REPLAY_INPUTS)
        return cli_usage_error(command, "more than %d times --input", REPLAY_INPUTS);
    if (equals && length == 0)
        return cli_usage_error(command, "--input takes NAME or KEY=NAME, not '%s'", text);
    o->input[o->given++] =
        (replay_input_t){xasprintf("%.*s", (int)length, text), equals ? equals + 1 : text};
    return 0;
}

/* KEY=JSON; a bare word is a string. */
static int add_attr(replay_options_t *o, const char *text) {
    const char *equals = strchr(text, '=');
    json_t *value = NULL;
    if (equals && equals > text) {
        const char *word = equals + 1;
        while (isalnum((unsigned char)*word) || *word == '_') word++;
        value = json_loads(equals + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        if (!value && !*word && word > equals + 1) value = json_string(equals + 1);
    }
    if (!value)
        return cli_usage_error(command, "--attr takes KEY=VALUE with a JSON value, not '%s'", text);
    char *key = xasprintf("%.*s", (int)(equals - text), text);
    json_object_set_new_nocheck(o->attrs, key, value); /* any bytes: the operation refuses them */
    free(key);
    return 0;
}

static void free_options(replay_options_t *o) {
    for (size_t i = 0; i < o->given; i++) free(o->input[i].key);
    json_decref(o->attrs);
}

static int read_options(replay_options_t *o, int argc, char **argv) {
    enum { OPT_INPUTS = OPT_OWN, OPT_INPUT, OPT_ATTR, OPT_EXPECT };
    static const struct option table[] = {CLI_MODEL_OPTIONS,
                                          CLI_RUN_OPTIONS,
                                          {"inputs", required_argument, NULL, OPT_INPUTS},
                                          {"input", required_argument, NULL, OPT_INPUT},
                                          {"attr", required_argument, NULL, OPT_ATTR},
                                          {"expect", required_argument, NULL, OPT_EXPECT},
                                          {"output", required_argument, NULL, 'o'},
                                          CLI_HELP_OPTION};
    int option, status = 0;
    while (!status && (option = cli_next_option(command, argc, argv, ":ho:", table)) != -1) {
        switch (option) {
        case OPT_HELP: return print_help(), 0;
        case '?': return EXIT_USAGE;
        case OPT_INPUTS: o->inputs = optarg; break;
        case OPT_INPUT: status = add_input(o, optarg); break;
        case OPT_ATTR: status = add_attr(o, optarg); break;
        case OPT_EXPECT: o->expect = optarg; break;
        case 'o': o->output = optarg; break;
        default: status = cli_common_option(&o->common, command, option, optarg);
        }
    }
    if (!status) status = cli_check_precision(&o->common, command);
    if (status) return status;
    if (optind + 1 != argc) return cli_usage_error(command, "name one MODULE, or op.NAME");
    o->module = argv[optind];
    o->operation = strncmp(o->module, "op.", 3) == 0;
    if (!o->inputs) return cli_usage_error(command, "--inputs is missing");
    if (!o->operation && json_object_size(o->attrs) > 0)
        return cli_usage_error(command, "--attr goes with op.NAME; a module brings its own");
    const pipeline_files_t *files = &o->common.files;
    if (o->operation && (files->folder || files->tokenizer || files->mole.experts ||
                         files->mole.gates || files->allow_unused || o->common.plain_lora))
        return cli_usage_error(
            command, "a model and experts go with a module; op.NAME takes --inputs alone");
    status = o->operation ? 0 : cli_check_experts(&o->common, command);
    cli_output_t outputs[2 + CLI_EXPERT_INPUTS] = {{"-o", o->output, CLI_TENSORS},
                                                   {"--inputs", o->inputs, CLI_INPUT}};
    size_t count = cli_expert_inputs(&o->common, outputs, 2);
    if (!status) status = cli_check_outputs(command, outputs, count);
    return status ? status : -1;
}

/* ---- inputs ------------------------------------------------------------------------------------------ */

static const char *given(const replay_options_t *o, const char *key) {
    for (size_t i = 0; i < o->given; i++)
        if (strcmp(o->input[i].key, key) == 0) return o->input[i].name;
    return NULL;
}

/* Every key given is one of those that the module has: "" is the first input. */
static int check_keys(const replay_options_t *o, const char *second, err_t *err) {
    for (size_t i = 0; i < o->given; i++) {
        const char *key = o->input[i].key;
        if (*key && (!second || strcmp(key, second) != 0))
            return err_set(err, "--input %s=%s: %s has no such input%s%s", key, o->input[i].name,
                           o->module, second ? ", only " : "", second ? second : "");
    }
    return 0;
}

/* By --input, else MODULE.in, else the only one. */
static int read_first(const replay_options_t *o, tensor_file_t *tensor, err_t *err) {
    const char *chosen = given(o, "");
    if (chosen) return tensor_file_read(tensor, o->inputs, chosen, err);
    char *name = xasprintf("%s.in", o->module);
    err_t ignored;
    int status = tensor_file_read(tensor, o->inputs, name, &ignored);
    if (status) status = tensor_file_read(tensor, o->inputs, NULL, err);
    free(name);
    return status;
}

/* By --input, else MODULE.KEY, else KEY. */
static int read_second(const replay_options_t *o, const char *key, tensor_file_t *tensor,
                       err_t *err) {
    const char *chosen = given(o, key);
    if (chosen) return tensor_file_read(tensor, o->inputs, chosen, err);
    char *name = xasprintf("%s.%s", o->module, key);
    err_t ignored;
    int status = tensor_file_read(tensor, o->inputs, name, &ignored);
    if (status && tensor_file_read(tensor, o->inputs, key, &ignored))
        err_set(err, "%s: neither '%s' nor '%s' is there; --input %s=NAME says which tensor it is",
                o->inputs, name, key, key);
    else
        status = 0;
    free(name);
    return status;
}

static real_t *to_reals(const run_t *run, const tensor_file_t *tensor) {
    size_t count = shape_count(tensor->shape);
    real_t *x = arena_reals(run->arena, count ? count : 1);
    for (size_t i = 0; i < count; i++) x[i] = (real_t)tensor->data[i];
    return x;
}

/* ---- results ----------------------------------------------------------------------------------------- */

static void take_tap(tap_sink_t *self, const char *name, real_t *x, view_t view) {
    replay_results_t *r = (replay_results_t *)self;
    if (r->failed) return;
    size_t count = shape_count(view.shape);
    real_t *torch = xmalloc((count + 1) * sizeof *torch);
    view_to_torch(torch, x, view);
    if (r->writer && st_writer_add(r->writer, name, dtype_real(), view.shape, torch, r->err))
        r->failed = -1;
    if (strcmp(name, r->wanted) != 0) {
        free(torch);
        return;
    }
    free(r->result);
    r->result = torch;
    r->shape = view.shape;
}

int replay_results_open(replay_results_t *r, const replay_options_t *o, const char *wanted,
                        err_t *err) {
    *r = (replay_results_t){.sink = {.tap = take_tap}, .wanted = wanted, .err = err};
    return o->output ? st_writer_open(&r->writer, o->output, err) : 0;
}

/* 0 agrees, 1 differs, -1 and err. */
static int expect(const replay_options_t *o, const replay_results_t *r, err_t *err) {
    tensor_file_t expected = {0};
    if (tensor_file_read(&expected, o->inputs, o->expect, err)) return -1;
    char want[SHAPE_TEXT], have[SHAPE_TEXT], line[512];
    int status = 0;
    if (!shape_equal(expected.shape, r->shape)) {
        status = err_set(err, "%s: '%s' has shape %s, the result of %s %s", o->inputs, o->expect,
                         shape_text(have, expected.shape), o->module, shape_text(want, r->shape));
    } else {
        size_t count = shape_count(r->shape);
        double *ours = xmalloc((count + 1) * sizeof *ours);
        for (size_t i = 0; i < count; i++) ours[i] = (double)r->result[i];
        diff_t diff = diff_tensors(expected.data, ours, count);
        /* One module on its own input: 1e-13 of its scale in float64 (6 % of it was seen, over all taps of
         * golden/runs with --forced), 2^29 times that in float32 (1 %). */
        double bound = sizeof(real_t) == sizeof(double) ? 1e-13 : 1e-13 * 0x1p29;
        diff_describe(line, sizeof line, o->expect, r->shape, &diff, bound);
        status = diff_relative(&diff) <= bound ? EXIT_AGREES : EXIT_DIFFERS;
        printf("%s  %s\n", status == EXIT_AGREES ? "agrees " : "DIFFERS", line);
        free(ours);
    }
    tensor_file_free(&expected);
    return status;
}

int replay_results_close(replay_results_t *r, const replay_options_t *o, int status) {
    char text[SHAPE_TEXT];
    if (!status) status = r->failed;
    if (!status && !r->result)
        status = err_set(r->err, "%s: no result in this precision", o->module);
    if (r->writer && status)
        st_writer_abort(r->writer);
    else if (r->writer)
        status = st_writer_finish(r->writer, r->err);
    if (!status) {
        printf("%s  %s\n", r->wanted, shape_text(text, r->shape));
        if (o->expect) status = expect(o, r, r->err);
    }
    free(r->result);
    return status;
}

/* ---- modules and blocks ------------------------------------------------------------------------------- */

/* Runs what has the name; its taps go to run->sink. */
static int run_module(const run_t *run, const replay_options_t *o, const module_t *module,
                      const block_t *block, err_t *err) {
    tensor_file_t first = {0}, second = {0};
    const char *key = block ? block_second(block) : NULL;
    if (check_keys(o, key, err) || read_first(o, &first, err)) return -1;
    int status = key ? read_second(o, key, &second, err) : 0;
    if (!status) {
        real_t *x = to_reals(run, &first), *out;
        block_input_t in = {x, first.shape, key ? to_reals(run, &second) : NULL, second.shape};
        shape_t shape;
        status = block ? block_replay(run, block, NULL, &shape, &in, err)
                       : module_replay(run, module, NULL, &shape, x, first.shape, err);
        if (!status) {
            out = arena_reals(run->arena, shape_count(shape));
            status = block ? block_replay(run, block, out, &shape, &in, err)
                           : module_replay(run, module, out, &shape, x, first.shape, err);
        }
    }
    tensor_file_free(&first);
    tensor_file_free(&second);
    return status;
}

static int replay(const replay_options_t *o, const pipeline_t *p, err_t *err) {
    const module_t *module = pipeline_module(p, o->module);
    const block_t *block = module ? NULL : pipeline_block(p, o->module);
    if (!module && !block)
        return err_set(err,
                       "%s: no module with weights, ResnetBlock2D or Transformer2DModel has the "
                       "name '%s' (a trace shows all names)",
                       o->common.files.folder, o->module);
    replay_results_t results;
    run_t run = {.matmul = o->common.matmul, .conv = o->common.conv, .form = o->common.form};
    if (replay_results_open(&results, o, o->module, err)) return -1;
    run.sink = &results.sink;
    int status = arena_create(&run.arena, 0, err);
    if (!status) {
        status = run_module(&run, o, module, block, err);
        arena_destroy(run.arena);
    }
    return replay_results_close(&results, o, status);
}

static int replay_in_model(const replay_options_t *o, err_t *err) {
    pipeline_t pipeline;
    notes_t notes = {0};
    pipeline_files_t files = o->common.files;
    files.notes = &notes;
    int status = pipeline_open(&pipeline, &files, err);
    cli_print_notes(command, &notes, 0);
    notes_free(&notes);
    if (status) return -1;
    status = replay(o, &pipeline, err);
    pipeline_close(&pipeline);
    return status;
}

int cli_replay(int argc, char **argv) {
    replay_options_t o = {.common = CLI_DIRECT_DEFAULTS, .attrs = json_object()};
    err_t err;
    int code = read_options(&o, argc, argv);
    if (code < 0) {
        int status = o.operation ? replay_operation(&o, &err) : replay_in_model(&o, &err);
        code = status < 0 ? cli_input_error(command, &err) : status;
    }
    free_options(&o);
    return code;
}
