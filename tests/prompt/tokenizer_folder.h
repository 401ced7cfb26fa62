/* tokenizer_folder.h - throw-away tokenizer folders: a byte vocabulary, a list of merges, any file. */
#ifndef MOLE_TESTS_TOKENIZER_FOLDER_H
#define MOLE_TESTS_TOKENIZER_FOLDER_H

#include <jansson.h>
#include <stddef.h>

/* cmocka test fixtures: make an empty folder; remove it with its files. */
int folder_setup(void **state);
int folder_teardown(void **state);
const char *folder_path(void);

/* Write a file of the folder, whole; NULL removes it. */
void folder_text(const char *name, const char *text);
void folder_bytes(const char *name, const void *data, size_t bytes);
void folder_json(const char *name, const json_t *json);

/* The symbols of the bytes 0 to 255 as ids 0 to 255, the same with "</w>", the results of merges
 * ("a b", NULL at the end) in their order, <|startoftext|>, <|endoftext|>; the caller decrefs. A
 * result that is there is not repeated. */
json_t *folder_vocabulary(const char *const *merges);
/* vocab.json and merges.txt of that. */
void folder_pair(const char *const *merges);
/* tokenizer.json of that; merges as "a b", or as ["a", "b"]. */
void folder_whole(const char *const *merges, int as_lists);

/* Fails unless tokenizer_open refuses the folder, with every word in its message (NULL ends). */
void assert_refused(const char *word, ...) __attribute__((sentinel));

#endif
