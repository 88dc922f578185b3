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


def sample(Network network, real[:, :, ::1] x, const real[::1] theta, const real[:, :, ::1] uniform,
           const real[:, :, ::1] normal, real[:, ::1] state, int n_threads=1):
    """x (N, T, D) drawn from the model, with one uniform and one normal for each number.  state (N, Sp) is the
    recurrent state that conditions the first frame, and becomes the one after the last."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef const real* theta_ = &theta[0]
    cdef real* x_ = &x[0, 0, 0]
    cdef const real* uniform_ = &uniform[0, 0, 0]
    cdef const real* normal_ = &normal[0, 0, 0]
    cdef real* state_ = <real*>NULL if state is None or not net.R else &state[0, 0]
    cdef Py_ssize_t N = x.shape[0], T = x.shape[1], D = net.D, Sp = net.Sp, W = width_of(net.row, theta_)
    cdef Py_ssize_t p, t, i, k, first, n, block, stage, n_blocks = pieces(D, net.in_block), of_stage = pieces(n_blocks, STAGES)
    cdef Draw at = draw_layout(&net, W, 1 if N < FEW else W)
    cdef Py_ssize_t n_panels = panels_of(N, W, at.B, n_threads)
    cdef double lanes = 1 if at.B == 1 else LANES_COST
    cdef bint shared = n_panels < n_threads
    cdef int* team = &space.team
    if shared and SMALL > 0:
        n_threads = <int>max(1., min(<double>n_threads, n_panels * lanes * D * net.Q * net.R / SHARED))
        shared = n_panels < n_threads
    if not shared:
        n_threads = worth_threads(n_threads, lanes * multiply_adds(&net, n_panels * T), n_panels)
    cdef real* panels = <real*>space.take((n_panels if shared else n_threads) * at.size * sizeof(real))
    with nogil, parallel(num_threads=n_threads):
        if threadid() == 0:
            team[0] = omp_get_num_threads()
        if shared:
            for p in prange(n_panels, schedule="static"):
                first = N * p // n_panels
                frame_past(&net, &at, panels + p * at.size, state_ + first * Sp, N * (p + 1) // n_panels - first)
            for t in range(T):
                for stage in range(-1, pieces(n_blocks, of_stage)):     # draw this one (-1: begin), work out the next
                    for i in prange(n_panels * (1 + of_stage), schedule="dynamic", chunksize=1):
                        p = i % n_panels
                        first = N * p // n_panels
                        n = N * (p + 1) // n_panels - first
                        k = (first * T + t) * D
                        block = (stage + 1) * of_stage + i // n_panels - 1
                        if i >= n_panels:
                            if block < n_blocks:
                                frame_context(&net, &at, panels + p * at.size, state_ + first * Sp, theta_, block, n)
                        elif stage < 0:
                            frame_numbers(&net, &at, panels + p * at.size, uniform_ + k, normal_ + k, T, n)
                            frame_begin(&net, &at, panels + p * at.size, state_ + first * Sp, theta_)
                        else:
                            frame_draw(&net, &at, x_ + k, panels + p * at.size, theta_, stage * of_stage,
                                       min((stage + 1) * of_stage, n_blocks), T, n)
                for i in prange(n_panels * pieces(net.Gp, GATES), schedule="static"):
                    p = i % n_panels
                    first = N * p // n_panels
                    k = i // n_panels * GATES
                    frame_gates(&net, &at, x_ + (first * T + t) * D, panels + p * at.size, state_ + first * Sp, theta_, T,
                                N * (p + 1) // n_panels - first, k, min(k + GATES, net.Gp))
                for p in prange(n_panels, schedule="static"):
                    first = N * p // n_panels
                    frame_end(&net, &at, panels + p * at.size, state_ + first * Sp, N * (p + 1) // n_panels - first)
        else:
            for p in prange(n_panels, schedule="static"):
                first = N * p // n_panels
                n = N * (p + 1) // n_panels - first
                panel_sample(&net, &at, x_ + first * T * D, panels + threadid() * at.size, state_ + first * Sp, theta_,
                             uniform_ + first * T * D, normal_ + first * T * D, T, n)


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


# ---- frames of given normal scores: the inverse of the Rosenblatt transform -----------------------------------------
# As a draw, but for dimension d the root of F(e_d) = Phi(score_d), in double precision for any type of the network:
# that of MixtureOfGaussians.from_normal_score, in the lower half by its mirror, where F is precise.  One call of the
# core and one of the family for each dimension, as before, took 2.0 ms a frame where this takes 0.10 (32 sequences of
# D = 49, H = 100, K = 10, R = 200; 16 of D = 225: 35 and 0.5), most of it for erfc.

cdef:
    double SQRT_HALF = 0.7071067811865476
    double SQRT_2PI = 2.5066282746310002
    double FAR = -37                # from here on down Phi is near the smallest numbers, and by its asymptotic series
    double UNDERFLOW = 1e-280       # of F: below, its logarithm
    double PRECISION = 1e-14        # of a normal score, relative to max(1, |score|)
    int MOST_STEPS = 200            # of the search for a root; bisection alone needs about 60
    double COST_OF_ROOT = 400       # of a component, in multiply-adds


cdef inline double mills_series(double u) noexcept nogil:
    """-u Phi(u) / phi(u) for u <= FAR"""
    cdef double s = 1 / (u * u)
    return 1 - s * (1 - 3 * s * (1 - 5 * s * (1 - 7 * s * (1 - 9 * s))))


cdef double log_Phi(double u) noexcept nogil:
    if u > 0:
        return log1p(-0.5 * erfc(u * SQRT_HALF))
    if u > FAR:
        return log(0.5 * erfc(-u * SQRT_HALF))
    return -0.5 * u * u - log(-u * SQRT_2PI) + log(mills_series(u))


cdef double log_cdf(double* slope, const real* of_lane, Py_ssize_t W, Py_ssize_t K, double sign, double e) noexcept nogil:
    """log sum_k alpha_k Phi(u_k), u_k = (e - sign mu_k) / sigma_k, and its derivative by e.  of_lane: alpha, mu, sigma,
    W apart."""
    cdef Py_ssize_t k
    cdef double F = 0, density = 0, top = -INFINITY, alpha, sigma, u, term
    for k in range(K):
        alpha, sigma = of_lane[k * W], of_lane[(2 * K + k) * W]
        u = (e - sign * of_lane[(K + k) * W]) / sigma
        F += alpha * 0.5 * erfc(-u * SQRT_HALF)
        density += alpha * exp(-0.5 * u * u) / sigma
    if F > UNDERFLOW:
        slope[0] = density / (SQRT_2PI * F)
        return log(F)
    for k in range(K):
        alpha, u = of_lane[k * W], (e - sign * of_lane[(K + k) * W]) / of_lane[(2 * K + k) * W]
        if alpha > 0:
            top = max(top, log(alpha) + log_Phi(u))
    F = density = 0
    for k in range(K):
        alpha, sigma = of_lane[k * W], of_lane[(2 * K + k) * W]
        u = (e - sign * of_lane[(K + k) * W]) / sigma
        if alpha > 0:
            term = exp(log(alpha) + log_Phi(u) - top)
            F += term
            density += term / sigma * (-u / mills_series(u) if u <= FAR else
                                       exp(-0.5 * u * u) / (SQRT_2PI * 0.5 * erfc(-u * SQRT_HALF)))
    slope[0] = density / F
    return top + log(F)


cdef double quantile(const real* of_lane, Py_ssize_t W, Py_ssize_t K, double score) noexcept nogil:
    """The e with F(e) = Phi(score), score finite: Newton's method on log F between the smallest and the largest quantile
    of the components, with bisection where it would leave them or be slow."""
    cdef Py_ssize_t k
    cdef int step
    cdef double sign = -1 if score > 0 else 1, z = sign * score, low = INFINITY, high = -INFINITY
    cdef double alpha, mu, sigma, total = 0, mean = 0, square = 0, slope = 0
    cdef double e, target, tolerance, error, newton, before, spacing, following
    for k in range(K):
        alpha, mu, sigma = of_lane[k * W], sign * of_lane[(K + k) * W], of_lane[(2 * K + k) * W]
        if alpha > 0:
            low, high = min(low, mu + sigma * z), max(high, mu + sigma * z)
        total += alpha
        mean += alpha * mu
        square += alpha * (sigma * sigma + mu * mu)
    mean /= total
    if not low < high:
        return sign * low
    e = min(max(mean + z * sqrt(max(square / total - mean * mean, 0.)), low), high)
    target, tolerance = log_Phi(z) + log(total), PRECISION * max(1., z * z)
    before = high - low
    for step in range(MOST_STEPS):
        error = log_cdf(&slope, of_lane, W, K, sign, e) - target
        if error < 0:
            low = e
        elif error > 0:
            high = e
        newton, spacing = e - error / slope, nextafter(fabs(e), INFINITY) - fabs(e)
        if not low <= newton <= high:
            newton = NAN                                      # every comparison with it is false
        if fabs(error) <= tolerance or high - low <= 2 * spacing or fabs(newton - e) <= spacing:
            # The last step costs nothing more, and is the one that rounding limits.
            return sign * (newton if newton == newton and fabs(error) <= 1e3 * tolerance else e)
        following = newton if fabs(newton - e) <= 0.5 * before else 0.5 * (low + high)
        before = fabs(following - e)
        e = following
    return sign * e


cdef void frame_quantiles(const Net* net, const Draw* at, double* e, real* panel, const real* theta, const double* score,
                          const int64_t* rows, Py_ssize_t valid) noexcept nogil:
    """e_d of a frame, dimension by dimension, each given those before it.  e, score (M, D): `rows` of the frame."""
    cdef Py_ssize_t d, k, l, i, D = net.D, P = net.P, B = at.B, W = width_of(net.row, theta), L = lanes_for(valid, W)
    cdef real *x = panel + at.x
    cdef real *a = panel + at.a
    cdef real *parameters = panel + at.scratch
    cdef real *z_d = panel + at.one
    memset(z_d, 0, P * W * sizeof(real))
    for d in range(D):
        if B > 1:
            z_d = panel + at.z + d * P * B
            hidden_and_outputs(net, a, panel + at.h, z_d, theta, a, x + (d - 1) * B if d > 0 else <real*>NULL, d, L)
        else:
            outputs_one(net, at, panel, theta, d)
            for k in range(P):
                z_d[k * W] = panel[at.z + d * P + k]
        head_link(net.row, net.head, parameters, z_d, &net.at)
        for l in range(valid):
            i = rows[l] * D + d
            e[i] = quantile(parameters + l, W, net.at.K, score[i])
            x[d * B + l] = <real>e[i]


cdef void panel_from_normal(const Net* net, const Draw* at, double* e, real* panel, real* state, const real* theta,
                            const double* score, const int64_t* offsets, const int64_t* order,
                            Py_ssize_t valid) noexcept nogil:
    """All frames of a panel of sequences, the longest first.  At the end of the panel: its frames as rows (W, D)."""
    cdef Py_ssize_t t, l, block
    cdef int64_t[MAX_WIDTH] rows
    cdef real* frames = panel + at.size
    frame_past(net, at, panel, state, valid)
    for t in range(offsets[order[0] + 1] - offsets[order[0]]):
        while offsets[order[valid - 1] + 1] - offsets[order[valid - 1]] <= t:
            valid -= 1
        for l in range(valid):
            rows[l] = offsets[order[l]] + t
        frame_begin(net, at, panel, state, theta)
        for block in range(pieces(net.D, net.in_block)):
            frame_context(net, at, panel, state, theta, block, valid)
        frame_quantiles(net, at, e, panel, theta, score, rows, valid)
        if net.R:
            frame_rows(net, at, frames, panel, 1, valid)
            frame_gates(net, at, frames, panel, state, theta, 1, valid, 0, net.Gp)
            frame_end(net, at, panel, state, valid)


def from_normal(Network network, double[:, ::1] e, const real[::1] theta, const double[:, ::1] score,
                const int64_t[::1] offsets, const int64_t[::1] order, real[:, ::1] state, int n_threads=1):
    """e (M, D): the frames with the normal scores `score`, of a head of Gaussian mixtures.  order (N,): sequences, the
    longest first; state (N, Sp), in that order, conditions their first frames and is overwritten."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef const real* theta_ = &theta[0]
    cdef real* state_ = <real*>NULL if state is None or not net.R else &state[0, 0]
    cdef double* e_ = &e[0, 0]
    cdef const double* score_ = &score[0, 0]
    cdef const int64_t* offsets_ = &offsets[0]
    cdef const int64_t* order_ = &order[0]
    cdef Py_ssize_t N = order.shape[0], M = e.shape[0], W = width_of(net.row, theta_), p, first, n
    cdef Draw at = draw_layout(&net, W, 1 if N < FEW else W)
    cdef Py_ssize_t n_panels = panels_of(N, W, at.B, n_threads)
    cdef Py_ssize_t size = at.size + pieces(W * net.D, 64) * 64
    cdef int* team = &space.team
    n_threads = worth_threads(n_threads, multiply_adds(&net, M) + COST_OF_ROOT * M * net.D * net.at.K, n_panels)
    cdef real* panels = <real*>space.take(n_threads * size * sizeof(real))
    with nogil, parallel(num_threads=n_threads):
        if threadid() == 0:
            team[0] = omp_get_num_threads()
        for p in prange(n_panels, schedule="dynamic", chunksize=1):
            first = N * p // n_panels
            n = N * (p + 1) // n_panels - first
            panel_from_normal(&net, &at, e_, panels + threadid() * size, state_ + first * net.Sp, theta_, score_,
                              offsets_, order_ + first, n)


# ---- one frame at a time: what a stream reads ----------------------------------------------------------------------

cdef double frame_score(const Net* net, const Draw* at, double* dims, real* panel, real* state, const real* theta,
                        const real* x) noexcept nogil:
    """Log-density of one frame x (D,) of one sequence and of its dimensions, dims (D,); state (Sp,) <- the one after.

    Its parts are those of a draw.  Since all of x is known, the head takes the dimensions into its lanes, at.size of
    the panel on: z (P, W), x, log_density (W)."""
    cdef Py_ssize_t p, d, l, valid, P = net.P, D = net.D, W = width_of(net.row, theta)
    cdef real *z = panel + at.size
    cdef real *x_d = z + P * W
    cdef real *log_density = x_d + W
    cdef double frame = 0, of_block = 0
    memcpy(panel + at.x, x, D * sizeof(real))
    begin_one(net, at, panel, state, theta)
    for d in range(pieces(D, net.in_block)):
        frame_context(net, at, panel, state, theta, d, 1)
    for d in range(D):
        outputs_one(net, at, panel, theta, d)
    for p in range(pieces(D, W)):
        d = p * W
        valid = min(W, D - d)
        pack(net.row, z, panel + at.z + d * P, P, valid, P)
        memset(x_d, 0, W * sizeof(real))
        memcpy(x_d, x + d, valid * sizeof(real))
        head_log_density(net.row, net.head, log_density, panel + at.scratch, z, x_d, &net.at)
        for l in range(valid):
            dims[d + l] = log_density[l]
    for d in range(D):                                        # (1), block by block as panels_forward adds them
        of_block += dims[d]
        if d % net.in_block == net.in_block - 1 or d == D - 1:
            frame += of_block
            of_block = 0
    advance_gates(net, state, panel + at.step, theta, panel + at.x, D, 1, 0, net.Gp)
    advance_states(net, state, panel + at.step, 1)
    return frame


def score_frame(Network network, double[::1] dims, const real[::1] theta, const real[::1] x, real[::1] state):
    """Log-density of one frame x (D,) after a state (Sp,), which becomes the one after it; dims (D,) gets those of the
    dimensions.  The same bits as `forward`."""
    cdef Net net = network.bound()
    cdef Workspace space = workspace()
    cdef const real* theta_ = &theta[0]
    cdef Py_ssize_t W = width_of(net.row, theta_)
    cdef Draw at = draw_layout(&net, W, 1)
    cdef real* panel = <real*>space.take((at.size + (net.P + 2) * W) * sizeof(real))
    cdef double frame
    with nogil:
        frame = frame_score(&net, &at, &dims[0], panel, &state[0], theta_, &x[0])
    return frame
