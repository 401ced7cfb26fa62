/* box_muller.h - sixteen uniforms to sixteen normals, as torch's CPU kernel does it.
 *
 *   r = sqrt(-2 log(1 - x[j])), a = 2 pi x[j+8];  x[j] = r cos a, x[j+8] = r sin a,  j < 8 */
#ifndef MOLE_SAMPLER_BOX_MULLER_H
#define MOLE_SAMPLER_BOX_MULLER_H

/* In float32, the operations of torch's AVX2 kernel one by one: equal bits, on any machine. x in
 * [0, 1). */
void box_muller16(float x[16]);

/* In float64, by core/fmath.h where torch calls libm. */
void box_muller16_f64(double x[16]);

#endif
