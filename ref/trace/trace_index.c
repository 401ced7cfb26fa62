/* trace_index.c - see trace_index.h. */
#include "trace/trace_index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/file.h"
#include "io/json.h"
#include "trace/csv.h"

/* Every component is plain: the path cannot leave the folder. */
static bool path_is_below(const char *path) {
    char *copy = xstrdup(path);
    bool plain = true;
    for (char *part = copy, *slash; plain && part; part = slash) {
        slash = strchr(part, '/');
        if (slash) *slash++ = '\0';
        plain = file_name_is_plain(part);
    }
    free(copy);
    return plain;
}

static void add_row(trace_index_t *index, const char *name, const char *file) {
    if (index->rows == index->room) {
        index->room = index->room ? 2 * index->room : 64;
        index->row = xrealloc(index->row, index->room * sizeof *index->row);
    }
    char *path = file ? xstrdup(file) : xasprintf("%s.npy", name);
    index->row[index->rows++] = (trace_index_row_t){xstrdup(name), path};
}

/* `where`: the row, as "[3]" or ":12". file NULL: not stated. */
static int add_checked(trace_index_t *index, const char *where, const char *name, const char *file,
                       err_t *err) {
    char shown[SHOWN_TEXT];
    add_row(index, name, file);
    const char *path = index->row[index->rows - 1].file;
    if (path_is_below(path)) return 0;
    return err_set(err,
                   "%s%s: the file '%s' is not a path below the folder (no '..', no leading '/')",
                   index->path, where, text_shown(shown, path));
}

/* ---- index.json ------------------------------------------------------------------------------ */

static int read_item(trace_index_t *index, size_t at, const json_t *item, err_t *err) {
    char where[32];
    snprintf(where, sizeof where, "[%zu]", at);
    const json_t *name = json_is_object(item) ? json_object_get(item, "name") : item;
    const json_t *file = json_object_get(item, "file"); /* NULL for what is no object */
    if (!json_is_string(name) || (file && !json_is_null(file) && !json_is_string(file)))
        return err_set(err, "%s%s: expected a name, or an object with the strings name and file",
                       index->path, where);
    return add_checked(index, where, json_string_value(name), json_string_value(file), err);
}

static int read_json(trace_index_t *index, err_t *err) {
    json_file_t *file;
    if (json_file_open(&file, index->path, err) != 0) return -1;
    const json_t *list = json_file_root(file).value;
    int status = 0;
    if (!json_is_array(list)) status = err_set(err, "%s: expected a list of names", index->path);
    for (size_t i = 0; status == 0 && i < json_array_size(list); i++)
        status = read_item(index, i, json_array_get(list, i), err);
    json_file_close(file);
    return status;
}

/* ---- index.csv ------------------------------------------------------------------------------- */

static int read_rows(trace_index_t *index, csv_t *csv, err_t *err) {
    size_t name = csv_column(csv, "name"), file = csv_column(csv, "file");
    int more;
    if (name == CSV_COLUMNS || file == CSV_COLUMNS)
        return err_set(err,
                       "%s:1: the header line should have the columns name and file, once each",
                       index->path);
    while ((more = csv_next(csv, err)) > 0) {
        char where[32];
        snprintf(where, sizeof where, ":%zu", csv->line);
        if (add_checked(index, where, csv->field[name], csv->field[file], err) != 0) return -1;
    }
    return more;
}

static int read_csv(trace_index_t *index, err_t *err) {
    csv_t csv;
    int status = csv_open(&csv, index->path, err);
    if (!status) status = read_rows(index, &csv, err);
    csv_close(&csv);
    return status;
}

/* ---- no index -------------------------------------------------------------------------------- */

enum { DEPTH = 8 };

static int walk(trace_index_t *index, const char *folder, const char *below, int depth, err_t *err);

static int visit(trace_index_t *index, const char *folder, const char *path, int depth,
                 err_t *err) {
    struct stat status;
    char *full = file_join(folder, path);
    size_t length = strlen(path);
    int result = 0;
    bool folder_inside = lstat(full, &status) == 0 && S_ISDIR(status.st_mode);
    free(full);
    if (folder_inside) return walk(index, folder, path, depth + 1, err);
    if (length > 4 && strcmp(path + length - 4, ".npy") == 0) {
        char *name = xasprintf("%.*s", (int)(length - 4), path);
        result = add_checked(index, "", name, path, err);
        free(name);
    }
    return result;
}

/* Symbolic links to folders are not followed: they can go in circles. */
static int walk(trace_index_t *index, const char *folder, const char *below, int depth,
                err_t *err) {
    char *full = *below ? file_join(folder, below) : xstrdup(folder);
    DIR *dir = depth <= DEPTH ? opendir(full) : NULL;
    int status = 0;
    if (depth > DEPTH)
        status = err_set(err, "%s: folders are nested more than %d deep", full, DEPTH);
    else if (!dir)
        status = err_set(err, "%s: cannot read the folder: %s", full, strerror(errno));
    free(full);
    for (struct dirent *entry; status == 0 && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        char *path = file_join(below, entry->d_name);
        status = visit(index, folder, path, depth, err);
        free(path);
    }
    if (dir) closedir(dir);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const trace_index_row_t *)a)->name, ((const trace_index_row_t *)b)->name);
}

static int read_folder(trace_index_t *index, const char *folder, err_t *err) {
    if (walk(index, folder, "", 0, err) != 0) return -1;
    if (index->rows) qsort(index->row, index->rows, sizeof *index->row, by_name);
    return 0;
}

/* ---- the interface --------------------------------------------------------------------------- */

int trace_index_read(trace_index_t *index, const char *folder, err_t *err) {
    char *json = file_join(folder, "index.json"), *csv = file_join(folder, "index.csv");
    bool has_json = file_exists(json), has_csv = file_exists(csv);
    int status;
    *index = (trace_index_t){0};
    index->path = xstrdup(has_json ? json : has_csv ? csv : folder);
    if (has_json && has_csv)
        status =
            err_set(err, "%s: has both index.json and index.csv; remove the stale one", folder);
    else if (has_json)
        status = read_json(index, err);
    else if (has_csv)
        status = read_csv(index, err);
    else
        status = read_folder(index, folder, err);
    free(json);
    free(csv);
    return status;
}

void trace_index_free(trace_index_t *index) {
    for (size_t i = 0; i < index->rows; i++) {
        free(index->row[i].name);
        free(index->row[i].file);
    }
    free(index->row);
    free(index->path);
    *index = (trace_index_t){0};
}
