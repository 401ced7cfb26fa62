/* api_check.h - the checks that stand between a caller of the library and a REQUIRE.
 *
 * The room api is the shared library: mole.h, and behind it one thin layer that checks the arguments, brings
 * memory into the order that operations want, and calls them. Golden cases of single operations and `mole
 * replay op.NAME` run the same functions, through op_table.h.
 *
 * A broken contract inside the reference aborts, which is right for a program of ours and wrong for
 * somebody's test process: whatever can be seen in the arguments is refused here, with a sentence.
 * Checks are a straight line; the first complaint sticks and later ones do nothing. */
#ifndef MOLE_API_API_CHECK_H
#define MOLE_API_API_CHECK_H

#include <stdbool.h>

#include "api/mole.h"
#include "core/err.h"
#include "core/shape.h"
#include "ops/ops.h"

typedef struct {
    const char *function; /* "group_norm": what messages start with */
    err_t *err;
    const char *out_name; /* the output: inputs may not overlap it */
    const char *out, *out_end;
    bool failed;
} check_t;

/* The caller's error as the err_t that the other rooms fill: the same memory. NULL stays NULL. */
err_t *api_err(mole_error_t *error);

check_t check_start(const char *function, mole_error_t *error);
/* `condition` holds, or the message, in printf's way. */
void check_that(check_t *check, bool condition, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Every dimension is at least 1, the tensor's bytes fit size_t, and the pointer is not NULL. */
void check_out(check_t *check, const char *name, const void *out, shape_t shape, size_t size);
/* The same for an input, which does not overlap the output... */
void check_in(check_t *check, const char *name, const void *in, shape_t shape, size_t size);
/* ... or is the output, from its first number to its last. */
void check_in_place(check_t *check, const char *name, const void *in, shape_t shape, size_t size);
/* An input that may be NULL. */
void check_in_or_null(check_t *check, const char *name, const void *in, shape_t shape, size_t size);

/* One of the two ways of multiplying. */
void check_how(check_t *check, mole_how_t how);
matmul_way_t api_how(mole_how_t how);

/* 0, or -1 when something was wrong. */
int check_result(const check_t *check);

/* Scratch of count numbers; NULL and a complaint when there is no such memory. free() frees it. */
mole_real_t *check_scratch(check_t *check, size_t count);

#endif
