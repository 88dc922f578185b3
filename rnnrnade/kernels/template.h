/* All kernels for one type and one instruction set.  The including file defines REAL_BITS, VECTOR_BYTES, TABLE, the
   name of the table that this file ends in, and TARGET, the instruction set, where it is not that of any processor.
   No OpenMP, no malloc, nothing of Python here or below. */

/* The system's headers come before the target: their functions name instruction sets of their own. */
#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define PRAGMA(...) _Pragma(#__VA_ARGS__)
#define PRAGMA_OF(...) PRAGMA(__VA_ARGS__)

#if defined(TARGET) && defined(__clang__)
PRAGMA_OF(clang attribute push(__attribute__((target(TARGET))), apply_to = function))
#elif defined(TARGET)
PRAGMA_OF(GCC target(TARGET, "prefer-vector-width=512")) /* which says nothing where there is no AVX-512 */
#endif

/* Before a loop of at most n steps: no loop is left. */
#if defined(__clang__)
#define UNROLL(n) PRAGMA(clang loop unroll(full))
#else
#define UNROLL(n) PRAGMA_OF(GCC unroll n)
#endif

#include "kernels.h"
#include "vec.h"
#include "linalg.h"
#include "rnade.h"
#include "families.h"
#include "mixture.h"
#include "heads.h"
#include "cells.h"

#if REAL_BITS == 32
const struct kernels_f32 TABLE = {
#else
const struct kernels_f64 TABLE = {
#endif
    .width = WIDTH,
    .product = product,
    .product_far = product_far,
    .product_one = product_one,
    .pack = pack,
    .unpack = unpack,
    .hidden_forward = hidden_forward,
    .hidden_one = hidden_one,
    .hidden_backward = hidden_backward,
    .elementwise = elementwise,
    .heads = {HEADS},
    .cells = {CELLS},
};

#if defined(TARGET) && defined(__clang__)
#pragma clang attribute pop
#endif
