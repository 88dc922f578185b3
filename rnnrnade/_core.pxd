# cython: language_level=3
"""The kernels as Cython sees them: the only place that says float or double.

Below, every function takes the row of the kernel table and works for both types."""

ctypedef fused real:
    float
    double

cdef extern from "kernels/kernels.h" nogil:
    enum:
        PAD
        SIGMOID_UNIT
        RELU_UNIT
        N_ACTIVATIONS
        SIGMOID_CELL
        TANH_CELL
        GRU_CELL
        LSTM_CELL
        N_CELLS
        EXPONENTIAL
        EXPM1
        LOGARITHM
        SIGMOID
        TANH
        BERNOULLI
        N_HEADS

    struct shape:
        double nu, inverse, power, log_norm, log_norm_slope

    struct outputs:
        Py_ssize_t K, alpha, mu, sigma, nu
        double min_scale
        int family
        const shape* shapes

    struct head_kernels_f32:
        void (*log_density)(float*, float*, float*, const float*, const outputs*) noexcept nogil
        void (*gradient)(float*, float*, float*, const float*, const float*, const outputs*) noexcept nogil
        void (*draw)(float*, float*, const float*, const float*, const float*, const outputs*, Py_ssize_t) noexcept nogil
        void (*link)(float*, const float*, const outputs*) noexcept nogil
        void (*posterior)(float*, float*, float*, const float*, const outputs*) noexcept nogil
        void (*component_gradient)(float*, const float*, const float*, const outputs*) noexcept nogil

    struct head_kernels_f64:
        void (*log_density)(double*, double*, double*, const double*, const outputs*) noexcept nogil
        void (*gradient)(double*, double*, double*, const double*, const double*, const outputs*) noexcept nogil
        void (*draw)(double*, double*, const double*, const double*, const double*, const outputs*, Py_ssize_t) noexcept nogil
        void (*link)(double*, const double*, const outputs*) noexcept nogil
        void (*posterior)(double*, double*, double*, const double*, const outputs*) noexcept nogil
        void (*component_gradient)(double*, const double*, const double*, const outputs*) noexcept nogil

    struct cell_kernels_f32:
        void (*forward)(float*, float*, const float*, const float*, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*backward)(float*, float*, const float*, const float*, const float*, Py_ssize_t) noexcept nogil

    struct kernels_f32:
        Py_ssize_t width
        void (*product)(float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                        const float*, Py_ssize_t, Py_ssize_t, const float*,
                        Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*product_far)(float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                            const float*, Py_ssize_t, Py_ssize_t, const float*,
                            Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*product_one)(float*, const float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*pack)(float*, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*unpack)(float*, Py_ssize_t, Py_ssize_t, const float*, Py_ssize_t) noexcept nogil
        void (*hidden_forward)(float*, float*, const float*, const float*, const float*, float,
                               int, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*hidden_one)(float*, float*, float, const float*, float, int, Py_ssize_t) noexcept nogil
        float (*hidden_backward)(float*, float*, const float*, const float*, const float*, const float*,
                                 const float*, Py_ssize_t, float, int, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*elementwise)(float*, const float*, int, Py_ssize_t) noexcept nogil
        head_kernels_f32 heads[N_HEADS]
        cell_kernels_f32 cells[N_CELLS]

    struct cell_kernels_f64:
        void (*forward)(double*, double*, const double*, const double*, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*backward)(double*, double*, const double*, const double*, const double*, Py_ssize_t) noexcept nogil

    struct kernels_f64:
        Py_ssize_t width
        void (*product)(double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                        const double*, Py_ssize_t, Py_ssize_t, const double*,
                        Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*product_far)(double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                            const double*, Py_ssize_t, Py_ssize_t, const double*,
                            Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*product_one)(double*, const double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*pack)(double*, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*unpack)(double*, Py_ssize_t, Py_ssize_t, const double*, Py_ssize_t) noexcept nogil
        void (*hidden_forward)(double*, double*, const double*, const double*, const double*, double,
                               int, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*hidden_one)(double*, double*, double, const double*, double, int, Py_ssize_t) noexcept nogil
        double (*hidden_backward)(double*, double*, const double*, const double*, const double*, const double*,
                                  const double*, Py_ssize_t, double, int, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*elementwise)(double*, const double*, int, Py_ssize_t) noexcept nogil
        head_kernels_f64 heads[N_HEADS]
        cell_kernels_f64 cells[N_CELLS]

    struct kernel_row:
        const char* name
        const kernels_f32* f32
        const kernels_f64* f64

    const kernel_row* kernel_rows()


cdef inline Py_ssize_t width_of(const kernel_row* row, const real* which) noexcept nogil:
    if real is float:
        return row.f32.width
    else:
        return row.f64.width


cdef inline void product(const kernel_row* row, real* C, Py_ssize_t c_m,
                         const real* A, Py_ssize_t a_o, Py_ssize_t a_m, Py_ssize_t a_i,
                         const real* B, Py_ssize_t b_o, Py_ssize_t b_i, const real* bias,
                         Py_ssize_t M, Py_ssize_t L, Py_ssize_t n_outer, Py_ssize_t n) noexcept nogil:
    if real is float:
        row.f32.product(C, c_m, A, a_o, a_m, a_i, B, b_o, b_i, bias, M, L, n_outer, n)
    else:
        row.f64.product(C, c_m, A, a_o, a_m, a_i, B, b_o, b_i, bias, M, L, n_outer, n)


cdef inline void product_far(const kernel_row* row, real* C, Py_ssize_t c_m,
                             const real* A, Py_ssize_t a_o, Py_ssize_t a_m, Py_ssize_t a_i,
                             const real* B, Py_ssize_t b_o, Py_ssize_t b_i, const real* bias,
                             Py_ssize_t M, Py_ssize_t L, Py_ssize_t n_outer, Py_ssize_t n) noexcept nogil:
    if real is float:
        row.f32.product_far(C, c_m, A, a_o, a_m, a_i, B, b_o, b_i, bias, M, L, n_outer, n)
    else:
        row.f64.product_far(C, c_m, A, a_o, a_m, a_i, B, b_o, b_i, bias, M, L, n_outer, n)


cdef inline void product_one(const kernel_row* row, real* c, const real* A, Py_ssize_t a_m, const real* x,
                             Py_ssize_t M, Py_ssize_t n) noexcept nogil:
    if real is float:
        row.f32.product_one(c, A, a_m, x, M, n)
    else:
        row.f64.product_one(c, A, a_m, x, M, n)


cdef inline void pack(const kernel_row* row, real* panel, const real* rows, Py_ssize_t stride,
                      Py_ssize_t valid, Py_ssize_t n) noexcept nogil:
    if real is float:
        row.f32.pack(panel, rows, stride, valid, n)
    else:
        row.f64.pack(panel, rows, stride, valid, n)


cdef inline void unpack(const kernel_row* row, real* rows, Py_ssize_t stride, Py_ssize_t valid,
                        const real* panel, Py_ssize_t n) noexcept nogil:
    if real is float:
        row.f32.unpack(rows, stride, valid, panel, n)
    else:
        row.f64.unpack(rows, stride, valid, panel, n)


cdef inline void hidden_forward(const kernel_row* row, real* a, real* h, const real* a_prev, const real* x,
                                const real* w, real rho, int activation, Py_ssize_t H,
                                Py_ssize_t lanes) noexcept nogil:
    if real is float:
        row.f32.hidden_forward(a, h, a_prev, x, w, rho, activation, H, lanes)
    else:
        row.f64.hidden_forward(a, h, a_prev, x, w, rho, activation, H, lanes)


cdef inline void hidden_one(const kernel_row* row, real* a, real* h, real x, const real* w, real rho,
                            int activation, Py_ssize_t H) noexcept nogil:
    if real is float:
        row.f32.hidden_one(a, h, x, w, rho, activation, H)
    else:
        row.f64.hidden_one(a, h, x, w, rho, activation, H)


cdef inline real hidden_backward(const kernel_row* row, real* da, real* dw, const real* a, const real* h,
                                 const real* dz, const real* x, const real* V, Py_ssize_t stride, real rho,
                                 int activation, Py_ssize_t H, Py_ssize_t P) noexcept nogil:
    if real is float:
        return row.f32.hidden_backward(da, dw, a, h, dz, x, V, stride, rho, activation, H, P)
    else:
        return row.f64.hidden_backward(da, dw, a, h, dz, x, V, stride, rho, activation, H, P)


cdef inline void cell_forward(const kernel_row* row, int cell, real* state, real* gates, const real* recurrent,
                              const real* state_prev, Py_ssize_t n, Py_ssize_t R) noexcept nogil:
    if real is float:
        row.f32.cells[cell].forward(state, gates, recurrent, state_prev, n, R)
    else:
        row.f64.cells[cell].forward(state, gates, recurrent, state_prev, n, R)


cdef inline void cell_backward(const kernel_row* row, int cell, real* dstate_prev, real* gates, const real* dstate,
                               const real* state, const real* state_prev, Py_ssize_t R) noexcept nogil:
    if real is float:
        row.f32.cells[cell].backward(dstate_prev, gates, dstate, state, state_prev, R)
    else:
        row.f64.cells[cell].backward(dstate_prev, gates, dstate, state, state_prev, R)


cdef inline void head_log_density(const kernel_row* row, int head, real* log_density, real* scratch, real* z,
                                  const real* x, const outputs* at) noexcept nogil:
    if real is float:
        row.f32.heads[head].log_density(log_density, scratch, z, x, at)
    else:
        row.f64.heads[head].log_density(log_density, scratch, z, x, at)


cdef inline void head_gradient(const kernel_row* row, int head, real* log_density, real* scratch, real* z,
                               const real* x, const real* weight, const outputs* at) noexcept nogil:
    if real is float:
        row.f32.heads[head].gradient(log_density, scratch, z, x, weight, at)
    else:
        row.f64.heads[head].gradient(log_density, scratch, z, x, weight, at)


cdef inline void head_draw(const kernel_row* row, int head, real* x, real* scratch, const real* z,
                           const real* uniform, const real* noise, const outputs* at,
                           Py_ssize_t lanes) noexcept nogil:
    if real is float:
        row.f32.heads[head].draw(x, scratch, z, uniform, noise, at, lanes)
    else:
        row.f64.heads[head].draw(x, scratch, z, uniform, noise, at, lanes)


cdef inline void head_link(const kernel_row* row, int head, real* parameters, const real* z,
                           const outputs* at) noexcept nogil:
    if real is float:
        row.f32.heads[head].link(parameters, z, at)
    else:
        row.f64.heads[head].link(parameters, z, at)


cdef inline void head_posterior(const kernel_row* row, int head, real* log_density, real* after, real* z,
                                const real* x, const outputs* at) noexcept nogil:
    if real is float:
        row.f32.heads[head].posterior(log_density, after, z, x, at)
    else:
        row.f64.heads[head].posterior(log_density, after, z, x, at)


cdef inline void head_component_gradient(const kernel_row* row, int head, real* z, const real* x, const real* pi,
                                         const outputs* at) noexcept nogil:
    if real is float:
        row.f32.heads[head].component_gradient(z, x, pi, at)
    else:
        row.f64.heads[head].component_gradient(z, x, pi, at)


cdef inline void elementwise(const kernel_row* row, real* out, const real* x, int function,
                             Py_ssize_t n) noexcept nogil:
    if real is float:
        row.f32.elementwise(out, x, function, n)
    else:
        row.f64.elementwise(out, x, function, n)
