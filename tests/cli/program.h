/* program.h - running the built command-line program as a user does, and looking at what it leaves.
 *
 * The program is the one named by the environment variable MOLE (in the float build of a test) or
 * MOLE_F64, which `make test` sets. It runs in the repository's root unless told otherwise. */
#ifndef MOLE_TESTS_CLI_PROGRAM_H
#define MOLE_TESTS_CLI_PROGRAM_H

#include <stddef.h>
#include <sys/types.h>

#include "../fixture.h"

/* The program of this build, an absolute path; and the other way round, mole whatever the build. */
const char *program_path(void);
const char *program_mole(void);

/* How to run it; zeros are the usual way. */
typedef struct {
    const char *program, *folder; /* NULL: program_path(), the current folder */
    const char *stdout_to;        /* a file to write stdout to instead of catching it */
    size_t file_limit;            /* RLIMIT_FSIZE: a disk that is full after so many bytes */
    int signal_after_word;        /* send this signal when `word` is seen on stdout */
    const char *empty_after_word; /* or make this file empty */
    const char *word;
    const char *closed; /* "12": these standard streams are closed */
    unsigned seconds;   /* more than so many end in failure of the test (60) */
} run_how_t;

typedef struct {
    int status; /* exit code; 128 + signal when a signal ended it */
    char *out, *err;
} ran_t;

/* `words`: the arguments, separated by single spaces; '~' stands for a space inside a word, "''" for
 * an empty word, a word "%s" for the next of `more`. What it printed lives until fixture_free. */
ran_t program_run(const run_how_t *how, const char *words, ...);

/* The path of `name` in the scratch folder, for as long as the test runs. */
const char *program_file(const char *name);

/* Everything in a folder, with sizes, times and identities of files: equal text, nothing was changed. */
char *program_listing(const char *folder);

/* Run, and fail the test unless the program refused: exit code `status`, one line on stderr that starts
 * with "mole" and holds `expected` (NULL: anything), and no change in the scratch folder. */
void program_refuses(int status, const char *expected, const char *words, ...);
/* The judgement alone. */
void program_check_refusal(const ran_t *ran, int status, const char *expected, const char *words);

/* A small run that works: model, prompt, 1 step, 8 x 8 pixels; -o and the rest are to be added. */
#define SMALL_RUN                                                                                  \
    "generate --model golden/models/sd15-tiny --prompt x --steps 1 --width 8 --height 8 "
#define EXPERTS "golden/models/sd15-tiny-mole/"
#define GATED                                                                                      \
    "--face " EXPERTS "face.safetensors --hand " EXPERTS "hand.safetensors "                       \
    "--gates " EXPERTS "gates.safetensors "

/* Fails unless the program ended well; returns what it said. */
ran_t program_works(ran_t ran);
/* Fails unless two files hold the same bytes. */
void program_same_file(const char *a, const char *b);

#endif
