/* detect_products.c - see detect_products.h. */
#include "compare/detect_products.h"

#include <stdlib.h>
#include <string.h>

#include "compare/isolate.h"
#include "compare/verdicts.h"
#include "core/tap_name.h"

/* PART: of a layer with experts, or its sum. */
typedef enum { KIND_CONV, KIND_LINEAR, KIND_PART, KIND_OTHER, KINDS } kind_t;

/* So many maps of a kind at least, of which nearly all are off, by between a SMALL-th of TF32's unit and its
 * limit. */
enum { LEAST = 8, NEARLY = 9, OF = 10, SMALL = 16 };

static kind_t kind_of(const comparison_t *c, const compare_row_t *row) {
    tap_name_t name = tap_name(row->name);
    if (*name.suffix && strcmp(name.part, "base") != 0) return KIND_PART;
    char *layer = tap_name_layer(row->name, "");
    const module_t *m = pipeline_module(&c->pipeline, layer);
    free(layer);
    if (!m) return KIND_OTHER;
    if (m->kind == MODULE_CONV) return KIND_CONV;
    if (m->kind != MODULE_LINEAR) return KIND_OTHER;
    if (m->as.linear->mole && !*name.suffix) return KIND_PART;
    return row->shape.ndim == 4 ? KIND_CONV : KIND_LINEAR; /* of an image it is a 1x1 convolution */
}

typedef struct {
    kind_t *kind;                /* (rows); of no use: KINDS */
    size_t maps[KINDS];          /* rows of a kind whose inputs are known */
    size_t off[KINDS];           /* of these: wrong in float32 */
    size_t like_tf32[KINDS];     /* of those: by what TF32 makes of them */
    size_t first[KINDS];         /* the first of those */
    const compare_row_t *before; /* (rows): as float32 */
} products_t;

static bool nearly(size_t part, size_t whole) {
    return part * OF >= whole * NEARLY;
}

/* As float32. */
static bool is_off(const compare_row_t *row) {
    return row->verdict == ROW_DIFFERS || row->isolated_ratio > row->limit;
}

static void count_off(const comparison_t *c, products_t *p) {
    const compare_result_t *r = c->result;
    for (size_t i = 0; i < r->rows; i++) {
        const compare_row_t *row = &r->row[i];
        bool known = row->has_isolated && row->inputs_known && !row->is_input;
        kind_t kind = known ? kind_of(c, row) : KINDS;
        p->kind[i] = kind;
        if (kind == KINDS) continue;
        p->maps[kind]++;
        p->off[kind] += is_off(row);
    }
}

/* Of which kinds nearly all are off: enough in all, and of what is no product nearly none. */
static bool may_be(const products_t *p, bool is[KINDS]) {
    size_t maps = 0;
    for (kind_t k = KIND_CONV; k <= KIND_LINEAR; k++) {
        is[k] = p->maps[k] > 0 && nearly(p->off[k], p->maps[k]);
        maps += is[k] ? p->maps[k] : 0;
    }
    return maps >= LEAST && p->off[KIND_OTHER] * OF <= p->maps[KIND_OTHER];
}

static void count_like(const comparison_t *c, products_t *p) {
    for (size_t i = c->result->rows; i-- > 0;) {
        const compare_row_t *row = &c->result->row[i];
        kind_t kind = p->kind[i];
        if (kind > KIND_LINEAR || !is_off(&p->before[i]) || row->isolated_ratio > row->limit ||
            row->isolated_ratio * SMALL < 1)
            continue;
        p->like_tf32[kind]++;
        p->first[kind] = i;
    }
}

/* Products of these kinds; what was not dumped, and sums of products, may hold some. */
static void set_budgets(comparison_t *c, const products_t *p, const bool is[KINDS]) {
    compare_result_t *r = c->result;
    for (size_t i = 0; i < r->rows; i++) {
        kind_t kind = p->kind[i];
        if (kind == KIND_PART) kind = r->row[i].shape.ndim == 4 ? KIND_CONV : KIND_LINEAR;
        bool tf32 = kind == KINDS || is[kind];
        r->row[i].budget = budget_coarser(r->row[i].budget, tf32 ? BUDGET_TF32 : BUDGET_F32);
    }
    r->hidden = budget_coarser(r->hidden, BUDGET_TF32);
}

/* Weights that were rounded, to float16 say, look alike: there the cause says so. */
static int explained_by_weights(comparison_t *c, size_t row, bool *is) {
    c->result->culprit = row;
    if (isolate_explain(c, row, false)) return -1;
    cause_t *cause = &c->result->row[row].cause;
    *is = strcmp(cause->kind, "precision") == 0 && strstr(cause->text, "weight");
    *cause = (cause_t){0};
    return 0;
}

static int confirm(comparison_t *c, products_t *p, bool is[KINDS], double limit) {
    set_budgets(c, p, is);
    if (verdicts_of_isolated(c, limit)) return -1;
    count_like(c, p);
    for (kind_t k = KIND_CONV; k <= KIND_LINEAR; k++) {
        bool weights = false;
        is[k] = is[k] && nearly(p->like_tf32[k], p->off[k]);
        if (is[k] && explained_by_weights(c, p->first[k], &weights)) return -1;
        is[k] = is[k] && !weights;
    }
    return 0;
}

static void say(compare_result_t *r, const products_t *p, const bool is[KINDS]) {
    static const char *const what[] = {"convolutions", "linear maps",
                                       "convolutions and linear maps"};
    static const char *const where[] = {
        "torch.backends.cudnn.allow_tf32", "torch.backends.cuda.matmul.allow_tf32",
        "torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32"};
    size_t maps = 0, which = is[KIND_CONV] && is[KIND_LINEAR] ? 2 : is[KIND_LINEAR];
    for (kind_t k = KIND_CONV; k <= KIND_LINEAR; k++) maps += is[k] ? p->maps[k] : 0;
    compare_note(
        r, xasprintf("%s are computed in TF32, and judged by it: nearly all of %zu are off by "
                     "what that rounds, and nearly nothing else is (in PyTorch %s)",
                     what[which], maps, where[which]));
}

int detect_products(comparison_t *c, double limit) {
    compare_result_t *r = c->result;
    budget_t hidden = r->hidden;
    compare_row_t *before = xcalloc(r->rows + 1, sizeof *before);
    products_t p = {.kind = xcalloc(r->rows + 1, sizeof *p.kind), .before = before};
    bool is[KINDS] = {false};
    int status = 0;
    memcpy(before, r->row, r->rows * sizeof *before);
    count_off(c, &p);
    bool asked = may_be(&p, is);
    if (asked) status = confirm(c, &p, is, limit);
    memcpy(r->row, before, r->rows * sizeof *before);
    r->hidden = hidden;
    if (!status && asked && (is[KIND_CONV] || is[KIND_LINEAR])) {
        set_budgets(c, &p, is);
        say(r, &p, is);
        if (is[KIND_LINEAR]) r->budget = r->computed = BUDGET_TF32;
        status = verdicts_of_isolated(c, limit);
    } else if (!status && asked) {
        status = verdicts_of_isolated(c, limit);
    }
    compare_count(r);
    free(before);
    free(p.kind);
    return status;
}
