/* api_tokenizer.c - the tokenizer of mole.h. A mole_tokenizer_t is a tokenizer_t under another name. */
#include <stdlib.h>
#include <string.h>

#include "api/api_check.h"
#include "api/api_tokenizer.h"
#include "prompt/tokenizer.h"

static const tokenizer_t *inner(const mole_tokenizer_t *tokenizer) {
    return (const tokenizer_t *)(const void *)tokenizer;
}

const mole_tokenizer_t *api_tokenizer(const tokenizer_t *tokenizer) {
    return (const mole_tokenizer_t *)(const void *)tokenizer;
}

int mole_tokenizer_open(mole_tokenizer_t **tokenizer, const char *folder, mole_error_t *error) {
    check_t c = check_start("tokenizer_open", error);
    check_that(&c, tokenizer != NULL, "tokenizer is NULL");
    check_that(&c, folder != NULL, "folder is NULL");
    if (c.failed) return -1;
    *tokenizer = NULL;
    tokenizer_t *opened;
    if (tokenizer_open(&opened, folder, c.err)) return -1;
    *tokenizer = (mole_tokenizer_t *)(void *)opened;
    return 0;
}

void mole_tokenizer_close(mole_tokenizer_t *tokenizer) {
    tokenizer_close((tokenizer_t *)(void *)tokenizer);
}

size_t mole_tokenizer_vocab(const mole_tokenizer_t *tokenizer) {
    return tokenizer_info(inner(tokenizer))->vocab;
}

size_t mole_tokenizer_max_length(const mole_tokenizer_t *tokenizer) {
    return tokenizer_info(inner(tokenizer))->max_length;
}

static check_t check_text(const char *function, const mole_tokenizer_t *tokenizer, const char *text,
                          size_t length, mole_error_t *error) {
    check_t c = check_start(function, error);
    check_that(&c, tokenizer != NULL, "tokenizer is NULL");
    check_that(&c, text || length == 0, "text is NULL, expected %zu bytes", length);
    return c;
}

int mole_tokenizer_encode(const mole_tokenizer_t *tokenizer, const char *text, size_t length,
                          int32_t *ids, size_t room, size_t *count, mole_error_t *error) {
    check_t c = check_text("tokenizer_encode", tokenizer, text, length, error);
    check_that(&c, ids || room == 0, "ids is NULL, expected room for %zu", room);
    check_that(&c, count != NULL, "count is NULL");
    if (c.failed) return -1;
    token_list_t list = {0};
    int status = tokenizer_encode(inner(tokenizer), text ? text : "", length, &list, c.err);
    if (!status) {
        *count = list.count;
        size_t fits = list.count < room ? list.count : room;
        if (ids && fits) memcpy(ids, list.id, fits * sizeof *ids);
    }
    token_list_free(&list);
    return status;
}

int mole_tokenizer_row(const mole_tokenizer_t *tokenizer, const char *text, size_t length,
                       int32_t *row, int *truncated, mole_error_t *error) {
    check_t c = check_text("tokenizer_row", tokenizer, text, length, error);
    check_that(&c, row != NULL, "row is NULL");
    if (c.failed) return -1;
    bool cut = false;
    int status =
        tokenizer_encode_padded(inner(tokenizer), text ? text : "", length, row, &cut, c.err);
    if (!status && truncated) *truncated = cut;
    return status;
}

const char *mole_tokenizer_piece(const mole_tokenizer_t *tokenizer, int32_t id) {
    return tokenizer_piece(inner(tokenizer), id);
}
