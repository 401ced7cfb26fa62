/* file.c - see file.h. */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utf8proc.h>

char *file_join(const char *folder, const char *name) {
    if (!folder || !*folder) return xstrdup(name);
    bool slash = folder[strlen(folder) - 1] == '/';
    return xasprintf(slash ? "%s%s" : "%s/%s", folder, name);
}

bool file_exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

bool file_name_is_plain(const char *name) {
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return false;
    for (const char *p = name; *p; p++)
        if (*p == '/' || *p == '\\' || (unsigned char)*p < 0x20 || *p == 0x7f) return false;
    return true;
}

int file_open_read(const char *path, size_t *bytes, err_t *err) {
    /* O_NONBLOCK: a pipe without a writer is refused below instead of waited for. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return err_set(err, "%s: cannot open: %s", path, strerror(errno));
    struct stat status;
    const char *defect = NULL;
    if (fstat(fd, &status) != 0)
        defect = strerror(errno);
    else if (S_ISDIR(status.st_mode))
        defect = "is a directory, a file was expected";
    else if (!S_ISREG(status.st_mode))
        defect = "is not a regular file";
    if (defect) {
        close(fd);
        return err_set(err, "%s: %s", path, defect);
    }
    *bytes = (size_t)status.st_size;
    return fd;
}

static int read_all(int fd, const char *path, char *data, size_t bytes, err_t *err) {
    for (size_t done = 0; done < bytes;) {
        ssize_t got = read(fd, data + done, bytes - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return err_set(err, "%s: cannot read: %s", path, strerror(errno));
        if (got == 0) return err_set(err, "%s: shrank while it was read", path);
        done += (size_t)got;
    }
    return 0;
}

int file_read(const char *path, size_t limit, char **data, size_t *bytes, err_t *err) {
    size_t size = 0;
    int fd = file_open_read(path, &size, err);
    if (fd < 0) return -1;
    if (size > limit) {
        close(fd);
        return err_set(err, "%s: %zu bytes, at most %zu are read", path, size, limit);
    }
    char *buffer = xmalloc(size + 1);
    int status = read_all(fd, path, buffer, size, err);
    close(fd);
    if (status != 0) {
        free(buffer);
        return -1;
    }
    buffer[size] = '\0';
    *data = buffer;
    *bytes = size;
    return 0;
}

/* Unicode Standard Annex 9, section 2: embeddings, overrides, isolates and marks. */
static bool turns_direction(utf8proc_int32_t c) {
    return c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

static const char *character_defect(utf8proc_int32_t c) {
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return "holds a control character";
    return turns_direction(c) ? "holds a character that turns the direction of text" : NULL;
}

const char *text_defect(const char *text) {
    utf8proc_int32_t c;
    for (const char *p = text; *p;) {
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)p, -1, &c);
        if (step <= 0) return "is not UTF-8";
        if (character_defect(c)) return character_defect(c);
        p += step;
    }
    return NULL;
}

char *text_clean(char *text) {
    size_t length = strlen(text);
    char *to = text;
    for (size_t i = 0; i < length;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + i,
                                                 (utf8proc_ssize_t)(length - i), &c);
        size_t taken = step > 0 ? (size_t)step : 1;
        if (step <= 0 || character_defect(c))
            *to++ = '?';
        else
            memmove(to, text + i, taken), to += taken;
        i += taken;
    }
    *to = '\0';
    return text;
}

const char *text_shown(char text[SHOWN_TEXT], const char *name) {
    size_t length = strlen(name), keep = length < SHOWN_TEXT ? length : SHOWN_TEXT - 4;
    /* Never cut inside a UTF-8 sequence: back to the byte that starts one. */
    if (keep < length)
        while (keep > 0 && ((unsigned char)name[keep] & 0xc0) == 0x80) keep--;
    memcpy(text, name, keep);
    text[keep] = '\0';
    text_clean(text);
    if (keep < length) memcpy(text + strlen(text), "...", 4);
    return text;
}

static int check_target(const char *path, err_t *err) {
    struct stat status;
    if (!*path) return err_set(err, "the output's name is empty");
    if (stat(path, &status) != 0) return 0;
    if (S_ISDIR(status.st_mode))
        return err_set(err, "%s: is a directory, cannot write a file", path);
    /* A rename would replace the device itself. */
    if (!S_ISREG(status.st_mode))
        return err_set(err, "%s: is not a regular file, cannot write there", path);
    return 0;
}

/* The temporary files that are there: written by the program, read by a signal's handler at any moment. */
enum { UNFINISHED = 32 };
static const char *volatile unfinished[UNFINISHED];

static void replace_unfinished(const char *is, const char *becomes) {
    for (int i = 0; i < UNFINISHED; i++) {
        if (unfinished[i] != is) continue;
        unfinished[i] = becomes;
        return;
    }
}

void out_files_abandon(void) {
    for (int i = 0; i < UNFINISHED; i++) {
        const char *temp = unfinished[i];
        if (temp) unlink(temp);
    }
}

int out_file_open(out_file_t *out, const char *path, const char *suffix, err_t *err) {
    static unsigned serial;
    *out = (out_file_t){.fd = -1};
    if (check_target(path, err) != 0) return -1;
    unsigned number = __atomic_fetch_add(&serial, 1, __ATOMIC_RELAXED);
    char *temp = xasprintf("%s.tmp.%ld.%u%s", path, (long)getpid(), number, suffix);
    replace_unfinished(NULL, temp); /* before it is there, else a signal may come in between */
    int fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        err_set(err, "%s: cannot write: %s (creating %s)", path, strerror(errno), temp);
        replace_unfinished(temp, NULL);
        free(temp);
        return -1;
    }
    *out = (out_file_t){.path = xstrdup(path), .temp = temp, .fd = fd};
    return 0;
}

int out_file_write(out_file_t *out, const void *data, size_t bytes, err_t *err) {
    const char *from = data;
    while (bytes > 0) {
        ssize_t put = write(out->fd, from, bytes);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0)
            return err_set(err, "%s: cannot write: %s", out->path,
                           strerror(put < 0 ? errno : ENOSPC));
        from += put;
        bytes -= (size_t)put;
    }
    return 0;
}

void out_file_abort(out_file_t *out) {
    if (out->fd >= 0) close(out->fd);
    if (out->temp) {
        unlink(out->temp);
        replace_unfinished(out->temp, NULL);
    }
    free(out->temp);
    free(out->path);
    *out = (out_file_t){.fd = -1};
}

int out_file_commit(out_file_t *out, err_t *err) {
    /* Some file systems cannot fsync (EINVAL); close still reports what they know. */
    int failed = fsync(out->fd) != 0 && errno != EINVAL ? errno : 0;
    if (close(out->fd) != 0 && !failed) failed = errno;
    out->fd = -1;
    if (!failed && rename(out->temp, out->path) != 0) failed = errno;
    if (failed) {
        err_set(err, "%s: cannot write: %s", out->path, strerror(failed));
    } else {
        replace_unfinished(out->temp, NULL);
        free(out->temp);
        out->temp = NULL;
    }
    out_file_abort(out);
    return failed ? -1 : 0;
}
