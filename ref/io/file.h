/* file.h - bytes from and to disk: bounded whole reads, paths, and files that appear whole or not
 * at all. */
#ifndef MOLE_IO_FILE_H
#define MOLE_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

/* "FOLDER/NAME" in fresh memory; the caller frees it. An empty or NULL folder gives NAME. */
char *file_join(const char *folder, const char *name);
/* Whether `path` is a regular file that exists (its content may still be unreadable). */
bool file_exists(const char *path);
/* Whether `name` is one plain path component: not empty, no '/', '\\' or control character, not "."
 * or "..". For names that come out of files. */
bool file_name_is_plain(const char *name);

/* Open a regular file for reading. Returns a descriptor and *bytes, or -1 and err ("PATH: ..."): it
 * does not exist, is a directory or a device, may not be read. */
int file_open_read(const char *path, size_t *bytes, err_t *err);

/* The whole of a regular file of at most `limit` bytes, with a NUL after it that *bytes does not
 * count. 0 and *data (the caller frees it), or -1 and err. */
int file_read(const char *path, size_t limit, char **data, size_t *bytes, err_t *err);

/* NULL, or why a text out of a file may not reach a terminal, HTML or XML: "is not UTF-8", "holds a control
 * character" (of C0, which has line ends, or C1), "holds a character that turns the direction of text". */
const char *text_defect(const char *text);
/* The same characters of a text, in place: each becomes '?'. Returns text. */
char *text_clean(char *text);
/* A hostile name made fit for a message: what text_defect refuses becomes '?', a long one is cut with "...";
 * returns text. */
enum { SHOWN_TEXT = 200 };
const char *text_shown(char text[SHOWN_TEXT], const char *name);

/* An output that takes its name only when it is whole. Bytes go to PATH.tmp.PID.N (+ suffix) beside
 * PATH, which is the same file system, so that the rename at the end cannot fail halfway. */
typedef struct {
    char *path, *temp;
    int fd;
} out_file_t;

/* 0, or -1 and err: PATH's folder is missing or not writable, or PATH is a directory or a
 * device. */
int out_file_open(out_file_t *out, const char *path, const char *suffix, err_t *err);
/* All bytes, or -1 and err (disk full). After a failure only out_file_abort makes sense. */
int out_file_write(out_file_t *out, const void *data, size_t bytes, err_t *err);
/* Flush to disk, close, rename to PATH. On failure there is nothing left of it. Frees in every
 * case. */
int out_file_commit(out_file_t *out, err_t *err);
/* Remove the temporary file; safe to call twice, and after a failed out_file_open. */
void out_file_abort(out_file_t *out);
/* Removes the temporary files of all outputs that are open (of the first 32), for a handler of a signal that
 * ends the program: async-signal-safe. */
void out_files_abandon(void);

#endif
