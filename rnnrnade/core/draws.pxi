# ---- a draw, frame by frame ----------------------------------------------------------------------------------------
# Panels of up to W sequences have their frames in the lanes, as when scoring; one sequence has the outputs in the lanes
# instead.  The chains are the same, so the bits are too.
#
# A frame has four parts: begin (its random numbers, and what the conditioner starts with), context (what the past gives
# to the raw outputs of a block of dimensions, two thirds of all operations), draw (dimension by dimension), end (the
# next state).  With a panel for every thread, each takes its own through all frames, none waits for another.
# With fewer panels than threads, the others work out the context of the next stage of blocks while one begins the frame
# or draws this stage, and the gates are shared.

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
    Py_ssize_t noise                # (D, noises, B)
    Py_ssize_t context              # (C, B)
    Py_ssize_t own                  # draw_size
    Py_ssize_t z                    # (D, P, B)
    Py_ssize_t scratch              # (P, W)
    Py_ssize_t one                  # (P + 2 + noises, W)   z_d, x_d, uniform, noise of one sequence, in the first lane
    Py_ssize_t step                 # advance_space
    Py_ssize_t size, B


cdef Draw draw_layout(const Net* net, Py_ssize_t W, Py_ssize_t B) noexcept nogil:
    cdef Draw at
    at.B = B
    at.x = 0
    at.uniform = at.x + net.D * B
    at.noise = at.uniform + net.D * B
    at.context = at.noise + net.D * net.noises * B
    at.own = at.context + net.C * B
    at.z = at.own + draw_size(net, B)
    at.scratch = at.z + net.D * net.P * B
    at.one = at.scratch + net.P * W
    at.step = at.one + (net.P + 2 + net.noises) * W
    at.size = pieces(at.step + advance_space(net, B), 64) * 64
    return at


cdef inline Py_ssize_t panels_of(Py_ssize_t N, Py_ssize_t W, Py_ssize_t B, int n_threads) noexcept nogil:
    """Panels of N sequences: half ones where that gives every thread one."""
    return N if B == 1 else max(pieces(N, W), min(<Py_ssize_t>n_threads, pieces(2 * N, W)))


cdef void frame_past(const Net* net, const Draw* at, real* panel, const real* state, const real* u, Py_ssize_t stride,
                     Py_ssize_t valid) noexcept nogil:
    """The context of a frame, as a panel, from the states (valid, Sp) before it and what is given with it, u, `stride`
    numbers apart.  The state of one sequence is read where it lies if nothing is given."""
    cdef Py_ssize_t R = net.C - net.given
    if at.B > 1:
        if R:
            pack(net.row, panel + at.context, state, net.Sp, valid, R)
        if net.given:
            pack(net.row, panel + at.context + R * at.B, u, stride, valid, net.given)
    elif net.given:
        if R:
            memcpy(panel + at.context, state, R * sizeof(real))
        memcpy(panel + at.context + R, u, net.given * sizeof(real))


cdef inline const real* context_of(const Net* net, const Draw* at, const real* panel, const real* state) noexcept nogil:
    return state if at.B == 1 and not net.given else panel + at.context


cdef void frame_numbers(const Net* net, const Draw* at, real* panel, const real* uniform, const real* noise,
                        Py_ssize_t T, Py_ssize_t valid) noexcept nogil:
    """The random numbers of a frame.  uniform, noise: rows T * D and T * D * noises apart."""
    cdef Py_ssize_t D = net.D, n = net.D * net.noises
    if at.B == 1:
        memcpy(panel + at.uniform, uniform, D * sizeof(real))
        memcpy(panel + at.noise, noise, n * sizeof(real))
        return
    pack(net.row, panel + at.uniform, uniform, T * D, valid, D)
    pack(net.row, panel + at.noise, noise, T * n, valid, n)


# The conditioner's part of a frame: all that a draw, a quantile and a stream take from it.

cdef void frame_begin(const Net* net, const Draw* at, real* panel, const real* state, const real* theta) noexcept nogil:
    """What the frame starts with."""
    draw_begin(net, panel + at.own, context_of(net, at, panel, state), theta, at.B)


cdef void frame_context(const Net* net, const Draw* at, real* panel, const real* state, const real* theta,
                        Py_ssize_t block, Py_ssize_t valid) noexcept nogil:
    """What the past gives to the raw outputs of a block of dimensions."""
    outputs_of_drawn_context(net, panel + at.z, context_of(net, at, panel, state), theta, block, at.B, valid)


cdef void frame_outputs(const Net* net, const Draw* at, real* panel, const real* theta, Py_ssize_t d,
                        Py_ssize_t valid) noexcept nogil:
    """The raw outputs z_d (P, B) of dimension d once x_{d-1} is known."""
    draw_outputs(net, panel + at.z, panel + at.own, panel + at.x, theta, d, at.B, valid)


cdef real* outputs_in_lanes(const Net* net, const Draw* at, real* panel, const real* theta, Py_ssize_t d,
                            Py_ssize_t valid) noexcept nogil:
    """The same as the head takes them, (P, W): those of one sequence in the first lane."""
    cdef Py_ssize_t k, P = net.P, W = width_of(net.row, theta)
    cdef real *z_d = panel + at.z + d * P * at.B
    cdef real *one = panel + at.one
    frame_outputs(net, at, panel, theta, d, valid)
    if at.B > 1:
        return z_d
    for k in range(P):
        one[k * W] = z_d[k]
    return one


cdef void frame_rows(const Net* net, const Draw* at, real* out, const real* panel, Py_ssize_t T,
                     Py_ssize_t valid) noexcept nogil:
    """x of a panel into rows T * X apart, behind what is given."""
    if at.B == 1:
        memcpy(out + net.given, panel + at.x, net.D * sizeof(real))
    else:
        unpack(net.row, out + net.given, T * net.X, valid, panel + at.x, net.D)


cdef void frame_draw(const Net* net, const Draw* at, real* out, real* panel, const real* theta, Py_ssize_t begin,
                     Py_ssize_t end, Py_ssize_t T, Py_ssize_t valid) noexcept nogil:
    """x_d of some blocks of dimensions, each given those before it; after the last the frame goes to out, rows T * X
    apart."""
    cdef Py_ssize_t d, i, P = net.P, B = at.B, n = net.noises, W = width_of(net.row, theta)
    cdef outputs of_d
    cdef real *x = panel + at.x
    cdef real *uniform = panel + at.uniform
    cdef real *noise = panel + at.noise
    cdef real *scratch = panel + at.scratch
    cdef real *x_d = panel + at.one + P * W
    cdef real *z_d
    memset(panel + at.one, 0, (P + 2 + n) * W * sizeof(real))
    for d in range(begin * net.in_block, min(end * net.in_block, net.D)):
        z_d = outputs_in_lanes(net, at, panel, theta, d, valid)
        of_d = outputs_at(net, d)
        if B > 1:
            head_draw(net.row, net.head, x + d * B, scratch, z_d, uniform + d * B, noise + d * n * B, &of_d, valid)
            continue
        x_d[W] = uniform[d]
        for i in range(n):
            x_d[(2 + i) * W] = noise[d * n + i]
        head_draw(net.row, net.head, x_d, scratch, z_d, x_d + W, x_d + 2 * W, &of_d, 1)
        x[d] = x_d[0]
    if end * net.in_block >= net.D:
        frame_rows(net, at, out, panel, T, valid)


cdef void frame_end(const Net* net, const Draw* at, const real* out, const real* following, real* panel, real* state,
                    const real* theta, Py_ssize_t T, Py_ssize_t valid) noexcept nogil:
    """The state after the frame, and the context of the next.  out: the frame, following: what is given with the next,
    in rows T * X apart."""
    advance(net, state, panel + at.step, theta, out, T * net.X, valid)
    frame_past(net, at, panel, state, following, T * net.X, valid)


cdef void panel_sample(const Net* net, const Draw* at, real* x, real* panel, real* state, const real* theta,
                       const real* uniform, const real* noise, Py_ssize_t T, Py_ssize_t valid,
                       Watch* watch) noexcept nogil:
    """All frames of one panel.  x: (valid, T, X); uniform: (valid, T, D); noise: (valid, T, D noises)."""
    cdef Py_ssize_t t, block
    frame_past(net, at, panel, state, x, T * net.X, valid)
    for t in range(T):
        if interrupted(watch):
            return
        frame_numbers(net, at, panel, uniform + t * net.D, noise + t * net.D * net.noises, T, valid)
        frame_begin(net, at, panel, state, theta)
        for block in range(pieces(net.D, net.in_block)):
            frame_context(net, at, panel, state, theta, block, valid)
            frame_draw(net, at, x + t * net.X, panel, theta, block, block + 1, T, valid)
        frame_end(net, at, x + t * net.X, x + min(t + 1, T - 1) * net.X, panel, state, theta, T, valid)


cdef int draw_frames(const Net* net, Workspace memory, real* x, const real* theta, const real* uniform,
                     const real* noise, real* state, Py_ssize_t N, Py_ssize_t T, int n_threads) except -1:
    """x (N, T, X).  state (N, Sp) conditions the first frames, and becomes the one after the last."""
    cdef Py_ssize_t D = net.D, X = net.X, Sp = net.Sp, W = width_of(net.row, theta)
    cdef Py_ssize_t n_blocks = pieces(D, net.in_block), of_stage = pieces(n_blocks, STAGES)
    cdef Py_ssize_t p, i, k, first, n, block
    cdef Py_ssize_t t = 0, stage = 0, l = 0                         # each thread starts with a copy
    cdef Draw at = draw_layout(net, W, 1 if N < FEW else W)
    cdef Py_ssize_t n_panels = panels_of(N, W, at.B, n_threads)
    cdef double lanes = 1 if at.B == 1 else LANES_COST
    cdef bint shared = n_panels < n_threads
    cdef float_mode mode = 0
    cdef Watch* watch = &memory.watch
    if shared and SMALL > 0:
        n_threads = <int>max(1., min(<double>n_threads, n_panels * lanes * D * net.Q * net.C / SHARED))
        shared = n_panels < n_threads
    if not shared:
        n_threads = worth_threads(n_threads, lanes * multiply_adds(net, n_panels * T), n_panels)
    cdef real* panels = <real*>memory.take((n_panels if shared else n_threads) * at.size * sizeof(real))
    with nogil, parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        if threadid() == 0:
            watch.team = omp_get_num_threads()
        if shared:
            for p in prange(n_panels, schedule="static"):
                first = N * p // n_panels
                frame_past(net, &at, panels + p * at.size, state + first * Sp, x + first * T * X, T * X,
                           N * (p + 1) // n_panels - first)
            for t in range(T):
                if watch.stop:                                          # as the last loop left it, so for all threads
                    break
                for stage in range(-1, pieces(n_blocks, of_stage)):     # draw this one (-1: begin), work out the next
                    for i in prange(n_panels * (1 + of_stage), schedule="dynamic", chunksize=1):
                        p = i % n_panels
                        first = N * p // n_panels
                        n = N * (p + 1) // n_panels - first
                        k = first * T + t
                        block = (stage + 1) * of_stage + i // n_panels - 1
                        if i >= n_panels:
                            if block < n_blocks:
                                frame_context(net, &at, panels + p * at.size, state + first * Sp, theta, block, n)
                        elif stage < 0:
                            frame_numbers(net, &at, panels + p * at.size, uniform + k * D, noise + k * D * net.noises, T,
                                          n)
                            frame_begin(net, &at, panels + p * at.size, state + first * Sp, theta)
                        else:
                            frame_draw(net, &at, x + k * X, panels + p * at.size, theta, stage * of_stage,
                                       min((stage + 1) * of_stage, n_blocks), T, n)
                for l in range(net.L):                                  # frame_end, its gates shared
                    for i in prange(n_panels * pieces(net.Gp, GATES), schedule="static"):
                        p = i % n_panels
                        first = N * p // n_panels
                        k = i // n_panels * GATES
                        advance_gates(net, &net.layers[l], state + first * Sp, panels + p * at.size + at.step, theta,
                                      x + (first * T + t) * X, T * X, N * (p + 1) // n_panels - first, k,
                                      min(k + GATES, net.Gp))
                    for p in prange(n_panels, schedule="static"):
                        first = N * p // n_panels
                        advance_states(net, &net.layers[l], state + first * Sp, panels + p * at.size + at.step,
                                       N * (p + 1) // n_panels - first)
                for p in prange(n_panels, schedule="static"):
                    first = N * p // n_panels
                    interrupted(watch)
                    frame_past(net, &at, panels + p * at.size, state + first * Sp,
                               x + (first * T + min(t + 1, T - 1)) * X, T * X, N * (p + 1) // n_panels - first)
        else:
            for p in prange(n_panels, schedule="static"):
                first = N * p // n_panels
                n = N * (p + 1) // n_panels - first
                panel_sample(net, &at, x + first * T * X, panels + threadid() * at.size, state + first * Sp, theta,
                             uniform + first * T * D, noise + first * T * D * net.noises, T, n, watch)
        set_float_mode(mode)
    return memory.leave()
