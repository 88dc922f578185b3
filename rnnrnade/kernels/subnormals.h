/* Subnormal numbers (below 1.2e-38 in single precision) as zero, in the thread that asks for it.
 *
 * They cost an assist of the processor each, a hundred cycles and more, and mean nothing here: beside the terms that
 * they are added to they vanish.  The responsibilities of far components are such numbers, and so are moments of
 * parameters that get no gradient. */
#ifndef RNNRNADE_SUBNORMALS_H
#define RNNRNADE_SUBNORMALS_H
#if defined(__x86_64__)
#include <xmmintrin.h>
typedef unsigned int float_mode;
static inline float_mode get_float_mode(void) { return _mm_getcsr(); }
static inline void set_float_mode(float_mode mode) { _mm_setcsr(mode); }
#define SUBNORMALS_ARE_ZERO 0x8040u /* of results, and of operands */
#elif defined(__aarch64__)
typedef unsigned long float_mode;
static inline float_mode get_float_mode(void) {
    float_mode mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static inline void set_float_mode(float_mode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#define SUBNORMALS_ARE_ZERO (1ul << 24)
#else
typedef int float_mode;
static inline float_mode get_float_mode(void) { return 0; }
static inline void set_float_mode(float_mode mode) { (void)mode; }
#define SUBNORMALS_ARE_ZERO 0
#endif
static inline float_mode subnormals_as_zero(void) { /* the mode of before, for set_float_mode */
    float_mode before = get_float_mode();
    set_float_mode(before | SUBNORMALS_ARE_ZERO);
    return before;
}
#endif
