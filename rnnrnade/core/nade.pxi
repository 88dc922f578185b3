# ---- the conditioner of the RNADE: (3) to (7) ----------------------------------------------------------------------
# The hidden units are updated from dimension to dimension.  What a conditioner provides and who calls it stands in
# conditioners.pxi, what it shares with others in outputs.pxi.  In the equations r is the row of context.

# ---- forward --------------------------------------------------------------------------------------------------------

cdef Py_ssize_t CACHE = 640 * 1024          # bytes of (a, context) of the panels that one thread takes through a block
cdef Py_ssize_t GROUP = 5 * 1024 * 1024     # bytes of the panels of one group in the gradient, or twice the parameters'
cdef Py_ssize_t SPAN = 4 * 1024 * 1024      # bytes of dz and h that a group keeps from phase A to phase B


cdef void hidden_start(const Net* net, real* a, const real* theta, const real* context_p, Py_ssize_t L) noexcept nogil:
    """a_1 = c (+ W_c r) of a panel of L lanes."""
    product(net.row, a, L, theta + net.W_c, 0, net.Ccp, 1, context_p + net.c0 * L, 0, L, theta + net.c, net.H, L, 1,
            net.Cc)


cdef void load_frames(const Net* net, real* x_p, real* context_p, real* a, const real* theta, const real* x,
                      const real* context, Py_ssize_t first, Py_ssize_t valid) noexcept nogil:
    """x and context of a panel's frames as panels, and a_1."""
    pack(net.row, x_p, x + first * net.D, net.D, valid, net.D)
    if net.C:
        pack(net.row, context_p, context + first * net.Cs, net.Cs, valid, net.C)
    hidden_start(net, a, theta, context_p, width_of(net.row, theta))


cdef void hidden_and_outputs(const Net* net, real* a, real* h, real* z, const real* theta, const real* a_prev,
                             const real* x_prev, Py_ssize_t d, Py_ssize_t L) noexcept nogil:
    """(3) to (5) of dimension d:  a_d = a_{d-1} + x_{d-1} W[:, d-1];  h = s(rho_d a);  z += V_d' h.
    x_prev is NULL where a_prev is a_d already."""
    cdef Py_ssize_t W = width_of(net.row, theta)
    hidden_forward(net.row, a, h, a_prev, x_prev, theta + net.W + (d - 1) * net.H, theta[net.rho + d],
                   net.activation, net.H, L)
    product(net.row, z, W, theta + net.V + d * net.J * net.Hp, 0, net.Hp, 1, h, 0, W, <const real*>NULL,
            net.J, L, 1, net.H)


cdef void panels_forward(const Net* net, double* frames, double* dims, real* parameters, real* space,
                         const real* theta, const real* x, const real* context, Py_ssize_t first, Py_ssize_t end,
                         Watch* watch) noexcept nogil:
    """Log-densities of frames first ... end - 1, block of dimensions by block, so that the weights of a block serve all
    of their panels from the cache.  dims (M, D) and parameters (M, D, P) where they are not NULL."""
    cdef Py_ssize_t D = net.D, H = net.H, P = net.P, C = net.C, W = width_of(net.row, theta), n = pieces(end - first, W)
    cdef Py_ssize_t p, d, d0, e, l, at, valid, block
    cdef real *x_p = space                                    # (n, D, W)
    cdef real *context_p = x_p + n * D * W                    # (n, C, W)
    cdef real *a = context_p + n * C * W                      # (n, H, W)
    cdef real *h = a + n * H * W                              # (H, W)
    cdef real *z = h + H * W                                  # (block, P, W)
    cdef real *scratch = z + net.in_block * P * W             # (P, W)
    cdef real *log_density = scratch + P * W                  # (block, W)
    for p in range(n):
        at = first + p * W
        valid = min(W, end - at)
        load_frames(net, x_p + p * D * W, context_p + p * C * W, a + p * H * W, theta, x, context, at, valid)
        for l in range(valid):
            frames[at + l] = 0
    for block in range(pieces(D, net.in_block)):
        d0 = block * net.in_block
        if interrupted(watch):
            return
        for p in range(n):
            at = first + p * W
            valid = min(W, end - at)
            outputs_of_context(net, z, theta, context_p + p * C * W, d0, min(net.in_block, D - d0),
                               lanes_for(valid, W))
            for d in range(d0, min(D, d0 + net.in_block)):
                e = d - d0
                hidden_and_outputs(net, a + p * H * W, h, z + e * P * W, theta, a + p * H * W,
                                   x_p + (p * D + d - 1) * W if d > 0 else <real*>NULL, d, lanes_for(valid, W))
            block_log_density(net, frames, dims, parameters, log_density, scratch, z, theta, x_p + p * D * W, d0, at,
                              valid)


cdef int nade_forward(const Net* net, Workspace memory, double* frames, double* dims, real* parameters,
                      const real* theta, const real* x, const real* context, Py_ssize_t M, int n_threads) except -1:
    """Log-densities of frames (M,); where they are not NULL, of dimensions (M, D), and conditional parameters
    (M, D, P)."""
    cdef Py_ssize_t W = width_of(net.row, theta), of_panel = (net.D + net.H + net.C) * W, of_thread, g
    cdef Py_ssize_t at_once = max(1, CACHE // <Py_ssize_t>((net.H + net.C + 1) * W * sizeof(real)))
    cdef Py_ssize_t halves = pieces(2 * M, W)
    cdef Py_ssize_t n_groups = min(halves, pieces(pieces(M, at_once * W), n_threads) * n_threads)
    cdef real* buffers
    cdef Watch* watch = &memory.watch
    cdef float_mode mode = 0
    at_once = pieces(pieces(halves, n_groups), 2)             # as many half panels in each group
    of_thread = pieces(at_once * of_panel + (net.H + (net.in_block + 1) * net.P + net.in_block) * W, 64) * 64
    buffers = <real*>memory.take(n_threads * of_thread * sizeof(real))
    with nogil, parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        if threadid() == 0:
            watch.team = omp_get_num_threads()
        for g in prange(n_groups, schedule="static"):
            panels_forward(net, frames, dims, parameters, buffers + threadid() * of_thread, theta, x, context,
                           halves * g // n_groups * W // 2, min(M, halves * (g + 1) // n_groups * W // 2), watch)
        set_float_mode(mode)
    return memory.leave()


# ---- backward: the same lines from the bottom up ---------------------------------------------------------------------

cdef struct Panel:
    # What a panel keeps from phase A to phase B, in one piece of `size` reals: where each array begins.
    Py_ssize_t starts             # (n_blocks, H, W)        a at the start of each block
    Py_ssize_t x                  # (D, W)
    Py_ssize_t context            # (C, W)
    Py_ssize_t weight             # (W)
    Py_ssize_t da                 # (H, W)
    Py_ssize_t dcontext           # (Cp, W)
    Py_ssize_t dz                 # (dims, P, W)             dims of the span, at most span * net.in_block
    Py_ssize_t h_rows             # (dims, strips, W, W)     h with the frames as rows, W units in a strip
    Py_ssize_t dw                 # (dims, H)
    Py_ssize_t drho               # (dims)
    Py_ssize_t size, n_blocks, span, strips


cdef Panel panel_layout(const Net* net, Py_ssize_t W, Py_ssize_t span) noexcept nogil:
    cdef Panel at
    cdef Py_ssize_t dims = min(span * net.in_block, net.D)
    at.n_blocks, at.span, at.strips = pieces(net.D, net.in_block), span, pieces(net.H, W)
    at.starts = 0
    at.x = at.starts + at.n_blocks * net.H * W
    at.context = at.x + net.D * W
    at.weight = at.context + net.C * W
    at.da = at.weight + W
    at.dcontext = at.da + net.H * W
    at.dz = at.dcontext + net.Cp * W
    at.h_rows = at.dz + dims * net.P * W
    at.dw = at.h_rows + dims * at.strips * W * W
    at.drho = at.dw + dims * net.H
    at.size = padded(at.drho + dims)
    return at


cdef void panel_start(const Net* net, const Panel* at, real* panel, const real* theta, const real* x,
                      const real* context, const real* weight, Py_ssize_t first, Py_ssize_t valid) noexcept nogil:
    """x, context and weights of a panel's frames, a at the start of each block of dimensions, and zeros in da, dcontext
    and the padding of h_rows: the units behind H of each last strip."""
    cdef Py_ssize_t block, e, W = width_of(net.row, theta), HW = net.H * W, strip = W * W
    cdef real* starts = panel + at.starts
    load_frames(net, panel + at.x, panel + at.context, starts, theta, x, context, first, valid)
    pack(net.row, panel + at.weight, weight + first, 1, valid, 1)
    for block in range(at.n_blocks - 1):
        memcpy(starts + (block + 1) * HW, starts + block * HW, HW * sizeof(real))
        product(net.row, starts + (block + 1) * HW, W, theta + net.W + block * net.in_block * net.H, 0, 1, net.H,
                panel + at.x + block * net.in_block * W, 0, W, <const real*>NULL, net.H, W, 1, net.in_block)
    memset(panel + at.da, 0, (at.dz - at.da) * sizeof(real))
    if net.H % W:
        for e in range((at.dw - at.h_rows) // (at.strips * strip)):
            memset(panel + at.h_rows + ((e + 1) * at.strips - 1) * strip, 0, strip * sizeof(real))


cdef void panels_start(const Net* net, const Panel* at, real* panels, const real* theta, const real* x,
                       const real* context, const real* weight, Py_ssize_t frame, Py_ssize_t first, Py_ssize_t end,
                       Py_ssize_t M) noexcept nogil:
    """panel_start of some panels of a group whose first frame is `frame`."""
    cdef Py_ssize_t p, W = width_of(net.row, theta)
    for p in range(first, end):
        panel_start(net, at, panels + p * at.size, theta, x, context, weight, frame + p * W, min(W, M - frame - p * W))


cdef void block_backward(const Net* net, const Panel* at, double* sums, real* panel, real* space, const real* theta,
                         Py_ssize_t block) noexcept nogil:
    """Phase A of a block of dimensions of one panel.  Forward again from the start of the block; then, from the last
    dimension to the first, dz, dh, dW[:, d] of this panel, drho, da; then dcontext.

    sums (W): the log-densities of the block, summed as panels_forward does."""
    cdef Py_ssize_t H = net.H, P = net.P, W = width_of(net.row, theta)
    cdef Py_ssize_t d, e, l, j, d0 = block * net.in_block, n = min(net.in_block, net.D - d0)
    cdef Py_ssize_t slot = block % at.span * net.in_block     # of the first dimension among those that are kept
    cdef outputs of_d
    cdef real *a = space                                      # (block, H, W)
    cdef real *h = a + net.in_block * H * W                   # (block, H, W)
    cdef real *scratch = h + net.in_block * H * W             # (P, W)
    cdef real *log_density = scratch + P * W                  # (W)
    cdef real *dz = panel + at.dz + slot * P * W              # (n, P, W)
    cdef real *h_rows = panel + at.h_rows + slot * at.strips * W * W
    cdef real *x = panel + at.x + d0 * W                      # (n, W)
    cdef real *start = panel + at.starts + block * H * W      # (H, W)
    outputs_of_context(net, dz, theta, panel + at.context, d0, n, W)
    memset(sums, 0, W * sizeof(double))
    for e in range(n):
        hidden_and_outputs(net, a + e * H * W, h + e * H * W, dz + e * P * W, theta,
                           a + (e - 1) * H * W if e > 0 else start, x + (e - 1) * W if e > 0 else <real*>NULL, d0 + e,
                           W)
        for j in range(at.strips):
            unpack(net.row, h_rows + (e * at.strips + j) * W * W, W, W, h + (e * H + j * W) * W, min(W, H - j * W))
        of_d = outputs_at(net, d0 + e)
        head_gradient(net.row, net.head, log_density, scratch, dz + e * P * W, x + e * W, panel + at.weight, &of_d)
        for l in range(W):
            sums[l] += log_density[l]
    for e in range(n - 1, -1, -1):
        d = d0 + e
        panel[at.drho + slot + e] = hidden_backward(
            net.row, panel + at.da, panel + at.dw + (slot + e) * H, a + e * H * W, h + e * H * W, dz + e * P * W,
            x + e * W, theta + net.V + d * net.J * net.Hp, net.Hp, theta[net.rho + d], net.activation, H, net.J)
    if net.C:
        outputs_of_context_backward(net, panel + at.dcontext, theta, dz, d0, n)                # dr^{t-1} += U_d' dz


cdef void panels_backward(const Net* net, const Panel* at, double* sums, real* panels, real* space, const real* theta,
                          Py_ssize_t first, Py_ssize_t end, Py_ssize_t block_begin, Py_ssize_t block_end,
                          Watch* watch) noexcept nogil:
    """Phase A of some blocks of some panels, the weights of a block serving all of them from the cache."""
    cdef Py_ssize_t p, block
    for block in range(block_end - 1, block_begin - 1, -1):
        for p in range(first, end):
            if interrupted(watch):
                return
            block_backward(net, at, sums + (p * at.n_blocks + block) * width_of(net.row, theta), panels + p * at.size,
                           space, theta, block)


cdef void panel_end(const Net* net, const Panel* at, double* frames, real* dcontext, real* panel, const double* sums,
                    const real* theta, Py_ssize_t first, Py_ssize_t valid) noexcept nogil:
    """After the first dimension: dr^{t-1} += W_c' da, as rows, and the log-density of each frame; -inf for one that the
    type does not hold, and whose gradient it does not hold either."""
    cdef Py_ssize_t l, block, W = width_of(net.row, theta)
    if net.Cc:
        product(net.row, panel + at.dcontext + net.c0 * W, W, theta + net.W_c, 0, 1, net.Ccp, panel + at.da, 0, W,
                <const real*>NULL, net.Cc, W, 1, net.H)
    if net.C:
        unpack(net.row, dcontext + first * net.Cs, net.Cs, valid, panel + at.dcontext, net.Cp)
    for l in range(valid):
        frames[first + l] = 0
        for block in range(at.n_blocks):
            frames[first + l] += sums[block * W + l] if sums[block * W + l] >= beyond(theta) else -INFINITY


cdef void gradient_of_V(const Net* net, const Panel* at, real* grad, const real* start, const real* panels,
                        Py_ssize_t d0, Py_ssize_t piece, Py_ssize_t n_panels) noexcept nogil:
    """dV_d += dz h' over the frames of a group, for one dimension and one strip of hidden units; from `start` on where
    it is not NULL."""
    cdef Py_ssize_t W = width_of(net.row, grad), e = piece // at.strips, j = piece % at.strips * W
    product(net.row, grad + net.V + (d0 + e) * net.J * net.Hp + j, net.Hp, panels + at.dz + e * net.P * W, at.size, W,
            1, panels + at.h_rows + piece * W * W, at.size, W, start, net.J, min(W, net.Hp - j), n_panels, W)


cdef void gradient_of_dimension(const Net* net, const Panel* at, real* grad, real* db, const real* panels,
                                Py_ssize_t d0, Py_ssize_t e, Py_ssize_t n_panels) noexcept nogil:
    """dW[:, d], drho_d and db_d (lanes still apart: db (D, P, W)) over the panels of a group."""
    cdef Py_ssize_t p, PW = net.P * width_of(net.row, grad)
    cdef const real* panel
    for p in range(n_panels):
        panel = panels + p * at.size
        add(grad + net.W + (d0 + e) * net.H, panel + at.dw + e * net.H, net.H)
        add(grad + net.rho + d0 + e, panel + at.drho + e, 1)
        add(db + (d0 + e) * PW, panel + at.dz + e * PW, PW)


cdef void gradient_of_c(const Net* net, const Panel* at, real* dc, const real* panels, Py_ssize_t piece,
                        Py_ssize_t n_panels) noexcept nogil:
    """dc += da over the panels of a group, for some hidden units, lanes still apart: dc (H, W)."""
    cdef Py_ssize_t p, W = width_of(net.row, dc), j = piece * OUTPUTS
    for p in range(n_panels):
        add(dc + j * W, panels + p * at.size + at.da + j * W, min(<Py_ssize_t>OUTPUTS, net.H - j) * W)


cdef void group_gradient(const Net* net, const Panel* at, real* grad, double* frames, real* dcontext, real* db,
                         real* dc, real* panels, double* sums, real* buffers, Py_ssize_t of_thread, const real* start,
                         const real* theta, const real* x, const real* context, const real* weight, Py_ssize_t M,
                         Py_ssize_t first, Py_ssize_t n, int n_threads, Watch* watch) noexcept nogil:
    """A group of n panels from panel `first` on, span of blocks by span, the last one first, each in phases A and B.
    start: zeros from which dV and dU start in the first group, then NULL."""
    cdef Py_ssize_t W = width_of(net.row, theta), n_blocks = at.n_blocks, n_spans = pieces(n_blocks, at.span)
    cdef Py_ssize_t n_W = pieces_of_W_c(net, net.H, W)
    cdef Py_ssize_t n_c = pieces(net.H, OUTPUTS), p, i, g
    cdef Py_ssize_t begin = 0, end = 0, d0 = 0, n_dims = 0, n_V = 0, n_U = 0, q = 0     # each thread starts with a copy
    cdef float_mode mode = 0
    with parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        if threadid() == 0:
            watch.team = omp_get_num_threads()
        for q in range(n_spans - 1, -1, -1):
            begin = q * at.span
            end = min(begin + at.span, n_blocks)
            d0 = begin * net.in_block
            n_dims = min(end * net.in_block, net.D) - d0
            for g in prange(n_threads, schedule="static", chunksize=1):                         # phase A
                if q == n_spans - 1:
                    panels_start(net, at, panels, theta, x, context, weight, first * W, n * g // n_threads,
                                 n * (g + 1) // n_threads, M)
                panels_backward(net, at, sums, panels, buffers + threadid() * of_thread, theta,
                                n * g // n_threads, n * (g + 1) // n_threads, begin, end, watch)
            n_V = n_dims * at.strips
            n_U = pieces_of_U(net, n_dims * net.Q, W)
            for i in prange(n_V + n_U + n_dims, schedule="dynamic", chunksize=1):               # phase B
                if interrupted(watch):
                    pass
                elif i < n_V:
                    gradient_of_V(net, at, grad, start, panels, d0, i, n)
                elif i < n_V + n_U:
                    gradient_of_U(net, grad, start, panels + at.dz, at.size, context + first * W * net.Cs, d0,
                                  n_dims * net.Q, i - n_V, n)
                else:
                    gradient_of_dimension(net, at, grad, db, panels, d0, i - n_V - n_U, n)
        for i in prange(n_W + n + n_c, schedule="dynamic", chunksize=1):
            if i < n_W:
                gradient_of_W_c(net, grad, panels + at.da, at.size, context + first * W * net.Cs, net.H, i, n)
            elif i < n_W + n:
                p = i - n_W
                panel_end(net, at, frames, dcontext, panels + p * at.size, sums + p * n_blocks * W, theta,
                          (first + p) * W, min(W, M - (first + p) * W))
            else:
                gradient_of_c(net, at, dc, panels, i - n_W - n, n)
        set_float_mode(mode)


cdef int nade_gradient(const Net* net, Workspace memory, real* grad, double* frames, real* dcontext, const real* theta,
                       const real* x, const real* context, const real* weight, Py_ssize_t M, int n_threads) except -1:
    """Log-densities of frames (M,), the same bits as nade_forward, and the gradient of sum_i weight_i log p_i by the
    parameters of the frames, and by context, dcontext.  context: rows up to a multiple of W, zero from M on."""
    cdef Py_ssize_t D = net.D, H = net.H, P = net.P, W = width_of(net.row, theta), n_panels = pieces(M, W), first, i
    cdef Watch* watch = &memory.watch
    # Panels that are in flight together, and blocks from one barrier to the next.
    cdef Panel at = panel_layout(net, W, 1)
    cdef Py_ssize_t most = max(<Py_ssize_t>n_threads, max(GROUP // <Py_ssize_t>sizeof(real), 2 * net.size) // at.size)
    most = pieces(pieces(n_panels, pieces(n_panels, most)), n_threads) * n_threads      # as many for each thread
    cdef Py_ssize_t span = SPAN // <Py_ssize_t>(most * (at.dw - at.dz) * sizeof(real))
    at = panel_layout(net, W, equal_pieces(at.n_blocks, max(1, min(span, at.n_blocks))))
    cdef real* panels = <real*>memory.take(most * at.size * sizeof(real))
    cdef double* sums = <double*>memory.take(most * at.n_blocks * W * sizeof(double))  # (most, n_blocks, W)
    cdef real* db = <real*>memory.take(D * P * W * sizeof(real))                       # (D, P, W)
    cdef real* dc = <real*>memory.take(H * W * sizeof(real))                           # (H, W)
    cdef Py_ssize_t of_thread = pieces((2 * net.in_block * H + P + 1) * W, 64) * 64
    cdef real* buffers = <real*>memory.take(n_threads * of_thread * sizeof(real))
    # V and U, nearly all of the gradient, start from `zeros` in their first product: no pass over them before.
    cdef real* zeros = <real*>memory.take(max(P, <Py_ssize_t>OUTPUTS) * sizeof(real))
    memset(db, 0, D * P * W * sizeof(real))
    memset(dc, 0, H * W * sizeof(real))
    memset(zeros, 0, max(P, <Py_ssize_t>OUTPUTS) * sizeof(real))
    memset(grad, 0, net.V * sizeof(real))
    if at.strips * W < net.Hp:                                # narrow panels leave padding that no product reaches
        memset(grad + net.V, 0, D * net.J * net.Hp * sizeof(real))
    memset(grad + net.b, 0, padded(D * P) * sizeof(real))
    if net.Cc:
        memset(grad + net.W_c, 0, H * net.Ccp * sizeof(real))
    for first in range(0, n_panels, most):
        memory.leave()
        with nogil:
            group_gradient(net, &at, grad, frames, dcontext, db, dc, panels, sums, buffers, of_thread,
                           zeros if first == 0 else <real*>NULL, theta, x, context, weight, M, first,
                           min(most, n_panels - first), n_threads, watch)
    for i in range(D * P):                                    # the lanes last
        grad[net.b + i] = sum_in_order(db + i * W, W)
    for i in range(H):
        grad[net.c + i] = sum_in_order(dc + i * W, W)
    return memory.leave()


# ---- a draw: B sequences in the lanes, or one alone with the outputs in the lanes -----------------------------------

cdef inline Py_ssize_t nade_draw_size(const Net* net, Py_ssize_t B) noexcept nogil:
    """Numbers that a draw keeps from one dimension to the next: a (Hp, B) and h (Hp, B)."""
    return 2 * net.Hp * B


cdef void nade_draw_begin(const Net* net, real* own, const real* context, const real* theta,
                          Py_ssize_t B) noexcept nogil:
    """a_1 = c (+ W_c r).  context: (C, B)."""
    if B > 1:
        hidden_start(net, own, theta, context, B)
        return
    memset(own, 0, net.Hp * sizeof(real))
    memcpy(own, theta + net.c, net.H * sizeof(real))
    product_one(net.row, own, theta + net.W_c, net.Ccp, context + net.c0, net.H, net.Cc)


cdef void nade_draw_outputs(const Net* net, real* z, real* own, const real* x, const real* theta, Py_ssize_t d,
                            Py_ssize_t B, Py_ssize_t valid) noexcept nogil:
    """(3) to (5) of dimension d, into what the context has given to z (D, P, B).  x: (D, B), read at d - 1."""
    cdef real* h = own + net.Hp * B
    z += d * net.P * B
    if B > 1:
        hidden_and_outputs(net, own, h, z, theta, own, x + (d - 1) * B if d > 0 else <const real*>NULL, d,
                           lanes_for(valid, B))
        return
    hidden_one(net.row, own, h, x[d - 1] if d > 0 else 0, theta + net.W + (d - 1 if d > 0 else 0) * net.H,
               theta[net.rho + d], net.activation, net.H)
    product_one(net.row, z, theta + net.V + d * net.J * net.Hp, net.Hp, h, net.J, net.H)
