/* statement.h - what was checked and what was found, as a small JSON that another machine can check again
 * (docs/statement.schema.json): one entry for each golden case that a port was held against.
 *
 * Paths in a statement are relative to the folder it is in. A statement that is read is hostile until
 * checked: its size, every key, every type and range; statement_open refuses what no comparison gives.
 * Texts that were read live in its pool. */
#ifndef MOLE_REPORT_STATEMENT_H
#define MOLE_REPORT_STATEMENT_H

#include "compare/compare.h"
#include "core/pool.h"
#include "golden/sha256.h"
#include "report/report_parts.h"

enum { STATEMENT_ENTRIES = 1000, STATEMENT_BYTES = 16 << 20 };

typedef struct {
    const char *path;         /* relative to the statement's folder; NULL: there is none */
    char sha256[SHA256_TEXT]; /* "" of a built-in map */
} statement_file_t;

typedef struct {
    bool agrees, statistics; /* statistics: the candidate holds no tensors */
    budget_t budget;         /* that it was judged as */
    size_t batch_row;        /* of a batch the candidate has this row alone; SIZE_MAX: all */
    size_t taps, compared, count[VERDICTS];
    double worst_ratio, limit; /* of the tap that is nearest to its limit, or furthest beyond */
    const char *culprit;       /* NULL: there is none */
} statement_found_t;

typedef struct {
    const char *name;                        /* of the case, as its manifest says */
    statement_file_t golden, candidate, map; /* golden: the folder, and the hash of its manifest */
    budget_t budget;                         /* asked for; AUTO */
    double limit;                            /* asked for; 0: the usual one */
    const char *only;                        /* glob over taps, or NULL */
    bool complete, isolate;
    statement_found_t found;
} statement_entry_t;

typedef struct {
    char *path, *folder;   /* of the file; folder: "" is the current one */
    const char *made_with; /* version of the program that compared */
    const char *line;      /* as the file has it; NULL where nothing was read */
    statement_entry_t *entry;
    size_t entries;
    pool_t pool;
} statement_t;

/* Reads a statement. 0, or -1 and err. statement_free is due in both cases. */
int statement_open(statement_t *statement, const char *path, err_t *err);
/* The same where the file is there; else a statement without entries, of this version. One of another
 * version is refused: an entry does not say which version made it. */
int statement_open_or_new(statement_t *statement, const char *path, err_t *err);
void statement_free(statement_t *statement);
/* Whole or not at all. 0, or -1 and err. */
int statement_write(const statement_t *statement, err_t *err);

/* Adds an entry, or puts it in the place of the one whose case has the same path. Texts of the entry are
 * borrowed until the statement is written or freed. 0, or -1 and err: too many. */
int statement_put(statement_t *statement, const statement_entry_t *entry, err_t *err);
/* Path and hash of a file, or of a folder (statement_hash), as the statement names it. 0, or -1 and err. */
int statement_name(statement_t *statement, statement_file_t *file, const char *path, err_t *err);
/* A path of the statement as one that can be opened; the caller frees it. */
char *statement_path(const statement_t *statement, const char *path);

/* What a comparison found. The culprit's name goes into the pool. */
void statement_find(statement_found_t *found, const compare_result_t *result, pool_t *pool);
/* In one sentence the first thing in which the two are not the same; NULL: none. The worst ratio may be
 * 1 % off (statement_entry.c). The caller frees it. */
char *statement_difference(const statement_found_t *stated, const statement_found_t *found);
/* For a README, the caller frees it:
 * "mole 0.1.0: agrees with 3 of 3 cases, 2352 taps, f32, at most 12 % of a limit". */
char *statement_line(const statement_t *statement);

/* SHA-256 of a file; of a folder of .npy files that of the text that sha256sum would print, in the folder,
 * of its index, where there is one, and of its files in the order of the trace. Of a golden case give its
 * manifest. 0, or -1 and err. */
int statement_hash(char text[SHA256_TEXT], const char *path, err_t *err);

#endif
