/* The recurrences (2): r = f(pre), and back.  The list is the last lines. */

INLINE vec cell_value(vec pre, const int cell) { return cell == SIGMOID_CELL ? sigmoid_(pre) : tanh_(pre); }

/* f'(pre) from r = f(pre) */
INLINE vec cell_slope(vec r, const int cell) { return cell == SIGMOID_CELL ? r * (1 - r) : 1 - r * r; }

static void cell_forward(real *r, const real *pre, int cell, ptrdiff_t n) {
    switch (cell) {
    case SIGMOID_CELL:
        for (ptrdiff_t i = 0; i < n; i += LANES) store(r + i, cell_value(load(pre + i), SIGMOID_CELL));
        break;
    case TANH_CELL:
        for (ptrdiff_t i = 0; i < n; i += LANES) store(r + i, cell_value(load(pre + i), TANH_CELL));
        break;
    }
}

static void cell_backward(real *dpre, const real *dr, const real *r, int cell, ptrdiff_t n) {
    switch (cell) {
    case SIGMOID_CELL:
        for (ptrdiff_t i = 0; i < n; i += LANES) store(dpre + i, load(dr + i) * cell_slope(load(r + i), SIGMOID_CELL));
        break;
    case TANH_CELL:
        for (ptrdiff_t i = 0; i < n; i += LANES) store(dpre + i, load(dr + i) * cell_slope(load(r + i), TANH_CELL));
        break;
    }
}

static void elementwise(real *out, const real *x, int function, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        vec v = load(x + i);
        store(out + i, function == EXPONENTIAL ? exp_(v)
                       : function == LOGARITHM ? log_(v)
                       : function == SIGMOID   ? sigmoid_(v)
                                               : tanh_(v));
    }
}
