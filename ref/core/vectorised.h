/* vectorised.h - loops that use the widest vectors of the machine they run on.
 *
 * A function marked VECTORISED is compiled several times, for machines with vectors of 16, 8 and 4 floats,
 * and the loader picks one. The source stays plain loops. The numbers stay the same bits, too: each element
 * goes through the same operations whatever its neighbours do (no fused multiply-add: -ffp-contract=off; no
 * reordered sums: a loop that wants several running sums has them as an array).
 *
 * With MOLE_VECTORS, "avx2" say, there is one version, for those: `make clones` compares what they give.
 *
 * Where the compiler or the system has no such thing, and under the sanitizers, there is one version, for
 * the vectors that the whole program is compiled for. It stays a function of its own, so that
 * scripts/check_vectors.sh finds it among the instructions.
 *
 * Packed code needs -fno-trapping-math (Makefile): without it `x < low ? a : b` is a branch, since a compare
 * could raise a flag that nobody reads here. */
#ifndef MOLE_CORE_VECTORISED_H
#define MOLE_CORE_VECTORISED_H

#define VECTORISED __attribute__((noinline))

#if defined(__has_attribute) && defined(__x86_64__) && defined(__gnu_linux__) &&                   \
    !defined(__SANITIZE_ADDRESS__)
#undef VECTORISED
#if defined(MOLE_VECTORS)
#define VECTORISED __attribute__((noinline, target(MOLE_VECTORS)))
#elif __has_attribute(target_clones)
#define VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTORISED __attribute__((noinline))
#endif
#endif

#endif
