/* prompt.h - from what a user types to rows of token ids and a weight for each.
 *
 * Two syntaxes. PROMPT_PLAIN is diffusers' own: the text is tokenised as it stands and cut to one
 * row. PROMPT_WEIGHTED is that of the authors' generation scripts: brackets weigh words, BREAK
 * starts anew.
 *
 *   (red)      1.1        [blue]     1 / 1.1        (green:1.3)     1.3        ((x)) multiplies
 *   \( \) \[ \] \\        the character itself
 *   BREAK                 fills up to a multiple of max_length tokens with pad tokens; anywhere,
 *                         inside words too ("BREAKFAST"), as the authors' script does
 *
 * " AND " and "{a|b}" are ordinary text here. */
#ifndef MOLE_PROMPT_PROMPT_H
#define MOLE_PROMPT_PROMPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/real.h"
#include "prompt/tokenizer.h"

/* The suffixes that the authors' scripts append to every prompt and to every negative prompt, also
 * to an empty one: DEVIATION_PROMPT_SUFFIXES. */
extern const char prompt_paper_positive[]; /* " best quality, 8K" */
extern const char prompt_paper_negative[]; /* " poor quality, unclear hand, bad face " */

/* The first `length` bytes of text (NULL: ""), with the suffix where `suffixed`. The caller frees it. */
char *prompt_suffixed(const char *text, size_t length, bool negative, bool suffixed);

/* ---- weight syntax --------------------------------------------------------------------- */

/* Brackets of one kind open at the same time; more are refused. */
enum { PROMPT_DEPTH_MAX = 128 };

typedef struct {
    char *text;    /* UTF-8, ends in NUL; owned by the prompt_t */
    size_t length; /* bytes */
    double weight;
    bool is_break;
} prompt_segment_t;

typedef struct {
    prompt_segment_t *segment;
    size_t count; /* at least 1: an empty prompt is one empty segment of weight 1 */
} prompt_t;

/* Parse the weight syntax. Scanner, first alternative that matches:
 *   \(  \)  \[  \]  \\  \  (  [  :<number>)  )  ]  a run without \ ( ) [ ] :  a single :
 *   number: an optional sign, then ASCII digits and dots
 * An opening bracket remembers the segments since it; its closer multiplies their weights; an
 * unmatched closer is text; a bracket left open at the end counts as closed there (round ones
 * first). Adjacent segments of equal weight are joined, never with a BREAK. Returns 0, or -1 and
 * err with the byte offset for a weight that is not a finite number ("1.2.3"), weights that multiply
 * beyond a double, brackets nested beyond PROMPT_DEPTH_MAX, and text that tokenizer_encode refuses;
 * *prompt is then empty. The caller frees it with prompt_free. */
int prompt_parse(prompt_t *prompt, const char *text, size_t length, err_t *err);
void prompt_free(prompt_t *prompt);

/* ---- rows of tokens -------------------------------------------------------------------- */

typedef enum { PROMPT_PLAIN, PROMPT_WEIGHTED } prompt_syntax_t;

typedef struct {
    prompt_syntax_t syntax;
    size_t max_chunks; /* max_embeddings_multiples, >= 1: most encoder rows per prompt */
} prompt_options_t;

/* diffusers' behaviour: no weights, one chunk. */
#define PROMPT_DEFAULTS ((prompt_options_t){PROMPT_PLAIN, 1})

/* T = max_length of the tokenizer (77). One prompt is `chunks` rows of T tokens, encoded one by
 * one; their outputs stand one after the other along tokens, inner BOS and EOS included: chunks T
 * positions.
 *   ids (prompts, chunks, T)    weights (prompts, chunks * T), 1 for BOS, EOS and padding */
typedef struct {
    size_t prompts, chunks, max_length;
    int32_t *ids;
    double *weights;
    bool *truncated; /* (prompts): tokens were cut off */
    bool weighted;   /* some weight differs from 1: prompt_apply_weights has something to do */
} prompt_tokens_t;

/* Encode prompts and negative prompts together: all get the same number of chunks,
 *   chunks = clamp(ceil(longest / (T - 2)), 1, max_chunks)
 * A prompt is a row: BOS, its tokens (cut to (T-2) max_chunks), EOS, pad up to (T-2) chunks + 2.
 * Chunk c is positions [(T-2)c, (T-2)c + T) of the row, its first set to BOS. If there are several
 * chunks, and
 *   pad == EOS: its last is set to EOS;
 *   pad != EOS: its last is set to EOS unless it is EOS or pad, its second to EOS if it is pad.
 * PROMPT_PLAIN with max_chunks = 1 gives the rows of tokenizer_encode_padded.
 *   texts (prompts) UTF-8, lengths (prompts) in bytes; lengths NULL: the texts end in NUL
 * Returns 0, or -1 and err (which of several prompts, byte offset), *out then empty.
 * prompt_tokens_free frees. */
int prompt_encode(prompt_tokens_t *out, const tokenizer_t *tok, const char *const *texts,
                  const size_t *lengths, size_t prompts, const prompt_options_t *options,
                  err_t *err);
void prompt_tokens_free(prompt_tokens_t *tokens);

/* Weigh one prompt's embeddings and restore their mean:
 *   mu0 = mean(e);  e[p,:] *= weights[p];  mu1 = mean(e);  e *= mu0 / mu1
 *   embeds (n,dim) in place, weights (n); means over all positions and features, in double
 * Weights that are all 1 change no bit. Returns 0, or -1 and err, embeds unchanged, when mu0 / mu1
 * is not finite, for which the authors' script would give NaN. */
int prompt_apply_weights(real_t *embeds, const double *weights, size_t n, size_t dim, err_t *err);

#endif
