/* words.c - see words.h. */
#include "xray/words.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "io/file.h"
#include "prompt/vocab.h"

static const char word_end[] = "</w>";

/* The byte that a printable character of a piece stands for. */
static char byte_of(utf8proc_int32_t symbol) {
    for (int byte = 0; byte < 256; byte++)
        if (vocab_byte_symbol(byte) == symbol) return (char)byte;
    return '?';
}

/* text, which is taken, with the bytes of a piece behind it. */
static char *append(char *text, const char *piece, size_t length) {
    size_t used = strlen(text);
    text = xrealloc(text, used + length + 1);
    for (size_t i = 0; i < length;) {
        utf8proc_int32_t symbol;
        utf8proc_ssize_t bytes = utf8proc_iterate((const utf8proc_uint8_t *)piece + i,
                                                  (utf8proc_ssize_t)(length - i), &symbol);
        if (bytes <= 0) break;
        text[used++] = byte_of(symbol);
        i += (size_t)bytes;
    }
    text[used] = '\0';
    return text;
}

/* A character that was cut off with the row, or one that no page may show: as text_shown has it. */
static void take(words_t *words, char *text, size_t first, size_t count) {
    char shown[SHOWN_TEXT];
    text_shown(shown, text);
    free(text);
    if (words->count == WORDS_MOST)
        words->left_out++;
    else
        words->word[words->count++] = (word_t){xstrdup(shown), first, count};
}

/* The words of one row of ids (T), of which the first is position `at`. Padding, which may be a token of
 * text, stands behind an end token. */
static void read_row(words_t *words, const tokenizer_t *tokenizer, const int32_t *ids, size_t T,
                     size_t at) {
    const tokenizer_info_t *info = tokenizer_info(tokenizer);
    char *text = NULL;
    size_t first = 1, end = strlen(word_end);
    bool ended = false;
    for (size_t i = 1; i < T; i++) {
        if (ids[i] == info->eos || (ended && ids[i] == info->pad)) {
            if (text) take(words, text, at + first, i - first);
            text = NULL;
            ended = true;
            continue;
        }
        const char *piece = tokenizer_piece(tokenizer, ids[i]);
        size_t length = piece ? strlen(piece) : 0;
        bool ends = length > end && text_ends(piece, word_end);
        if (!text) first = i;
        text = append(text ? text : xstrdup(""), piece ? piece : "", ends ? length - end : length);
        if (!ends) continue;
        take(words, text, at + first, i + 1 - first);
        text = NULL;
    }
    if (text) take(words, text, at + first, T - first);
}

int words_find(words_t *words, const tokenizer_t *tokenizer, const char *prompt,
               const prompt_options_t *options, err_t *err) {
    prompt_tokens_t rows;
    *words = (words_t){.count = 0};
    if (prompt_encode(&rows, tokenizer, &prompt, NULL, 1, options, err)) return -1;
    size_t T = rows.max_length;
    for (size_t c = 0; c < rows.chunks; c++) read_row(words, tokenizer, rows.ids + c * T, T, c * T);
    prompt_tokens_free(&rows);
    return 0;
}

void words_free(words_t *words) {
    for (size_t i = 0; i < words->count; i++) free(words->word[i].text);
    *words = (words_t){.count = 0};
}
