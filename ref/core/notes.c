/* notes.c - see notes.h. */
#include "core/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"

enum { MOST = 1024 };

void notes_add(notes_t *notes, const char *format, ...) {
    char text[MOST];
    va_list args;
    if (!notes) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (size_t i = 0; i < notes->count; i++)
        if (strcmp(notes->text[i], text) == 0) return;
    notes->text = xrealloc(notes->text, (notes->count + 1) * sizeof *notes->text);
    notes->text[notes->count++] = xstrdup(text);
}

void notes_free(notes_t *notes) {
    for (size_t i = 0; i < notes->count; i++) free(notes->text[i]);
    free(notes->text);
    *notes = (notes_t){0};
}
