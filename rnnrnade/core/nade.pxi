# ---- the frames, forward: (3) to (7) -------------------------------------------------------------------------------

cdef Py_ssize_t CACHE = 640 * 1024          # bytes of (a, r) of the panels that one thread takes through a block
cdef Py_ssize_t GROUP = 5 * 1024 * 1024     # bytes of the panels of one group in the gradient, or twice the parameters'
cdef Py_ssize_t SPAN = 4 * 1024 * 1024      # bytes of dz and h that a group keeps from phase A to phase B


cdef void load_frames(const Net* net, real* x_p, real* r_p, real* a, const real* theta, const real* x, const real* r,
                      Py_ssize_t first, Py_ssize_t valid) noexcept nogil:
    """x and r of a panel's frames as panels, and a_1 = c (+ W_c r)."""
    cdef Py_ssize_t j, l, W = width_of(net.row, theta)
    pack(net.row, x_p, x + first * net.D, net.D, valid, net.D)
    if net.R:
        pack(net.row, r_p, r + first * net.Sp, net.Sp, valid, net.R)
    product(net.row, a, W, theta + net.W_c, 0, net.Rp, 1, r_p, 0, W, theta + net.c, net.H, W, 1,
            net.R if net.hidden_context else 0)


cdef inline Py_ssize_t lanes_for(Py_ssize_t valid, Py_ssize_t W) noexcept nogil:
    """Lanes that a product has to fill for so many frames: all, or the first of the two vectors."""
    return W // 2 if 2 * valid <= W else W


cdef void outputs_of_context(const Net* net, real* z, const real* theta, const real* r_p, Py_ssize_t d,
                             Py_ssize_t n, Py_ssize_t L) noexcept nogil:
    """z_d = b_d + U_d r for n dimensions from d on, in the first L lanes: what the recurrent state adds to (5).
    z: (n, P, W)."""
    cdef Py_ssize_t e, W = width_of(net.row, theta), P = net.P, Q = net.Q
    if Q == P:
        product(net.row, z, W, theta + net.U + d * P * net.Rp, 0, net.Rp, 1, r_p, 0, W, theta + net.b + d * P,
                n * P, L, 1, net.R)
        return
    for e in range(n):
        product(net.row, z + e * P * W, W, theta + net.U + (d + e) * Q * net.Rp, 0, net.Rp, 1, r_p, 0, W,
                theta + net.b + (d + e) * P, Q, L, 1, net.R)
        product(net.row, z + (e * P + Q) * W, W, theta, 0, 0, 0, r_p, 0, W, theta + net.b + (d + e) * P + Q,
                P - Q, L, 1, 0)


cdef void hidden_and_outputs(const Net* net, real* a, real* h, real* z, const real* theta, const real* a_prev,
                             const real* x_prev, Py_ssize_t d, Py_ssize_t L) noexcept nogil:
    """(3) to (5) of dimension d:  a_d = a_{d-1} + x_{d-1} W[:, d-1];  h = s(rho_d a);  z += V_d' h.
    x_prev is NULL where a_prev is a_d already."""
    cdef Py_ssize_t W = width_of(net.row, theta)
    hidden_forward(net.row, a, h, a_prev, x_prev, theta + net.W + (d - 1) * net.H, theta[net.rho + d],
                   net.activation, net.H, L)
    product(net.row, z, W, theta + net.V + d * net.P * net.Hp, 0, net.Hp, 1, h, 0, W, <const real*>NULL,
            net.P, L, 1, net.H)


cdef void panels_forward(const Net* net, double* frames, double* dims, real* parameters, real* space,
                         const real* theta, const real* x, const real* r, Py_ssize_t first,
                         Py_ssize_t end) noexcept nogil:
    """Log-densities of frames first ... end - 1, block of dimensions by block, so that the weights of a block serve all
    of their panels from the cache.  dims (M, D) and parameters (M, D, P) where they are not NULL."""
    cdef Py_ssize_t D = net.D, H = net.H, P = net.P, R = net.R, W = width_of(net.row, theta), n = pieces(end - first, W)
    cdef Py_ssize_t p, d, d0, e, l, k, at, valid, block
    cdef double sums[MAX_WIDTH]
    cdef real *x_p = space                                    # (n, D, W)
    cdef real *r_p = x_p + n * D * W                          # (n, R, W)
    cdef real *a = r_p + n * R * W                            # (n, H, W)
    cdef real *h = a + n * H * W                              # (H, W)
    cdef real *z = h + H * W                                  # (block, P, W)
    cdef real *scratch = z + net.in_block * P * W             # (P, W)
    cdef real *log_density = scratch + P * W                  # (W)
    for p in range(n):
        at = first + p * W
        valid = min(W, end - at)
        load_frames(net, x_p + p * D * W, r_p + p * R * W, a + p * H * W, theta, x, r, at, valid)
        for l in range(valid):
            frames[at + l] = 0
    for block in range(pieces(D, net.in_block)):
        d0 = block * net.in_block
        for p in range(n):
            at = first + p * W
            valid = min(W, end - at)
            memset(sums, 0, sizeof(sums))
            outputs_of_context(net, z, theta, r_p + p * R * W, d0, min(net.in_block, D - d0), lanes_for(valid, W))
            for d in range(d0, min(D, d0 + net.in_block)):
                e = d - d0
                hidden_and_outputs(net, a + p * H * W, h, z + e * P * W, theta, a + p * H * W,
                                   x_p + (p * D + d - 1) * W if d > 0 else <real*>NULL, d, lanes_for(valid, W))
                if parameters != NULL:
                    head_link(net.row, net.head, scratch, z + e * P * W, &net.at)
                    for l in range(valid):
                        for k in range(P):
                            parameters[((at + l) * D + d) * P + k] = scratch[k * W + l]
                head_log_density(net.row, net.head, log_density, scratch, z + e * P * W, x_p + (p * D + d) * W,
                                 &net.at)
                for l in range(valid):
                    sums[l] += log_density[l]
                    if dims != NULL:
                        dims[(at + l) * D + d] = log_density[l]
            for l in range(valid):                            # (1), in double precision: block by block
                frames[at + l] += sums[l]


# ---- the frames, backward: the same lines from the bottom up -------------------------------------------------------

cdef struct Panel:
    # What a panel keeps from phase A to phase B, in one piece of `size` reals: where each array begins.
    Py_ssize_t starts             # (n_blocks, H, W)        a at the start of each block
    Py_ssize_t x                  # (D, W)
    Py_ssize_t r                  # (R, W)
    Py_ssize_t weight             # (W)
    Py_ssize_t da                 # (H, W)
    Py_ssize_t dr                 # (Rp, W)
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
    at.r = at.x + net.D * W
    at.weight = at.r + net.R * W
    at.da = at.weight + W
    at.dr = at.da + net.H * W
    at.dz = at.dr + net.Rp * W
    at.h_rows = at.dz + dims * net.P * W
    at.dw = at.h_rows + dims * at.strips * W * W
    at.drho = at.dw + dims * net.H
    at.size = padded(at.drho + dims)
    return at


cdef void panel_start(const Net* net, const Panel* at, real* panel, const real* theta, const real* x, const real* r,
                      const real* weight, Py_ssize_t first, Py_ssize_t valid) noexcept nogil:
    """x, r and weights of a panel's frames, a at the start of each block of dimensions, and zeros in da, dr and the
    padding of h_rows: the units behind H of each last strip."""
    cdef Py_ssize_t block, e, W = width_of(net.row, theta), HW = net.H * W, strip = W * W
    cdef real* starts = panel + at.starts
    load_frames(net, panel + at.x, panel + at.r, starts, theta, x, r, first, valid)
    pack(net.row, panel + at.weight, weight + first, 1, valid, 1)
    for block in range(at.n_blocks - 1):
        memcpy(starts + (block + 1) * HW, starts + block * HW, HW * sizeof(real))
        product(net.row, starts + (block + 1) * HW, W, theta + net.W + block * net.in_block * net.H, 0, 1, net.H,
                panel + at.x + block * net.in_block * W, 0, W, <const real*>NULL, net.H, W, 1, net.in_block)
    memset(panel + at.da, 0, (at.dz - at.da) * sizeof(real))
    if net.H % W:
        for e in range((at.dw - at.h_rows) // (at.strips * strip)):
            memset(panel + at.h_rows + ((e + 1) * at.strips - 1) * strip, 0, strip * sizeof(real))


cdef void panels_start(const Net* net, const Panel* at, real* panels, const real* theta, const real* x, const real* r,
                       const real* weight, Py_ssize_t frame, Py_ssize_t first, Py_ssize_t end, Py_ssize_t M) noexcept nogil:
    """panel_start of some panels of a group whose first frame is `frame`."""
    cdef Py_ssize_t p, W = width_of(net.row, theta)
    for p in range(first, end):
        panel_start(net, at, panels + p * at.size, theta, x, r, weight, frame + p * W, min(W, M - frame - p * W))


cdef void block_backward(const Net* net, const Panel* at, double* sums, real* panel, real* space, const real* theta,
                         Py_ssize_t block) noexcept nogil:
    """Phase A of a block of dimensions of one panel.  Forward again from the start of the block; then, from the last
    dimension to the first, dz, dh, dW[:, d] of this panel, drho, da; then dr.

    sums (W): the log-densities of the block, summed as panels_forward does."""
    cdef Py_ssize_t H = net.H, P = net.P, Q = net.Q, W = width_of(net.row, theta)
    cdef Py_ssize_t d, e, l, j, d0 = block * net.in_block, n = min(net.in_block, net.D - d0)
    cdef Py_ssize_t slot = block % at.span * net.in_block     # of the first dimension among those that are kept
    cdef real *a = space                                      # (block, H, W)
    cdef real *h = a + net.in_block * H * W                   # (block, H, W)
    cdef real *scratch = h + net.in_block * H * W             # (P, W)
    cdef real *log_density = scratch + P * W                  # (W)
    cdef real *dz = panel + at.dz + slot * P * W              # (n, P, W)
    cdef real *h_rows = panel + at.h_rows + slot * at.strips * W * W
    cdef real *x = panel + at.x + d0 * W                      # (n, W)
    cdef real *start = panel + at.starts + block * H * W      # (H, W)
    outputs_of_context(net, dz, theta, panel + at.r, d0, n, W)
    memset(sums, 0, W * sizeof(double))
    for e in range(n):
        hidden_and_outputs(net, a + e * H * W, h + e * H * W, dz + e * P * W, theta,
                           a + (e - 1) * H * W if e > 0 else start, x + (e - 1) * W if e > 0 else <real*>NULL, d0 + e, W)
        for j in range(at.strips):
            unpack(net.row, h_rows + (e * at.strips + j) * W * W, W, W, h + (e * H + j * W) * W, min(W, H - j * W))
        head_gradient(net.row, net.head, log_density, scratch, dz + e * P * W, x + e * W, panel + at.weight, &net.at)
        for l in range(W):
            sums[l] += log_density[l]
    for e in range(n - 1, -1, -1):
        d = d0 + e
        panel[at.drho + slot + e] = hidden_backward(
            net.row, panel + at.da, panel + at.dw + (slot + e) * H, a + e * H * W, h + e * H * W, dz + e * P * W,
            x + e * W, theta + net.V + d * P * net.Hp, net.Hp, theta[net.rho + d], net.activation, H, P)
    if Q == P:                                                # dr^{t-1} += U_d' dz
        product(net.row, panel + at.dr, W, theta + net.U + d0 * P * net.Rp, 0, 1, net.Rp, dz, 0, W,
                <const real*>NULL, net.R, W, 1, n * P)
    else:
        product(net.row, panel + at.dr, W, theta + net.U + d0 * Q * net.Rp, Q * net.Rp, 1, net.Rp, dz, P * W, W,
                <const real*>NULL, net.R, W, n, Q)


cdef void panels_backward(const Net* net, const Panel* at, double* sums, real* panels, real* space, const real* theta,
                          Py_ssize_t first, Py_ssize_t end, Py_ssize_t block_begin,
                          Py_ssize_t block_end) noexcept nogil:
    """Phase A of some blocks of some panels, the weights of a block serving all of them from the cache."""
    cdef Py_ssize_t p, block
    for block in range(block_end - 1, block_begin - 1, -1):
        for p in range(first, end):
            block_backward(net, at, sums + (p * at.n_blocks + block) * width_of(net.row, theta), panels + p * at.size,
                           space, theta, block)


cdef void panel_end(const Net* net, const Panel* at, double* frames, real* dr, real* panel, const double* sums,
                    const real* theta, Py_ssize_t first, Py_ssize_t valid) noexcept nogil:
    """After the first dimension: dr += W_c' da, dr as rows, and the log-density of each frame."""
    cdef Py_ssize_t l, block, W = width_of(net.row, theta)
    if net.hidden_context:
        product(net.row, panel + at.dr, W, theta + net.W_c, 0, 1, net.Rp, panel + at.da, 0, W, <const real*>NULL,
                net.R, W, 1, net.H)
    if net.R:
        unpack(net.row, dr + first * net.Sp, net.Sp, valid, panel + at.dr, net.Rp)
    for l in range(valid):
        frames[first + l] = 0
        for block in range(at.n_blocks):
            frames[first + l] += sums[block * W + l]


cdef void gradient_of_V(const Net* net, const Panel* at, real* grad, const real* start, const real* panels,
                        Py_ssize_t d0, Py_ssize_t piece, Py_ssize_t n_panels) noexcept nogil:
    """dV_d += dz h' over the frames of a group, for one dimension and one strip of hidden units; from `start` on where it
    is not NULL."""
    cdef Py_ssize_t W = width_of(net.row, grad), e = piece // at.strips, j = piece % at.strips * W
    product(net.row, grad + net.V + (d0 + e) * net.P * net.Hp + j, net.Hp, panels + at.dz + e * net.P * W, at.size, W, 1,
            panels + at.h_rows + piece * W * W, at.size, W, start, net.P, min(W, net.Hp - j), n_panels, W)


cdef inline Py_ssize_t driven_at_once(const Net* net, Py_ssize_t n_outputs) noexcept nogil:
    return equal_pieces(n_outputs, OUTPUTS) if net.Q == net.P else max(net.Q, 1)    # rows of dz next to each other


cdef void gradient_of_U(const Net* net, const Panel* at, real* grad, const real* start, const real* panels,
                        const real* r, Py_ssize_t d0, Py_ssize_t n_outputs, Py_ssize_t piece,
                        Py_ssize_t n_panels) noexcept nogil:
    """dU += dz r' over the frames of a group, for some of n_outputs driven outputs and one strip of the state; from
    `start` on where it is not NULL."""
    cdef Py_ssize_t W = width_of(net.row, grad), strips = pieces(net.Rp, W), size = driven_at_once(net, n_outputs)
    cdef Py_ssize_t m = piece // strips * size, j = piece % strips * W
    product(net.row, grad + net.U + (d0 * net.Q + m) * net.Rp + j, net.Rp,
            panels + at.dz + m // net.Q * net.P * W + m % net.Q * W, at.size, W, 1, r + j, W * net.Sp, net.Sp,
            start, min(size, n_outputs - m), min(W, net.Rp - j), n_panels, W)


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


cdef void gradient_of_W_c(const Net* net, const Panel* at, real* grad, const real* panels, const real* r,
                          Py_ssize_t piece, Py_ssize_t n_panels) noexcept nogil:
    """dW_c += da r' over the frames of a group, for some hidden units and one strip of the state."""
    cdef Py_ssize_t W = width_of(net.row, grad), strips = pieces(net.Rp, W)
    cdef Py_ssize_t size = equal_pieces(net.H, OUTPUTS), m = piece // strips * size, j = piece % strips * W
    product(net.row, grad + net.W_c + m * net.Rp + j, net.Rp, panels + at.da + m * W, at.size, W, 1, r + j,
            W * net.Sp, net.Sp, <const real*>NULL, min(size, net.H - m), min(W, net.Rp - j), n_panels, W)


cdef void gradient_of_c(const Net* net, const Panel* at, real* dc, const real* panels, Py_ssize_t piece,
                        Py_ssize_t n_panels) noexcept nogil:
    """dc += da over the panels of a group, for some hidden units, lanes still apart: dc (H, W)."""
    cdef Py_ssize_t p, W = width_of(net.row, dc), j = piece * OUTPUTS
    for p in range(n_panels):
        add(dc + j * W, panels + p * at.size + at.da + j * W, min(<Py_ssize_t>OUTPUTS, net.H - j) * W)
