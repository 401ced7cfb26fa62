/* json.h - configuration files: jansson with positions, types and ranges checked.
 *
 * A node is an object inside a file and knows where it is, so that every message says
 * "FILE: a.b[2].key: expected ..., found ...". Unknown keys are checked by
 * io/config_keys.h. A key whose
 * value is null counts as absent, as diffusers writes settings that are not set. There are no
 * hidden defaults: a required value is read by json_get_X, one that may be absent by json_get_X_or,
 * with the fallback in the call. Every function returns 0, or -1 and err; *out is written on
 * success only. */
#ifndef MOLE_IO_JSON_H
#define MOLE_IO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "core/err.h"

/* JSON_SIZES: the longest list of json_get_sizes and json_get_choices. */
enum { JSON_WHERE = 160, JSON_SIZES = 16 };

typedef struct json_file json_file_t;

typedef struct {
    const char *path;       /* of the file; NULL: no file, messages start with the key */
    json_t *value;          /* borrowed: lives until json_file_close */
    char where[JSON_WHERE]; /* "" for the root, else "a.b[2]." */
} json_node_t;

/* What a text would take as a tree of jansson's is estimated from its characters, before it is parsed: a file
 * of {},{},... takes a hundred times its bytes. 0, or -1 and err for more than JSON_MEMORY_MAX bytes. */
enum { JSON_MEMORY_MAX = 512 << 20 };
int json_check_memory(const char *path, const char *text, size_t bytes, err_t *err);

/* Parse a text, of which messages say `path`; no duplicate keys; flags are jansson's. *value is a new
 * reference. Errors are "PATH:LINE:COLUMN: not JSON: ...". */
int json_parse(json_t **value, const char *path, const char *text, size_t bytes, size_t flags,
               err_t *err);

/* Parse a file of at most JSON_FILE_MAX bytes: any JSON value, no duplicate keys. */
#define JSON_FILE_MAX ((size_t)64 << 20)
int json_file_open(json_file_t **file, const char *path, err_t *err);
/* The same of a text that was read from `path`. */
int json_file_parse(json_file_t **file, const char *path, const char *text, size_t bytes,
                    err_t *err);
void json_file_close(json_file_t *file);
/* The root; may be of any type, json_get_* refuse when it is not an object. */
json_node_t json_file_root(const json_file_t *file);

/* Whether the key is there and not null. */
bool json_node_has(json_node_t node, const char *key);
/* "FILE: where.key: " + message; returns -1. For checks that the reader makes itself. */
int json_node_error(json_node_t node, const char *key, err_t *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#ifdef __clang_analyzer__ /* as for err_set */
#define json_node_error(...) err_returns(json_node_error(__VA_ARGS__))
#endif

/* An integer from min to max. 3.0 is not an integer, true is not a number. */
int json_get_int(json_node_t node, const char *key, int64_t min, int64_t max, int64_t *out,
                 err_t *err);
int json_get_int_or(json_node_t node, const char *key, int64_t min, int64_t max, int64_t fallback,
                    int64_t *out, err_t *err);
int json_get_size(json_node_t node, const char *key, size_t min, size_t max, size_t *out,
                  err_t *err);
int json_get_size_or(json_node_t node, const char *key, size_t min, size_t max, size_t fallback,
                     size_t *out, err_t *err);
/* A number, integer or not. */
int json_get_double(json_node_t node, const char *key, double *out, err_t *err);
int json_get_double_or(json_node_t node, const char *key, double fallback, double *out, err_t *err);
int json_get_bool(json_node_t node, const char *key, bool *out, err_t *err);
int json_get_bool_or(json_node_t node, const char *key, bool fallback, bool *out, err_t *err);
/* A string without NUL; *out lives until json_file_close. */
int json_get_string(json_node_t node, const char *key, const char **out, err_t *err);
int json_get_string_or(json_node_t node, const char *key, const char *fallback, const char **out,
                       err_t *err);
/* A string that will be printed: one with a text_defect is refused. */
int json_get_name(json_node_t node, const char *key, const char **out, err_t *err);

/* A list of `least` to `most` integers from min to max; *count is how many. */
int json_get_ints(json_node_t node, const char *key, int64_t min, int64_t max, size_t least,
                  size_t most, int64_t *out, size_t *count, err_t *err);
/* The same from 1 to max. */
int json_get_sizes(json_node_t node, const char *key, size_t max, size_t least, size_t most,
                   size_t *out, size_t *count, err_t *err);
/* A list of exactly `count`, or one that stands for all: diffusers' "attention_head_dim". */
int json_get_sizes_each_or(json_node_t node, const char *key, size_t max, size_t count,
                           size_t fallback, size_t *out, err_t *err);
/* A list of `least` to `most` strings. */
int json_get_strings(json_node_t node, const char *key, size_t least, size_t most, const char **out,
                     size_t *count, err_t *err);

/* One of `words`, a list that NULL ends, and a list of `count` such words; *index is which. */
int json_get_choice(json_node_t node, const char *key, const char *const *words, size_t *index,
                    err_t *err);
int json_get_choice_or(json_node_t node, const char *key, const char *const *words, size_t fallback,
                       size_t *index, err_t *err);
int json_get_choices(json_node_t node, const char *key, const char *const *words, size_t count,
                     size_t *index, err_t *err);

/* The object under a key; the object that is item `index` of the list under a key; a list's
 * length. */
int json_get_object(json_node_t node, const char *key, json_node_t *out, err_t *err);
int json_get_item(json_node_t node, const char *key, size_t index, json_node_t *out, err_t *err);
int json_get_length(json_node_t node, const char *key, size_t *length, err_t *err);

/* ---- writing ------------------------------------------------------------------------------------------ */

/* The value in a line of ASCII that may stand in a script element of HTML: '<', '>' and '&', which stand in
 * strings only, are JSON escapes. flags are jansson's. What the stream says is the caller's to look at. */
void json_write_html(const json_t *value, size_t flags, FILE *to);

#endif
