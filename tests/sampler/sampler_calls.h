/* sampler_calls.h - the golden calls of a sampler's step. */
#ifndef MOLE_TESTS_SAMPLER_SAMPLER_CALLS_H
#define MOLE_TESTS_SAMPLER_SAMPLER_CALLS_H

#include "core/real.h"
#include "io/json.h"
#include "io/safetensors.h"

#ifdef MOLE_F64
#define EPSILON 0x1p-52
#else
#define EPSILON 0x1p-23
#endif

enum { NUMBERS_MAX = 256 };

/* check() is asked about every call of golden/sampler/NAME, of which there are at least so many. */
void sampler_calls(const char *name, size_t least,
                   void (*check)(json_node_t call, const st_file_t *tensors));

/* At most NUMBERS_MAX numbers of a tensor; returns how many. */
size_t sampler_tensor(const st_file_t *tensors, const char *name, double *out);
/* The same of an input of a call, as real_t; 0 where it is null. */
size_t sampler_input(json_node_t call, const char *key, const st_file_t *tensors, real_t *out);

#endif
