/* weights.h - the weights of one component, from one or several safetensors files, bound strictly.
 *
 * A model takes each of its tensors once, by name and shape; weights_finish then demands that none
 * is left over. Errors name file, tensor, expected and found shape, and what to do.
 *
 * A taken tensor is finite (NaN and Inf are refused), of type real_t, and const. Where the file
 * already holds real_t it is a view of the mapped file, otherwise it is widened (F16, BF16, F32,
 * F64) into memory that weights_t owns. Either way it lives until weights_close. */
#ifndef MOLE_IO_WEIGHTS_H
#define MOLE_IO_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/dtype.h"
#include "core/err.h"
#include "core/notes.h"
#include "core/real.h"
#include "core/shape.h"
#include "io/source.h"

typedef struct weights weights_t;

/* The weights of a component's folder, as source_open has it: `stem` as diffusers and transformers name
 * files, "diffusion_pytorch_model", "model". In a single-file checkpoint a 1x1 convolution and a linear map
 * may stand for each other, and what belongs to other components counts as ignored. 0, or -1 and err. */
int weights_open(weights_t **weights, const char *folder, const char *stem, err_t *err);
/* Those of an expert or of the gates: a file, or a formula. */
int weights_open_part(weights_t **weights, const char *path, source_part_t part, const char *name,
                      err_t *err);
/* Whether they have names and shapes alone: what is taken is then memory that nobody wrote to, but for a
 * leading 0, and is not to be read. */
bool weights_names_only(const weights_t *weights);
/* Unmaps and frees everything, also what was taken. NULL is allowed. */
void weights_close(weights_t *weights);

/* The file, or "FOLDER/STEM" of shards: for messages. */
const char *weights_path(const weights_t *weights);

/* ---- names --------------------------------------------------------------------------------------
 * All functions below take the model's names. Where a file was saved with others, an alias says so:
 * a name that is not in the file as it stands, and starts (or ends) with `name_part`, is looked for
 * with `saved_part` in its place. Aliases are tried one at a time, then every prefix with every
 * suffix.
 *   weights_alias_prefix(w, "text_model.", "")            text_model.encoder.x -> encoder.x
 *   weights_alias_suffix(w, ".to_q.weight", ".query.weight")    */
void weights_alias_prefix(weights_t *weights, const char *name_part, const char *saved_part);
void weights_alias_suffix(weights_t *weights, const char *name_part, const char *saved_part);

bool weights_has(const weights_t *weights, const char *name);
/* The shape as stored, or false when there is none of that name, or the model chooses it. Does not count as
 * taken. */
bool weights_shape(const weights_t *weights, const char *name, shape_t *shape);

/* ---- taking -------------------------------------------------------------------------------------
 * 0 and *out, or -1 and err: the tensor is missing, has another shape, is not of a floating dtype,
 * holds NaN or Inf, or was taken before. */

int weights_take(weights_t *weights, const char *name, shape_t expected, const real_t **out,
                 err_t *err);

/* When the numbers of large matrices are widened (or computed, of a formula): once, at load, or anew whenever
 * they are used, which gives the same numbers in less memory. WIDEN_BY_SIZE: as used where the component,
 * widened, would fill more than a third of the machine's memory; of a formula, whose size is not known, at
 * load. To be set before anything is taken; else at load. */
typedef enum { WIDEN_AT_LOAD, WIDEN_BY_SIZE, WIDEN_AS_USED } widen_t;
void weights_set_widen(weights_t *weights, widen_t widen);
/* What that came to. */
bool weights_late(const weights_t *weights);

/* A taken tensor that stays as it is stored; weights NULL: none. Lives until weights_close. */
typedef struct {
    const weights_t *weights;
    size_t index;
} late_t;

/* weights_take; where weights_late says so and the file does not hold real_t, *out is NULL and *late the
 * tensor, which was checked like any other. */
int weights_take_late(weights_t *weights, const char *name, shape_t expected, const real_t **out,
                      late_t *late, err_t *err);
/* out (count) = its numbers, all of them. */
void late_numbers(real_t *out, const late_t *late, size_t count);

/* A convolution's weight, expected (Co,Ci,kh,kw) as files have it; *out is channels-last, stored
 * (Co,kh,kw,Ci), as conv2d wants it. (For 1x1 both are the same memory.) */
int weights_take_conv(weights_t *weights, const char *name, shape_t expected, const real_t **out,
                      err_t *err);

/* A number: shape () or (1), floating or integer dtype, finite. Kohya's "alpha". */
int weights_take_scalar(weights_t *weights, const char *name, double *value, err_t *err);

/* What was read of the files may leave memory; every view stays valid and is read anew when it is used again.
 * For whoever made copies of most tensors. (A tensor that was copied by the taking has left already.) */
void weights_forget(const weights_t *weights);

/* ---- finishing ------------------------------------------------------------------------------- */

/* Names (as saved) that the model knows it does not use: "*" and "?" as in the shell, "*" also
 * matches dots. "encoder.*", "*.position_ids". A pattern that matches nothing is no error. */
void weights_ignore(weights_t *weights, const char *pattern);

/* 0 when every tensor was taken or is ignored. Otherwise -1 and err with the number of left-overs
 * and the first few names; with allow_unused 0 all the same (list them with weights_entry). */
int weights_finish(weights_t *weights, bool allow_unused, err_t *err);

/* A note where some are left over all the same: "warning: FILE: ..." */
void weights_note_unused(const weights_t *weights, notes_t *notes);

/* The metadata of every file, one by one. */
void weights_metadata(const weights_t *weights,
                      void (*visit)(void *who, const char *key, const char *value), void *who);

/* ---- listing --------------------------------------------------------------------------------- */

typedef enum { WEIGHT_LEFT_OVER, WEIGHT_IGNORED, WEIGHT_TAKEN } weight_state_t;

typedef struct {
    const char *name; /* as saved */
    const char *file;
    dtype_t dtype;
    shape_t shape;
    weight_state_t state;
} weight_entry_t;

/* Tensors in all files; entry `index` of them, in the order of their data. */
size_t weights_count(const weights_t *weights);
weight_entry_t weights_entry(const weights_t *weights, size_t index);

/* Numbers (not tensors) that were taken so far: the component's parameter count. */
size_t weights_parameters(const weights_t *weights);
/* Bytes of owned memory, that is of tensors not used in place. */
size_t weights_owned_bytes(const weights_t *weights);

#endif
