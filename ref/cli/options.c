/* options.c - options that mean the same in every subcommand; see cli.h. */
#include <errno.h>
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

const char cli_model_help[] =
    "  --model FOLDER       a diffusers pipeline folder (model_index.json, unet/, vae/, ...), a\n"
    "                       single-file checkpoint (FILE.safetensors, with --tokenizer), or\n"
    "                       synth:sd15 (made by formula; experts and gates too: docs/synth.md)\n"
    "  --tokenizer FOLDER   in place of the model's own\n"
    "  --face FILE          expert for faces: LoRA, .safetensors, kohya names\n"
    "  --hand FILE          expert for hands\n"
    "  --expert NAME=FILE   a further expert, in the order of the gates' rows\n"
    "  --gates FILE         local and global gates of all experts\n"
    "  --plain-lora         add the experts at full strength, without gates (the ungated "
    "baseline)\n"
    "  --allow-unused       accept tensors that nothing uses, and list them (mole inspect)\n";

#define RUN_HELP(form)                                                                             \
    "  --precision f32|f64  number type (f32)\n"                                                   \
    "  --matmul blas|plain  OpenBLAS, or loops in a fixed order with double sums (blas)\n"         \
    "  --conv auto|tiles|winograd  how 3x3 convolutions are computed: the faster way, the sums "   \
    "of\n"                                                                                         \
    "                       the definition, or with fewer products (auto; plain takes the sums)\n" \
    "  --mole stacked|direct  the cheaper form, or the definition with every tap (" form ")\n"     \
    "  --widen auto|load|use  when the UNet's large matrices, and experts, get their number "      \
    "type: "                                                                                       \
    "once, or\n"                                                                                   \
    "                       whenever they are used, in less memory (auto: by the model's size)\n"  \
    "  --threads N          at most so many threads (all cores)\n"

const char *cli_run_help(cli_common_t defaults) {
    return defaults.form == MOLE_DIRECT ? RUN_HELP("direct") : RUN_HELP("stacked");
}

static void put_line(FILE *to, const char *format, va_list args) {
    char text[CLI_SAID];
    vsnprintf(text, sizeof text, format, args);
    fprintf(to, "%s\n", text_clean(text));
}

void cli_say(const char *format, ...) {
    va_list args;
    va_start(args, format);
    put_line(stderr, format, args);
    va_end(args);
}

void cli_print(const char *format, ...) {
    va_list args;
    va_start(args, format);
    put_line(stdout, format, args);
    va_end(args);
}

int cli_input_error(const char *command, const err_t *err) {
    cli_say("mole %s: %s", command, err->text);
    return EXIT_INPUT;
}

int cli_usage_error(const char *command, const char *format, ...) {
    char text[CLI_SAID];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    cli_say("mole %s: %s (see mole %s --help)", command, text, command);
    return EXIT_USAGE;
}

int cli_next_option(const char *command, int argc, char **argv, const char *shorts,
                    const struct option *table) {
    int option = getopt_long(argc, argv, shorts, table, NULL);
    if (option != ':' && option != '?') return option;
    const char *word = argv[optind - 1];
    if (option == ':')
        cli_usage_error(command, "%s needs a value", word);
    else if (!optopt)
        cli_usage_error(command, "no option '%s', or short for several", word);
    else if (strncmp(word, "--", 2) == 0 && strchr(word, '='))
        cli_usage_error(command, "%s: this option takes no value", word);
    else
        cli_usage_error(command, "no option '-%c'", optopt);
    return '?';
}

bool cli_parse_u64(const char *text, uint64_t *value) {
    char *end;
    if (*text < '0' || *text > '9') return false; /* strtoull would take signs and white space */
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno || *end) return false;
    *value = n;
    return true;
}

bool cli_parse_size(const char *text, size_t least, size_t most, size_t *value) {
    uint64_t n;
    if (!cli_parse_u64(text, &n) || n < least || n > most) return false;
    *value = (size_t)n;
    return true;
}

bool cli_parse_double(const char *text, double least, double most, double *value) {
    char *end;
    if (!*text || strchr(" \t\n", *text)) return false;
    double x = strtod(text, &end);
    if (*end || !isfinite(x) || x < least || x > most) return false;
    *value = x;
    return true;
}

/* An expert in its place: face is row 0 of the gates and hand row 1, whatever the order of options. */
static int add_expert(cli_common_t *c, const char *command, const char *name, const char *path) {
    mole_files_t *m = &c->files.mole;
    for (size_t i = 0; i < m->experts; i++)
        if (strcmp(m->name[i], name) == 0)
            return cli_usage_error(command, "expert '%s' is given twice", name);
    if (m->experts == MOLE_EXPERTS)
        return cli_usage_error(command, "more than %d experts", MOLE_EXPERTS);
    size_t at = m->experts++;
    if (strcmp(name, "face") == 0) at = 0;
    if (strcmp(name, "hand") == 0) at = m->experts > 1 && strcmp(m->name[0], "face") == 0 ? 1 : 0;
    for (size_t i = m->experts - 1; i > at; i--) {
        m->name[i] = m->name[i - 1];
        m->path[i] = m->path[i - 1];
    }
    m->name[at] = name;
    m->path[at] = path;
    return 0;
}

/* NAME=FILE; NAME becomes part of tensor names and taps. */
static int add_named_expert(cli_common_t *c, const char *command, char *value) {
    char *equals = strchr(value, '=');
    size_t length = equals ? (size_t)(equals - value) : 0;
    if (length == 0 || length > 32 || !equals[1] ||
        strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789_") != length)
        return cli_usage_error(command, "--expert takes NAME=FILE, NAME of a-z 0-9 _, not '%s'",
                               value);
    *equals = '\0';
    return add_expert(c, command, value, equals + 1);
}

/* One of two or three words; the last may be NULL. */
static int choose(const char *command, const char *option, const char *value,
                  const char *const words[3], int *index) {
    for (*index = 0; *index < 3 && words[*index]; ++*index)
        if (strcmp(value, words[*index]) == 0) return 0;
    if (!words[2])
        return cli_usage_error(command, "--%s takes %s or %s, not '%s'", option, words[0], words[1],
                               value);
    return cli_usage_error(command, "--%s takes %s, %s or %s, not '%s'", option, words[0], words[1],
                           words[2], value);
}

int cli_common_option(cli_common_t *c, const char *command, int option, const char *value) {
    static const char *const precisions[3] = {"f32", "f64"}, *const ways[3] = {"blas", "plain"},
                             *const convs[3] = {"auto", "tiles", "winograd"},
                             *const forms[3] = {"direct", "stacked"},
                             *const widens[3] = {"load", "auto", "use"};
    int index = 0, status = 0;
    size_t threads;
    switch (option) {
    case OPT_MODEL: c->files.folder = value; return 0;
    case OPT_TOKENIZER: c->files.tokenizer = value; return 0;
    case OPT_FACE: return add_expert(c, command, "face", value);
    case OPT_HAND: return add_expert(c, command, "hand", value);
    case OPT_EXPERT: return add_named_expert(c, command, optarg);
    case OPT_GATES: c->files.mole.gates = value; return 0;
    case OPT_PLAIN_LORA: c->plain_lora = true; return 0;
    case OPT_ALLOW_UNUSED: c->files.allow_unused = true; return 0;
    case OPT_PRECISION:
        status = choose(command, "precision", value, precisions, &index);
        c->precision = value;
        return status;
    case OPT_MATMUL:
        status = choose(command, "matmul", value, ways, &index);
        c->matmul = index == 0 ? MATMUL_BLAS : MATMUL_PLAIN;
        return status;
    case OPT_CONV:
        status = choose(command, "conv", value, convs, &index);
        c->conv = (conv2d_way_t)index;
        return status;
    case OPT_MOLE:
        status = choose(command, "mole", value, forms, &index);
        c->form = index == 0 ? MOLE_DIRECT : MOLE_STACKED;
        return status;
    case OPT_WIDEN:
        status = choose(command, "widen", value, widens, &index);
        c->files.widen = (widen_t)index;
        return status;
    case OPT_THREADS:
        if (!cli_parse_size(value, 1, 1024, &threads))
            return cli_usage_error(command, "--threads takes a number from 1 to 1024, not '%s'",
                                   value);
        omp_set_num_threads((int)threads);
        return 0;
    default: return -1;
    }
}

int cli_check_precision(const cli_common_t *c, const char *command) {
    if (!c->precision || strcmp(c->precision, REAL_NAME) == 0) return 0;
    return cli_usage_error(command, "write --precision %s in full", c->precision);
}

size_t cli_expert_inputs(const cli_common_t *c, cli_output_t *list, size_t count) {
    const mole_files_t *m = &c->files.mole;
    for (size_t i = 0; i < m->experts; i++)
        list[count++] = (cli_output_t){"an expert", m->path[i], CLI_INPUT};
    list[count++] = (cli_output_t){"--gates", m->gates, CLI_INPUT};
    return count;
}

int cli_check_experts(const cli_common_t *c, const char *command) {
    const mole_files_t *m = &c->files.mole;
    if (!c->files.folder) return cli_usage_error(command, "--model is missing");
    if (m->experts == 0) {
        if (m->gates)
            return cli_usage_error(command, "--gates without experts: name --face and --hand");
        if (c->plain_lora)
            return cli_usage_error(command,
                                   "--plain-lora without an expert: name --face or --hand");
        return 0;
    }
    if (c->plain_lora && m->gates)
        return cli_usage_error(command, "--plain-lora runs without gates: leave out --gates");
    if (!c->plain_lora && !m->gates)
        return cli_usage_error(command,
                               "experts without --gates: their strength would be unknown, since "
                               "MoLE's gates decide it. Name the gates file, or --plain-lora "
                               "for the ungated baseline");
    return 0;
}

const char *cli_experts_text(const cli_common_t *c, char *text, size_t size) {
    const mole_files_t *m = &c->files.mole;
    if (m->experts == 0) {
        snprintf(text, size, "none (plain Stable Diffusion)");
        return text;
    }
    size_t used = 0;
    for (size_t i = 0; i < m->experts && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, i ? ", %s" : "%s", m->name[i]);
    if (used < size) snprintf(text + used, size - used, m->gates ? " (gated)" : " (ungated)");
    return text;
}
