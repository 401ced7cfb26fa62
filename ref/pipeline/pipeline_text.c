/* pipeline_text.c - see pipeline.h: prompt and negative prompt to what the UNet is told of them. */
#include <string.h>

#include "pipeline/pipeline.h"

/* The texts that are encoded, [negative,] prompt. A negative that stands for zeros is not among them. */
typedef struct {
    const char *text[2];
    size_t count, zeros; /* zeros: rows before them */
} rows_t;

static rows_t rows_of(const pipeline_prompt_t *prompt) {
    const char *negative = prompt->negative ? prompt->negative : "";
    if (!prompt->guided) return (rows_t){{prompt->text}, 1, 0};
    if (!prompt->negative && prompt->rule == NEGATIVE_ZEROS) return (rows_t){{prompt->text}, 1, 1};
    return (rows_t){{negative, prompt->text}, 2, 0};
}

static void free_tokens(prompt_tokens_t tokens[PIPELINE_TEXTS], size_t count) {
    for (size_t i = 0; i < count; i++) prompt_tokens_free(&tokens[i]);
}

/* By every tokenizer; on success free_tokens is due. Their rows are to be of one length. */
static int tokenize(const pipeline_t *p, const rows_t *rows, const prompt_options_t *syntax,
                    prompt_tokens_t tokens[PIPELINE_TEXTS], err_t *err) {
    for (size_t i = 0; i < p->texts; i++) {
        int status =
            prompt_encode(&tokens[i], p->tokenizer[i], rows->text, NULL, rows->count, syntax, err);
        if (!status &&
            tokens[i].chunks * tokens[i].max_length != tokens[0].chunks * tokens[0].max_length) {
            prompt_tokens_free(&tokens[i]);
            status = err_set(err, "%s makes rows of other lengths than %s of this text",
                             pipeline_tokenizer_name(i), pipeline_tokenizer_name(0));
        }
        if (!status) continue;
        free_tokens(tokens, i);
        return -1;
    }
    return 0;
}

/* Columns first .. first + C of out (M,width) = x (M,C) */
static void put_columns(real_t *out, size_t width, size_t first, const real_t *x, size_t M,
                        size_t C) {
    for (size_t m = 0; m < M; m++) memcpy(out + m * width + first, x + m * C, C * sizeof *x);
}

/* pooled (rows,P): that of a prompt's first chunk, of all (rows * chunks, P). */
static void take_first_chunks(real_t *pooled, const real_t *all, size_t rows, size_t chunks,
                              size_t P) {
    for (size_t b = 0; b < rows; b++) memcpy(pooled + b * P, all + b * chunks * P, P * sizeof *all);
}

/* hidden (rows,S,D), weighted; pooled (rows,P) where this encoder makes it. */
static int encode(const run_t *run, const text_encoder_t *encoder, const prompt_tokens_t *tokens,
                  real_t *hidden, real_t *pooled, err_t *err) {
    const text_encoder_config_t *c = text_encoder_config(encoder);
    size_t T = tokens->max_length, S = tokens->chunks * T, D = c->hidden_size;
    size_t texts = tokens->prompts * tokens->chunks;
    bool pools = text_encoder_use(encoder).pooled;
    REQUIRE(!pools || pooled, "pipeline: no room for the pooled vector");
    arena_mark_t mark = arena_mark(run->arena);
    real_t *all = pools ? arena_reals(run->arena, texts * c->projection_dim) : NULL;
    text_encoder_forward(run, encoder, hidden, all, tokens->ids, texts, T);
    if (pools) take_first_chunks(pooled, all, tokens->prompts, tokens->chunks, c->projection_dim);
    arena_release(run->arena, mark);
    for (size_t b = 0; tokens->weighted && b < tokens->prompts; b++)
        if (prompt_apply_weights(hidden + b * S * D, tokens->weights + b * S, S, D, err)) return -1;
    return 0;
}

/* embeds (rows,S,D): every encoder's hidden states side by side. */
static int encode_all(const run_t *run, const pipeline_t *p, const prompt_tokens_t *tokens,
                      real_t *embeds, size_t D, real_t *pooled, err_t *err) {
    size_t M = tokens->prompts * tokens->chunks * tokens->max_length;
    for (size_t i = 0, first = 0; i < p->texts; i++) {
        size_t width = text_encoder_config(p->text_encoder[i])->hidden_size;
        arena_mark_t mark = arena_mark(run->arena);
        real_t *hidden = width < D ? arena_reals(run->arena, M * width) : embeds;
        int status = encode(run, p->text_encoder[i], &tokens[i], hidden, pooled, err);
        if (!status && width < D) put_columns(embeds, D, first, hidden, M, width);
        arena_release(run->arena, mark);
        if (status) return -1;
        first += width;
    }
    return 0;
}

/* The widths of what all encoders make of a token, and of a text. */
static void measure(const pipeline_t *p, size_t *D, size_t *P) {
    *D = *P = 0;
    for (size_t i = 0; i < p->texts; i++) {
        const text_encoder_config_t *c = text_encoder_config(p->text_encoder[i]);
        *D += c->hidden_size;
        if (text_encoder_use(p->text_encoder[i]).pooled) *P = c->projection_dim;
    }
}

static void tap_text(const run_t *run, const pipeline_text_t *text, size_t D, size_t P) {
    tap(run->sink, "prompt_embeds", text->embeds, VIEW_TOKENS(text->B, text->S, D));
    if (P) tap(run->sink, "add_text_embeds", text->pooled, VIEW_ROWS(text->B, P));
}

int pipeline_embed(const run_t *run, const pipeline_t *p, const pipeline_prompt_t *prompt,
                   pipeline_text_t *text, err_t *err) {
    REQUIRE(p->texts && p->text_encoder[0],
            "pipeline: a prompt after the text encoders were dropped");
    rows_t rows = rows_of(prompt);
    prompt_tokens_t tokens[PIPELINE_TEXTS] = {{0}};
    size_t D, P, B = rows.zeros + rows.count;
    measure(p, &D, &P);
    if (tokenize(p, &rows, &prompt->syntax, tokens, err)) return -1;

    size_t S = tokens[0].chunks * tokens[0].max_length;
    *text = (pipeline_text_t){.B = B, .S = S, .embeds = arena_reals(run->arena, B * S * D)};
    if (P) text->pooled = arena_reals(run->arena, B * P);
    memset(text->embeds, 0, rows.zeros * S * D * sizeof(real_t));
    if (P) memset(text->pooled, 0, rows.zeros * P * sizeof(real_t));
    for (size_t b = 0; b < rows.count; b++)
        text->truncated[rows.zeros + b] = tokens[0].truncated[b];
    int status = encode_all(run, p, tokens, text->embeds + rows.zeros * S * D, D,
                            P ? text->pooled + rows.zeros * P : NULL, err);
    free_tokens(tokens, p->texts);
    if (!status) tap_text(run, text, D, P);
    return status;
}

int pipeline_check_deviations(const pipeline_t *p, deviations_t deviations, err_t *err) {
    if (!(deviations & DEVIATION_TEXT_PROJECTION_UNTURNED)) return 0;
    for (size_t i = 0; i < p->texts; i++) {
        const text_encoder_config_t *c = text_encoder_config(p->text_encoder[i]);
        if (!p->kind->use[i].pooled) continue;
        if (c->hidden_size == c->projection_dim) return 0;
        return err_set(
            err,
            "deviation text-projection-unturned: %s projects %zu numbers (hidden_size) to "
            "%zu (projection_dim); only a square projection fits both ways",
            pipeline_text_encoder_name(i), c->hidden_size, c->projection_dim);
    }
    return err_set(err,
                   "deviation text-projection-unturned: no text encoder of a %s pools its text",
                   p->kind->class_name);
}

void pipeline_context(const run_t *run, const pipeline_t *p, pipeline_text_t *text) {
    conditioning_t given = {.B = text->B,
                            .S = text->S,
                            .encoder_hidden_states = text->embeds,
                            .text_embeds = text->pooled};
    text->context = unet_context(run, p->unet, &given);
}

int pipeline_encode(const run_t *run, const pipeline_t *p, const pipeline_prompt_t *prompt,
                    pipeline_text_t *text, err_t *err) {
    if (pipeline_embed(run, p, prompt, text, err)) return -1;
    pipeline_context(run, p, text);
    return 0;
}
