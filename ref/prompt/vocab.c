/* vocab.c - see vocab.h. */
#include "prompt/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "core/hash.h"

/* ---- pieces ---------------------------------------------------------------------------- */

/* The slot that holds the piece, or the empty one where it belongs. */
static size_t slot_of(const vocab_t *vocab, const char *piece) {
    size_t at = hash_bytes(piece, strlen(piece)) & (vocab->slots - 1);
    while (vocab->slot[at] >= 0 && strcmp(vocab->piece[vocab->slot[at]], piece) != 0)
        at = (at + 1) & (vocab->slots - 1);
    return at;
}

int32_t vocab_find(const vocab_t *vocab, const char *piece) {
    return vocab->slots ? vocab->slot[slot_of(vocab, piece)] : -1;
}

/* Enough slots for `count` pieces at a load of at most one half. */
static void slots_for(vocab_t *vocab, size_t count) {
    if (vocab->slots >= 2 * count) return;
    vocab->slots = vocab->slots ? vocab->slots : 1024;
    while (vocab->slots < 2 * count) vocab->slots *= 2;
    vocab->slot = xrealloc(vocab->slot, vocab->slots * sizeof *vocab->slot);
    memset(vocab->slot, -1, vocab->slots * sizeof *vocab->slot);
    for (size_t id = 0; id < vocab->size; id++)
        if (vocab->piece[id]) vocab->slot[slot_of(vocab, vocab->piece[id])] = (int32_t)id;
}

int32_t vocab_add(vocab_t *vocab, const char *piece) {
    REQUIRE(vocab_find(vocab, piece) < 0, "vocab_add: '%s' is there already", piece);
    if (vocab->size == vocab->capacity) {
        vocab->capacity = 2 * vocab->capacity + 16;
        vocab->piece = xrealloc(vocab->piece, vocab->capacity * sizeof *vocab->piece);
    }
    int32_t id = (int32_t)vocab->size;
    slots_for(vocab, vocab->size + 1);
    vocab->slot[slot_of(vocab, piece)] = id;
    vocab->piece[vocab->size++] = xstrdup(piece);
    return id;
}

int32_t vocab_byte_symbol(int byte) {
    if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174) return byte;
    if (byte < 33) return 0x100 + byte;
    if (byte < 161) return 0x100 + 33 + (byte - 127);
    return 0x100 + 67;
}

static void find_bytes(vocab_t *vocab) {
    for (int byte = 0; byte < 256; byte++) {
        char text[16];
        utf8proc_uint8_t *to = (utf8proc_uint8_t *)text;
        utf8proc_ssize_t used = utf8proc_encode_char(vocab_byte_symbol(byte), to);
        text[used] = '\0';
        vocab->byte[byte] = vocab_find(vocab, text);
        memcpy(text + used, "</w>", 5);
        vocab->byte_end[byte] = vocab_find(vocab, text);
    }
}

int vocab_from_json(vocab_t *vocab, const json_t *pieces, const char *where, err_t *err) {
    *vocab = (vocab_t){0};
    if (!json_is_object(pieces))
        return err_set(err, "%s: expected an object that gives each piece its id", where);
    size_t count = json_object_size(pieces);
    if (count == 0 || count > VOCAB_PIECES_MAX)
        return err_set(err, "%s: %zu pieces, expected 1 to %d", where, count, VOCAB_PIECES_MAX);
    vocab->capacity = 2 * count;
    vocab->piece = xcalloc(vocab->capacity, sizeof *vocab->piece);

    const char *piece;
    json_t *value;
    json_object_foreach((json_t *)pieces, piece, value) {
        double number = json_is_number(value) ? json_number_value(value) : -1;
        size_t id = number >= 0 && number < (double)vocab->capacity ? (size_t)number : SIZE_MAX;
        if (id == SIZE_MAX || (double)id != number)
            return err_set(err, "%s: id of \"%s\": expected an integer from 0 to %zu", where, piece,
                           vocab->capacity - 1);
        if (!*piece) return err_set(err, "%s: an empty piece has id %zu", where, id);
        if (vocab->piece[id])
            return err_set(err, "%s: id %zu stands for \"%s\" and for \"%s\": ids must be unique",
                           where, id, vocab->piece[id], piece);
        vocab->piece[id] = xstrdup(piece);
        if (id >= vocab->size) vocab->size = id + 1;
    }
    slots_for(vocab, count);
    find_bytes(vocab);
    return 0;
}

/* ---- merges ---------------------------------------------------------------------------- */

static size_t pair_of(const vocab_t *vocab, int32_t left, int32_t right) {
    const int32_t both[2] = {left, right};
    size_t at = hash_bytes(both, sizeof both) & (vocab->pairs - 1);
    while (vocab->pair[at].left >= 0 &&
           (vocab->pair[at].left != left || vocab->pair[at].right != right))
        at = (at + 1) & (vocab->pairs - 1);
    return at;
}

const vocab_merge_t *vocab_merge(const vocab_t *vocab, int32_t left, int32_t right) {
    if (!vocab->pairs) return NULL;
    const vocab_merge_t *found = &vocab->pair[pair_of(vocab, left, right)];
    return found->left >= 0 ? found : NULL;
}

static void pairs_for(vocab_t *vocab, size_t count) {
    vocab->pairs = 1024;
    while (vocab->pairs < 2 * count) vocab->pairs *= 2;
    vocab->pair = xmalloc(vocab->pairs * sizeof *vocab->pair);
    for (size_t i = 0; i < vocab->pairs; i++) vocab->pair[i].left = -1;
}

/* One rule; parts end in NUL. `where` and `line` (counted from 1) are for the message. */
static int add_merge(vocab_t *vocab, const char *left, const char *right, const char *where,
                     size_t line, err_t *err) {
    int32_t a = vocab_find(vocab, left), b = vocab_find(vocab, right);
    if (a < 0 || b < 0)
        return err_set(err, "%s: merge %zu: \"%s\" is not in the vocabulary", where, line,
                       a < 0 ? left : right);
    char *joined = xasprintf("%s%s", left, right);
    int32_t result = vocab_find(vocab, joined);
    if (result < 0)
        err_set(err, "%s: merge %zu: \"%s\" + \"%s\" gives \"%s\", not in the vocabulary", where,
                line, left, right, joined);
    free(joined);
    if (result < 0) return -1;
    vocab_merge_t *slot = &vocab->pair[pair_of(vocab, a, b)];
    if (slot->left >= 0)
        return err_set(err, "%s: merge %zu: \"%s %s\" was merge %d of the list already", where,
                       line, left, right, slot->rank + 1);
    *slot = (vocab_merge_t){a, b, (int32_t)vocab->merges++, result};
    return 0;
}

/* "left right" of `length` bytes. */
static int add_merge_text(vocab_t *vocab, const char *text, size_t length, const char *where,
                          size_t line, err_t *err) {
    char *copy = xmalloc(length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    char *space = strchr(copy, ' ');
    int status;
    if (strlen(copy) != length || !space || space == copy || !space[1] || strchr(space + 1, ' ')) {
        status = err_set(err, "%s: merge %zu: expected \"left right\", found \"%.80s\"", where,
                         line, copy);
    } else {
        *space = '\0';
        status = add_merge(vocab, copy, space + 1, where, line, err);
    }
    free(copy);
    return status;
}

int vocab_merges_text(vocab_t *vocab, const char *text, size_t length, const char *where,
                      err_t *err) {
    size_t lines = 1;
    for (size_t i = 0; i < length; i++) lines += text[i] == '\n';
    if (lines > VOCAB_MERGES_MAX)
        return err_set(err, "%s: %zu lines, at most %d are taken", where, lines, VOCAB_MERGES_MAX);
    pairs_for(vocab, lines);
    size_t line = 0;
    for (size_t at = 0; at < length;) {
        const char *start = text + at;
        const char *end = memchr(start, '\n', length - at);
        size_t span = end ? (size_t)(end - start) : length - at;
        at += span + 1;
        line++;
        if (span && start[span - 1] == '\r') span--;
        if (span >= 8 && memcmp(start, "#version", 8) == 0) continue;
        if (add_merge_text(vocab, start, span, where, line, err)) return -1;
    }
    return 0;
}

int vocab_merges_json(vocab_t *vocab, const json_t *merges, const char *where, err_t *err) {
    size_t count = json_array_size(merges);
    if (!json_is_array(merges) || count > VOCAB_MERGES_MAX)
        return err_set(err, "%s: expected an array of at most %d merges", where, VOCAB_MERGES_MAX);
    pairs_for(vocab, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *rule = json_array_get(merges, i);
        const char *left = json_string_value(json_array_get(rule, 0));
        const char *right = json_string_value(json_array_get(rule, 1));
        int status;
        if (json_is_string(rule))
            status = add_merge_text(vocab, json_string_value(rule), json_string_length(rule), where,
                                    i + 1, err);
        else if (left && right && *left && *right && json_array_size(rule) == 2)
            status = add_merge(vocab, left, right, where, i + 1, err);
        else
            status = err_set(err, "%s: merge %zu: expected \"left right\" or [\"left\", \"right\"]",
                             where, i + 1);
        if (status) return -1;
    }
    return 0;
}

void vocab_free(vocab_t *vocab) {
    for (size_t i = 0; i < vocab->size; i++) free(vocab->piece[i]);
    free(vocab->piece);
    free(vocab->slot);
    free(vocab->pair);
    *vocab = (vocab_t){0};
}
