# ---- the update of the parameters: elementwise passes over the flat vector ------------------------------------------

cdef enum:
    MOVED = 2048                    # parameters of one piece of an update: its direction stays in the first cache
    MOVED_PER_THREAD = 1 << 18      # parameters worth one more thread


cdef inline void step_piece(real* theta, real* average, const real* direction, const real* strength, real rate,
                            real share, Py_ssize_t n) noexcept nogil:
    """theta <- theta - rate (direction + strength theta);  average <- average + share (theta - average).  strength, average:
    NULL where there is none."""
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


cdef inline void momentum_piece(real* direction, real* v, const real* gradient, real decay, Py_ssize_t n) noexcept nogil:
    """direction = v, where v <- decay v + gradient."""
    cdef Py_ssize_t i
    for i in range(n):
        v[i] = decay * v[i] + gradient[i]
        direction[i] = v[i]


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
