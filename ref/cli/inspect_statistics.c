/* inspect_statistics.c - mole inspect --statistics: of every tap of a trace a few numbers, as JSON or CSV. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "io/file.h"
#include "trace/trace_file.h"

/* ---- a text that grows --------------------------------------------------------------------------------- */

typedef struct {
    char *text;
    size_t length, room;
} text_t;

static void put(text_t *t, const char *more) {
    size_t bytes = strlen(more) + 1;
    if (t->length + bytes > t->room) {
        t->room = 2 * (t->length + bytes);
        t->text = xrealloc(t->text, t->room);
    }
    memcpy(t->text + t->length, more, bytes);
    t->length += bytes - 1;
}

/* Digits that give the same double back. */
static void put_number(text_t *t, double x) {
    char text[40];
    snprintf(text, sizeof text, "%.17g", x);
    put(t, text);
}

/* ---- JSON: a line per tap ------------------------------------------------------------------------------ */

static json_t *number(bool known, double x) {
    return known ? json_real(x) : json_null();
}

static json_t *tap_json(const trace_entry_t *entry, const statistics_t *s) {
    json_t *o = json_object(), *shape = json_array(), *values = json_array();
    for (int i = 0; i < entry->shape.ndim; i++)
        json_array_append_new(shape, json_integer((json_int_t)entry->shape.dim[i]));
    for (size_t k = 0; k < s->places; k++) json_array_append_new(values, json_real(s->at[k]));
    json_object_set_new(o, "name", json_string(entry->name));
    json_object_set_new(o, "dtype", json_string(dtype_name(entry->dtype)));
    json_object_set_new(o, "shape", shape);
    json_object_set_new(o, "count", json_integer((json_int_t)entry->count));
    for (int i = 0; i < STATISTICS; i++)
        json_object_set_new(o, statistic_name((statistic_t)i), number(s->has[i], s->value[i]));
    if (s->not_finite)
        json_object_set_new(o, "not_finite", json_integer((json_int_t)s->not_finite));
    json_object_set_new(o, "values", values);
    return o;
}

static void json_tap(text_t *t, const trace_entry_t *entry, const statistics_t *s, bool first) {
    json_t *o = tap_json(entry, s);
    char *line = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(17));
    put(t, first ? "\n  " : ",\n  ");
    put(t, line);
    free(line);
    json_decref(o);
}

/* ---- CSV ----------------------------------------------------------------------------------------------- */

static void csv_header(text_t *t) {
    char text[32];
    put(t, "name,dtype,shape,count");
    for (int i = 0; i < STATISTICS; i++) put(t, ","), put(t, statistic_name((statistic_t)i));
    put(t, ",not_finite");
    for (int k = 0; k < FINGERPRINT_VALUES; k++) {
        snprintf(text, sizeof text, ",value.%d", k);
        put(t, text);
    }
    put(t, "\n");
}

static void csv_name(text_t *t, const char *name) {
    char one[2] = {0};
    put(t, "\"");
    for (; *name; name++) {
        if (*name == '"') put(t, "\"");
        *one = *name;
        put(t, one);
    }
    put(t, "\"");
}

static void csv_tap(text_t *t, const trace_entry_t *entry, const statistics_t *s) {
    char text[SHAPE_TEXT + 64], shape[SHAPE_TEXT];
    if (strpbrk(entry->name, ",\""))
        csv_name(t, entry->name);
    else
        put(t, entry->name);
    snprintf(text, sizeof text, ",%s,\"%s\",%zu", dtype_name(entry->dtype),
             shape_text(shape, entry->shape), entry->count);
    put(t, text);
    for (int i = 0; i < STATISTICS; i++) {
        put(t, ",");
        if (s->has[i]) put_number(t, s->value[i]);
    }
    snprintf(text, sizeof text, ",%zu", s->not_finite);
    put(t, text);
    for (size_t k = 0; k < FINGERPRINT_VALUES; k++) {
        put(t, ",");
        if (k < s->places) put_number(t, s->at[k]);
    }
    put(t, "\n");
}

/* ---- both ---------------------------------------------------------------------------------------------- */

static int read_entry(void *who, size_t index, size_t first, size_t count, double *out,
                      err_t *err) {
    return trace_file_read(who, index, first, count, out, err);
}

static int collect(text_t *t, trace_file_t *trace, bool csv, err_t *err) {
    put(t, csv ? "" : "{\"format\": \"mole-statistics\", \"version\": 1, \"taps\": [");
    if (csv) csv_header(t);
    for (size_t i = 0; i < trace_file_count(trace); i++) {
        const trace_entry_t *entry = trace_file_at(trace, i);
        statistics_t s;
        if (statistics_of(&s, read_entry, trace, i, entry->count, err)) return -1;
        if (csv)
            csv_tap(t, entry, &s);
        else
            json_tap(t, entry, &s, i == 0);
    }
    if (!csv) put(t, "\n]}\n");
    return 0;
}

static int write_text(const text_t *t, const char *path, err_t *err) {
    out_file_t out;
    if (!path) return fwrite(t->text, 1, t->length, stdout) == t->length ? 0 : -1;
    if (out_file_open(&out, path, "", err)) return -1;
    if (!out_file_write(&out, t->text, t->length, err)) return out_file_commit(&out, err);
    out_file_abort(&out);
    return -1;
}

int cli_inspect_statistics(const char *path, const char *output, bool csv) {
    err_t err = {"stdout: cannot be written"};
    trace_file_t *trace;
    text_t text = {0};
    if (trace_file_open(&trace, path, &err)) return cli_input_error("inspect", &err);
    int status = collect(&text, trace, csv, &err) || write_text(&text, output, &err);
    trace_file_close(trace);
    free(text.text);
    return status ? cli_input_error("inspect", &err) : 0;
}
