# ---- the conditioner of RNN-GMM: components that all dimensions of a frame share, (8) and (9) -------------------------
# One mixture of K components over the whole frame, whose numbers are independent within a component.  What x_<d says of
# the component is all that dimension d knows of it:
#
#     (8)  l_1 = b_alpha + W_alpha r;    l_{d+1} = l_d + log f((x_d - mu_dk) / sigma_dk) - log sigma_dk
#     (9)  z^alpha_d = l_d,    z^mu_d = b^mu_d + W^mu_d r,    z^sigma_d = b^sigma_d + W^sigma_d r
#
# so that with the head of (6) and (7) each conditional is exact, and so is a draw, dimension by dimension.
#
# Design.  l is less its largest at each step: the logarithm of the density of all of x_<d would grow with d, and differences
# of two such numbers lose digits at D = 200.  b_alpha and W_alpha stand where the RNADE has c and W_c (H = K: l_1 is to
# the components what a_1 is to the hidden units), and the head finds l in the rows of z^alpha, behind the F raw outputs
# that a dimension has for itself.  Rows of z of the first dimension that no posterior has touched hold l_1.

cdef inline real* weights_in(const Net* net, real* z, Py_ssize_t L) noexcept nogil:
    """Where a panel of L lanes with the raw outputs of a dimension holds the log-weights, (K, L)."""
    return z + net.at.alpha * L


cdef double far_step(const Net* net, double* l, const real* z, Py_ssize_t L, Py_ssize_t d, double x) noexcept nogil:
    """(7) and (8) in double precision: log p(x_d | x_<d), and l_d (K) becomes l_{d+1}.  z (P), L apart."""
    cdef outputs at = outputs_at(net, d)
    cdef Py_ssize_t k, K = net.at.K
    cdef const Family* f = &families[net.head]
    cdef double m = -INFINITY, top = -INFINITY, prior = 0, total = 0
    for k in range(K):
        m = max(m, l[k])
    for k in range(K):
        prior += exp(l[k] - m)
        l[k] += log_component(&at, f, k, z[(net.at.mu + k) * L], z[(net.at.sigma + k) * L], x) - m
        top = max(top, l[k])
    if top == -INFINITY:
        return top
    for k in range(K):
        l[k] -= top
        total += exp(l[k])
    return top + log(total / prior) - f.log_norm


cdef inline void weights_from(real* l, Py_ssize_t L, const double* exact, Py_ssize_t K) noexcept nogil:
    """l (K), L apart, of what far_step has left, as large as the type can hold."""
    cdef Py_ssize_t k
    for k in range(K):
        l[k * L] = <real>max(exact[k], 2 * beyond(l))


cdef double shared_far(const Net* net, double* l, const real* z, const real* x, Py_ssize_t L, Py_ssize_t d) noexcept nogil:
    """log p(x_d | x_<d) of one frame that the kernels have found too far from all components, from l_1 on; l (K) becomes
    l_{d+1}.  z: (D, P), x: (D,), L apart."""
    cdef Py_ssize_t k, j
    cdef double value = 0
    for k in range(net.at.K):
        l[k] = z[(net.at.alpha + k) * L]
    for j in range(d + 1):
        value = far_step(net, l, z + j * net.P * L, L, j, x[j * L])
    return value


cdef double shared_far_lane(const Net* net, double* l, real* z, const real* theta, const real* x_p,
                            const real* context_p, Py_ssize_t d, Py_ssize_t lane) noexcept nogil:
    """The same of one lane of a panel, whose raw outputs are gone.  x_p: (D, W).  context_p: (C, W).  z: (P, W),
    overwritten."""
    cdef Py_ssize_t k, j, W = width_of(net.row, theta)
    cdef double value = 0
    hidden_start(net, z, theta, context_p, W)
    for k in range(net.at.K):
        l[k] = z[k * W + lane]
    for j in range(d + 1):
        outputs_of_context(net, z, theta, context_p, j, 1, W)
        value = far_step(net, l, z + lane, W, j, x_p[j * W + lane])
    return value


# ---- forward --------------------------------------------------------------------------------------------------------

cdef void shared_block(const Net* net, double* sums, double* dims, real* parameters, real* l, real* log_density,
                       real* space, real* z, const real* theta, const real* x_p, const real* context_p, Py_ssize_t d0,
                       Py_ssize_t at, Py_ssize_t valid) noexcept nogil:
    """(6) to (8) of a block of dimensions from d0 on, of a panel whose first frame is `at`: their log-densities are added
    to sums (W), l (K, W) goes on past them.  dims (M, D) and parameters (M, D, P) where they are not NULL.
    z: (block, P, W).  log_density: (W).  space: (3 P, W), doubles in front."""
    cdef Py_ssize_t d, i, k, D = net.D, P = net.P, K = net.at.K, W = width_of(net.row, theta)
    cdef real *z_d
    cdef outputs of_d
    cdef double *carry = <double*>space                                        # (K), in (2 P, W)
    cdef double value
    space += 2 * P * W
    for d in range(d0, min(D, d0 + net.in_block)):
        z_d = z + (d - d0) * P * W
        of_d = outputs_at(net, d)
        memcpy(weights_in(net, z_d, W), l, K * W * sizeof(real))
        if parameters != NULL:
            head_link(net.row, net.head, space, z_d, &of_d)
            for i in range(valid):
                for k in range(P):
                    parameters[((at + i) * D + d) * P + k] = space[k * W + i]
        head_posterior(net.row, net.head, log_density, l, z_d, x_p + d * W, &of_d)                   # (7), (8)
        for i in range(valid):
            value = log_density[i]
            if value < beyond(theta):
                value = shared_far_lane(net, carry, space, theta, x_p, context_p, d, i)
                weights_from(l + i, W, carry, K)
            sums[i] += value
            if dims != NULL:
                dims[(at + i) * D + d] = value


cdef void shared_panels_forward(const Net* net, double* frames, double* dims, real* parameters, real* space,
                                const real* theta, const real* x, const real* context, Py_ssize_t first,
                                Py_ssize_t end, Watch* watch) noexcept nogil:
    """As panels_forward of the RNADE (nade.pxi)."""
    cdef Py_ssize_t D = net.D, K = net.at.K, P = net.P, C = net.C, W = width_of(net.row, theta)
    cdef Py_ssize_t n = pieces(end - first, W), p, l, at, valid, d0, block
    cdef double sums[MAX_WIDTH]
    cdef real *own = space                                    # (3 P, W)
    cdef real *z = own + 3 * P * W                            # (block, P, W)
    cdef real *log_density = z + net.in_block * P * W         # (W)
    cdef real *x_p = log_density + W                          # (n, D, W)
    cdef real *context_p = x_p + n * D * W                    # (n, C, W)
    cdef real *l_p = context_p + n * C * W                    # (n, K, W)
    for p in range(n):
        at = first + p * W
        valid = min(W, end - at)
        load_frames(net, x_p + p * D * W, context_p + p * C * W, l_p + p * K * W, theta, x, context, at, valid)
        for l in range(valid):
            frames[at + l] = 0
    for block in range(pieces(D, net.in_block)):
        d0 = block * net.in_block
        if interrupted(watch):
            return
        for p in range(n):
            at = first + p * W
            valid = min(W, end - at)
            memset(sums, 0, sizeof(sums))
            outputs_of_context(net, z, theta, context_p + p * C * W, d0, min(net.in_block, D - d0),
                               lanes_for(valid, W))
            shared_block(net, sums, dims, parameters, l_p + p * K * W, log_density, own, z, theta, x_p + p * D * W,
                         context_p + p * C * W, d0, at, valid)
            for l in range(valid):                            # (1), in double precision: block by block
                frames[at + l] += sums[l]


cdef int shared_forward(const Net* net, Workspace memory, double* frames, double* dims, real* parameters,
                        const real* theta, const real* x, const real* context, Py_ssize_t M, int n_threads) except -1:
    """Log-densities of frames (M,); where they are not NULL, of dimensions (M, D), and conditional parameters
    (M, D, P)."""
    cdef Py_ssize_t K = net.at.K, W = width_of(net.row, theta), of_panel = (net.D + K + net.C) * W, of_thread, g
    cdef Py_ssize_t at_once = max(1, CACHE // <Py_ssize_t>(of_panel * sizeof(real)))
    cdef Py_ssize_t halves = pieces(2 * M, W)
    cdef Py_ssize_t n_groups = min(halves, pieces(pieces(M, at_once * W), n_threads) * n_threads)
    cdef real* buffers
    cdef Watch* watch = &memory.watch
    cdef float_mode mode = 0
    at_once = pieces(pieces(halves, n_groups), 2)             # as many half panels in each group
    of_thread = pieces(at_once * of_panel + ((net.in_block + 3) * net.P + 1) * W, 64) * 64
    buffers = <real*>memory.take(n_threads * of_thread * sizeof(real))
    memset(buffers, 0, n_threads * of_thread * sizeof(real))  # lanes that no product fills are read, if for nothing
    with nogil, parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        if threadid() == 0:
            watch.team = omp_get_num_threads()
        for g in prange(n_groups, schedule="static"):
            shared_panels_forward(net, frames, dims, parameters, buffers + threadid() * of_thread, theta, x, context,
                                  halves * g // n_groups * W // 2, min(M, halves * (g + 1) // n_groups * W // 2),
                                  watch)
        set_float_mode(mode)
    return memory.leave()


# ---- backward -------------------------------------------------------------------------------------------------------
# With pi, the weights of the components once the whole frame is known,
#
#     dz^alpha = pi - alpha,    dz^mu_d = pi s / sigma,    dz^sigma_d = pi (s u - 1) e / sigma

cdef struct SharedPanel:
    # What a panel keeps from phase A to phase B, in one piece of `size` reals: where each array begins.
    Py_ssize_t x                  # (D, W)
    Py_ssize_t context            # (C, W)
    Py_ssize_t weight             # (W)
    Py_ssize_t l                  # (K, W)                  then w pi
    Py_ssize_t dl                 # (K, W)                  dz^alpha
    Py_ssize_t dcontext           # (Cp, W)
    Py_ssize_t dz                 # (D, P, W)               z, then dz
    Py_ssize_t size


cdef SharedPanel shared_layout(const Net* net, Py_ssize_t W) noexcept nogil:
    cdef SharedPanel at
    at.x = 0
    at.context = at.x + net.D * W
    at.weight = at.context + net.C * W
    at.l = at.weight + W
    at.dl = at.l + net.at.K * W
    at.dcontext = at.dl + net.at.K * W
    at.dz = at.dcontext + net.Cp * W
    at.size = padded(at.dz + net.D * net.P * W)
    return at


cdef void component_weights(const Net* net, real* out, real* space, real* z, const real* l, const real* weight,
                            Py_ssize_t W) noexcept nogil:
    """out = weight softmax(l), out, l (K, W), weight (W).  z, space: (P, W), of which the rows of z^alpha are taken."""
    cdef Py_ssize_t i, k
    memcpy(weights_in(net, z, W), l, net.at.K * W * sizeof(real))
    head_link(net.row, net.head, space, z, &net.at)
    for k in range(net.at.K):
        for i in range(W):
            out[k * W + i] = weight[i] * space[k * W + i]


cdef void shared_panels(const Net* net, const SharedPanel* at, double* frames, real* dcontext, real* panels,
                        real* space, const real* theta, const real* x, const real* context, const real* weight,
                        Py_ssize_t M, Py_ssize_t frame, Py_ssize_t first, Py_ssize_t end, Watch* watch) noexcept nogil:
    """Phase A of some panels of a group whose first frame is `frame`: all dimensions forward, then the gradient of each,
    the weights of a block serving all panels from the cache.  space: (P + 1, W)."""
    cdef Py_ssize_t D = net.D, K = net.at.K, P = net.P, W = width_of(net.row, theta)
    cdef Py_ssize_t p, d, k, i, d0, n, begin, valid, block, n_blocks = pieces(D, net.in_block)
    cdef double sums[MAX_WIDTH]
    cdef real *panel
    cdef outputs of_d
    cdef real *log_density = space + P * W
    for p in range(first, end):
        panel = panels + p * at.size
        begin = frame + p * W
        valid = min(W, M - begin)
        load_frames(net, panel + at.x, panel + at.context, panel + at.l, theta, x, context, begin, valid)
        pack(net.row, panel + at.weight, weight + begin, 1, valid, 1)
        memset(panel + at.dcontext, 0, net.Cp * W * sizeof(real))
        for i in range(valid):
            frames[begin + i] = 0
    for block in range(n_blocks):
        d0 = block * net.in_block
        n = min(net.in_block, D - d0)
        for p in range(first, end):
            if interrupted(watch):
                return
            panel = panels + p * at.size
            begin = frame + p * W
            valid = min(W, M - begin)
            outputs_of_context(net, panel + at.dz + d0 * P * W, theta, panel + at.context, d0, n, W)
            if block == 0:                                    # alpha, until the gradient comes
                component_weights(net, panel + at.dl, space, panel + at.dz, panel + at.l, panel + at.weight, W)
            memset(sums, 0, sizeof(sums))
            shared_block_of_gradient(net, sums, panel + at.l, log_density, panel + at.dz + d0 * P * W,
                                     panel + at.x, theta, d0)
            for i in range(valid):                            # -inf for one that the type does not hold
                frames[begin + i] += sums[i] if sums[i] >= beyond(theta) else -INFINITY
    for p in range(first, end):
        panel = panels + p * at.size
        component_weights(net, panel + at.l, space, panel + at.dz, panel + at.l, panel + at.weight, W)
        for k in range(K * W):
            panel[at.dl + k] = panel[at.l + k] - panel[at.dl + k]                       # dz^alpha = pi - alpha
    for block in range(n_blocks):
        d0 = block * net.in_block
        n = min(net.in_block, D - d0)
        for p in range(first, end):
            if interrupted(watch):
                return
            panel = panels + p * at.size
            for d in range(d0, d0 + n):
                of_d = outputs_at(net, d)
                head_component_gradient(net.row, net.head, panel + at.dz + d * P * W, panel + at.x + d * W,
                                        panel + at.l, &of_d)
            outputs_of_context_backward(net, panel + at.dcontext, theta, panel + at.dz + d0 * P * W, d0, n)
    if net.C:
        for p in range(first, end):
            panel = panels + p * at.size
            begin = frame + p * W
            if net.Cc:                                        # dr += W_alpha' dz^alpha
                product(net.row, panel + at.dcontext + net.c0 * W, W, theta + net.W_c, 0, 1, net.Ccp, panel + at.dl, 0,
                        W, <const real*>NULL, net.Cc, W, 1, K)
            unpack(net.row, dcontext + begin * net.Cs, net.Cs, min(W, M - begin), panel + at.dcontext, net.Cp)


cdef inline void shared_block_of_gradient(const Net* net, double* sums, real* l, real* log_density, real* z,
                                          const real* x_p, const real* theta, Py_ssize_t d0) noexcept nogil:
    """shared_block without what it gives beside the sums; what the type does not hold stays beyond."""
    cdef Py_ssize_t d, i, W = width_of(net.row, theta)
    cdef outputs of_d
    for d in range(d0, min(net.D, d0 + net.in_block)):
        memcpy(weights_in(net, z, W), l, net.at.K * W * sizeof(real))
        of_d = outputs_at(net, d)
        head_posterior(net.row, net.head, log_density, l, z, x_p + d * W, &of_d)                     # (7), (8)
        z += net.P * W
        for i in range(W):
            sums[i] += log_density[i]


cdef void shared_group_gradient(const Net* net, const SharedPanel* at, real* grad, double* frames, real* dcontext,
                                real* db, real* dl, real* panels, real* buffers, Py_ssize_t of_thread,
                                const real* theta, const real* x, const real* context, const real* weight,
                                Py_ssize_t M, Py_ssize_t first, Py_ssize_t n, int n_threads,
                                Watch* watch) noexcept nogil:
    """A group of n panels from panel `first` on, in phases A and B.  db (D, F, W) and dl (K, W): gradients of the biases,
    lanes still apart."""
    cdef Py_ssize_t D = net.D, K = net.at.K, P = net.P, F = net.F, W = width_of(net.row, theta), g, i, p
    cdef Py_ssize_t n_U = pieces_of_U(net, D * net.Q, W), n_W = pieces_of_W_c(net, K, W)
    cdef const real* rows = context + first * W * net.Cs
    cdef float_mode mode = 0
    with parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        if threadid() == 0:
            watch.team = omp_get_num_threads()
        for g in prange(n_threads, schedule="static", chunksize=1):                             # phase A
            shared_panels(net, at, frames, dcontext, panels, buffers + threadid() * of_thread, theta, x, context,
                          weight, M, first * W, n * g // n_threads, n * (g + 1) // n_threads, watch)
        for i in prange(n_U + n_W + D + 1, schedule="dynamic", chunksize=1):                    # phase B
            if interrupted(watch):
                pass
            elif i < n_U:
                gradient_of_U(net, grad, <const real*>NULL, panels + at.dz, at.size, rows, 0, D * net.Q, i, n)
            elif i < n_U + n_W:
                gradient_of_W_c(net, grad, panels + at.dl, at.size, rows, K, i - n_U, n)
            else:
                for p in range(n):
                    if i < n_U + n_W + D:
                        add(db + (i - n_U - n_W) * F * W, panels + p * at.size + at.dz + (i - n_U - n_W) * P * W, F * W)
                    else:
                        add(dl, panels + p * at.size + at.dl, K * W)
        set_float_mode(mode)


cdef int shared_gradient(const Net* net, Workspace memory, real* grad, double* frames, real* dcontext,
                         const real* theta, const real* x, const real* context, const real* weight, Py_ssize_t M,
                         int n_threads) except -1:
    """Log-densities of frames (M,), the same bits as shared_forward, and the gradient of sum_i weight_i log p_i by the
    parameters of the frames, and by context, dcontext.  context: rows up to a multiple of W, zero from M on."""
    cdef Py_ssize_t D = net.D, K = net.at.K, F = net.F, W = width_of(net.row, theta), n_panels = pieces(M, W), first, i
    cdef Watch* watch = &memory.watch
    cdef SharedPanel at = shared_layout(net, W)
    cdef Py_ssize_t most = max(<Py_ssize_t>n_threads, max(GROUP // <Py_ssize_t>sizeof(real), 2 * net.size) // at.size)
    most = pieces(pieces(n_panels, pieces(n_panels, most)), n_threads) * n_threads      # as many for each thread
    cdef real* panels = <real*>memory.take(most * at.size * sizeof(real))
    cdef real* db = <real*>memory.take((D * F + K) * W * sizeof(real))                 # (D, F, W)
    cdef real* dl = db + D * F * W                                                     # (K, W)
    cdef Py_ssize_t of_thread = pieces((net.P + 1) * W, 64) * 64
    cdef real* buffers = <real*>memory.take(n_threads * of_thread * sizeof(real))
    memset(db, 0, (D * F + K) * W * sizeof(real))
    memset(grad, 0, net.of_frame * sizeof(real))
    for first in range(0, n_panels, most):
        memory.leave()
        with nogil:
            shared_group_gradient(net, &at, grad, frames, dcontext, db, dl, panels, buffers, of_thread, theta, x,
                                  context, weight, M, first, min(most, n_panels - first), n_threads, watch)
    for i in range(D * F):                                    # the lanes last
        grad[net.b + i] = sum_in_order(db + i * W, W)
    for i in range(K):
        grad[net.c + i] = sum_in_order(dl + i * W, W)
    return memory.leave()


# ---- a draw: B sequences in the lanes, or one alone with the outputs in the lanes -----------------------------------

# A draw begins as that of the RNADE (nade_draw_begin): l_1 = b_alpha (+ W_alpha r).

cdef inline Py_ssize_t shared_draw_size(const Net* net, Py_ssize_t B) noexcept nogil:
    """Numbers that a draw keeps from one dimension to the next: l (Hp, B), and behind it what a posterior asks for: z_d
    (P, W), x_d, log_density (W) and l (K, W) of one sequence in the first lane, and doubles (K)."""
    return net.Hp * B + (net.P + net.at.K + 2) * MAX_WIDTH + 2 * net.at.K + 2


cdef void shared_draw_outputs(const Net* net, real* z, real* own, const real* x, const real* theta, Py_ssize_t d,
                              Py_ssize_t B, Py_ssize_t valid) noexcept nogil:
    """(8) of dimension d, beside what the context has given to z (D, P, B).  x: (D, B), read at d - 1."""
    cdef Py_ssize_t i, k, P = net.P, K = net.at.K, W = width_of(net.row, theta)
    cdef real *z_prev = z + (d - 1) * P * B
    cdef real *one = own + net.Hp * B                         # (P, W)
    cdef real *x_one = one + P * W                            # (W)
    cdef real *log_density = x_one + W                        # (W)
    cdef real *l_one = log_density + W                        # (K, W)
    cdef double *carry = <double*>(<uintptr_t>(l_one + K * W + 1) // sizeof(double) * sizeof(double))   # (K)
    cdef outputs at = outputs_at(net, d - 1 if d > 0 else 0)
    if d > 0 and B > 1:
        head_posterior(net.row, net.head, log_density, own, z_prev, x + (d - 1) * B, &at)
    elif d > 0:
        memset(one, 0, (P + 1) * W * sizeof(real))
        for k in range(P):
            one[k * W] = z_prev[k]
        x_one[0] = x[d - 1]
        head_posterior(net.row, net.head, log_density, l_one, one, x_one, &at)
        for k in range(K):
            own[k] = l_one[k * W]
    if d > 0:
        for i in range(valid):
            if log_density[i] < beyond(theta):
                shared_far(net, carry, z + i, x + i, B, d - 1)
                weights_from(own + i, B, carry, K)
    memcpy(weights_in(net, z + d * P * B, B), own, K * B * sizeof(real))
