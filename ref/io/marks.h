/* marks.h - what a file of weights says of itself besides its numbers: which quantity the network predicts,
 * and whether its noise levels end in nothing but noise.
 *
 *   tensors   v_pred   v-prediction        ztsnr   zero terminal SNR      (their numbers mean nothing)
 *             edm_...  continuous noise levels (EDM): refused, DDIM's steps are none
 *   metadata  modelspec.prediction_type, modelspec.predict_key     epsilon, v, sample and their spellings
 *             modelspec.noise_process "flow": refused
 *             ss_v_parameterization, ss_zero_terminal_snr          "True"
 * Single-file checkpoints, which have no scheduler_config.json, are marked so; a folder's files may be. */
#ifndef MOLE_IO_MARKS_H
#define MOLE_IO_MARKS_H

#include "io/weights.h"

enum { MARK_TEXT = 96 };

typedef struct {
    const char *prediction;        /* "epsilon", "v_prediction", "sample"; NULL: nothing says */
    char prediction_by[MARK_TEXT]; /* "tensor 'v_pred'", for people */
    bool zero_snr;
    char zero_snr_by[MARK_TEXT];
} marks_t;

/* Returns 0, or -1 and err: marks of what DDIM cannot run, values that nothing here knows, two that do not
 * agree. */
int marks_read(marks_t *marks, const weights_t *weights, err_t *err);

#endif
