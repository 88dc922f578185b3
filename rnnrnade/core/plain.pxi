# The row "plain" of the kernel table: each kernel of kernels/kernel_table.h in its most readable form, built by any
# compiler.  It is held against the C rows by test, to rounding (they fuse multiply and add, it does not).
# WIDTH frames lie in the lanes of a panel; they are independent, so every loop over `l` is over separate frames.

from libc.math cimport exp, expm1, fabs, log, sqrt, tanh

cdef enum:
    WIDTH = 16


cdef void plain_product(real* C, Py_ssize_t c_m, const real* A, Py_ssize_t a_o, Py_ssize_t a_m, Py_ssize_t a_i,
                        const real* B, Py_ssize_t b_o, Py_ssize_t b_i, const real* bias,
                        Py_ssize_t M, Py_ssize_t L, Py_ssize_t n_outer, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t m, l, o, i
    cdef real* C_m
    cdef const real* B_oi
    cdef real a
    for m in range(M):
        C_m = C + m * c_m
        if bias != NULL:
            for l in range(L):
                C_m[l] = bias[m]
        for o in range(n_outer):
            for i in range(n):
                a = A[o * a_o + m * a_m + i * a_i]
                B_oi = B + o * b_o + i * b_i
                for l in range(L):
                    C_m[l] = C_m[l] + a * B_oi[l]


cdef void plain_product_one(real* c, const real* A, Py_ssize_t a_m, const real* x, Py_ssize_t M,
                            Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t m, i
    for m in range(M):
        for i in range(n):
            c[m] = c[m] + A[m * a_m + i] * x[i]


cdef void plain_pack(real* panel, const real* rows, Py_ssize_t stride, Py_ssize_t valid,
                     Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j, l
    for j in range(n):
        for l in range(WIDTH):
            panel[j * WIDTH + l] = rows[l * stride + j] if l < valid else 0


cdef void plain_unpack(real* rows, Py_ssize_t stride, Py_ssize_t valid, const real* panel,
                       Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t j, l
    for l in range(valid):
        for j in range(n):
            rows[l * stride + j] = panel[j * WIDTH + l]


# ---- the hidden units: (3) and (4) forward, and the same lines from the bottom up --------------------------------

cdef inline real plain_unit(real psi, int activation) noexcept nogil:
    if activation == SIGMOID_UNIT:
        return <real>(1 / (1 + exp(-psi)))
    return psi if not psi < 0 else 0                     # NaN goes through


cdef inline real plain_unit_slope(real h, int activation) noexcept nogil:
    if activation == SIGMOID_UNIT:
        return h * (1 - h)
    return 1 if h > 0 else 0


cdef void plain_hidden_forward(real* a, real* h, const real* a_prev, const real* x, const real* w, real rho,
                               int activation, Py_ssize_t H, Py_ssize_t lanes) noexcept nogil:
    cdef Py_ssize_t j, l, at
    for j in range(H):
        for l in range(lanes):
            at = j * WIDTH + l
            a[at] = a_prev[at]
            if x != NULL:
                a[at] = a[at] + x[l] * w[j]              # a_{d+1} = a_d + x_d W[:, d]
            h[at] = plain_unit(rho * a[at], activation)  # h = s(rho a)


cdef void plain_hidden_one(real* a, real* h, real x, const real* w, real rho, int activation,
                           Py_ssize_t H) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(H):
        a[j] = a[j] + x * w[j]
        h[j] = plain_unit(rho * a[j], activation)


cdef real plain_hidden_backward(real* da, real* dw, const real* a, const real* h, const real* dz, const real* x,
                                const real* V, Py_ssize_t stride, real rho, int activation, Py_ssize_t H,
                                Py_ssize_t P) noexcept nogil:
    cdef Py_ssize_t j, k, l, at
    cdef real dh, dpsi, drho = 0
    for j in range(H):
        dw[j] = 0
        for l in range(WIDTH):
            at = j * WIDTH + l
            dh = 0
            for k in range(P):
                dh = dh + V[k * stride + j] * dz[k * WIDTH + l]      # dh = V' dz
            dpsi = dh * plain_unit_slope(h[at], activation)          # dpsi = dh * s'(psi)
            drho = drho + dpsi * a[at]                               # drho += dpsi . a
            dw[j] = dw[j] + x[l] * da[at]                            # dW[:, d] += x_d da
            da[at] = da[at] + rho * dpsi                             # da += rho dpsi
    return drho


# ---- mixtures of a family (families.pxi): (6) and (7) --------------------------------------------------------------

cdef inline double bounded_exp(double z) noexcept nogil:
    """exp(z), never 0 nor infinite, as in the C rows: x = mu at sigma = 0 would be NaN, an x that is too far from all
    components -inf.  NaN goes through."""
    return exp(-708 if z < -708 else 709 if z > 709 else z)


cdef double mixture_terms(double* largest, const real* z, real x, const outputs* at, bint prior,
                          double m) noexcept nogil:
    """logsumexp over k of z^alpha_k - m (prior) or z^alpha_k - m + log f(u_k) - log sigma_k, without its largest term and
    the constant of f."""
    cdef Py_ssize_t k
    cdef double total = 0, term
    largest[0] = -DBL_MAX                                # finite: all terms -inf give no NaN
    for k in range(at.K):
        term = mixture_term(z, x, at, k, prior, m)
        if not term <= largest[0]:
            largest[0] = term
    for k in range(at.K):
        total += bounded_exp(mixture_term(z, x, at, k, prior, m) - largest[0])
    return total


cdef inline double mixture_term(const real* z, real x, const outputs* at, Py_ssize_t k, bint prior,
                                double m) noexcept nogil:
    cdef double sigma, u, term = z[(at.alpha + k) * WIDTH] - m
    if not prior:
        sigma = at.min_scale + bounded_exp(z[(at.sigma + k) * WIDTH])
        u = (x - z[(at.mu + k) * WIDTH]) / sigma
        term += families[at.family].log_kernel(u, shape_at(at, k)) - log(sigma)
    return term


cdef void plain_mixture_log_density(real* log_density, real* scratch, real* z, const real* x,
                                    const outputs* at) noexcept nogil:
    cdef Py_ssize_t l
    cdef double m0, m1, s0, s1
    for l in range(WIDTH):
        s0 = mixture_terms(&m0, z + l, x[l], at, True, 0)
        s1 = mixture_terms(&m1, z + l, x[l], at, False, m0)
        log_density[l] = <real>(m1 + log(s1 / s0) - families[at.family].log_norm)


cdef void plain_mixture_gradient(real* log_density, real* scratch, real* z, const real* x, const real* weight,
                                 const outputs* at) noexcept nogil:
    cdef Py_ssize_t k, l
    cdef double m0, m1, s0, s1, alpha, pi, e, sigma, u, s
    cdef real *z_alpha
    cdef real *z_mu
    cdef real *z_sigma
    for l in range(WIDTH):
        s0 = mixture_terms(&m0, z + l, x[l], at, True, 0)
        s1 = mixture_terms(&m1, z + l, x[l], at, False, m0)
        log_density[l] = <real>(m1 + log(s1 / s0) - families[at.family].log_norm)
        for k in range(at.K):
            z_alpha = z + (at.alpha + k) * WIDTH + l
            z_mu = z + (at.mu + k) * WIDTH + l
            z_sigma = z + (at.sigma + k) * WIDTH + l
            pi = bounded_exp(mixture_term(z + l, x[l], at, k, False, m0) - m1) / s1
            alpha = bounded_exp(z_alpha[0] - m0) / s0
            e = bounded_exp(z_sigma[0])
            sigma = at.min_scale + e
            u = (x[l] - z_mu[0]) / sigma
            s = families[at.family].minus_slope(u, shape_at(at, k))
            z_alpha[0] = <real>(weight[l] * (pi - alpha))                  # dz^alpha = pi - alpha
            z_mu[0] = <real>(weight[l] * pi * s / sigma)                   # dz^mu = pi s / sigma
            z_sigma[0] = <real>(weight[l] * pi * (s * u - 1) * e / sigma)  # dz^sigma = pi (s u - 1) e / sigma
            if at.shapes != NULL:
                z[(at.nu + k) * WIDTH + l] = <real>(weight[l] * pi * families[at.family].shape_slope(u, shape_at(at, k)))


cdef void plain_mixture_posterior(real* log_density, real* after, real* z, const real* x,
                                  const outputs* at) noexcept nogil:
    cdef Py_ssize_t k, l
    cdef double m0, m1, s0, s1, term
    for l in range(WIDTH):
        s0 = mixture_terms(&m0, z + l, x[l], at, True, 0)
        s1 = mixture_terms(&m1, z + l, x[l], at, False, m0)
        log_density[l] = <real>(m1 + log(s1 / s0) - families[at.family].log_norm)
        for k in range(at.K):
            term = mixture_term(z + l, x[l], at, k, False, m0) - m1
            after[k * WIDTH + l] = <real>(term if not term < 2 * beyond(z) else 2 * beyond(z))


cdef void plain_mixture_component_gradient(real* z, const real* x, const real* pi, const outputs* at) noexcept nogil:
    cdef Py_ssize_t k, l
    cdef double e, sigma, u, s
    cdef real *z_mu
    cdef real *z_sigma
    for l in range(WIDTH):
        for k in range(at.K):
            z_mu = z + (at.mu + k) * WIDTH + l
            z_sigma = z + (at.sigma + k) * WIDTH + l
            e = bounded_exp(z_sigma[0])
            sigma = at.min_scale + e
            u = (x[l] - z_mu[0]) / sigma
            s = families[at.family].minus_slope(u, shape_at(at, k))
            z_mu[0] = <real>(pi[k * WIDTH + l] * s / sigma)                    # dz^mu = pi s / sigma
            z_sigma[0] = <real>(pi[k * WIDTH + l] * (s * u - 1) * e / sigma)   # dz^sigma = pi (s u - 1) e / sigma
            if at.shapes != NULL:
                z[(at.nu + k) * WIDTH + l] = <real>(pi[k * WIDTH + l] * families[at.family].shape_slope(u, shape_at(at, k)))


cdef void plain_mixture_draw(real* x, real* scratch, const real* z, const real* uniform, const real* noise,
                             const outputs* at, Py_ssize_t lanes) noexcept nogil:
    cdef Py_ssize_t k = 0, l
    cdef double m0, s0, cumulative, u
    for l in range(lanes):
        s0 = mixture_terms(&m0, z + l, 0, at, True, 0)
        cumulative = 0
        for k in range(at.K):                            # the first k whose cumulative weight exceeds the uniform
            cumulative += exp(z[(at.alpha + k) * WIDTH + l] - m0)
            if cumulative > uniform[l] * s0 or k == at.K - 1:
                break
        u = noise[l]
        if at.shapes != NULL:
            u = families[at.family].deviate(u, noise[WIDTH + l], at.shapes[k].nu)
        x[l] = <real>(z[(at.mu + k) * WIDTH + l]
                      + (at.min_scale + bounded_exp(z[(at.sigma + k) * WIDTH + l])) * u)


cdef void plain_mixture_link(real* parameters, const real* z, const outputs* at) noexcept nogil:
    cdef Py_ssize_t k, l
    cdef double m0, s0
    for l in range(WIDTH):
        s0 = mixture_terms(&m0, z + l, 0, at, True, 0)
        for k in range(at.K):
            parameters[k * WIDTH + l] = <real>(exp(z[(at.alpha + k) * WIDTH + l] - m0) / s0)
            parameters[(at.K + k) * WIDTH + l] = z[(at.mu + k) * WIDTH + l]
            parameters[(2 * at.K + k) * WIDTH + l] = <real>(at.min_scale + bounded_exp(z[(at.sigma + k) * WIDTH + l]))
            if at.shapes != NULL:
                parameters[(3 * at.K + k) * WIDTH + l] = <real>at.shapes[k].nu


# ---- Bernoulli: p(x = 1) = sigmoid(z) ----------------------------------------------------------------------------

cdef void plain_bernoulli_log_density(real* log_density, real* scratch, real* z, const real* x,
                                      const outputs* at) noexcept nogil:
    cdef Py_ssize_t l
    cdef double t
    for l in range(WIDTH):
        t = (1 - 2 * x[l]) * z[l]                        # log p(x) = -softplus((1 - 2 x) z)
        log_density[l] = <real>(-((t if not t < 0 else 0) + log(1 + exp(-fabs(t)))))


cdef void plain_bernoulli_gradient(real* log_density, real* scratch, real* z, const real* x, const real* weight,
                                   const outputs* at) noexcept nogil:
    cdef Py_ssize_t l
    plain_bernoulli_log_density(log_density, scratch, z, x, at)
    for l in range(WIDTH):
        z[l] = <real>(weight[l] * (x[l] - 1 / (1 + exp(-z[l]))))     # dz = x - p


cdef void plain_bernoulli_draw(real* x, real* scratch, const real* z, const real* uniform, const real* noise,
                               const outputs* at, Py_ssize_t lanes) noexcept nogil:
    cdef Py_ssize_t l
    for l in range(lanes):
        x[l] = 1 if uniform[l] < 1 / (1 + exp(-z[l])) else 0


cdef void plain_bernoulli_link(real* parameters, const real* z, const outputs* at) noexcept nogil:
    cdef Py_ssize_t l
    for l in range(WIDTH):
        parameters[l] = <real>(1 / (1 + exp(-z[l])))


# ---- the recurrences (2) -----------------------------------------------------------------------------------------

cdef inline double plain_sigmoid(double x) noexcept nogil:
    return 1 / (1 + exp(-x))


cdef inline Py_ssize_t plain_padded(Py_ssize_t n) noexcept nogil:
    return (n + PAD - 1) // PAD * PAD


cdef void plain_sigmoid_forward(real* state, real* gates, const real* recurrent, const real* state_prev, Py_ssize_t n,
                                Py_ssize_t R) noexcept nogil:
    cdef Py_ssize_t i, j, Rp = plain_padded(R)
    for i in range(n):
        for j in range(Rp):
            state[i * Rp + j] = <real>plain_sigmoid(gates[i * Rp + j]) if j < R else 0


cdef void plain_sigmoid_backward(real* dstate_prev, real* gates, const real* dstate, const real* state,
                                 const real* state_prev, Py_ssize_t R) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(plain_padded(R)):
        gates[j] = dstate[j] * (state[j] * (1 - state[j]))


cdef void plain_tanh_forward(real* state, real* gates, const real* recurrent, const real* state_prev, Py_ssize_t n,
                             Py_ssize_t R) noexcept nogil:
    cdef Py_ssize_t i, j, Rp = plain_padded(R)
    for i in range(n):
        for j in range(Rp):
            state[i * Rp + j] = <real>tanh(gates[i * Rp + j]) if j < R else 0


cdef void plain_tanh_backward(real* dstate_prev, real* gates, const real* dstate, const real* state,
                              const real* state_prev, Py_ssize_t R) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(plain_padded(R)):
        gates[j] = dstate[j] * (1 - state[j] * state[j])


# GRU: gates reset g, update u, candidate m; behind them the candidate's W_rec r^{t-1} is kept, y.

cdef void plain_gru_forward(real* state, real* gates, const real* recurrent, const real* state_prev, Py_ssize_t n,
                            Py_ssize_t R) noexcept nogil:
    cdef Py_ssize_t i, j, Rp = plain_padded(R), Gp = plain_padded(3 * R)
    cdef double g, u, m, y
    for i in range(n):
        for j in range(R):
            y = recurrent[2 * R + j]
            g = plain_sigmoid(gates[j] + recurrent[j])
            u = plain_sigmoid(gates[R + j] + recurrent[R + j])
            m = tanh(gates[2 * R + j] + g * y)                         # m = tanh(W_in x + b_r + g y)
            state[j] = <real>((1 - u) * m + u * state_prev[j])         # r^t = (1 - u) m + u r^{t-1}
            gates[j], gates[R + j], gates[2 * R + j], gates[Gp + j] = <real>g, <real>u, <real>m, <real>y
        memset(state + R, 0, (Rp - R) * sizeof(real))
        state, state_prev, gates, recurrent = state + Rp, state_prev + Rp, gates + Gp + Rp, recurrent + Gp


cdef void plain_gru_backward(real* dstate_prev, real* gates, const real* dstate, const real* state,
                             const real* state_prev, Py_ssize_t R) noexcept nogil:
    cdef Py_ssize_t j, Gp = plain_padded(3 * R)
    cdef double g, u, m, y, dr, dm
    for j in range(R):
        g, u, m, y, dr = gates[j], gates[R + j], gates[2 * R + j], gates[Gp + j], dstate[j]
        dm = dr * (1 - u) * (1 - m * m)
        dstate_prev[j] = <real>(dstate_prev[j] + dr * u)               # dr^{t-1} += u dr^t
        gates[j] = <real>(dm * y * g * (1 - g))
        gates[R + j] = <real>(dr * (state_prev[j] - m) * u * (1 - u))
        gates[2 * R + j] = <real>dm
        gates[Gp + j] = <real>(g * dm)                                 # dy = g dm


# LSTM: gates input i, forget f, cell m, output o; behind r in a state lies c.

cdef void plain_lstm_forward(real* state, real* gates, const real* recurrent, const real* state_prev, Py_ssize_t n,
                             Py_ssize_t R) noexcept nogil:
    cdef Py_ssize_t k, j, Rp = plain_padded(R), Gp = plain_padded(4 * R)
    cdef double i, f, m, o, c
    for k in range(n):
        for j in range(R):
            i, f = plain_sigmoid(gates[j]), plain_sigmoid(gates[R + j])
            m, o = tanh(gates[2 * R + j]), plain_sigmoid(gates[3 * R + j])
            c = f * state_prev[Rp + j] + i * m                         # c^t = f c^{t-1} + i m
            state[j] = <real>(o * tanh(c))                             # r^t = o tanh(c^t)
            state[Rp + j] = <real>c
            gates[j], gates[R + j], gates[2 * R + j], gates[3 * R + j] = <real>i, <real>f, <real>m, <real>o
        memset(state + R, 0, (Rp - R) * sizeof(real))
        memset(state + Rp + R, 0, (Rp - R) * sizeof(real))
        state, state_prev, gates = state + 2 * Rp, state_prev + 2 * Rp, gates + Gp


cdef void plain_lstm_backward(real* dstate_prev, real* gates, const real* dstate, const real* state,
                              const real* state_prev, Py_ssize_t R) noexcept nogil:
    cdef Py_ssize_t j, Rp = plain_padded(R)
    cdef double i, f, m, o, t, dr, dc
    for j in range(R):
        i, f, m, o = gates[j], gates[R + j], gates[2 * R + j], gates[3 * R + j]
        t, dr = tanh(state[Rp + j]), dstate[j]
        dc = dstate[Rp + j] + dr * o * (1 - t * t)                     # dc^t += dr^t o (1 - tanh(c^t)^2)
        dstate_prev[Rp + j] = <real>(dstate_prev[Rp + j] + dc * f)     # dc^{t-1} += f dc^t
        gates[j] = <real>(dc * m * i * (1 - i))
        gates[R + j] = <real>(dc * state_prev[Rp + j] * f * (1 - f))
        gates[2 * R + j] = <real>(dc * i * (1 - m * m))
        gates[3 * R + j] = <real>(dr * t * o * (1 - o))


cdef void plain_elementwise(real* out, const real* x, int function, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        if function == EXPONENTIAL:
            out[i] = <real>exp(x[i])
        elif function == EXPM1:
            out[i] = <real>expm1(x[i])
        elif function == LOGARITHM:
            out[i] = <real>log(x[i])
        elif function == SIGMOID:
            out[i] = <real>(1 / (1 + exp(-x[i])))
        else:
            out[i] = <real>tanh(x[i])


# ---- the table ---------------------------------------------------------------------------------------------------

cdef kernels_f32 plain_f32
cdef kernels_f64 plain_f64
cdef kernel_row plain_row = kernel_row(b"plain", &plain_f32, &plain_f64)

plain_f32.width = plain_f64.width = WIDTH
plain_f32.product, plain_f64.product = &plain_product[float], &plain_product[double]
plain_f32.product_far, plain_f64.product_far = plain_f32.product, plain_f64.product
plain_f32.product_one, plain_f64.product_one = &plain_product_one[float], &plain_product_one[double]
plain_f32.pack, plain_f64.pack = &plain_pack[float], &plain_pack[double]
plain_f32.unpack, plain_f64.unpack = &plain_unpack[float], &plain_unpack[double]
plain_f32.hidden_forward, plain_f64.hidden_forward = &plain_hidden_forward[float], &plain_hidden_forward[double]
plain_f32.hidden_one, plain_f64.hidden_one = &plain_hidden_one[float], &plain_hidden_one[double]
plain_f32.hidden_backward, plain_f64.hidden_backward = &plain_hidden_backward[float], &plain_hidden_backward[double]
plain_f32.elementwise, plain_f64.elementwise = &plain_elementwise[float], &plain_elementwise[double]
for _family in range(N_FAMILIES):
    plain_f32.heads[<int>_family] = head_kernels_f32(
        &plain_mixture_log_density[float], &plain_mixture_gradient[float], &plain_mixture_draw[float], &plain_mixture_link[float],
        &plain_mixture_posterior[float], &plain_mixture_component_gradient[float])
    plain_f64.heads[<int>_family] = head_kernels_f64(
        &plain_mixture_log_density[double], &plain_mixture_gradient[double], &plain_mixture_draw[double], &plain_mixture_link[double],
        &plain_mixture_posterior[double], &plain_mixture_component_gradient[double])
plain_f32.heads[BERNOULLI] = head_kernels_f32(
    &plain_bernoulli_log_density[float], &plain_bernoulli_gradient[float], &plain_bernoulli_draw[float], &plain_bernoulli_link[float],
    NULL, NULL)
plain_f64.heads[BERNOULLI] = head_kernels_f64(
    &plain_bernoulli_log_density[double], &plain_bernoulli_gradient[double], &plain_bernoulli_draw[double], &plain_bernoulli_link[double],
    NULL, NULL)
plain_f32.cells[SIGMOID_CELL] = cell_kernels_f32(&plain_sigmoid_forward[float], &plain_sigmoid_backward[float])
plain_f64.cells[SIGMOID_CELL] = cell_kernels_f64(&plain_sigmoid_forward[double], &plain_sigmoid_backward[double])
plain_f32.cells[TANH_CELL] = cell_kernels_f32(&plain_tanh_forward[float], &plain_tanh_backward[float])
plain_f64.cells[TANH_CELL] = cell_kernels_f64(&plain_tanh_forward[double], &plain_tanh_backward[double])
plain_f32.cells[GRU_CELL] = cell_kernels_f32(&plain_gru_forward[float], &plain_gru_backward[float])
plain_f64.cells[GRU_CELL] = cell_kernels_f64(&plain_gru_forward[double], &plain_gru_backward[double])
plain_f32.cells[LSTM_CELL] = cell_kernels_f32(&plain_lstm_forward[float], &plain_lstm_backward[float])
plain_f64.cells[LSTM_CELL] = cell_kernels_f64(&plain_lstm_forward[double], &plain_lstm_backward[double])
