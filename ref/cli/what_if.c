/* what_if.c - see what_if.h. */
#include "cli/what_if.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

void what_if_keep(what_if_t *w, bool is_gate, const char *value) {
    if (w->words == WHAT_IF_WORDS) w->words--;
    w->word[w->words].is_gate = is_gate;
    w->word[w->words++].value = value;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

/* "face, hand" */
static void list_experts(char *text, size_t size, const mole_files_t *files) {
    size_t used = 0;
    for (size_t i = 0; i < files->experts && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, i ? ", %s" : "%s", files->name[i]);
}

static int refuse(const char *command, bool is_gate, const char *value, const mole_files_t *files) {
    char experts[1024] = "", shown[SHOWN_TEXT];
    list_experts(experts, sizeof experts, files);
    if (is_gate)
        return cli_usage_error(command,
                               "--gate takes EXPERT.local=X or EXPERT.global=X, X from 0 to 1, "
                               "EXPERT of: %s; not '%s'",
                               experts, text_shown(shown, value));
    return cli_usage_error(
        command, "--expert-strength takes EXPERT=X, X from -10 to 10, EXPERT of: %s; not '%s'",
        experts, text_shown(shown, value));
}

/* The expert whose name and `ending` are the first `length` bytes of the value, or NULL. */
static mole_what_if_t *expert_of(what_if_t *w, const mole_files_t *files, const char *value,
                                 size_t length, const char *ending) {
    for (size_t i = 0; i < files->experts; i++) {
        size_t name = strlen(files->name[i]);
        if (name + strlen(ending) == length && strncmp(value, files->name[i], name) == 0 &&
            strncmp(value + name, ending, length - name) == 0)
            return &w->expert[i];
    }
    return NULL;
}

static bool read_word(what_if_t *w, const mole_files_t *files, bool is_gate, const char *value) {
    const char *equals = strchr(value, '=');
    if (!equals) return false;
    size_t length = (size_t)(equals - value);
    double least = is_gate ? 0 : -10, most = is_gate ? 1 : 10, x;
    if (!cli_parse_double(equals + 1, least, most, &x)) return false;
    mole_what_if_t *plain = expert_of(w, files, value, length, "");
    mole_what_if_t *local = expert_of(w, files, value, length, ".local");
    mole_what_if_t *global = expert_of(w, files, value, length, ".global");
    if (!is_gate && plain) plain->strength = x;
    if (is_gate && local) local->local = x;
    if (is_gate && global) global->global = x;
    return is_gate ? local || global : plain != NULL;
}

static bool as_trained(const mole_what_if_t *e) {
    return e->strength == 1 && isnan(e->local) && isnan(e->global);
}

int what_if_read(what_if_t *w, const cli_common_t *common, const char *command) {
    const mole_files_t *files = &common->files.mole;
    for (size_t i = 0; i < MOLE_EXPERTS; i++) w->expert[i] = MOLE_AS_TRAINED;
    for (size_t i = 0; i < w->words; i++) {
        bool is_gate = w->word[i].is_gate;
        if (!files->experts)
            return cli_usage_error(command, "--%s without experts: name --face and --hand",
                                   is_gate ? "gate" : "expert-strength");
        if (is_gate && !files->gates)
            return cli_usage_error(command, "--gate without --gates: there are no gates to hold");
        if (!read_word(w, files, is_gate, w->word[i].value))
            return refuse(command, is_gate, w->word[i].value, files);
    }
    for (size_t i = 0; i < files->experts; i++) w->any = w->any || !as_trained(&w->expert[i]);
    return 0;
}

const mole_what_if_t *what_if_run(const what_if_t *w) {
    return w->any ? w->expert : NULL;
}

/* ---- saying it ---------------------------------------------------------------------------------------- */

/* The shortest text that is read as x. */
static void number_text(char text[32], double x) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, x);
        if (strtod(text, NULL) == x) return;
    }
}

/* Appends "KEY NAME=X", or ", NAME=X" behind another. */
static void append(char **text, const char *key, bool *said, const char *name, const char *part,
                   double x) {
    char number[32];
    number_text(number, x);
    char *longer = xasprintf("%s%s%s%s=%s", *text, *said ? ", " : key, name, part, number);
    free(*text);
    *text = longer;
    *said = true;
}

char *what_if_text(const what_if_t *w, const mole_files_t *files) {
    char *text = xstrdup("");
    bool strength = false, gate = false;
    for (size_t i = 0; w->any && i < files->experts; i++)
        if (w->expert[i].strength != 1)
            append(&text, ", Expert strength: ", &strength, files->name[i], "",
                   w->expert[i].strength);
    for (size_t i = 0; w->any && i < files->experts; i++) {
        const mole_what_if_t *e = &w->expert[i];
        if (!isnan(e->local))
            append(&text, ", Forced gates: ", &gate, files->name[i], ".local", e->local);
        if (!isnan(e->global))
            append(&text, ", Forced gates: ", &gate, files->name[i], ".global", e->global);
    }
    return text;
}
