# ---- the recurrence (2): states forward, and back through time -----------------------------------------------------
# What the past gives a frame.  states_forward makes the rows r (M, Sp), of which the frames read the front as their
# context; states_gradient takes back the gradient dr of these rows.  Nothing is known here of frames and their
# densities.
#
# Layers go one after the other: each through all time, and reads the rows of the one below.  A row of states holds
# those of all layers, the top one in front, Sl numbers each; a row of gates likewise, Al numbers each.

cdef enum:
    LOCKSTEP = 24                   # sequences that advance side by side
    ROWS = 48                       # rows of one piece of a product over all frames


cdef struct Packed:
    # Sequences end to end: sequence s has the rows offsets[s] ... offsets[s + 1] - 1 of M.
    const int64_t* offsets        # (N + 1)
    const int64_t* by_length      # (N)                     the sequences, longest first
    const uint8_t* fresh          # (N)                     those that start from r0; NULL: all
    Py_ssize_t N, M


cdef struct Group:
    Py_ssize_t first, n           # sequences by_length[first : first + n]


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


cdef inline const real* first_state(const Net* net, const Packed* packed, const real* initial, const real* theta,
                                    Py_ssize_t s) noexcept nogil:
    """(Sp,): the one that conditions the first frame of sequence s."""
    return theta + net.r0 if packed.fresh == NULL or packed.fresh[s] else initial + s * net.Sp


cdef inline const real* read_by(const Layer* layer, const real* x, const real* state) noexcept nogil:
    """What a layer reads on its way to a state: the frame x, or what the layer below has in this row of states."""
    return x if layer.bottom else state + layer.below


cdef inline Py_ssize_t stride_by(const Net* net, const Layer* layer, Py_ssize_t of_frames) noexcept nogil:
    """From one row of that to the next."""
    return of_frames if layer.bottom else net.Sp


cdef inline Py_ssize_t group_space(const Net* net) noexcept nogil:
    return LOCKSTEP * (2 * net.Sl + net.Al + net.Gp)


cdef void input_rows(const Net* net, const Layer* layer, real* gates, const real* theta, const real* x, const real* r,
                     Py_ssize_t first, Py_ssize_t n) noexcept nogil:
    """gates[i + 1] = b_r + W_in x[i]:  what frame i gives to the state that conditions the next row; in layers above
    the first r[i + 1] of the layer below stands for x[i]."""
    cdef Py_ssize_t i, stride = stride_by(net, layer, net.X)
    for i in range(first, first + n):
        memcpy(gates + (i + 1) * net.Ap + layer.gates, theta + layer.b_r, net.Gp * sizeof(real))
    product(net.row, gates + (first + 1) * net.Ap + layer.gates, net.Ap, read_by(layer, x, r + net.Sp) + first * stride,
            0, stride, 1, theta + layer.W_in, 0, net.Gp, <const real*>NULL, n, net.Gp, 1, layer.I)


cdef void add_recurrent(const Net* net, const Layer* layer, real* gates, real* recurrent, const real* state_prev,
                        Py_ssize_t stride_prev, const real* theta, Py_ssize_t n, Py_ssize_t begin,
                        Py_ssize_t end) noexcept nogil:
    """gates += W_rec r_prev, for some of the gates of n rows; recurrent = W_rec r_prev in cells that take it
    separately."""
    cdef real* sums = gates
    cdef Py_ssize_t i, stride = net.Al
    if net.separate_recurrent:
        sums = recurrent
        stride = net.Gp
        for i in range(n):
            memset(sums + i * stride + begin, 0, (end - begin) * sizeof(real))
    product(net.row, sums + begin, stride, state_prev, 0, stride_prev, 1, theta + layer.W_rec + begin, 0, net.Gp,
            <const real*>NULL, n, end - begin, 1, net.R)


cdef void state_step(const Net* net, const Layer* layer, real* state, real* gates, real* recurrent,
                     const real* state_prev, const real* theta, Py_ssize_t n) noexcept nogil:
    """state <- f(gates + W_rec r_prev) for n rows (n, Sl), gates (n, Al) holding b_r + W_in x.  recurrent: (n, Gp), for
    cells that take the product separately.  state may be state_prev, and gates where there is one gate."""
    add_recurrent(net, layer, gates, recurrent, state_prev, net.Sl, theta, n, 0, net.Gp)
    cell_forward(net.row, net.cell, state, gates, recurrent, state_prev, n, net.R)


cdef void group_forward(const Net* net, const Layer* layer, real* r, real* gates, real* last, real* space,
                        const real* theta, const real* x, const Packed* packed, Group group, const real* initial,
                        Watch* watch) noexcept nogil:
    """The states that a layer has in a group of sequences, r^0 ... r^{T-1}, and r^T into `last` where it is not NULL.
    gates holds b_r + W_in x and gets what the backward kernel asks for; with one gate it is r.  space: group_space."""
    cdef Py_ssize_t i, s, row, t = 0, active = group.n, Sl = net.Sl, Gp = net.Gp, Al = net.Al
    cdef const int64_t* offsets = packed.offsets
    cdef const int64_t* members = packed.by_length + group.first   # (group.n), the longest first
    cdef real* now = space                                         # (LOCKSTEP, Sl)
    cdef real* then = now + LOCKSTEP * Sl                          # (LOCKSTEP, Sl)
    cdef real* recurrent = then + LOCKSTEP * Sl                    # (LOCKSTEP, Gp)
    cdef real* active_gates = recurrent + LOCKSTEP * Gp            # (LOCKSTEP, Al)
    cdef real* swap
    for i in range(group.n):
        s = members[i]
        memcpy(now + i * Sl, first_state(net, packed, initial, theta, s) + layer.state, Sl * sizeof(real))
    while active > 0 and not interrupted(watch):
        if net.G == 1:
            active_gates = then
        for i in range(active):                                    # gates hold W_in x + b_r of the frame before
            s = members[i]
            row = offsets[s] + t
            if row + 1 < offsets[s + 1]:
                memcpy(active_gates + i * Al, gates + (row + 1) * net.Ap + layer.gates, Gp * sizeof(real))
            elif last != NULL:
                memcpy(active_gates + i * Al, theta + layer.b_r, Gp * sizeof(real))
                product(net.row, active_gates + i * Al, Al, read_by(layer, x + row * net.X, last + s * net.Sp), 0, 0, 1,
                        theta + layer.W_in, 0, Gp, <const real*>NULL, 1, Gp, 1, layer.I)
            else:
                memset(active_gates + i * Al, 0, Gp * sizeof(real))
            memcpy(r + row * net.Sp + layer.state, now + i * Sl, Sl * sizeof(real))
        if last == NULL:                                           # the last state predicts nothing
            while active > 0 and offsets[members[active - 1]] + t + 1 >= offsets[members[active - 1] + 1]:
                active -= 1
        state_step(net, layer, then, active_gates, recurrent, now, theta, active)  # (2)
        if net.G > 1:
            for i in range(active):
                s = members[i]
                row = offsets[s] + t
                if row + 1 < offsets[s + 1]:
                    memcpy(gates + (row + 1) * net.Ap + layer.gates, active_gates + i * Al, Al * sizeof(real))
        t += 1
        while active > 0 and offsets[members[active - 1]] + t >= offsets[members[active - 1] + 1]:
            active -= 1
            memcpy(last + members[active] * net.Sp + layer.state, then + active * Sl, Sl * sizeof(real))
        swap = now
        now = then
        then = swap


cdef int states_forward(const Net* net, Workspace memory, real* r, real* gates, real* last, const real* theta,
                        const real* x, const Packed* packed, const real* initial, int n_threads) except -1:
    """All states, r (M + 1, Sp), and gates (M + 1, Ap); last (N, Sp), where it is not NULL, the one after each
    sequence.  With one gate gates is r.  initial (N, Sp): the first state of the sequences that are not fresh."""
    cdef Py_ssize_t g, i, l, n_groups, N = packed.N, M = packed.M
    cdef float_mode mode = 0
    cdef Watch* watch = &memory.watch
    cdef const Layer* layer
    cdef real* space = <real*>memory.take(n_threads * group_space(net) * sizeof(real))
    cdef Group* groups = <Group*>memory.take((N + n_threads) * sizeof(Group))
    n_groups = make_groups(groups, N, n_threads)
    for l in range(net.L):
        layer = &net.layers[l]
        with nogil, parallel(num_threads=n_threads):
            mode = subnormals_as_zero()
            if threadid() == 0:
                watch.team = omp_get_num_threads()
            for i in prange(pieces(M - 1, ROWS), schedule="static"):
                if not interrupted(watch):
                    input_rows(net, layer, gates, theta, x, r, i * ROWS, min(<Py_ssize_t>ROWS, M - 1 - i * ROWS))
            for g in prange(n_groups, schedule="dynamic", chunksize=1):
                group_forward(net, layer, r, gates, last, space + threadid() * group_space(net), theta, x, packed,
                              groups[g], initial, watch)
            set_float_mode(mode)
    return memory.leave()


cdef inline void recurrent_part(const Net* net, real* to, const real* gates) noexcept nogil:
    """The derivative by W_rec r^{t-1} of a cell that takes it separately: only the last gate's is another one."""
    memcpy(to + (net.G - 1) * net.R, gates + net.Gp, net.R * sizeof(real))


cdef void group_backward(const Net* net, const Layer* layer, real* dr, real* gates, real* dr0, real* space,
                         const real* W_rec, const real* r, const Packed* packed, Group group,
                         Watch* watch) noexcept nogil:
    """Back through time in a layer: dr (M, Sp) comes in as the gradient of each state by what reads it in its row;
    gates (M, Ap; with one gate it is dr) leaves as the derivative by b_r + W_in x, zero in the first row of a sequence;
    dr0 (N, Sp) gets the gradient of the first state.  W_rec (G R, Rp): outputs as rows.  space: group_space."""
    cdef Py_ssize_t i, s, row, active = 0, Rp = net.Rp, Sp = net.Sp, Gp = net.Gp, Ap = net.Ap
    cdef const int64_t* offsets = packed.offsets
    cdef const int64_t* members = packed.by_length + group.first   # (group.n), the longest first
    cdef Py_ssize_t t = offsets[members[0] + 1] - offsets[members[0]] - 1
    cdef real* now = space                                         # (LOCKSTEP, Gp)
    cdef real* then = now + LOCKSTEP * Gp                          # (LOCKSTEP, Rp)
    dr, dr0, r, gates = dr + layer.state, dr0 + layer.state, r + layer.state, gates + layer.gates
    while t > 0 and not interrupted(watch):
        while active < group.n and offsets[members[active] + 1] - offsets[members[active]] > t:
            active += 1
        for i in range(active):
            row = offsets[members[i]] + t
            cell_backward(net.row, net.cell, dr + (row - 1) * Sp, gates + row * Ap, dr + row * Sp, r + row * Sp,
                          r + (row - 1) * Sp, net.R)               # dpre = dr * f'(.)
            memcpy(now + i * Gp, gates + row * Ap, Gp * sizeof(real))
            if net.separate_recurrent:
                recurrent_part(net, now + i * Gp, gates + row * Ap)
            memcpy(then + i * Rp, dr + (row - 1) * Sp, Rp * sizeof(real))
        product(net.row, then, Rp, now, 0, Gp, 1, W_rec, 0, Rp, <const real*>NULL, active, Rp, 1, net.G * net.R)
        for i in range(active):                                    # dr^{t-1} += W_rec' dpre
            row = offsets[members[i]] + t
            memcpy(dr + (row - 1) * Sp, then + i * Rp, Rp * sizeof(real))
        t -= 1
    for i in range(group.n):                                       # dr0 = dr^0
        s = members[i]
        memcpy(dr0 + s * Sp, dr + offsets[s] * Sp, net.Sl * sizeof(real))
        memset(gates + offsets[s] * Ap, 0, net.Al * sizeof(real))


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


cdef inline Py_ssize_t gradient_pieces(const Net* net, Py_ssize_t n_outputs, Py_ssize_t W) noexcept nogil:
    return pieces(n_outputs, equal_pieces(n_outputs, OUTPUTS)) * pieces(net.Gp, W)


cdef void outputs_as_rows(const Net* net, real* out, const real* weights, Py_ssize_t i) noexcept nogil:
    """Row i of out (G R, Rp): what unit or input j gives to gate i, of weights (R, Gp)."""
    cdef Py_ssize_t j
    memset(out + i * net.Rp, 0, net.Rp * sizeof(real))
    for j in range(net.R):
        out[i * net.Rp + j] = weights[j * net.Gp + i]


cdef void layer_gradient(const Net* net, const Layer* layer, real* grad, real* dr, real* dpre, real* dr0, real* weights,
                         real* space, const real* r, const real* theta, const real* x, const Packed* packed,
                         const Group* groups, Py_ssize_t n_groups, Watch* watch, int n_threads) noexcept nogil:
    """Back through time in one layer, the gradient of its parameters, and that of the rows of the layer below.  dpre
    (M, Ap): as the gates of group_backward.  weights: (G R, Rp)."""
    cdef Py_ssize_t i, j, g, Sp = net.Sp, Ap = net.Ap, R = net.R, GR = net.G * net.R, M = packed.M
    cdef Py_ssize_t W = width_of(net.row, theta), n_rec = gradient_pieces(net, R, W)
    cdef Py_ssize_t n_in = gradient_pieces(net, layer.I, W), stride = stride_by(net, layer, net.X)
    cdef float_mode mode = 0
    cdef const real* read = read_by(layer, x, r + Sp)
    cdef const real* r_prev = r + layer.state
    cdef real* after = dpre + Ap + layer.gates                # row i: the gradient of b_r + W_in read[i] (+ W_rec r[i])
    with parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        for i in prange(GR, schedule="static"):
            outputs_as_rows(net, weights, theta + layer.W_rec, i)
        for g in prange(n_groups, schedule="dynamic", chunksize=1):
            group_backward(net, layer, dr, dpre, dr0, space + threadid() * group_space(net), weights, r, packed,
                           groups[g], watch)
        for i in prange(n_rec + n_in + 1, schedule="dynamic", chunksize=1):
            if interrupted(watch):
                pass
            elif i == n_rec + n_in:
                for j in range(M - 1):                        # db_r += dpre
                    add(grad + layer.b_r, after + j * Ap, net.Gp)
            elif i >= n_rec:
                gradient_of_rows(net, grad + layer.W_in, read, stride, after, layer.I, M - 1, i - n_rec)
            elif not net.separate_recurrent:
                gradient_of_rows(net, grad + layer.W_rec, r_prev, Sp, after, R, M - 1, i)
        if not layer.bottom:
            for i in prange(GR, schedule="static"):
                outputs_as_rows(net, weights, theta + layer.W_in, i)
            for i in prange(pieces(M, ROWS), schedule="static"):   # dr of the layer below += W_in' dpre
                if not interrupted(watch):
                    product(net.row, dr + i * ROWS * Sp + layer.below, Sp, dpre + i * ROWS * Ap + layer.gates, 0, Ap, 1,
                            weights, 0, net.Rp, <const real*>NULL, min(<Py_ssize_t>ROWS, M - i * ROWS), net.Rp, 1, GR)
        set_float_mode(mode)
    if net.separate_recurrent:
        with parallel(num_threads=n_threads):
            mode = subnormals_as_zero()
            for i in prange(M - 1, schedule="static"):
                recurrent_part(net, after + i * Ap, after + i * Ap)
            for i in prange(n_rec, schedule="static"):
                if not interrupted(watch):
                    gradient_of_rows(net, grad + layer.W_rec, r_prev, Sp, after, R, M - 1, i)
            set_float_mode(mode)


cdef int states_gradient(const Net* net, Workspace memory, real* grad, real* dr, real* gates, const real* r,
                         const real* theta, const real* x, const real* mask, const Packed* packed,
                         int n_threads) except -1:
    """Back through time from dr (M, Sp), the gradient of each state by the frame it conditions, which is overwritten;
    and the gradient of the parameters of the recurrence.  x (M, X): what it has read.  mask (M, Rp): the factors
    between the states and what the frames have read, or NULL.  gates: from states_forward, overwritten; with one gate
    it is not read."""
    cdef Py_ssize_t i, l, N = packed.N, first = net.layers[0].W_in
    cdef real* dr0 = <real*>memory.take(N * net.Sp * sizeof(real))
    cdef real* weights = <real*>memory.take(net.G * net.R * net.Rp * sizeof(real))    # (G R, Rp): outputs as rows
    cdef real* space = <real*>memory.take(n_threads * group_space(net) * sizeof(real))
    cdef Group* groups = <Group*>memory.take((N + n_threads) * sizeof(Group))
    cdef Py_ssize_t n_groups = make_groups(groups, N, n_threads)
    memset(grad + first, 0, (net.size - first) * sizeof(real))
    with nogil:
        if mask != NULL:
            masked_states(net, dr, dr, mask, packed.M, n_threads)
        for l in range(net.L - 1, -1, -1):                    # the top layer first
            layer_gradient(net, &net.layers[l], grad, dr, dr if net.G == 1 else gates, dr0, weights, space, r, theta, x,
                           packed, groups, n_groups, &memory.watch, n_threads)
    for i in range(N):                                        # dr0 = dr^0
        if packed.fresh == NULL or packed.fresh[i]:
            add(grad + net.r0, dr0 + i * net.Sp, net.Sp)
    return memory.leave()


# ---- masks between the states and what the frames read of them ----

cdef void multiply_rows(const Net* net, real* out, const real* rows, const real* mask, Py_ssize_t first,
                        Py_ssize_t n) noexcept nogil:
    """out = rows * mask in the first Rp numbers of n rows; rows, out (M, Sp), mask (M, Rp).  out may be rows."""
    cdef Py_ssize_t i, j
    for i in range(first, first + n):
        for j in range(net.Rp):
            out[i * net.Sp + j] = rows[i * net.Sp + j] * mask[i * net.Rp + j]


cdef void masked_states(const Net* net, real* out, const real* r, const real* mask, Py_ssize_t M,
                        int n_threads) noexcept nogil:
    """out = r * mask, all rows."""
    cdef Py_ssize_t i
    cdef float_mode mode = 0
    with parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        for i in prange(pieces(M, ROWS), schedule="static"):
            multiply_rows(net, out, r, mask, i * ROWS, min(<Py_ssize_t>ROWS, M - i * ROWS))
        set_float_mode(mode)


# ---- one step, its gates cut into pieces: what a draw and a stream take --------------------------------------------

cdef inline Py_ssize_t advance_space(const Net* net, Py_ssize_t n) noexcept nogil:
    return n * (net.Al + net.Gp)


cdef void advance_gates(const Net* net, const Layer* layer, const real* state, real* space, const real* theta,
                        const real* x, Py_ssize_t stride, Py_ssize_t n, Py_ssize_t begin,
                        Py_ssize_t end) noexcept nogil:
    """Some of the gates of a layer that lead from n states (n, Sp) past the frames x (n, X), `stride` numbers apart;
    the layer below is past them.  space: advance_space."""
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(space + i * net.Al + begin, theta + layer.b_r + begin, (end - begin) * sizeof(real))
    product(net.row, space + begin, net.Al, read_by(layer, x, state), 0, stride_by(net, layer, stride), 1,
            theta + layer.W_in + begin, 0, net.Gp, <const real*>NULL, n, end - begin, 1, layer.I)
    add_recurrent(net, layer, space, space + n * net.Al, state + layer.state, net.Sp, theta, n, begin, end)


cdef void advance_states(const Net* net, const Layer* layer, real* state, real* space, Py_ssize_t n) noexcept nogil:
    """What the layer has in state (n, Sp) <- the same after the frames that advance_gates was given."""
    cdef Py_ssize_t i
    cdef real* own = state + layer.state
    for i in range(n):
        cell_forward(net.row, net.cell, own + i * net.Sp, space + i * net.Al, space + n * net.Al + i * net.Gp,
                     own + i * net.Sp, 1, net.R)


cdef void advance(const Net* net, real* state, real* space, const real* theta, const real* x, Py_ssize_t stride,
                  Py_ssize_t n) noexcept nogil:
    """The whole step: n states past their frames."""
    cdef Py_ssize_t l
    for l in range(net.L):
        advance_gates(net, &net.layers[l], state, space, theta, x, stride, n, 0, net.Gp)
        advance_states(net, &net.layers[l], state, space, n)
