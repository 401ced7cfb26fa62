/* tokenizer_folder.c - see tokenizer_folder.h. */
#include "tokenizer_folder.h"

#include <dirent.h>
#include <unistd.h>

#include "../unit.h"
#include "prompt/tokenizer.h"
#include "prompt/vocab.h"

static char folder[64];

int folder_setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/mole-tokenizer-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static void path_of(char path[512], const char *name) {
    snprintf(path, 512, "%s/%s", folder, name);
}

int folder_teardown(void **state) {
    (void)state;
    DIR *dir = opendir(folder);
    if (!dir) return -1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[512];
        path_of(path, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) remove(path);
    }
    closedir(dir);
    return rmdir(folder);
}

const char *folder_path(void) {
    return folder;
}

void folder_bytes(const char *name, const void *data, size_t bytes) {
    char path[512];
    path_of(path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

void folder_text(const char *name, const char *text) {
    char path[512];
    path_of(path, name);
    if (text)
        folder_bytes(name, text, strlen(text));
    else
        assert_int_equal(remove(path), 0);
}

void folder_json(const char *name, const json_t *json) {
    char path[512];
    path_of(path, name);
    assert_int_equal(json_dump_file(json, path, 0), 0);
}

static void add_piece(json_t *pieces, const char *piece) {
    if (!json_object_get(pieces, piece))
        json_object_set_new(pieces, piece, json_integer((json_int_t)json_object_size(pieces)));
}

json_t *folder_vocabulary(const char *const *merges) {
    json_t *pieces = json_object();
    for (int end = 0; end < 2; end++)
        for (int byte = 0; byte < 256; byte++) {
            int code = (int)vocab_byte_symbol(byte);
            char text[16];
            const char *tail = end ? "</w>" : "";
            if (code < 0x80)
                snprintf(text, sizeof text, "%c%s", code, tail);
            else
                snprintf(text, sizeof text, "%c%c%s", 0xC0 | code >> 6, 0x80 | (code & 0x3F), tail);
            add_piece(pieces, text);
        }
    for (; *merges; merges++) {
        char *joined = xstrdup(*merges);
        char *space = strchr(joined, ' ');
        memmove(space, space + 1, strlen(space));
        add_piece(pieces, joined);
        free(joined);
    }
    add_piece(pieces, "<|startoftext|>");
    add_piece(pieces, "<|endoftext|>");
    return pieces;
}

void folder_pair(const char *const *merges) {
    json_t *pieces = folder_vocabulary(merges);
    folder_json("vocab.json", pieces);
    json_decref(pieces);
    char path[512];
    path_of(path, "merges.txt");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fprintf(file, "#version: 0.2\n");
    for (; *merges; merges++) fprintf(file, "%s\n", *merges);
    assert_int_equal(fclose(file), 0);
}

void folder_whole(const char *const *merges, int as_lists) {
    json_t *rules = json_array();
    for (const char *const *rule = merges; *rule; rule++) {
        const char *space = strchr(*rule, ' ');
        if (as_lists)
            json_array_append_new(rules,
                                  json_pack("[s%s]", *rule, (size_t)(space - *rule), space + 1));
        else
            json_array_append_new(rules, json_string(*rule));
    }
    json_t *whole = json_pack("{s:[], s:{s:s, s:s, s:o, s:o}}", "added_tokens", "model", "type",
                              "BPE", "end_of_word_suffix", "</w>", "vocab",
                              folder_vocabulary(merges), "merges", rules);
    assert_non_null(whole);
    folder_json("tokenizer.json", whole);
    json_decref(whole);
}

void assert_refused(const char *word, ...) {
    tokenizer_t *tok;
    err_t err = {""};
    int status = tokenizer_open(&tok, folder, &err);
    if (status == 0) {
        tokenizer_close(tok);
        fail_msg("the folder was accepted; expected a message with '%s'", word);
    }
    assert_null(tok);
    va_list words;
    va_start(words, word);
    for (; word; word = va_arg(words, const char *))
        if (!strstr(err.text, word)) fail_msg("no '%s' in the message: %s", word, err.text);
    va_end(words);
}
