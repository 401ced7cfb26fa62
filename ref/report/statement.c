/* statement.c - see statement.h: the JSON, in and out. */
#include "report/statement.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/mole.h"
#include "io/file.h"
#include "io/json.h"

static const char format[] = "mole-statement";

/* ---- in ---------------------------------------------------------------------------------------------- */

/* The object has these keys, a list that NULL ends, and no other. */
static int check_keys(json_node_t node, const char *const *keys, err_t *err) {
    char shown[SHOWN_TEXT];
    const char *key;
    json_t *value;
    size_t known = 0;
    if (!json_is_object(node.value)) return json_node_error(node, "", err, "expected an object");
    for (; keys[known]; known++)
        if (!json_object_get(node.value, keys[known]))
            return json_node_error(node, keys[known], err, "is missing");
    json_object_foreach(node.value, key, value) {
        bool found = false;
        for (size_t i = 0; i < known; i++) found = found || strcmp(key, keys[i]) == 0;
        if (!found)
            return json_node_error(node, text_shown(shown, key), err, "no statement has this key");
    }
    return 0;
}

/* A name, copied, or NULL for null. */
static int read_name(statement_t *s, json_node_t node, const char *key, const char **out,
                     err_t *err) {
    const char *text;
    *out = NULL;
    if (!json_node_has(node, key)) return 0;
    if (json_get_name(node, key, &text, err)) return -1;
    *out = pool_printf(&s->pool, "%s", text);
    return 0;
}

static bool is_hash(const char *text) {
    return strlen(text) == SHA256_TEXT - 1 && strspn(text, "0123456789abcdef") == SHA256_TEXT - 1;
}

/* Of a map, a built-in one has a name and no hash. */
static int read_file(statement_t *s, json_node_t entry, const char *key, statement_file_t *file,
                     err_t *err) {
    static const char *const keys[] = {"path", "sha256", NULL};
    json_node_t node;
    const char *path, *hash;
    bool map = strcmp(key, "map") == 0;
    if (json_get_object(entry, key, &node, err) || check_keys(node, keys, err) ||
        json_get_name(node, "path", &path, err))
        return -1;
    if (!*path || *path == '/')
        return json_node_error(node, "path", err,
                               "expected a path relative to the statement, found '%s'", path);
    file->path = pool_printf(&s->pool, "%s", path);
    if (map && !json_node_has(node, "sha256")) {
        if (name_map_is_builtin(path)) return 0;
        return json_node_error(node, "sha256", err, "is null, and '%s' is no built-in map", path);
    }
    if (json_get_string(node, "sha256", &hash, err)) return -1;
    if (!is_hash(hash))
        return json_node_error(node, "sha256", err, "expected 64 digits of 0-9 and a-f");
    memcpy(file->sha256, hash, SHA256_TEXT);
    return 0;
}

static int read_budget(json_node_t node, const char *key, bool may_be_auto, budget_t *out,
                       err_t *err) {
    const char *name;
    if (json_get_name(node, key, &name, err)) return -1;
    bool is_auto = strcmp(name, budget_name(BUDGET_AUTO)) == 0;
    *out = is_auto ? BUDGET_AUTO : budget_parse(name);
    if (*out != BUDGETS && (may_be_auto || !is_auto)) return 0;
    return json_node_error(node, key, err, "'%s' is no budget", name);
}

/* A number, or the word for one that JSON has not. */
static int read_figure(json_node_t node, const char *key, double *out, err_t *err) {
    const char *word;
    if (!json_is_string(json_object_get(node.value, key)))
        return json_get_double(node, key, out, err);
    if (json_get_name(node, key, &word, err)) return -1;
    if (strcmp(word, "NaN") == 0) return *out = NAN, 0;
    if (strcmp(word, "Infinity") == 0) return *out = INFINITY, 0;
    return json_node_error(node, key, err, "expected a number, \"NaN\" or \"Infinity\"");
}

static int read_limit(json_node_t node, double *limit, err_t *err) {
    if (json_get_double(node, "limit", limit, err)) return -1;
    if (*limit > 0 && *limit <= 1e300) return 0;
    return json_node_error(node, "limit", err, "expected a number above 0");
}

static int read_options(statement_t *s, json_node_t entry, statement_entry_t *e, err_t *err) {
    static const char *const keys[] = {"budget",   "limit",   "only", "map",
                                       "complete", "isolate", NULL};
    json_node_t node;
    if (json_get_object(entry, "options", &node, err) || check_keys(node, keys, err) ||
        read_budget(node, "budget", true, &e->budget, err) ||
        (json_node_has(node, "limit") && read_limit(node, &e->limit, err)) ||
        read_name(s, node, "only", &e->only, err) ||
        (json_node_has(node, "map") && read_file(s, node, "map", &e->map, err)) ||
        json_get_bool(node, "complete", &e->complete, err) ||
        json_get_bool(node, "isolate", &e->isolate, err))
        return -1;
    return 0;
}

static int read_counts(json_node_t found, statement_found_t *f, err_t *err) {
    const char *keys[VERDICTS + 1] = {NULL};
    const size_t most = (size_t)1 << 32;
    json_node_t node;
    size_t sum = 0;
    for (int v = 0; v < VERDICTS; v++) keys[v] = report_verdict((row_verdict_t)v);
    if (json_get_object(found, "counts", &node, err) || check_keys(node, keys, err) ||
        json_get_size(found, "taps", 1, most, &f->taps, err) ||
        json_get_size(found, "compared", 1, f->taps, &f->compared, err))
        return -1;
    for (int v = 0; v < VERDICTS; sum += f->count[v++])
        if (json_get_size(node, keys[v], 0, f->taps, &f->count[v], err)) return -1;
    if (sum == f->taps) return 0;
    return json_node_error(found, "counts", err, "their sum is %zu, and there are %zu taps", sum,
                           f->taps);
}

static int read_found(statement_t *s, json_node_t entry, statement_found_t *f, err_t *err) {
    static const char *const keys[] = {
        "verdict", "budget",  "candidate_kind", "batch_row",   "taps", "compared",
        "counts",  "culprit", "limit",          "worst_ratio", NULL};
    static const char *const verdicts[] = {"differs", "agrees", NULL};
    static const char *const kinds[] = {"tensors", "statistics", NULL};
    json_node_t node;
    size_t verdict, kind;
    if (json_get_object(entry, "found", &node, err) || check_keys(node, keys, err) ||
        json_get_choice(node, "verdict", verdicts, &verdict, err) ||
        read_budget(node, "budget", false, &f->budget, err) ||
        json_get_choice(node, "candidate_kind", kinds, &kind, err) || read_counts(node, f, err) ||
        read_name(s, node, "culprit", &f->culprit, err) || read_limit(node, &f->limit, err) ||
        read_figure(node, "worst_ratio", &f->worst_ratio, err))
        return -1;
    f->agrees = verdict == 1;
    f->statistics = kind == 1;
    f->batch_row = SIZE_MAX;
    if (f->worst_ratio < 0)
        return json_node_error(node, "worst_ratio", err, "expected a number from 0 on");
    return json_node_has(node, "batch_row")
               ? json_get_size(node, "batch_row", 0, (size_t)1 << 32, &f->batch_row, err)
               : 0;
}

static int read_entry(statement_t *s, json_node_t node, err_t *err) {
    static const char *const keys[] = {"what",    "name",  "case", "candidate",
                                       "options", "found", NULL};
    statement_entry_t e = {0};
    static const char *const whats[] = {"compare", NULL};
    size_t what, before = s->entries;
    if (check_keys(node, keys, err) || json_get_choice(node, "what", whats, &what, err) ||
        json_get_name(node, "name", &e.name, err) || read_file(s, node, "case", &e.golden, err) ||
        read_file(s, node, "candidate", &e.candidate, err) || read_options(s, node, &e, err) ||
        read_found(s, node, &e.found, err))
        return -1;
    e.name = pool_printf(&s->pool, "%s", e.name);
    if (statement_put(s, &e, err)) return -1;
    return s->entries > before ? 0 : json_node_error(node, "case", err, "stands here twice");
}

static int read_all(statement_t *s, json_node_t root, err_t *err) {
    static const char *const keys[] = {"format", "version", "made_with", "line", "entries", NULL};
    const char *name;
    int64_t version;
    size_t entries;
    json_node_t node;
    if (json_get_name(root, "format", &name, err)) return -1;
    if (strcmp(name, format) != 0)
        return json_node_error(root, "format", err, "expected \"%s\", found \"%s\"", format, name);
    if (json_get_int(root, "version", 1, 1, &version, err) || check_keys(root, keys, err) ||
        json_get_name(root, "made_with", &name, err))
        return -1;
    s->made_with = pool_printf(&s->pool, "%s", name);
    if (json_get_name(root, "line", &name, err) || json_get_length(root, "entries", &entries, err))
        return -1;
    s->line = pool_printf(&s->pool, "%s", name);
    if (entries < 1 || entries > STATEMENT_ENTRIES)
        return json_node_error(root, "entries", err, "expected 1 to %d", STATEMENT_ENTRIES);
    for (size_t i = 0; i < entries; i++)
        if (json_get_item(root, "entries", i, &node, err) || read_entry(s, node, err)) return -1;
    return 0;
}

static void begin(statement_t *s, const char *path) {
    const char *slash = strrchr(path, '/');
    *s = (statement_t){.path = xstrdup(path), .made_with = MOLE_VERSION};
    s->folder = slash ? xasprintf("%.*s", (int)(slash - path) + 1, path) : xstrdup("");
}

int statement_open(statement_t *s, const char *path, err_t *err) {
    char *text;
    size_t bytes;
    json_file_t *file;
    begin(s, path);
    if (file_read(path, STATEMENT_BYTES, &text, &bytes, err)) return -1;
    int status = json_file_parse(&file, path, text, bytes, err);
    free(text);
    if (status) return -1;
    status = read_all(s, json_file_root(file), err);
    json_file_close(file);
    return status;
}

int statement_open_or_new(statement_t *s, const char *path, err_t *err) {
    if (access(path, F_OK) != 0 && errno == ENOENT) return begin(s, path), 0;
    if (statement_open(s, path, err)) return -1;
    if (strcmp(s->made_with, MOLE_VERSION) == 0) return 0;
    return err_set(err,
                   "%s: made with mole %s, and this is %s: remove it and state every case anew",
                   path, s->made_with, MOLE_VERSION);
}

void statement_free(statement_t *s) {
    pool_free(&s->pool);
    free(s->entry);
    free(s->path);
    free(s->folder);
    *s = (statement_t){0};
}

/* ---- out --------------------------------------------------------------------------------------------- */

static json_t *size(size_t value) {
    return json_integer((json_int_t)value);
}

static json_t *text_or_null(const char *text) {
    return text ? json_string(text) : json_null();
}

static json_t *file_value(const statement_file_t *file) {
    return json_pack("{s:s, s:o}", "path", file->path, "sha256",
                     text_or_null(*file->sha256 ? file->sha256 : NULL));
}

static json_t *options_value(const statement_entry_t *e) {
    return json_pack("{s:s, s:o, s:o, s:o, s:b, s:b}", "budget", budget_name(e->budget), "limit",
                     e->limit > 0 ? json_real(e->limit) : json_null(), "only",
                     text_or_null(e->only), "map", e->map.path ? file_value(&e->map) : json_null(),
                     "complete", e->complete, "isolate", e->isolate);
}

static json_t *figure(double value) {
    return isfinite(value) ? json_real(value) : json_string(isnan(value) ? "NaN" : "Infinity");
}

static json_t *found_value(const statement_found_t *f) {
    json_t *counts = json_object();
    for (int v = 0; v < VERDICTS; v++)
        json_object_set_new(counts, report_verdict((row_verdict_t)v), size(f->count[v]));
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "verdict",
                     f->agrees ? "agrees" : "differs", "budget", budget_name(f->budget),
                     "candidate_kind", f->statistics ? "statistics" : "tensors", "batch_row",
                     f->batch_row == SIZE_MAX ? json_null() : size(f->batch_row), "taps",
                     size(f->taps), "compared", size(f->compared), "counts", counts, "worst_ratio",
                     figure(f->worst_ratio), "limit", json_real(f->limit), "culprit",
                     text_or_null(f->culprit));
}

static json_t *entry_value(const statement_entry_t *e) {
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o}", "what", "compare", "name", e->name, "case",
                     file_value(&e->golden), "candidate", file_value(&e->candidate), "options",
                     options_value(e), "found", found_value(&e->found));
}

int statement_write(const statement_t *s, err_t *err) {
    report_file_t file;
    if (report_file_open(&file, s->path, err)) return -1;
    json_t *entries = json_array();
    for (size_t i = 0; i < s->entries; i++)
        json_array_append_new(entries, entry_value(&s->entry[i]));
    char *line = statement_line(s);
    json_t *all = json_pack("{s:s, s:i, s:s, s:s, s:o}", "format", format, "version", 1,
                            "made_with", s->made_with, "line", line, "entries", entries);
    free(line);
    /* A failure to write stays in the stream and is told when it is closed. */
    json_dumpf(all, file.to, JSON_INDENT(1));
    fputc('\n', file.to);
    json_decref(all);
    return report_file_close(&file, 0, err);
}
