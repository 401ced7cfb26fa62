/* api_check.c - see api_check.h. */
#include "api/api_check.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

_Static_assert(sizeof(mole_error_t) == sizeof(err_t), "mole_error_t and err_t are one thing");

err_t *api_err(mole_error_t *error) {
    return (err_t *)(void *)error;
}

check_t check_start(const char *function, mole_error_t *error) {
    return (check_t){.function = function, .err = api_err(error)};
}

void check_that(check_t *check, bool condition, const char *format, ...) {
    if (condition || check->failed) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    err_set(check->err, "%s: %s", check->function, text);
    check->failed = true;
}

/* Bytes of the tensor; 0 after a complaint. */
static size_t tensor_bytes(check_t *check, const char *name, const void *data, shape_t shape,
                           size_t size) {
    char text[SHAPE_TEXT];
    size_t count = 0;
    for (int i = 0; i < shape.ndim; i++)
        check_that(check, shape.dim[i] >= 1, "%s is %s: every dimension must be at least 1", name,
                   shape_text(text, shape));
    bool fits = shape_count_checked(shape, &count) && count <= PTRDIFF_MAX / size;
    check_that(check, fits, "%s is %s: more numbers than memory has addresses", name,
               shape_text(text, shape));
    check_that(check, data != NULL, "%s is NULL, expected %s numbers", name,
               shape_text(text, shape));
    return check->failed ? 0 : count * size;
}

void check_out(check_t *check, const char *name, const void *out, shape_t shape, size_t size) {
    size_t bytes = tensor_bytes(check, name, out, shape, size);
    if (check->failed) return;
    check->out_name = name;
    check->out = out;
    check->out_end = check->out + bytes;
}

static void input(check_t *check, const char *name, const void *in, shape_t shape, size_t size,
                  bool in_place) {
    size_t bytes = tensor_bytes(check, name, in, shape, size);
    if (check->failed || !check->out) return;
    const char *first = in, *end = first + bytes;
    bool apart = end <= check->out || check->out_end <= first;
    bool same = first == check->out && end == check->out_end;
    check_that(check, apart || (in_place && same), "%s overlaps %s%s", name, check->out_name,
               in_place ? " and is not the same tensor" : "");
}

void check_in(check_t *check, const char *name, const void *in, shape_t shape, size_t size) {
    input(check, name, in, shape, size, false);
}

void check_in_place(check_t *check, const char *name, const void *in, shape_t shape, size_t size) {
    input(check, name, in, shape, size, true);
}

void check_in_or_null(check_t *check, const char *name, const void *in, shape_t shape,
                      size_t size) {
    if (in) check_in(check, name, in, shape, size);
}

void check_how(check_t *check, mole_how_t how) {
    check_that(check, how == MOLE_BLAS || how == MOLE_PLAIN,
               "how is %d, expected MOLE_BLAS or MOLE_PLAIN", (int)how);
}

matmul_way_t api_how(mole_how_t how) {
    return how == MOLE_PLAIN ? MATMUL_PLAIN : MATMUL_BLAS;
}

int check_result(const check_t *check) {
    return check->failed ? -1 : 0;
}

mole_real_t *check_scratch(check_t *check, size_t count) {
    if (check->failed) return NULL;
    mole_real_t *scratch = NULL;
    if (count <= PTRDIFF_MAX / sizeof *scratch)
        scratch = malloc((count ? count : 1) * sizeof *scratch);
    check_that(check, scratch != NULL, "no memory for %zu numbers of scratch", count);
    return scratch;
}
