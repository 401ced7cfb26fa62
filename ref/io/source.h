/* source.h - where a model's texts and tensors come from: one interface, three implementations.
 *
 *   FOLDER[/unet]             a diffusers folder                    source_folder.c
 *   FILE.safetensors[/unet]   a single-file checkpoint              source_single.c
 *   synth:sd15[/unet]         numbers by formula (synth.h)          source_formula.c
 *
 * What a path names is seen here and nowhere else; who loads a model asks for texts by name and for tensors
 * by name and shape. Names are those of diffusers, relative to the component. */
#ifndef MOLE_IO_SOURCE_H
#define MOLE_IO_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/dtype.h"
#include "core/err.h"
#include "core/real.h"
#include "core/shape.h"
#include "io/json.h"

/* ---- paths -------------------------------------------------------------------------------------- */

bool source_is_formula(const char *path);
/* A single-file checkpoint, or a place in it. It has neither tokenizer nor scheduler of its own. */
bool source_is_single(const char *path);
/* A path that a file names, relative to the folder it is in; a formula stays as it is. Fresh memory. */
char *source_path(const char *folder, const char *path);
/* 0 when the path may be a whole model; else -1 and err, which says what --model takes. */
int source_check(const char *path, err_t *err);

/* ---- texts -------------------------------------------------------------------------------------- */

/* A file of at most `limit` bytes, "FOLDER/NAME", with a NUL after them. *text is fresh memory; NULL, and no
 * error, when there is no such file. Returns 0, or -1 and err. */
int source_read(const char *path, size_t limit, char **text, size_t *bytes, err_t *err);
bool source_has(const char *path);
/* The same as JSON (json_file_open); a file that is not there is an error. */
int source_json(json_file_t **file, const char *path, err_t *err);

/* ---- tensors ------------------------------------------------------------------------------------ */

typedef struct source source_t;

/* The tensors of a component's folder; files are STEM.safetensors or its shards. 0, or -1 and err. */
int source_open(source_t **source, const char *folder, const char *stem, err_t *err);
/* Those of an expert or of the gates: one file, or a formula, of whose names `name` is the first part. */
typedef enum { SOURCE_EXPERT, SOURCE_GATES } source_part_t;
int source_open_part(source_t **source, const char *path, source_part_t part, const char *name,
                     err_t *err);
void source_close(source_t *source);

typedef struct {
    const char *name, *file; /* as saved */
    dtype_t dtype;
    shape_t shape;
    const void *data; /* as saved, in the mapped file; NULL: `numbers` computes them */
    bool unchecked;   /* without data, and of a file all the same: may hold NaN or Inf */
} source_tensor_t;

enum { SOURCE_OPEN_SHAPE = -1 };
#define SOURCE_NONE SIZE_MAX

typedef enum { SOURCE_OWN, SOURCE_OTHERS, SOURCE_STRANGE } source_owner_t;

/* An implementation. `numbers` may be called by several threads. The five at the end may be NULL: a tensor
 * is there when it is found, pages stay, names are those asked for, all tensors are the component's own,
 * there is no metadata. */
typedef struct {
    int (*read)(const char *path, size_t limit, char **text, size_t *bytes, err_t *err);
    int (*open)(source_t **source, const char *folder, const char *stem, err_t *err);
    /* Its index, or SOURCE_NONE. A formula's tensor takes the shape, and is listed from then on. */
    size_t (*find)(source_t *source, const char *name, shape_t shape);
    size_t (*count)(const source_t *source);
    source_tensor_t (*at)(const source_t *source, size_t index);
    /* out (count) = the numbers from the flat index `first` on. */
    void (*numbers)(const source_t *source, size_t index, size_t first, size_t count, real_t *out);
    void (*close)(source_t *source);
    /* Whether there is a tensor of that name, for those that take their shape from who asks. *shape is its
     * own; ndim is SOURCE_OPEN_SHAPE where the model chooses it, a dimension is 0 where it chooses that. */
    bool (*has)(const source_t *source, const char *name, shape_t *shape);
    /* Pages of the tensor, or with SOURCE_NONE of all, may leave memory. */
    void (*forget)(const source_t *source, size_t index);
    /* The name that a tensor has in the file, for messages; fresh memory, or NULL. */
    char *(*saved_name)(const source_t *source, const char *name);
    /* Whose a saved name is; *own is its part behind the component's prefix. */
    source_owner_t (*owner)(const source_t *source, const char *saved, const char **own);
    void (*metadata)(const source_t *source,
                     void (*visit)(void *who, const char *key, const char *value), void *who);
} source_class_t;

struct source {
    const source_class_t *class;
    char *path;        /* the file, "FOLDER/STEM" of shards, or the formula: for messages */
    bool loose;        /* (Co,Ci) and (Co,Ci,1,1) may stand for each other */
    bool names_only;   /* tensors without numbers, to list what a model has */
    const char *doubt; /* the question to ask when tensors are left over */
};

#endif
