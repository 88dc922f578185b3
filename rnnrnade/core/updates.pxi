# ---- the update of the parameters: elementwise passes over the flat vector ------------------------------------------

cdef enum:
    MOVED = 2048                    # parameters of one piece of an update: its direction stays in the first cache
    MOVED_PER_THREAD = 1 << 18      # parameters worth one more thread


cdef inline void step_piece(real* theta, real* average, const real* direction, const real* strength, real rate,
                            real share, Py_ssize_t n) noexcept nogil:
    """theta <- theta - rate (direction + strength theta);  average <- average + share (theta - average).  strength,
    average: NULL where there is none."""
    cdef Py_ssize_t i
    if strength == NULL:
        for i in range(n):
            theta[i] = theta[i] - direction[i] * rate
    else:
        for i in range(n):
            theta[i] = theta[i] - (direction[i] + strength[i] * theta[i]) * rate
    if average != NULL:
        for i in range(n):
            average[i] = average[i] + share * (theta[i] - average[i])


cdef inline void adam_piece(real* direction, real* m, real* v, const real* gradient, real b1, real b2, real epsilon,
                            real scale_m, real scale_v, Py_ssize_t n) noexcept nogil:
    """direction = m' / (sqrt(v') + epsilon), m and v updated, m' and v' without their bias."""
    cdef Py_ssize_t i
    for i in range(n):
        m[i] = b1 * m[i] + (1 - b1) * gradient[i]
        v[i] = b2 * v[i] + (1 - b2) * gradient[i] * gradient[i]
        direction[i] = m[i] * scale_m / (<real>sqrt(v[i] * scale_v) + epsilon)


cdef inline void momentum_piece(real* direction, real* v, const real* gradient, real decay,
                                Py_ssize_t n) noexcept nogil:
    """direction = v, where v <- decay v + gradient."""
    cdef Py_ssize_t i
    for i in range(n):
        v[i] = decay * v[i] + gradient[i]
        direction[i] = v[i]


cdef int adam_update(Workspace memory, real* theta, real* average, real* m, real* v, const real* gradient,
                     const real* strength, double beta1, double beta2, double epsilon, int step, double rate,
                     double share, Py_ssize_t n, int n_threads) except -1:
    cdef real b1 = <real>beta1, b2 = <real>beta2, e = <real>epsilon, rate_ = <real>rate, share_ = <real>share
    cdef real scale_m = <real>(1 / (1 - beta1 ** step)), scale_v = <real>(1 / (1 - beta2 ** step))
    cdef Py_ssize_t p, i, k
    cdef float_mode mode = 0
    n_threads = min(n_threads, <int>pieces(n, MOVED_PER_THREAD))
    cdef real* directions = <real*>memory.take(n_threads * MOVED * sizeof(real))
    cdef real* d = directions               # each thread starts with a copy
    with nogil, parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        d = directions + threadid() * MOVED
        for p in prange(pieces(n, MOVED), schedule="static"):
            i = p * MOVED
            k = min(<Py_ssize_t>MOVED, n - i)
            adam_piece(d, m + i, v + i, gradient + i, b1, b2, e, scale_m, scale_v, k)
            step_piece(theta + i, <real*>NULL if average == NULL else average + i, d,
                       <const real*>NULL if strength == NULL else strength + i, rate_, share_, k)
        set_float_mode(mode)
    return 0


cdef int momentum_update(Workspace memory, real* theta, real* average, real* v, const real* gradient,
                         const real* strength, double decay, double rate, double share, Py_ssize_t n,
                         int n_threads) except -1:
    cdef real decay_ = <real>decay, rate_ = <real>rate, share_ = <real>share
    cdef Py_ssize_t p, i, k
    cdef float_mode mode = 0
    n_threads = min(n_threads, <int>pieces(n, MOVED_PER_THREAD))
    cdef real* directions = <real*>memory.take(n_threads * MOVED * sizeof(real))
    cdef real* d = directions               # each thread starts with a copy
    with nogil, parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        d = directions + threadid() * MOVED
        for p in prange(pieces(n, MOVED), schedule="static"):
            i = p * MOVED
            k = min(<Py_ssize_t>MOVED, n - i)
            momentum_piece(d, v + i, gradient + i, decay_, k)
            step_piece(theta + i, <real*>NULL if average == NULL else average + i, d,
                       <const real*>NULL if strength == NULL else strength + i, rate_, share_, k)
        set_float_mode(mode)
    return 0


cdef double squares(const real* x, Py_ssize_t n) noexcept nogil:
    """The sum of squares in double precision, in eight fixed chains."""
    cdef Py_ssize_t i, j
    cdef double[8] sums
    cdef double total = 0
    memset(sums, 0, sizeof(sums))
    for i in range(n // 8):
        for j in range(8):
            sums[j] += <double>x[8 * i + j] * x[8 * i + j]
    for i in range(n // 8 * 8, n):
        total += <double>x[i] * x[i]
    for j in range(8):
        total += sums[j]
    return total


cdef double sum_of_squares(Workspace memory, const real* x, Py_ssize_t n, int n_threads) except -1:
    """That of fixed pieces, added in order."""
    cdef Py_ssize_t p
    cdef double total = 0
    cdef double* sums = <double*>memory.take(pieces(n, MOVED_PER_THREAD) * sizeof(double))
    n_threads = min(n_threads, <int>pieces(n, MOVED_PER_THREAD))
    for p in prange(pieces(n, MOVED_PER_THREAD), schedule="static", nogil=True, num_threads=n_threads):
        sums[p] = squares(x + p * MOVED_PER_THREAD, min(<Py_ssize_t>MOVED_PER_THREAD, n - p * MOVED_PER_THREAD))
    for p in range(pieces(n, MOVED_PER_THREAD)):
        total += sums[p]
    return total
