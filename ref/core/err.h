/* err.h - two kinds of trouble, two answers.
 *
 * Bad input (a file, a prompt, an option): the function returns non-zero and fills the caller's err_t
 * with one sentence: file, tensor, expected, found, what to do. Nothing is printed below ref/cli.
 *
 * A broken contract inside the program: REQUIRE prints operation and shapes and aborts. It stays on in
 * every build, because a reference that computes nonsense quietly is worth nothing. */
#ifndef MOLE_CORE_ERR_H
#define MOLE_CORE_ERR_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    char text[2048];
} err_t;

/* Write the message and return -1, so that a loader can `return err_set(err, ...)`. err may be NULL. */
int err_set(err_t *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put "prefix: " in front of the message that err already holds; return -1. */
int err_prefix(err_t *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__
/* make lint: the analyser sees one file at a time, and has to be told what these two return. */
static inline int err_returns(int status) {
    (void)status;
    return -1;
}
#define err_set(...)    err_returns(err_set(__VA_ARGS__))
#define err_prefix(...) err_returns(err_prefix(__VA_ARGS__))
#endif

_Noreturn void require_failed(const char *file, int line, const char *condition, const char *format,
                              ...) __attribute__((format(printf, 4, 5)));

#define REQUIRE(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition)) require_failed(__FILE__, __LINE__, #condition, __VA_ARGS__);             \
    } while (0)

/* malloc, calloc and strdup that never return NULL: running out of heap ends the program with a
 * message. For small bookkeeping only; file-sized requests are checked by their callers. */
void *xmalloc(size_t bytes);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *p, size_t bytes);
char *xstrdup(const char *text);
/* printf into fresh memory; the caller frees it. */
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Whether the text ends so. */
bool text_ends(const char *text, const char *ending);

#endif
