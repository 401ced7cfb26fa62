/* statement_entry.c - see statement.h: hashes, what was found, and whether it is the same again. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/err.h"
#include "io/file.h"
#include "io/relative.h"
#include "report/statement.h"
#include "trace/trace_index.h"

/* ---- files ------------------------------------------------------------------------------------------- */

/* One line of sha256sum. */
static int add_line(sha256_t *all, const char *folder, const char *name, err_t *err) {
    char text[SHA256_TEXT];
    char *path = file_join(folder, name);
    int status = sha256_file(text, path, err);
    free(path);
    if (status) return -1;
    char *line = xasprintf("%s  %s\n", text, name);
    sha256_update(all, line, strlen(line));
    free(line);
    return 0;
}

static int hash_folder(char text[SHA256_TEXT], const char *folder, err_t *err) {
    trace_index_t index;
    sha256_t all;
    uint8_t digest[SHA256_BYTES];
    sha256_init(&all);
    int status = trace_index_read(&index, folder, err);
    if (!status && strcmp(index.path, folder) != 0)
        status = add_line(&all, folder, strrchr(index.path, '/') + 1, err);
    for (size_t i = 0; i < index.rows && !status; i++)
        status = add_line(&all, folder, index.row[i].file, err);
    trace_index_free(&index);
    sha256_final(&all, digest);
    sha256_hex(text, digest);
    return status;
}

int statement_hash(char text[SHA256_TEXT], const char *path, err_t *err) {
    struct stat s;
    bool folder = stat(path, &s) == 0 && S_ISDIR(s.st_mode);
    return folder ? hash_folder(text, path, err) : sha256_file(text, path, err);
}

char *statement_path(const statement_t *s, const char *path) {
    return file_join(s->folder, path);
}

int statement_name(statement_t *s, statement_file_t *file, const char *path, err_t *err) {
    char folder[PATH_MAX], real[PATH_MAX];
    if (!realpath(*s->folder ? s->folder : ".", folder))
        return err_set(err, "%s: %s", s->folder, strerror(errno));
    if (!realpath(path, real)) return err_set(err, "%s: %s", path, strerror(errno));
    char *name = path_relative(folder, real), *manifest = file_join(path, "manifest.json");
    file->path = pool_printf(&s->pool, "%s", name);
    int status = statement_hash(file->sha256, file_exists(manifest) ? manifest : path, err);
    if (!status && text_defect(name))
        status = err_set(err, "%s: the path %s, and a statement has to name it", path,
                         text_defect(name));
    free(manifest);
    free(name);
    return status;
}

int statement_put(statement_t *s, const statement_entry_t *entry, err_t *err) {
    for (size_t i = 0; i < s->entries; i++)
        if (strcmp(s->entry[i].golden.path, entry->golden.path) == 0)
            return s->entry[i] = *entry, 0;
    if (s->entries == STATEMENT_ENTRIES)
        return err_set(err, "%s: a statement has at most %d entries", s->path, STATEMENT_ENTRIES);
    s->entry = xrealloc(s->entry, (s->entries + 1) * sizeof *s->entry);
    s->entry[s->entries++] = *entry;
    return 0;
}

/* ---- what was found ---------------------------------------------------------------------------------- */

/* The share of its limit that a tap takes. A row without a known error (NaN) is beyond any. */
static double share(double ratio, double limit) {
    return isnan(ratio) ? INFINITY : ratio / limit;
}

void statement_find(statement_found_t *found, const compare_result_t *r, pool_t *pool) {
    *found = (statement_found_t){.agrees = !compare_differs(r) && !compare_undecided(r),
                                 .statistics = r->statistics,
                                 .budget = r->budget,
                                 .batch_row = SIZE_MAX,
                                 .taps = r->rows,
                                 .compared = r->compared};
    report_count(r, found->count);
    for (size_t i = 0; i < r->rows; i++) {
        const compare_row_t *row = &r->row[i];
        if (row->one_row && found->batch_row == SIZE_MAX) found->batch_row = row->batch_row;
        if (row->verdict == ROW_MISSING) continue;
        double ratio = report_measured(row) ? row->ratio : INFINITY;
        bool first = found->limit == 0;
        if (!first && share(ratio, row->limit) <= share(found->worst_ratio, found->limit)) continue;
        found->worst_ratio = ratio;
        found->limit = row->limit;
    }
    if (r->culprit >= r->rows) return;
    char *name = report_clean(r->row[r->culprit].name, CLEAN_SHOWN);
    found->culprit = pool_printf(pool, "%s", name);
    free(name);
}

/* Truth is the case's own, the same on every machine, and so are most units. Those of types below float32
 * are emulated where the comparison runs: another order of float64 sums, another BLAS library's, can turn a
 * rounding the other way. Two of OpenBLAS's kernels gave ratios that differ by 1e-13 of themselves; 1 %
 * leaves room for such turns in small tensors. */
static bool same_ratio(double a, double b) {
    if (!isfinite(a) || !isfinite(b)) return isnan(a) ? isnan(b) : a == b;
    return fabs(a - b) <= 0.01 * fmax(fabs(a), fabs(b));
}

static char *texts(const char *what, const char *stated, const char *found) {
    return xasprintf("%s: stated %s, found %s", what, stated, found);
}

static char *sizes(const char *what, size_t stated, size_t found) {
    return xasprintf("%s: stated %zu, found %zu", what, stated, found);
}

static char *row_text(size_t row) {
    return row == SIZE_MAX ? xstrdup("all rows") : xasprintf("row %zu alone", row);
}

static char *other_row(size_t stated, size_t found) {
    char *a = row_text(stated), *b = row_text(found), *text = texts("batch", a, b);
    free(a);
    free(b);
    return text;
}

static char *other_figures(const statement_found_t *s, const statement_found_t *f) {
    char a[NUMBER_TEXT], b[NUMBER_TEXT];
    if (s->limit != f->limit)
        return xasprintf("limit: stated %.17g, found %.17g", s->limit, f->limit);
    if (!same_ratio(s->worst_ratio, f->worst_ratio))
        return texts("worst ratio", report_ratio(a, s->worst_ratio),
                     report_ratio(b, f->worst_ratio));
    return NULL;
}

char *statement_difference(const statement_found_t *s, const statement_found_t *f) {
    const char *culprit[] = {s->culprit ? s->culprit : "none", f->culprit ? f->culprit : "none"};
    if (s->agrees != f->agrees)
        return texts("verdict", s->agrees ? "agrees" : "differs", f->agrees ? "agrees" : "differs");
    if (s->budget != f->budget)
        return texts("budget", budget_name(s->budget), budget_name(f->budget));
    if (s->statistics != f->statistics)
        return texts("candidate holds", s->statistics ? "statistics" : "tensors",
                     f->statistics ? "statistics" : "tensors");
    if (s->batch_row != f->batch_row) return other_row(s->batch_row, f->batch_row);
    if (s->taps != f->taps) return sizes("taps", s->taps, f->taps);
    if (s->compared != f->compared) return sizes("taps compared", s->compared, f->compared);
    for (int v = 0; v < VERDICTS; v++)
        if (s->count[v] != f->count[v])
            return sizes(report_verdict((row_verdict_t)v), s->count[v], f->count[v]);
    if (strcmp(culprit[0], culprit[1]) != 0) return texts("culprit", culprit[0], culprit[1]);
    return other_figures(s, f);
}

/* ---- the line for a README --------------------------------------------------------------------------- */

typedef struct {
    size_t agreeing, taps, compared;
    double worst; /* share of a limit */
    bool budget[BUDGETS], limits, only, not_isolated, statistics, one_row;
} total_t;

static total_t total(const statement_t *s) {
    total_t t = {0};
    for (size_t i = 0; i < s->entries; i++) {
        const statement_entry_t *e = &s->entry[i];
        t.agreeing += e->found.agrees;
        t.taps += e->found.taps;
        t.compared += e->found.compared;
        t.worst = fmax(t.worst, share(e->found.worst_ratio, e->found.limit));
        t.budget[e->found.budget] = true;
        t.limits |= e->limit > 0;
        t.only |= e->only != NULL;
        t.not_isolated |= !e->isolate;
        t.statistics |= e->found.statistics;
        t.one_row |= e->found.batch_row != SIZE_MAX;
    }
    return t;
}

static void append(char **text, const char *more) {
    char *longer = xasprintf("%s%s", *text, more);
    free(*text);
    *text = longer;
}

/* What makes an agreement weaker is said beside it. */
static void append_weaknesses(char **text, const total_t *t) {
    if (t->limits) append(text, "; limits of its own");
    if (t->only) append(text, "; only some taps asked for");
    if (t->statistics) append(text, "; by statistics alone");
    if (t->one_row) append(text, "; one row of a batch");
    if (t->not_isolated) append(text, "; not isolated");
}

char *statement_line(const statement_t *s) {
    total_t t = total(s);
    char *text = xasprintf("mole %s: agrees with %zu of %zu case%s, %zu", s->made_with, t.agreeing,
                           s->entries, s->entries == 1 ? "" : "s", t.compared);
    if (t.compared < t.taps) {
        char *of = xasprintf(" of %zu", t.taps);
        append(&text, of);
        free(of);
    }
    append(&text, t.compared == 1 && t.taps == 1 ? " tap" : " taps");
    const char *between = ", ";
    for (int b = 0; b < BUDGETS; b++)
        if (t.budget[b]) {
            append(&text, between);
            append(&text, budget_name((budget_t)b));
            between = " and ";
        }
    if (t.agreeing == s->entries && isfinite(t.worst)) {
        char *most = xasprintf(", at most %.0f %% of a limit", ceil(100 * t.worst));
        append(&text, most);
        free(most);
    }
    append_weaknesses(&text, &t);
    return text;
}
