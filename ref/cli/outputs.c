/* outputs.c - what a command is going to write: looked at before the work, see cli.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "io/file.h"

/* ---- names -------------------------------------------------------------------------------------------- */

/* Of each format its name for people and its endings, the one to write first. */
static const struct {
    const char *what, *endings;
} formats[] = {[CLI_PICTURE] = {"a PNG", " png "},
               [CLI_TENSORS] = {"safetensors", " safetensors "},
               [CLI_JSON] = {"JSON", " json "},
               [CLI_XML] = {"XML", " xml "},
               [CLI_HTML] = {"HTML", " html htm "},
               [CLI_MAP] = {"a map", " map txt "},
               [CLI_TABLE] = {"JSON or CSV", " json csv "},
               [CLI_FOLDER] = {"a folder", " "},
               [CLI_INPUT] = {"", " "}};
enum { FORMATS = sizeof formats / sizeof *formats };

/* Formats that nothing here writes. Other endings name no format ("v1.5") and are taken as they are. */
static const char foreign[] =
    " jpg jpeg jpe jfif webp gif bmp tif tiff avif heic heif jxl jp2 svg pdf "
    "eps ps psd ppm pgm pnm pbm tga ico exr hdr qoi mp4 webm npy npz pt pth "
    "bin ckpt pkl gguf onnx h5 msgpack ";

static bool is_listed(const char *list, const char *ending) {
    char word[32];
    int length = snprintf(word, sizeof word, " %s ", ending);
    if (length < 0 || length >= (int)sizeof word) return false;
    for (char *c = word; *c; c++)
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
    return strstr(list, word) != NULL;
}

/* What stands behind the last dot of the file's name; "" without one. */
static const char *ending_of(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    return dot && dot > name && dot[1] ? dot + 1 : "";
}

static bool names_another_format(const cli_output_t *o, const char *ending) {
    if (o->format == CLI_INPUT) return false;
    if (!*ending || is_listed(formats[o->format].endings, ending)) return false;
    bool other = is_listed(foreign, ending);
    for (int i = 0; i < FORMATS; i++) other = other || is_listed(formats[i].endings, ending);
    return other;
}

static int check_ending(const char *command, const cli_output_t *o) {
    const char *ending = ending_of(o->path);
    if (!names_another_format(o, ending)) return 0;
    int stem = (int)(ending - o->path) - 1,
        wanted = (int)strcspn(formats[o->format].endings + 1, " ");
    if (o->format == CLI_FOLDER)
        return cli_usage_error(command, "%s %s: %s is written, and .%s names a file; write %.*s",
                               o->option, o->path, formats[o->format].what, ending, stem, o->path);
    return cli_usage_error(command,
                           "%s %s: %s is written, and .%s names another format; write %.*s.%.*s",
                           o->option, o->path, formats[o->format].what, ending, stem, o->path,
                           wanted, formats[o->format].endings + 1);
}

static bool same_entry(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* One name in one folder, also where nothing has that name yet. */
static bool same_place(const char *a, const char *b) {
    const char *slash_a = strrchr(a, '/'), *slash_b = strrchr(b, '/');
    const char *name_a = slash_a ? slash_a + 1 : a, *name_b = slash_b ? slash_b + 1 : b;
    struct stat of_a, of_b;
    if (strcmp(name_a, name_b) != 0) return false;
    char *folder_a = slash_a ? xasprintf("%.*s", (int)(slash_a - a) + 1, a) : xstrdup(".");
    char *folder_b = slash_b ? xasprintf("%.*s", (int)(slash_b - b) + 1, b) : xstrdup(".");
    bool same =
        stat(folder_a, &of_a) == 0 && stat(folder_b, &of_b) == 0 && same_entry(&of_a, &of_b);
    free(folder_a);
    free(folder_b);
    return same;
}

static bool same_file(const char *a, const char *b) {
    struct stat of_a, of_b;
    if (stat(a, &of_a) == 0 && stat(b, &of_b) == 0) return same_entry(&of_a, &of_b);
    return same_place(a, b);
}

static int check_same(const char *command, const cli_output_t *a, const cli_output_t *b) {
    if (!a->path || !b->path || (a->format == CLI_INPUT && b->format == CLI_INPUT)) return 0;
    if (!same_file(a->path, b->path)) return 0;
    return cli_usage_error(
        command, "%s and %s name the same file%s", a->option, b->option,
        a->format == CLI_INPUT || b->format == CLI_INPUT ? ": what is read would be lost" : "");
}

/* ---- can it be written? ------------------------------------------------------------------------------- */

static int check_file(const char *path, err_t *err) {
    out_file_t out;
    if (out_file_open(&out, path, "", err)) return -1;
    out_file_abort(&out);
    return 0;
}

/* A folder that is not there is made and removed again. */
static int check_folder(const char *path, err_t *err) {
    bool made = mkdir(path, 0777) == 0;
    if (!made && errno != EEXIST)
        return err_set(err, "%s: cannot be made: %s", path, strerror(errno));
    char *probe = file_join(path, "probe");
    int status = check_file(probe, err);
    free(probe);
    if (made) rmdir(path);
    return status;
}

int cli_check_names(const char *command, const cli_output_t *output, size_t count) {
    int status = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i && !status; k++)
            status = check_same(command, &output[k], &output[i]);
    for (size_t i = 0; i < count && !status; i++)
        if (output[i].path) status = check_ending(command, &output[i]);
    return status;
}

/* Below a folder that the same command makes. */
static bool is_inside(const cli_output_t *inner, const cli_output_t *folder) {
    if (folder->format != CLI_FOLDER || !folder->path) return false;
    size_t length = strlen(folder->path);
    return strncmp(inner->path, folder->path, length) == 0 && inner->path[length] == '/';
}

int cli_check_writable(const char *command, const cli_output_t *output, size_t count) {
    err_t err;
    int status = 0;
    for (size_t i = 0; i < count && !status; i++) {
        bool folder = output[i].format == CLI_FOLDER;
        bool waits = !output[i].path || output[i].format == CLI_INPUT;
        for (size_t k = 0; k < i && !waits; k++) waits = is_inside(&output[i], &output[k]);
        if (waits) continue;
        if (folder ? check_folder(output[i].path, &err) : check_file(output[i].path, &err))
            status = cli_input_error(command, &err);
    }
    return status;
}

int cli_check_outputs(const char *command, const cli_output_t *output, size_t count) {
    int status = cli_check_names(command, output, count);
    return status ? status : cli_check_writable(command, output, count);
}
