/* name_votes.c - see name_votes.h.
 *
 * Two names whose last words agree differ in what stands before: the words of theirs, A X, and of ours, A Y.
 * X stands for Y only where one of them is empty, or where X is a mere wrapper ("model"): what stands in the
 * place of another word means something else. */
#include "trace/name_votes.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "trace/name_forms.h"

/* ---- words --------------------------------------------------------------------------------------------- */

/* Of "step.003/_unet_conv_in": "step.003/_in", fresh. */
static char *last_of(const char *words, size_t pass) {
    const char *last = strrchr(words + pass, '_');
    return xasprintf("%.*s%s", (int)pass, words, last ? last : "");
}

/* Length of the words that both begin with. */
static size_t common_front(const char *a, size_t n, const char *b, size_t m) {
    size_t common = 0;
    for (size_t i = 0; i <= n && i <= m; i++) {
        if ((i == n || a[i] == '_') && (i == m || b[i] == '_')) common = i;
        if (i == n || i == m || a[i] != b[i]) break;
    }
    return common;
}

/* Length of the words that both end with. */
static size_t common_end(const char *a, size_t n, const char *b, size_t m) {
    size_t common = 0;
    for (size_t i = 1; i <= n && i <= m && a[n - i] == b[m - i]; i++)
        if (a[n - i] == '_') common = i;
    return common;
}

static const char *const wrappers[] = {
    "_model",   "_module", "_net",       "_network",     "_pipe", "_pipeline", "_wrapper",
    "_wrapped", "_inner",  "_diffusion", "_transformer", "_clip", "_denoiser", NULL};
static const char *const components[] = {"_text_encoder", "_text_model", "_unet", "_vae", NULL};
static const char *const halves[] = {"_decoder", "_encoder", NULL};

static size_t eat_one(const char *at, size_t length, const char *const *list) {
    for (; *list; list++) {
        size_t n = strlen(*list);
        if (n <= length && strncmp(at, *list, n) == 0 && (n == length || at[n] == '_')) return n;
    }
    return 0;
}

/* Whether the words are all of these lists (NULL: no list). */
static bool consists_of(const char *at, size_t length, const char *const *one,
                        const char *const *other, const char *const *third) {
    while (length) {
        size_t n = eat_one(at, length, one);
        if (!n && other) n = eat_one(at, length, other);
        if (!n && third) n = eat_one(at, length, third);
        if (!n) return false;
        at += n;
        length -= n;
    }
    return true;
}

/* ---- voting -------------------------------------------------------------------------------------------- */

name_votes_t name_votes_open(const char *const *ours, const bool *taken, size_t count,
                             bool slashes_part_words) {
    name_votes_t v = {.slashes_part_words = slashes_part_words, .ours = count};
    v.words = xcalloc(count + 1, sizeof *v.words);
    v.next = xcalloc(count + 1, sizeof *v.next);
    v.first = xcalloc(count + 1, sizeof *v.first);
    for (size_t i = 0; i < count; i++) {
        if (!ours[i] || (taken && taken[i])) continue;
        v.words[i] = name_words(ours[i], slashes_part_words);
        char *last = last_of(v.words[i], name_pass(ours[i], slashes_part_words));
        size_t id = name_id(&v.lasts, last);
        v.next[i] = v.first[id];
        v.first[id] = i + 1;
        free(last);
    }
    return v;
}

/* theirs[0 .. n) stands for ours[0 .. m). */
static void vote_for(name_votes_t *v, const char *theirs, size_t n, const char *ours, size_t m) {
    size_t front = common_front(theirs, n, ours, m);
    const char *x = theirs + front, *y = ours + front;
    size_t x_length = n - front, y_length = m - front;
    if (x_length && y_length && !consists_of(x, x_length, wrappers, NULL, NULL)) return;
    char *pair = xasprintf("%.*s\n%.*s", (int)n, theirs, (int)m, ours);
    size_t id = name_id(&v->pairs, pair);
    free(pair);
    if (id == v->changes) {
        v->change = xrealloc(v->change, (v->changes + 1) * sizeof *v->change);
        v->change[v->changes++] = (name_change_t){
            .theirs = xasprintf("%.*s", (int)n, theirs),
            .ours = xasprintf("%.*s", (int)m, ours),
            .trusted = consists_of(x, x_length, wrappers, components, NULL) &&
                       consists_of(y, y_length, wrappers, components, halves),
        };
    }
    v->change[id].votes++;
}

void name_votes_add(name_votes_t *v, const char *name) {
    char *words = name_words(name, v->slashes_part_words);
    size_t pass = name_pass(name, v->slashes_part_words), length = strlen(words + pass);
    char *last = last_of(words, pass);
    size_t id = name_id_of(&v->lasts, last);
    for (size_t i = id == SIZE_MAX || !length ? 0 : v->first[id]; i; i = v->next[i - 1]) {
        const char *ours = v->words[i - 1] + pass; /* the same pass */
        size_t m = strlen(ours), end = common_end(words + pass, length, ours, m);
        if (end < length || end < m) vote_for(v, words + pass, length - end, ours, m - end);
    }
    free(last);
    free(words);
}

static int by_votes(const void *a, const void *b) {
    const name_change_t *one = a, *other = b;
    if (one->votes != other->votes) return one->votes > other->votes ? -1 : 1;
    size_t n = strlen(one->theirs) + strlen(one->ours),
           m = strlen(other->theirs) + strlen(other->ours);
    if (n != m) return n < m ? -1 : 1;
    int order = strcmp(one->ours, other->ours);
    return order ? order : strcmp(one->theirs, other->theirs);
}

/* The ids of pairs no longer fit: nobody votes after this. */
void name_votes_sort(name_votes_t *v) {
    if (v->changes) qsort(v->change, v->changes, sizeof *v->change, by_votes);
}

void name_votes_free(name_votes_t *v) {
    for (size_t i = 0; i < v->changes; i++) {
        free(v->change[i].theirs);
        free(v->change[i].ours);
    }
    for (size_t i = 0; i < v->ours; i++) free(v->words[i]);
    free(v->change);
    free(v->words);
    free(v->first);
    free(v->next);
    name_ids_free(&v->lasts);
    name_ids_free(&v->pairs);
    *v = (name_votes_t){0};
}
