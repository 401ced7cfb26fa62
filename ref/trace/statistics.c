/* statistics.c - see statistics.h. */
#include "trace/statistics.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/fmath.h"
#include "trace/precision.h"

const char *statistic_name(statistic_t statistic) {
    static const char *const names[] = {"mean", "deviation", "min", "max", "norm"};
    return names[statistic];
}

/* ---- of a tensor --------------------------------------------------------------------------------------- */

typedef struct {
    double count, mean, squares; /* squares: of the distances from the mean */
    double norm;                 /* sum of squares */
    double least, most;
    size_t not_finite;
} part_t;

/* Two passes over numbers that are in memory. */
static part_t part_of(const double *x, size_t count) {
    part_t p = {.count = (double)count, .least = INFINITY, .most = -INFINITY};
    for (size_t i = 0; i < count; i++) {
        p.not_finite += !isfinite(x[i]);
        p.mean += x[i] / p.count;
        p.norm += x[i] * x[i];
        p.least = fmin(p.least, x[i]);
        p.most = fmax(p.most, x[i]);
    }
    for (size_t i = 0; i < count; i++) p.squares += (x[i] - p.mean) * (x[i] - p.mean);
    return p;
}

/* Both together: means and squares of two parts (Chan, Golub, LeVeque). */
static void append(part_t *whole, const part_t *p) {
    double n = whole->count + p->count, d = p->mean - whole->mean;
    whole->squares += p->squares + d * d * whole->count * p->count / n;
    whole->mean += d * p->count / n;
    whole->count = n;
    whole->norm += p->norm;
    whole->least = fmin(whole->least, p->least);
    whole->most = fmax(whole->most, p->most);
    whole->not_finite += p->not_finite;
}

static void keep_places(statistics_t *s, const double *x, size_t first, size_t n, size_t count) {
    for (size_t k = 0; k < s->places; k++) {
        size_t place = fingerprint_position(k, count);
        if (place >= first && place - first < n) s->at[k] = x[place - first];
    }
}

static void fill(statistics_t *s, const part_t *p) {
    s->value[STATISTIC_MEAN] = p->mean;
    s->value[STATISTIC_DEVIATION] = sqrt(p->squares / p->count);
    s->value[STATISTIC_LEAST] = p->least;
    s->value[STATISTIC_MOST] = p->most;
    s->value[STATISTIC_NORM] = sqrt(p->norm);
    s->not_finite = p->not_finite;
    if (s->not_finite) s->places = 0;
    for (int i = 0; i < STATISTICS; i++) s->has[i] = !s->not_finite && isfinite(s->value[i]);
}

int statistics_of(statistics_t *s, statistics_reader_t *read, void *who, size_t index, size_t count,
                  err_t *err) {
    enum { CHUNK = 1 << 15 };
    size_t room = count < CHUNK ? count + 1 : CHUNK;
    double *x = xmalloc(room * sizeof *x);
    part_t whole = {.least = INFINITY, .most = -INFINITY};
    int status = 0;
    *s = (statistics_t){.places = count < FINGERPRINT_VALUES ? count : FINGERPRINT_VALUES,
                        .has_shape = true,
                        .has_count = true,
                        .sums = 0x1p-53};
    for (size_t first = 0; !status && first < count; first += CHUNK) {
        size_t n = count - first < CHUNK ? count - first : CHUNK;
        status = read(who, index, first, n, x, err);
        if (status) break;
        part_t part = part_of(x, n);
        append(&whole, &part);
        keep_places(s, x, first, n, count);
    }
    if (!status && count) fill(s, &whole);
    free(x);
    return status ? -1 : 0;
}

/* ---- what the writer did ------------------------------------------------------------------------------- */

enum { DIGITS = 17, FULL = 16 }; /* of a double that was written whole, nearly always */

/* The fewest digits that give the number back, and the decimal place of the first. */
static int digits_of(double x, int *place) {
    char text[40];
    *place = 0;
    if (x == 0) return 0;
    int digits = 1;
    snprintf(text, sizeof text, "%.*e", FULL - 2, x);
    if (strtod(text, NULL) != x) digits = DIGITS;
    for (; digits < DIGITS; digits++) {
        snprintf(text, sizeof text, "%.*e", digits - 1, x);
        if (strtod(text, NULL) == x) break;
    }
    char *end = NULL;
    snprintf(text, sizeof text, "%.*e", digits - 1, x);
    for (char *p = text; *p; p++)
        if (*p == 'e') end = p + 1;
    *place = end ? (int)strtol(end, NULL, 10) : 0;
    return digits;
}

typedef struct {
    int digits, decimals; /* the most that are seen */
} printing_t;

static void see(printing_t *p, double x) {
    int place, digits = digits_of(x, &place);
    if (digits > p->digits) p->digits = digits;
    if (digits && digits - 1 - place > p->decimals) p->decimals = digits - 1 - place;
}

static double power_of_ten(int power) {
    double x = 1;
    for (; power > 0; power--) x *= 10;
    for (; power < 0; power++) x /= 10;
    return x;
}

/* Half of the last digit, whether so many digits or so many decimals were printed: the larger. */
static double half_digit(const printing_t *p, double x) {
    if (p->digits >= FULL) return 0;
    double by_decimals = 0.5 * power_of_ten(-p->decimals), by_digits = 0;
    int place;
    digits_of(x, &place);
    if (x != 0) by_digits = 0.5 * power_of_ten(place - p->digits + 1);
    return fmax(by_decimals, by_digits);
}

/* What sums were rounded to: the grid that means, deviations and norms lie on. */
static double unit_of_results(const statistics_t *s, size_t taps) {
    static const statistic_t sums[] = {STATISTIC_MEAN, STATISTIC_DEVIATION, STATISTIC_NORM};
    double *x = xmalloc((3 * taps + 1) * sizeof *x);
    size_t count = 0, telling;
    for (size_t i = 0; i < taps; i++)
        for (size_t k = 0; k < 3; k++)
            if (s[i].has[sums[k]]) x[count++] = s[i].value[sums[k]];
    precision_t grid = precision_of(x, count, &telling);
    free(x);
    return telling < 8 ? 0x1p-24 : precision_unit(grid);
}

void statistics_digits(statistics_t *s, size_t taps) {
    printing_t of[STATISTICS + 1] = {0};
    int most = 0;
    for (size_t i = 0; i < taps; i++) {
        for (int k = 0; k < STATISTICS; k++)
            if (s[i].has[k]) see(&of[k], s[i].value[k]);
        for (size_t k = 0; k < s[i].places; k++) see(&of[STATISTICS], s[i].at[k]);
    }
    for (int k = 0; k < STATISTICS; k++)
        if (k != STATISTIC_LEAST && k != STATISTIC_MOST && of[k].digits > most) most = of[k].digits;
    double results = unit_of_results(s, taps);
    if (most < FULL && results < 0x1p-24) results = 0x1p-24; /* nobody can tell */
    for (size_t i = 0; i < taps; i++) {
        for (int k = 0; k < STATISTICS; k++) s[i].printed[k] = half_digit(&of[k], s[i].value[k]);
        for (size_t k = 0; k < s[i].places; k++)
            s[i].at_printed[k] = half_digit(&of[STATISTICS], s[i].at[k]);
        s[i].results = results;
        s[i].sums = results > 0x1p-24 ? 0x1p-24 : results;
    }
}

/* rms of the tensor, or what it cannot be above. */
static double size_of(const statistics_t *s, double count) {
    if (s->has[STATISTIC_NORM]) return s->value[STATISTIC_NORM] / sqrt(count);
    if (s->has[STATISTIC_LEAST] && s->has[STATISTIC_MOST])
        return fmax(fabs(s->value[STATISTIC_LEAST]), fabs(s->value[STATISTIC_MOST]));
    return fmath_hypot(s->has[STATISTIC_MEAN] ? s->value[STATISTIC_MEAN] : 0,
                       s->has[STATISTIC_DEVIATION] ? s->value[STATISTIC_DEVIATION] : 0);
}

/* Four times the rms error of a sum in one accumulator, of numbers of one sign: a rounding's is 0.425 units,
 * and sqrt(N / 3) of them come together. */
void statistics_off(const statistics_t *s, size_t count, double off[STATISTICS]) {
    double n = count ? (double)count : 1, root = sqrt(n), size = size_of(s, n);
    const double *v = s->value;
    double mean = s->has[STATISTIC_MEAN] ? fabs(v[STATISTIC_MEAN]) : size;
    off[STATISTIC_MEAN] = s->sums * (root * mean + 2 * size) + s->results * mean;
    off[STATISTIC_DEVIATION] = s->sums * (root / 2 * v[STATISTIC_DEVIATION] + 2 * size) +
                               s->results * v[STATISTIC_DEVIATION];
    off[STATISTIC_NORM] = (s->sums * root / 2 + s->results) * v[STATISTIC_NORM];
    off[STATISTIC_LEAST] = off[STATISTIC_MOST] = 0;
    for (int i = 0; i < STATISTICS; i++) off[i] += s->printed[i];
}

/* ---- contradictions ------------------------------------------------------------------------------------ */

static char *order_defect(const statistics_t *s, const double *off) {
    const double *v = s->value;
    bool least = s->has[STATISTIC_LEAST], most = s->has[STATISTIC_MOST];
    if (s->has[STATISTIC_DEVIATION] && v[STATISTIC_DEVIATION] < 0)
        return xasprintf("the deviation is %.9g, below zero", v[STATISTIC_DEVIATION]);
    if (s->has[STATISTIC_NORM] && v[STATISTIC_NORM] < 0)
        return xasprintf("the norm is %.9g, below zero", v[STATISTIC_NORM]);
    if (least && most && v[STATISTIC_LEAST] > v[STATISTIC_MOST])
        return xasprintf("the min, %.9g, is above the max, %.9g", v[STATISTIC_LEAST],
                         v[STATISTIC_MOST]);
    if (s->has[STATISTIC_MEAN]) {
        double mean = v[STATISTIC_MEAN], room = 2 * off[STATISTIC_MEAN];
        if (least && mean < v[STATISTIC_LEAST] - room - s->printed[STATISTIC_LEAST])
            return xasprintf("the mean, %.9g, is below the min, %.9g", mean, v[STATISTIC_LEAST]);
        if (most && mean > v[STATISTIC_MOST] + room + s->printed[STATISTIC_MOST])
            return xasprintf("the mean, %.9g, is above the max, %.9g", mean, v[STATISTIC_MOST]);
    }
    return NULL;
}

static char *place_defect(const statistics_t *s) {
    for (size_t k = 0; k < s->places; k++) {
        double x = s->at[k], room = s->at_printed[k];
        if ((s->has[STATISTIC_LEAST] &&
             x < s->value[STATISTIC_LEAST] - room - s->printed[STATISTIC_LEAST]) ||
            (s->has[STATISTIC_MOST] &&
             x > s->value[STATISTIC_MOST] + room + s->printed[STATISTIC_MOST]))
            return xasprintf("value %zu is %.9g, outside of min and max", k, x);
    }
    return NULL;
}

/* norm^2 = N (mean^2 + deviation^2), or (N - 1) for N where the deviation was divided so. */
static char *norm_defect(const statistics_t *s, size_t count, const double *off) {
    const double *v = s->value;
    if (!s->has[STATISTIC_MEAN] || !s->has[STATISTIC_DEVIATION] || !s->has[STATISTIC_NORM])
        return NULL;
    double n = (double)count, rms = v[STATISTIC_NORM] / sqrt(n);
    double mean = v[STATISTIC_MEAN], deviation = v[STATISTIC_DEVIATION];
    double most = fmath_hypot(mean, deviation),
           least = fmath_hypot(mean, deviation * sqrt(count > 1 ? (n - 1) / n : 1));
    double room =
        2 * (off[STATISTIC_MEAN] + off[STATISTIC_DEVIATION] + off[STATISTIC_NORM] / sqrt(n)) +
        1e-12 * most;
    if (rms <= most + room && rms >= least - room) return NULL;
    return xasprintf("the norm is %.9g, and mean and deviation of %zu numbers make it %.9g",
                     v[STATISTIC_NORM], count, most * sqrt(n));
}

char *statistics_defect(const statistics_t *s, size_t count) {
    double off[STATISTICS];
    bool known = count != SIZE_MAX;
    statistics_off(s, known ? count : 1, off);
    char *defect = order_defect(s, off);
    if (!defect) defect = place_defect(s);
    if (!defect && known && count) defect = norm_defect(s, count, off);
    return defect;
}

/* ---- the tensor's own numbers -------------------------------------------------------------------------- */

/* The number of the coarsest type that prints so, where the digits are enough to say. */
static double unprinted(double x, double printed) {
    static const precision_t grids[] = {PRECISION_BF16, PRECISION_F16, PRECISION_F32};
    if (printed == 0) return x;
    for (size_t i = 0; i < 3; i++) {
        double on = precision_round(grids[i], x);
        if (8 * printed <= precision_unit(grids[i]) * fabs(x) && fabs(on - x) <= printed) return on;
    }
    return (double)(float)x; /* as good as any: nobody can tell float64 */
}

size_t statistics_elements(const statistics_t *s, double *x) {
    size_t count = 0;
    for (size_t k = 0; k < s->places; k++) x[count++] = unprinted(s->at[k], s->at_printed[k]);
    for (int i = STATISTIC_LEAST; i <= STATISTIC_MOST; i++)
        if (s->has[i]) x[count++] = unprinted(s->value[i], s->printed[i]);
    return count;
}
