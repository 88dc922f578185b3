# ---- latent variables: the nets around y^t, their sequential phase, and back -------------------------------------------
# A latent model is the frames of a conditioner behind rows of context k^t that come from a latent vector y^t (NOTATION
# (V1) to (V6), (S1) to (S4)).  Rows lie step by step: the first frames of all sequences, the longest sequence first, then
# the second frames of those that have one, and so on.  So what is done at one time is a block of rows, the rows of the
# time before are another, and nothing is gathered.
#
# Only what depends on the latent before is sequential.  Features, context, frames, and the gradient of all weights run
# over all rows at once.  With `reads` (VAE, VRNN) prior and encoder read the state, and the recurrence reads the latent;
# else (SRNN) the recurrence runs first, alone, and prior and encoder read the latent before.
#
# Dense layers are rectified.  A net of n_dense layers has rows of n_dense Ep numbers, the first layer in front; what it
# hands on is the last.  A normal has rows of 3 Yp: mean, scale, and the slope of the scale by its raw output.
#
# A matrix (n_in, width), inputs as rows, is read in strips of W outputs.  From one line of a strip to the next lies a
# whole row, often another page of memory: where many rows read it, a copy has each strip's lines one behind the other,
# (n_in, W), at the same place of a block as large as all parameters.

cdef struct Steps:
    # What is read at which time: rows starts[t] ... starts[t + 1] - 1 of M, N of them at t = 0, then ever fewer.
    const int64_t* starts           # (T + 1)
    const uint8_t* fresh            # (N)       sequences that begin in the learned state; NULL: all
    Py_ssize_t N, M, T


cdef struct Rows:
    # Where the arrays of a call begin in its block of reals.  Sizes in numbers of a row.
    Py_ssize_t e, hp, hq, g, k      # Hs        nets
    Py_ssize_t np, nq               # 3 Yp      normals
    Py_ssize_t y, before            # Yp        the latent, and the one before (SRNN)
    Py_ssize_t r, gates             # Sl, Al    (L, M, .): the states that condition a frame; the gates that it leads to
    Py_ssize_t below                # Sl        (L - 1, M, .): what these have read of the layer below
    Py_ssize_t a, a_next, a_gates   # Sl, Al    of the encoder that reads the future
    Py_ssize_t de, dhp, dhq, dg, dk # Hs        their gradients
    Py_ssize_t dnp, dnq             # 2 Yp
    Py_ssize_t dy, dr, da
    Py_ssize_t dy0, da_end          # (N, Yp), (N, Sl)
    Py_ssize_t turned               # weights with outputs as rows
    Py_ssize_t size


cdef inline Py_ssize_t begins(Py_ssize_t* size, Py_ssize_t n) noexcept nogil:
    """Take n numbers: where they begin."""
    cdef Py_ssize_t found = size[0]
    size[0] += pieces(n, 64) * 64
    return found


cdef Rows latent_rows(const Net* net, const Steps* steps, bint backward, Py_ssize_t W) noexcept nogil:
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t M = steps.M, N = steps.N, Hs = lat.Hs, Yp = lat.Yp, i, size = 0
    cdef Py_ssize_t padded_M = pieces(M, W) * W
    cdef bint smooth = net.R and not lat.reads
    cdef Rows at
    memset(&at, 0, sizeof(Rows))
    at.e = begins(&size, M * Hs)
    at.hp = begins(&size, M * Hs)
    at.hq = begins(&size, M * Hs)
    at.g = begins(&size, M * Hs)
    at.k = begins(&size, padded_M * Hs)
    at.np = begins(&size, M * 3 * Yp)
    at.nq = begins(&size, M * 3 * Yp)
    at.y = begins(&size, M * Yp)
    at.before = begins(&size, (M + N) * Yp)
    at.r = begins(&size, net.L * M * net.Sl)
    at.gates = begins(&size, net.L * M * net.Al)
    at.below = begins(&size, (net.L - 1) * M * net.Sl if net.L > 1 else 0)
    at.a = begins(&size, M * net.Sl if smooth else 0)
    at.a_next = begins(&size, M * net.Sl if smooth else 0)
    at.a_gates = begins(&size, M * lat.Ga if smooth else 0)
    if backward:
        at.de = begins(&size, M * Hs)
        at.dhp = begins(&size, M * Hs)
        at.dhq = begins(&size, M * Hs)
        at.dg = begins(&size, M * Hs)
        at.dk = begins(&size, padded_M * Hs)
        at.dnp = begins(&size, M * 2 * Yp)
        at.dnq = begins(&size, M * 2 * Yp)
        at.dy = begins(&size, M * Yp)
        at.dr = begins(&size, net.L * M * net.Sl)
        at.da = begins(&size, M * net.Sl if smooth else 0)
        at.dy0 = begins(&size, N * Yp)
        at.da_end = begins(&size, N * net.Sl if smooth else 0)
    at.size = size
    return at


# ---- dense layers on rows --------------------------------------------------------------------------------------------

cdef inline void dense(const Net* net, real* out, Py_ssize_t of_out, const real* x, Py_ssize_t of_x, const real* W,
                       Py_ssize_t n_in, Py_ssize_t width, Py_ssize_t n) noexcept nogil:
    """out += x W for n rows.  W: (n_in, width), inputs as rows, in strips where net.strips."""
    dense_at(net, out, of_out, x, of_x, W, n_in, width, n, 0)


cdef void dense_at(const Net* net, real* out, Py_ssize_t of_out, const real* x, Py_ssize_t of_x, const real* W,
                   Py_ssize_t n_in, Py_ssize_t width, Py_ssize_t n, Py_ssize_t t) noexcept nogil:
    """The same at time t: a matrix that the cache does not hold is read from its end at every other time, where the
    cache has what was read last."""
    cdef Py_ssize_t strip, j, lanes = width_of(net.row, W), n_strips = pieces(width, lanes)
    if n_in == 0 or n == 0:
        return
    if not net.strips:
        product(net.row, out, of_out, x, 0, of_x, 1, W, 0, width, <const real*>NULL, n, width, 1, n_in)
        return
    for strip in range(n_strips):
        j = (n_strips - 1 - strip if t % 2 else strip) * lanes
        product_far(net.row, out + j, of_out, x, 0, of_x, 1, W + j * n_in, 0, min(lanes, width - j),
                    <const real*>NULL, n, min(lanes, width - j), 1, n_in)


cdef inline void fill(real* rows, Py_ssize_t stride, const real* values, Py_ssize_t n, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        memcpy(rows + i * stride, values, width * sizeof(real))


cdef inline void rectify(real* h, Py_ssize_t stride, Py_ssize_t n, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t i, j
    for i in range(n):
        for j in range(width):
            h[i * stride + j] = h[i * stride + j] if not h[i * stride + j] < 0 else 0       # NaN goes through


cdef inline void rectified(real* dh, const real* h, Py_ssize_t stride, Py_ssize_t n, Py_ssize_t width) noexcept nogil:
    """dh becomes the derivative by what was rectified."""
    cdef Py_ssize_t i, j
    for i in range(n):
        for j in range(width):
            dh[i * stride + j] = dh[i * stride + j] if h[i * stride + j] > 0 else 0


cdef void rise(const Net* net, const Stack* stack, real* h, const real* theta, Py_ssize_t n) noexcept nogil:
    """A net whose first layer holds its sums: h (n, Hs)."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t l, Ep = lat.Ep, Hs = lat.Hs
    rectify(h, Hs, n, Ep)
    for l in range(1, lat.n_dense):
        fill(h + l * Ep, Hs, theta + stack.b[l], n, Ep)
        dense(net, h + l * Ep, Hs, h + (l - 1) * Ep, Hs, theta + stack.W[l], lat.E, Ep, n)
        rectify(h + l * Ep, Hs, n, Ep)


cdef void fall(const Net* net, const real* turned, real* dh, const real* h, Py_ssize_t n) noexcept nogil:
    """From the derivative by the last layer, in its place, to those by the sums of all.  turned: the weights of the
    layers above the first, outputs as rows."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t l, Ep = lat.Ep, Hs = lat.Hs
    for l in range(lat.n_dense - 1, -1, -1):
        rectified(dh + l * Ep, h + l * Ep, Hs, n, Ep)
        if l:
            clear(dh + (l - 1) * Ep, Hs, n, Ep)
            dense(net, dh + (l - 1) * Ep, Hs, dh + l * Ep, Hs, turned + (l - 1) * lat.E * Ep, lat.E, Ep, n)


cdef inline void clear(real* rows, Py_ssize_t stride, Py_ssize_t n, Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        memset(rows + i * stride, 0, width * sizeof(real))


cdef void normal_rows(const Net* net, real* rows, const real* h, Py_ssize_t W, Py_ssize_t b, const real* theta,
                      Py_ssize_t n, real* spare) noexcept nogil:
    """Means, scales and slopes (n, 3 Yp) of normals from the last layer h (n, Hs) of their nets.  spare: (Yp)."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t i, j, Yp = lat.Yp, E = lat.E
    cdef real *raw
    cdef real *slope
    cdef real one, least = <real>lat.least
    fill(rows, 3 * Yp, theta + b, n, 2 * Yp)
    dense(net, rows, 3 * Yp, h + (lat.n_dense - 1) * lat.Ep, lat.Hs, theta + W, E, 2 * Yp, n)
    for i in range(n):
        raw = rows + i * 3 * Yp + Yp
        slope = raw + Yp
        for j in range(Yp):
            slope[j] = -raw[j] if raw[j] > 0 else raw[j]                # - |raw|
        elementwise(net.row, slope, slope, EXPONENTIAL, Yp)
        for j in range(Yp):
            spare[j] = 1 + slope[j]
        elementwise(net.row, spare, spare, LOGARITHM, Yp)
        for j in range(Yp):                                             # log(1 + u) to the last digits of u
            one = (1 + slope[j]) - 1
            spare[j] = spare[j] * (slope[j] / one) if one > 0 else slope[j]
        elementwise(net.row, slope, raw, SIGMOID, Yp)
        for j in range(Yp):
            raw[j] = least + ((raw[j] if not raw[j] < 0 else 0) + spare[j])


# ---- forward ---------------------------------------------------------------------------------------------------------

cdef inline real* layer_rows(const Net* net, const Steps* steps, real* rows, Py_ssize_t l, Py_ssize_t of_row) noexcept nogil:
    return rows + l * steps.M * of_row


cdef inline real* top_rows(const Net* net, const Steps* steps, real* r) noexcept nogil:
    """States of the layer that others read."""
    return r + (net.L - 1) * steps.M * net.Sl


cdef inline Py_ssize_t at_time(const Steps* steps, Py_ssize_t t, const Group* group) noexcept nogil:
    """Members of a group that have a frame at time t: they come first."""
    if t >= steps.T:
        return 0
    return max(<Py_ssize_t>0, min(group.n, <Py_ssize_t>(steps.starts[t + 1] - steps.starts[t]) - group.first))


cdef void features_forward(const Net* net, const Rows* at, real* block, const real* theta, const real* x,
                           Py_ssize_t i, Py_ssize_t n) noexcept nogil:
    """e^t, and what it gives to the sums of the others, for rows i ... i + n - 1."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t Hs = lat.Hs, Ep = lat.Ep
    cdef real *e = block + at.e + i * Hs
    cdef const real *top = e + (lat.n_dense - 1) * Ep
    fill(e, Hs, theta + lat.features.b[0], n, Ep)
    dense(net, e, Hs, x + i * net.D, net.D, theta + lat.F_x, net.D, Ep, n)
    rise(net, &lat.features, e, theta, n)
    if net.R:
        fill(block + at.gates + i * net.Al, net.Al, theta + net.layers[0].b_r, n, net.Gp)
        dense(net, block + at.gates + i * net.Al, net.Al, top, Hs, theta + net.layers[0].W_in, lat.E, net.Gp, n)
    if lat.reads:
        fill(block + at.hq + i * Hs, Hs, theta + lat.encoder.b[0], n, Ep)
        dense(net, block + at.hq + i * Hs, Hs, top, Hs, theta + lat.Q_x, lat.E, Ep, n)
        if lat.prior:
            fill(block + at.hp + i * Hs, Hs, theta + lat.prior_net.b[0], n, Ep)


cdef void gates_of_a(const Net* net, const Rows* at, const Steps* steps, real* block, const real* theta, Py_ssize_t i,
                     Py_ssize_t n) noexcept nogil:
    """What state and features give to `a` (S2); without the future that is all of it."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t width = net.Gp if lat.smooth else net.Rp, row
    cdef real *gates = block + at.a_gates + i * lat.Ga
    fill(gates, lat.Ga, theta + lat.b_a, n, width)
    dense(net, gates, lat.Ga, top_rows(net, steps, block + at.r) + i * net.Sl, net.Sl, theta + lat.A_in, net.R, width, n)
    dense(net, gates, lat.Ga, block + at.e + i * lat.Hs + (lat.n_dense - 1) * lat.Ep, lat.Hs,
          theta + lat.A_in + net.R * width, lat.E, width, n)
    if not lat.smooth:
        for row in range(n):
            elementwise(net.row, block + at.a + (i + row) * net.Sl, gates + row * lat.Ga, TANH, net.Rp)


cdef void sums_of_a(const Net* net, const Rows* at, const Steps* steps, real* block, const real* theta, Py_ssize_t i,
                    Py_ssize_t n) noexcept nogil:
    """What is known of the sums of prior and encoder before any latent (SRNN)."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t Hs = lat.Hs, Ep = lat.Ep
    fill(block + at.hp + i * Hs, Hs, theta + lat.prior_net.b[0], n, Ep)
    dense(net, block + at.hp + i * Hs, Hs, top_rows(net, steps, block + at.r) + i * net.Sl, net.Sl, theta + lat.P_r,
          net.R, Ep, n)
    fill(block + at.hq + i * Hs, Hs, theta + lat.encoder.b[0], n, Ep)
    dense(net, block + at.hq + i * Hs, Hs, block + at.a + i * net.Sl, net.Sl, theta + lat.Q_a, net.R, Ep, n)


cdef void recur(const Net* net, const Rows* at, const Steps* steps, real* block, real* last, real* space,
                const real* theta, Py_ssize_t t, const Group* group) noexcept nogil:
    """The states after the frames of a group at time t (V6): to the rows of the next time, and of sequences that end to
    `last` (N, Zp) where it is not NULL.  space: group_space for one layer more."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t l, i, n = at_time(steps, t, group), n_next = at_time(steps, t + 1, group), Sl = net.Sl
    cdef Py_ssize_t m = steps.starts[t] + group.first, next_row = steps.starts[t + 1] + group.first
    cdef real *after = space
    cdef real *below = after + LOCKSTEP * Sl
    cdef real *recurrent = below + LOCKSTEP * Sl
    cdef real *gates
    cdef real *state_before
    cdef real *swap
    cdef const Layer* layer
    if last == NULL:
        n = n_next
    if n == 0:
        return
    for l in range(net.L):
        layer = &net.layers[l]
        gates = layer_rows(net, steps, block + at.gates, l, net.Al) + m * net.Al
        if l:
            fill(gates, net.Al, theta + layer.b_r, n, net.Gp)
            dense(net, gates, net.Al, below, Sl, theta + layer.W_in, layer.I, net.Gp, n)
            memcpy(layer_rows(net, steps, block + at.below, l - 1, Sl) + m * Sl, below, n * Sl * sizeof(real))
        elif lat.reads:
            dense_at(net, gates, net.Al, block + at.g + m * lat.Hs + (lat.n_dense - 1) * lat.Ep, lat.Hs,
                     theta + layer.W_in + lat.E * net.Gp, lat.E, net.Gp, n, t)
        state_before = layer_rows(net, steps, block + at.r, l, Sl) + m * Sl
        if net.separate_recurrent:
            clear(recurrent, net.Gp, n, net.Gp)
            dense_at(net, recurrent, net.Gp, state_before, Sl, theta + layer.W_rec, net.R, net.Gp, n, t)
        else:
            dense_at(net, gates, net.Al, state_before, Sl, theta + layer.W_rec, net.R, net.Gp, n, t)
        cell_forward(net.row, net.cell, after, gates, recurrent, state_before, n, net.R)
        memcpy(layer_rows(net, steps, block + at.r, l, Sl) + next_row * Sl, after, n_next * Sl * sizeof(real))
        for i in range(n_next, n):
            memcpy(last + (group.first + i) * net.Zp + layer.state, after + i * Sl, Sl * sizeof(real))
        swap = below
        below = after
        after = swap


cdef void prior_rows(const Net* net, const Rows* at, const Steps* steps, real* block, const real* theta, Py_ssize_t m,
                     Py_ssize_t n, real* spare) noexcept nogil:
    """The prior (V1, S1) of n rows from m on."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t i, j, Hs = lat.Hs, Yp = lat.Yp
    cdef real *hp = block + at.hp + m * Hs
    cdef real *np = block + at.np + m * 3 * Yp
    if not lat.prior:
        for i in range(n):
            memset(np + i * 3 * Yp, 0, 3 * Yp * sizeof(real))
            for j in range(Yp):
                np[i * 3 * Yp + Yp + j] = 1
        return
    if lat.reads:
        dense(net, hp, Hs, top_rows(net, steps, block + at.r) + m * net.Sl, net.Sl, theta + lat.P_r, net.R, lat.Ep, n)
    else:
        dense(net, hp, Hs, block + at.before + m * Yp, Yp, theta + lat.P_y, lat.Y, lat.Ep, n)
    rise(net, &lat.prior_net, hp, theta, n)
    normal_rows(net, np, hp, lat.N_p, lat.n_p, theta, n, spare)


cdef void encoder_rows(const Net* net, const Rows* at, const Steps* steps, real* block, const real* theta, Py_ssize_t m,
                       Py_ssize_t n, real* spare) noexcept nogil:
    """The encoder (V2, S3)."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t i, j, Hs = lat.Hs, Yp = lat.Yp
    cdef real *hq = block + at.hq + m * Hs
    cdef real *np = block + at.np + m * 3 * Yp
    cdef real *nq = block + at.nq + m * 3 * Yp
    if lat.reads:
        dense(net, hq, Hs, top_rows(net, steps, block + at.r) + m * net.Sl, net.Sl, theta + lat.Q_r, net.R, lat.Ep, n)
    else:
        dense(net, hq, Hs, block + at.before + m * Yp, Yp, theta + lat.Q_y, lat.Y, lat.Ep, n)
    rise(net, &lat.encoder, hq, theta, n)
    normal_rows(net, nq, hq, lat.N_q, lat.n_q, theta, n, spare)
    if lat.residual:
        for i in range(n):
            for j in range(lat.Y):
                nq[i * 3 * Yp + j] += np[i * 3 * Yp + j]


cdef void latent_rows_of(const Net* net, const Rows* at, real* block, const real* theta, const real* normals,
                         const real* noise, const real* given, Py_ssize_t m, Py_ssize_t n) noexcept nogil:
    """The latent (V3) of n rows from m on, given, or drawn from normals (n, 3 Yp) with noise, both (M, Y); and its
    features."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t i, j, Y = lat.Y, Yp = lat.Yp
    cdef real *y = block + at.y + m * Yp
    for i in range(n):
        for j in range(Y):
            if given != NULL:
                y[i * Yp + j] = given[(m + i) * Y + j]
            else:
                y[i * Yp + j] = normals[i * 3 * Yp + j] + normals[i * 3 * Yp + Yp + j] * noise[(m + i) * Y + j]
        for j in range(Y, Yp):
            y[i * Yp + j] = 0
    if lat.reads:
        fill(block + at.g + m * lat.Hs, lat.Hs, theta + lat.latent.b[0], n, lat.Ep)
        dense(net, block + at.g + m * lat.Hs, lat.Hs, y, Yp, theta + lat.F_y, Y, lat.Ep, n)
        rise(net, &lat.latent, block + at.g + m * lat.Hs, theta, n)


cdef void infer(const Net* net, const Rows* at, const Steps* steps, real* block, const real* theta, const real* noise,
                const real* given, bint infers, Py_ssize_t m, Py_ssize_t n, real* spare) noexcept nogil:
    """Prior and encoder, if `infers`, and latent of n rows from m on."""
    if infers and net.latents.Y:
        prior_rows(net, at, steps, block, theta, m, n, spare)
        encoder_rows(net, at, steps, block, theta, m, n, spare)
    latent_rows_of(net, at, block, theta, block + at.nq + m * 3 * net.latents.Yp, noise, given, m, n)


cdef void contexts(const Net* net, const Rows* at, const Steps* steps, real* block, const real* theta, Py_ssize_t i,
                   Py_ssize_t n) noexcept nogil:
    """k^t (V4, S4)."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t Hs = lat.Hs, Ep = lat.Ep
    cdef real *k = block + at.k + i * Hs
    fill(k, Hs, theta + lat.context.b[0], n, Ep)
    if lat.reads:
        dense(net, k, Hs, block + at.g + i * Hs + (lat.n_dense - 1) * Ep, Hs, theta + lat.C_y, lat.E, Ep, n)
    else:
        dense(net, k, Hs, block + at.y + i * lat.Yp, lat.Yp, theta + lat.C_y, lat.Y, Ep, n)
    dense(net, k, Hs, top_rows(net, steps, block + at.r) + i * net.Sl, net.Sl, theta + lat.C_r, net.R, Ep, n)
    rise(net, &lat.context, k, theta, n)


cdef inline Py_ssize_t latent_space(const Net* net) noexcept nogil:
    return LOCKSTEP * (2 * net.Sl + net.Gp + net.Sl) + net.latents.Yp + LOCKSTEP * net.Gp


cdef void group_recur(const Net* net, const Rows* at, const Steps* steps, real* block, real* last, real* space,
                      const real* theta, const Group* group, Watch* watch) noexcept nogil:
    """The recurrence alone (SRNN)."""
    cdef Py_ssize_t t = 0
    while at_time(steps, t, group) > 0 and not interrupted(watch):
        recur(net, at, steps, block, last, space, theta, t, group)
        t += 1


cdef void group_smooth(const Net* net, const Rows* at, const Steps* steps, real* block, real* space, const real* theta,
                       const Group* group, Watch* watch) noexcept nogil:
    """a^t from a^{t+1} (S2)."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t t, i, n, n_next, m, Sl = net.Sl
    cdef real *recurrent = space
    cdef real *sums
    cdef real *after
    for t in range(steps.T - 1, -1, -1):
        n = at_time(steps, t, group)
        if n == 0 or interrupted(watch):
            continue
        n_next = at_time(steps, t + 1, group)
        m = steps.starts[t] + group.first
        after = block + at.a_next + m * Sl
        memcpy(after, block + at.a + (steps.starts[t + 1] + group.first) * Sl, n_next * Sl * sizeof(real))
        fill(after + n_next * Sl, Sl, theta + lat.a_end, n - n_next, Sl)
        sums = block + at.a_gates + m * lat.Ga
        if net.separate_recurrent:
            clear(recurrent, net.Gp, n, net.Gp)
            dense_at(net, recurrent, net.Gp, after, Sl, theta + lat.A_rec, net.R, net.Gp, n, t)
        else:
            dense_at(net, sums, lat.Ga, after, Sl, theta + lat.A_rec, net.R, net.Gp, n, t)
        cell_forward(net.row, net.cell, block + at.a + m * Sl, sums, recurrent, after, n, net.R)


cdef void group_infer(const Net* net, const Rows* at, const Steps* steps, real* block, real* last, real* space,
                      const real* theta, const real* noise, const real* given, bint infers, const Group* group,
                      Watch* watch) noexcept nogil:
    """The sequential phase of a group."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t t = 0, i, n, n_next, m, Yp = lat.Yp
    cdef real *spare = space + LOCKSTEP * (3 * net.Sl + net.Gp)
    while not interrupted(watch):
        n = at_time(steps, t, group)
        if n == 0:
            break
        n_next = at_time(steps, t + 1, group)
        m = steps.starts[t] + group.first
        infer(net, at, steps, block, theta, noise, given, infers, m, n, spare)
        if lat.reads:
            if net.R:
                recur(net, at, steps, block, last, space, theta, t, group)
        else:
            memcpy(block + at.before + (steps.starts[t + 1] + group.first) * Yp, block + at.y + m * Yp,
                   n_next * Yp * sizeof(real))
            if last != NULL:
                for i in range(n_next, n):
                    memcpy(last + (group.first + i) * net.Zp + net.Sp, block + at.y + (m + i) * Yp, Yp * sizeof(real))
        t += 1


cdef void first_rows(const Net* net, const Rows* at, const Steps* steps, real* block, const real* theta,
                     const real* initial) noexcept nogil:
    """The states and latents before the first frames: learned, or initial (N, Zp)."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t s, l
    cdef const real* row
    for s in range(steps.N):
        row = theta + net.r0 if steps.fresh == NULL or steps.fresh[s] else initial + s * net.Zp
        for l in range(net.L):
            memcpy(layer_rows(net, steps, block + at.r, l, net.Sl) + s * net.Sl, row + net.layers[l].state,
                   net.Sl * sizeof(real))
        if not lat.reads:
            memcpy(block + at.before + s * lat.Yp, row + net.Sp, lat.Yp * sizeof(real))


cdef int latent_forward_rows(const Net* net, Workspace memory, const Rows* at, const Steps* steps, real* block, real* last,
                             const real* theta, const real* x, const real* noise, const real* given,
                             const real* initial, bint infers, bint frames, Py_ssize_t W, int n_threads) except -1:
    """All rows up to those of context: with `infers` of prior and encoder, with `frames` of context."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t i, g, M = steps.M, n_groups
    cdef Watch* watch = &memory.watch
    cdef float_mode mode = 0
    cdef Py_ssize_t of_thread = pieces(latent_space(net), 64) * 64
    cdef real* space = <real*>memory.take(n_threads * of_thread * sizeof(real))
    cdef Group* groups = <Group*>memory.take((steps.N + n_threads) * sizeof(Group))
    n_groups = make_groups(groups, steps.N, n_threads)
    first_rows(net, at, steps, block, theta, initial)
    if net.L > 1:                                               # what the last states would read
        memset(block + at.below, 0, (net.L - 1) * M * net.Sl * sizeof(real))
    memset(block + at.k + M * lat.Hs, 0, (pieces(M, W) * W - M) * lat.Hs * sizeof(real))
    with nogil, parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        if threadid() == 0:
            watch.team = omp_get_num_threads()
        for i in prange(pieces(M, ROWS), schedule="static"):
            if not interrupted(watch):
                features_forward(net, at, block, theta, x, i * ROWS, min(<Py_ssize_t>ROWS, M - i * ROWS))
        if not lat.reads:
            for g in prange(n_groups, schedule="dynamic", chunksize=1):
                group_recur(net, at, steps, block, last, space + threadid() * of_thread, theta, groups + g, watch)
            for i in prange(pieces(M, ROWS) if infers and lat.Y else 0, schedule="static"):
                gates_of_a(net, at, steps, block, theta, i * ROWS, min(<Py_ssize_t>ROWS, M - i * ROWS))
            if infers and lat.smooth and lat.Y:
                for g in prange(n_groups, schedule="dynamic", chunksize=1):
                    group_smooth(net, at, steps, block, space + threadid() * of_thread, theta, groups + g, watch)
            for i in prange(pieces(M, ROWS) if infers and lat.Y else 0, schedule="static"):
                sums_of_a(net, at, steps, block, theta, i * ROWS, min(<Py_ssize_t>ROWS, M - i * ROWS))
        for g in prange(n_groups, schedule="dynamic", chunksize=1):
            group_infer(net, at, steps, block, last, space + threadid() * of_thread, theta, noise, given, infers,
                        groups + g, watch)
        for i in prange(pieces(M, ROWS) if frames else 0, schedule="static"):
            if not interrupted(watch):
                contexts(net, at, steps, block, theta, i * ROWS, min(<Py_ssize_t>ROWS, M - i * ROWS))
        set_float_mode(mode)
    return memory.leave()


cdef void divergences(const Net* net, const Rows* at, const real* block, double* divergence, double* of_numbers,
                      double* ratio, const real* noise, const real* given, Py_ssize_t M) noexcept nogil:
    """Of each row: the divergence of encoder from prior (B1), of all numbers and, where of_numbers (M, Y) is not NULL, of
    each; and log p(y) - log q(y) (B3)."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t i, j, Y = lat.Y, Yp = lat.Yp
    cdef const real *np
    cdef const real *nq
    cdef double mp, sp, mq, sq, y, u, v, one
    for i in range(M):
        np, nq = block + at.np + i * 3 * Yp, block + at.nq + i * 3 * Yp
        divergence[i] = ratio[i] = 0
        for j in range(Y):
            mp, sp, mq, sq, y = np[j], np[Yp + j], nq[j], nq[Yp + j], block[at.y + i * Yp + j]
            one = log(sp / sq) + (sq * sq + (mq - mp) * (mq - mp)) / (2 * sp * sp) - 0.5
            divergence[i] += one
            if of_numbers != NULL:
                of_numbers[i * Y + j] = one
            u, v = (y - mp) / sp, (y - mq) / sq
            if given == NULL:
                v = noise[i * Y + j]
            ratio[i] += log(sq / sp) + 0.5 * (v * v - u * u)


# ---- back ------------------------------------------------------------------------------------------------------------

cdef struct Turned:
    # Where weights with outputs as rows begin in the block.
    Py_ssize_t F_y, P, Q, N_p, N_q, C_y, C_r                   # P, Q: of what is read in the sequential phase
    Py_ssize_t P_r, Q_e, A_r, A_e, A_rec                       # and of what is read before
    Py_ssize_t W_e, W_y, W_rec, W_in                           # of the first layer by e and g; of all layers; of those above
    Py_ssize_t features, latent, prior_net, encoder, context   # layers above the first


cdef Py_ssize_t turn(real* block, Py_ssize_t* size, const Net* net, const real* W, Py_ssize_t n_in, Py_ssize_t n_out,
                     Py_ssize_t width) noexcept nogil:
    """W (n_in, width) with its outputs as rows, (n_out, n_in padded), in strips; where it begins.  Without block only
    its size."""
    cdef Py_ssize_t p = padded(n_in), found = begins(size, n_out * p)
    if block != NULL:
        turn_to(net, block + found, W, n_in, n_out, width)
    return found


cdef void turn_to(const Net* net, real* out, const real* W, Py_ssize_t n_in, Py_ssize_t n_out,
                  Py_ssize_t width) noexcept nogil:
    cdef Py_ssize_t strip, i, l, first, n, p = padded(n_in), lanes = width_of(net.row, W)
    for strip in range(pieces(p, lanes)):
        first = strip * lanes
        n = min(lanes, p - first)
        if n == lanes:
            pack(net.row, out, W + first * width, width, min(lanes, n_in - first), n_out)
        else:
            for i in range(n_out):
                for l in range(n):
                    out[i * n + l] = W[(first + l) * width + i] if first + l < n_in else 0
        out += n_out * n


cdef Py_ssize_t turn_stack(real* block, Py_ssize_t* size, const Net* net, const Stack* stack,
                           const real* theta) noexcept nogil:
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t l, found = begins(size, (lat.n_dense - 1) * lat.E * lat.Ep)
    if block != NULL:
        for l in range(1, lat.n_dense):
            turn_to(net, block + found + (l - 1) * lat.E * lat.Ep, theta + stack.W[l], lat.E, lat.E, lat.Ep)
    return found


cdef Turned turn_weights(real* block, Py_ssize_t* size, const Net* net, const real* theta) noexcept nogil:
    """All weights that the way back reads, behind `size` numbers of the block."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t l, E = lat.E, Ep = lat.Ep, Y = lat.Y, R = net.R, Gp = net.Gp, GR = net.G * net.R
    cdef Py_ssize_t of_a = GR if lat.smooth else R, width_a = Gp if lat.smooth else net.Rp
    cdef Py_ssize_t W_in = net.layers[0].W_in if net.L else 0
    cdef Turned at
    cdef bint srnn = not lat.reads
    at.F_y = turn(block, size, net, theta + lat.F_y, Y if lat.reads else 0, E, Ep)
    at.P = turn(block, size, net, theta + (lat.P_y if srnn else lat.P_r), (Y if srnn else R) if lat.prior else 0, E, Ep)
    at.Q = turn(block, size, net, theta + (lat.Q_y if srnn else lat.Q_r), Y if srnn else R, E, Ep)
    at.N_p = turn(block, size, net, theta + lat.N_p, E if lat.prior else 0, 2 * lat.Yp, 2 * lat.Yp)
    at.N_q = turn(block, size, net, theta + lat.N_q, E, 2 * lat.Yp, 2 * lat.Yp)
    at.C_y = turn(block, size, net, theta + lat.C_y, Y if srnn else E, E, Ep)
    at.C_r = turn(block, size, net, theta + lat.C_r, R, E, Ep)
    at.P_r = turn(block, size, net, theta + lat.P_r, R if srnn else 0, E, Ep)
    at.Q_e = turn(block, size, net, theta + (lat.Q_a if srnn else lat.Q_x), R if srnn else E, E, Ep)
    at.A_r = turn(block, size, net, theta + lat.A_in, R if srnn else 0, of_a, width_a)
    at.A_e = turn(block, size, net, theta + lat.A_in + R * width_a, E if srnn else 0, of_a, width_a)
    at.A_rec = turn(block, size, net, theta + lat.A_rec, R if lat.smooth else 0, GR, Gp)
    at.features = turn_stack(block, size, net, &lat.features, theta)
    at.latent = turn_stack(block, size, net, &lat.latent, theta)
    at.prior_net = turn_stack(block, size, net, &lat.prior_net, theta)
    at.encoder = turn_stack(block, size, net, &lat.encoder, theta)
    at.context = turn_stack(block, size, net, &lat.context, theta)
    at.W_e = turn(block, size, net, theta + W_in, E if net.L else 0, GR, Gp)
    at.W_y = turn(block, size, net, theta + W_in + E * Gp, E if net.L and lat.reads else 0, GR, Gp)
    at.W_rec = at.W_in = size[0]
    for l in range(net.L):
        turn(block, size, net, theta + net.layers[l].W_rec, R, GR, Gp)
    at.W_in = size[0]
    for l in range(1, net.L):
        turn(block, size, net, theta + net.layers[l].W_in, R, GR, Gp)
    return at


cdef inline Py_ssize_t turned_layer(const Net* net, Py_ssize_t first, Py_ssize_t l) noexcept nogil:
    return first + l * pieces(net.G * net.R * net.Rp, 64) * 64


cdef void contexts_backward(const Net* net, const Rows* at, const Turned* by, const Steps* steps, real* block,
                            Py_ssize_t i, Py_ssize_t n) noexcept nogil:
    """From dk^t, in the last layer of its rows, to what latent and state get of it."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t Hs = lat.Hs, Ep = lat.Ep, top = (lat.n_dense - 1) * Ep
    cdef real *dk = block + at.dk + i * Hs
    cdef real *dr
    fall(net, block + by.context, dk, block + at.k + i * Hs, n)
    if lat.reads:
        clear(block + at.dg + i * Hs + top, Hs, n, Ep)
        dense(net, block + at.dg + i * Hs + top, Hs, dk, Hs, block + by.C_y, lat.E, Ep, n)
    else:
        clear(block + at.dy + i * lat.Yp, lat.Yp, n, lat.Yp)
        dense(net, block + at.dy + i * lat.Yp, lat.Yp, dk, Hs, block + by.C_y, lat.E, lat.Yp, n)
    if net.R:
        dr = top_rows(net, steps, block + at.dr) + i * net.Sl
        dense(net, dr, net.Sl, dk, Hs, block + by.C_r, lat.E, net.Rp, n)


cdef void recur_back(const Net* net, const Rows* at, const Turned* by, const Steps* steps, real* block, real* space,
                     Py_ssize_t t, const Group* group) noexcept nogil:
    """Back from the states after the frames at time t to those before, to the latent that the recurrence read, and to
    the gates, which become the derivatives by W_in x + b_r."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t l, i, n = at_time(steps, t, group), n_next = at_time(steps, t + 1, group)
    cdef Py_ssize_t Sl = net.Sl, Al = net.Al, Gp = net.Gp, GR = net.G * net.R
    cdef Py_ssize_t m = steps.starts[t] + group.first, next_row = steps.starts[t + 1] + group.first
    cdef real *dr
    cdef real *r
    cdef real *gates
    cdef real *through
    cdef Py_ssize_t of_through
    for l in range(net.L - 1, -1, -1):
        dr = layer_rows(net, steps, block + at.dr, l, Sl)
        r = layer_rows(net, steps, block + at.r, l, Sl)
        gates = layer_rows(net, steps, block + at.gates, l, Al) + m * Al
        clear(gates + n_next * Al, Al, n - n_next, Al)          # the last state predicts nothing
        for i in range(n_next):
            cell_backward(net.row, net.cell, dr + (m + i) * Sl, gates + i * Al, dr + (next_row + i) * Sl,
                          r + (next_row + i) * Sl, r + (m + i) * Sl, net.R)
        through, of_through = gates, Al
        if net.separate_recurrent:
            through, of_through = space, Gp
            for i in range(n_next):
                memcpy(space + i * Gp, gates + i * Al, Gp * sizeof(real))
                recurrent_part(net, space + i * Gp, gates + i * Al)
        dense_at(net, dr + m * Sl, Sl, through, of_through, block + turned_layer(net, by.W_rec, l), GR, net.Rp, n_next,
                 t)
        if l:
            dense(net, layer_rows(net, steps, block + at.dr, l - 1, Sl) + next_row * Sl, Sl, gates, Al,
                  block + turned_layer(net, by.W_in, l - 1), GR, net.Rp, n_next)
        elif lat.reads:                                         # the latent's half of W_in
            dense_at(net, block + at.dg + m * lat.Hs + (lat.n_dense - 1) * lat.Ep, lat.Hs, gates, Al, block + by.W_y,
                     GR, lat.Ep, n_next, t)


cdef void infer_back(const Net* net, const Rows* at, const Turned* by, const Steps* steps, real* block,
                     const real* noise, const real* press, const real* of_numbers, bint sampled, Py_ssize_t m,
                     real* dy_before, Py_ssize_t n) noexcept nogil:
    """From the derivative by latent (dy) or its features (dg) of n rows from m on to the sums of prior and encoder, and
    on to what these have read in the sequential phase: the state, or the latent before, dy_before (n, Yp).

    press (M,): how the divergence of a row weighs (beta times the row's weight); of_numbers (Y): and each latent number.
    sampled: not the divergence but log p(y) - log q(y) (B3)."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t i, j, Hs = lat.Hs, Ep = lat.Ep, Y = lat.Y, Yp = lat.Yp, top = (lat.n_dense - 1) * lat.Ep
    cdef real *dy = block + at.dy + m * Yp
    cdef real *dhp = block + at.dhp + m * Hs
    cdef real *dhq = block + at.dhq + m * Hs
    cdef real *dg = block + at.dg + m * Hs
    cdef real *np
    cdef real *nq
    cdef real *dnp
    cdef real *dnq
    cdef real c, d, u, mp, sp, sq, dmp, dsp, dmq, dsq
    if lat.reads:
        fall(net, block + by.latent, dg, block + at.g + m * Hs, n)
        clear(dy, Yp, n, Yp)
        dense(net, dy, Yp, dg, Hs, block + by.F_y, lat.E if Y else 0, Yp, n)
    if Y == 0:
        return
    for i in range(n):
        np, nq = block + at.np + (m + i) * 3 * Yp, block + at.nq + (m + i) * 3 * Yp
        dnp, dnq = block + at.dnp + (m + i) * 2 * Yp, block + at.dnq + (m + i) * 2 * Yp
        memset(dnp, 0, 2 * Yp * sizeof(real))
        memset(dnq, 0, 2 * Yp * sizeof(real))
        for j in range(Y):
            c = press[m + i] * of_numbers[j]
            mp, sp, sq = np[j], np[Yp + j], nq[Yp + j]
            if sampled:
                u = (block[at.y + (m + i) * Yp + j] - mp) / sp
                dmp = c * u / sp
                dsp = c * (u * u - 1) / sp
                dmq = dy[i * Yp + j] - c * u / sp
                dsq = dmq * noise[(m + i) * Y + j] + c / sq
            else:
                d = nq[j] - mp
                dmp = c * d / (sp * sp)
                dsp = c * ((sq * sq + d * d) / (sp * sp) - 1) / sp
                dmq = dy[i * Yp + j] - c * d / (sp * sp)
                dsq = dy[i * Yp + j] * noise[(m + i) * Y + j] + c * (1 / sq - sq / (sp * sp))
            if lat.residual:
                dmp = dmp + dmq
            dnp[j], dnp[Yp + j] = dmp, dsp * np[2 * Yp + j]
            dnq[j], dnq[Yp + j] = dmq, dsq * nq[2 * Yp + j]
    clear(dhq + top, Hs, n, Ep)
    dense(net, dhq + top, Hs, block + at.dnq + m * 2 * Yp, 2 * Yp, block + by.N_q, 2 * Yp, Ep, n)
    fall(net, block + by.encoder, dhq, block + at.hq + m * Hs, n)
    if lat.prior:
        clear(dhp + top, Hs, n, Ep)
        dense(net, dhp + top, Hs, block + at.dnp + m * 2 * Yp, 2 * Yp, block + by.N_p, 2 * Yp, Ep, n)
        fall(net, block + by.prior_net, dhp, block + at.hp + m * Hs, n)
    if lat.reads and net.R:
        dy = top_rows(net, steps, block + at.dr) + m * net.Sl
        dense(net, dy, net.Sl, dhq, Hs, block + by.Q, lat.E, net.Rp, n)
        if lat.prior:
            dense(net, dy, net.Sl, dhp, Hs, block + by.P, lat.E, net.Rp, n)
    elif not lat.reads:
        dense(net, dy_before, Yp, dhq, Hs, block + by.Q, lat.E, Yp, n)
        dense(net, dy_before, Yp, dhp, Hs, block + by.P, lat.E, Yp, n)


cdef void group_back(const Net* net, const Rows* at, const Turned* by, const Steps* steps, real* block, real* space,
                     const real* noise, const real* press, const real* of_numbers, bint sampled, const Group* group,
                     Watch* watch) noexcept nogil:
    """The sequential phase back through time."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t t, n, m, before
    for t in range(steps.T - 1, -1, -1):
        n = at_time(steps, t, group)
        if n == 0 or interrupted(watch):
            continue
        m = steps.starts[t] + group.first
        if lat.reads and net.R:
            recur_back(net, at, by, steps, block, space, t, group)
        before = at.dy + (steps.starts[t - 1] + group.first) * lat.Yp if t else at.dy0 + group.first * lat.Yp
        infer_back(net, at, by, steps, block, noise, press, of_numbers, sampled, m, block + before, n)


cdef void of_a_backward(const Net* net, const Rows* at, const Turned* by, const Steps* steps, real* block, Py_ssize_t i,
                        Py_ssize_t n) noexcept nogil:
    """From the sums of prior and encoder to `a` and the state (SRNN)."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t row, j, Hs = lat.Hs, Sl = net.Sl
    cdef real u
    cdef real *da = block + at.da + i * Sl
    cdef real *gates = block + at.a_gates + i * lat.Ga
    clear(da, Sl, n, Sl)
    dense(net, da, Sl, block + at.dhq + i * Hs, Hs, block + by.Q_e, lat.E, net.Rp, n)
    dense(net, top_rows(net, steps, block + at.dr) + i * Sl, Sl, block + at.dhp + i * Hs, Hs, block + by.P_r, lat.E,
          net.Rp, n)
    if not lat.smooth:                                          # a = tanh(.): the derivative by its sums
        for row in range(n):
            for j in range(net.Rp):
                u = block[at.a + (i + row) * Sl + j]
                gates[row * lat.Ga + j] = da[row * Sl + j] * (1 - u * u)


cdef void group_smooth_back(const Net* net, const Rows* at, const Turned* by, const Steps* steps, real* block,
                            real* space, const Group* group, Watch* watch) noexcept nogil:
    """`a` ran back in time, so its gradient runs forwards."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t t = 0, i, n, n_next, m, next_row, Sl = net.Sl, Ga = lat.Ga, Gp = net.Gp, GR = net.G * net.R
    cdef real *gates
    cdef real *through
    cdef real *dnext
    cdef Py_ssize_t of_through
    while not interrupted(watch):
        n = at_time(steps, t, group)
        if n == 0:
            break
        n_next = at_time(steps, t + 1, group)
        m, next_row = steps.starts[t] + group.first, steps.starts[t + 1] + group.first
        gates = block + at.a_gates + m * Ga
        for i in range(n):
            dnext = block + at.da + (next_row + i) * Sl if i < n_next else block + at.da_end + (group.first + i) * Sl
            cell_backward(net.row, net.cell, dnext, gates + i * Ga, block + at.da + (m + i) * Sl,
                          block + at.a + (m + i) * Sl, block + at.a_next + (m + i) * Sl, net.R)
        through, of_through = gates, Ga
        if net.separate_recurrent:
            through, of_through = space, Gp
            for i in range(n):
                memcpy(space + i * Gp, gates + i * Ga, Gp * sizeof(real))
                recurrent_part(net, space + i * Gp, gates + i * Ga)
        dense_at(net, block + at.da + next_row * Sl, Sl, through, of_through, block + by.A_rec, GR, net.Rp, n_next, t)
        dense(net, block + at.da_end + (group.first + n_next) * Sl, Sl, through + n_next * of_through, of_through,
              block + by.A_rec, GR, net.Rp, n - n_next)
        t += 1


cdef void group_recur_back(const Net* net, const Rows* at, const Turned* by, const Steps* steps, real* block,
                           real* space, const Group* group, Watch* watch) noexcept nogil:
    """The recurrence alone (SRNN)."""
    cdef Py_ssize_t t
    for t in range(steps.T - 1, -1, -1):
        if at_time(steps, t, group) and not interrupted(watch):
            recur_back(net, at, by, steps, block, space, t, group)


cdef void through_a(const Net* net, const Rows* at, const Turned* by, const Steps* steps, real* block, Py_ssize_t i,
                    Py_ssize_t n) noexcept nogil:
    """From the sums of `a` to the state."""
    cdef const Latents* lat = net.latents
    dense(net, top_rows(net, steps, block + at.dr) + i * net.Sl, net.Sl, block + at.a_gates + i * lat.Ga, lat.Ga,
          block + by.A_r, net.G * net.R if lat.smooth else net.R, net.Rp, n)


cdef void features_backward(const Net* net, const Rows* at, const Turned* by, const Steps* steps, real* block,
                            Py_ssize_t i, Py_ssize_t n) noexcept nogil:
    """What the features get of all that has read them, and the sums of their layers."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t Hs = lat.Hs, Ep = lat.Ep
    cdef real *de = block + at.de + i * Hs
    cdef real *top = de + (lat.n_dense - 1) * Ep
    clear(top, Hs, n, Ep)
    if lat.reads and lat.Y:
        dense(net, top, Hs, block + at.dhq + i * Hs, Hs, block + by.Q_e, lat.E, Ep, n)
    elif lat.Y:
        dense(net, top, Hs, block + at.a_gates + i * lat.Ga, lat.Ga, block + by.A_e,
              net.G * net.R if lat.smooth else net.R, Ep, n)
    if net.R:
        dense(net, top, Hs, block + at.gates + i * net.Al, net.Al, block + by.W_e, net.G * net.R, Ep, n)
    fall(net, block + by.features, de, block + at.e + i * Hs, n)


# ---- the gradient of the weights: every element owned by one thread, rows in ascending order ---------------------------

cdef struct Weights:
    # W (n_in, width) of out = x W + b; b: its place, or -1.  x, d: where inputs and derivatives begin in the block, and
    # from one row to the next.  x < 0: the frames.  Each of its pieces has some of its strips.
    Py_ssize_t W, b, n_in, width, x, of_x, d, of_d
    Py_ssize_t first, pieces


cdef enum:
    MOST_WEIGHTS = 64 + 2 * 100 + 6 * DEPTH
    INPUTS = 64 * 1024              # numbers that a piece of the gradient reads at a time


cdef void put_weights(Weights* all_, Py_ssize_t* n, Py_ssize_t W, Py_ssize_t b, Py_ssize_t n_in, Py_ssize_t width,
                      Py_ssize_t x, Py_ssize_t of_x, Py_ssize_t d, Py_ssize_t of_d) noexcept nogil:
    cdef Weights* one = all_ + n[0]
    one.W, one.b, one.n_in, one.width, one.x, one.of_x, one.d, one.of_d = W, b, n_in, width, x, of_x, d, of_d
    n[0] += 1


cdef void put_net(const Net* net, Weights* all_, Py_ssize_t* n, const Stack* stack, Py_ssize_t h,
                  Py_ssize_t dh) noexcept nogil:
    """The bias of a net's first layer, and the layers above."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t l, Ep = lat.Ep, Hs = lat.Hs
    put_weights(all_, n, 0, stack.b[0], 0, Ep, h, Hs, dh, Hs)
    for l in range(1, lat.n_dense):
        put_weights(all_, n, stack.W[l], stack.b[l], lat.E, Ep, h + (l - 1) * Ep, Hs, dh + l * Ep, Hs)


cdef Py_ssize_t list_weights(const Net* net, const Rows* at, const Steps* steps, Weights* found) noexcept nogil:
    """All but those that read W_rec r^{t-1} separately."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t n = 0, l, Hs = lat.Hs, Ep = lat.Ep, E = lat.E, Y = lat.Y, Yp = lat.Yp, R = net.R, Sl = net.Sl
    cdef Py_ssize_t top = (lat.n_dense - 1) * Ep, r = at.r + (net.L - 1) * steps.M * Sl, gates
    cdef Py_ssize_t width_a = net.Gp if lat.smooth else net.Rp
    put_net(net, found, &n, &lat.features, at.e, at.de)
    put_weights(found, &n, lat.F_x, -1, net.D, Ep, -1, net.D, at.de, Hs)
    put_net(net, found, &n, &lat.context, at.k, at.dk)
    put_weights(found, &n, lat.C_y, -1, E if lat.reads else Y, Ep, at.g + top if lat.reads else at.y,
                Hs if lat.reads else Yp, at.dk, Hs)
    put_weights(found, &n, lat.C_r, -1, R, Ep, r, Sl, at.dk, Hs)
    if lat.reads:
        put_net(net, found, &n, &lat.latent, at.g, at.dg)
        put_weights(found, &n, lat.F_y, -1, Y, Ep, at.y, Yp, at.dg, Hs)
    if Y:
        put_net(net, found, &n, &lat.encoder, at.hq, at.dhq)
        put_weights(found, &n, lat.N_q, lat.n_q, E, 2 * Yp, at.hq + top, Hs, at.dnq, 2 * Yp)
        if lat.reads:
            put_weights(found, &n, lat.Q_x, -1, E, Ep, at.e + top, Hs, at.dhq, Hs)
            put_weights(found, &n, lat.Q_r, -1, R, Ep, r, Sl, at.dhq, Hs)
        else:
            put_weights(found, &n, lat.Q_a, -1, R, Ep, at.a, Sl, at.dhq, Hs)
            put_weights(found, &n, lat.Q_y, -1, Y, Ep, at.before, Yp, at.dhq, Hs)
        if lat.prior:
            put_net(net, found, &n, &lat.prior_net, at.hp, at.dhp)
            put_weights(found, &n, lat.N_p, lat.n_p, E, 2 * Yp, at.hp + top, Hs, at.dnp, 2 * Yp)
            put_weights(found, &n, lat.P_r, -1, R, Ep, r, Sl, at.dhp, Hs)
            if not lat.reads:
                put_weights(found, &n, lat.P_y, -1, Y, Ep, at.before, Yp, at.dhp, Hs)
    for l in range(net.L):
        gates = at.gates + l * steps.M * net.Al
        if l:
            put_weights(found, &n, net.layers[l].W_in, net.layers[l].b_r, R, net.Gp,
                        at.below + (l - 1) * steps.M * Sl, Sl, gates, net.Al)
        else:
            put_weights(found, &n, net.layers[0].W_in, net.layers[0].b_r, E, net.Gp, at.e + top, Hs, gates, net.Al)
        if not net.separate_recurrent:
            put_weights(found, &n, net.layers[l].W_rec, -1, R, net.Gp, at.r + l * steps.M * Sl, Sl, gates, net.Al)
        if l == 0 and lat.reads:
            put_weights(found, &n, net.layers[0].W_in + E * net.Gp, -1, E, net.Gp, at.g + top, Hs, gates, net.Al)
    if net.R and not lat.reads and Y:
        put_weights(found, &n, lat.A_in, lat.b_a, R, width_a, r, Sl, at.a_gates, lat.Ga)
        put_weights(found, &n, lat.A_in + R * width_a, -1, E, width_a, at.e + top, Hs, at.a_gates, lat.Ga)
        if lat.smooth and not net.separate_recurrent:
            put_weights(found, &n, lat.A_rec, -1, R, net.Gp, at.a_next, Sl, at.a_gates, lat.Ga)
    return n


cdef Py_ssize_t list_recurrent(const Net* net, const Rows* at, const Steps* steps, Weights* found) noexcept nogil:
    """Those, once the gates hold the derivative by that product."""
    cdef Py_ssize_t n = 0, l, Sl = net.Sl
    for l in range(net.L if net.separate_recurrent else 0):
        put_weights(found, &n, net.layers[l].W_rec, -1, net.R, net.Gp, at.r + l * steps.M * Sl, Sl,
                    at.gates + l * steps.M * net.Al, net.Al)
    if net.separate_recurrent and net.latents.smooth and net.latents.Y:
        put_weights(found, &n, net.latents.A_rec, -1, net.R, net.Gp, at.a_next, Sl, at.a_gates, net.latents.Ga)
    return n


cdef Py_ssize_t cut_weights(Weights* all_, Py_ssize_t n, Py_ssize_t W, int n_threads) noexcept nogil:
    """The pieces of all."""
    cdef Py_ssize_t i, total = 0
    for i in range(n):
        all_[i].first, all_[i].pieces = total, min(<Py_ssize_t>n_threads, pieces(all_[i].width, W))
        total += all_[i].pieces
    return total


cdef inline Py_ssize_t rows_side_by_side(Py_ssize_t n_in, Py_ssize_t W) noexcept nogil:
    """Rows, whole panels, that a piece takes at a time, so that what is read of them stays in the second cache."""
    return max(<Py_ssize_t>1, min(4 * ROWS, INPUTS // max(<Py_ssize_t>1, n_in)) // W) * W


cdef Py_ssize_t gradient_space(const Weights* all_, Py_ssize_t n, Py_ssize_t W) noexcept nogil:
    cdef Py_ssize_t i, most = 0
    for i in range(n):
        most = max(most, rows_side_by_side(all_[i].n_in, W) * (all_[i].n_in + W))
    return most


cdef void gradient_of_dense(const Net* net, const Weights* all_, Py_ssize_t n, real* grad, const real* block, const real* x,
                           real* space, Py_ssize_t piece, Py_ssize_t M) noexcept nogil:
    """dW += x' d and db += d over all rows, for some strips.  space: gradient_space."""
    cdef Py_ssize_t k = 0, i, j, strip, begin, end, here, whole, lanes, rows, row = 0, W = width_of(net.row, block)
    cdef const Weights* one
    cdef const real* read
    cdef const real* d
    cdef real unit = 1
    cdef real* d_strip                                          # (rows, lanes)
    while k + 1 < n and all_[k + 1].first <= piece:
        k += 1
    one = all_ + k
    piece -= one.first
    begin, end = pieces(one.width, W) * piece // one.pieces, pieces(one.width, W) * (piece + 1) // one.pieces
    rows, read = rows_side_by_side(one.n_in, W), x if one.x < 0 else block + one.x
    d_strip = space + rows * one.n_in                           # behind x as panels, (n_in, W) each
    while row < M:
        here = min(rows, M - row)
        whole = here // W
        d = block + one.d + row * one.of_d
        if one.b >= 0:
            product(net.row, grad + one.b + begin * W, one.width, &unit, 0, 0, 0, d + begin * W, 0, one.of_d,
                    <const real*>NULL, 1, min(end * W, one.width) - begin * W, 1, here)
        for i in range(pieces(here, W) if one.n_in else 0):
            pack(net.row, space + i * W * one.n_in, read + (row + i * W) * one.of_x, one.of_x, min(W, here - i * W),
                 one.n_in)
        for strip in range(begin, end if one.n_in else begin):
            j = strip * W
            lanes = min(W, one.width - j)
            for i in range(here):
                memcpy(d_strip + i * lanes, d + i * one.of_d + j, lanes * sizeof(real))
            product(net.row, grad + one.W + j, one.width, space, W * one.n_in, W, 1, d_strip, W * lanes, lanes,
                    <const real*>NULL, one.n_in, lanes, whole, W)
            product(net.row, grad + one.W + j, one.width, space + whole * W * one.n_in, 0, W, 1,
                    d_strip + whole * W * lanes, 0, lanes, <const real*>NULL, one.n_in, lanes, 1, here - whole * W)
        row += here


cdef const real* in_strips(const Net* net, Workspace memory, const Rows* at, const Steps* steps, const real* theta,
                           int n_threads) except NULL:
    """A copy of the parameters around the latent vector whose matrices lie in strips."""
    cdef Py_ssize_t i, n
    cdef real* copy = <real*>memory.take(net.size * sizeof(real))
    cdef Weights* all_ = <Weights*>memory.take(MOST_WEIGHTS * sizeof(Weights))
    n = list_weights(net, at, steps, all_)
    n += list_recurrent(net, at, steps, all_ + n)
    memcpy(copy, theta, net.size * sizeof(real))
    with nogil, parallel(num_threads=n_threads):
        for i in prange(n, schedule="dynamic", chunksize=1):
            matrix_in_strips(net, copy, theta, all_ + i)
    return copy


cdef void matrix_in_strips(const Net* net, real* copy, const real* theta, const Weights* one) noexcept nogil:
    cdef Py_ssize_t strip, i, j, lanes, W = width_of(net.row, theta)
    cdef real* out = copy + one.W
    for strip in range(pieces(one.width, W) if one.n_in else 0):
        j = strip * W
        lanes = min(W, one.width - j)
        for i in range(one.n_in):
            memcpy(out, theta + one.W + i * one.width + j, lanes * sizeof(real))
            out += lanes


cdef int latent_backward(const Net* net, Workspace memory, const Rows* at, const Turned* by, const Steps* steps,
                         real* block, real* grad, const real* theta, const real* x, const real* noise,
                         const real* press, const real* of_numbers, bint sampled, int n_threads) except -1:
    """From dk^t, in the last layer of its rows, to the gradient of all parameters but those of the frames."""
    cdef const Latents* lat = net.latents
    cdef Py_ssize_t i, l, g, s, n, n_groups, n_pieces, M = steps.M, N = steps.N
    cdef Py_ssize_t of_thread, n_rows = pieces(M, ROWS), W = width_of(net.row, theta)
    cdef Watch* watch = &memory.watch
    cdef float_mode mode = 0
    cdef bint alone = net.R and not lat.reads, encodes = alone and lat.Y
    cdef real* space
    cdef Group* groups = <Group*>memory.take((N + n_threads) * sizeof(Group))
    cdef Weights* all_ = <Weights*>memory.take(MOST_WEIGHTS * sizeof(Weights))
    cdef Weights* recurrent = all_                              # those of W_rec taken separately
    cdef Py_ssize_t n_recurrent
    n_groups = make_groups(groups, N, n_threads)
    memset(block + at.dr, 0, net.L * M * net.Sl * sizeof(real))
    memset(block + at.dy0, 0, N * lat.Yp * sizeof(real))
    if alone:
        memset(block + at.da_end, 0, N * net.Sl * sizeof(real))
    n = list_weights(net, at, steps, all_)
    n_recurrent, recurrent = list_recurrent(net, at, steps, all_ + n), all_ + n
    of_thread = pieces(max(LOCKSTEP * net.Gp, gradient_space(all_, n + n_recurrent, W)), 64) * 64
    space = <real*>memory.take(n_threads * of_thread * sizeof(real))
    n_pieces = cut_weights(all_, n, W, n_threads)
    with nogil, parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        for i in prange(n_rows, schedule="static"):
            if not interrupted(watch):
                contexts_backward(net, at, by, steps, block, i * ROWS, min(<Py_ssize_t>ROWS, M - i * ROWS))
        for g in prange(n_groups, schedule="dynamic", chunksize=1):
            group_back(net, at, by, steps, block, space + threadid() * of_thread, noise, press, of_numbers, sampled,
                       groups + g, watch)
        if encodes:
            for i in prange(n_rows, schedule="static"):
                of_a_backward(net, at, by, steps, block, i * ROWS, min(<Py_ssize_t>ROWS, M - i * ROWS))
            if lat.smooth:
                for g in prange(n_groups, schedule="dynamic", chunksize=1):
                    group_smooth_back(net, at, by, steps, block, space + threadid() * of_thread, groups + g, watch)
            for i in prange(n_rows, schedule="static"):
                through_a(net, at, by, steps, block, i * ROWS, min(<Py_ssize_t>ROWS, M - i * ROWS))
        if alone:
            for g in prange(n_groups, schedule="dynamic", chunksize=1):
                group_recur_back(net, at, by, steps, block, space + threadid() * of_thread, groups + g, watch)
        for i in prange(n_rows, schedule="static"):
            if not interrupted(watch):
                features_backward(net, at, by, steps, block, i * ROWS, min(<Py_ssize_t>ROWS, M - i * ROWS))
        for i in prange(n_pieces, schedule="dynamic", chunksize=1):
            if not interrupted(watch):
                gradient_of_dense(net, all_, n, grad, block, x, space + threadid() * of_thread, i, M)
        set_float_mode(mode)
    if net.separate_recurrent:
        n_pieces = cut_weights(recurrent, n_recurrent, W, n_threads)
        with nogil, parallel(num_threads=n_threads):
            mode = subnormals_as_zero()
            for i in prange(net.L * M, schedule="static"):
                recurrent_part(net, block + at.gates + i * net.Al, block + at.gates + i * net.Al)
            if encodes and lat.smooth:
                for i in prange(M, schedule="static"):
                    recurrent_part(net, block + at.a_gates + i * lat.Ga, block + at.a_gates + i * lat.Ga)
            for i in prange(n_pieces, schedule="dynamic", chunksize=1):
                if not interrupted(watch):
                    gradient_of_dense(net, recurrent, n_recurrent, grad, block, x, space + threadid() * of_thread, i, M)
            set_float_mode(mode)
    for s in range(N):                                          # the learned beginnings and ends
        if steps.fresh == NULL or steps.fresh[s]:
            for l in range(net.L):
                add(grad + net.r0 + net.layers[l].state, block + at.dr + (l * M + s) * net.Sl, net.Sl)
            if alone and lat.Y:
                add(grad + lat.y0, block + at.dy0 + s * lat.Yp, lat.Yp)
        if encodes and lat.smooth:
            add(grad + lat.a_end, block + at.da_end + s * net.Sl, net.Sl)
    return memory.leave()
