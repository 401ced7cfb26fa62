/* json.c - see json.h. */
#include "io/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

struct json_file {
    char *path;
    json_t *root;
};

/* What jansson 2.14 and glibc take for the value or the pair that a character begins, measured and rounded
 * up; the text of strings is counted by its bytes. */
static size_t memory_of(char c) {
    switch (c) {
    case '{': return 240;
    case '[': return 160;
    case ':': return 100;
    case ',': return 48;
    default: return 0;
    }
}

int json_check_memory(const char *path, const char *text, size_t bytes, err_t *err) {
    size_t memory = bytes;
    bool in_string = false;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '"') in_string = !in_string;
        if (in_string)
            i += text[i] == '\\';
        else
            memory += memory_of(text[i]);
    }
    if (memory <= JSON_MEMORY_MAX) return 0;
    return err_set(err,
                   "%s: its JSON would take about %zu MiB in memory, at most %d are given to it",
                   path, memory >> 20, JSON_MEMORY_MAX >> 20);
}

int json_parse(json_t **value, const char *path, const char *text, size_t bytes, size_t flags,
               err_t *err) {
    json_error_t where;
    char shown[SHOWN_TEXT];
    *value = NULL;
    if (json_check_memory(path, text, bytes, err)) return -1;
    *value = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | flags, &where);
    if (*value) return 0;
    return err_set(err, "%s:%d:%d: not JSON: %s", path, where.line, where.column,
                   bytes ? text_shown(shown, where.text) : "the file is empty");
}

int json_file_parse(json_file_t **file, const char *path, const char *text, size_t bytes,
                    err_t *err) {
    json_t *root;
    *file = NULL;
    if (json_parse(&root, path, text, bytes, JSON_DECODE_ANY, err)) return -1;
    json_file_t *opened = xcalloc(1, sizeof *opened);
    opened->path = xstrdup(path);
    opened->root = root;
    *file = opened;
    return 0;
}

int json_file_open(json_file_t **file, const char *path, err_t *err) {
    char *text;
    size_t bytes;
    *file = NULL;
    if (file_read(path, JSON_FILE_MAX, &text, &bytes, err)) return -1;
    int status = json_file_parse(file, path, text, bytes, err);
    free(text);
    return status;
}

void json_file_close(json_file_t *file) {
    if (!file) return;
    json_decref(file->root);
    free(file->path);
    free(file);
}

json_node_t json_file_root(const json_file_t *file) {
    return (json_node_t){.path = file->path, .value = file->root, .where = ""};
}

bool json_node_has(json_node_t node, const char *key) {
    const json_t *value = json_object_get(node.value, key);
    return value && !json_is_null(value);
}

#undef json_node_error /* in the analyser only, see json.h */

int json_node_error(json_node_t node, const char *key, err_t *err, const char *format, ...) {
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return err_set(err, "%s%s%s%s: %s", node.path ? node.path : "", node.path ? ": " : "",
                   node.where, key, message);
}

/* A value as a message shows it: 3, "text", a list ... */
static const char *found(char text[SHOWN_TEXT], const json_t *value) {
    if (json_is_object(value)) return "an object";
    if (json_is_array(value)) return "a list";
    char *dump = json_dumps(value, JSON_ENCODE_ANY);
    text_shown(text, dump ? dump : "something");
    free(dump);
    return text;
}

static int refuse(json_node_t node, const char *key, const char *expected, const json_t *value,
                  err_t *err) {
    char text[SHOWN_TEXT];
    return json_node_error(node, key, err, "expected %s, found %s", expected, found(text, value));
}

/* The value under a key that must be there. */
static int get(json_node_t node, const char *key, const char *expected, json_t **value,
               err_t *err) {
    if (!json_is_object(node.value))
        return json_node_error(node, key, err, "expected in an object, found no object around it");
    *value = json_object_get(node.value, key);
    if (!*value) return json_node_error(node, key, err, "is missing (expected %s)", expected);
    if (json_is_null(*value))
        return json_node_error(node, key, err, "is null (expected %s)", expected);
    return 0;
}

/* ---- single values --------------------------------------------------------------------------- */

static bool integer_in(const json_t *value, int64_t min, int64_t max, int64_t *out) {
    if (!json_is_integer(value)) return false;
    *out = (int64_t)json_integer_value(value);
    return *out >= min && *out <= max;
}

static const char *range_text(char text[SHOWN_TEXT], int64_t min, int64_t max) {
    if (min == INT64_MIN && max == INT64_MAX)
        snprintf(text, SHOWN_TEXT, "an integer");
    else if (max == INT64_MAX)
        snprintf(text, SHOWN_TEXT, "an integer from %lld on", (long long)min);
    else
        snprintf(text, SHOWN_TEXT, "an integer from %lld to %lld", (long long)min, (long long)max);
    return text;
}

int json_get_int(json_node_t node, const char *key, int64_t min, int64_t max, int64_t *out,
                 err_t *err) {
    char expected[SHOWN_TEXT];
    json_t *value = NULL;
    int64_t number = 0;
    range_text(expected, min, max);
    if (get(node, key, expected, &value, err) != 0) return -1;
    if (!integer_in(value, min, max, &number)) return refuse(node, key, expected, value, err);
    *out = number;
    return 0;
}

/* A size is an integer that is never negative, for a variable that never is. */
int json_get_size(json_node_t node, const char *key, size_t min, size_t max, size_t *out,
                  err_t *err) {
    int64_t number = 0;
    if (json_get_int(node, key, (int64_t)min, (int64_t)max, &number, err)) return -1;
    *out = (size_t)number;
    return 0;
}

int json_get_double(json_node_t node, const char *key, double *out, err_t *err) {
    json_t *value = NULL;
    if (get(node, key, "a number", &value, err) != 0) return -1;
    if (!json_is_number(value)) return refuse(node, key, "a number", value, err);
    *out = json_number_value(value);
    return 0;
}

int json_get_bool(json_node_t node, const char *key, bool *out, err_t *err) {
    json_t *value = NULL;
    if (get(node, key, "true or false", &value, err) != 0) return -1;
    if (!json_is_boolean(value)) return refuse(node, key, "true or false", value, err);
    *out = json_is_true(value);
    return 0;
}

int json_get_string(json_node_t node, const char *key, const char **out, err_t *err) {
    json_t *value = NULL;
    if (get(node, key, "a string", &value, err) != 0) return -1;
    if (!json_is_string(value)) return refuse(node, key, "a string", value, err);
    *out = json_string_value(value);
    return 0;
}

int json_get_name(json_node_t node, const char *key, const char **out, err_t *err) {
    if (json_get_string(node, key, out, err)) return -1;
    const char *defect = text_defect(*out);
    char shown[SHOWN_TEXT];
    return defect ? json_node_error(node, key, err, "'%s' %s", text_shown(shown, *out), defect) : 0;
}

/* An absent value takes the fallback; one that is there must be right. */
static bool use_fallback(json_node_t node, const char *key) {
    return json_is_object(node.value) && !json_node_has(node, key);
}

int json_get_int_or(json_node_t node, const char *key, int64_t min, int64_t max, int64_t fallback,
                    int64_t *out, err_t *err) {
    if (!use_fallback(node, key)) return json_get_int(node, key, min, max, out, err);
    *out = fallback;
    return 0;
}

int json_get_size_or(json_node_t node, const char *key, size_t min, size_t max, size_t fallback,
                     size_t *out, err_t *err) {
    if (!use_fallback(node, key)) return json_get_size(node, key, min, max, out, err);
    *out = fallback;
    return 0;
}

int json_get_double_or(json_node_t node, const char *key, double fallback, double *out,
                       err_t *err) {
    if (!use_fallback(node, key)) return json_get_double(node, key, out, err);
    *out = fallback;
    return 0;
}

int json_get_bool_or(json_node_t node, const char *key, bool fallback, bool *out, err_t *err) {
    if (!use_fallback(node, key)) return json_get_bool(node, key, out, err);
    *out = fallback;
    return 0;
}

int json_get_string_or(json_node_t node, const char *key, const char *fallback, const char **out,
                       err_t *err) {
    if (!use_fallback(node, key)) return json_get_string(node, key, out, err);
    *out = fallback;
    return 0;
}

/* ---- lists ----------------------------------------------------------------------------------- */

static int get_list(json_node_t node, const char *key, size_t least, size_t most, json_t **list,
                    err_t *err) {
    if (get(node, key, "a list", list, err) != 0) return -1;
    if (!json_is_array(*list)) return refuse(node, key, "a list", *list, err);
    size_t count = json_array_size(*list);
    if (count >= least && count <= most) return 0;
    if (least == most)
        return json_node_error(node, key, err, "expected a list of %zu, found %zu", least, count);
    return json_node_error(node, key, err, "expected a list of %zu to %zu, found %zu", least, most,
                           count);
}

static int refuse_item(json_node_t node, const char *key, size_t index, const char *expected,
                       const json_t *value, err_t *err) {
    char *item = xasprintf("%s[%zu]", key, index);
    refuse(node, item, expected, value, err);
    free(item);
    return -1;
}

int json_get_ints(json_node_t node, const char *key, int64_t min, int64_t max, size_t least,
                  size_t most, int64_t *out, size_t *count, err_t *err) {
    char expected[SHOWN_TEXT];
    json_t *list = NULL;
    int64_t number;
    if (get_list(node, key, least, most, &list, err) != 0) return -1;
    range_text(expected, min, max);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!integer_in(json_array_get(list, i), min, max, &number))
            return refuse_item(node, key, i, expected, json_array_get(list, i), err);
    *count = json_array_size(list);
    for (size_t i = 0; i < *count; i++)
        out[i] = (int64_t)json_integer_value(json_array_get(list, i));
    return 0;
}

int json_get_sizes(json_node_t node, const char *key, size_t max, size_t least, size_t most,
                   size_t *out, size_t *count, err_t *err) {
    int64_t number[JSON_SIZES];
    REQUIRE(most <= JSON_SIZES, "json_get_sizes: a list of %zu", most);
    if (json_get_ints(node, key, 1, (int64_t)max, least, most, number, count, err)) return -1;
    for (size_t i = 0; i < *count; i++) out[i] = (size_t)number[i];
    return 0;
}

int json_get_sizes_each_or(json_node_t node, const char *key, size_t max, size_t count,
                           size_t fallback, size_t *out, err_t *err) {
    size_t found;
    if (json_is_array(json_object_get(node.value, key)))
        return json_get_sizes(node, key, max, count, count, out, &found, err);
    if (json_get_size_or(node, key, 1, max, fallback, &found, err)) return -1;
    for (size_t i = 0; i < count; i++) out[i] = found;
    return 0;
}

int json_get_strings(json_node_t node, const char *key, size_t least, size_t most, const char **out,
                     size_t *count, err_t *err) {
    json_t *list = NULL;
    if (get_list(node, key, least, most, &list, err) != 0) return -1;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_array_get(list, i)))
            return refuse_item(node, key, i, "a string", json_array_get(list, i), err);
    *count = json_array_size(list);
    for (size_t i = 0; i < *count; i++) out[i] = json_string_value(json_array_get(list, i));
    return 0;
}

/* ---- one of several words ---------------------------------------------------------------------- */

/* *index of the word, which `value` is item `key` of the node. */
static int choose(json_node_t node, const char *key, const json_t *value, const char *const *words,
                  size_t *index, err_t *err) {
    char expected[SHOWN_TEXT] = "one of ";
    for (size_t i = 0; words[i]; i++) {
        size_t used = strlen(expected);
        if (strcmp(json_string_value(value), words[i]) == 0) return *index = i, 0;
        snprintf(expected + used, sizeof expected - used, "%s%s", i ? ", " : "", words[i]);
    }
    return refuse(node, key, expected, value, err);
}

int json_get_choice(json_node_t node, const char *key, const char *const *words, size_t *index,
                    err_t *err) {
    const char *text;
    if (json_get_string(node, key, &text, err)) return -1;
    return choose(node, key, json_object_get(node.value, key), words, index, err);
}

int json_get_choice_or(json_node_t node, const char *key, const char *const *words, size_t fallback,
                       size_t *index, err_t *err) {
    if (!use_fallback(node, key)) return json_get_choice(node, key, words, index, err);
    *index = fallback;
    return 0;
}

int json_get_choices(json_node_t node, const char *key, const char *const *words, size_t count,
                     size_t *index, err_t *err) {
    const char *text[JSON_SIZES];
    size_t found;
    REQUIRE(count <= JSON_SIZES, "json_get_choices: a list of %zu", count);
    if (json_get_strings(node, key, count, count, text, &found, err)) return -1;
    for (size_t i = 0; i < count; i++) {
        char item[SHOWN_TEXT];
        const json_t *value = json_array_get(json_object_get(node.value, key), i);
        snprintf(item, sizeof item, "%s[%zu]", key, i);
        if (choose(node, item, value, words, &index[i], err)) return -1;
    }
    return 0;
}

/* ---- objects inside -------------------------------------------------------------------------- */

int json_get_object(json_node_t node, const char *key, json_node_t *out, err_t *err) {
    json_t *value = NULL;
    if (get(node, key, "an object", &value, err) != 0) return -1;
    if (!json_is_object(value)) return refuse(node, key, "an object", value, err);
    json_node_t inside = {.path = node.path, .value = value};
    int length = snprintf(inside.where, JSON_WHERE, "%s%s.", node.where, key);
    if (length >= JSON_WHERE) return json_node_error(node, key, err, "is nested too deep");
    *out = inside;
    return 0;
}

int json_get_item(json_node_t node, const char *key, size_t index, json_node_t *out, err_t *err) {
    json_t *list = NULL;
    if (get_list(node, key, 0, SIZE_MAX, &list, err) != 0) return -1;
    json_t *value = json_array_get(list, index);
    if (!value)
        return json_node_error(node, key, err, "has no item %zu, only %zu", index,
                               json_array_size(list));
    if (!json_is_object(value)) return refuse_item(node, key, index, "an object", value, err);
    json_node_t inside = {.path = node.path, .value = value};
    int length = snprintf(inside.where, JSON_WHERE, "%s%s[%zu].", node.where, key, index);
    if (length >= JSON_WHERE) return json_node_error(node, key, err, "is nested too deep");
    *out = inside;
    return 0;
}

int json_get_length(json_node_t node, const char *key, size_t *length, err_t *err) {
    json_t *list = NULL;
    if (get_list(node, key, 0, SIZE_MAX, &list, err) != 0) return -1;
    *length = json_array_size(list);
    return 0;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

static int put_html(const char *buffer, size_t bytes, void *stream) {
    for (size_t i = 0; i < bytes; i++) {
        char c = buffer[i];
        if (c == '<' || c == '>' || c == '&')
            fprintf(stream, "\\u%04x", (unsigned)c);
        else
            fputc(c, stream);
    }
    return 0;
}

void json_write_html(const json_t *value, size_t flags, FILE *to) {
    json_dump_callback(value, put_html, to, JSON_COMPACT | JSON_ENSURE_ASCII | flags);
}
