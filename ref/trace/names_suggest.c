/* names_suggest.c - which of our names does a stranger's mean? See names.h.
 *
 * Names are cut into words: runs of letters, without the plural's s and with a few spellings that ports
 * use made one, and numbers. The likeness of two names is that of Dice over their longest common
 * subsequence, 2 LCS / (n + m), in which a word that starts another counts half. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "trace/names_internal.h"

enum { WORDS = 48, LETTERS = 24 };

typedef struct {
    char word[WORDS][LETTERS];
    size_t count;
} words_t;

static const char *const spellings[][2] = {
    {"attention", "attn"}, {"middle", "mid"}, {"embedding", "emb"},    {"embed", "emb"},
    {"query", "q"},        {"key", "k"},      {"value", "v"},          {"input", "down"},
    {"output", "up"},      {"ln", "norm"},    {"gn", "norm"},          {"layernorm", "norm"},
    {"groupnorm", "norm"}, {"res", "resnet"}, {"resblock", "resnet"},  {"resnetblock", "resnet"},
    {"dense", "linear"},   {"fc", "linear"},  {"convolution", "conv"},
};

static void settle(char *word) {
    size_t length = strlen(word);
    if (length > 3 && word[length - 1] == 's') word[length - 1] = '\0';
    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++)
        if (strcmp(word, spellings[i][0]) == 0) {
            snprintf(word, LETTERS, "%s", spellings[i][1]);
            return;
        }
}

/* Words beyond WORDS and letters beyond LETTERS are left out: a likeness is no proof. */
static words_t words_of(const char *name) {
    words_t w = {.count = 0};
    for (const char *p = name; *p && w.count < WORDS;) {
        bool digit = isdigit((unsigned char)*p);
        if (!digit && !isalpha((unsigned char)*p)) {
            p++;
            continue;
        }
        char *word = w.word[w.count++];
        size_t used = 0;
        if (digit)
            while (*p == '0' && isdigit((unsigned char)p[1])) p++;
        for (; digit ? isdigit((unsigned char)*p) : isalpha((unsigned char)*p); p++)
            if (used + 1 < LETTERS) word[used++] = (char)tolower((unsigned char)*p);
        word[used] = '\0';
        if (!digit) settle(word);
    }
    return w;
}

static double likeness_of_words(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b), common = n < m ? n : m;
    if (strcmp(a, b) == 0) return 1;
    return common >= 3 && isalpha((unsigned char)*a) && strncmp(a, b, common) == 0 ? 0.5 : 0;
}

static double likeness(const words_t *a, const words_t *b) {
    double best[WORDS + 1] = {0}; /* of a[0 .. i) and b[0 .. j) */
    if (a->count + b->count == 0) return 0;
    for (size_t i = 0; i < a->count; i++) {
        double corner = 0; /* best of a[0 .. i) and b[0 .. j) */
        for (size_t j = 0; j < b->count; j++) {
            double above = best[j + 1], both = corner + likeness_of_words(a->word[i], b->word[j]);
            double most = above > best[j] ? above : best[j];
            best[j + 1] = both > most ? both : most;
            corner = above;
        }
    }
    return 2 * best[b->count] / (double)(a->count + b->count);
}

/* A built-in map that leads to one of the names, of equal shape. */
static const char *by_map(const char *name, shape_t shape, const char *const *names,
                          const shape_t *shapes, size_t count) {
    static const char *const maps[] = {"ldm", "diffusers"};
    const char *found = NULL;
    for (size_t m = 0; m < 2 && !found; m++) {
        name_map_t *map;
        if (name_map_open(&map, maps[m], NULL) != 0) continue;
        char *mapped = name_map_apply(map, name);
        for (size_t i = 0; i < count && !found; i++)
            if (shape_equal(shape, shapes[i]) && strcmp(mapped, names[i]) == 0) found = names[i];
        free(mapped);
        name_map_free(map);
    }
    return found;
}

const char *name_suggest(const char *name, shape_t shape, const char *const *names,
                         const shape_t *shapes, size_t count) {
    /* How alike names must be: of equal shape, of another. */
    static const double least_same = 0.3, least_other = 0.6;
    const char *found = by_map(name, shape, names, shapes, count), *same = NULL, *other = NULL;
    size_t of_shape = 0;
    if (found) return found;
    words_t words = words_of(name);
    double best_same = -1, best_other = -1;
    for (size_t i = 0; i < count; i++) {
        bool equal = shape_equal(shape, shapes[i]);
        of_shape += equal;
        words_t theirs = words_of(names[i]);
        double alike = likeness(&words, &theirs);
        if (equal && alike > best_same) same = names[i], best_same = alike;
        if (!equal && alike > best_other) other = names[i], best_other = alike;
    }
    if (same && (of_shape == 1 || best_same >= least_same)) return same;
    return other && best_other >= least_other ? other : NULL;
}
