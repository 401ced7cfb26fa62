/* vmath_tables.h - coefficients of vmath.h, which says what they are. Made by scripts/golden/fmath.py. */
#ifndef MOLE_CORE_VMATH_TABLES_H
#define MOLE_CORE_VMATH_TABLES_H

/* clang-format off */
/* log(exp(z^2) erfc(z) / t) in u = 2 t - 1, t = 2 / (2 + z), 0.16 <= t <= 1 */
static const double erfc_exponent[] = {
    -0x1.57f564e962ac9p-1, 0x1.5864b14ea5b19p-1, 0x1.83d61cbe2afe9p-5, -0x1.802b2e6411d2dp-5,
    -0x1.43825130cd912p-7, 0x1.212a4ad442549p-7, 0x1.cd2d171bdb181p-10, -0x1.332e1ff528e59p-9,
    -0x1.3760e19bea09cp-13, 0x1.5d23949528ab9p-11, -0x1.64c9f1d83db4ep-14, -0x1.50ec28de8055fp-13,
    0x1.be723aff8515bp-15, 0x1.6b5f1c23f8e4ap-16, -0x1.71e94e301c697p-17};
/* clang-format on */

#endif
