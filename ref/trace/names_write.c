/* names_write.c - see names.h: a map as a file of exact rules. */
#include <stdlib.h>
#include <string.h>

#include "core/tap_name.h"
#include "io/file.h"
#include "trace/names_internal.h"

typedef struct {
    const char *from, *to;           /* as they are written */
    const char *full_from, *full_to; /* with their step */
    size_t place;                    /* in the caller's order */
    bool dropped;                    /* another line says it */
} line_t;

static int by_from(const void *a, const void *b) {
    const line_t *one = a, *other = b;
    int order = strcmp(one->from, other->from);
    return order ? order : (one->place > other->place) - (one->place < other->place);
}

static int by_to(const void *a, const void *b) {
    const line_t *one = a, *other = b;
    int order = strcmp(one->to, other->to);
    return order ? order : (one->place > other->place) - (one->place < other->place);
}

static int by_place(const void *a, const void *b) {
    size_t one = ((const line_t *)a)->place, other = ((const line_t *)b)->place;
    return (one > other) - (one < other);
}

/* ---- one rule for every step --------------------------------------------------------------------------- */

/* "step.003/NAME -> step.003/OURS" as "NAME -> OURS". */
static void cut_step(line_t *line) {
    size_t step = tap_step_length(line->from);
    if (!step || strncmp(line->from, line->to, step) != 0 || !line->from[step] || !line->to[step])
        return;
    line->from += step;
    line->to += step;
}

/* Lines that agree on one side and not on the other get their steps back. */
static void restore_steps(line_t *line, size_t count, int (*order)(const void *, const void *)) {
    qsort(line, count, sizeof *line, order);
    for (size_t i = 0, n; i < count; i += n) {
        bool one = true, from = order == by_from;
        for (n = 1; i + n < count; n++) {
            const line_t *a = &line[i], *b = &line[i + n];
            if (strcmp(from ? a->from : a->to, from ? b->from : b->to) != 0) break;
            one &= strcmp(from ? a->to : a->from, from ? b->to : b->from) == 0;
        }
        for (size_t k = i; !one && k < i + n; k++)
            line[k].from = line[k].full_from, line[k].to = line[k].full_to;
    }
}

static void drop_repeated(line_t *line, size_t count) {
    qsort(line, count, sizeof *line, by_from);
    for (size_t i = 1; i < count; i++)
        line[i].dropped = strcmp(line[i].from, line[i - 1].from) == 0;
}

/* ---- checking ------------------------------------------------------------------------------------------ */

/* No name may become two, and no two may become one. */
static int check(line_t *line, size_t count, const char *path, err_t *err) {
    char a[SHOWN_TEXT], b[SHOWN_TEXT], c[SHOWN_TEXT];
    qsort(line, count, sizeof *line, by_from);
    for (size_t i = 1; i < count; i++)
        if (strcmp(line[i].from, line[i - 1].from) == 0)
            return err_set(err, "%s: is not written: '%s' would become both '%s' and '%s'", path,
                           text_shown(a, line[i].from), text_shown(b, line[i - 1].to),
                           text_shown(c, line[i].to));
    qsort(line, count, sizeof *line, by_to);
    for (size_t i = 1; i < count; i++)
        if (strcmp(line[i].to, line[i - 1].to) == 0)
            return err_set(err, "%s: is not written: '%s' and '%s' would both become '%s'", path,
                           text_shown(a, line[i - 1].from), text_shown(b, line[i].from),
                           text_shown(c, line[i].to));
    return 0;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static int write_text(out_file_t *out, const char *text, err_t *err) {
    return out_file_write(out, text, strlen(text), err);
}

/* What a rule would take for something else gets a backslash; in a replacement wildcards are plain. */
static int write_escaped(out_file_t *out, const char *name, bool pattern, err_t *err) {
    char *text = xmalloc(2 * strlen(name) + 1), *to = text;
    for (const char *p = name; *p; p++) {
        bool edge = *p == ' ' && (p == name || !p[1]),
             arrow = *p == '>' && p > name && p[-1] == '-';
        if (strchr("\\#", *p) || (pattern && strchr("*?", *p)) || edge || arrow) *to++ = '\\';
        *to++ = *p;
    }
    *to = '\0';
    int status = write_text(out, text, err);
    free(text);
    return status;
}

static int write_lines(out_file_t *out, const line_t *line, size_t count, err_t *err) {
    static const char head[] =
        "# From the candidate's names to the reference's: mole compare --map THIS\n";
    int status = write_text(out, head, err);
    for (size_t i = 0; !status && i < count; i++) {
        if (line[i].dropped) continue;
        status = write_text(out, "glob ", err) || write_escaped(out, line[i].from, true, err) ||
                 write_text(out, " -> ", err) || write_escaped(out, line[i].to, false, err) ||
                 write_text(out, "\n", err);
    }
    return status ? -1 : 0;
}

int name_map_write(const char *path, const char *const *from, const char *const *to, size_t count,
                   err_t *err) {
    out_file_t out;
    if (!count) return err_set(err, "%s: is not written: no name of the candidate is known", path);
    line_t *line = xcalloc(count, sizeof *line);
    for (size_t i = 0; i < count; i++) line[i] = (line_t){from[i], to[i], from[i], to[i], i, false};
    int status = check(line, count, path, err);
    if (!status) {
        for (size_t i = 0; i < count; i++) cut_step(&line[i]);
        restore_steps(line, count, by_from);
        restore_steps(line, count, by_to);
        drop_repeated(line, count);
        qsort(line, count, sizeof *line, by_place);
        status = out_file_open(&out, path, "", err);
        if (!status) status = write_lines(&out, line, count, err);
        if (!status)
            status = out_file_commit(&out, err);
        else
            out_file_abort(&out);
    }
    free(line);
    return status ? -1 : 0;
}
