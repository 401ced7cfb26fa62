/* warnings.c - what a user must know though nothing is wrong; see cli.h. */
#include <stdio.h>

#include "cli/cli.h"

void cli_print_notes(const char *command, const notes_t *notes, size_t from) {
    for (size_t i = from; i < notes->count; i++) cli_say("mole %s: %s", command, notes->text[i]);
}

static void print_list(const char *title, const char *list) {
    if (*list) fprintf(stderr, "; %s %s", title, list);
}

void cli_warn_scheduler(const char *command, const char *where, const ddim_config_t *config) {
    if (ddim_is_class(config->class_name)) return;
    fprintf(stderr, "mole %s: warning: %s asks for %s; DDIM runs in its place", command, where,
            config->class_name);
    print_list("taken over:", config->taken);
    print_list("DDIM's own:", config->defaults);
    print_list("left out:", config->ignored);
    fputc('\n', stderr);
}
