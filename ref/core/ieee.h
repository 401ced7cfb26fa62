/* ieee.h - does this process compute as IEEE 754 says? Equal bits on every machine rest on it. */
#ifndef MOLE_CORE_IEEE_H
#define MOLE_CORE_IEEE_H

#include "core/err.h"

/* 0, or -1 and err where a product and a sum are fused, results are not rounded to nearest, or subnormal
 * numbers are flushed to 0 (some programs and libraries set the processor to that, for speed). */
int ieee_check(err_t *err);

#endif
