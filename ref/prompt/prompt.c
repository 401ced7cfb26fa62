/* prompt.c - the weight syntax; see prompt.h. The rows of tokens are in prompt_rows.c. */
#include "prompt/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "prompt/text_normalize.h"

const char prompt_paper_positive[] = " best quality, 8K";
const char prompt_paper_negative[] = " poor quality, unclear hand, bad face ";

char *prompt_suffixed(const char *text, size_t length, bool negative, bool suffixed) {
    const char *suffix = negative ? prompt_paper_negative : prompt_paper_positive;
    return xasprintf("%.*s%s", text ? (int)length : 0, text ? text : "", suffixed ? suffix : "");
}

static const double round_factor = 1.1;
static const double square_factor = 1 / 1.1;

/* A stretch of the scanned text and its weight, before equal neighbours are joined. */
typedef struct {
    size_t start, length;
    double weight;
} item_t;

typedef struct {
    const char *text; /* with "\BREAK\" for "BREAK"; ends in NUL */
    size_t length;
    item_t *item; /* at most one per byte, and one for an empty text */
    size_t count;
    size_t round[PROMPT_DEPTH_MAX], square[PROMPT_DEPTH_MAX]; /* items before each open bracket */
    size_t rounds, squares;
} scan_t;

/* ---- BREAK ----------------------------------------------------------------------------- */

static bool is_break_at(const char *text, size_t length, size_t at) {
    return length - at >= 5 && memcmp(text + at, "BREAK", 5) == 0;
}

/* Every "BREAK" becomes "\BREAK\": each backslash ends the run before and behind it. */
static char *mark_breaks(const char *text, size_t length, size_t *out_length) {
    char *out = xmalloc(2 * length + 1);
    size_t used = 0;
    for (size_t at = 0; at < length;) {
        if (is_break_at(text, length, at)) {
            memcpy(out + used, "\\BREAK\\", 7);
            used += 7;
            at += 5;
        } else {
            out[used++] = text[at++];
        }
    }
    out[used] = '\0';
    *out_length = used;
    return out;
}

/* Where the byte `marked` of the marked text stands in what the user typed. */
static size_t typed_offset(const char *text, size_t length, size_t marked) {
    size_t at = 0;
    for (size_t seen = 0; at < length && seen < marked;) {
        bool is_break = is_break_at(text, length, at);
        seen += is_break ? 7 : 1;
        at += is_break ? 5 : 1;
    }
    return at;
}

/* ---- scanner --------------------------------------------------------------------------- */

static void add_item(scan_t *scan, size_t start, size_t length) {
    scan->item[scan->count++] = (item_t){start, length, 1.0};
}

static void multiply_since(scan_t *scan, size_t first, double factor) {
    for (size_t i = first; i < scan->count; i++) scan->item[i].weight *= factor;
}

/* The length of ":<number>)" at `at`, or 0. */
static size_t weight_length(const scan_t *scan, size_t at) {
    const char *p = scan->text + at + 1;
    if (*p == '+' || *p == '-') p++;
    size_t digits = strspn(p, ".0123456789");
    return digits && p[digits] == ')' ? (size_t)(p + digits + 1 - (scan->text + at)) : 0;
}

/* The number of a ":<number>)" of `length` bytes; NaN for "." and "1.2.3", which the scanner takes
 * too. */
static double weight_value(const char *text, size_t length) {
    char *copy = xmalloc(length - 1);
    memcpy(copy, text + 1, length - 2);
    copy[length - 2] = '\0';
    char *end;
    double value = strtod(copy, &end);
    if (end == copy || *end) value = (double)NAN;
    free(copy);
    return value;
}

static int open_bracket(scan_t *scan, size_t at, err_t *err) {
    bool is_round = scan->text[at] == '(';
    size_t *depth = is_round ? &scan->rounds : &scan->squares;
    if (*depth == PROMPT_DEPTH_MAX)
        return err_set(err, "more than %d open '%c'", PROMPT_DEPTH_MAX, scan->text[at]);
    (is_round ? scan->round : scan->square)[(*depth)++] = scan->count;
    return 0;
}

/* One item at `at`; *length is how much of the text it takes. */
static int scan_item(scan_t *scan, size_t at, size_t *length, err_t *err) {
    const char *p = scan->text + at;
    *length = 1;
    switch (*p) {
    case '\\':
        if (p[1] && strchr("()[]\\", p[1])) *length = 2;
        add_item(scan, at + 1, *length - 1);
        return 0;
    case '(':
    case '[': return open_bracket(scan, at, err);
    case ':': {
        size_t weight = weight_length(scan, at);
        if (weight) *length = weight;
        if (!weight || !scan->rounds) break;
        double value = weight_value(p, weight);
        if (!isfinite(value))
            return err_set(err, "the weight \"%.*s\" is not a finite number",
                           (int)(weight < 42 ? weight - 2 : 40), p + 1);
        multiply_since(scan, scan->round[--scan->rounds], value);
        return 0;
    }
    case ')':
        if (!scan->rounds) break;
        multiply_since(scan, scan->round[--scan->rounds], round_factor);
        return 0;
    case ']':
        if (!scan->squares) break;
        multiply_since(scan, scan->square[--scan->squares], square_factor);
        return 0;
    default: *length = strcspn(p, "\\()[]:");
    }
    add_item(scan, at, *length);
    return 0;
}

static int scan_text(scan_t *scan, size_t *at, err_t *err) {
    for (size_t length; *at < scan->length; *at += length)
        if (scan_item(scan, *at, &length, err)) return -1;
    for (size_t i = 0; i < scan->rounds; i++) multiply_since(scan, scan->round[i], round_factor);
    for (size_t i = 0; i < scan->squares; i++) multiply_since(scan, scan->square[i], square_factor);
    if (scan->count == 0) add_item(scan, 0, 0);
    for (size_t i = 0; i < scan->count; i++)
        if (!isfinite(scan->item[i].weight))
            return err_set(err, "the weights multiply to something too large");
    return 0;
}

/* ---- segments -------------------------------------------------------------------------- */

/* What Python's str.strip takes away: white space and the four separators U+001C to U+001F. */
static bool is_stripped(int32_t code) {
    return char_class(code) == CHAR_SPACE || (code >= 0x1C && code <= 0x1F);
}

/* A segment as it grows; [first, last) is what stripping leaves of it. */
typedef struct {
    prompt_segment_t segment;
    size_t first, last;
} growing_t;

static void grow(growing_t *growing, const scan_t *scan, const item_t *item) {
    prompt_segment_t *segment = &growing->segment;
    memcpy(segment->text + segment->length, scan->text + item->start, item->length);
    for (size_t at = segment->length, end = at + item->length; at < end;) {
        size_t start = at;
        if (is_stripped(utf8_next(segment->text, &at))) continue;
        if (growing->last == 0) growing->first = start;
        growing->last = at;
    }
    segment->length += item->length;
    segment->is_break = growing->last - growing->first == 5 &&
                        memcmp(segment->text + growing->first, "BREAK", 5) == 0;
}

/* Join neighbours of equal weight, but for a BREAK: what strips to "BREAK", even when joined from
 * parts, as "BRE\AK". */
static void join_items(prompt_t *prompt, const scan_t *scan) {
    prompt->segment = xcalloc(scan->count, sizeof *prompt->segment);
    char *room = xmalloc(scan->length + 1);
    for (size_t i = 0; i < scan->count;) {
        growing_t growing = {.segment = {.text = room, .weight = scan->item[i].weight}};
        grow(&growing, scan, &scan->item[i++]);
        while (i < scan->count && scan->item[i].weight == growing.segment.weight &&
               !growing.segment.is_break) {
            const item_t *item = &scan->item[i];
            growing_t alone = {.segment = {.text = room + growing.segment.length}};
            grow(&alone, scan, item);
            if (alone.segment.is_break) break;
            grow(&growing, scan, item);
            i++;
        }
        prompt_segment_t *segment = &prompt->segment[prompt->count++];
        *segment = growing.segment;
        segment->text = xmalloc(segment->length + 1);
        memcpy(segment->text, room, segment->length);
        segment->text[segment->length] = '\0';
    }
    free(room);
}

int prompt_parse(prompt_t *prompt, const char *text, size_t length, err_t *err) {
    *prompt = (prompt_t){0};
    if (utf8_check(text, length, TOKENIZER_TEXT_MAX, err)) return -1;
    scan_t scan = {0};
    char *marked = mark_breaks(text, length, &scan.length);
    scan.text = marked;
    scan.item = xmalloc((scan.length + 1) * sizeof *scan.item);
    size_t at = 0;
    int status = scan_text(&scan, &at, err);
    if (status && at < scan.length) err_prefix(err, "at byte %zu", typed_offset(text, length, at));
    if (!status) join_items(prompt, &scan);
    free(scan.item);
    free(marked);
    return status;
}

void prompt_free(prompt_t *prompt) {
    for (size_t i = 0; i < prompt->count; i++) free(prompt->segment[i].text);
    free(prompt->segment);
    *prompt = (prompt_t){0};
}
