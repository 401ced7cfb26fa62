/* statistics_record.c - see statistics_record.h. */
#include "trace/statistics_record.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "io/file.h"

/* ---- names of fields ----------------------------------------------------------------------------------- */

/* "L2Norm Value" and "l2_norm" are one. */
static void plain_key(char out[32], const char *key) {
    size_t n = 0;
    for (; *key && n < 31; key++)
        if (!strchr(" _-", *key)) out[n++] = (char)tolower((unsigned char)*key);
    out[n] = '\0';
    if (n > 5 && strcmp(out + n - 5, "value") == 0) out[n - 5] = '\0';
}

field_t record_field(const char *key) {
    static const struct {
        const char *key;
        field_t field;
    } table[] = {{"mean", (field_t)STATISTIC_MEAN},
                 {"avg", (field_t)STATISTIC_MEAN},
                 {"average", (field_t)STATISTIC_MEAN},
                 {"deviation", (field_t)STATISTIC_DEVIATION},
                 {"std", (field_t)STATISTIC_DEVIATION},
                 {"stddev", (field_t)STATISTIC_DEVIATION},
                 {"min", (field_t)STATISTIC_LEAST},
                 {"minimum", (field_t)STATISTIC_LEAST},
                 {"max", (field_t)STATISTIC_MOST},
                 {"maximum", (field_t)STATISTIC_MOST},
                 {"norm", (field_t)STATISTIC_NORM},
                 {"l2norm", (field_t)STATISTIC_NORM},
                 {"name", FIELD_NAME},
                 {"tap", FIELD_NAME},
                 {"opname", FIELD_NAME},
                 {"shape", FIELD_SHAPE},
                 {"count", FIELD_COUNT},
                 {"numel", FIELD_COUNT},
                 {"dtype", FIELD_DTYPE},
                 {"datatype", FIELD_DTYPE},
                 {"values", FIELD_VALUES},
                 {"notfinite", FIELD_NOT_FINITE},
                 {"io", FIELD_IO},
                 {"slot", FIELD_SLOT}};
    char plain[32], *end;
    plain_key(plain, key);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].key, plain) == 0) return table[i].field;
    if (strncmp(plain, "value.", 6) != 0 || !isdigit((unsigned char)plain[6])) return FIELD_OTHER;
    unsigned long k = strtoul(plain + 6, &end, 10);
    return *end || k >= FINGERPRINT_VALUES ? FIELD_OTHER : (field_t)(FIELD_VALUE + k);
}

/* "torch.float32", "BFloat16", "F16": what stands behind the last dot. */
void record_dtype(record_t *r, const char *text) {
    static const struct {
        const char *name;
        dtype_t dtype;
    } table[] = {{"float64", DTYPE_F64},   {"double", DTYPE_F64}, {"f64", DTYPE_F64},
                 {"float32", DTYPE_F32},   {"float", DTYPE_F32},  {"f32", DTYPE_F32},
                 {"float16", DTYPE_F16},   {"half", DTYPE_F16},   {"f16", DTYPE_F16},
                 {"bfloat16", DTYPE_BF16}, {"bf16", DTYPE_BF16}};
    const char *dot = strrchr(text, '.');
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcasecmp(table[i].name, dot ? dot + 1 : text) == 0)
            r->dtype = table[i].dtype, r->has_dtype = true;
}

/* ---- one tap ------------------------------------------------------------------------------------------- */

int record_refuse(const reading_t *in, const char *name, const char *what) {
    char shown[SHOWN_TEXT];
    return err_set(in->err, "%s: '%s': %s", trace_file_path(in->trace), text_shown(shown, name),
                   what);
}

int record_number(const reading_t *in, record_t *r, field_t field, double x) {
    char text[96];
    size_t k = (size_t)(field - FIELD_VALUE);
    if (!isfinite(x)) {
        snprintf(text, sizeof text, "%s is %s, which says nothing; leave the field out",
                 field < (field_t)STATISTICS ? statistic_name((statistic_t)field) : "a value",
                 isnan(x) ? "NaN" : "infinite");
        return record_refuse(in, r->name, text);
    }
    if (field < (field_t)STATISTICS) {
        r->s.has[field] = true;
        r->s.value[field] = x;
        return 0;
    }
    if (field >= FIELD_VALUE) {
        if (k != r->s.places)
            return record_refuse(in, r->name, "a value is there and one before it is not");
        r->s.at[r->s.places++] = x;
        return 0;
    }
    if (!(x >= 0 && x <= 0x1p53 && x == floor(x)))
        return record_refuse(in, r->name, "count should be a whole number from 0 on");
    if (field == FIELD_NOT_FINITE)
        r->s.not_finite = (size_t)x;
    else
        r->count = (size_t)x, r->s.has_count = true;
    return 0;
}

int record_shape(const reading_t *in, record_t *r, const double *dim, size_t dims) {
    if (dims > SHAPE_DIMS)
        return record_refuse(in, r->name, "the shape has more than 8 dimensions");
    r->shape = (shape_t){.ndim = (int)dims};
    for (size_t i = 0; i < dims; i++) {
        if (!(dim[i] >= 0 && dim[i] <= 0x1p53 && dim[i] == floor(dim[i])))
            return record_refuse(in, r->name, "the shape should be whole numbers from 0 on");
        r->shape.dim[i] = (size_t)dim[i];
    }
    r->s.has_shape = true;
    return 0;
}

/* After all its fields: what they say of each other. */
int record_check(const reading_t *in, record_t *r) {
    char text[160];
    size_t count = 0;
    if (r->s.has_shape && !shape_count_checked(r->shape, &count))
        return record_refuse(in, r->name, "its size overflows");
    if (r->s.has_shape && r->s.has_count && count != r->count) {
        snprintf(text, sizeof text, "count is %zu, and its shape holds %zu numbers", r->count,
                 count);
        return record_refuse(in, r->name, text);
    }
    if (r->s.has_shape) r->count = count, r->s.has_count = true;
    size_t wanted = r->count < FINGERPRINT_VALUES ? r->count : FINGERPRINT_VALUES;
    if (r->s.has_count && r->s.places && r->s.places != wanted) {
        snprintf(text, sizeof text, "%zu values; of %zu numbers there should be %zu", r->s.places,
                 r->count, wanted);
        return record_refuse(in, r->name, text);
    }
    bool any = r->s.places || r->s.not_finite || (r->s.has_count && r->count == 0);
    for (int i = 0; i < STATISTICS; i++) any |= r->s.has[i];
    if (!any)
        return record_refuse(in, r->name, "holds none of mean, deviation, min, max, norm, values");
    return 0;
}

record_t *record_add(reading_t *in, const char *name) {
    in->record = xrealloc(in->record, (in->records + 1) * sizeof *in->record);
    in->record[in->records] = (record_t){.name = xstrdup(name), .dtype = DTYPE_F32};
    return &in->record[in->records++];
}
