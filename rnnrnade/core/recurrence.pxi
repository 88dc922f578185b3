# ---- the recurrence (2) --------------------------------------------------------------------------------------------

cdef enum:
    LOCKSTEP = 24                   # sequences that advance side by side
    ROWS = 48                       # rows of one piece of a product over all frames


cdef struct Group:
    Py_ssize_t first, n           # sequences order[first : first + n], longest first


cdef void input_rows(const Net* net, real* gates, const real* theta, const real* x, Py_ssize_t first,
                     Py_ssize_t n) noexcept nogil:
    """gates[i + 1] = b_r + W_in x[i]:  what frame i gives to the state that conditions the next row."""
    cdef Py_ssize_t i
    for i in range(first, first + n):
        memcpy(gates + (i + 1) * net.Ap, theta + net.b_r, net.Gp * sizeof(real))
    product(net.row, gates + (first + 1) * net.Ap, net.Ap, x + first * net.D, 0, net.D, 1,
            theta + net.W_in, 0, net.Gp, <const real*>NULL, n, net.Gp, 1, net.D)


cdef void add_recurrent(const Net* net, real* gates, real* recurrent, const real* state_prev, const real* theta,
                        Py_ssize_t n, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """gates += W_rec r_prev, for some of the gates of n rows; recurrent = W_rec r_prev in cells that take it apart."""
    cdef real* sums = gates
    cdef Py_ssize_t i, stride = net.Ap
    if net.apart:
        sums = recurrent
        stride = net.Gp
        for i in range(n):
            memset(sums + i * stride + begin, 0, (end - begin) * sizeof(real))
    product(net.row, sums + begin, stride, state_prev, 0, net.Sp, 1, theta + net.W_rec + begin, 0, net.Gp,
            <const real*>NULL, n, end - begin, 1, net.R)


cdef void state_step(const Net* net, real* state, real* gates, real* recurrent, const real* state_prev,
                     const real* theta, Py_ssize_t n) noexcept nogil:
    """state <- f(gates + W_rec r_prev) for n rows, gates holding b_r + W_in x.  recurrent: (n, Gp), for cells that take
    the product apart.  state may be state_prev, and gates where there is one gate."""
    add_recurrent(net, gates, recurrent, state_prev, theta, n, 0, net.Gp)
    cell_forward(net.row, net.cell, state, gates, recurrent, state_prev, n, net.R)


cdef inline Py_ssize_t advance_space(const Net* net, Py_ssize_t n) noexcept nogil:
    return n * (net.Ap + net.Gp)


cdef void advance_gates(const Net* net, const real* state, real* space, const real* theta, const real* x,
                        Py_ssize_t stride, Py_ssize_t n, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Some of the gates that lead from n states past the frames x (n, D), `stride` numbers apart.  space: advance_space."""
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(space + i * net.Ap + begin, theta + net.b_r + begin, (end - begin) * sizeof(real))
    product(net.row, space + begin, net.Ap, x, 0, stride, 1, theta + net.W_in + begin, 0, net.Gp, <const real*>NULL,
            n, end - begin, 1, net.D)
    add_recurrent(net, space, space + n * net.Ap, state, theta, n, begin, end)


cdef void advance_states(const Net* net, real* state, real* space, Py_ssize_t n) noexcept nogil:
    """state (n, Sp) <- the state after the frames that advance_gates was given."""
    cell_forward(net.row, net.cell, state, space, space + n * net.Ap, state, n, net.R)


cdef inline Py_ssize_t group_space(const Net* net) noexcept nogil:
    return LOCKSTEP * (2 * net.Sp + net.Ap + net.Gp)


cdef void group_forward(const Net* net, real* r, real* gates, real* last, real* space, const real* theta,
                        const real* x, const int64_t* offsets, const int64_t* order, Group group,
                        const real* initial, const uint8_t* fresh) noexcept nogil:
    """The states of a group of sequences, r^0 ... r^{T-1}, and r^T into `last` where it is not NULL.  gates holds
    b_r + W_in x and gets what the backward kernel asks for; with one gate it is r.  space: group_space."""
    cdef Py_ssize_t i, s, row, t = 0, active = group.n, Sp = net.Sp, Gp = net.Gp, Ap = net.Ap
    cdef real* now = space                                         # (LOCKSTEP, Sp)
    cdef real* then = now + LOCKSTEP * Sp                          # (LOCKSTEP, Sp)
    cdef real* recurrent = then + LOCKSTEP * Sp                    # (LOCKSTEP, Gp)
    cdef real* active_gates = recurrent + LOCKSTEP * Gp            # (LOCKSTEP, Ap)
    cdef real* swap
    for i in range(group.n):
        s = order[group.first + i]
        memcpy(now + i * Sp, theta + net.r0 if fresh[s] else initial + s * Sp, Sp * sizeof(real))
    while active > 0:
        if net.G == 1:
            active_gates = then
        for i in range(active):                                    # gates hold W_in x + b_r of the frame before
            s = order[group.first + i]
            row = offsets[s] + t
            if row + 1 < offsets[s + 1]:
                memcpy(active_gates + i * Ap, gates + (row + 1) * Ap, Gp * sizeof(real))
            elif last != NULL:
                memcpy(active_gates + i * Ap, theta + net.b_r, Gp * sizeof(real))
                product(net.row, active_gates + i * Ap, Ap, x + row * net.D, 0, net.D, 1, theta + net.W_in, 0, Gp,
                        <const real*>NULL, 1, Gp, 1, net.D)
            else:
                memset(active_gates + i * Ap, 0, Gp * sizeof(real))
            memcpy(r + row * Sp, now + i * Sp, Sp * sizeof(real))
        if last == NULL:                                           # the last state predicts nothing
            while active > 0 and offsets[order[group.first + active - 1]] + t + 1 >= offsets[order[group.first + active - 1] + 1]:
                active -= 1
        state_step(net, then, active_gates, recurrent, now, theta, active)         # (2)
        if net.G > 1:
            for i in range(active):
                s = order[group.first + i]
                row = offsets[s] + t
                if row + 1 < offsets[s + 1]:
                    memcpy(gates + (row + 1) * Ap, active_gates + i * Ap, Ap * sizeof(real))
        t += 1
        while active > 0 and offsets[order[group.first + active - 1]] + t >= offsets[order[group.first + active - 1] + 1]:
            active -= 1
            memcpy(last + order[group.first + active] * Sp, then + active * Sp, Sp * sizeof(real))
        swap = now
        now = then
        then = swap


cdef void group_backward(const Net* net, real* dr, real* gates, real* dr0, real* space, const real* W_rec,
                         const real* r, const int64_t* offsets, const int64_t* order, Group group) noexcept nogil:
    """Back through time: dr (M, Sp) comes in as the gradient of each state by the frame it conditions; gates (M, Ap;
    with one gate it is dr) leaves as the derivative by b_r + W_in x, zero in the first row of a sequence; dr0 (N, Sp)
    gets the gradient of the first state.  W_rec (G R, Rp): outputs as rows.  space: group_space."""
    cdef Py_ssize_t i, s, row, active = 0, Rp = net.Rp, Sp = net.Sp, Gp = net.Gp, Ap = net.Ap
    cdef Py_ssize_t t = offsets[order[group.first] + 1] - offsets[order[group.first]] - 1
    cdef real* now = space                                         # (LOCKSTEP, Gp)
    cdef real* then = now + LOCKSTEP * Gp                          # (LOCKSTEP, Rp)
    while t > 0:
        while active < group.n and offsets[order[group.first + active] + 1] - offsets[order[group.first + active]] > t:
            active += 1
        for i in range(active):
            row = offsets[order[group.first + i]] + t
            cell_backward(net.row, net.cell, dr + (row - 1) * Sp, gates + row * Ap, dr + row * Sp, r + row * Sp,
                          r + (row - 1) * Sp, net.R)               # dpre = dr * f'(.)
            memcpy(now + i * Gp, gates + row * Ap, Gp * sizeof(real))
            if net.apart:
                recurrent_part(net, now + i * Gp, gates + row * Ap)
            memcpy(then + i * Rp, dr + (row - 1) * Sp, Rp * sizeof(real))
        product(net.row, then, Rp, now, 0, Gp, 1, W_rec, 0, Rp, <const real*>NULL, active, Rp, 1, net.G * net.R)
        for i in range(active):                                    # dr^{t-1} += W_rec' dpre
            row = offsets[order[group.first + i]] + t
            memcpy(dr + (row - 1) * Sp, then + i * Rp, Rp * sizeof(real))
        t -= 1
    for i in range(group.n):                                       # dr0 = dr^0
        s = order[group.first + i]
        memcpy(dr0 + s * Sp, dr + offsets[s] * Sp, Sp * sizeof(real))
        memset(gates + offsets[s] * Ap, 0, Ap * sizeof(real))


cdef inline void recurrent_part(const Net* net, real* to, const real* gates) noexcept nogil:
    """The derivative by W_rec r^{t-1} of a cell that takes it apart: only the last gate's is another one."""
    memcpy(to + (net.G - 1) * net.R, gates + net.Gp, net.R * sizeof(real))


cdef void multiply_rows(const Net* net, real* out, const real* rows, const real* mask, Py_ssize_t first,
                        Py_ssize_t n) noexcept nogil:
    """out = rows * mask in the first Rp numbers of n rows; rows, out (M, Sp), mask (M, Rp).  out may be rows."""
    cdef Py_ssize_t i, j
    for i in range(first, first + n):
        for j in range(net.Rp):
            out[i * net.Sp + j] = rows[i * net.Sp + j] * mask[i * net.Rp + j]


cdef Py_ssize_t make_groups(Group* groups, Py_ssize_t N, int n_threads) noexcept nogil:
    """Sequences in groups of about equal size, at most LOCKSTEP, as many as a multiple of the threads."""
    cdef Py_ssize_t g, n = (N + LOCKSTEP - 1) // LOCKSTEP
    n = (n + n_threads - 1) // n_threads * n_threads
    if n > N:
        n = N
    for g in range(n):
        groups[g].first = N * g // n
        groups[g].n = N * (g + 1) // n - groups[g].first
    return n


cdef void gradient_of_rows(const Net* net, real* dC, const real* rows, Py_ssize_t stride, const real* dpre,
                           Py_ssize_t n_outputs, Py_ssize_t n_rows, Py_ssize_t piece) noexcept nogil:
    """dC (n_outputs, Gp) += sum over rows i of rows[i]' dpre[i], for some outputs and one strip: dW_rec and dW_in."""
    cdef Py_ssize_t W = width_of(net.row, rows), strips = pieces(net.Gp, W), i = 0
    cdef Py_ssize_t size = equal_pieces(n_outputs, OUTPUTS), m = piece // strips * size, j = piece % strips * W
    while i < n_rows:                                         # some rows at a time, so that they stay in the cache
        product(net.row, dC + m * net.Gp + j, net.Gp, rows + i * stride + m, 0, 1, stride, dpre + i * net.Ap + j, 0,
                net.Ap, <const real*>NULL, min(size, n_outputs - m), min(W, net.Gp - j), 1,
                min(<Py_ssize_t>(4 * ROWS), n_rows - i))
        i += 4 * ROWS


cdef void recurrence(const Net* net, real* r, real* gates, real* last, real* space, Group* groups, const real* theta,
                     const real* x, const int64_t* offsets, const int64_t* order, const real* initial,
                     const uint8_t* fresh, Py_ssize_t N, int n_threads, int* team) noexcept nogil:
    """All states, r (M + 1, Sp), and gates (M + 1, Ap); space: n_threads times group_space."""
    cdef Py_ssize_t g, i, M = offsets[N], n_groups = make_groups(groups, N, n_threads)
    with parallel(num_threads=n_threads):
        if threadid() == 0:
            team[0] = omp_get_num_threads()
        for i in prange(pieces(M - 1, ROWS), schedule="static"):
            input_rows(net, gates, theta, x, i * ROWS, min(<Py_ssize_t>ROWS, M - 1 - i * ROWS))
        for g in prange(n_groups, schedule="dynamic", chunksize=1):
            group_forward(net, r, gates, last, space + threadid() * group_space(net), theta, x, offsets, order,
                          groups[g], initial, fresh)
