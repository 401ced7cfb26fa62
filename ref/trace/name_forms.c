/* name_forms.c - see name_forms.h. */
#include "trace/name_forms.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/err.h"
#include "core/tap_name.h"
#include "trace/names_internal.h"

/* torch.compile, DataParallel, PEFT (two), FSDP, activation checkpointing, DeepSpeed. */
const char *const name_wrappers[NAME_WRAPPERS] = {"_orig_mod",
                                                  "module",
                                                  "base_layer",
                                                  "base_model",
                                                  "_fsdp_wrapped_module",
                                                  "_checkpoint_wrapped_module",
                                                  "_forward_module"};

/* Which wrapper an element is, or NAME_WRAPPERS. */
static size_t wrapper_at(const char *element, size_t length) {
    size_t i = 0;
    while (i < NAME_WRAPPERS &&
           (strncmp(element, name_wrappers[i], length) != 0 || name_wrappers[i][length] != '\0'))
        i++;
    return i;
}

static char *without_wrappers(const char *name, unsigned *wrappers) {
    char *out = xmalloc(strlen(name) + 1), *to = out;
    for (const char *at = name; *at;) {
        size_t length = strcspn(at, "./"), i = wrapper_at(at, length);
        bool ends = !at[length];
        if (i < NAME_WRAPPERS) {
            *wrappers |= 1u << i;
        } else {
            memcpy(to, at, length + !ends);
            to += length + !ends;
        }
        at += length + !ends;
    }
    if (*wrappers && to > out && strchr("./", to[-1])) to--; /* the last element was one */
    *to = '\0';
    return out;
}

size_t name_before(const char *name, const char *const *endings, size_t count) {
    size_t length = strlen(name);
    if (length > 2 && name[length - 1] == '0' && strchr("./_", name[length - 2])) length -= 2;
    for (size_t i = 0; i < count; i++) {
        size_t tail = strlen(endings[i]);
        if (length > tail + 1 && memcmp(name + length - tail, endings[i], tail) == 0 &&
            strchr("./_", name[length - tail - 1]))
            return length - tail - 1;
    }
    return 0;
}

name_forms_t name_forms(const char *name) {
    name_forms_t f = {.forms = 1};
    f.form[0] = without_wrappers(name, &f.wrappers);
    static const char *const endings[] = {"output", "outputs", "out", "result"};
    size_t length = name_before(f.form[0], endings, sizeof endings / sizeof *endings);
    if (length) f.form[f.forms++] = xasprintf("%.*s", (int)length, f.form[0]);
    return f;
}

void name_forms_free(name_forms_t *f) {
    for (size_t i = 0; i < f->forms; i++) free(f->form[i]);
    f->forms = 0;
}

size_t name_pass(const char *name, bool slashes_part_words) {
    size_t step = tap_step_length(name);
    const char *last = slashes_part_words ? NULL : strrchr(name + step, '/');
    return last ? (size_t)(last - name) + 1 : step;
}

bool name_has_pass(const char *name) {
    const char *slash = strchr(name + tap_step_length(name), '/');
    return slash && strchr(slash, '.');
}

char *name_words(const char *name, bool slashes_part_words) {
    size_t pass = name_pass(name, slashes_part_words), used = pass;
    char *out = xmalloc(2 * strlen(name) + 2);
    memcpy(out, name, pass);
    bool inside = false;
    for (const char *p = name + pass; *p; p++) {
        bool letter = isalnum((unsigned char)*p) || (unsigned char)*p >= 0x80;
        if (letter && !inside) out[used++] = '_';
        if (letter) out[used++] = *p;
        inside = letter;
    }
    out[used] = '\0';
    return out;
}
