# ---- one frame at a time: what a stream reads ----------------------------------------------------------------------

cdef double frame_score(const Net* net, const Draw* at, double* dims, real* panel, real* state, const real* theta,
                        const real* row) noexcept nogil:
    """Log-density of one row (u, x) of frames of one sequence and of its dimensions, dims (D,); state (Sp,) <- the one after.

    Its parts are those of a draw.  Since all of x is known, the head takes the dimensions into its lanes, at.size of
    the panel on: z (P, W), x, log_density (W), doubles (K); one at a time where each has shapes of its own."""
    cdef Py_ssize_t p, d, l, valid, P = net.P, D = net.D, W = width_of(net.row, theta)
    cdef Py_ssize_t at_once = W if net.at.shapes == NULL else 1
    cdef outputs of_d
    cdef real *z = panel + at.size
    cdef real *x_d = z + P * W
    cdef real *log_density = x_d + W
    cdef const real* x = row + net.given
    cdef double frame = 0, of_block = 0
    frame_past(net, at, panel, state, row, net.X, 1)
    memcpy(panel + at.x, x, D * sizeof(real))
    frame_begin(net, at, panel, state, theta)
    for d in range(pieces(D, net.in_block)):
        frame_context(net, at, panel, state, theta, d, 1)
    for d in range(D):
        frame_outputs(net, at, panel, theta, d, 1)
    for p in range(pieces(D, at_once)):
        d = p * at_once
        valid = min(at_once, D - d)
        of_d = outputs_at(net, d)
        pack(net.row, z, panel + at.z + d * P, P, valid, P)
        memset(x_d, 0, W * sizeof(real))
        memcpy(x_d, x + d, valid * sizeof(real))
        head_log_density(net.row, net.head, log_density, panel + at.scratch, z, x_d, &of_d)
        for l in range(valid):
            dims[d + l] = log_density[l]
            if log_density[l] < beyond(theta) and net.head < N_FAMILIES:
                dims[d + l] = far_dimension(net, <double*>(log_density + W), panel + at.z, x, d + l)
    for d in range(D):                                        # (1), block by block as panels_forward adds them
        of_block += dims[d]
        if d % net.in_block == net.in_block - 1 or d == D - 1:
            frame += of_block
            of_block = 0
    advance(net, state, panel + at.step, theta, row, net.X, 1)
    return frame
