/* csv.c - see csv.h. */
#include "trace/csv.h"

#include <stdlib.h>
#include <string.h>

#include "io/file.h"

/* One field, unescaped in place; *end is what ended it: ',', '\n' or NUL. NULL, or what is wrong. */
static const char *read_field(csv_t *csv, char *end) {
    char *in = csv->at, *out = csv->at;
    if (csv->fields == CSV_COLUMNS) return "more than 64 columns";
    csv->field[csv->fields++] = out;
    if (*in == '"') {
        for (in++; *in && (*in != '"' || in[1] == '"'); in++) {
            if (*in == '\n') csv->next++;
            if (*in == '"') in++;
            *out++ = *in;
        }
        if (!*in) return "a quote is not closed";
        in++;
    } else {
        while (*in && *in != ',' && *in != '\n' && !(*in == '\r' && in[1] == '\n')) *out++ = *in++;
    }
    if (*in == '\r') in++;
    *end = *in;
    if (*end && *end != ',' && *end != '\n') return "text follows a closing quote";
    csv->at = in + (*end != '\0');
    *out = '\0';
    if (*end == '\n') csv->next++;
    return NULL;
}

static int read_record(csv_t *csv, err_t *err) {
    const char *defect = NULL;
    char end = ',';
    csv->line = csv->next;
    csv->fields = 0;
    while (!defect && end == ',') defect = read_field(csv, &end);
    return defect ? err_set(err, "%s:%zu: %s", csv->path, csv->line, defect) : 0;
}

int csv_open(csv_t *csv, const char *path, err_t *err) {
    const size_t limit = (size_t)64 << 20;
    size_t bytes;
    *csv = (csv_t){.path = path, .next = 1};
    if (file_read(path, limit, &csv->text, &bytes, err)) return -1;
    csv->at = csv->text;
    if (strncmp(csv->at, "\xef\xbb\xbf", 3) == 0) csv->at += 3;
    if (strlen(csv->text) != bytes) return err_set(err, "%s: holds a NUL, text was expected", path);
    if (read_record(csv, err)) return -1;
    csv->columns = csv->fields;
    return 0;
}

void csv_close(csv_t *csv) {
    free(csv->text);
    csv->text = NULL;
}

int csv_next(csv_t *csv, err_t *err) {
    while (*csv->at) {
        if (read_record(csv, err)) return -1;
        if (csv->fields == 1 && !*csv->field[0]) continue;
        if (csv->fields == csv->columns) return 1;
        return err_set(err, "%s:%zu: %zu fields, the header line has %zu", csv->path, csv->line,
                       csv->fields, csv->columns);
    }
    return 0;
}

size_t csv_column(const csv_t *csv, const char *name) {
    size_t found = CSV_COLUMNS;
    for (size_t i = 0; i < csv->fields; i++) {
        if (strcmp(csv->field[i], name) != 0) continue;
        if (found != CSV_COLUMNS) return CSV_COLUMNS;
        found = i;
    }
    return found;
}
