/* word.c - see word.h. */
#include "sheet/word.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

/* Letters, and the bytes of characters beyond ASCII. */
static bool is_letter(char c) {
    return isalpha((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* The next word at or behind *text, lower case where it is ASCII; NULL at the end. *text goes behind it, and
 * *mark says whether something else than blanks stood before. The caller frees it. */
static char *next_word(const char **text, bool *mark) {
    const char *from = *text;
    *mark = false;
    for (; *from && !is_letter(*from); from++) *mark = *mark || *from != ' ';
    size_t length = 0;
    while (is_letter(from[length])) length++;
    *text = from + length;
    if (!length) return NULL;
    char *word = xasprintf("%.*s", (int)length, from);
    for (char *c = word; *c; c++) *c = (char)tolower((unsigned char)*c);
    return word;
}

static bool is_among(const char *word, const char *const *list) {
    for (; *list; list++)
        if (strcmp(word, *list) == 0) return true;
    return false;
}

/* ---- the usual one ------------------------------------------------------------------------------------ */

/* An expert's name, or several of them. */
static bool is_expert(const char *word, const mole_files_t *experts) {
    for (size_t i = 0; i < experts->experts; i++) {
        size_t length = strlen(experts->name[i]);
        if (strncmp(word, experts->name[i], length) != 0) continue;
        if (!word[length] || strcmp(word + length, "s") == 0) return true;
    }
    return false;
}

char *word_usual(const char *prompt, const mole_files_t *experts) {
    static const char *const idle[] = {"a",   "an",  "the", "of",   "and",  "or",   "his",
                                       "her", "its", "my",  "your", "this", "that", NULL};
    static const char *const ends[] = {"with",    "in",      "on",   "at",   "by",
                                       "under",   "from",    "near", "over", "while",
                                       "wearing", "holding", NULL};
    char *last = NULL, *word;
    bool mark, open = true;
    while ((word = next_word(&prompt, &mark))) {
        if (is_expert(word, experts)) {
            free(last);
            return word;
        }
        open = open && !(last && (mark || is_among(word, ends)));
        bool takes = open && !is_among(word, idle) && !is_among(word, ends);
        free(takes ? last : word);
        if (takes) last = word;
    }
    return last;
}

/* ---- its tokens --------------------------------------------------------------------------------------- */

static int refuse(const char *prompt, const char *word, err_t *err) {
    char *list = xstrdup(""), *next, shown[SHOWN_TEXT], words[SHOWN_TEXT];
    bool mark;
    while ((next = next_word(&prompt, &mark))) {
        char *longer = xasprintf("%s%s%s", list, *list ? ", " : "", next);
        free(list);
        free(next);
        list = longer;
    }
    err_set(err, "the word '%s' is not among the prompt's tokens; its words: %s",
            text_shown(shown, word), text_shown(words, list));
    free(list);
    return -1;
}

/* Every place of `part` in the rows; they do not run on from one into the next. */
static void find(size_t **token, size_t *count, const prompt_tokens_t *rows,
                 const token_list_t *part) {
    size_t T = rows->max_length, n = part->count;
    for (size_t at = 0; n && at < rows->chunks * T; at++) {
        if (at % T + n > T || memcmp(rows->ids + at, part->id, n * sizeof *part->id) != 0) continue;
        *token = xrealloc(*token, (*count + n) * sizeof **token);
        for (size_t i = 0; i < n; i++) (*token)[(*count)++] = at + i;
        at += n - 1;
    }
}

int word_tokens(size_t **token, size_t *count, const tokenizer_t *tokenizer, const char *prompt,
                const prompt_options_t *options, const char *word, err_t *err) {
    prompt_tokens_t rows;
    token_list_t part = {0};
    *token = NULL;
    *count = 0;
    if (prompt_encode(&rows, tokenizer, &prompt, NULL, 1, options, err)) return -1;
    int status = tokenizer_encode(tokenizer, word, strlen(word), &part, err);
    if (!status) find(token, count, &rows, &part);
    prompt_tokens_free(&rows);
    token_list_free(&part);
    if (!status && !*count) status = refuse(prompt, word, err);
    return status ? -1 : 0;
}
