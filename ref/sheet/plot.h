/* plot.h - the global gates of a run as curves. */
#ifndef MOLE_SHEET_PLOT_H
#define MOLE_SHEET_PLOT_H

#include "sheet/canvas.h"
#include "sheet/record.h"

/* Steps from left to right, 0 to 1 upwards, with numbers at both axes; one colour for each expert, named at
 * the top. A step at which nothing was seen has no point. */
void plot_global(canvas_t *canvas, rect_t at, const record_t *record);

#endif
