/* config.c - see config.h. */
#include "model/config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

struct config {
    char *path;
    json_t *root;
    err_t *err;
    bool failed;
};

int config_open(config_t **out, const char *folder, const char *name, err_t *err) {
    config_t *c = xcalloc(1, sizeof *c);
    c->err = err;
    c->path = xasprintf("%s/%s", folder, name);
    json_error_t where;
    char *made = NULL;
    if (file_built_in(&made, c->path, err) < 0) {
        c->failed = true;
        config_close(c);
        *out = NULL;
        return -1;
    }
    c->root = made ? json_loads(made, JSON_REJECT_DUPLICATES, &where)
                   : json_load_file(c->path, JSON_REJECT_DUPLICATES, &where);
    free(made);
    if (!c->root && where.line < 0)
        err_set(err, "%s: %s. A diffusers model folder has this file.", c->path, where.text);
    else if (!c->root)
        err_set(err, "%s: line %d, column %d: %s", c->path, where.line, where.column, where.text);
    else if (!json_is_object(c->root))
        err_set(err, "%s: expected a JSON object", c->path);
    else
        return *out = c, 0;
    c->failed = true;
    config_close(c);
    *out = NULL;
    return -1;
}

int config_close(config_t *c) {
    int status = c->failed ? -1 : 0;
    json_decref(c->root);
    free(c->path);
    free(c);
    return status;
}

void config_fail(config_t *c, const char *key, const char *expected) {
    if (c->failed) return;
    c->failed = true;
    const json_t *value = json_object_get(c->root, key);
    char *found = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    err_set(c->err, "%s: '%s': expected %s, found %.200s", c->path, key, expected,
            found ? found : "nothing");
    free(found);
}

/* NULL when absent, null, or after a failure. */
static const json_t *get(const config_t *c, const char *key) {
    const json_t *value = c->failed ? NULL : json_object_get(c->root, key);
    return json_is_null(value) ? NULL : value;
}

bool config_ok(const config_t *c) {
    return !c->failed;
}

static bool whole(const json_t *value, size_t least, size_t most, size_t *out) {
    if (!json_is_integer(value)) return false;
    json_int_t n = json_integer_value(value);
    if (n < 0 || (size_t)n < least || (size_t)n > most) return false;
    *out = (size_t)n;
    return true;
}

void config_size(config_t *c, const char *key, size_t *value, size_t least, size_t most) {
    char expected[96];
    snprintf(expected, sizeof expected, "a whole number from %zu to %zu", least, most);
    if (!whole(get(c, key), least, most, value)) config_fail(c, key, expected);
}

void config_size_or(config_t *c, const char *key, size_t *value, size_t otherwise, size_t most) {
    *value = otherwise;
    if (get(c, key)) config_size(c, key, value, 0, most);
}

void config_double(config_t *c, const char *key, double *value) {
    const json_t *found = get(c, key);
    if (json_is_number(found))
        *value = json_number_value(found);
    else
        config_fail(c, key, "a number");
}

void config_double_or(config_t *c, const char *key, double *value, double otherwise) {
    *value = otherwise;
    if (get(c, key)) config_double(c, key, value);
}

void config_bool_or(config_t *c, const char *key, bool *value, bool otherwise) {
    const json_t *found = get(c, key);
    *value = otherwise;
    if (json_is_boolean(found))
        *value = json_is_true(found);
    else if (found)
        config_fail(c, key, "true or false");
}

/* "one of A, B" of a NULL-ended list. */
static void list_choices(char *text, size_t size, const char *const *choices) {
    size_t used = (size_t)snprintf(text, size, "one of ");
    for (size_t i = 0; choices[i] && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", choices[i]);
}

static bool choose(const json_t *value, const char *const *choices, size_t *index) {
    const char *text = json_string_value(value);
    for (size_t i = 0; text && choices[i]; i++)
        if (strcmp(text, choices[i]) == 0) return *index = i, true;
    return false;
}

void config_choice(config_t *c, const char *key, const char *const *choices, size_t *value) {
    char expected[256];
    list_choices(expected, sizeof expected, choices);
    if (!choose(get(c, key), choices, value)) config_fail(c, key, expected);
}

void config_choices(config_t *c, const char *key, const char *const *choices, size_t *values,
                    size_t count) {
    char names[256], expected[320];
    list_choices(names, sizeof names, choices);
    snprintf(expected, sizeof expected, "a list of %zu strings, each %s", count, names);
    const json_t *list = get(c, key);
    bool good = json_is_array(list) && json_array_size(list) == count;
    for (size_t i = 0; good && i < count; i++)
        good = choose(json_array_get(list, i), choices, &values[i]);
    if (!good) config_fail(c, key, expected);
}

enum { MOST = 1 << 20 };

void config_sizes(config_t *c, const char *key, size_t *values, size_t *count, size_t room) {
    char expected[96];
    snprintf(expected, sizeof expected, "a list of 1 to %zu whole numbers above 0", room);
    const json_t *list = get(c, key);
    *count = json_array_size(list);
    bool good = *count >= 1 && *count <= room;
    for (size_t i = 0; good && i < *count; i++)
        good = whole(json_array_get(list, i), 1, MOST, &values[i]);
    if (good) return;
    *count = 0;
    config_fail(c, key, expected);
}

void config_sizes_or(config_t *c, const char *key, size_t *values, size_t count, size_t otherwise) {
    char expected[96];
    snprintf(expected, sizeof expected, "a whole number above 0, or a list of %zu", count);
    const json_t *found = get(c, key);
    bool list = json_is_array(found), good = !list || json_array_size(found) == count;
    for (size_t i = 0; good && i < count; i++) {
        values[i] = otherwise;
        if (found) good = whole(list ? json_array_get(found, i) : found, 1, MOST, &values[i]);
    }
    if (!good) config_fail(c, key, expected);
}

const char *config_item(config_t *c, const char *key, size_t index) {
    return json_string_value(json_array_get(get(c, key), index));
}

void config_keys(config_t *c, const config_key_t *table, char unknown[CONFIG_UNKNOWN]) {
    unknown[0] = '\0';
    if (!c->failed && config_keys_check(c->root, table, c->path, unknown, c->err)) c->failed = true;
}
