/* sort.h - numbers in ascending order, in place. */
#ifndef MOLE_CORE_SORT_H
#define MOLE_CORE_SORT_H

#include <stddef.h>

void sort_doubles(double *x, size_t count); /* none is NaN */

#endif
