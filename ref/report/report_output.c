/* report_output.c - see report_parts.h: text from outside made fit for a report, and the files. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <utf8proc.h>

#include "report/report_parts.h"

/* XML 1.0, section 2.2: no control characters but tab and line ends, no U+FFFE and U+FFFF. U+007F to
 * U+009F are allowed there and wanted by nobody. */
static bool xml_holds(utf8proc_int32_t c) {
    if (c == '\t' || c == '\n' || c == '\r') return true;
    return utf8proc_category(c) != UTF8PROC_CATEGORY_CC && c != 0xfffe && c != 0xffff;
}

/* Whether a terminal shows it as itself: no control, format (direction!) or line separator. */
static bool shows(utf8proc_int32_t c) {
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
    }
}

char *report_clean(const char *text, report_clean_t how) {
    if (!text) text = "";
    size_t left = strlen(text), used = 0;
    const utf8proc_uint8_t *from = (const utf8proc_uint8_t *)text;
    utf8proc_uint8_t *out = xmalloc(3 * left + 1); /* a bad byte becomes three */
    while (left > 0) {
        utf8proc_int32_t c;
        utf8proc_ssize_t bytes = utf8proc_iterate(from, (utf8proc_ssize_t)left, &c);
        if (bytes <= 0) {
            c = 0xfffd;
            bytes = 1;
        }
        from += bytes;
        left -= (size_t)bytes;
        if (how == CLEAN_XML && !xml_holds(c)) continue;
        if (how == CLEAN_SHOWN && !shows(c)) c = '?';
        used += (size_t)utf8proc_encode_char(c, out + used);
    }
    out[used] = '\0';
    return (char *)out;
}

int report_file_open(report_file_t *file, const char *path, err_t *err) {
    *file = (report_file_t){.out = {.fd = -1}};
    if (out_file_open(&file->out, path, "", err)) return -1;
    /* A descriptor of its own: closing the stream tells what the disk said, and leaves the other one
     * to be flushed and renamed. */
    int fd = dup(file->out.fd);
    file->to = fd < 0 ? NULL : fdopen(fd, "w");
    if (file->to) return 0;
    err_set(err, "%s: cannot write: %s", path, strerror(errno));
    if (fd >= 0) close(fd);
    out_file_abort(&file->out);
    return -1;
}

int report_file_close(report_file_t *file, int status, err_t *err) {
    errno = 0;
    bool failed = fflush(file->to) != 0;
    failed = ferror(file->to) || failed;
    int reason = errno;
    failed = fclose(file->to) != 0 || failed;
    if (!status && failed)
        status = err_set(err, "%s: cannot write: %s", file->out.path,
                         strerror(reason ? reason : ENOSPC));
    if (!status) return out_file_commit(&file->out, err);
    out_file_abort(&file->out);
    return -1;
}
