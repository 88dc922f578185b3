# ---- what conditioners share: raw outputs from the row of context (5), log-densities from raw outputs (7) -------------
# Panels z (n, P, W) hold the raw outputs of n dimensions, of which the row of context r drives the first Q.  The first F
# are a dimension's own, the others come from its conditioner.

cdef inline Py_ssize_t lanes_for(Py_ssize_t valid, Py_ssize_t W) noexcept nogil:
    """Lanes that a product has to fill for so many frames: all, or the first of the two vectors."""
    return W // 2 if 2 * valid <= W else W


cdef void outputs_of_context(const Net* net, real* z, const real* theta, const real* context_p, Py_ssize_t d,
                             Py_ssize_t n, Py_ssize_t L) noexcept nogil:
    """z_d = b_d + U_d r for n dimensions from d on, in the first L lanes: what the context adds to (5).
    z: (n, P, W)."""
    cdef Py_ssize_t e, W = width_of(net.row, theta), P = net.P, F = net.F, Q = net.Q
    if Q == P or net.C == 0 and F == P:
        product(net.row, z, W, theta + net.U + d * P * net.Cp, 0, net.Cp, 1, context_p, 0, W, theta + net.b + d * P,
                n * P, L, 1, net.C)
        return
    for e in range(n):
        product(net.row, z + e * P * W, W, theta + net.U + (d + e) * Q * net.Cp, 0, net.Cp, 1, context_p, 0, W,
                theta + net.b + (d + e) * F, Q, L, 1, net.C)
        product(net.row, z + (e * P + Q) * W, W, theta, 0, 0, 0, context_p, 0, W, theta + net.b + (d + e) * F + Q,
                F - Q, L, 1, 0)


cdef void outputs_of_drawn_context(const Net* net, real* z, const real* context, const real* theta, Py_ssize_t block,
                                   Py_ssize_t B, Py_ssize_t valid) noexcept nogil:
    """The same in a draw, of a block of dimensions: `valid` sequences of B lanes, or one with the outputs in the lanes.
    z: (D, P, B)."""
    cdef Py_ssize_t P = net.P, F = net.F, Q = net.Q, d = block * net.in_block, n = min(net.in_block, net.D - d), e
    z += d * P * B
    if B > 1:
        outputs_of_context(net, z, theta, context, d, n, lanes_for(valid, B))
        return
    if Q == P:
        memcpy(z, theta + net.b + d * P, n * P * sizeof(real))
        product_one(net.row, z, theta + net.U + d * P * net.Cp, net.Cp, context, n * P, net.C)
        return
    for e in range(n):
        memcpy(z + e * P, theta + net.b + (d + e) * F, F * sizeof(real))
        product_one(net.row, z + e * P, theta + net.U + (d + e) * Q * net.Cp, net.Cp, context, Q, net.C)


cdef void block_log_density(const Net* net, double* frames, double* dims, real* parameters, real* log_density,
                            real* scratch, real* z, const real* theta, const real* x_p, Py_ssize_t d0, Py_ssize_t at,
                            Py_ssize_t valid) noexcept nogil:
    """(6) and (7) of a block of dimensions from d0 on, of a panel whose first frame is `at`, added to frames (M,);
    where they are not NULL, dims (M, D) and conditional parameters (M, D, P).  z: (block, P, W).  x_p: (D, W).
    log_density: (block, W).  scratch: (P, W)."""
    cdef Py_ssize_t d, e, l, k, D = net.D, P = net.P, W = width_of(net.row, theta)
    cdef double sums[MAX_WIDTH]
    cdef double value
    cdef outputs of_d
    memset(sums, 0, sizeof(sums))
    for d in range(d0, min(D, d0 + net.in_block)):
        e = d - d0
        of_d = outputs_at(net, d)
        if parameters != NULL:
            head_link(net.row, net.head, scratch, z + e * P * W, &of_d)
            for l in range(valid):
                for k in range(P):
                    parameters[((at + l) * D + d) * P + k] = scratch[k * W + l]
        head_log_density(net.row, net.head, log_density + e * W, scratch, z + e * P * W, x_p + d * W, &of_d)
        for l in range(valid):
            sums[l] += log_density[e * W + l]
            if dims != NULL:
                dims[(at + l) * D + d] = log_density[e * W + l]
    for l in range(valid):                                    # (1), in double precision: block by block
        if sums[l] < beyond(theta) and net.head < N_FAMILIES:
            sums[l] = 0
            for d in range(d0, min(D, d0 + net.in_block)):
                value = log_density[(d - d0) * W + l]
                if value < beyond(theta):
                    of_d = outputs_at(net, d)
                    value = far_log_density(&of_d, z + (d - d0) * P * W + l, W, x_p[d * W + l])
                sums[l] += value
                if dims != NULL:
                    dims[(at + l) * D + d] = value
        frames[at + l] += sums[l]


# ---- the same lines from the bottom up -------------------------------------------------------------------------------

cdef void outputs_of_context_backward(const Net* net, real* dcontext_p, const real* theta, const real* dz,
                                      Py_ssize_t d, Py_ssize_t n) noexcept nogil:
    """dr += U_d' dz_d for n dimensions from d on.  dcontext_p: (Cp, W).  dz: (n, P, W)."""
    cdef Py_ssize_t W = width_of(net.row, theta), P = net.P, Q = net.Q
    if Q == P:
        product(net.row, dcontext_p, W, theta + net.U + d * P * net.Cp, 0, 1, net.Cp, dz, 0, W, <const real*>NULL,
                net.C, W, 1, n * P)
    else:
        product(net.row, dcontext_p, W, theta + net.U + d * Q * net.Cp, Q * net.Cp, 1, net.Cp, dz, P * W, W,
                <const real*>NULL, net.C, W, n, Q)


cdef inline Py_ssize_t driven_at_once(const Net* net, Py_ssize_t n_outputs) noexcept nogil:
    return equal_pieces(n_outputs, OUTPUTS) if net.Q == net.P else max(net.Q, 1)    # rows of dz next to each other


cdef inline Py_ssize_t pieces_of_U(const Net* net, Py_ssize_t n_outputs, Py_ssize_t W) noexcept nogil:
    return pieces(n_outputs, driven_at_once(net, n_outputs)) * pieces(net.Cp, W) if net.C else 0


cdef void gradient_of_U(const Net* net, real* grad, const real* start, const real* dz, Py_ssize_t of_panel,
                        const real* context, Py_ssize_t d0, Py_ssize_t n_outputs, Py_ssize_t piece,
                        Py_ssize_t n_panels) noexcept nogil:
    """dU += dz r' over the frames of a group, for some of n_outputs driven outputs and one strip of the context; from
    `start` on where it is not NULL.  dz: (n_panels, dims, P, W), of_panel numbers from one panel to the next."""
    cdef Py_ssize_t W = width_of(net.row, grad), strips = pieces(net.Cp, W), size = driven_at_once(net, n_outputs)
    cdef Py_ssize_t m = piece // strips * size, j = piece % strips * W
    product(net.row, grad + net.U + (d0 * net.Q + m) * net.Cp + j, net.Cp,
            dz + m // net.Q * net.P * W + m % net.Q * W, of_panel, W, 1, context + j, W * net.Cs, net.Cs,
            start, min(size, n_outputs - m), min(W, net.Cp - j), n_panels, W)


cdef inline Py_ssize_t pieces_of_W_c(const Net* net, Py_ssize_t n_units, Py_ssize_t W) noexcept nogil:
    return pieces(n_units, equal_pieces(n_units, OUTPUTS)) * pieces(net.Ccp, W) if net.Cc else 0


cdef void gradient_of_W_c(const Net* net, real* grad, const real* da, Py_ssize_t of_panel, const real* context,
                          Py_ssize_t n_units, Py_ssize_t piece, Py_ssize_t n_panels) noexcept nogil:
    """dW_c += da r' over the frames of a group, for some of n_units hidden units and one strip of the context.
    da: (n_panels, n_units, W), of_panel numbers from one panel to the next."""
    cdef Py_ssize_t W = width_of(net.row, grad), strips = pieces(net.Ccp, W)
    cdef Py_ssize_t size = equal_pieces(n_units, OUTPUTS), m = piece // strips * size, j = piece % strips * W
    product(net.row, grad + net.W_c + m * net.Ccp + j, net.Ccp, da + m * W, of_panel, W, 1, context + net.c0 + j,
            W * net.Cs, net.Cs, <const real*>NULL, min(size, n_units - m), min(W, net.Ccp - j), n_panels, W)
