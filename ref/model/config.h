/* config.h - reading a component's config.json, strictly.
 *
 * The first complaint sticks and later calls do nothing, so that a reader is a plain list of keys; the
 * verdict comes with config_close. Messages name file, key, what was expected and what was found.
 * Calls without "_or" demand the key; with "_or" an absent or null key takes the given value. */
#ifndef MOLE_MODEL_CONFIG_H
#define MOLE_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"
#include "model/config_keys.h"

typedef struct config config_t;

/* FOLDER/NAME, a JSON object without duplicate keys. Returns 0, or -1 and err. */
int config_open(config_t **config, const char *folder, const char *name, err_t *err);
/* Frees; returns 0, or -1 when anything was wrong (err, given to config_open, says what). */
int config_close(config_t *config);

void config_size(config_t *config, const char *key, size_t *value, size_t least, size_t most);
void config_size_or(config_t *config, const char *key, size_t *value, size_t otherwise,
                    size_t most);
void config_double(config_t *config, const char *key, double *value);
void config_double_or(config_t *config, const char *key, double *value, double otherwise);
void config_bool_or(config_t *config, const char *key, bool *value, bool otherwise);

/* One of `choices` (ended by NULL); *value is its index. */
void config_choice(config_t *config, const char *key, const char *const *choices, size_t *value);

/* A list of 1 .. room whole numbers >= 1. */
void config_sizes(config_t *config, const char *key, size_t *values, size_t *count, size_t room);
/* A list of `count` such numbers, or one number that stands for all of them; absent: `otherwise`. */
void config_sizes_or(config_t *config, const char *key, size_t *values, size_t count,
                     size_t otherwise);
/* A list of `count` strings out of `choices`; values are indices. */
void config_choices(config_t *config, const char *key, const char *const *choices, size_t *values,
                    size_t count);

/* Every key of the file against its table; `unknown` gets the names of those that are not in it. To be
 * called first, so that what a file asks for and this program has not is refused by its own name. */
void config_keys(config_t *config, const config_key_t *table, char unknown[CONFIG_UNKNOWN]);

/* No complaint so far. */
bool config_ok(const config_t *config);

/* A string in a list, which lives until config_close; NULL when there is none. */
const char *config_item(config_t *config, const char *key, size_t index);

/* Complain about a key in the same form as all others. */
void config_fail(config_t *config, const char *key, const char *expected);

#endif
