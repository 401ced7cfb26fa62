/* trace_index.h - which files make up a trace that is a folder, and in which order.
 *
 *   index.json   a list; an item is a name, or an object {"name": NAME, "file": FILE}, whose other keys
 *                are the writer's affair
 *   index.csv    commas, quotes as in RFC 4180 ("" is a quote in a quoted field), lines ending in LF or
 *                CRLF, maybe a byte order mark; the header line has the columns name and file, once each,
 *                in any place; empty lines are skipped
 *   neither      every .npy file of the folder and its subfolders, in the byte order of their names;
 *                what starts with a dot is passed over
 *
 * A file is a path below the folder, with '/' between plain components. Where none is stated it is the
 * name with ".npy" after it: step.000/unet.conv_in is in step.000/unet.conv_in.npy. */
#ifndef MOLE_TRACE_TRACE_INDEX_H
#define MOLE_TRACE_TRACE_INDEX_H

#include <stddef.h>

#include "core/err.h"

typedef struct {
    char *name, *file; /* file: relative to the folder */
} trace_index_row_t;

typedef struct {
    char *path; /* of the index file, or of the folder: for messages */
    trace_index_row_t *row;
    size_t rows, room;
} trace_index_t;

/* 0, or -1 and err: both index files, one that is malformed or above 64 MiB, a file outside the folder.
 * Names are not looked at. trace_index_free is due in both cases. */
int trace_index_read(trace_index_t *index, const char *folder, err_t *err);
void trace_index_free(trace_index_t *index);

#endif
