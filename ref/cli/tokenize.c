/* tokenize.c - mole tokenize: prompt in, token ids out. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "io/file.h"

static const char command[] = "tokenize";

static void print_help(void) {
    printf("usage: mole tokenize --model FOLDER [OPTIONS] TEXT\n\n"
           "Print the ids and pieces that a prompt becomes.\n\n"
           "  --model FOLDER       a diffusers pipeline folder, or a tokenizer's own folder\n"
           "  --padded             the row the text encoder gets: BOS, ids, EOS, padding\n"
           "  --syntax plain|weighted  weighted: parse (word:1.3) first and print each token's "
           "weight (plain)\n"
           "  --max-chunks N       with --syntax weighted: rows a prompt may have (1)\n"
           "  --json               ids, pieces and weights as JSON\n\n"
           "example:\n  mole tokenize --model golden/models/sd15-tiny \"two people's hands\"\n");
}

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
            if (!cli_parse_size(optarg, 1, 100, &o->max_chunks))
                return cli_usage_error(
                    command, "--max-chunks takes a number from 1 to 100, not '%s'", optarg);
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

static int print_tokens(const tokenizer_t *tok, const int32_t *ids, const double *weights,
                        size_t count, bool as_json) {
    if (!as_json) {
        for (size_t i = 0; i < count; i++) {
            const char *piece = tokenizer_piece(tok, ids[i]);
            printf("%6d  %s", (int)ids[i], piece ? piece : "");
            printf(weights ? "  %.6g\n" : "\n", weights ? weights[i] : 0.0);
        }
        return 0;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const char *piece = tokenizer_piece(tok, ids[i]);
        json_t *token = json_pack("{s:i, s:s}", "id", (int)ids[i], "piece", piece ? piece : "");
        if (weights) json_object_set_new(token, "weight", json_real(weights[i]));
        json_array_append_new(list, token);
    }
    json_dumpf(list, stdout, JSON_INDENT(1));
    printf("\n");
    json_decref(list);
    return 0;
}

static int run(const options_t *o, const tokenizer_t *tok, err_t *err) {
    if (o->padded || o->weighted) {
        prompt_options_t options = {o->weighted ? PROMPT_WEIGHTED : PROMPT_PLAIN, o->max_chunks};
        prompt_tokens_t tokens;
        if (prompt_encode(&tokens, tok, &o->text, NULL, 1, &options, err)) return -1;
        print_tokens(tok, tokens.ids, o->weighted ? tokens.weights : NULL,
                     tokens.chunks * tokens.max_length, o->json);
        prompt_tokens_free(&tokens);
        return 0;
    }
    token_list_t list = {0};
    REQUIRE(o->text, "tokenize: no text");
    if (tokenizer_encode(tok, o->text, strlen(o->text), &list, err)) return -1;
    print_tokens(tok, list.id, NULL, list.count, o->json);
    token_list_free(&list);
    return 0;
}

int cli_tokenize(int argc, char **argv) {
    options_t o;
    int usage = parse(&o, argc, argv);
    if (usage >= 0) return usage;
    char *index = file_join(o.folder, "model_index.json");
    char *folder = file_join(o.folder, file_exists(index) ? "tokenizer" : ".");
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
