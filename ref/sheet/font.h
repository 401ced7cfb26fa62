/* font.h - a small font for the labels of a sheet: printable ASCII, five dots wide and seven high, and two
 * rows below the line for g, j, p, q, y. */
#ifndef MOLE_SHEET_FONT_H
#define MOLE_SHEET_FONT_H

#include <stdbool.h>
#include <stddef.h>

enum { FONT_WIDTH = 5, FONT_HEIGHT = 9, FONT_FIRST = ' ', FONT_LAST = '~' };

/* Whether there is a drawing of that character; another one is shown as a box. */
bool font_has(char c);
/* The dot in column x from the left and row y from the top of c's drawing; false outside of it. */
bool font_pixel(char c, size_t x, size_t y);

#endif
