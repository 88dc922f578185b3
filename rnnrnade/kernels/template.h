/* All kernels for one type and one instruction set.  The including file defines REAL_BITS, VECTOR_BYTES and TABLE,
   the name of the table that this file ends in.  No OpenMP, no malloc, nothing of Python here or below. */

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
