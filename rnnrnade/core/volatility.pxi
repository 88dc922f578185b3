# A causal level, scale and correlation of frames u (transforms.Volatility), in double precision.  Before each frame
#
#     v = (u - gain level) / s          s_d^2 = (1 - floor) ((1 - common) E_d + common mean_j E_j) + floor
#     w = F^-1 v                        F F' = C with its diagonal scaled to 1,  C = (1 - floor_c) S + floor_c I
#     e_d = w_d / c_d                   c_d^2 = (nu - 2 + sum_{i<d} w_i^2) / (nu - 2 + d - 1)
#
# (c: a frame whose first dimensions are large is large in the others; of a Student t with unit covariance and nu degrees
# of freedom, c_d is the standard deviation of w_d given w_<d)
# and after it, with exponential forgetting, level by u, E by (u - gain level)^2 and S by v v', each of them bounded, so
# that one absurd number does not rule what follows.  E is the mean over several rates of forgetting.
#
# A row of state: level (D), E (J, D), S (D, D).  Each frame is the same operations, alone or in a batch.

cdef enum:
    DECAYS = 4                      # of the scale, at most

cdef:
    double LEVEL_BOUND = 3          # of abs(u) for the level
    double SCALE_BOUND = 25         # of (u - gain level)^2 / s^2 for the scale
    double CORRELATION_BOUND = 5    # of abs(v) for the correlation


cdef struct Causal:
    Py_ssize_t D, J                 # J = 0: no scale
    double level_decay, gain        # gain = 0: no level
    double decays[DECAYS]
    double common, floor
    bint correlated
    double decay, correlation_floor
    double within                   # nu - 2; infinite: c = 1
    Py_ssize_t size                 # of a row of state


cdef struct Now:                    # of one frame
    double* m                       # (D,)        gain level
    double* s                       # (D,)
    double* F                       # (D, D)
    double* v                       # (D,)        of this frame, once it is read
    double* w                       # (D,)


cdef void causal_now(const Causal* p, Now* now, const double* state) noexcept nogil:
    """What the past says of the next frame."""
    cdef Py_ssize_t d, i, j, D = p.D
    cdef const double* E = state + D
    cdef const double* S = state + (1 + p.J) * D
    cdef double mean = 0, total
    for d in range(D):
        now.m[d], now.s[d] = p.gain * state[d], 1
    if p.J:
        for d in range(D):
            total = 0
            for j in range(p.J):
                total += E[j * D + d]
            now.s[d] = total / p.J
            mean += now.s[d]
        mean /= D
        for d in range(D):
            now.s[d] = sqrt((1 - p.floor) * ((1 - p.common) * now.s[d] + p.common * mean) + p.floor)
    if not p.correlated:
        return
    for d in range(D):                                    # roots of the diagonal of C
        now.v[d] = sqrt((1 - p.correlation_floor) * S[d * D + d] + p.correlation_floor)
    for i in range(D):                                    # Cholesky
        for j in range(i + 1):
            total = 1 if i == j else (1 - p.correlation_floor) * S[i * D + j] / (now.v[i] * now.v[j])
            for d in range(j):
                total -= now.F[i * D + d] * now.F[j * D + d]
            now.F[i * D + j] = sqrt(total) if i == j else total / now.F[j * D + j]


cdef inline double causal_common(const Causal* p, double squares, Py_ssize_t d) noexcept nogil:
    """c_d after dimensions whose squares add up to `squares`"""
    return 1 if p.within == INFINITY else sqrt((p.within + squares) / (p.within + d))


cdef void causal_scaled(const Causal* p, double* e, const double* u, const Now* now) noexcept nogil:
    cdef Py_ssize_t d, i, D = p.D
    cdef double total, squares = 0
    for d in range(D):
        total = (u[d] - now.m[d]) / now.s[d]
        if p.correlated:
            for i in range(d):
                total -= now.F[d * D + i] * now.w[i]
            total /= now.F[d * D + d]
        now.w[d] = total
        e[d] = total / causal_common(p, squares, d)
        squares += total * total


cdef void causal_unscaled(const Causal* p, double* u, const double* e, const Now* now) noexcept nogil:
    cdef Py_ssize_t d, i, D = p.D
    cdef double total, squares = 0
    for d in range(D):
        total = now.w[d] = e[d] * causal_common(p, squares, d)
        squares += total * total
        if p.correlated:
            total = 0
            for i in range(d + 1):
                total += now.F[d * D + i] * now.w[i]
        u[d] = now.m[d] + now.s[d] * total


cdef void causal_moved(const Causal* p, double* location, double* scale, const Now* now) noexcept nogil:
    """u_d = location_d + scale_d e_d, both of what comes before u_d; after `causal_scaled` or `causal_unscaled`."""
    cdef Py_ssize_t d, i, D = p.D
    cdef double total, squares = 0
    for d in range(D):
        total = 0
        if p.correlated:
            for i in range(d):
                total += now.F[d * D + i] * now.w[i]
        location[d] = now.m[d] + now.s[d] * total
        scale[d] = now.s[d] * (now.F[d * D + d] if p.correlated else 1) * causal_common(p, squares, d)
        squares += now.w[d] * now.w[d]


cdef void causal_read(const Causal* p, double* state, const double* u, const Now* now) noexcept nogil:
    """The state after a frame."""
    cdef Py_ssize_t d, i, j, D = p.D
    cdef double* E = state + D
    cdef double* S = state + (1 + p.J) * D
    cdef double left, square
    for d in range(D):
        left = u[d] - now.m[d]
        state[d] = p.level_decay * state[d] + (1 - p.level_decay) * min(max(u[d], -LEVEL_BOUND), LEVEL_BOUND)
        square = min(left * left, SCALE_BOUND * now.s[d] * now.s[d])
        for j in range(p.J):
            E[j * D + d] = p.decays[j] * E[j * D + d] + (1 - p.decays[j]) * square
        now.v[d] = min(max(left / now.s[d], -CORRELATION_BOUND), CORRELATION_BOUND)
    if p.correlated:
        for i in range(D):
            for j in range(i + 1):
                S[i * D + j] = p.decay * S[i * D + j] + (1 - p.decay) * now.v[i] * now.v[j]


cdef Causal causal_of(options, Py_ssize_t D) except *:
    """(level, scale, correlation, within), each None or numbers: (decay, gain), (decays, common, floor), (decay, floor),
    nu"""
    cdef Causal p
    level, scale, correlation, within = options
    p.within = INFINITY if within is None else within - 2
    p.D, p.J, p.correlated = D, 0, correlation is not None
    p.level_decay, p.gain = (1.0, 0.0) if level is None else level
    p.common, p.floor, p.decay, p.correlation_floor = 0, 0, 0, 0
    if scale is not None:
        decays, p.common, p.floor = scale
        p.J = len(decays)
        if p.J > DECAYS:
            raise ValueError(f"a scale has at most {<int>DECAYS} decays. Got {p.J}.")
        for j in range(p.J):
            p.decays[j] = decays[j]
    if correlation is not None:
        p.decay, p.correlation_floor = correlation
    p.size = D * (1 + p.J + (D if p.correlated else 0))
    return p


def causal(double[:, ::1] e not None, double[:, ::1] u not None, const int64_t[::1] offsets not None,
           double[:, ::1] state not None, options, double[:, ::1] location=None, double[:, ::1] scale=None,
           bint inverse=False):
    """e of sequences u (M, D), or with `inverse` u of e; state (N, size) becomes that after them.

    location, scale : (M, D), optional: where to put what moves and scales e_d to u_d."""
    cdef Py_ssize_t M = u.shape[0], D = u.shape[1], N = offsets.shape[0] - 1, s, i
    cdef Causal p = causal_of(options, D)
    cdef Now now
    cdef Workspace space = workspace()
    if N < 0:
        raise ValueError("offsets must have the shape (N + 1,). Got (0,) instead.")
    check_shape("e", &e.shape[0], 2, M, D)
    check_shape("state", &state.shape[0], 2, N, p.size)
    if (location is None) != (scale is None):
        raise ValueError("location and scale must come together, (M, D) each. Got only one of them.")
    if location is not None:
        check_shape("location", &location.shape[0], 2, M, D)
        check_shape("scale", &scale.shape[0], 2, M, D)
    if offsets[0] != 0 or offsets[N] != M:
        raise ValueError(f"offsets must go from 0 to {M}. Got {offsets[0]} and {offsets[N]} instead.")
    for s in range(N):
        if offsets[s + 1] < offsets[s]:
            raise ValueError(f"offsets must ascend. Got {offsets[s + 1]} behind {offsets[s]} at {s + 1}.")
    now.m = <double*>space.take((4 * D + D * D) * sizeof(double))
    now.s, now.v, now.w, now.F = now.m + D, now.m + 2 * D, now.m + 3 * D, now.m + 4 * D
    with nogil:
        for s in range(N):
            if space.watch.stop:
                break
            for i in range(offsets[s], offsets[s + 1]):
                if interrupted(&space.watch):
                    break
                causal_now(&p, &now, &state[s, 0])
                if inverse:
                    causal_unscaled(&p, &u[i, 0], &e[i, 0], &now)
                else:
                    causal_scaled(&p, &e[i, 0], &u[i, 0], &now)
                if location is not None:
                    causal_moved(&p, &location[i, 0], &scale[i, 0], &now)
                causal_read(&p, &state[s, 0], &u[i, 0], &now)
    space.leave()
