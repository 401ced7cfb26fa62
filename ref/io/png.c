/* png.c - see png.h.
 *
 * libpng reports errors by longjmp. Everything that must survive one lives in a job_t behind a
 * pointer; the functions that call setjmp have no local variable of their own that changes after
 * it. */
#include "io/png.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>
#include <utf8proc.h>

#include "io/file.h"

enum { LARGEST = 65535, KEY_MOST = 79 };
static const size_t file_limit = (size_t)1 << 30;

typedef struct {
    png_structp png;
    png_infop info;
    const char *path;
    err_t *err;
    bool reported;              /* err is filled already */
    out_file_t out;             /* writing */
    const uint8_t *in, *in_end; /* reading */
} job_t;

static _Noreturn void on_error(png_structp png, png_const_charp message) {
    job_t *job = png_get_error_ptr(png);
    char shown[SHOWN_TEXT];
    if (!job->reported) err_set(job->err, "%s: PNG: %s", job->path, text_shown(shown, message));
    job->reported = true;
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png, (void)message;
}

/* ---- text ------------------------------------------------------------------------------------ */

static bool key_is_good(const char *key) {
    size_t length = strlen(key);
    if (length < 1 || length > KEY_MOST || key[0] == ' ' || key[length - 1] == ' ') return false;
    for (size_t i = 0; i < length; i++)
        if (key[i] < 0x20 || key[i] > 0x7e || (key[i] == ' ' && key[i + 1] == ' ')) return false;
    return true;
}

/* The value in Latin-1 (fresh memory) when it can be, else NULL; *valid tells whether it is
 * UTF-8. */
static char *latin1_of(const char *utf8, bool *valid) {
    size_t length = strlen(utf8), used = 0;
    char *latin1 = xmalloc(length + 1);
    bool fits = true;
    *valid = true;
    for (size_t i = 0; i < length;) {
        utf8proc_int32_t point;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)utf8 + i,
                                                 (utf8proc_ssize_t)(length - i), &point);
        if (step <= 0) {
            *valid = fits = false;
            break;
        }
        if (point > 0xff) fits = false;
        latin1[used++] = (char)point;
        i += (size_t)step;
    }
    latin1[used] = '\0';
    if (fits) return latin1;
    free(latin1);
    return NULL;
}

static char *utf8_of(const char *latin1, size_t length) {
    char *utf8 = xmalloc(2 * length + 1);
    size_t used = 0;
    for (size_t i = 0; i < length; i++)
        used +=
            (size_t)utf8proc_encode_char((unsigned char)latin1[i], (utf8proc_uint8_t *)utf8 + used);
    utf8[used] = '\0';
    return utf8;
}

/* libpng's form of the texts; keys and values are copies to free. */
static int make_texts(png_text *out, const picture_text_t *texts, size_t count, const char *path,
                      err_t *err) {
    char shown[SHOWN_TEXT];
    for (size_t i = 0; i < count; i++) {
        bool valid;
        text_shown(shown, texts[i].key);
        if (!key_is_good(texts[i].key))
            return err_set(err, "%s: text key '%s' is not 1 to 79 printable characters", path,
                           shown);
        char *latin1 = latin1_of(texts[i].value, &valid);
        if (!valid) return err_set(err, "%s: text '%s' is not UTF-8", path, shown);
        out[i].compression = latin1 ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
        out[i].key = xstrdup(texts[i].key);
        out[i].text = latin1 ? latin1 : xstrdup(texts[i].value);
        out[i].text_length = latin1 ? strlen(out[i].text) : 0;
        out[i].itxt_length = latin1 ? 0 : strlen(out[i].text);
    }
    return 0;
}

static void free_texts(png_text *texts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(texts[i].key);
        free(texts[i].text);
    }
    free(texts);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_bytes(png_structp png, png_bytep data, size_t bytes) {
    job_t *job = png_get_io_ptr(png);
    if (out_file_write(&job->out, data, bytes, job->err) != 0) {
        job->reported = true;
        png_error(png, "write");
    }
}

static void flush_bytes(png_structp png) {
    (void)png;
}

static void encode(job_t *job, const uint8_t *pixels, size_t width, size_t height, size_t channels,
                   png_text *texts, size_t text_count) {
    png_structp png = job->png;
    png_set_write_fn(png, job, write_bytes, flush_bytes);
    png_set_IHDR(png, job->info, (png_uint_32)width, (png_uint_32)height, 8,
                 channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 6);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_PAETH);
    if (text_count) png_set_text(png, job->info, texts, (int)text_count);
    png_write_info(png, job->info);
    for (size_t y = 0; y < height; y++) png_write_row(png, pixels + y * width * channels);
    png_write_end(png, NULL);
}

static int encode_guarded(job_t *job, const uint8_t *pixels, size_t width, size_t height,
                          size_t channels, png_text *texts, size_t text_count) {
    if (setjmp(png_jmpbuf(job->png))) return -1;
    encode(job, pixels, width, height, channels, texts, text_count);
    return 0;
}

static int write_job(job_t *job, const uint8_t *pixels, size_t width, size_t height,
                     size_t channels, png_text *texts, size_t text_count) {
    if (out_file_open(&job->out, job->path, "", job->err) != 0) return -1;
    job->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, job, on_error, on_warning);
    job->info = job->png ? png_create_info_struct(job->png) : NULL;
    int status = job->info ? encode_guarded(job, pixels, width, height, channels, texts, text_count)
                           : err_set(job->err, "%s: libpng cannot start", job->path);
    png_destroy_write_struct(&job->png, &job->info);
    if (status == 0) return out_file_commit(&job->out, job->err);
    out_file_abort(&job->out);
    return -1;
}

int picture_write(const char *path, const uint8_t *pixels, size_t width, size_t height,
                  size_t channels, const picture_text_t *texts, size_t text_count, err_t *err) {
    REQUIRE(channels == 1 || channels == 3, "picture_write: %zu channels", channels);
    if (width < 1 || height < 1 || width > LARGEST || height > LARGEST)
        return err_set(err, "%s: a picture of %zu x %zu cannot be written (1 to %d each)", path,
                       width, height, LARGEST);
    job_t job = {.path = path, .err = err, .out = {.fd = -1}};
    png_text *converted = xcalloc(text_count + 1, sizeof *converted);
    int status = make_texts(converted, texts, text_count, path, err);
    if (status == 0)
        status = write_job(&job, pixels, width, height, channels, converted, text_count);
    free_texts(converted, text_count);
    return status;
}

uint8_t *picture_bytes(size_t *bytes, const uint8_t *pixels, size_t width, size_t height,
                       size_t channels) {
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY};
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(image);
    uint8_t *out = xmalloc(room);
    REQUIRE(png_image_write_to_memory(&image, out, &room, 0, pixels, 0, NULL),
            "picture_bytes: %zu x %zu: %s", width, height, image.message);
    *bytes = room;
    return out;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void read_bytes(png_structp png, png_bytep out, size_t bytes) {
    job_t *job = png_get_io_ptr(png);
    if (bytes > (size_t)(job->in_end - job->in)) png_error(png, "truncated");
    memcpy(out, job->in, bytes);
    job->in += bytes;
}

static void collect_texts(job_t *job, picture_t *picture) {
    png_textp texts;
    int count = 0;
    png_get_text(job->png, job->info, &texts, &count);
    picture->keys = xcalloc((size_t)count + 1, sizeof *picture->keys);
    picture->values = xcalloc((size_t)count + 1, sizeof *picture->values);
    for (int i = 0; i < count; i++) {
        bool utf8 = texts[i].compression >= PNG_ITXT_COMPRESSION_NONE;
        picture->keys[i] = xstrdup(texts[i].key);
        picture->values[i] =
            utf8 ? xstrdup(texts[i].text) : utf8_of(texts[i].text, texts[i].text_length);
    }
    picture->text_count = (size_t)count;
}

static void decode(job_t *job, picture_t *picture) {
    png_structp png = job->png;
    png_set_read_fn(png, job, read_bytes);
    png_set_user_limits(png, LARGEST, LARGEST);
    png_read_info(png, job->info);
    int type = png_get_color_type(png, job->info);
    if (png_get_bit_depth(png, job->info) != 8 ||
        (type != PNG_COLOR_TYPE_RGB && type != PNG_COLOR_TYPE_GRAY) ||
        png_get_interlace_type(png, job->info) != PNG_INTERLACE_NONE)
        png_error(png, "expected 8-bit RGB or grey, not interlaced");
    picture->width = png_get_image_width(png, job->info);
    picture->height = png_get_image_height(png, job->info);
    picture->channels = type == PNG_COLOR_TYPE_RGB ? 3 : 1;
    size_t stride = picture->width * picture->channels;
    picture->pixels = calloc(picture->height, stride);
    if (!picture->pixels) png_error(png, "out of memory");
    for (size_t y = 0; y < picture->height; y++)
        png_read_row(png, picture->pixels + y * stride, NULL);
    png_read_end(png, job->info);
    collect_texts(job, picture);
}

static int decode_guarded(job_t *job, picture_t *picture) {
    if (setjmp(png_jmpbuf(job->png))) return -1;
    decode(job, picture);
    return 0;
}

int picture_read(picture_t *picture, const char *path, err_t *err) {
    *picture = (picture_t){0};
    char *memory = NULL;
    size_t bytes = 0;
    if (file_read(path, file_limit, &memory, &bytes, err) != 0) return -1;
    job_t job = {.path = path, .err = err, .in = (const uint8_t *)memory};
    job.in_end = job.in + bytes;
    job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning);
    job.info = job.png ? png_create_info_struct(job.png) : NULL;
    int status =
        job.info ? decode_guarded(&job, picture) : err_set(err, "%s: libpng cannot start", path);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    free(memory);
    if (status != 0) picture_free(picture);
    return status;
}

void picture_free(picture_t *picture) {
    for (size_t i = 0; i < picture->text_count; i++) {
        free(picture->keys[i]);
        free(picture->values[i]);
    }
    free(picture->keys);
    free(picture->values);
    free(picture->pixels);
    *picture = (picture_t){0};
}
