/* safetensors_read.c - see safetensors.h.
 *
 * Format notes. The length N counts the padding spaces that may follow the header's JSON. Offsets
 * in data_offsets count from the end of the header. The format forbids holes and overlap, so that
 * sorted by offset every tensor starts where the one before ended, and the last ends with the file.
 * Tensors may be empty (a dimension is 0) and share their offset with a neighbour. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <jansson.h>

#include "core/name_ids.h"
#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"

enum { LENGTH_BYTES = 8 };
/* The bound of the format's own implementation. */
static const uint64_t header_limit = 100000000;

struct st_file {
    char *path;
    unsigned char *map;
    size_t bytes;
    json_t *header;       /* owns the names and the metadata */
    st_tensor_t *tensors; /* (count + unread) those that are unread after the others */
    size_t count, unread;
    bool partly;
    name_ids_t names; /* (count): the number of each is its tensor's index */
};

/* ---- the file's frame ------------------------------------------------------------------------ */

static int map_file(st_file_t *file, err_t *err) {
    int fd = file_open_read(file->path, &file->bytes, err);
    if (fd < 0) return -1;
    if (file->bytes == 0) {
        close(fd);
        return err_set(err, "%s: is empty (0 bytes), a safetensors file was expected", file->path);
    }
    int access = dtype_order_is_ours(0) ? PROT_READ : PROT_READ | PROT_WRITE;
    void *map = mmap(NULL, file->bytes, access, MAP_PRIVATE, fd, 0);
    int problem = errno;
    close(fd);
    if (map == MAP_FAILED) return err_set(err, "%s: cannot map: %s", file->path, strerror(problem));
    file->map = map;
    return 0;
}

static bool starts_with(const st_file_t *file, const char *magic, size_t length) {
    return file->bytes >= length && memcmp(file->map, magic, length) == 0;
}

/* What a file that is not safetensors is instead, and what to do about it. */
static int refuse_format(const st_file_t *file, const char *defect, err_t *err) {
    const char *path = file->path;
    if (starts_with(file, "PK\x03\x04", 4) || starts_with(file, "\x80\x02", 2) ||
        starts_with(file, "\x80\x03", 2) || starts_with(file, "\x80\x04", 2))
        return err_set(err,
                       "%s: is a pickled PyTorch file, which is refused because loading one runs "
                       "code from it; "
                       "convert it: python3 -c \"import sys, torch, safetensors.torch as s; "
                       "d = torch.load(sys.argv[1], map_location='cpu', weights_only=True); "
                       "d = d.get('state_dict', d); s.save_file({k: v.contiguous().clone() for k, "
                       "v in d.items() "
                       "if hasattr(v, 'contiguous')}, sys.argv[2])\" FILE.ckpt FILE.safetensors",
                       path);
    if (starts_with(file, "version https://git-lfs", 23))
        return err_set(err, "%s: is a git-lfs pointer, not the file itself; run: git lfs pull",
                       path);
    if (starts_with(file, "<!DOCTYPE", 9) || starts_with(file, "<!doctype", 9) ||
        starts_with(file, "<html", 5) || starts_with(file, "<HTML", 5))
        return err_set(
            err, "%s: is a web page (HTML), probably an error message; download it again", path);
    if (starts_with(file, "GGUF", 4))
        return err_set(err, "%s: is a GGUF file, a safetensors file was expected", path);
    return err_set(err, "%s: is not a safetensors file: %s", path, defect);
}

static int check_frame(const st_file_t *file, uint64_t *header_bytes, err_t *err) {
    char defect[160];
    if (file->bytes < LENGTH_BYTES) {
        snprintf(defect, sizeof defect, "truncated: %zu bytes, its header length alone takes 8",
                 file->bytes);
        return refuse_format(file, defect, err);
    }
    uint64_t length = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) length = length << 8 | file->map[i];
    snprintf(defect, sizeof defect, "header length %llu is above the limit of %llu bytes",
             (unsigned long long)length, (unsigned long long)header_limit);
    if (length > header_limit) return refuse_format(file, defect, err);
    snprintf(defect, sizeof defect,
             "truncated: its header should take %llu bytes, %zu follow its length",
             (unsigned long long)length, file->bytes - LENGTH_BYTES);
    if (length > file->bytes - LENGTH_BYTES) return refuse_format(file, defect, err);
    if (length < 2 || file->map[LENGTH_BYTES] != '{')
        return refuse_format(file, "header does not start with '{'", err);
    *header_bytes = length;
    return 0;
}

/* ---- the header ------------------------------------------------------------------------------ */

/* -1 and err for a header that NUL bytes fill up, the one thing of which a parser of JSON says too little. */
static int refuse_padding(const st_file_t *file, size_t header_bytes, err_t *err) {
    const unsigned char *header = file->map + LENGTH_BYTES;
    size_t end = header_bytes, nuls = 0;
    for (; end > 0 && (header[end - 1] == '\0' || isspace(header[end - 1])); end--)
        nuls += header[end - 1] == '\0';
    if (nuls == 0 || end == 0 || header[end - 1] != '}') return 0;
    return err_set(
        err,
        "%s: %zu NUL bytes follow its header's JSON (from byte %zu on), where the format has "
        "spaces: overwrite each with a space (0x20), and let the writer pad so",
        file->path, nuls, LENGTH_BYTES + end);
}

static int parse_json(st_file_t *file, size_t header_bytes, err_t *err) {
    json_error_t where;
    const char *header = (const char *)file->map + LENGTH_BYTES;
    if (json_check_memory(file->path, header, header_bytes, err)) return -1;
    file->header = json_loadb(header, header_bytes, JSON_REJECT_DUPLICATES, &where);
    char shown[SHOWN_TEXT];
    if (!file->header && refuse_padding(file, header_bytes, err) != 0) return -1;
    if (!file->header)
        return err_set(err, "%s: header is not valid JSON at byte %d: %s", file->path,
                       LENGTH_BYTES + where.position, text_shown(shown, where.text));
    return 0;
}

static int check_metadata(const st_file_t *file, json_t *metadata, err_t *err) {
    const char *key;
    json_t *value;
    if (json_is_null(metadata)) return 0;
    if (!json_is_object(metadata))
        return err_set(err, "%s: __metadata__ is not an object", file->path);
    json_object_foreach(metadata, key, value) {
        char shown[SHOWN_TEXT];
        if (!json_is_string(value))
            return err_set(err, "%s: __metadata__: value of '%s' is not a string", file->path,
                           text_shown(shown, key));
    }
    return 0;
}

/* A non-negative integer, or an error that says what else it is. */
static int read_size(const json_t *value, const char *what, size_t *size, err_t *err) {
    if (!json_is_integer(value))
        return err_set(err, "%s holds something that is not an integer", what);
    json_int_t number = json_integer_value(value);
    if (number < 0)
        return err_set(err, "%s holds a negative number (%lld)", what, (long long)number);
    *size = (size_t)number;
    return 0;
}

/* The first SHAPE_DIMS dimensions, how many there are, and their product. */
static int read_shape(const json_t *list, shape_t *shape, size_t *ndim, size_t *count, err_t *err) {
    if (!json_is_array(list)) return err_set(err, "shape is missing or not a list");
    bool overflows = false;
    *ndim = json_array_size(list);
    *count = 1;
    for (size_t i = 0; i < *ndim; i++) {
        size_t dim = 0;
        if (read_size(json_array_get(list, i), "shape", &dim, err) != 0) return -1;
        if (i < SHAPE_DIMS) shape->dim[shape->ndim++] = dim;
        overflows |= __builtin_mul_overflow(*count, dim, count);
    }
    char text[SHAPE_TEXT];
    return overflows ? err_set(err, "shape %s overflows", shape_text(text, *shape)) : 0;
}

/* Types of the format that are not read, in bits. */
static const struct {
    const char *name, *what;
    size_t bits;
} others[] = {{"C64", "complex numbers", 64},
              {"F6_E2M3", "numbers of 6 bits", 6},
              {"F6_E3M2", "numbers of 6 bits", 6},
              {"F4", "numbers of 4 bits", 4}};

/* Fill dtype, or unread. Returns the bits of a number, 0 where unknown. */
static size_t find_type(st_tensor_t *tensor, const char *dtype) {
    char shown[SHOWN_TEXT];
    if (dtype_parse(dtype, &tensor->dtype) == 0) return 8 * dtype_size(tensor->dtype);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(dtype, others[i].name) == 0) {
            tensor->unread = xasprintf("dtype '%s': %s", dtype, others[i].what);
            return others[i].bits;
        }
    tensor->unread = xasprintf("dtype '%s' is not known", text_shown(shown, dtype));
    return 0;
}

static int refuse_unread(const st_tensor_t *tensor, err_t *err) {
    return err_set(
        err,
        "%s; read are F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL, F8_E4M3 F8_E5M2 "
        "F8_E4M3FNUZ F8_E5M2FNUZ F8_E8M0",
        tensor->unread);
}

static int check_bytes(const st_tensor_t *tensor, const char *dtype, size_t bits, size_t count,
                       size_t begin, size_t end, err_t *err) {
    char shape[SHAPE_TEXT];
    size_t all;
    shape_text(shape, tensor->shape);
    if (__builtin_mul_overflow(count, bits, &all)) return err_set(err, "shape %s overflows", shape);
    if (bits && (all % 8 || all / 8 != end - begin))
        return err_set(err, "%s of shape %s takes %zu bytes, its data_offsets [%zu, %zu] hold %zu",
                       dtype, shape, all / 8 + (all % 8 != 0), begin, end, end - begin);
    return 0;
}

static int read_offsets(const json_t *offsets, size_t data_bytes, size_t *begin, size_t *end,
                        err_t *err) {
    if (!json_is_array(offsets) || json_array_size(offsets) != 2)
        return err_set(err, "data_offsets is missing or not a list of two");
    if (read_size(json_array_get(offsets, 0), "data_offsets", begin, err) != 0) return -1;
    if (read_size(json_array_get(offsets, 1), "data_offsets", end, err) != 0) return -1;
    if (*begin > *end) return err_set(err, "data_offsets [%zu, %zu] are reversed", *begin, *end);
    if (*end > data_bytes)
        return err_set(err,
                       "data_offsets [%zu, %zu] end after the file's %zu bytes of data: truncated",
                       *begin, *end, data_bytes);
    return 0;
}

static int read_tensor(const json_t *entry, const unsigned char *data, size_t data_bytes,
                       st_tensor_t *tensor, bool partly, err_t *err) {
    size_t begin = 0, end = 0, count = 0, ndim = 0;
    if (!json_is_object(entry)) return err_set(err, "entry is not an object");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype) return err_set(err, "dtype is missing or not a string");
    size_t bits = find_type(tensor, dtype);
    if (tensor->unread && !partly) return refuse_unread(tensor, err);
    if (read_shape(json_object_get(entry, "shape"), &tensor->shape, &ndim, &count, err) != 0)
        return -1;
    if (ndim > SHAPE_DIMS && !tensor->unread)
        tensor->unread =
            xasprintf("shape has %zu dimensions, at most %d are read", ndim, SHAPE_DIMS);
    if (tensor->unread && !partly) return err_set(err, "%s", tensor->unread);
    if (read_offsets(json_object_get(entry, "data_offsets"), data_bytes, &begin, &end, err) != 0 ||
        check_bytes(tensor, dtype, bits, count, begin, end, err) != 0)
        return -1;
    tensor->data = data + begin;
    tensor->bytes = end - begin;
    return 0;
}

static int read_tensors(st_file_t *file, size_t header_bytes, err_t *err) {
    const unsigned char *data = file->map + LENGTH_BYTES + header_bytes;
    size_t data_bytes = file->bytes - LENGTH_BYTES - header_bytes;
    const char *name;
    json_t *entry;
    file->tensors = xcalloc(json_object_size(file->header) + 1, sizeof *file->tensors);
    json_object_foreach(file->header, name, entry) {
        char shown[SHOWN_TEXT];
        if (strcmp(name, "__metadata__") == 0) {
            if (check_metadata(file, entry, err) != 0) return -1;
            continue;
        }
        st_tensor_t *tensor = &file->tensors[file->count];
        tensor->name = name;
        if (read_tensor(entry, data, data_bytes, tensor, file->partly, err) != 0) {
            free(tensor->unread);
            tensor->unread = NULL;
            return err_prefix(err, "%s: tensor '%s'", file->path, text_shown(shown, name));
        }
        file->count++;
    }
    return 0;
}

/* ---- the data -------------------------------------------------------------------------------- */

/* By place in the file; an empty tensor stands before the full one at the same place. */
static int by_offset(const st_tensor_t *a, const st_tensor_t *b) {
    uintptr_t at = (uintptr_t)a->data, bt = (uintptr_t)b->data;
    if (at != bt) return at < bt ? -1 : 1;
    return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

/* A merge sort, because it is stable: empty tensors at one place keep the header's order. */
static void sort_tensors(st_tensor_t *tensors, st_tensor_t *work, size_t count) {
    if (count < 2) return;
    size_t half = count / 2, i = 0, j = half, n = 0;
    sort_tensors(tensors, work, half);
    sort_tensors(tensors + half, work, count - half);
    while (i < half && j < count)
        work[n++] = by_offset(&tensors[j], &tensors[i]) < 0 ? tensors[j++] : tensors[i++];
    while (i < half) work[n++] = tensors[i++];
    memcpy(tensors, work, n * sizeof *tensors);
}

static int check_layout(const st_file_t *file, size_t header_bytes, err_t *err) {
    const unsigned char *start = file->map + LENGTH_BYTES + header_bytes, *end = start;
    char shown[SHOWN_TEXT];
    for (size_t i = 0; i < file->count; i++) {
        const st_tensor_t *tensor = &file->tensors[i];
        const unsigned char *data = tensor->data;
        if (data != end)
            return err_set(
                err, "%s: tensor '%s': its data at %zu %s, the data before it ends at %zu",
                file->path, text_shown(shown, tensor->name), (size_t)(data - start),
                data < end ? "overlaps its neighbour's" : "leaves a hole", (size_t)(end - start));
        end = data + tensor->bytes;
    }
    if (end != file->map + file->bytes)
        return err_set(err, "%s: %zu trailing bytes after the last tensor", file->path,
                       (size_t)(file->map + file->bytes - end));
    return 0;
}

/* Those that are unread to the end, both parts in their order. */
static void set_apart(st_file_t *file, st_tensor_t *work) {
    size_t all = file->count;
    file->count = 0;
    for (size_t i = 0; i < all; i++)
        if (file->tensors[i].unread)
            work[file->unread++] = file->tensors[i];
        else
            file->tensors[file->count++] = file->tensors[i];
    memcpy(file->tensors + file->count, work, file->unread * sizeof *work);
}

/* ---- the interface --------------------------------------------------------------------------- */

/* The private mapping is changed, not the file. */
static void turn_bytes(st_file_t *file) {
    const unsigned char *first = file->map;
    for (size_t i = 0; i < file->count; i++) {
        const st_tensor_t *t = &file->tensors[i];
        size_t at = (size_t)((const unsigned char *)t->data - first);
        dtype_swap_bytes(file->map + at, t->dtype, shape_count(t->shape));
    }
}

static int load(st_file_t *file, err_t *err) {
    uint64_t header_bytes = 0;
    if (map_file(file, err) != 0 || check_frame(file, &header_bytes, err) != 0) return -1;
    if (parse_json(file, (size_t)header_bytes, err) != 0) return -1;
    if (read_tensors(file, (size_t)header_bytes, err) != 0) return -1;
    st_tensor_t *work = xcalloc(file->count + 1, sizeof *work);
    sort_tensors(file->tensors, work, file->count);
    int status = check_layout(file, (size_t)header_bytes, err);
    if (status == 0) set_apart(file, work);
    free(work);
    for (size_t i = 0; status == 0 && i < file->count; i++)
        name_id(&file->names, file->tensors[i].name);
    if (status == 0 && !dtype_order_is_ours(0)) turn_bytes(file);
    return status;
}

static int open_file(st_file_t **file, const char *path, bool partly, err_t *err) {
    *file = NULL;
    st_file_t *opened = xcalloc(1, sizeof *opened);
    opened->path = xstrdup(path);
    opened->partly = partly;
    if (load(opened, err) != 0) {
        st_close(opened);
        return -1;
    }
    *file = opened;
    return 0;
}

int st_open(st_file_t **file, const char *path, err_t *err) {
    return open_file(file, path, false, err);
}

int st_open_partly(st_file_t **file, const char *path, err_t *err) {
    return open_file(file, path, true, err);
}

void st_close(st_file_t *file) {
    if (!file) return;
    for (size_t i = 0; i < file->count + file->unread; i++) free(file->tensors[i].unread);
    if (file->map) munmap(file->map, file->bytes);
    json_decref(file->header);
    free(file->tensors);
    name_ids_free(&file->names);
    free(file->path);
    free(file);
}

const char *st_path(const st_file_t *file) {
    return file->path;
}

size_t st_count(const st_file_t *file) {
    return file->count;
}

const st_tensor_t *st_at(const st_file_t *file, size_t index) {
    REQUIRE(index < file->count, "st_at: %s has %zu tensors, not %zu", file->path, file->count,
            index);
    return &file->tensors[index];
}

size_t st_unread_count(const st_file_t *file) {
    return file->unread;
}

const st_tensor_t *st_unread_at(const st_file_t *file, size_t index) {
    REQUIRE(index < file->unread, "st_unread_at: %s has %zu such tensors, not %zu", file->path,
            file->unread, index);
    return &file->tensors[file->count + index];
}

const st_tensor_t *st_find(const st_file_t *file, const char *name) {
    size_t index = name_id_of(&file->names, name);
    return index == SIZE_MAX ? NULL : &file->tensors[index];
}

const char *st_metadata(const st_file_t *file, const char *key) {
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

void st_metadata_each(const st_file_t *file,
                      void (*visit)(void *who, const char *key, const char *value), void *who) {
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(file->header, "__metadata__"), key, value) {
        visit(who, key, json_string_value(value));
    }
}

/* Of a private mapping that nobody wrote to, only the page table entries go; what turn_bytes wrote would be
 * lost. */
static void forget(unsigned char *from, size_t bytes) {
    if (dtype_order_is_ours(0)) (void)madvise(from, bytes, MADV_DONTNEED);
}

void st_forget(const st_file_t *file) {
    forget(file->map, file->bytes);
}

void st_forget_tensor(const st_file_t *file, const st_tensor_t *tensor) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t at = (size_t)((const unsigned char *)tensor->data - file->map);
    size_t from = (at + page - 1) / page * page, to = (at + tensor->bytes) / page * page;
    if (from < to) forget(file->map + from, to - from);
}
