/* unit.h - cmocka, after the headers that it wants before it, and what nearly every test uses besides. */
#ifndef MOLE_TESTS_UNIT_H
#define MOLE_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#endif
