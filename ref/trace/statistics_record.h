/* statistics_record.h - one tap of a file of statistics: its fields under the names that are read
 * (docs/trace-format.md), checked one by one and together. For trace_statistics.c. */
#ifndef MOLE_TRACE_STATISTICS_RECORD_H
#define MOLE_TRACE_STATISTICS_RECORD_H

#include "trace/trace_file_internal.h"

/* One tap as it stands in the file. */
typedef struct {
    char *name;
    statistics_t s;
    dtype_t dtype;
    bool has_dtype;
    shape_t shape;
    size_t count;
    size_t call; /* of msprobe's module */
} record_t;

typedef struct {
    trace_file_t *trace;
    record_t *record; /* (records) */
    size_t records;
    err_t *err;
} reading_t;

typedef enum {
    FIELD_NAME = STATISTICS, /* below: statistics */
    FIELD_SHAPE,
    FIELD_COUNT,
    FIELD_DTYPE,
    FIELD_VALUES,
    FIELD_NOT_FINITE,
    FIELD_IO,
    FIELD_SLOT,
    FIELD_OTHER,
    FIELD_VALUE /* and above: value number field - FIELD_VALUE */
} field_t;

/* "L2Norm Value" and "l2_norm" are one; FIELD_OTHER is the writer's own affair. */
field_t record_field(const char *key);

/* One more, owned by `in`; its name is copied. */
record_t *record_add(reading_t *in, const char *name);
/* "torch.float32", "BFloat16", "F16"; any other text is no type. */
void record_dtype(record_t *r, const char *text);
/* A statistic, a value, or a count. 0, or -1 and in->err, as the next two. */
int record_number(const reading_t *in, record_t *r, field_t field, double x);
int record_shape(const reading_t *in, record_t *r, const double *dim, size_t dims);
/* After all its fields: what they say of each other, but for what only digits tell (statistics_defect). */
int record_check(const reading_t *in, record_t *r);
/* "PATH: 'NAME': what"; returns -1. */
int record_refuse(const reading_t *in, const char *name, const char *what);

#endif
