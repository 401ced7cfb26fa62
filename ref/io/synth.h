/* synth.h - a model without a file: every number follows from its tensor's name, its index and a seed.
 *
 *   key   = mix64(fnv1a64(name) + seed * 0x9E3779B97F4A7C15)             low half a, high half b
 *   x     = mix32(i * 0x9E3779B1 + a, b)             i: flat row-major index in torch's order
 *   u     = (x / 2^8 - 2^23) / 2^23                  24 bits, exact in float32, -1 <= u < 1
 *   value = offset + amplitude * u                   float32, rounded after each of the two
 *
 * docs/synth.md has the mixers, and amplitude and offset by the tensor's part in the network;
 * scripts/golden/synth.py is the same in NumPy, bit for bit. A name is that of diffusers with the
 * component in front ("unet.conv_in.weight"); for experts and gates the file's key with the
 * expert's name or "gates" in front ("face.lora_unet_mid_block_attentions_0_proj_in.lora_up.weight").
 *
 * Where a file or folder is named, a specification may stand in its place:
 *   synth:sd15[,seed=N]                     a model; also sd21, sdxl, and each as sd15-tiny
 *   synth:[rank=R][,alpha=A][,seed=N]       an expert (R 256; A the rank)
 *   synth:[seed=N]                          gates */
#ifndef MOLE_IO_SYNTH_H
#define MOLE_IO_SYNTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/real.h"
#include "core/shape.h"

typedef enum { SYNTH_MODEL, SYNTH_EXPERT, SYNTH_GATES } synth_kind_t;

enum { SYNTH_ARCH = 32, SYNTH_RANK_MAX = 1 << 16 };

typedef struct {
    synth_kind_t kind;
    char arch[SYNTH_ARCH]; /* of a model */
    uint64_t seed;
    size_t rank;  /* of an expert */
    double alpha; /* of an expert: a float32 above 0 */
    bool names;   /* ",names": tensors without their numbers, to list what a model has */
} synth_spec_t;

/* Whether the text starts with "synth:". */
bool synth_is(const char *text);

/* Read a specification of that kind; for a model *rest (may be NULL) is what follows the first
 * '/', or "". Returns 0, or -1 and err, which names what is allowed. */
int synth_parse(synth_spec_t *spec, synth_kind_t kind, const char *text, const char **rest,
                err_t *err);

/* A file of a made model's folder, "synth:sd15/unet/config.json": model_index.json, unet/, vae/ and
 * text_encoder/config.json, scheduler/scheduler_config.json, tokenizer/: vocab.json, merges.txt,
 * tokenizer_config.json, special_tokens_map.json; of sdxl also text_encoder_2/ and tokenizer_2/. *text is
 * fresh memory for the caller, NULL (and no error) when the folder has no such file. Returns 0, or -1 and
 * err for a bad specification. */
int synth_file(char **text, const char *path, err_t *err);
/* The names of these files, "unet/config.json"; NULL behind the last. */
const char *synth_file_name(size_t index);

/* ---- numbers ------------------------------------------------------------------------------------ */

/* One tensor, ready for its numbers. */
typedef struct {
    uint32_t a, b;
    float offset, amplitude;
} synth_tensor_t;

/* name: with its component, as above. */
synth_tensor_t synth_tensor(const synth_spec_t *spec, const char *name, shape_t shape);

/* out (count) = the numbers with the flat indices first, first + 1, ...; one thread. */
void synth_numbers_f32(float *out, const synth_tensor_t *tensor, size_t first, size_t count);
void synth_numbers(real_t *out, const synth_tensor_t *tensor, size_t first, size_t count);

#endif
