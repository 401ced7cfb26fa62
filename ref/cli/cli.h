/* cli.h - what the subcommands share: exit codes, options, progress. Here and nowhere else the program
 * parses words, prints and exits; arithmetic lives below. */
#ifndef MOLE_CLI_CLI_H
#define MOLE_CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "io/file.h"
#include "pipeline/pipeline.h"

enum { EXIT_AGREES = 0, EXIT_DIFFERS = 1, EXIT_USAGE = 2, EXIT_INPUT = 3 };

/* Subcommands: argv[0] is the subcommand's name. They return the exit code. */
int cli_generate(int argc, char **argv);
int cli_compare(int argc, char **argv);
int cli_check_statement(int argc, char **argv);
int cli_golden(int argc, char **argv);
int cli_replay(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_peek(int argc, char **argv);
int cli_tokenize(int argc, char **argv);
int cli_verify(int argc, char **argv);
int cli_bench(int argc, char **argv);
int cli_synth(int argc, char **argv);

/* mole inspect --ranges: of a trace; returns the exit code. */
int cli_inspect_ranges(const char *path, bool as_json);
/* mole inspect --statistics: of a trace, to stdout where output is NULL; returns the exit code. */
int cli_inspect_statistics(const char *path, const char *output, bool csv);

/* "mole ...": one line on stderr, of which no character is a control character or turns the direction of
 * text: names of files, and what files hold, are written into it. A longer one is cut. */
enum { CLI_SAID = 4096 };
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same on stdout: a line that names a file. */
void cli_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The value, whose reference is taken over, to a file. Returns 0, or -1 and err. */
struct json_t;
int cli_write_json(const char *path, struct json_t *value, err_t *err);

/* "mole generate: MESSAGE" on stderr; returns EXIT_INPUT. */
int cli_input_error(const char *command, const err_t *err);
/* "mole generate: ... (see mole generate --help)"; returns EXIT_USAGE. */
int cli_usage_error(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "mole generate: warning: ..." on stderr for each, from one on. */
void cli_print_notes(const char *command, const notes_t *notes, size_t from);
/* The same where the settings of a folder or file are another scheduler's than DDIM. */
void cli_warn_scheduler(const char *command, const char *where, const ddim_config_t *config);

/* getopt_long with one form of message. `table` as for getopt_long, `shorts` starting with ":h". Returns
 * '?' after a message for an unknown option, a missing or an unwanted value. */
int cli_next_option(const char *command, int argc, char **argv, const char *shorts,
                    const struct option *table);

/* ---- outputs ---------------------------------------------------------------------------------------- */

typedef enum {
    CLI_PICTURE,
    CLI_TENSORS,
    CLI_JSON,
    CLI_XML,
    CLI_HTML,
    CLI_MAP,
    CLI_TABLE,
    CLI_FOLDER,
    CLI_INPUT /* a file that is read: no output may be the same one */
} cli_format_t;

typedef struct {
    const char *option, *path; /* "--json"; path NULL: not asked for */
    cli_format_t format;
} cli_output_t;

/* No name has the ending of another format, and no two are the same file, however it is written; two inputs
 * may be. Returns 0, or EXIT_USAGE. */
int cli_check_names(const char *command, const cli_output_t *outputs, size_t count);
/* All can be written; nothing is left behind. Returns 0, or EXIT_INPUT. */
int cli_check_writable(const char *command, const cli_output_t *outputs, size_t count);
/* Both, before the work. */
int cli_check_outputs(const char *command, const cli_output_t *outputs, size_t count);

/* ---- values ------------------------------------------------------------------------------------------ */

/* Whole text, in range, or false. */
bool cli_parse_size(const char *text, size_t least, size_t most, size_t *value);
bool cli_parse_u64(const char *text, uint64_t *value);
bool cli_parse_double(const char *text, double least, double most, double *value);

/* ---- options that mean the same everywhere --------------------------------------------------------- */

enum {
    OPT_MODEL = 256,
    OPT_TOKENIZER,
    OPT_FACE,
    OPT_HAND,
    OPT_EXPERT,
    OPT_GATES,
    OPT_PLAIN_LORA,
    OPT_ALLOW_UNUSED,
    OPT_PRECISION,
    OPT_MATMUL,
    OPT_CONV,
    OPT_MOLE,
    OPT_WIDEN,
    OPT_THREADS,
    OPT_HELP = 'h',
    OPT_OWN = 512
};

/* For the head of a subcommand's long option table, and its --help text. */
#define CLI_MODEL_OPTIONS                                                                          \
    {"model", required_argument, NULL, OPT_MODEL},                                                 \
        {"tokenizer", required_argument, NULL, OPT_TOKENIZER},                                     \
        {"face", required_argument, NULL, OPT_FACE}, {"hand", required_argument, NULL, OPT_HAND},  \
        {"expert", required_argument, NULL, OPT_EXPERT},                                           \
        {"gates", required_argument, NULL, OPT_GATES},                                             \
        {"plain-lora", no_argument, NULL, OPT_PLAIN_LORA}, {                                       \
        "allow-unused", no_argument, NULL, OPT_ALLOW_UNUSED                                        \
    }
#define CLI_RUN_OPTIONS                                                                            \
    {"precision", required_argument, NULL, OPT_PRECISION},                                         \
        {"matmul", required_argument, NULL, OPT_MATMUL},                                           \
        {"conv", required_argument, NULL, OPT_CONV}, {"mole", required_argument, NULL, OPT_MOLE},  \
        {"widen", required_argument, NULL, OPT_WIDEN}, {                                           \
        "threads", required_argument, NULL, OPT_THREADS                                            \
    }
#define CLI_HELP_OPTION                                                                            \
    {"help", no_argument, NULL, OPT_HELP}, {                                                       \
        0                                                                                          \
    }

extern const char cli_model_help[];

typedef struct {
    pipeline_files_t files;
    bool plain_lora;
    const char *precision; /* as given, or NULL */
    matmul_way_t matmul;
    conv2d_way_t conv;
    mole_form_t form;
} cli_common_t;

#define CLI_DEFAULTS_OF(FORM)                                                                      \
    ((cli_common_t){.files = {.widen = WIDEN_BY_SIZE}, .matmul = MATMUL_BLAS, .form = (FORM)})
#define CLI_COMMON_DEFAULTS CLI_DEFAULTS_OF(MOLE_STACKED)
/* Of the subcommands that look at every tap. */
#define CLI_DIRECT_DEFAULTS CLI_DEFAULTS_OF(MOLE_DIRECT)

/* The --help text of CLI_RUN_OPTIONS for a subcommand that starts from these defaults. */
const char *cli_run_help(cli_common_t defaults);

/* One of the options above. Returns 0, or EXIT_USAGE after a message; -1 when it is not one of them. */
int cli_common_option(cli_common_t *common, const char *command, int option, const char *value);
/* After the last option: is this the program of the precision asked for? main has read that word and started
 * the right one, but not when it was written in a shortened form. Returns 0 or EXIT_USAGE. */
int cli_check_precision(const cli_common_t *common, const char *command);
/* After the last option: are the experts named whole? Returns 0 or EXIT_USAGE. */
int cli_check_experts(const cli_common_t *common, const char *command);
/* Appends the files of experts and gates, as inputs, to a list of `count`; returns the new count. */
enum { CLI_EXPERT_INPUTS = MOLE_EXPERTS + 1 };
size_t cli_expert_inputs(const cli_common_t *common, cli_output_t *list, size_t count);
/* "face and hand, gated" and so on. */
const char *cli_experts_text(const cli_common_t *common, char *text, size_t size);

/* ---- signals --------------------------------------------------------------------------------------- */

/* At the start: a signal that ends the program first removes what is half written; a file that is too long is
 * an error of the write (SIGXFSZ); a mapped file that shrank ends in a message and EXIT_INPUT (SIGBUS). */
void cli_signals(void);
/* The handler of signals that end the program. */
void cli_leave(int signal_number);

/* ---- progress -------------------------------------------------------------------------------------- */

/* How far a list is. Work is in any unit that takes about the same time; a picture's steps, say. */
typedef struct {
    size_t number, count;   /* picture `number` of `count` is being made */
    double done, now, work; /* work of the pictures before, of this one, of all */
    double start;           /* clock_seconds when the first one began */
} progress_list_t;

/* A bar on a terminal, plain lines otherwise; on stderr. */
typedef struct {
    bool quiet;
    double start, last;
    char label[SHOWN_TEXT];
    const progress_list_t *list;
} progress_t;

/* list: NULL for a run that makes one picture. */
void progress_start(progress_t *progress, const char *label, bool quiet,
                    const progress_list_t *list);
/* For pipeline_image_t: false after Ctrl-C. */
bool progress_step(void *progress, size_t step, size_t steps);
void progress_end(progress_t *progress);
/* Seconds of a clock that only moves forward. */
double clock_seconds(void);
/* After this Ctrl-C, a hang-up and the like do not kill: they make progress_step return false, so that files
 * are tidied up. A second one kills. A reader of stdout or stderr that went away is a failed write. */
void progress_catch_interrupt(void);
bool progress_interrupted(void);

#endif
