/* replay.h - what the two halves of `mole replay` share: replay.c (modules and blocks), replay_call.c
 * (operations). */
#ifndef MOLE_CLI_REPLAY_H
#define MOLE_CLI_REPLAY_H

#include <jansson.h>

#include "cli/cli.h"
#include "io/safetensors.h"

enum { REPLAY_INPUTS = 64 };

/* --input KEY=NAME, or NAME for the first input (key ""). */
typedef struct {
    char *key; /* owned */
    const char *name;
} replay_input_t;

typedef struct {
    cli_common_t common;
    const char *module, *inputs, *expect, *output;
    replay_input_t input[REPLAY_INPUTS];
    size_t given;
    json_t *attrs;  /* of --attr, owned */
    bool operation; /* module is "op.NAME" */
} replay_options_t;

/* Everything that is computed passes here: all is stored, the result (of the name `wanted`) is kept. */
typedef struct {
    tap_sink_t sink;
    st_writer_t *writer; /* NULL without -o */
    const char *wanted;
    real_t *result; /* owned */
    shape_t shape;
    err_t *err;
    int failed;
} replay_results_t;

int replay_results_open(replay_results_t *results, const replay_options_t *options,
                        const char *wanted, err_t *err);
/* status: of what was run. Finishes or drops the file, prints the result's shape, compares it. Returns the
 * exit code, or -1 and err. */
int replay_results_close(replay_results_t *results, const replay_options_t *options, int status);

/* mole replay op.NAME: 0, 1, or -1 and err. */
int replay_operation(const replay_options_t *options, err_t *err);

#endif
