/* what_if.h - the words --expert-strength and --gate: an expert made stronger or weaker, a gate held open or
 * shut, to see what would be if. */
#ifndef MOLE_CLI_WHAT_IF_H
#define MOLE_CLI_WHAT_IF_H

#include "cli/cli.h"

enum { WHAT_IF_WORDS = 3 * MOLE_EXPERTS };

/* Starts as {0}. */
typedef struct {
    size_t words;
    struct {
        bool is_gate; /* --gate, else --expert-strength */
        const char *value;
    } word[WHAT_IF_WORDS];
    mole_what_if_t expert[MOLE_EXPERTS]; /* in the order of the gates' rows, once it is read */
    bool any;                            /* something else than MOLE_AS_TRAINED */
} what_if_t;

/* Keep a word until all experts are known; one more than WHAT_IF_WORDS takes the place of the last. */
void what_if_keep(what_if_t *asked, bool is_gate, const char *value);
/* Read the words, in their order: EXPERT=X with X from -10 to 10, EXPERT.local=X and EXPERT.global=X with X
 * from 0 to 1. Returns 0, or EXIT_USAGE after a message that names the experts. */
int what_if_read(what_if_t *asked, const cli_common_t *common, const char *command);
/* For run_t: NULL when all is as trained. */
const mole_what_if_t *what_if_run(const what_if_t *asked);
/* ", Expert strength: face=0.5, Forced gates: face.global=0": what is not as trained, for a picture's
 * settings; "" when nothing is. The caller frees it. */
char *what_if_text(const what_if_t *asked, const mole_files_t *files);

#endif
