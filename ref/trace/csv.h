/* csv.h - tables as text: commas, quotes as in RFC 4180 ("" is a quote in a quoted field), lines ending in LF
 * or CRLF, maybe a byte order mark; the header line names the columns; empty lines are passed over. */
#ifndef MOLE_TRACE_CSV_H
#define MOLE_TRACE_CSV_H

#include <stddef.h>

#include "core/err.h"

enum { CSV_COLUMNS = 64 };

typedef struct {
    const char *path; /* for messages */
    char *text;
    char *at;                 /* what follows; ends with a NUL */
    size_t next;              /* the line of it, from 1 */
    size_t line;              /* of the record that was read last */
    size_t columns;           /* of the header line */
    char *field[CSV_COLUMNS]; /* of the last record, unescaped */
    size_t fields;
} csv_t;

/* The file, whose header line is then in `field`. 0, or -1 and err: above 64 MiB, a NUL, a quote that is not
 * closed. csv_close is due in both cases. */
int csv_open(csv_t *csv, const char *path, err_t *err);
void csv_close(csv_t *csv);
/* The next record. 1; 0 at the end; -1 and err: also for another number of fields than the header's. */
int csv_next(csv_t *csv, err_t *err);
/* The place of a column of the header line, CSV_COLUMNS when it is not there exactly once. */
size_t csv_column(const csv_t *csv, const char *name);

#endif
