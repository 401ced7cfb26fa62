/* trace_statistics.c - traces of which only statistics were kept: JSON or CSV, by the file's ending.
 *
 * Forms of JSON: ours ({"format": "mole-statistics", "taps": [...]}), a list or an object of objects,
 * and msprobe's dump.json, whose first output of each module is taken. docs/trace-format.md lists the names
 * of fields. Whoever wants numbers of such a trace is told that there are none. */
#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/json.h"
#include "trace/csv.h"
#include "trace/precision.h"
#include "trace/statistics_record.h"
#include "trace/trace_file_internal.h"

enum { TELLING = 8 }; /* so many numbers must be able to tell a grid from a finer one */

typedef struct {
    trace_source_t source; /* first */
    const trace_file_t *trace;
    statistics_t *tap; /* (taps) */
    size_t taps;
} kept_t;

/* ---- JSON ---------------------------------------------------------------------------------------------- */

static int json_number(const reading_t *in, record_t *r, field_t field, const char *key,
                       const json_t *value) {
    char text[96];
    if (json_is_null(value)) return 0;
    if (json_is_number(value)) return record_number(in, r, field, json_number_value(value));
    snprintf(text, sizeof text, "%.32s should be a number, and is %s", key,
             json_is_string(value) ? "a text" : "none");
    return record_refuse(in, r->name, text);
}

static int json_shape(const reading_t *in, record_t *r, const json_t *list) {
    double dim[SHAPE_DIMS + 1] = {0};
    if (json_is_null(list)) return 0;
    if (!json_is_array(list)) return record_refuse(in, r->name, "the shape should be a list");
    size_t dims = json_array_size(list);
    for (size_t i = 0; i < dims && i <= SHAPE_DIMS; i++) {
        const json_t *item = json_array_get(list, i);
        dim[i] = json_is_integer(item) ? (double)json_integer_value(item) : -1;
    }
    return record_shape(in, r, dim, dims);
}

static int json_values(const reading_t *in, record_t *r, const json_t *list) {
    if (json_is_null(list)) return 0;
    if (!json_is_array(list) || json_array_size(list) > FINGERPRINT_VALUES)
        return record_refuse(in, r->name, "values should be a list of at most 32 numbers");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        if (json_is_null(value))
            return record_refuse(in, r->name, "a value should be a number, and is null");
        if (json_number(in, r, (field_t)(FIELD_VALUE + i), "a value", value)) return -1;
    }
    return 0;
}

static int json_field(const reading_t *in, record_t *r, const char *key, const json_t *value) {
    field_t field = record_field(key);
    if (field == FIELD_SHAPE) return json_shape(in, r, value);
    if (field == FIELD_VALUES) return json_values(in, r, value);
    if (field == FIELD_DTYPE && json_is_string(value)) record_dtype(r, json_string_value(value));
    if (field < (field_t)STATISTICS || field == FIELD_COUNT || field == FIELD_NOT_FINITE)
        return json_number(in, r, field, key, value);
    return 0;
}

static int json_record(reading_t *in, const char *name, const json_t *object) {
    record_t *r = record_add(in, name);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) if (json_field(in, r, key, value)) return -1;
    return record_check(in, r);
}

static int json_list(reading_t *in, const json_t *list) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i), *name = json_object_get(item, "name");
        if (!name) name = json_object_get(item, "tap");
        if (!json_is_string(name) || strlen(json_string_value(name)) != json_string_length(name))
            return err_set(in->err, "%s: [%zu]: expected an object with a name",
                           trace_file_path(in->trace), i);
        if (json_record(in, json_string_value(name), item)) return -1;
    }
    return 0;
}

static int json_mapping(reading_t *in, const json_t *object) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value) {
        if (!json_is_object(value))
            return record_refuse(
                in, name,
                "expected an object of statistics (docs/trace-format.md, \"Statistics\")");
        if (json_record(in, name, value)) return -1;
    }
    return 0;
}

/* ---- msprobe's names ----------------------------------------------------------------------------------- */

/* "Module.unet.conv_in.Conv2d.forward.0", or with ".output.0": the module and which call it was. NULL: no
 * module, or not its first output. */
static char *module_of(const char *name, size_t *call) {
    static const char forward[] = ".forward.";
    const char *start = strncmp(name, "Module.", 7) == 0 ? name + 7
                        : strncmp(name, "Cell.", 5) == 0 ? name + 5
                                                         : NULL;
    const char *end = start ? strstr(start, forward) : NULL, *dot = end;
    char *rest;
    if (!end || !isdigit((unsigned char)end[sizeof forward - 1])) return NULL;
    *call = strtoul(end + sizeof forward - 1, &rest, 10);
    if (*rest && strcmp(rest, ".output.0") != 0) return NULL;
    for (dot--; dot > start && *dot != '.';) dot--;
    if (dot <= start) return NULL;
    return xasprintf("%.*s", (int)(dot - start), start);
}

static int add_module(reading_t *in, const char *name, const json_t *tensor) {
    size_t call;
    char *module = module_of(name, &call);
    if (!module || !json_is_object(tensor)) {
        trace_skip(in->trace, name,
                   module ? "its first output is no tensor" : "no module's output");
        free(module);
        return 0;
    }
    int status = json_record(in, module, tensor);
    in->record[in->records - 1].call = call;
    free(module);
    return status;
}

static int json_msprobe(reading_t *in, const json_t *data) {
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)data, name, value) {
        const json_t *output = json_object_get(value, "output");
        if (add_module(in, name, json_array_get(output, 0))) return -1;
    }
    return 0;
}

/* A module that ran once is NAME; where one ran several times all are step.000/NAME and so on. */
static void name_calls(reading_t *in) {
    size_t most = 0;
    for (size_t i = 0; i < in->records; i++)
        if (in->record[i].call > most) most = in->record[i].call;
    for (size_t i = 0; most && i < in->records; i++) {
        record_t *r = &in->record[i];
        char *name = xasprintf("step.%03zu/%s", r->call, r->name);
        free(r->name);
        r->name = name;
    }
}

static int read_json(reading_t *in) {
    json_file_t *file;
    if (json_file_open(&file, trace_file_path(in->trace), in->err)) return -1;
    const json_t *root = json_file_root(file).value, *taps = json_object_get(root, "taps"),
                 *data = json_object_get(root, "data");
    int status;
    if (json_is_array(root) || json_is_array(taps))
        status = json_list(in, json_is_array(root) ? root : taps);
    else if (json_is_object(data) && json_object_get(root, "task"))
        status = json_msprobe(in, data), name_calls(in);
    else if (json_is_object(root))
        status = json_mapping(in, root);
    else
        status = err_set(in->err, "%s: expected statistics, a list or an object",
                         trace_file_path(in->trace));
    json_file_close(file);
    return status;
}

/* ---- CSV ----------------------------------------------------------------------------------------------- */

static int csv_shape(const reading_t *in, record_t *r, const char *text) {
    double dim[SHAPE_DIMS + 1] = {0};
    size_t dims = 0;
    char *end;
    for (; *text; text = end) {
        text += strspn(text, " ()[],;x");
        if (!*text) break;
        double size = strtod(text, &end);
        if (end == text) return record_refuse(in, r->name, "the shape should be whole numbers");
        if (dims <= SHAPE_DIMS) dim[dims] = size;
        dims++;
    }
    return record_shape(in, r, dim, dims);
}

static int csv_field(const reading_t *in, record_t *r, field_t field, const char *text) {
    char *end, what[96];
    if (!*text || field == FIELD_NAME || field == FIELD_IO || field == FIELD_SLOT) return 0;
    if (field == FIELD_SHAPE) return csv_shape(in, r, text);
    if (field == FIELD_DTYPE) return record_dtype(r, text), 0;
    if (field == FIELD_OTHER || field == FIELD_VALUES) return 0;
    double x = strtod(text, &end);
    if (*end || end == text) {
        snprintf(what, sizeof what, "'%.32s' should be a number", text);
        return record_refuse(in, r->name, what);
    }
    return record_number(in, r, field, x);
}

/* Of MindSpore's table the first output of each operation. */
static bool is_wanted(const csv_t *csv, const field_t *field) {
    for (size_t i = 0; i < csv->fields; i++) {
        if (field[i] == FIELD_IO && strcmp(csv->field[i], "output") != 0) return false;
        if (field[i] == FIELD_SLOT && strcmp(csv->field[i], "0") != 0) return false;
    }
    return true;
}

/* msprobe: names are those of its modules. */
static int csv_record(reading_t *in, const csv_t *csv, const field_t *field, const char *name,
                      bool msprobe) {
    size_t call = 0;
    char *module = msprobe ? module_of(name, &call) : xstrdup(name);
    if (!module) return trace_skip(in->trace, name, "no module's output"), 0;
    record_t *r = record_add(in, module);
    r->call = call;
    free(module);
    for (size_t i = 0; i < csv->fields; i++)
        if (csv_field(in, r, field[i], csv->field[i])) return -1;
    return record_check(in, r);
}

/* Which column is which; *name: that of the names. */
static int csv_fields(const reading_t *in, const csv_t *csv, field_t *field, size_t *name) {
    bool seen[FIELD_VALUE + FINGERPRINT_VALUES] = {false};
    *name = CSV_COLUMNS;
    for (size_t i = 0; i < csv->columns; i++) {
        field[i] = record_field(csv->field[i]);
        if (field[i] == FIELD_NAME) *name = i;
        if (field[i] != FIELD_OTHER && seen[field[i]])
            return err_set(in->err, "%s:1: two columns mean the same, the second is '%.40s'",
                           csv->path, csv->field[i]);
        seen[field[i]] = true;
    }
    if (*name != CSV_COLUMNS) return 0;
    return err_set(in->err, "%s:1: the header line should have the column name", csv->path);
}

static int csv_records(reading_t *in, csv_t *csv) {
    field_t field[CSV_COLUMNS] = {0};
    size_t name;
    int more;
    if (csv_fields(in, csv, field, &name)) return -1;
    while ((more = csv_next(csv, in->err)) > 0) {
        const char *text = csv->field[name];
        if (is_wanted(csv, field) && csv_record(in, csv, field, text, strstr(text, ".forward.")))
            return -1;
    }
    name_calls(in);
    return more;
}

static int read_csv(reading_t *in) {
    csv_t csv;
    int status = csv_open(&csv, trace_file_path(in->trace), in->err);
    if (!status) status = csv_records(in, &csv);
    csv_close(&csv);
    return status;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

/* From fine to coarse. */
static int coarseness(dtype_t dtype) {
    return dtype == DTYPE_F64 ? 0 : dtype == DTYPE_F32 ? 1 : dtype == DTYPE_F16 ? 2 : 3;
}

static double unit_of(dtype_t dtype) {
    static const double unit[] = {0x1p-53, 0x1p-24, 0x1p-11, 0x1p-8};
    return unit[coarseness(dtype)];
}

/* The grid of all numbers that are the tensors' own: what is coarser than the type that is stated was
 * computed in the coarser one. A tool may round its results to the type of the tensor. */
static void find_types(record_t *r, kept_t *k) {
    static const dtype_t types[] = {[PRECISION_F64] = DTYPE_F64,
                                    [PRECISION_F32] = DTYPE_F32,
                                    [PRECISION_TF32] = DTYPE_F32,
                                    [PRECISION_F16] = DTYPE_F16,
                                    [PRECISION_BF16] = DTYPE_BF16};
    double *x = xmalloc((k->taps * (FINGERPRINT_VALUES + 2) + 1) * sizeof *x);
    size_t count = 0, telling;
    for (size_t i = 0; i < k->taps; i++) count += statistics_elements(&k->tap[i], x + count);
    dtype_t found = types[precision_of(x, count, &telling)];
    free(x);
    for (size_t i = 0; i < k->taps; i++) {
        if (telling >= TELLING && (!r[i].has_dtype || coarseness(found) > coarseness(r[i].dtype)))
            r[i].dtype = found;
        double unit = unit_of(r[i].dtype), *results = &k->tap[i].results;
        if (*results >= 0x1p-24 && unit > *results) *results = unit;
    }
}

/* Without a type it may be any. */
static char *defect_of(const record_t *r, statistics_t s) {
    if (!r->has_dtype && s.results < 0x1p-8) s.results = 0x1p-8;
    return statistics_defect(&s, r->s.has_count ? r->count : SIZE_MAX);
}

static int add_taps(reading_t *in, const kept_t *k) {
    for (size_t i = 0; i < in->records; i++) {
        record_t *r = &in->record[i];
        shape_t flat = {.ndim = 1, .dim = {r->count}};
        char *defect = defect_of(r, k->tap[i]);
        int status = defect ? record_refuse(in, r->name, defect) : 0;
        free(defect);
        if (status ||
            trace_add(in->trace, r->name, r->dtype, r->s.has_shape ? r->shape : flat, in->err))
            return -1;
    }
    return 0;
}

static int read_nothing(trace_source_t *self, size_t index, size_t first, size_t count, double *out,
                        err_t *err) {
    const kept_t *k = (const kept_t *)self;
    char shown[SHOWN_TEXT];
    (void)first;
    (void)count;
    (void)out;
    return err_set(
        err,
        "%s: holds statistics of '%s' and not its numbers: only `mole compare` takes it, "
        "as the candidate",
        trace_file_path(k->trace), text_shown(shown, trace_file_at(k->trace, index)->name));
}

static const statistics_t *statistics_at(const trace_source_t *self, size_t index) {
    return &((const kept_t *)self)->tap[index];
}

static void close_kept(trace_source_t *self) {
    free(((kept_t *)self)->tap);
    free(self);
}

static trace_source_t *keep(reading_t *in) {
    kept_t *k = xcalloc(1, sizeof *k);
    k->source = (trace_source_t){read_nothing, close_kept, statistics_at};
    k->trace = in->trace;
    k->taps = in->records;
    k->tap = xcalloc(in->records + 1, sizeof *k->tap);
    for (size_t i = 0; i < in->records; i++) k->tap[i] = in->record[i].s;
    statistics_digits(k->tap, k->taps);
    find_types(in->record, k);
    if (!add_taps(in, k)) return &k->source;
    close_kept(&k->source);
    return NULL;
}

trace_source_t *trace_open_statistics(trace_file_t *trace, err_t *err) {
    reading_t in = {.trace = trace, .err = err};
    bool csv = text_ends(trace_file_path(trace), ".csv");
    int status = csv ? read_csv(&in) : read_json(&in);
    trace_source_t *source = status ? NULL : keep(&in);
    for (size_t i = 0; i < in.records; i++) free(in.record[i].name);
    free(in.record);
    return source;
}
