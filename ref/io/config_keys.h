/* config_keys.h - every key that a configuration file of a model may have, and what becomes of it.
 *
 * A key is used; or it changes no number here, and the table says why; or only the values of the table
 * are computed, and any other is refused. Keys that no table has are passed over, as diffusers and
 * transformers do, but not in silence: who reads the file gets their names. Keys that begin with '_' are
 * the library's own notes. The tables are those of diffusers 0.42.1 and transformers 5.23. */
#ifndef MOLE_IO_CONFIG_KEYS_H
#define MOLE_IO_CONFIG_KEYS_H

#include "io/json.h"

typedef enum {
    KEY_END,
    KEY_USED,         /* its reader checks the value; null is refused, where absent is not */
    KEY_USED_OR_NULL, /* null is as good as absent */
    KEY_HARMLESS,     /* text: why */
    KEY_ONLY          /* text: the values that are computed, as JSON, with '|' between them */
} key_fate_t;

typedef struct {
    const char *key;
    key_fate_t fate;
    const char *text;
} config_key_t;

/* Ended by KEY_END. */
extern const config_key_t config_keys_index[], config_keys_unet[], config_keys_vae[],
    config_keys_text_encoder[], config_keys_tokenizer[], config_keys_scheduler[];

/* NULL when the table has no such key. */
const config_key_t *config_key_find(const config_key_t *table, const char *key);

/* Hold an object against its table. `unknown` gets the names of keys that are not in it and whose value
 * is neither null nor false, as "a, b". Returns 0, or -1 and err. */
enum { CONFIG_UNKNOWN = 512 };
int config_keys_check(json_node_t node, const config_key_t *table, char unknown[CONFIG_UNKNOWN],
                      err_t *err);

/* Open FOLDER/NAME, an object, and hold it against its table first of all, so that what a file asks for
 * and this program has not is refused by its own name. Returns 0, or -1 and err. */
int config_open(json_file_t **file, const char *folder, const char *name, const config_key_t *table,
                char unknown[CONFIG_UNKNOWN], err_t *err);

#endif
