/* scratch.h - a temporary folder for one test program, and assertions about messages. */
#ifndef MOLE_TESTS_SCRATCH_H
#define MOLE_TESTS_SCRATCH_H

#include <stddef.h>

#include "core/err.h"

/* cmocka group fixtures: make the folder, remove it with everything in it. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* The folder; the path of `name` in it (a ring of 8 buffers, no need to free). */
const char *scratch_folder(void);
const char *scratch_path(const char *name);

/* Write a file, whole; returns its path. */
const char *scratch_write(const char *name, const void *data, size_t bytes);
const char *scratch_text(const char *name, const char *text);
/* The same at any path. */
void scratch_store(const char *path, const void *data, size_t bytes);
/* Entries of the folder, without "." and "..": a temporary file left behind shows here. */
size_t scratch_entries(void);
/* The bytes of a file, with a NUL after them; the caller frees them. */
char *scratch_slurp(const char *path, size_t *bytes);

/* Fails with the message where the status is not 0. */
void must(int status, const err_t *err);
/* Fails unless the message holds every one of the words (NULL ends the list). */
void assert_message(const err_t *err, ...) __attribute__((sentinel));

#endif
