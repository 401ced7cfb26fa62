/* tokenize.c - mole tokenize: prompt in, token ids out. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "io/file.h"
#include "io/source.h"

static const char command[] = "tokenize";

static void print_help(void) {
    printf("usage: mole tokenize --model FOLDER [OPTIONS] TEXT\n\n"
           "Print the ids and pieces that a prompt becomes.\n\n"
           "  --model FOLDER       a diffusers pipeline folder, or a tokenizer's own folder\n"
           "  --padded             the rows the text encoder gets: BOS, ids, EOS, padding\n"
           "  --syntax plain|weighted  weighted: parse (word:1.3) first and print each token's "
           "weight (plain)\n"
           "  --max-chunks N       chunks of 75 tokens a prompt may have (1); what generate would "
           "cut off\n"
           "                       is said on stderr\n"
           "  --json               ids, pieces, weights and chunks as JSON\n\n"
           "example:\n  mole tokenize --model golden/models/sd15-tiny \"two people's hands\"\n");
}

enum { MAX_CHUNKS = 100 };

typedef struct {
    const char *folder, *text;
    bool padded, json, weighted;
    size_t max_chunks;
} options_t;

static int parse(options_t *o, int argc, char **argv) {
    enum { OPT_PADDED = OPT_OWN, OPT_SYNTAX, OPT_MAX_CHUNKS, OPT_JSON };
    static const struct option table[] = {{"model", required_argument, NULL, OPT_MODEL},
                                          {"padded", no_argument, NULL, OPT_PADDED},
                                          {"syntax", required_argument, NULL, OPT_SYNTAX},
                                          {"max-chunks", required_argument, NULL, OPT_MAX_CHUNKS},
                                          {"json", no_argument, NULL, OPT_JSON},
                                          CLI_HELP_OPTION};
    *o = (options_t){.max_chunks = 1};
    int option;
    while ((option = cli_next_option(command, argc, argv, ":h", table)) != -1) {
        switch (option) {
        case OPT_HELP: return print_help(), 0;
        case OPT_MODEL: o->folder = optarg; break;
        case OPT_PADDED: o->padded = true; break;
        case OPT_JSON: o->json = true; break;
        case OPT_MAX_CHUNKS:
            if (!cli_parse_size(optarg, 1, MAX_CHUNKS, &o->max_chunks))
                return cli_usage_error(command,
                                       "--max-chunks takes a number from 1 to %d, not '%s'",
                                       MAX_CHUNKS, optarg);
            break;
        case OPT_SYNTAX:
            o->weighted = strcmp(optarg, "weighted") == 0;
            if (!o->weighted && strcmp(optarg, "plain") != 0)
                return cli_usage_error(command, "--syntax takes plain or weighted, not '%s'",
                                       optarg);
            break;
        default: return EXIT_USAGE;
        }
    }
    if (!o->folder) return cli_usage_error(command, "--model is missing");
    if (optind + 1 != argc) return cli_usage_error(command, "give one TEXT (in quotes)");
    o->text = argv[optind];
    return -1;
}

/* ---- printing ----------------------------------------------------------------------------------------- */

/* Ids, and perhaps weights, of `rows` rows of `length`; chunks: the rows are those of the text encoder. */
typedef struct {
    const tokenizer_t *tok;
    const int32_t *ids;
    const double *weights; /* or NULL */
    size_t rows, length;
    bool chunks;
} table_t;

static const char *piece_of(const table_t *t, size_t i) {
    const char *piece = tokenizer_piece(t->tok, t->ids[i]);
    return piece ? piece : "";
}

static void print_text(const table_t *t) {
    for (size_t i = 0; i < t->rows * t->length; i++) {
        if (t->rows > 1 && i % t->length == 0)
            printf("chunk %zu/%zu\n", i / t->length + 1, t->rows);
        printf("%6d  %s", (int)t->ids[i], piece_of(t, i));
        printf(t->weights ? "  %.6g\n" : "\n", t->weights ? t->weights[i] : 0.0);
    }
}

static void print_json(const table_t *t) {
    json_t *list = json_array();
    for (size_t i = 0; i < t->rows * t->length; i++) {
        json_t *token = json_pack("{s:i, s:s}", "id", (int)t->ids[i], "piece", piece_of(t, i));
        if (t->weights) json_object_set_new(token, "weight", json_real(t->weights[i]));
        if (t->chunks)
            json_object_set_new(token, "chunk", json_integer(1 + (json_int_t)(i / t->length)));
        json_array_append_new(list, token);
    }
    json_dumpf(list, stdout, JSON_INDENT(1));
    printf("\n");
    json_decref(list);
}

static void print_table(const table_t *t, bool as_json) {
    if (as_json)
        print_json(t);
    else
        print_text(t);
}

/* ---- the text as `mole generate` takes it -------------------------------------------------------------- */

/* The chunks of all of it, however long; CHUNKS + 1 for more. */
enum { CHUNKS = 1024 };

static int count_chunks(const options_t *o, const tokenizer_t *tok, size_t *chunks, err_t *err) {
    prompt_options_t options = {o->weighted ? PROMPT_WEIGHTED : PROMPT_PLAIN, CHUNKS};
    prompt_tokens_t tokens;
    if (prompt_encode(&tokens, tok, &o->text, NULL, 1, &options, err)) return -1;
    *chunks = tokens.truncated[0] ? CHUNKS + 1 : tokens.chunks;
    prompt_tokens_free(&tokens);
    return 0;
}

/* What `mole generate` would not take is said. */
static int warn_of_cut(const options_t *o, const tokenizer_t *tok, err_t *err) {
    size_t chunks;
    if (count_chunks(o, tok, &chunks, err)) return -1;
    if (chunks <= o->max_chunks) return 0;
    fprintf(stderr,
            "mole tokenize: warning: the text makes %s%zu chunks of %zu tokens; generate takes %zu "
            "and cuts off the rest (--max-chunks, at most %d)\n",
            chunks > CHUNKS ? "more than " : "", chunks > CHUNKS ? CHUNKS : chunks,
            tokenizer_info(tok)->max_length - 2, o->max_chunks, MAX_CHUNKS);
    return 0;
}

static int print_rows(const options_t *o, const tokenizer_t *tok, err_t *err) {
    prompt_options_t options = {o->weighted ? PROMPT_WEIGHTED : PROMPT_PLAIN, o->max_chunks};
    prompt_tokens_t tokens;
    if (prompt_encode(&tokens, tok, &o->text, NULL, 1, &options, err)) return -1;
    table_t table = {tok,           tokens.ids,        o->weighted ? tokens.weights : NULL,
                     tokens.chunks, tokens.max_length, true};
    print_table(&table, o->json);
    prompt_tokens_free(&tokens);
    return 0;
}

static int run(const options_t *o, const tokenizer_t *tok, err_t *err) {
    REQUIRE(o->text, "tokenize: no text");
    if (warn_of_cut(o, tok, err)) return -1;
    if (o->padded || o->weighted) return print_rows(o, tok, err);
    token_list_t list = {0};
    if (tokenizer_encode(tok, o->text, strlen(o->text), &list, err)) return -1;
    table_t table = {tok, list.id, NULL, 1, list.count, false};
    print_table(&table, o->json);
    token_list_free(&list);
    return 0;
}

int cli_tokenize(int argc, char **argv) {
    options_t o;
    int usage = parse(&o, argc, argv);
    if (usage >= 0) return usage;
    char *index = file_join(o.folder, "model_index.json");
    char *folder = file_join(o.folder, source_has(index) ? "tokenizer" : ".");
    err_t err;
    tokenizer_t *tok;
    int status = tokenizer_open(&tok, folder, &err);
    if (!status) {
        status = run(&o, tok, &err);
        tokenizer_close(tok);
    }
    free(index);
    free(folder);
    return status ? cli_input_error(command, &err) : 0;
}
