# ---- frames of given normal scores: the inverse of the Rosenblatt transform -----------------------------------------
# As a draw, but for dimension d the root of F(e_d) = Phi(score_d), in double precision for any type of the network:
# that of Mixture.from_normal_score, in the lower half by its mirror, where F is precise.  Most of
# the time is that of erfc.

cdef:
    double UNDERFLOW = 1e-280       # of F: below, its logarithm
    double PRECISION = 1e-14        # of a normal score, relative to max(1, |score|)
    int MOST_STEPS = 200            # of the search for a root; bisection alone needs about 60
    double COST_OF_ROOT = 400       # of a component, in multiply-adds


cdef double log_cdf(double* slope, const Family* f, const outputs* at, const real* of_lane, Py_ssize_t W, double sign,
                    double e) noexcept nogil:
    """log sum_k alpha_k F(u_k), u_k = (e - sign mu_k) / sigma_k, and its derivative by e.  of_lane: alpha, mu, sigma,
    W apart."""
    cdef Py_ssize_t k, K = at.K
    cdef double F = 0, density = 0, top = -INFINITY, alpha, sigma, u, term
    for k in range(K):
        alpha, sigma = of_lane[k * W], of_lane[(2 * K + k) * W]
        u = (e - sign * of_lane[(K + k) * W]) / sigma
        F += alpha * f.cdf(u, shape_at(at, k))
        density += alpha * exp(f.log_kernel(u, shape_at(at, k))) / sigma
    if F > UNDERFLOW:
        slope[0] = density / (f.norm * F)
        return log(F)
    for k in range(K):
        alpha, u = of_lane[k * W], (e - sign * of_lane[(K + k) * W]) / of_lane[(2 * K + k) * W]
        if alpha > 0:
            top = max(top, log(alpha) + f.log_cdf(u, shape_at(at, k)))
    F = density = 0
    for k in range(K):
        alpha, sigma = of_lane[k * W], of_lane[(2 * K + k) * W]
        u = (e - sign * of_lane[(K + k) * W]) / sigma
        if alpha > 0:
            term = exp(log(alpha) + f.log_cdf(u, shape_at(at, k)) - top)
            F += term
            density += term / sigma * f.rate(u, shape_at(at, k))
    slope[0] = density / F
    return top + log(F)


cdef double quantile(const Family* f, const outputs* at, const real* of_lane, Py_ssize_t W, double score) noexcept nogil:
    """The e with F(e) = Phi(score), score finite: Newton's method on log F between the smallest and the largest quantile
    of the components, with bisection where it would leave them or be slow."""
    cdef Py_ssize_t k, K = at.K
    cdef int step
    cdef double sign = -1 if score > 0 else 1, z = sign * score, unit = f.quantile(z, shape_at(at, 0))
    cdef double low = INFINITY, high = -INFINITY
    cdef double alpha, mu, sigma, total = 0, mean = 0, square = 0, slope = 0
    cdef double e, target, tolerance, error, newton, before, spacing, following
    for k in range(K):
        alpha, mu, sigma = of_lane[k * W], sign * of_lane[(K + k) * W], of_lane[(2 * K + k) * W]
        if k > 0 and at.shapes != NULL:
            unit = f.quantile(z, shape_at(at, k))
        if alpha > 0:
            low, high = min(low, mu + sigma * unit), max(high, mu + sigma * unit)
        total += alpha
        mean += alpha * mu
        square += alpha * (sigma * sigma + mu * mu)
    mean /= total
    if not low < high:
        return sign * low
    # Of heavy tails from the inside, where log F is steep.
    e = high if at.shapes != NULL else min(max(mean + unit * sqrt(max(square / total - mean * mean, 0.)), low), high)
    target, tolerance = log_Phi(z) + log(total), PRECISION * max(1., z * z)
    before = high - low
    for step in range(MOST_STEPS):
        error = log_cdf(&slope, f, at, of_lane, W, sign, e) - target
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
                          const int64_t* rows, Py_ssize_t valid, Watch* watch) noexcept nogil:
    """e_d of a frame, dimension by dimension, each given those before it.  e (M, D), score (M, X): `rows` of the frame."""
    cdef Py_ssize_t d, l, i, D = net.D, B = at.B, W = width_of(net.row, theta)
    cdef real *x = panel + at.x
    cdef real *parameters = panel + at.scratch
    cdef real *z_d
    cdef outputs of_d
    memset(panel + at.one, 0, net.P * W * sizeof(real))
    for d in range(D):
        z_d = outputs_in_lanes(net, at, panel, theta, d, valid)
        of_d = outputs_at(net, d)
        head_link(net.row, net.head, parameters, z_d, &of_d)
        if interrupted(watch):
            return
        for l in range(valid):
            i = rows[l] * D + d
            e[i] = quantile(&families[net.head], &of_d, parameters + l, W, score[rows[l] * net.X + net.given + d])
            x[d * B + l] = <real>e[i]


cdef void panel_from_normal(const Net* net, const Draw* at, double* e, real* panel, real* state, const real* theta,
                            const double* score, const int64_t* offsets, const int64_t* by_length, Py_ssize_t valid,
                            Watch* watch) noexcept nogil:
    """All frames of a panel of sequences, the longest first.  At the end of the panel: its frames as rows (W, X)."""
    cdef Py_ssize_t t, l, i, block
    cdef int64_t[MAX_WIDTH] rows
    cdef real* frames = panel + at.size
    for t in range(offsets[by_length[0] + 1] - offsets[by_length[0]]):
        while offsets[by_length[valid - 1] + 1] - offsets[by_length[valid - 1]] <= t:
            valid -= 1
        for l in range(valid):
            rows[l] = offsets[by_length[l]] + t
            for i in range(net.given):
                frames[l * net.X + i] = <real>score[rows[l] * net.X + i]
        frame_past(net, at, panel, state, frames, net.X, valid)
        frame_begin(net, at, panel, state, theta)
        for block in range(pieces(net.D, net.in_block)):
            frame_context(net, at, panel, state, theta, block, valid)
        frame_quantiles(net, at, e, panel, theta, score, rows, valid, watch)
        if watch.stop:
            return
        if net.R:
            frame_rows(net, at, frames, panel, 1, valid)
            advance(net, state, panel + at.step, theta, frames, net.X, valid)


cdef int frames_from_normal(const Net* net, Workspace memory, double* e, const real* theta, const double* score,
                            const Packed* packed, const real* initial, int n_threads) except -1:
    """e (M, D): the frames with the normal scores `score`.  initial (N, Sp): the first state of the sequences that are
    not fresh."""
    cdef Py_ssize_t N = packed.N, M = packed.M, W = width_of(net.row, theta), p, first, n
    cdef Draw at = draw_layout(net, W, 1 if N < FEW else W)
    cdef Py_ssize_t n_panels = panels_of(N, W, at.B, n_threads)
    cdef Py_ssize_t size = at.size + pieces(W * net.X, 64) * 64
    cdef Watch* watch = &memory.watch
    if net.head >= N_FAMILIES or families[net.head].quantile == &unknown:
        raise ValueError("from_normal: this head has no quantiles in the core.")
    n_threads = worth_threads(n_threads, multiply_adds(net, M) + COST_OF_ROOT * M * net.D * net.at.K, n_panels)
    cdef real* panels = <real*>memory.take(n_threads * size * sizeof(real))
    cdef real* state = <real*>NULL
    if net.R:
        state = <real*>memory.take(N * net.Sp * sizeof(real))                          # (N, Sp), the longest first
        for p in range(N):
            memcpy(state + p * net.Sp, first_state(net, packed, initial, theta, packed.by_length[p]),
                   net.Sp * sizeof(real))
    with nogil, parallel(num_threads=n_threads):
        if threadid() == 0:
            watch.team = omp_get_num_threads()
        for p in prange(n_panels, schedule="dynamic", chunksize=1):
            first = N * p // n_panels
            n = N * (p + 1) // n_panels - first
            panel_from_normal(net, &at, e, panels + threadid() * size, state + first * net.Sp, theta, score,
                              packed.offsets, packed.by_length + first, n, watch)
    return memory.leave()
