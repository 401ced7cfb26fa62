/* text_normalize.c - see text_normalize.h. */
#include "prompt/text_normalize.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

typedef struct {
    int32_t first, last;
} range_t;

/* Characters younger than Unicode 9 that a younger NFC would reorder, compose or take apart. The
 * original leaves them where they stand, and so nothing moves across them. Harmless neighbours are
 * included where that joins two ranges. */
static const range_t nfc_frozen[] = {
    {0x5C8, 0x5C9},     {0x7FD, 0x7FD},     {0x897, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
    {0x1ABF, 0x1AF0},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x105C9, 0x105E4},
    {0x10D24, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x11382, 0x113D0},
    {0x1145E, 0x1145E}, {0x11839, 0x11A99}, {0x11D42, 0x1612F}, {0x16D63, 0x16FF1},
    {0x1D127, 0x1D128}, {0x1D250, 0x1D281}, {0x1E08F, 0x1E6F5},
};

/* Letters and numbers of Unicode 15, 15.1 and 16. */
static const struct {
    int32_t first, last;
    char_class_t is;
} newer_class[] = {
    {0x1C89, 0x1C8A, CHAR_LETTER},   {0xA7CB, 0xA7CD, CHAR_LETTER},
    {0xA7DA, 0xA7DC, CHAR_LETTER},   {0x105C0, 0x105F3, CHAR_LETTER},
    {0x10D40, 0x10D49, CHAR_NUMBER}, {0x10D4A, 0x10D65, CHAR_LETTER},
    {0x10D6F, 0x10D85, CHAR_LETTER}, {0x10EC2, 0x10EC4, CHAR_LETTER},
    {0x1123F, 0x11240, CHAR_LETTER}, {0x11380, 0x11389, CHAR_LETTER},
    {0x1138B, 0x1138B, CHAR_LETTER}, {0x1138E, 0x1138E, CHAR_LETTER},
    {0x11390, 0x113B5, CHAR_LETTER}, {0x113B7, 0x113B7, CHAR_LETTER},
    {0x113D1, 0x113D1, CHAR_LETTER}, {0x113D3, 0x113D3, CHAR_LETTER},
    {0x116D0, 0x116E3, CHAR_NUMBER}, {0x11BC0, 0x11BE0, CHAR_LETTER},
    {0x11BF0, 0x11BF9, CHAR_NUMBER}, {0x11F02, 0x11F02, CHAR_LETTER},
    {0x11F04, 0x11F10, CHAR_LETTER}, {0x11F12, 0x11F33, CHAR_LETTER},
    {0x11F50, 0x11F59, CHAR_NUMBER}, {0x1342F, 0x1342F, CHAR_LETTER},
    {0x13441, 0x13446, CHAR_LETTER}, {0x13460, 0x143FA, CHAR_LETTER},
    {0x16100, 0x1611D, CHAR_LETTER}, {0x16130, 0x16139, CHAR_NUMBER},
    {0x16D40, 0x16D6C, CHAR_LETTER}, {0x16D70, 0x16D79, CHAR_NUMBER},
    {0x18CFF, 0x18CFF, CHAR_LETTER}, {0x1B132, 0x1B132, CHAR_LETTER},
    {0x1B155, 0x1B155, CHAR_LETTER}, {0x1CCF0, 0x1CCF9, CHAR_NUMBER},
    {0x1D2C0, 0x1D2D3, CHAR_NUMBER}, {0x1DF25, 0x1DF2A, CHAR_LETTER},
    {0x1E030, 0x1E06D, CHAR_LETTER}, {0x1E4D0, 0x1E4EB, CHAR_LETTER},
    {0x1E4F0, 0x1E4F9, CHAR_NUMBER}, {0x1E5D0, 0x1E5ED, CHAR_LETTER},
    {0x1E5F0, 0x1E5F0, CHAR_LETTER}, {0x1E5F1, 0x1E5FA, CHAR_NUMBER},
    {0x2B739, 0x2B739, CHAR_LETTER}, {0x2EBF0, 0x2EE5D, CHAR_LETTER},
    {0x31350, 0x323AF, CHAR_LETTER},
};

/* Capitals of Unicode 16 and 17, first .. last by steps of `step`, and the distance to the small
 * letter. */
static const struct {
    int32_t first, last, step, distance;
} newer_case[] = {
    {0x1C89, 0x1C89, 1, 1},      {0xA7CB, 0xA7CB, 1, 0x264 - 0xA7CB},
    {0xA7CC, 0xA7CE, 2, 1},      {0xA7D2, 0xA7D4, 2, 1},
    {0xA7DA, 0xA7DA, 1, 1},      {0xA7DC, 0xA7DC, 1, 0x19B - 0xA7DC},
    {0x10D50, 0x10D65, 1, 0x20}, {0x16EA0, 0x16EB8, 1, 0x1B},
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static bool is_frozen(int32_t code) {
    if (code < nfc_frozen[0].first) return false;
    for (size_t i = 0; i < COUNT(nfc_frozen); i++)
        if (code <= nfc_frozen[i].last) return code >= nfc_frozen[i].first;
    return false;
}

static bool is_space(int32_t code) {
    return (code >= 0x9 && code <= 0xD) || code == 0x20 || code == 0x85 || code == 0xA0 ||
           code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 ||
           code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

char_class_t char_class(int32_t code) {
    if (is_space(code)) return CHAR_SPACE;
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return CHAR_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return CHAR_NUMBER;
    case UTF8PROC_CATEGORY_CN: break;
    default: return CHAR_OTHER;
    }
    for (size_t i = 0; i < COUNT(newer_class); i++)
        if (code >= newer_class[i].first && code <= newer_class[i].last) return newer_class[i].is;
    return CHAR_OTHER;
}

int utf8_check(const char *text, size_t length, size_t limit, err_t *err) {
    if (length > limit)
        return err_set(err, "text of %zu bytes, at most %zu are taken: shorten it", length, limit);
    for (size_t at = 0; at < length;) {
        int32_t code;
        utf8proc_ssize_t used = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                                 (utf8proc_ssize_t)(length - at), &code);
        if (used <= 0)
            return err_set(err, "invalid UTF-8 at byte %zu (0x%02X): save or type it as UTF-8", at,
                           (unsigned char)text[at]);
        if (code == 0) return err_set(err, "NUL character at byte %zu: remove it", at);
        at += (size_t)used;
    }
    return 0;
}

int32_t utf8_next(const char *text, size_t *at) {
    const unsigned char *p = (const unsigned char *)text + *at;
    int extra = p[0] < 0x80 ? 0 : p[0] < 0xE0 ? 1 : p[0] < 0xF0 ? 2 : 3;
    int32_t code = extra ? p[0] & (0x3F >> extra) : p[0];
    for (int i = 1; i <= extra; i++) code = code << 6 | (p[i] & 0x3F);
    *at += (size_t)extra + 1;
    return code;
}

/* ---- NFC ------------------------------------------------------------------------------- */

/* A code point with its place, so that sorting by class keeps the order of equals. */
typedef struct {
    int32_t code, combining;
    size_t place;
} mark_t;

static int mark_order(const void *a, const void *b) {
    const mark_t *x = a, *y = b;
    if (x->combining != y->combining) return x->combining < y->combining ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Canonical order: sort each run of combining marks. utf8proc's own sort takes time quadratic in
 * the length of a run, which a hostile prompt could make a million. */
static void order_marks(int32_t *codes, size_t count, mark_t *marks) {
    for (size_t i = 0; i < count;) {
        size_t run = 0;
        bool sorted = true;
        for (; i + run < count; run++) {
            int32_t combining = utf8proc_get_property(codes[i + run])->combining_class;
            if (combining == 0) break;
            marks[run] = (mark_t){codes[i + run], combining, run};
            if (run && combining < marks[run - 1].combining) sorted = false;
        }
        if (!sorted) {
            qsort(marks, run, sizeof *marks, mark_order);
            for (size_t k = 0; k < run; k++) codes[i + k] = marks[k].code;
        }
        i += run + 1;
    }
}

/* The longest canonical decomposition of one code point. */
enum { DECOMPOSED_MAX = 4 };

/* NFC of one run between frozen characters, in place; returns the new count. */
static size_t compose_run(int32_t *codes, size_t count, mark_t *marks) {
    if (count == 0) return 0;
    order_marks(codes, count, marks);
    utf8proc_ssize_t composed = utf8proc_normalize_utf32(codes, (utf8proc_ssize_t)count,
                                                         UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    REQUIRE(composed >= 0, "text_normalize: utf8proc gives %zd", (ssize_t)composed);
    return (size_t)composed;
}

/* codes: room for DECOMPOSED_MAX * length. Returns the number of code points. */
static size_t nfc(const char *text, size_t length, int32_t *codes, mark_t *marks) {
    size_t start = 0, count = 0;
    for (size_t at = 0; at < length;) {
        int32_t code = utf8_next(text, &at);
        if (is_frozen(code)) {
            count = start + compose_run(codes + start, count - start, marks);
            codes[count++] = code;
            start = count;
            continue;
        }
        int boundary = UTF8PROC_BOUNDCLASS_START;
        utf8proc_ssize_t used = utf8proc_decompose_char(
            code, codes + count, DECOMPOSED_MAX, UTF8PROC_COMPOSE | UTF8PROC_STABLE, &boundary);
        REQUIRE(used > 0 && used <= DECOMPOSED_MAX, "text_normalize: U+%04X gives %zd code points",
                (unsigned)code, (ssize_t)used);
        count += (size_t)used;
    }
    return start + compose_run(codes + start, count - start, marks);
}

/* ---- the whole ------------------------------------------------------------------------- */

static int32_t lower(int32_t code) {
    for (size_t i = 0; i < COUNT(newer_case); i++)
        if (code >= newer_case[i].first && code <= newer_case[i].last &&
            (code - newer_case[i].first) % newer_case[i].step == 0)
            return code + newer_case[i].distance;
    return utf8proc_tolower(code);
}

char *text_normalize(const char *text, size_t length, size_t *out_length) {
    size_t room = DECOMPOSED_MAX * (length + 1);
    int32_t *codes = xmalloc(room * sizeof *codes);
    mark_t *marks = xmalloc(room * sizeof *marks);
    size_t count = nfc(text, length, codes, marks);
    free(marks);

    /* At most 4 bytes per code point, 3 for U+0130. */
    char *out = xmalloc(4 * count + 1);
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t code = codes[i];
        if (is_space(code)) {
            if (i == 0 || !is_space(codes[i - 1])) out[used++] = ' ';
        } else if (code == 0x130) {
            memcpy(out + used, "i\xCC\x87", 3);
            used += 3;
        } else {
            utf8proc_uint8_t *to = (utf8proc_uint8_t *)out + used;
            used += (size_t)utf8proc_encode_char(lower(code), to);
        }
    }
    free(codes);
    out[used] = '\0';
    *out_length = used;
    return out;
}
