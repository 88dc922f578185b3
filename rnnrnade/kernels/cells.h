/* The recurrences (2): the next state, and back.  The list is the last lines.

   gates, state and so on are rows as kernel_table.h has them: sequences are rows and units the lanes, since few sequences
   may advance side by side.  Rows are outside, vectors of units inside, every number read and written once.  Gates lie one
   behind the other, each of R numbers, so the last vector of one may reach into the next: there only what belongs to it is
   read and written.  There are no tricks here: W_rec r, in linalg.h, is nearly all of the time. */

INLINE ptrdiff_t padded(ptrdiff_t n) { return (n + PAD - 1) / PAD * PAD; }

/* The first n numbers, as many as fit into a vector, and zeros behind them. */
INLINE vec load_some(const real *p, ptrdiff_t n) {
    vec v = {0};
    if (n >= LANES) return load(p);
    memcpy(&v, p, (size_t)n * sizeof(real));
    return v;
}
INLINE void store_some(real *p, vec v, ptrdiff_t n) {
    if (n >= LANES)
        store(p, v);
    else
        memcpy(p, &v, (size_t)n * sizeof(real));
}

/* The padding of a state. */
INLINE void zero_padding(real *r, ptrdiff_t R) { memset(r + R, 0, (size_t)(padded(R) - R) * sizeof(real)); }

/* ---- one gate: r = f(gate) ---- */

INLINE vec cell_value(vec gate, const int cell) { return cell == SIGMOID_CELL ? sigmoid_(gate) : tanh_(gate); }

/* f'(gate) from r = f(gate) */
INLINE vec cell_slope(vec r, const int cell) { return cell == SIGMOID_CELL ? r * (1 - r) : 1 - r * r; }

INLINE void unit_forward(const int cell, real *state, const real *gates, ptrdiff_t n, ptrdiff_t R) {
    ptrdiff_t Rp = padded(R);
    for (ptrdiff_t j = 0; j < n * Rp; j += LANES) store(state + j, cell_value(load(gates + j), cell));
    for (ptrdiff_t i = 0; i < n; i++) zero_padding(state + i * Rp, R);
}

INLINE void unit_backward(const int cell, real *gates, const real *dstate, const real *state, ptrdiff_t R) {
    for (ptrdiff_t j = 0; j < padded(R); j += LANES)
        store(gates + j, load(dstate + j) * cell_slope(load(state + j), cell));
}

static void sigmoid_forward(real *state, real *gates, const real *recurrent, const real *state_prev, ptrdiff_t n,
                            ptrdiff_t R) {
    (void)recurrent, (void)state_prev;
    unit_forward(SIGMOID_CELL, state, gates, n, R);
}

static void sigmoid_backward(real *dstate_prev, real *gates, const real *dstate, const real *state,
                             const real *state_prev, ptrdiff_t R) {
    (void)dstate_prev, (void)state_prev;
    unit_backward(SIGMOID_CELL, gates, dstate, state, R);
}

static void tanh_forward(real *state, real *gates, const real *recurrent, const real *state_prev, ptrdiff_t n,
                         ptrdiff_t R) {
    (void)recurrent, (void)state_prev;
    unit_forward(TANH_CELL, state, gates, n, R);
}

static void tanh_backward(real *dstate_prev, real *gates, const real *dstate, const real *state, const real *state_prev,
                          ptrdiff_t R) {
    (void)dstate_prev, (void)state_prev;
    unit_backward(TANH_CELL, gates, dstate, state, R);
}

/* ---- GRU: gates reset g, update u, candidate m; behind them the candidate's W_rec r^{t-1} is kept, y ---- */

static void gru_forward(real *state, real *gates, const real *recurrent, const real *state_prev, ptrdiff_t n,
                        ptrdiff_t R) {
    ptrdiff_t Rp = padded(R), Gp = padded(3 * R);
    for (ptrdiff_t i = 0; i < n; i++) {
        for (ptrdiff_t j = 0; j < R; j += LANES) {
            ptrdiff_t some = R - j;
            vec y = load_some(recurrent + 2 * R + j, some), r = load(state_prev + j);
            vec g = sigmoid_(load_some(gates + j, some) + load_some(recurrent + j, some));
            vec u = sigmoid_(load_some(gates + R + j, some) + load_some(recurrent + R + j, some));
            vec m = tanh_(fused(g, y, load_some(gates + 2 * R + j, some)));    /* m = tanh(W_in x + b_r + g y) */
            store(state + j, fused(u, r, (1 - u) * m));                        /* r^t = (1 - u) m + u r^{t-1} */
            store_some(gates + j, g, some);
            store_some(gates + R + j, u, some);
            store_some(gates + 2 * R + j, m, some);
            store(gates + Gp + j, y);
        }
        zero_padding(state, R);
        state += Rp, state_prev += Rp, gates += Gp + Rp, recurrent += Gp;
    }
}

static void gru_backward(real *dstate_prev, real *gates, const real *dstate, const real *state, const real *state_prev,
                         ptrdiff_t R) {
    ptrdiff_t Gp = padded(3 * R);
    (void)state;
    for (ptrdiff_t j = 0; j < R; j += LANES) {
        ptrdiff_t some = R - j;
        vec g = load_some(gates + j, some), u = load_some(gates + R + j, some), m = load_some(gates + 2 * R + j, some);
        vec y = load_some(gates + Gp + j, some), dr = load(dstate + j);
        vec dm = dr * (1 - u) * (1 - m * m);
        store(dstate_prev + j, fused(dr, u, load(dstate_prev + j)));           /* dr^{t-1} += u dr^t */
        store_some(gates + j, dm * y * (g * (1 - g)), some);
        store_some(gates + R + j, dr * (load(state_prev + j) - m) * (u * (1 - u)), some);
        store_some(gates + 2 * R + j, dm, some);
        store(gates + Gp + j, g * dm);                                         /* dy = g dm */
    }
}

/* ---- LSTM: gates input i, forget f, cell m, output o; behind r in a state lies c ---- */

static void lstm_forward(real *state, real *gates, const real *recurrent, const real *state_prev, ptrdiff_t n,
                         ptrdiff_t R) {
    ptrdiff_t Rp = padded(R), Gp = padded(4 * R);
    (void)recurrent;
    for (ptrdiff_t row = 0; row < n; row++) {
        for (ptrdiff_t j = 0; j < R; j += LANES) {
            ptrdiff_t some = R - j;
            vec i = sigmoid_(load_some(gates + j, some)), f = sigmoid_(load_some(gates + R + j, some));
            vec m = tanh_(load_some(gates + 2 * R + j, some)), o = sigmoid_(load_some(gates + 3 * R + j, some));
            vec c = fused(f, load(state_prev + Rp + j), i * m);                /* c^t = f c^{t-1} + i m */
            store(state + j, o * tanh_(c));                                    /* r^t = o tanh(c^t) */
            store(state + Rp + j, c);
            store_some(gates + j, i, some);
            store_some(gates + R + j, f, some);
            store_some(gates + 2 * R + j, m, some);
            store_some(gates + 3 * R + j, o, some);
        }
        zero_padding(state, R);
        zero_padding(state + Rp, R);
        state += 2 * Rp, state_prev += 2 * Rp, gates += Gp;
    }
}

static void lstm_backward(real *dstate_prev, real *gates, const real *dstate, const real *state, const real *state_prev,
                          ptrdiff_t R) {
    ptrdiff_t Rp = padded(R);
    for (ptrdiff_t j = 0; j < R; j += LANES) {
        ptrdiff_t some = R - j;
        vec i = load_some(gates + j, some), f = load_some(gates + R + j, some);
        vec m = load_some(gates + 2 * R + j, some), o = load_some(gates + 3 * R + j, some);
        vec t = tanh_(load(state + Rp + j)), dr = load(dstate + j);
        vec dc = fused(dr * o, 1 - t * t, load(dstate + Rp + j));              /* dc^t += dr^t o (1 - tanh(c^t)^2) */
        store(dstate_prev + Rp + j, fused(dc, f, load(dstate_prev + Rp + j))); /* dc^{t-1} += f dc^t */
        store_some(gates + j, dc * m * (i * (1 - i)), some);
        store_some(gates + R + j, dc * load(state_prev + Rp + j) * (f * (1 - f)), some);
        store_some(gates + 2 * R + j, dc * i * (1 - m * m), some);
        store_some(gates + 3 * R + j, dr * t * (o * (1 - o)), some);
    }
}

static void elementwise(real *out, const real *x, int function, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        vec v = load(x + i);
        store(out + i, function == EXPONENTIAL ? exp_(v)
                       : function == EXPM1     ? expm1_(v)
                       : function == LOGARITHM ? log_(v)
                       : function == SIGMOID   ? sigmoid_(v)
                                               : tanh_(v));
    }
}

/* ---- the list, in the order of `enum cell` ---- */
#define CELLS                                             \
    [SIGMOID_CELL] = {sigmoid_forward, sigmoid_backward}, \
    [TANH_CELL] = {tanh_forward, tanh_backward},          \
    [GRU_CELL] = {gru_forward, gru_backward},             \
    [LSTM_CELL] = {lstm_forward, lstm_backward}
