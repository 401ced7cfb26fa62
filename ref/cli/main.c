/* main.c - mole SUBCOMMAND: find it and hand over.
 *
 * Two programs are built from the same sources: mole computes in float32, mole-f64 beside it in float64.
 * `--precision f64` makes the first start the second, so that a user needs to know one name only. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "api/mole.h"
#include "cli/cli.h"
#include "core/ieee.h"
#include "ops/blas.h"

static const struct {
    const char *name, *about;
    int (*run)(int argc, char **argv);
    const char *precision; /* NULL: the user's choice */
} commands[] = {
    {"generate", "prompt in, PNG out", cli_generate, NULL},
    {"compare", "a port's trace against the truth: which layer is wrong, and why", cli_compare,
     "f64"},
    {"check-statement", "a statement that compare wrote: does it hold?", cli_check_statement,
     "f64"},
    {"golden", "a golden case of one's own model", cli_golden, "f64"},
    {"replay", "one module on given inputs", cli_replay, NULL},
    {"verify", "run golden cases and say how far every tap is from the truth", cli_verify, NULL},
    {"inspect", "what a model and its experts hold", cli_inspect, NULL},
    {"peek", "look into a file of tensors: statistics, slices, pictures", cli_peek, NULL},
    {"tokenize", "prompt in, token ids out", cli_tokenize, NULL},
    {"synth", "a checkpoint of any size from a formula", cli_synth, NULL},
    {"bench", "how fast, against the machine's own matrix product", cli_bench, NULL},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *to) {
    fprintf(to, "mole: a reference implementation of MoLE (Mixture of Low-rank Experts) on Stable "
                "Diffusion\n\nusage: mole COMMAND [OPTIONS]\n\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-15s %s\n", commands[i].name, commands[i].about);
    fprintf(to,
            "\nmole COMMAND --help (or mole help COMMAND) tells more; mole --version names the\n"
            "version. Exit codes: 0 done or agrees, 1 differs, 2 usage, 3 bad or missing input.\n"
            "\nexample:\n  mole generate --model golden/models/sd15-tiny "
            "--prompt \"two hands\" \\\n      --steps 10 -o hands.png\n");
}

/* The precision that the command needs, or the value of --precision, or NULL. Only whole words before a
 * lone "--" count. */
static const char *wanted_precision(int argc, char **argv) {
    const char *wanted = NULL;
    for (int i = 0; argc > 1 && i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0 && commands[i].precision)
            return commands[i].precision;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--precision") == 0 && i + 1 < argc) wanted = argv[i + 1];
        if (strncmp(argv[i], "--precision=", 12) == 0) wanted = argv[i] + 12;
    }
    return wanted;
}

/* Become the program of the other number type, in the same folder. Returns only on failure. */
static int become(const char *program, char **argv) {
    char self[PATH_MAX], other[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) {
        cli_say("mole: cannot find my own folder: %s", strerror(errno));
        return EXIT_INPUT;
    }
    self[length] = '\0';
    if (snprintf(other, sizeof other, "%s/%s", dirname(self), program) < (int)sizeof other)
        execv(other, argv);
    cli_say("mole: %s: %s. Build both programs (make) and keep them in one folder.", other,
            strerror(errno));
    return EXIT_INPUT;
}

static bool is_word(const char *word, const char *a, const char *b, const char *c) {
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

static bool is_version(const char *option) {
    return strcmp(option, "-V") == 0 || strcmp(option, "--version") == 0;
}

static int print_version(void) {
    printf("mole %s, %s, %s\n", MOLE_VERSION, REAL_NAME, matmul_library());
    return 0;
}

static int run_command(int argc, char **argv) {
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(argv[0], commands[i].name) == 0)
            return argc == 2 && is_version(argv[1]) ? print_version() : commands[i].run(argc, argv);
    cli_say("mole: no command '%s' (see mole --help)", argv[0]);
    return EXIT_USAGE;
}

/* "mole help COMMAND" is "mole COMMAND --help". argv[0] is "help". */
static int run_help(int argc, char **argv) {
    static char option[] = "--help";
    if (argc > 2) {
        cli_say("mole help: takes one COMMAND, not also '%s' (see mole --help)", argv[2]);
        return EXIT_USAGE;
    }
    if (argc == 2 && !is_word(argv[1], "-h", "--help", "help")) {
        if (is_version(argv[1]) || strcmp(argv[1], "version") == 0) return print_version();
        char *words[] = {argv[1], option, NULL};
        return run_command(2, words);
    }
    print_help(stdout);
    return 0;
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (is_word(argv[1], "-h", "--help", "help")) return run_help(argc - 1, argv + 1);
    if (is_version(argv[1]) || strcmp(argv[1], "version") == 0) return print_version();
    return run_command(argc - 1, argv + 1);
}

/* Where a standard stream is closed, the next file that is opened gets its number, and what is printed would
 * go into that file. The places are taken by files that cannot be used in that direction, so that writing to
 * a closed stdout is still the error it is. */
static int take_closed_streams(void) {
    static const int flags[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", flags[fd]) != fd) return -1;
    return 0;
}

int main(int argc, char **argv) {
    err_t err;
    if (take_closed_streams()) return EXIT_INPUT;
    cli_signals();
    if (ieee_check(&err)) {
        cli_say("mole: %s", err.text);
        return EXIT_INPUT;
    }
    json_set_alloc_funcs(xmalloc, free); /* nothing that a report lacks for want of memory */
    const char *precision = wanted_precision(argc, argv);
    if (precision && strcmp(precision, REAL_NAME) != 0) {
        if (strcmp(precision, "f64") == 0) return become("mole-f64", argv);
        if (strcmp(precision, "f32") == 0) return become("mole", argv);
    }
    int status = run(argc, argv);
    if (fflush(stdout) || ferror(stdout)) {
        cli_say("mole: cannot write to standard output: %s", strerror(errno));
        return EXIT_INPUT;
    }
    return status;
}
