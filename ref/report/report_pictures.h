/* report_pictures.h - small pictures of |candidate - reference|, for people to look at.
 *
 * Two per tap: where the error sits (a heat map of at most PICTURE_SIDE x PICTURE_SIDE cells of the
 * first sample) and how large it is how often (a histogram of log10 over the whole tensor). Tensors
 * are read twice, in pieces: memory is bounded whatever their size. */
#ifndef MOLE_REPORT_REPORT_PICTURES_H
#define MOLE_REPORT_REPORT_PICTURES_H

#include <jansson.h>

#include "compare/compare.h"

enum { PICTURE_SIDE = 64, PICTURE_BINS = 64, PICTURE_ROWS = 20 };

/* Pictures of the culprit and the PICTURE_ROWS worst rows that do not agree, as a JSON array of
 *   {"index": row,
 *    "map": {"rows", "columns": cells; "height", "width": of the tensor; "low", "high": |difference|;
 *            "cells": "00ff.."},        two hexadecimal digits a cell, row by row:
 *            00 no difference, 01..fe log scale from low to high, ff NaN or Inf in the cell
 *    "histogram": {"low", "high": log10 |difference| of the ends, "bins": [64 counts],
 *                  "equal", "below", "not_finite": counts of what is in no bin}}
 * A cell is the mean over the numbers that fall into it. The tensor is seen as (height, width):
 *   (B,C,H,W) the mean over C of sample 0;  (B,T,C) sample 0;  (A,B) all of it;  (A) one row
 * An empty array without a candidate or a reference to read. NULL and err when reading fails. */
json_t *report_pictures(const compare_result_t *result, const golden_case_t *golden,
                        trace_file_t *reference, trace_file_t *candidate, err_t *err);

#endif
