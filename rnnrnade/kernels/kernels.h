/* The contract of the kernels: what each computes, its shapes, and what it accumulates.

   Alphabet: D dimensions, H hidden units, K components, R recurrent units, P raw outputs a dimension,
   W lanes of a panel (`width` of the table).

   A *panel* holds W frames in the lanes: panel[feature][lane].  A frame is one lane and no lane ever looks at
   another, so a frame's numbers do not depend on the frames beside it.

   Argument order: outputs, caches, inputs, parameters, sizes.  A backward kernel takes the list of its forward
   kernel with `d` before what it accumulates into.

   Same bits: every output of `product` is ONE chain of multiply-adds over the contraction index, in ascending
   order, continued from what the output holds; cutting the index, the outputs or the lanes differently changes
   nothing.  The build forbids the compiler to contract a * b + c by itself (-ffp-contract=off), so the source
   says where a multiply-add is fused and where it is not.

   Input is trusted: it was checked at the border (sequences.py).  NaN goes through, into its own lane only. */

#ifndef RNNRNADE_KERNELS_H
#define RNNRNADE_KERNELS_H

#include <stddef.h>

/* Rows of parameters whose last axis lies in the lanes are padded with zeros to a multiple of PAD numbers; it is
   a multiple of the lanes of every vector unit, so one parameter vector serves every row of the table. */
enum { PAD = 16 };

enum activation { SIGMOID_UNIT, RELU_UNIT, N_ACTIVATIONS };
enum cell { SIGMOID_CELL, TANH_CELL, GRU_CELL, LSTM_CELL, N_CELLS };
enum function { EXPONENTIAL, EXPM1, LOGARITHM, SIGMOID, TANH };

/* The heads: the families of components, each with its mixtures (families.h), then those of their own (heads.h). */
#define FAMILIES(EACH) EACH(GAUSSIAN, gaussian) EACH(LAPLACE, laplace) EACH(LOGISTIC, logistic) EACH(STUDENT, student)
#define SHAPED(EACH) EACH(STUDENT, student) /* those with a shape, a parameter of each component that no net drives */
#define NUMBERED(NAME, name) NAME,
enum head { FAMILIES(NUMBERED) N_FAMILIES, BERNOULLI = N_FAMILIES, N_HEADS };
#undef NUMBERED

/* The shape of one component, and what its density asks of it: computed once a call, in double precision, since no
   frame changes it (core/families.pxi).  Student: nu = 1 + exp(z^nu). */
struct shape {
    double nu, inverse;                      /* nu, 1 / nu */
    double power;                            /* (nu + 1) / 2 */
    double log_norm, log_norm_slope;         /* log f(0), and its derivative by nu */
};

/* What a head needs to know of the P raw outputs: the number of components and the row at which each of its
   quantities begins (the rows that the recurrent state drives stand first, so the order depends on `context`).
   family: of a mixture, for kernels that are not compiled once for each.  shapes (K): of the dimension at hand, or NULL
   where the family has none. */
struct outputs {
    ptrdiff_t K, alpha, mu, sigma, nu;
    double min_scale;
    int family;
    const struct shape *shapes;
};

/* One table for each type.  kernel_table.h declares `struct kernels_f32` and `struct kernels_f64`. */
#define real float
#define TYPED(name) name##_f32
#include "kernel_table.h"
#undef real
#undef TYPED

#define real double
#define TYPED(name) name##_f64
#include "kernel_table.h"
#undef real
#undef TYPED

/* A row of the table: the same kernels for one instruction set, in both types. */
struct kernel_row {
    const char *name;
    const struct kernels_f32 *f32;
    const struct kernels_f64 *f64;
};

/* The C rows that this build holds and this processor runs, the fastest first; ends with a row whose name is
   NULL.  (dispatch.c) */
const struct kernel_row *kernel_rows(void);

#endif
