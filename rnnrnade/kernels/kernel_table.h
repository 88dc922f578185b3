/* The table of kernels for one type.  Included twice by kernels.h, with `real` and TYPED(name) defined. */

/* A head: the density of one number x given its P raw outputs z (link, log density, gradient, draw).
   z, scratch: (P, W).  x, log_density, weight, uniform, noise: (W). */
struct TYPED(head_kernels) {
    /* log_density = log p(x | z); may overwrite z */
    void (*log_density)(real *log_density, real *scratch, real *z, const real *x, const struct outputs *at);
    /* the same bits of log_density, and z <- weight * d log p / d z */
    void (*gradient)(real *log_density, real *scratch, real *z, const real *x, const real *weight,
                     const struct outputs *at);
    /* x ~ p(. | z), from one uniform on [0, 1) and, of a mixture, one standard number of its family a lane (with a
       shape: two normal ones, W apart), for the first `lanes` of them at least */
    void (*draw)(real *x, real *scratch, const real *z, const real *uniform, const real *noise,
                 const struct outputs *at, ptrdiff_t lanes);
    /* the parameters of the density in natural order (mixture: alpha, mu, sigma and the shape, K rows
       each; Bernoulli: p) */
    void (*link)(real *parameters, const real *z, const struct outputs *at);

    /* Of a mixture, whose components may be those of several numbers (NULL for others); after, pi: (K, W).
       the same bits of log_density, and after = log(alpha_k f(u_k) / sigma_k) less the largest, but finite: the logarithms,
       up to one constant, of the weights of the components once x is known */
    void (*posterior)(real *log_density, real *after, real *z, const real *x, const struct outputs *at);
    /* z^mu, z^sigma <- pi_k d log(f(u_k) / sigma_k) / d z^mu, z^sigma */
    void (*component_gradient)(real *z, const real *x, const real *pi, const struct outputs *at);
};

/* A cell (2): a state from the one before it and its gates, elementwise over R units.  With G gates, and with Rp and Gp,
   R and G R rounded up to a multiple of PAD, rows are
       state, dstate  Rp: r; or 2 Rp: r, c (LSTM).  The padding is zero.
       gates          Gp: G times R numbers, b_r + W_in x^t + W_rec r^{t-1}; GRU: Gp + Rp, without the last term
       recurrent      Gp: W_rec r^{t-1}, of the GRU only */
struct TYPED(cell_kernels) {
    /* n rows of state from rows of state_prev; gates of a cell with more than one become their values, and behind them
       stays what backward asks for.  state may be state_prev, and gates where G = 1. */
    void (*forward)(real *state, real *gates, const real *recurrent, const real *state_prev, ptrdiff_t n, ptrdiff_t R);
    /* One row: gates becomes the derivative by b_r + W_in x^t (behind it, GRU: that by the last gate of W_rec r^{t-1}),
       and dstate_prev += what does not come through W_rec.  Where G = 1 gates is only written and may be dstate. */
    void (*backward)(real *dstate_prev, real *gates, const real *dstate, const real *state, const real *state_prev,
                     ptrdiff_t R);
};

struct TYPED(kernels) {
    ptrdiff_t width; /* W */

    /* C[m, l] += sum_{o < n_outer} sum_{i < n} A[o, m, i] B[o, i, l]   for m < M, l < L; starting from
       bias[m] instead of C[m, l] where bias is not NULL.  A: any strides.  The lanes l of B and C are
       contiguous; L is a multiple of the lanes of one vector.  One chain for each (m, l), o outside, i inside. */
    void (*product)(real *C, ptrdiff_t c_m,
                    const real *A, ptrdiff_t a_o, ptrdiff_t a_m, ptrdiff_t a_i,
                    const real *B, ptrdiff_t b_o, ptrdiff_t b_i,
                    const real *bias, ptrdiff_t M, ptrdiff_t L, ptrdiff_t n_outer, ptrdiff_t n);
    /* The same, for a B that is read in order and that no cache near by holds. */
    void (*product_far)(real *C, ptrdiff_t c_m,
                        const real *A, ptrdiff_t a_o, ptrdiff_t a_m, ptrdiff_t a_i,
                        const real *B, ptrdiff_t b_o, ptrdiff_t b_i,
                        const real *bias, ptrdiff_t M, ptrdiff_t L, ptrdiff_t n_outer, ptrdiff_t n);

    /* The same for one frame:  c[m] += sum_{i < n} A[m, i] x[i]   for m < M.  Rows of A are read up to a multiple of
       PAD; the outputs lie in the lanes. */
    void (*product_one)(real *c, const real *A, ptrdiff_t a_m, const real *x, ptrdiff_t M, ptrdiff_t n);

    /* panel[j, l] = rows[l * stride + j] for l < valid, else 0;   j < n */
    void (*pack)(real *panel, const real *rows, ptrdiff_t stride, ptrdiff_t valid, ptrdiff_t n);
    /* rows[l * stride + j] = panel[j, l] for l < valid;   j < n */
    void (*unpack)(real *rows, ptrdiff_t stride, ptrdiff_t valid, const real *panel, ptrdiff_t n);

    /* (3), (4):  a = a_prev + x w  (a = a_prev where x is NULL);  h = s(rho a), for the first `lanes` of them at
       least.  a, h, a_prev: (H, W), a may be a_prev.  x: (W).  w: (H). */
    void (*hidden_forward)(real *a, real *h, const real *a_prev, const real *x, const real *w, real rho,
                           int activation, ptrdiff_t H, ptrdiff_t lanes);
    /* The same for one frame:  a += x w;  h = s(rho a).  a, h: (H), written up to a multiple of PAD; w likewise read. */
    void (*hidden_one)(real *a, real *h, real x, const real *w, real rho, int activation, ptrdiff_t H);
    /* dh = V' dz;  dpsi = dh * s'(rho a);  dw_j = sum of x da_j over the lanes (da of the later dimensions only);
       returns sum of dpsi a, the gradient of rho;  da += rho dpsi.
       da, a, h: (H, W).  dz: (P, W).  V: (P, stride).  dw: (H). */
    real (*hidden_backward)(real *da, real *dw, const real *a, const real *h, const real *dz, const real *x,
                            const real *V, ptrdiff_t stride, real rho, int activation, ptrdiff_t H, ptrdiff_t P);

    /* out = function(x) elementwise over n numbers, n a multiple of PAD: for tests of their accuracy. */
    void (*elementwise)(real *out, const real *x, int function, ptrdiff_t n);

    struct TYPED(head_kernels) heads[N_HEADS];
    struct TYPED(cell_kernels) cells[N_CELLS];
};
