/* spoil.h - files that are almost right: one of a model (model/model_copy.h), or of the experts, spoilt in
 * a stated way. */
#ifndef MOLE_TESTS_CLI_SPOIL_H
#define MOLE_TESTS_CLI_SPOIL_H

/* How a safetensors file is spoilt. From SPOIL_DTYPE on it is about one named tensor. */
typedef enum {
    SPOIL_EMPTY,
    SPOIL_TRUNCATED,   /* the first half */
    SPOIL_CUT_TAIL,    /* all but the last byte */
    SPOIL_HUGE_HEADER, /* a header of 2^60 bytes, it says */
    SPOIL_OVERLAP,     /* two tensors share bytes */
    SPOIL_DUPLICATE,   /* two tensors share a name */
    SPOIL_PICKLE,
    SPOIL_ZIP_PICKLE, /* torch.save since 1.6 */
    SPOIL_DTYPE,      /* whole numbers instead */
    SPOIL_NAN,
    SPOIL_INF,
    SPOIL_SHAPE, /* one row more */
    SPOIL_MISSING,
    SPOIL_LEFT_OVER, /* one more tensor, named `tensor` + "_more" */
    SPOIL_KINDS
} spoil_t;

extern const char *const spoil_name[SPOIL_KINDS];

/* Write `to`, a spoilt copy of the safetensors file `from`. */
void spoil_file(const char *from, const char *to, spoil_t how, const char *tensor);

/* Remove a file of a copied model. */
void spoil_remove(const char *model, const char *file);

#endif
