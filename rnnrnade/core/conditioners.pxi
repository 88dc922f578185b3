# ---- the conditioners: how the raw outputs of a dimension come to know the dimensions before it ----------------------
# And the row of context of their frame.  Where the rows come from is not known here: given the rows, all frames are
# independent.  A conditioner is one file beside this one that provides
#
#     ..._forward           log-densities of all frames and of their dimensions, and the conditional parameters
#     ..._gradient          the same log-densities, the gradient of its parameters, and that of the rows of context
#
# and for a draw, dimension by dimension, each given those before it, with B sequences in the lanes or one alone (B = 1)
#
#     ..._draw_size         numbers that it keeps from one dimension to the next
#     ..._draw_begin        the start of a frame
#     ..._draw_outputs      the raw outputs of a dimension, once the dimension before it is known
#     ..._far               a log-density that the kernels cannot hold
#
# added to what the context gives them (outputs.pxi).  Below each of these is chosen by the network.  The first two are
# called by `forward` and `gradient` (_core.pyx), the size by draw_layout, the rest of the draw by frame_begin,
# frame_context and frame_outputs (draws.pxi).  Frames are x (M, D) and context (M, Cs), of which the first C numbers of
# a row are read; its gradient has the same shape, and Cp numbers of a row are written.

cdef int frames_forward(const Net* net, Workspace memory, double* frames, double* dims, real* parameters,
                        const real* theta, const real* x, const real* context, Py_ssize_t M, int n_threads) except -1:
    """Log-densities of frames (M,); where they are not NULL, of dimensions (M, D), and conditional parameters
    (M, D, P)."""
    if net.conditioner == SHARED_MIXTURE:
        return shared_forward(net, memory, frames, dims, parameters, theta, x, context, M, n_threads)
    if net.conditioner == MADE:
        return made_forward(net, memory, frames, dims, parameters, theta, x, context, M, n_threads)
    return nade_forward(net, memory, frames, dims, parameters, theta, x, context, M, n_threads)


cdef int frames_gradient(const Net* net, Workspace memory, real* grad, double* frames, real* dcontext,
                         const real* theta, const real* x, const real* context, const real* weight, Py_ssize_t M,
                         int n_threads) except -1:
    """Log-densities of frames (M,), the same bits as frames_forward, and the gradient of sum_i weight_i log p_i by the
    parameters of the frames, and by context, dcontext.  context: rows up to a multiple of W, zero from M on."""
    if net.conditioner == SHARED_MIXTURE:
        return shared_gradient(net, memory, grad, frames, dcontext, theta, x, context, weight, M, n_threads)
    if net.conditioner == MADE:
        return made_gradient(net, memory, grad, frames, dcontext, theta, x, context, weight, M, n_threads)
    return nade_gradient(net, memory, grad, frames, dcontext, theta, x, context, weight, M, n_threads)


cdef inline Py_ssize_t draw_size(const Net* net, Py_ssize_t B) noexcept nogil:
    """Numbers that a draw keeps from one dimension to the next."""
    if net.conditioner == MADE:
        return made_draw_size(net, B)
    return shared_draw_size(net, B) if net.conditioner == SHARED_MIXTURE else nade_draw_size(net, B)


cdef void draw_begin(const Net* net, real* own, const real* context, const real* theta, Py_ssize_t B) noexcept nogil:
    """The start of a frame.  context: (C, B)."""
    if net.conditioner == MADE:
        made_draw_begin(net, own, context, theta, B)
    else:
        nade_draw_begin(net, own, context, theta, B)         # of shared components: l_1 in the place of a_1


cdef void draw_outputs(const Net* net, real* z, real* own, const real* x, const real* theta, Py_ssize_t d,
                       Py_ssize_t B, Py_ssize_t valid) noexcept nogil:
    """What x_<d adds to the raw outputs of dimension d, into z (D, P, B), the dimensions one after the other.
    x: (D, B), known before d."""
    if net.conditioner == SHARED_MIXTURE:
        shared_draw_outputs(net, z, own, x, theta, d, B, valid)
    elif net.conditioner == MADE:
        made_draw_outputs(net, z, own, x, theta, d, B, valid)
    else:
        nade_draw_outputs(net, z, own, x, theta, d, B, valid)


cdef double far_dimension(const Net* net, double* space, const real* z, const real* x, Py_ssize_t d) noexcept nogil:
    """(7) of dimension d of one frame whose x_d the kernels have found too far from all components, in double precision.
    z: (D, P).  x: (D,).  space: (K)."""
    cdef outputs of_d = outputs_at(net, d)
    if net.conditioner == SHARED_MIXTURE:
        return shared_far(net, space, z, x, 1, d)
    return far_log_density(&of_d, z + d * net.P, 1, x[d])
