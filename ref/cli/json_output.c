/* json_output.c - a JSON value as a file that appears whole or not at all. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "io/file.h"

int cli_write_json(const char *path, struct json_t *value, err_t *err) {
    REQUIRE(value, "%s: the report is no JSON", path);
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(value);
    if (!text) return err_set(err, "%s: out of memory", path);
    out_file_t out;
    int status = out_file_open(&out, path, "", err);
    if (!status) {
        status =
            out_file_write(&out, text, strlen(text), err) || out_file_write(&out, "\n", 1, err);
        if (status)
            out_file_abort(&out);
        else
            status = out_file_commit(&out, err);
    }
    free(text);
    return status ? -1 : 0;
}
