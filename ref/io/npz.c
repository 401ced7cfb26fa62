/* npz.c - see npy.h: zip archives of .npy files, through libzip. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zip.h>

#include "io/file.h"
#include "io/npy.h"

static const zip_uint64_t entry_limit = (zip_uint64_t)4 << 30;

struct npz {
    char *path;
    zip_t *zip;
    char **names; /* as NumPy shows them: without .npy */
    size_t count;
};

static char *shown_name(const char *entry) {
    size_t length = strlen(entry);
    bool npy = length > 4 && strcmp(entry + length - 4, ".npy") == 0;
    return xasprintf("%.*s", (int)(npy ? length - 4 : length), entry);
}

int npz_open(npz_t **npz, const char *path, err_t *err) {
    *npz = NULL;
    size_t bytes;
    int code, fd = file_open_read(path, &bytes, err);
    if (fd < 0) return -1;
    zip_t *zip = zip_fdopen(fd, ZIP_CHECKCONS, &code);
    if (!zip) {
        zip_error_t problem;
        zip_error_init_with_code(&problem, code);
        err_set(err, "%s: is not a readable .npz (zip) file: %s", path,
                zip_error_strerror(&problem));
        zip_error_fini(&problem);
        close(fd);
        return -1;
    }
    npz_t *opened = xcalloc(1, sizeof *opened);
    opened->path = xstrdup(path);
    opened->zip = zip;
    opened->count = (size_t)zip_get_num_entries(zip, 0);
    opened->names = xcalloc(opened->count + 1, sizeof *opened->names);
    for (size_t i = 0; i < opened->count; i++) {
        const char *entry = zip_get_name(zip, i, ZIP_FL_ENC_RAW);
        opened->names[i] = shown_name(entry ? entry : "");
    }
    *npz = opened;
    return 0;
}

void npz_close(npz_t *npz) {
    if (!npz) return;
    zip_discard(npz->zip);
    for (size_t i = 0; i < npz->count; i++) free(npz->names[i]);
    free(npz->names);
    free(npz->path);
    free(npz);
}

size_t npz_count(const npz_t *npz) {
    return npz->count;
}

const char *npz_name(const npz_t *npz, size_t index) {
    REQUIRE(index < npz->count, "npz_name: %s has %zu entries", npz->path, npz->count);
    return npz->names[index];
}

/* `bytes` unpacked bytes and then the end, where the checksum is verified too. */
static int unpack(zip_file_t *file, char *data, zip_uint64_t bytes, const char *path, err_t *err) {
    zip_uint64_t done = 0;
    while (done < bytes) {
        zip_int64_t got = zip_fread(file, data + done, bytes - done);
        if (got < 0) return err_set(err, "%s: cannot unpack: %s", path, zip_file_strerror(file));
        if (got == 0)
            return err_set(err, "%s: truncated: %llu of %llu bytes", path, (unsigned long long)done,
                           (unsigned long long)bytes);
        done += (zip_uint64_t)got;
    }
    char more;
    zip_int64_t got = zip_fread(file, &more, 1);
    if (got > 0) return err_set(err, "%s: unpacks to more bytes than it says", path);
    if (got < 0) return err_set(err, "%s: cannot unpack: %s", path, zip_file_strerror(file));
    return 0;
}

/* The stated size is a claim; a small file that claims much is refused before memory is asked
 * for. */
static int check_size(const zip_stat_t *stat, const char *path, err_t *err) {
    enum { DEFLATE_MOST = 1032 }; /* the most that deflate can shrink anything */
    zip_uint64_t need = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE;
    if ((stat->valid & need) != need) return err_set(err, "%s: does not say its size", path);
    if (stat->size > entry_limit)
        return err_set(err, "%s: unpacks to %llu bytes, at most %llu are read", path,
                       (unsigned long long)stat->size, (unsigned long long)entry_limit);
    if (stat->size / DEFLATE_MOST > stat->comp_size)
        return err_set(err, "%s: claims to unpack %llu bytes from %llu: the size lies", path,
                       (unsigned long long)stat->size, (unsigned long long)stat->comp_size);
    return 0;
}

static int read_entry(npz_t *npz, size_t index, const char *path, npy_t *array, err_t *err) {
    zip_stat_t stat;
    if (zip_stat_index(npz->zip, index, 0, &stat) != 0)
        return err_set(err, "%s: %s", path, zip_strerror(npz->zip));
    if (check_size(&stat, path, err) != 0) return -1;
    zip_file_t *file = zip_fopen_index(npz->zip, index, 0);
    if (!file) return err_set(err, "%s: cannot unpack: %s", path, zip_strerror(npz->zip));
    char *data = malloc((size_t)stat.size + 1);
    int status;
    if (!data)
        status =
            err_set(err, "%s: out of memory for %llu bytes", path, (unsigned long long)stat.size);
    else
        status = unpack(file, data, stat.size, path, err);
    zip_fclose(file);
    if (status == 0) status = npy_parse(array, data, (size_t)stat.size, path, err);
    free(data);
    return status;
}

int npz_read(npz_t *npz, const char *name, npy_t *array, err_t *err) {
    char shown[SHOWN_TEXT];
    *array = (npy_t){0};
    for (size_t i = 0; i < npz->count; i++)
        if (strcmp(npz->names[i], name) == 0) {
            char *path = xasprintf("%s: %s", npz->path, text_shown(shown, name));
            int status = read_entry(npz, i, path, array, err);
            free(path);
            return status;
        }
    return err_set(err, "%s: has no array '%s'", npz->path, text_shown(shown, name));
}
