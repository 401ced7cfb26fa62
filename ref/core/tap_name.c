/* tap_name.c - see tap_name.h. */
#include "core/tap_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

static const char step_word[] = "step.", mole[] = ".mole.", input[] = ".in";

size_t tap_step_length(const char *text) {
    size_t word = strlen(step_word);
    if (strncmp(text, step_word, word) != 0) return 0;
    size_t digits = strspn(text + word, "0123456789");
    return digits && text[word + digits] == '/' ? word + digits + 1 : 0;
}

const char *tap_step(char text[STEP_PREFIX], size_t step) {
    snprintf(text, STEP_PREFIX, "%s%03zu/", step_word, step);
    return text;
}

/* ".mole.base", ".mole.face.local": the last element is the part, what stands before it the expert. */
static void read_mole(tap_name_t *t) {
    const char *inner = t->suffix + strlen(mole), *dot = strrchr(inner, '.');
    t->is_mole = true;
    t->part = dot ? dot + 1 : inner;
    t->expert = (tap_span_t){inner, dot ? (size_t)(dot - inner) : 0};
}

tap_name_t tap_name(const char *text) {
    size_t step = tap_step_length(text);
    tap_name_t t = {.name = text + step, .part = "", .expert = {"", 0}};
    t.has_step = step > 0;
    if (step) t.step = strtoul(text + strlen(step_word), NULL, 10);
    t.suffix = strstr(t.name, mole);
    t.is_input = text_ends(t.name, input);
    if (t.suffix)
        read_mole(&t);
    else
        t.suffix = t.name + strlen(t.name) - (t.is_input ? strlen(input) : 0);
    t.module = (tap_span_t){t.name, (size_t)(t.suffix - t.name)};
    t.layer = (tap_span_t){text, (size_t)(t.suffix - text)};
    return t;
}

bool tap_name_is_input(const char *text) {
    return tap_name(text).is_input;
}

char *tap_name_layer(const char *text, const char *suffix) {
    return xasprintf("%.*s%s", (int)tap_name(text).layer.length, text, suffix);
}

bool tap_span_is(tap_span_t span, const char *text) {
    return strlen(text) == span.length && memcmp(span.text, text, span.length) == 0;
}
