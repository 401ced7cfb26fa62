/* prompt_rows.c - rows of token ids and their weights; see prompt.h. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "prompt/prompt.h"

enum { CHUNKS_MAX = 1024 };

/* The tokens of one prompt, without BOS and EOS. */
typedef struct {
    token_list_t ids;
    double *weight; /* (ids.count), NULL: all 1 */
} line_t;

/* Weights for the tokens that were added since the last call. */
static void fill_weights(line_t *line, size_t from, double weight) {
    line->weight = xrealloc(line->weight, (line->ids.count + 1) * sizeof *line->weight);
    for (size_t i = from; i < line->ids.count; i++) line->weight[i] = weight;
}

/* Segments one by one, so that no token spans two; what is beyond `most` tokens is cut anyway. */
static int read_weighted(line_t *line, const tokenizer_t *tok, const char *text, size_t length,
                         size_t most, err_t *err) {
    prompt_t prompt;
    if (prompt_parse(&prompt, text, length, err)) return -1;
    size_t row = tokenizer_info(tok)->max_length;
    int status = 0;
    for (size_t i = 0; i < prompt.count && !status && line->ids.count <= most; i++) {
        const prompt_segment_t *segment = &prompt.segment[i];
        size_t from = line->ids.count;
        if (segment->is_break)
            for (size_t pads = row - from % row; pads; pads--)
                token_list_push(&line->ids, tokenizer_info(tok)->pad);
        else
            status = tokenizer_encode(tok, segment->text, segment->length, &line->ids, err);
        fill_weights(line, from, segment->is_break ? 1.0 : segment->weight);
    }
    prompt_free(&prompt);
    return status;
}

static int read_line(line_t *line, const tokenizer_t *tok, const char *text, size_t length,
                     const prompt_options_t *options, size_t most, err_t *err) {
    if (options->syntax == PROMPT_WEIGHTED)
        return read_weighted(line, tok, text, length, most, err);
    return tokenizer_encode(tok, text, length, &line->ids, err);
}

/* The chunks of one prompt: ids (chunks, T), weights (chunks * T). */
static void write_chunks(int32_t *ids, double *weights, const line_t *line, size_t count,
                         size_t chunks, const tokenizer_info_t *info) {
    size_t T = info->max_length, step = T - 2, length = step * chunks + 2;
    int32_t *row = xmalloc(length * sizeof *row);
    row[0] = info->bos;
    for (size_t i = 0; i < count; i++) row[i + 1] = line->ids.id[i];
    row[count + 1] = info->eos;
    for (size_t i = count + 2; i < length; i++) row[i] = info->pad;

    for (size_t c = 0; c < chunks; c++, ids += T, weights += T) {
        memcpy(ids, row + c * step, T * sizeof *ids);
        ids[0] = info->bos;
        if (chunks > 1) {
            if (info->pad == info->eos || (ids[T - 1] != info->eos && ids[T - 1] != info->pad))
                ids[T - 1] = info->eos;
            if (info->pad != info->eos && ids[1] == info->pad) ids[1] = info->eos;
        }
        for (size_t i = 0; i < T; i++) {
            size_t token = c * step + i - 1; /* of the prompt, for 1 <= i < T - 1 */
            bool weighs = i > 0 && i < T - 1 && token < count && line->weight;
            weights[i] = weighs ? line->weight[token] : 1.0;
        }
    }
    free(row);
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static void write_rows(prompt_tokens_t *out, const line_t *lines, const tokenizer_info_t *info,
                       size_t most) {
    size_t longest = 1, T = info->max_length;
    for (size_t i = 0; i < out->prompts; i++)
        if (lines[i].ids.count > longest) longest = lines[i].ids.count;
    out->max_length = T;
    out->chunks = (least(longest, most) + T - 3) / (T - 2);
    size_t row = out->chunks * T;
    out->ids = xmalloc(out->prompts * row * sizeof *out->ids);
    out->weights = xmalloc(out->prompts * row * sizeof *out->weights);
    out->truncated = xcalloc(out->prompts, sizeof *out->truncated);
    for (size_t i = 0; i < out->prompts; i++) {
        size_t count = lines[i].ids.count;
        out->truncated[i] = count > most;
        write_chunks(out->ids + i * row, out->weights + i * row, &lines[i], least(count, most),
                     out->chunks, info);
        for (size_t k = 0; k < row; k++) out->weighted |= out->weights[i * row + k] != 1.0;
    }
}

int prompt_encode(prompt_tokens_t *out, const tokenizer_t *tok, const char *const *texts,
                  const size_t *lengths, size_t prompts, const prompt_options_t *options,
                  err_t *err) {
    REQUIRE(prompts > 0, "prompt_encode: no prompts");
    REQUIRE(options->max_chunks >= 1 && options->max_chunks <= CHUNKS_MAX,
            "prompt_encode: max_chunks %zu, expected 1 to %d", options->max_chunks, CHUNKS_MAX);
    *out = (prompt_tokens_t){.prompts = prompts};
    const tokenizer_info_t *info = tokenizer_info(tok);
    size_t most = (info->max_length - 2) * options->max_chunks;
    line_t *lines = xcalloc(prompts, sizeof *lines);
    int status = 0;
    for (size_t i = 0; i < prompts && !status; i++) {
        size_t length = lengths ? lengths[i] : strlen(texts[i]);
        status = read_line(&lines[i], tok, texts[i], length, options, most, err);
        if (status && prompts > 1) err_prefix(err, "prompt %zu", i + 1);
    }
    if (status)
        *out = (prompt_tokens_t){0};
    else
        write_rows(out, lines, info, most);
    for (size_t i = 0; i < prompts; i++) {
        token_list_free(&lines[i].ids);
        free(lines[i].weight);
    }
    free(lines);
    return status;
}

void prompt_tokens_free(prompt_tokens_t *tokens) {
    free(tokens->ids);
    free(tokens->weights);
    free(tokens->truncated);
    *tokens = (prompt_tokens_t){0};
}

/* e[p,c] * weights[p], rounded as the embeddings are. */
static real_t weigh(const real_t *embeds, const double *weights, size_t p, size_t c, size_t dim) {
    return embeds[p * dim + c] * (real_t)weights[p];
}

int prompt_apply_weights(real_t *embeds, const double *weights, size_t n, size_t dim, err_t *err) {
    bool all_one = true;
    for (size_t p = 0; p < n; p++) all_one &= weights[p] == 1.0;
    if (all_one) return 0;
    acc_t before = 0, after = 0;
    for (size_t p = 0; p < n; p++)
        for (size_t c = 0; c < dim; c++) {
            before += (acc_t)embeds[p * dim + c];
            after += (acc_t)weigh(embeds, weights, p, c, dim);
        }
    /* The number of terms cancels in mu0 / mu1. */
    double ratio = before / after, terms = (double)n * (double)dim;
    if (!isfinite(ratio))
        return err_set(err,
                       "the weighted text embedding has mean %g, it had %g before: its mean "
                       "cannot be restored; use other weights",
                       after / terms, before / terms);
    for (size_t p = 0; p < n; p++)
        for (size_t c = 0; c < dim; c++)
            embeds[p * dim + c] = (real_t)((double)weigh(embeds, weights, p, c, dim) * ratio);
    return 0;
}
