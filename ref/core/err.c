/* err.c - see err.h. */
#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef err_set /* in the analyser only, see err.h */
#undef err_prefix

int err_set(err_t *err, const char *format, ...) {
    if (!err) return -1;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return -1;
}

/* What fits of the text. */
static void append(err_t *err, const char *text) {
    size_t used = strlen(err->text), room = sizeof err->text - 1 - used, length = strlen(text);
    if (length > room) length = room;
    memcpy(err->text + used, text, length);
    err->text[used + length] = '\0';
}

int err_prefix(err_t *err, const char *format, ...) {
    if (!err) return -1;
    err_t old = *err;
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    append(err, ": ");
    append(err, old.text);
    return -1;
}

_Noreturn void require_failed(const char *file, int line, const char *condition, const char *format,
                              ...) {
    va_list args;
    fflush(stdout);
    fprintf(stderr, "mole: broken contract: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, " [%s:%d: %s]\n", file, line, condition);
    abort();
}

static void *or_die(void *p, size_t bytes) {
    if (p || bytes == 0) return p;
    fprintf(stderr, "mole: out of memory (%zu bytes asked for)\n", bytes);
    abort();
}

void *xmalloc(size_t bytes) {
    return or_die(malloc(bytes), bytes);
}

void *xcalloc(size_t count, size_t size) {
    return or_die(calloc(count, size), count && size ? size : 0);
}

void *xrealloc(void *p, size_t bytes) {
    return or_die(realloc(p, bytes), bytes);
}

char *xstrdup(const char *text) {
    size_t bytes = strlen(text) + 1;
    return memcpy(xmalloc(bytes), text, bytes);
}

char *xasprintf(const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    REQUIRE(length >= 0, "xasprintf: format '%s'", format);
    char *text = xmalloc((size_t)length + 1);
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

bool text_ends(const char *text, const char *ending) {
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}
