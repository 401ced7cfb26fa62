/* scratch.c - see scratch.h. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "scratch.h"

#include <dirent.h>
#include <ftw.h>
#include <unistd.h>

#include "unit.h"

static char folder[64];

int scratch_setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/mole-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk) {
    (void)status, (void)type, (void)walk;
    return remove(path);
}

int scratch_teardown(void **state) {
    (void)state;
    return nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch_folder(void) {
    return folder;
}

const char *scratch_path(const char *name) {
    static char ring[8][512];
    static unsigned next;
    char *path = ring[next++ % 8];
    snprintf(path, sizeof ring[0], "%s/%s", folder, name);
    return path;
}

void scratch_store(const char *path, const void *data, size_t bytes) {
    unlink(path); /* a new file: ext4 flushes one that is truncated and written again */
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

const char *scratch_write(const char *name, const void *data, size_t bytes) {
    const char *path = scratch_path(name);
    scratch_store(path, data, bytes);
    return path;
}

const char *scratch_text(const char *name, const char *text) {
    return scratch_write(name, text, strlen(text));
}

size_t scratch_entries(void) {
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    size_t count = 0;
    while (readdir(dir)) count++;
    closedir(dir);
    return count - 2;
}

char *scratch_slurp(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    char *data = xmalloc(*bytes + 1);
    assert_int_equal(fread(data, 1, *bytes, file), *bytes);
    fclose(file);
    data[*bytes] = '\0';
    return data;
}

void assert_message(const err_t *err, ...) {
    va_list words;
    va_start(words, err);
    for (const char *word; (word = va_arg(words, const char *));)
        if (!strstr(err->text, word)) fail_msg("no '%s' in the message: %s", word, err->text);
    va_end(words);
}

void must(int status, const err_t *err) {
    if (status) fail_msg("%s", err->text);
}
