# ---- given numbers: known with each frame, and not scored ------------------------------------------------------------
# A row of frames is (u, x), X numbers: `given` of them known beforehand, and behind them the D that are scored.  The
# recurrence reads the whole row.  A frame reads x, and its row of context (r, u), which is made here: r of the state
# before it, u of the row itself.

cdef real* scored_of(const Net* net, Workspace memory, const real* rows, Py_ssize_t M) except NULL:
    """x (M, D) of rows (M, X): these themselves where nothing is given."""
    cdef Py_ssize_t i
    cdef real* x
    if not net.given:
        return <real*>rows
    x = <real*>memory.take(M * net.D * sizeof(real))
    for i in range(M):
        memcpy(x + i * net.D, rows + i * net.X + net.given, net.D * sizeof(real))
    return x


cdef real* context_with_given(const Net* net, Workspace memory, const real* r, const real* rows, Py_ssize_t M,
                              Py_ssize_t n) except NULL:
    """(n, Cs): the rows of context of M frames, from their states r (M, Sp) and rows (M, X); the others are zero."""
    cdef Py_ssize_t i, R = net.C - net.given
    cdef real* context = <real*>memory.take(n * net.Cs * sizeof(real))
    memset(context, 0, n * net.Cs * sizeof(real))
    for i in range(M):
        if R:
            memcpy(context + i * net.Cs, r + i * net.Sp, R * sizeof(real))
        memcpy(context + i * net.Cs + R, rows + i * net.X, net.given * sizeof(real))
    return context


cdef void gradient_of_states(const Net* net, real* dr, const real* dcontext, Py_ssize_t M) noexcept nogil:
    """dr (M, Sp), from the gradient of the rows of context, (M, Cs)."""
    cdef Py_ssize_t i
    memset(dr, 0, M * net.Sp * sizeof(real))
    for i in range(M):
        memcpy(dr + i * net.Sp, dcontext + i * net.Cs, (net.C - net.given) * sizeof(real))
