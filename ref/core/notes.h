/* notes.h - what a reader of files has to say though it refuses nothing: sentences for people, "warning: ..."
 * or "note: ...", which a command prints. They are the caller's, so that they outlive a reader that fails. */
#ifndef MOLE_CORE_NOTES_H
#define MOLE_CORE_NOTES_H

#include <stddef.h>

typedef struct {
    char **text;
    size_t count;
} notes_t;

/* notes NULL: nobody wants to know. The same sentence is taken once. */
void notes_add(notes_t *notes, const char *format, ...) __attribute__((format(printf, 2, 3)));
void notes_free(notes_t *notes);

#endif
