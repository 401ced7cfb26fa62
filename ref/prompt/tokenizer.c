/* tokenizer.c - see tokenizer.h. */
#include "prompt/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "io/source.h"
#include "prompt/bpe.h"
#include "prompt/text_normalize.h"
#include "prompt/tokenizer_config.h"
#include "prompt/vocab.h"

/* A token that is cut out of the text before the rest is taken to pieces. */
typedef struct {
    const char *text;
    size_t length;
    int32_t id;
} cut_t;

typedef struct {
    cut_t *cut;
    size_t count;
    bool starts[256]; /* some cut starts with this byte */
} cuts_t;

struct tokenizer {
    tokenizer_info_t info;
    tokenizer_config_t config;
    vocab_t vocab;
    char **normalized;    /* (config.count) content after text_normalize; NULL for the others */
    cuts_t before, after; /* cut out before and after normalisation */
    char *source;
};

/* ---- opening --------------------------------------------------------------------------- */

static int check_model(const json_t *model, const char *where, err_t *err) {
    const char *type = json_string_value(json_object_get(model, "type"));
    const char *suffix = json_string_value(json_object_get(model, "end_of_word_suffix"));
    if (!json_is_object(model)) return err_set(err, "%s: expected an object \"model\"", where);
    if (type && strcmp(type, "BPE") != 0)
        return err_set(err, "%s: model.type \"%s\", expected \"BPE\"", where, type);
    if (!suffix || strcmp(suffix, "</w>") != 0)
        return err_set(err,
                       "%s: model.end_of_word_suffix \"%s\", expected \"</w>\", as CLIP has it",
                       where, suffix ? suffix : "");
    return 0;
}

static int load_whole(tokenizer_t *tok, const json_t *whole, const char *folder, err_t *err) {
    tok->source = xasprintf("%s/tokenizer.json", folder);
    const json_t *model = json_object_get(whole, "model");
    char *pieces = xasprintf("%s: model.vocab", tok->source);
    char *merges = xasprintf("%s: model.merges", tok->source);
    int status = -1;
    if (!check_model(model, tok->source, err) &&
        !vocab_from_json(&tok->vocab, json_object_get(model, "vocab"), pieces, err) &&
        !vocab_merges_json(&tok->vocab, json_object_get(model, "merges"), merges, err))
        status = 0;
    free(pieces);
    free(merges);
    return status;
}

static int load_pair(tokenizer_t *tok, const char *folder, err_t *err) {
    json_t *pieces = NULL;
    char *merges = NULL;
    size_t length = 0;
    char *vocab_path = xasprintf("%s/vocab.json", folder);
    char *merges_path = xasprintf("%s/merges.txt", folder);
    tok->source = xasprintf("%s + merges.txt", vocab_path);
    int status = -1;
    if (tokenizer_json(&pieces, folder, "vocab.json", VOCAB_FILE_MAX, err) ||
        source_read(merges_path, VOCAB_FILE_MAX, &merges, &length, err))
        ;
    else if (!pieces && !merges)
        err_set(err,
                "%s: neither tokenizer.json nor vocab.json and merges.txt are there: give the "
                "\"tokenizer\" folder of a diffusers model",
                folder);
    else if (!pieces || !merges)
        err_set(err, "%s is missing, its partner %s is there: copy both from the model",
                pieces ? merges_path : vocab_path, pieces ? "vocab.json" : "merges.txt");
    else if (!vocab_from_json(&tok->vocab, pieces, vocab_path, err) &&
             !vocab_merges_text(&tok->vocab, merges, length, merges_path, err))
        status = 0;
    json_decref(pieces);
    free(merges);
    free(vocab_path);
    free(merges_path);
    return status;
}

/* Give every added token its id: the vocabulary's, or the next free one, which must be the stated
 * one. */
static int number_added(tokenizer_t *tok, const char *folder, err_t *err) {
    for (size_t i = 0; i < tok->config.count; i++) {
        const added_token_t *added = &tok->config.added[i];
        int32_t id = vocab_find(&tok->vocab, added->content);
        bool known = id >= 0;
        int64_t expected = known ? id : (int64_t)tok->vocab.size;
        if (added->id >= 0 && added->id != expected)
            return err_set(err, "%s: added token \"%s\" has id %lld, expected %lld (%s)", folder,
                           added->content, (long long)added->id, (long long)expected,
                           known ? "as in the vocabulary" : "the next free one");
        if (utf8_check(added->content, strlen(added->content), TOKENIZER_TEXT_MAX, err))
            return err_prefix(err, "%s: added token %zu", folder, i);
        if (!known && added->id < 0)
            for (int k = 0; k < TOKEN_NAMES; k++)
                if (tok->config.named[k] && strcmp(tok->config.named[k], added->content) == 0)
                    return err_set(err, "%s: %s \"%s\" is not in the vocabulary", folder,
                                   token_names[k], added->content);
        if (!known) vocab_add(&tok->vocab, added->content);
    }
    return 0;
}

static void add_cut(cuts_t *cuts, const char *text, int32_t id) {
    cuts->cut[cuts->count++] = (cut_t){text, strlen(text), id};
    cuts->starts[(unsigned char)text[0]] = true;
}

/* Of several tokens with the same content the last decides when it is looked for. */
static void prepare_cuts(tokenizer_t *tok) {
    size_t count = tok->config.count;
    tok->before.cut = xcalloc(count, sizeof *tok->before.cut);
    tok->after.cut = xcalloc(count, sizeof *tok->after.cut);
    tok->normalized = xcalloc(count, sizeof *tok->normalized);
    for (size_t i = 0; i < count; i++) {
        const added_token_t *added = &tok->config.added[i];
        bool repeated = false;
        for (size_t k = i + 1; k < count && !repeated; k++)
            repeated = strcmp(added->content, tok->config.added[k].content) == 0;
        if (repeated) continue;
        int32_t id = vocab_find(&tok->vocab, added->content);
        if (!added->normalized) {
            add_cut(&tok->before, added->content, id);
            continue;
        }
        size_t length;
        tok->normalized[i] = text_normalize(added->content, strlen(added->content), &length);
        add_cut(&tok->after, tok->normalized[i], id);
    }
}

static int load(tokenizer_t *tok, const char *folder, err_t *err) {
    json_t *whole;
    if (tokenizer_json(&whole, folder, "tokenizer.json", VOCAB_FILE_MAX, err)) return -1;
    int status = whole ? load_whole(tok, whole, folder, err) : load_pair(tok, folder, err);
    if (!status) status = tokenizer_config_read(&tok->config, folder, whole, err);
    json_decref(whole);
    if (status || number_added(tok, folder, err)) return -1;
    prepare_cuts(tok);
    char *const *named = tok->config.named;
    tok->info = (tokenizer_info_t){
        .vocab = tok->vocab.size,
        .merges = tok->vocab.merges,
        .max_length = tok->config.max_length,
        .bos = vocab_find(&tok->vocab, named[TOKEN_BOS]),
        .eos = vocab_find(&tok->vocab, named[TOKEN_EOS]),
        .pad = vocab_find(&tok->vocab, named[TOKEN_PAD]),
        .unk = vocab_find(&tok->vocab, named[TOKEN_UNK]),
        .source = tok->source,
        .defaults = tok->config.defaults,
        .unknown_keys = tok->config.unknown_keys,
    };
    return 0;
}

int tokenizer_open(tokenizer_t **tok, const char *folder, err_t *err) {
    *tok = xcalloc(1, sizeof **tok);
    if (!load(*tok, folder, err)) return 0;
    tokenizer_close(*tok);
    *tok = NULL;
    /* Messages quote pieces; what a hostile file puts into them must not steer a terminal. */
    for (char *p = err ? err->text : NULL; p && *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7F) *p = '?';
    return -1;
}

void tokenizer_close(tokenizer_t *tok) {
    if (!tok) return;
    if (tok->normalized)
        for (size_t i = 0; i < tok->config.count; i++) free(tok->normalized[i]);
    free(tok->normalized);
    free(tok->before.cut);
    free(tok->after.cut);
    tokenizer_config_free(&tok->config);
    vocab_free(&tok->vocab);
    free(tok->source);
    free(tok);
}

const tokenizer_info_t *tokenizer_info(const tokenizer_t *tok) {
    return &tok->info;
}

const char *tokenizer_piece(const tokenizer_t *tok, int32_t id) {
    return id >= 0 && (size_t)id < tok->vocab.size ? tok->vocab.piece[id] : NULL;
}

/* ---- encoding -------------------------------------------------------------------------- */

void token_list_push(token_list_t *list, int32_t id) {
    if (list->count == list->capacity) {
        list->capacity = 2 * list->capacity + 64;
        list->id = xrealloc(list->id, list->capacity * sizeof *list->id);
    }
    list->id[list->count++] = id;
}

void token_list_free(token_list_t *list) {
    free(list->id);
    *list = (token_list_t){0};
}

typedef struct {
    const tokenizer_t *tok;
    bpe_t bpe;
    token_list_t *out;
} encoder_t;

static void encode_piece(encoder_t *encoder, const char *piece, size_t length) {
    const tokenizer_t *tok = encoder->tok;
    size_t count = bpe_word(&encoder->bpe, &tok->vocab, piece, length, tok->info.unk);
    for (size_t i = 0; i < count; i++) token_list_push(encoder->out, encoder->bpe.id[i]);
}

static bool starts_with(const char *text, size_t length, const char *prefix) {
    size_t n = strlen(prefix);
    return length >= n && memcmp(text, prefix, n) == 0;
}

/* The original's first pattern takes CLIP's special names (in capitals, say, or under another
 * tokenizer's special tokens) as one piece, which its second pattern cuts into "<|", the name and
 * "|>": the effect is that "|>" does not join other signs behind it. Returns the length of such a
 * name, or 0. */
static size_t special_name(const char *text, size_t length) {
    static const char *const names[] = {"<|startoftext|>", "<|endoftext|>"};
    for (size_t i = 0; i < 2; i++)
        if (starts_with(text, length, names[i])) return strlen(names[i]);
    return 0;
}

/* The length of the piece at the start of text, which is not white space. */
static size_t piece_length(const char *text, size_t length) {
    static const char *const contractions[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t i = 0; i < sizeof contractions / sizeof *contractions; i++)
        if (starts_with(text, length, contractions[i])) return strlen(contractions[i]);
    size_t at = 0;
    char_class_t is = char_class(utf8_next(text, &at));
    if (is == CHAR_NUMBER) return at;
    for (size_t next = at; next < length; at = next)
        if (char_class(utf8_next(text, &next)) != is) break;
    return at;
}

/* Pieces of normalised text without added tokens. */
static void encode_pieces(encoder_t *encoder, const char *text, size_t length) {
    for (size_t at = 0; at < length;) {
        size_t next = at;
        if (char_class(utf8_next(text, &next)) == CHAR_SPACE) {
            at = next;
            continue;
        }
        size_t piece = special_name(text + at, length - at);
        if (piece) {
            encode_piece(encoder, text + at, 2);
            encode_piece(encoder, text + at + 2, piece - 4);
            encode_piece(encoder, text + at + piece - 2, 2);
        } else {
            piece = piece_length(text + at, length - at);
            encode_piece(encoder, text + at, piece);
        }
        at += piece;
    }
}

/* The longest cut that stands at the start of text, or NULL. */
static const cut_t *cut_at(const cuts_t *cuts, const char *text, size_t length) {
    const cut_t *best = NULL;
    if (!cuts->starts[(unsigned char)text[0]]) return NULL;
    for (size_t i = 0; i < cuts->count; i++) {
        const cut_t *cut = &cuts->cut[i];
        if (cut->length <= length && memcmp(text, cut->text, cut->length) == 0 &&
            (!best || cut->length > best->length))
            best = cut;
    }
    return best;
}

static void encode_normalized(encoder_t *encoder, const char *raw, size_t raw_length) {
    if (raw_length == 0) return;
    size_t length, start = 0;
    char *text = text_normalize(raw, raw_length, &length);
    for (size_t at = 0; at < length;) {
        const cut_t *cut = cut_at(&encoder->tok->after, text + at, length - at);
        if (!cut) {
            at++;
            continue;
        }
        encode_pieces(encoder, text + start, at - start);
        token_list_push(encoder->out, cut->id);
        start = at += cut->length;
    }
    encode_pieces(encoder, text + start, length - start);
    free(text);
}

int tokenizer_encode(const tokenizer_t *tok, const char *text, size_t length, token_list_t *out,
                     err_t *err) {
    if (utf8_check(text, length, TOKENIZER_TEXT_MAX, err)) return -1;
    encoder_t encoder = {.tok = tok, .out = out};
    size_t start = 0;
    for (size_t at = 0; at < length;) {
        const cut_t *cut = cut_at(&tok->before, text + at, length - at);
        if (!cut) {
            at++;
            continue;
        }
        encode_normalized(&encoder, text + start, at - start);
        token_list_push(out, cut->id);
        start = at += cut->length;
    }
    encode_normalized(&encoder, text + start, length - start);
    bpe_free(&encoder.bpe);
    return 0;
}

int tokenizer_encode_padded(const tokenizer_t *tok, const char *text, size_t length, int32_t *row,
                            bool *truncated, err_t *err) {
    token_list_t ids = {0};
    if (tokenizer_encode(tok, text, length, &ids, err)) return -1;
    size_t room = tok->info.max_length - 2;
    size_t count = ids.count < room ? ids.count : room;
    if (truncated) *truncated = ids.count > room;
    row[0] = tok->info.bos;
    for (size_t i = 0; i < count; i++) row[i + 1] = ids.id[i];
    row[count + 1] = tok->info.eos;
    for (size_t i = count + 2; i < tok->info.max_length; i++) row[i] = tok->info.pad;
    token_list_free(&ids);
    return 0;
}

void tokenizer_set_pad(tokenizer_t *tok, int32_t id) {
    REQUIRE(id >= 0 && (size_t)id < tok->info.vocab, "tokenizer_set_pad: id %d of %zu", (int)id,
            tok->info.vocab);
    tok->info.pad = id;
}
