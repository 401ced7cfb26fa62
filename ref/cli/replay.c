/* replay.c - mole replay: one module of a model on given inputs, away from everything it could inherit. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "io/safetensors.h"
#include "io/tensor_file.h"
#include "model/modules.h"
#include "verify/diff.h"

static const char command[] = "replay";

static void print_help(void) {
    printf("usage: mole replay MODULE --model FOLDER --inputs FILE [OPTIONS]\n\n"
           "Run one module that has weights (its name as in a trace) on an input and print or "
           "store the\n"
           "result; with --expect also say how far a given result is from it.\n\n%s%s"
           "  --inputs FILE        .npy, .npz or .safetensors; in torch's dimension order\n"
           "  --input NAME         which tensor of the file (MODULE.in, else the only one)\n"
           "  --expect NAME        a tensor of the same file to compare with (MODULE)\n"
           "  -o, --output FILE    store the result: .safetensors, under MODULE's name\n\n"
           "example:\n"
           "  mole replay vae.post_quant_conv --model golden/models/sd15-tiny \\\n"
           "      --inputs golden/runs/vae-decode/tensors.safetensors --input input/latents \\\n"
           "      --expect vae.post_quant_conv --precision f64\n",
           cli_model_help, cli_run_help(CLI_DIRECT_DEFAULTS));
}

typedef struct {
    cli_common_t common;
    const char *module, *inputs, *input, *expect, *output;
} options_t;

static int parse(options_t *o, int argc, char **argv) {
    enum { OPT_INPUTS = OPT_OWN, OPT_INPUT, OPT_EXPECT };
    static const struct option table[] = {CLI_MODEL_OPTIONS,
                                          CLI_RUN_OPTIONS,
                                          {"inputs", required_argument, NULL, OPT_INPUTS},
                                          {"input", required_argument, NULL, OPT_INPUT},
                                          {"expect", required_argument, NULL, OPT_EXPECT},
                                          {"output", required_argument, NULL, 'o'},
                                          CLI_HELP_OPTION};
    *o = (options_t){.common = CLI_DIRECT_DEFAULTS};
    int option, status = 0;
    while (!status && (option = getopt_long(argc, argv, "o:", table, NULL)) != -1) {
        switch (option) {
        case OPT_HELP: return print_help(), 0;
        case '?': return EXIT_USAGE;
        case OPT_INPUTS: o->inputs = optarg; break;
        case OPT_INPUT: o->input = optarg; break;
        case OPT_EXPECT: o->expect = optarg; break;
        case 'o': o->output = optarg; break;
        default: status = cli_common_option(&o->common, command, option, optarg);
        }
    }
    if (status) return status;
    if (optind + 1 != argc) return cli_usage_error(command, "name one MODULE");
    o->module = argv[optind];
    if (!o->inputs) return cli_usage_error(command, "--inputs is missing");
    status = cli_check_experts(&o->common, command);
    return status ? status : -1;
}

/* By name, else NAME.in, else the only tensor of the file. */
static int read_input(const options_t *o, tensor_file_t *input, err_t *err) {
    if (o->input) return tensor_file_read(input, o->inputs, o->input, err);
    char *name = xasprintf("%s.in", o->module);
    err_t ignored;
    int status = tensor_file_read(input, o->inputs, name, &ignored);
    if (status) status = tensor_file_read(input, o->inputs, NULL, err);
    free(name);
    return status;
}

static int store(const options_t *o, const real_t *out, shape_t shape, err_t *err) {
    st_writer_t *writer;
    if (st_writer_open(&writer, o->output, err)) return -1;
    if (st_writer_add(writer, o->module, dtype_real(), shape, out, err)) {
        st_writer_abort(writer);
        return -1;
    }
    return st_writer_finish(writer, err);
}

/* 0 agrees or nothing to compare, 1 differs, -1 and err. */
static int expect(const options_t *o, const real_t *out, shape_t shape, err_t *err) {
    tensor_file_t expected = {0};
    if (tensor_file_read(&expected, o->inputs, o->expect, err)) return -1;
    char want[SHAPE_TEXT], have[SHAPE_TEXT], line[512];
    int status = 0;
    if (!shape_equal(expected.shape, shape)) {
        status = err_set(err, "%s: '%s' has shape %s, the module's output %s", o->inputs, o->expect,
                         shape_text(have, expected.shape), shape_text(want, shape));
    } else {
        size_t count = shape_count(shape);
        double *ours = xmalloc((count + 1) * sizeof *ours);
        for (size_t i = 0; i < count; i++) ours[i] = (double)out[i];
        diff_t diff = diff_tensors(expected.data, ours, count);
        /* One module on its own input: 1e-12 of its scale in float64, 2^29 times that in float32. */
        double bound = sizeof(real_t) == sizeof(double) ? 1e-12 : 1e-12 * 0x1p29;
        diff_describe(line, sizeof line, o->expect, shape, &diff, bound);
        status = diff_relative(&diff) <= bound ? EXIT_AGREES : EXIT_DIFFERS;
        printf("%s  %s\n", status == EXIT_AGREES ? "agrees " : "DIFFERS", line);
        free(ours);
    }
    tensor_file_free(&expected);
    return status;
}

static int replay(const options_t *o, const pipeline_t *p, const run_t *run, err_t *err) {
    const module_t *module = pipeline_module(p, o->module);
    if (!module)
        return err_set(err,
                       "%s: no module with weights has the name '%s' (mole inspect --model lists "
                       "layers; a trace shows all names)",
                       o->common.files.folder, o->module);
    tensor_file_t input = {0};
    if (read_input(o, &input, err)) return -1;
    size_t count = shape_count(input.shape);
    real_t *x = arena_reals(run->arena, count), *out = NULL;
    for (size_t i = 0; i < count; i++) x[i] = (real_t)input.data[i];
    shape_t shape;
    int status = module_replay(run, module, NULL, &shape, x, input.shape, err);
    if (!status) {
        out = arena_reals(run->arena, shape_count(shape));
        status = module_replay(run, module, out, &shape, x, input.shape, err);
    }
    tensor_file_free(&input);
    if (status) return -1;
    char text[SHAPE_TEXT];
    printf("%s  %s\n", o->module, shape_text(text, shape));
    if (o->output && store(o, out, shape, err)) return -1;
    return o->expect ? expect(o, out, shape, err) : 0;
}

int cli_replay(int argc, char **argv) {
    options_t o;
    int usage = parse(&o, argc, argv);
    if (usage >= 0) return usage;
    err_t err;
    pipeline_t pipeline;
    if (pipeline_open(&pipeline, &o.common.files, &err)) return cli_input_error(command, &err);
    run_t run = {.matmul = o.common.matmul, .conv = o.common.conv, .form = o.common.form};
    int status = arena_create(&run.arena, 0, &err);
    if (!status) {
        status = replay(&o, &pipeline, &run, &err);
        arena_destroy(run.arena);
    }
    pipeline_close(&pipeline);
    return status < 0 ? cli_input_error(command, &err) : status;
}
