# Sampling.  Panels of up to W sequences have their frames in the lanes, as when scoring; one sequence has the outputs
# in the lanes instead.  The chains are the same, so the bits are too.
#
# A frame has five parts: begin (its numbers, and a_1), context (what the past gives to the raw outputs of a block of
# dimensions, two thirds of all operations), draw (dimension by dimension), gates and end (the next state).  With a panel
# for every thread, each takes its own through all frames and none waits for another.  With fewer panels than threads,
# the others work out the context of the next stage of blocks while one begins the frame or draws this stage, and the
# gates are shared: a frame of 16 sequences of D = 900, H = 300, K = 3, R = 600 takes 5.8 ms on one thread and 3.5 on two,
# one of one sequence 1.4 and 0.75 (D = 225, H = 200, K = 5, R = 400: 1.0 and 0.60; 0.24 and 0.15).

cdef enum:
    FEW = 5                         # sequences from which on a panel costs less than one sequence after the other

cdef Py_ssize_t STAGES = 8          # of a frame, at most: a barrier ends each
cdef Py_ssize_t GATES = 128         # of a frame, that one thread works out
cdef double SHARED = 5e5            # weights of the context, times lanes as below, worth one more thread in each frame
cdef int LANES_COST = 6             # a frame in panels against one frame alone


cdef struct Draw:
    # Where the arrays of a panel begin in its piece of `size` reals; B lanes, W or 1.
    Py_ssize_t x                    # (D, B)
    Py_ssize_t uniform              # (D, B)
    Py_ssize_t normal               # (D, B)
    Py_ssize_t r                    # (R, B)
    Py_ssize_t a                    # (Hp, B)
    Py_ssize_t h                    # (Hp, B)
    Py_ssize_t z                    # (D, P, B)
    Py_ssize_t scratch              # (P, W)
    Py_ssize_t one                  # (P + 3, W)            z_d, x_d, uniform, normal of one sequence, in the first lane
    Py_ssize_t step                 # advance_space
    Py_ssize_t size, B


cdef Draw draw_layout(const Net* net, Py_ssize_t W, Py_ssize_t B) noexcept nogil:
    cdef Draw at
    at.B = B
    at.x = 0
    at.uniform = at.x + net.D * B
    at.normal = at.uniform + net.D * B
    at.r = at.normal + net.D * B
    at.a = at.r + net.R * B
    at.h = at.a + net.Hp * B
    at.z = at.h + net.Hp * B
    at.scratch = at.z + net.D * net.P * B
    at.one = at.scratch + net.P * W
    at.step = at.one + (net.P + 3) * W
    at.size = pieces(at.step + advance_space(net, B), 64) * 64
    return at


cdef inline Py_ssize_t panels_of(Py_ssize_t N, Py_ssize_t W, Py_ssize_t B, int n_threads) noexcept nogil:
    """Panels of N sequences: half ones where that gives every thread one."""
    return N if B == 1 else max(pieces(N, W), min(<Py_ssize_t>n_threads, pieces(2 * N, W)))


cdef void begin_one(const Net* net, const Draw* at, real* panel, const real* state, const real* theta) noexcept nogil:
    """a_1 = c (+ W_c r) of one sequence."""
    memset(panel + at.a, 0, net.Hp * sizeof(real))
    memcpy(panel + at.a, theta + net.c, net.H * sizeof(real))
    product_one(net.row, panel + at.a, theta + net.W_c, net.Rp, state, net.H, net.R if net.hidden_context else 0)


cdef void outputs_one(const Net* net, const Draw* at, real* panel, const real* theta, Py_ssize_t d) noexcept nogil:
    """(3) to (5) of dimension d of one sequence, as hidden_and_outputs of a panel."""
    hidden_one(net.row, panel + at.a, panel + at.h, panel[at.x + d - 1] if d > 0 else 0,
               theta + net.W + (d - 1 if d > 0 else 0) * net.H, theta[net.rho + d], net.activation, net.H)
    product_one(net.row, panel + at.z + d * net.P, theta + net.V + d * net.P * net.Hp, net.Hp, panel + at.h, net.P, net.H)


cdef void frame_past(const Net* net, const Draw* at, real* panel, const real* state, Py_ssize_t valid) noexcept nogil:
    """The state (valid, Sp) before a frame as a panel r.  One sequence is read where it lies."""
    if net.R and at.B > 1:
        pack(net.row, panel + at.r, state, net.Sp, valid, net.R)


cdef void frame_numbers(const Net* net, const Draw* at, real* panel, const real* uniform, const real* normal,
                        Py_ssize_t T, Py_ssize_t valid) noexcept nogil:
    """The random numbers of a frame.  uniform, normal: rows T * D apart."""
    cdef Py_ssize_t D = net.D
    if at.B == 1:
        memcpy(panel + at.uniform, uniform, D * sizeof(real))
        memcpy(panel + at.normal, normal, D * sizeof(real))
        return
    pack(net.row, panel + at.uniform, uniform, T * D, valid, D)
    pack(net.row, panel + at.normal, normal, T * D, valid, D)


cdef void frame_begin(const Net* net, const Draw* at, real* panel, const real* state, const real* theta) noexcept nogil:
    """a_1 = c (+ W_c r)."""
    cdef Py_ssize_t B = at.B
    if B == 1:
        begin_one(net, at, panel, state, theta)
        return
    product(net.row, panel + at.a, B, theta + net.W_c, 0, net.Rp, 1, panel + at.r, 0, B, theta + net.c, net.H, B, 1,
            net.R if net.hidden_context else 0)


cdef void frame_context(const Net* net, const Draw* at, real* panel, const real* state, const real* theta,
                        Py_ssize_t block, Py_ssize_t valid) noexcept nogil:
    """z_d = b_d + U_d r of a block of dimensions."""
    cdef Py_ssize_t P = net.P, Q = net.Q, d = block * net.in_block, n = min(net.in_block, net.D - d), e
    cdef real* z = panel + at.z + d * P * at.B
    if at.B > 1:
        outputs_of_context(net, z, theta, panel + at.r, d, n, lanes_for(valid, at.B))
        return
    memcpy(z, theta + net.b + d * P, n * P * sizeof(real))
    if Q == P:
        product_one(net.row, z, theta + net.U + d * P * net.Rp, net.Rp, state, n * P, net.R)
        return
    for e in range(n):
        product_one(net.row, z + e * P, theta + net.U + (d + e) * Q * net.Rp, net.Rp, state, Q, net.R)


cdef void frame_rows(const Net* net, const Draw* at, real* out, const real* panel, Py_ssize_t T,
                     Py_ssize_t valid) noexcept nogil:
    """x of a panel as rows T * D apart."""
    if at.B == 1:
        memcpy(out, panel + at.x, net.D * sizeof(real))
    else:
        unpack(net.row, out, T * net.D, valid, panel + at.x, net.D)


cdef void frame_draw(const Net* net, const Draw* at, real* out, real* panel, const real* theta, Py_ssize_t begin,
                     Py_ssize_t end, Py_ssize_t T, Py_ssize_t valid) noexcept nogil:
    """x_d of some blocks of dimensions, each given those before it; after the last the frame as rows T * D apart, out."""
    cdef Py_ssize_t d, k, P = net.P, B = at.B, W = width_of(net.row, theta), L = lanes_for(valid, W)
    cdef real *x = panel + at.x
    cdef real *uniform = panel + at.uniform
    cdef real *normal = panel + at.normal
    cdef real *a = panel + at.a
    cdef real *h = panel + at.h
    cdef real *z = panel + at.z
    cdef real *scratch = panel + at.scratch
    cdef real *z_d = panel + at.one
    cdef real *x_d = z_d + P * W
    memset(z_d, 0, (P + 3) * W * sizeof(real))
    for d in range(begin * net.in_block, min(end * net.in_block, net.D)):
        if B > 1:
            hidden_and_outputs(net, a, h, z + d * P * B, theta, a, x + (d - 1) * B if d > 0 else <real*>NULL, d, L)
            head_draw(net.row, net.head, x + d * B, scratch, z + d * P * B, uniform + d * B, normal + d * B, &net.at,
                      valid)
            continue
        outputs_one(net, at, panel, theta, d)
        for k in range(P):
            z_d[k * W] = z[d * P + k]
        x_d[W] = uniform[d]
        x_d[2 * W] = normal[d]
        head_draw(net.row, net.head, x_d, scratch, z_d, x_d + W, x_d + 2 * W, &net.at, 1)
        x[d] = x_d[0]
    if end * net.in_block >= net.D:
        frame_rows(net, at, out, panel, T, valid)


cdef void frame_gates(const Net* net, const Draw* at, real* out, real* panel, const real* state, const real* theta,
                      Py_ssize_t T, Py_ssize_t valid, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Some of the gates that lead to the next state.  out: the frame, rows T * D apart."""
    advance_gates(net, state, panel + at.step, theta, out, T * net.D, valid, begin, end)


cdef void frame_end(const Net* net, const Draw* at, real* panel, real* state, Py_ssize_t valid) noexcept nogil:
    """The state after the frame."""
    if net.R:
        advance_states(net, state, panel + at.step, valid)
    frame_past(net, at, panel, state, valid)


cdef void panel_sample(const Net* net, const Draw* at, real* x, real* panel, real* state, const real* theta,
                       const real* uniform, const real* normal, Py_ssize_t T, Py_ssize_t valid) noexcept nogil:
    """All frames of one panel.  x, uniform, normal: (valid, T, D)."""
    cdef Py_ssize_t t, block
    frame_past(net, at, panel, state, valid)
    for t in range(T):
        frame_numbers(net, at, panel, uniform + t * net.D, normal + t * net.D, T, valid)
        frame_begin(net, at, panel, state, theta)
        for block in range(pieces(net.D, net.in_block)):
            frame_context(net, at, panel, state, theta, block, valid)
            frame_draw(net, at, x + t * net.D, panel, theta, block, block + 1, T, valid)
        frame_gates(net, at, x + t * net.D, panel, state, theta, T, valid, 0, net.Gp)
        frame_end(net, at, panel, state, valid)
