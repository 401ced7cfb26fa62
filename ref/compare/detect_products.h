/* detect_products.h - a candidate whose products are TF32's, which leave no grid: found from its errors.
 *
 * Tensor cores round what goes into a product to 11 bits and keep sums and results in float32; PyTorch has
 * that on for convolutions unless told otherwise. Of such a candidate every convolution (or every linear map,
 * or both) is off by thousands of float32 roundings for its own inputs, each by about what TF32 makes of it,
 * and nearly nothing else is. One wrong layer does not look so. */
#ifndef MOLE_COMPARE_DETECT_PRODUCTS_H
#define MOLE_COMPARE_DETECT_PRODUCTS_H

#include "compare/passes.h"

/* Of rows that were judged as float32. Where they look so, the budgets of those rows are TF32's, where linear
 * maps are among them the result's as well, and the rows are judged anew. 0, or -1 and c->err. */
int detect_products(comparison_t *c, double limit);

#endif
