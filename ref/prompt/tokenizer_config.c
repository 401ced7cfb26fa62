/* tokenizer_config.c - see tokenizer_config.h. */
#include "prompt/tokenizer_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "io/source.h"

enum { SMALL_FILE_MAX = 4 << 20 };

#define CONFIG_FILE "tokenizer_config.json"
#define MAP_FILE    "special_tokens_map.json"
#define ADDED_FILE  "added_tokens.json"

const char *const token_names[TOKEN_NAMES] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                              "pad_token", "cls_token", "mask_token"};

static const char *const clip_default[TOKEN_NAMES] = {
    [TOKEN_BOS] = "<|startoftext|>",
    [TOKEN_EOS] = "<|endoftext|>",
    [TOKEN_UNK] = "<|endoftext|>",
    [TOKEN_PAD] = "<|endoftext|>",
};
enum { CLIP_MAX_LENGTH = 77 };

/* ---- files ----------------------------------------------------------------------------- */

int tokenizer_json(json_t **json, const char *folder, const char *name, size_t limit, err_t *err) {
    char *text, *path = file_join(folder, name);
    size_t length;
    *json = NULL;
    int status = source_read(path, limit, &text, &length, err);
    /* Integers as reals: an unset model_max_length reads 10^30. Ids stay exact. */
    if (text) status = json_parse(json, path, text, length, JSON_DECODE_INT_AS_REAL, err);
    if (*json && !json_is_object(*json)) {
        status = err_set(err, "%s: expected a JSON object", path);
        json_decref(*json);
        *json = NULL;
    }
    free(text);
    free(path);
    return status;
}

/* ---- tokens ---------------------------------------------------------------------------- */

/* A string, or an object with "content". `special` decides "normalized" where the object does not. */
static int parse_token(added_token_t *token, const json_t *value, bool special, const char *where,
                       const char *key, err_t *err) {
    *token = (added_token_t){.id = -1, .is_object = json_is_object(value)};
    const json_t *content = token->is_object ? json_object_get(value, "content") : value;
    if (!json_is_string(content) || json_string_length(content) == 0) {
        err_set(err, "%s: \"%s\": expected a token, a string or {\"content\": \"...\"}", where,
                key);
        return -1;
    }
    if (token->is_object) {
        const json_t *stated = json_object_get(value, "special");
        const json_t *normalized = json_object_get(value, "normalized");
        if (json_is_boolean(stated)) special = json_is_true(stated);
        token->normalized = json_is_boolean(normalized) ? json_is_true(normalized) : !special;
        if (json_is_true(json_object_get(value, "single_word"))) {
            err_set(err, "%s: \"%s\": single_word tokens are not supported", where, key);
            return -1;
        }
    }
    token->content = xstrdup(json_string_value(content));
    return 0;
}

static bool same_token(const added_token_t *a, const added_token_t *b) {
    return strcmp(a->content, b->content) == 0 && a->normalized == b->normalized &&
           a->is_object == b->is_object;
}

/* Takes the token's content. */
static int append(tokenizer_config_t *config, added_token_t token, const char *where, err_t *err) {
    if (config->count == ADDED_TOKENS_MAX) {
        free(token.content);
        return err_set(err, "%s: more than %d added tokens", where, ADDED_TOKENS_MAX);
    }
    size_t bytes = (config->count + 1) * sizeof *config->added;
    config->added = xrealloc(config->added, bytes);
    config->added[config->count++] = token;
    return 0;
}

/* An added token with the id that the file gives it; a later file replaces the same id. */
static int append_numbered(tokenizer_config_t *config, const json_t *value, double id, bool special,
                           const char *where, const char *key, err_t *err) {
    added_token_t token;
    if (!(id >= 0 && id < 1 << 30) || id != (double)(int64_t)id)
        return err_set(err, "%s: \"%s\": expected a token id, found %g", where, key, id);
    if (parse_token(&token, value, special, where, key, err)) return -1;
    token.id = (int64_t)id;
    for (size_t i = 0; i < config->count; i++) {
        if (config->added[i].id != token.id) continue;
        free(config->added[i].content);
        config->added[i] = token;
        return 0;
    }
    return append(config, token, where, err);
}

static int read_decoder(tokenizer_config_t *config, const json_t *decoder, const char *where,
                        err_t *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)decoder, key, value) {
        char *end;
        double id = strtod(key, &end);
        if (!*key || *end)
            return err_set(err, "%s: added_tokens_decoder: \"%s\" is not a token id", where, key);
        if (append_numbered(config, value, id, false, where, key, err)) return -1;
    }
    return 0;
}

static int read_added(tokenizer_config_t *config, const json_t *map, const json_t *whole,
                      const json_t *file, const char *folder, err_t *err) {
    const char *key;
    json_t *value;
    char *where = xasprintf("%s/" ADDED_FILE, folder);
    int status = 0;
    json_object_foreach((json_t *)file, key, value) {
        bool special = false;
        for (int i = 0; i < TOKEN_NAMES; i++) {
            const json_t *named = json_object_get(map, token_names[i]);
            if (json_is_object(named)) named = json_object_get(named, "content");
            if (json_is_string(named) && strcmp(json_string_value(named), key) == 0) special = true;
        }
        json_t *token = json_pack("{s:s,s:b}", "content", key, "normalized", !special);
        double id = json_is_number(value) ? json_number_value(value) : -1;
        status = append_numbered(config, token, id, special, where, key, err);
        json_decref(token);
        if (status) break;
    }
    free(where);
    if (status || !whole) return status;

    where = xasprintf("%s/tokenizer.json: added_tokens", folder);
    size_t i;
    json_array_foreach((json_t *)json_object_get(whole, "added_tokens"), i, value) {
        const json_t *number = json_object_get(value, "id");
        double id = json_is_number(number) ? json_number_value(number) : -1;
        status = append_numbered(config, value, id, false, where, "id", err);
        if (status) break;
    }
    free(where);
    return status;
}

static int by_id(const void *a, const void *b) {
    const added_token_t *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Append a token that is not one of the first `numbered`, nor there already with the same flags. */
static int append_unnumbered(tokenizer_config_t *config, added_token_t token, size_t numbered,
                             const char *where, err_t *err) {
    for (size_t i = 0; i < config->count; i++) {
        const added_token_t *other = &config->added[i];
        bool there =
            i < numbered ? strcmp(other->content, token.content) == 0 : same_token(other, &token);
        if (there) {
            free(token.content);
            return 0;
        }
    }
    return append(config, token, where, err);
}

static void note_default(tokenizer_config_t *config, const char *name) {
    size_t used = strlen(config->defaults);
    snprintf(config->defaults + used, sizeof config->defaults - used, "%s%s", used ? ", " : "",
             name);
}

/* bos_token and its like: from the map, else from the configuration, else CLIP's. */
static int read_named(tokenizer_config_t *config, const json_t *settings, const json_t *map,
                      size_t numbered, const char *folder, err_t *err) {
    for (int i = 0; i < TOKEN_NAMES; i++) {
        const json_t *value = json_object_get(map, token_names[i]);
        bool special = value != NULL;
        char where[600];
        snprintf(where, sizeof where, "%.500s/%s", folder, value ? MAP_FILE : CONFIG_FILE);
        if (!value) value = json_object_get(settings, token_names[i]);
        added_token_t token = {.id = -1};
        if (!value && clip_default[i]) {
            token.content = xstrdup(clip_default[i]);
            note_default(config, token_names[i]);
        } else if (!value || (json_is_null(value) && !clip_default[i])) {
            continue;
        } else if (parse_token(&token, value, special, where, token_names[i], err)) {
            return -1;
        }
        config->named[i] = xstrdup(token.content);
        if (append_unnumbered(config, token, numbered, where, err)) return -1;
    }
    return 0;
}

static int read_extra(tokenizer_config_t *config, const json_t *from, const char *key,
                      size_t numbered, const char *where, err_t *err) {
    const json_t *list = json_object_get(from, key);
    bool empty = !list || json_is_null(list) || (json_is_object(list) && !json_object_size(list));
    if (!empty && !json_is_array(list))
        return err_set(err, "%s: \"%s\": expected a list of tokens", where, key);
    for (size_t i = 0; i < json_array_size(list); i++) {
        added_token_t token;
        if (parse_token(&token, json_array_get(list, i), true, where, key, err)) return -1;
        if (append_unnumbered(config, token, numbered, where, err)) return -1;
    }
    return 0;
}

/* ---- settings -------------------------------------------------------------------------- */

static int check_string(const json_t *settings, const char *key, const char *expected,
                        const char *other, const char *where, err_t *err) {
    const json_t *value = json_object_get(settings, key);
    const char *text = json_string_value(value);
    if (!value || json_is_null(value)) return 0;
    if (text && (strcmp(text, expected) == 0 || strcmp(text, other) == 0)) return 0;
    return err_set(err, "%s: \"%s\": expected \"%s\", found \"%s\"", where, key, expected,
                   text ? text : "(not a string)");
}

static int read_settings(tokenizer_config_t *config, const json_t *settings, const char *where,
                         err_t *err) {
    if (check_string(settings, "tokenizer_class", "CLIPTokenizer", "CLIPTokenizerFast", where, err))
        return -1;
    if (check_string(settings, "padding_side", "right", "right", where, err)) return -1;
    if (check_string(settings, "truncation_side", "right", "right", where, err)) return -1;
    if (json_is_true(json_object_get(settings, "split_special_tokens")))
        return err_set(err, "%s: \"split_special_tokens\": true is not supported", where);

    const json_t *value = json_object_get(settings, "model_max_length");
    double length = json_number_value(value);
    config->max_length = CLIP_MAX_LENGTH;
    if (!value || json_is_null(value) || length >= 1e29) { /* 10^30 stands for "not set" */
        note_default(config, "model_max_length");
        return 0;
    }
    if (!(length >= 3 && length <= ROW_LENGTH_MAX) || length != (double)(size_t)length)
        return err_set(err, "%s: \"model_max_length\": expected an integer from 3 to %d", where,
                       ROW_LENGTH_MAX);
    config->max_length = (size_t)length;
    return 0;
}

static int read_all(tokenizer_config_t *config, json_t *settings, const json_t *map,
                    const json_t *file, const json_t *whole, const char *folder, err_t *err) {
    char where[600];
    snprintf(where, sizeof where, "%.500s/" CONFIG_FILE, folder);
    json_node_t node = {.path = where, .value = settings};
    const json_t *decoder = json_object_get(settings, "added_tokens_decoder");
    int status = decoder ? read_decoder(config, decoder, where, err)
                         : read_added(config, map, whole, file, folder, err);
    if (status) return -1;
    if (decoder) map = NULL;
    size_t numbered = config->count;
    if (numbered) qsort(config->added, numbered, sizeof *config->added, by_id);
    if (read_named(config, settings, map, numbered, folder, err) ||
        read_extra(config, settings, "additional_special_tokens", numbered, where, err) ||
        read_extra(config, settings, "extra_special_tokens", numbered, where, err) ||
        read_extra(config, map, "additional_special_tokens", numbered, where, err) ||
        read_settings(config, settings, where, err) ||
        config_keys_check(node, config_keys_tokenizer, config->unknown_keys, err))
        return -1;
    return 0;
}

/* ---- tokenizer.json: how its rows are cut and filled --------------------------------------- */

/* "truncation" or "padding", where it is not null. */
static int check_direction(const json_t *whole, const char *key, const char *folder, err_t *err) {
    const json_t *direction = json_object_get(json_object_get(whole, key), "direction");
    const char *text = json_string_value(direction);
    if (!direction || (text && strcmp(text, "Right") == 0)) return 0;
    return err_set(err, "%s/tokenizer.json: \"%s.direction\": expected \"Right\", found \"%s\"",
                   folder, key, text ? text : "(not a string)");
}

/* The token that it pads with counts where no other file names one. */
static int check_pad(const tokenizer_config_t *config, const json_t *whole, const char *folder,
                     err_t *err) {
    const char *pad =
        json_string_value(json_object_get(json_object_get(whole, "padding"), "pad_token"));
    const char *ours = config->named[TOKEN_PAD];
    if (!pad || !ours || strcmp(pad, ours) == 0 || !strstr(config->defaults, "pad_token")) return 0;
    return err_set(
        err,
        "%s/tokenizer.json: \"padding.pad_token\" is \"%s\", and no pad_token of " CONFIG_FILE
        " says so: write it there, too",
        folder, pad);
}

static int check_rows(const tokenizer_config_t *config, const json_t *whole, const char *folder,
                      err_t *err) {
    return check_direction(whole, "truncation", folder, err) ||
                   check_direction(whole, "padding", folder, err) ||
                   check_pad(config, whole, folder, err)
               ? -1
               : 0;
}

int tokenizer_config_read(tokenizer_config_t *config, const char *folder, const json_t *whole,
                          err_t *err) {
    *config = (tokenizer_config_t){0};
    json_t *settings = NULL, *map = NULL, *file = NULL;
    int status = -1;
    if (!tokenizer_json(&settings, folder, CONFIG_FILE, SMALL_FILE_MAX, err) &&
        !tokenizer_json(&map, folder, MAP_FILE, SMALL_FILE_MAX, err) &&
        !tokenizer_json(&file, folder, ADDED_FILE, SMALL_FILE_MAX, err))
        status = read_all(config, settings, map, file, whole, folder, err) ||
                         check_rows(config, whole, folder, err)
                     ? -1
                     : 0;
    json_decref(settings);
    json_decref(map);
    json_decref(file);
    return status;
}

void tokenizer_config_free(tokenizer_config_t *config) {
    for (size_t i = 0; i < config->count; i++) free(config->added[i].content);
    free(config->added);
    for (int i = 0; i < TOKEN_NAMES; i++) free(config->named[i]);
    *config = (tokenizer_config_t){0};
}
