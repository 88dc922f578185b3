# ---- the conditioner of the MADE: dense layers whose masks hide what comes later ------------------------------------
# What a conditioner provides and who calls it stands in conditioners.pxi.  A hidden unit of degree m reads the first m
# dimensions: of x itself those, of the layer below the units of degree at most m; the raw outputs of dimension d, counted
# from 0, read units of degree at most d.  Units stand by ascending degree, so that each reads a front of what lies below
# it, and is read by an end of what lies above.  What a row does not read is zero in parameters and gradient.
#
#     (3')  a^1 = c + W x (+ W_c r),   h^1 = s(a^1);    a^l = c_l + W_l h^{l-1},   h^l = s(a^l)
#     (5')  z_d = V_d' h^L + b_d (+ U_d r) (+ A_d x)
#
# Only what is read is multiplied (panels in the lanes, BESIDE rows at once: their common front together, then each the
# rest of its own), so nothing of a later dimension, were it not a number, comes into an earlier one.  A unit of degree m
# is final once m dimensions are known: a draw takes each unit when the first dimension that reads it is due, and costs
# one pass in all.

cdef enum:
    BESIDE = 6                      # rows that read a common front at once
    TOGETHER = 48                   # raw outputs of one product with the last layer, about
    SIDE_BY_SIDE = 6                # panels whose rows a product of the gradient reads: the first cache holds them
    BACKWARD = 24                   # units of a layer whose derivatives are worked out at once

cdef Py_ssize_t LAYERS = 640 * 1024 # bytes of the panels that one thread takes through the layers side by side


cdef inline const int64_t* read_by_outputs(const Net* net) noexcept nogil:
    """(D,): units of the last layer that the raw outputs of a dimension read."""
    return net.dense[net.n_dense - 1].until + 1


cdef inline Py_ssize_t all_units(const Net* net) noexcept nogil:
    cdef Py_ssize_t l, n = 0
    for l in range(net.n_dense):
        n += net.dense[l].H
    return n


cdef inline Py_ssize_t dims_together(const Net* net) noexcept nogil:
    """Dimensions, whole blocks, whose raw outputs are worked out at once."""
    return net.in_block * max(<Py_ssize_t>1, TOGETHER // (net.in_block * net.P))


cdef inline Py_ssize_t units_below(const Net* net, Py_ssize_t layer) noexcept nogil:
    """Units of all layers below one."""
    cdef Py_ssize_t l, n = 0
    for l in range(layer):
        n += net.dense[l].H
    return n


# ---- forward --------------------------------------------------------------------------------------------------------

cdef void read_fronts(const Net* net, real* out, const real* A, Py_ssize_t width, const int64_t* reads,
                      const real* read, Py_ssize_t n, Py_ssize_t rows, Py_ssize_t L) noexcept nogil:
    """out += A read, over the first reads[i] numbers for row i, in L lanes.  `rows` rows of A have each of the n ascending
    `reads` in common.  out: (n, rows, W).  A: (n, rows, width).  read: (., W)."""
    cdef Py_ssize_t i, end = 0, front = 0, W = width_of(net.row, A)
    cdef Py_ssize_t beside = max(<Py_ssize_t>1, BESIDE // max(<Py_ssize_t>1, rows))
    for i in range(n):
        if i == end:
            end, front = min(n, end + beside), 0
        if reads[i] > front:                                  # what this row and those beside it read, and none before
            product(net.row, out + i * rows * W, W, A + i * rows * width + front, 0, width, 1, read + front * W, 0, W,
                    <const real*>NULL, (end - i) * rows, L, 1, reads[i] - front)
            front = reads[i]


cdef void units_forward(const Net* net, real* h, const real* theta, const real* read, const real* context_p,
                        Py_ssize_t layer, Py_ssize_t i, Py_ssize_t n, Py_ssize_t L) noexcept nogil:
    """(3') of n units of a layer from unit i on.  h: (n, W).  read: the layer below, or x."""
    cdef Py_ssize_t W = width_of(net.row, theta)
    cdef const Dense* at = &net.dense[layer]
    product(net.row, h, W, theta + net.W_c + (i * net.Ccp if layer == 0 else 0), 0, net.Ccp, 1, context_p + net.c0 * W, 0,
            W, theta + at.c + i, n, L, 1, net.Cc if layer == 0 else 0)
    read_fronts(net, h, theta + at.W + i * at.width, at.width, at.reads + i, read, n, 1, L)
    hidden_forward(net.row, h, h, h, <const real*>NULL, theta, 1, net.activation, n, L)


cdef void outputs_forward(const Net* net, real* z, const real* theta, const real* h, const real* x_p,
                          const real* context_p, Py_ssize_t d, Py_ssize_t n, Py_ssize_t L) noexcept nogil:
    """(5') of n dimensions from d on.  z: (n, P, W).  h: the last layer."""
    cdef Py_ssize_t block, e, W = width_of(net.row, theta), J = net.J, P = net.P
    cdef Py_ssize_t step = n if J == P else 1                # dimensions whose driven outputs lie side by side
    outputs_of_context(net, z, theta, context_p, d, n, L)
    for block in range(pieces(n, step)):
        e = block * step
        read_fronts(net, z + e * P * W, theta + net.V + (d + e) * J * net.Hp, net.Hp, read_by_outputs(net) + d + e, h,
                    step, J, L)
        if net.direct:
            read_fronts(net, z + e * P * W, theta + net.A + (d + e) * J * net.Dp, net.Dp, net.counts + d + e, x_p,
                        step, J, L)


cdef void made_panels_forward(const Net* net, double* frames, double* dims, real* parameters, real* space,
                              const real* theta, const real* x, const real* context, Py_ssize_t first, Py_ssize_t end,
                              Watch* watch) noexcept nogil:
    """Log-densities of frames first ... end - 1, a few units at a time, so that their weights serve all of the panels
    from the cache.  dims (M, D) and parameters (M, D, P) where they are not NULL."""
    cdef Py_ssize_t D = net.D, C = net.C, P = net.P, W = width_of(net.row, theta), n = pieces(end - first, W)
    cdef Py_ssize_t units = all_units(net), p, d, e, i, l, at, valid, below, block, together = dims_together(net)
    cdef real *x_p = space                                    # (n, D, W)
    cdef real *context_p = x_p + n * D * W                    # (n, C, W)
    cdef real *h = context_p + n * C * W                      # (n, units, W)
    cdef real *z = h + n * units * W                          # (together, P, W)
    cdef real *scratch = z + together * P * W                 # (P, W)
    cdef real *log_density = scratch + P * W                  # (block, W)
    for p in range(n):
        at = first + p * W
        valid = min(W, end - at)
        pack(net.row, x_p + p * D * W, x + at * D, D, valid, D)
        if C:
            pack(net.row, context_p + p * C * W, context + at * net.Cs, net.Cs, valid, C)
        for l in range(valid):
            frames[at + l] = 0
    for l in range(net.n_dense):
        below = units_below(net, l)
        for block in range(pieces(net.dense[l].H, BESIDE)):
            i = block * BESIDE
            if interrupted(watch):
                return
            for p in range(n):
                units_forward(net, h + (p * units + below + i) * W, theta,
                              x_p + p * D * W if l == 0 else h + (p * units + below - net.dense[l - 1].H) * W,
                              context_p + p * C * W, l, i, min(<Py_ssize_t>BESIDE, net.dense[l].H - i),
                              lanes_for(min(W, end - first - p * W), W))
    below = units - net.dense[net.n_dense - 1].H
    for block in range(pieces(D, together)):
        d = block * together
        if interrupted(watch):
            return
        for p in range(n):
            at = first + p * W
            valid = min(W, end - at)
            outputs_forward(net, z, theta, h + (p * units + below) * W, x_p + p * D * W, context_p + p * C * W, d,
                            min(together, D - d), lanes_for(valid, W))
            for i in range(pieces(min(together, D - d), net.in_block)):
                e = i * net.in_block
                block_log_density(net, frames, dims, parameters, log_density, scratch, z + e * P * W, theta,
                                  x_p + p * D * W, d + e, at, valid)


cdef int made_forward(const Net* net, Workspace memory, double* frames, double* dims, real* parameters,
                      const real* theta, const real* x, const real* context, Py_ssize_t M, int n_threads) except -1:
    cdef Py_ssize_t W = width_of(net.row, theta), of_panel = (net.D + net.C + all_units(net)) * W, of_thread, g
    cdef Py_ssize_t at_once = max(1, LAYERS // <Py_ssize_t>(of_panel * sizeof(real)))
    cdef Py_ssize_t halves = pieces(2 * M, W)
    cdef Py_ssize_t n_groups = min(halves, pieces(pieces(M, at_once * W), n_threads) * n_threads)
    cdef real* buffers
    cdef Watch* watch = &memory.watch
    cdef float_mode mode = 0
    at_once = pieces(pieces(halves, n_groups), 2)             # as many half panels in each group
    of_thread = pieces(at_once * of_panel + ((dims_together(net) + 1) * net.P + net.in_block) * W, 64) * 64
    buffers = <real*>memory.take(n_threads * of_thread * sizeof(real))
    with nogil, parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        if threadid() == 0:
            watch.team = omp_get_num_threads()
        for g in prange(n_groups, schedule="static"):
            made_panels_forward(net, frames, dims, parameters, buffers + threadid() * of_thread, theta, x, context,
                                halves * g // n_groups * W // 2, min(M, halves * (g + 1) // n_groups * W // 2), watch)
        set_float_mode(mode)
    return memory.leave()


# ---- backward: the same lines from the bottom up ---------------------------------------------------------------------

cdef struct MadePanel:
    # What a panel keeps from phase A to phase B, in one piece of `size` reals: where each array begins.
    Py_ssize_t x                  # (D, W)
    Py_ssize_t context            # (C, W)
    Py_ssize_t weight             # (W)
    Py_ssize_t h                  # (units, W)              of all layers
    Py_ssize_t dz                 # (D, P, W)
    Py_ssize_t driven             # (D, J, W)               those of them that h drives; dz itself where all are
    Py_ssize_t da                 # (units, W)
    Py_ssize_t dcontext           # (Cp, W)
    Py_ssize_t sums               # (blocks, W)             log-densities of blocks of dimensions, doubles
    Py_ssize_t rows               # (strips, W, W)          x, then each layer, with the frames as rows, in strips of W
    Py_ssize_t size, strips


cdef inline Py_ssize_t strips_below(const Net* net, Py_ssize_t layer, Py_ssize_t W) noexcept nogil:
    """Strips before those of the numbers that a layer reads; behind the last stand those that the outputs read."""
    cdef Py_ssize_t l, n = 0
    for l in range(layer):
        n += pieces(net.dense[l].width, W)
    return n


cdef MadePanel made_panel_layout(const Net* net, Py_ssize_t W) noexcept nogil:
    cdef MadePanel at
    cdef Py_ssize_t units = all_units(net)
    at.strips = strips_below(net, net.n_dense, W) + pieces(net.Hp, W)
    at.x = 0
    at.context = at.x + net.D * W
    at.weight = at.context + net.C * W
    at.h = at.weight + W
    at.dz = at.h + units * W
    at.driven = at.dz if net.J == net.P else at.dz + net.D * net.P * W
    at.da = at.driven + net.D * (net.P if net.J == net.P else net.J) * W
    at.dcontext = at.da + units * W
    at.sums = padded(at.dcontext + net.Cp * W)
    at.rows = at.sums + 2 * pieces(net.D, net.in_block) * W  # a double takes the place of two floats at most
    at.size = padded(at.rows + at.strips * W * W)
    return at


cdef void made_panel_start(const Net* net, const MadePanel* at, real* panel, const real* x, const real* context,
                           const real* weight, Py_ssize_t first, Py_ssize_t valid) noexcept nogil:
    """x, context, weights of a panel's frames, x as rows, and zeros where derivatives are summed and in padding."""
    cdef Py_ssize_t l, j, W = width_of(net.row, panel)
    pack(net.row, panel + at.x, x + first * net.D, net.D, valid, net.D)
    if net.C:
        pack(net.row, panel + at.context, context + first * net.Cs, net.Cs, valid, net.C)
    pack(net.row, panel + at.weight, weight + first, 1, valid, 1)
    memset(panel + at.da, 0, (at.sums - at.da) * sizeof(real))
    memset(panel + at.rows, 0, at.strips * W * W * sizeof(real))
    for j in range(pieces(net.D, W)):
        for l in range(valid):
            memcpy(panel + at.rows + (j * W + l) * W, x + (first + l) * net.D + j * W,
                   min(W, net.D - j * W) * sizeof(real))


cdef void dimensions_backward(const Net* net, const MadePanel* at, real* panel, real* space, const real* theta,
                              Py_ssize_t d) noexcept nogil:
    """(6), (7) and dz of a block of dimensions from d on; the sum of its log-densities as block_log_density adds."""
    cdef Py_ssize_t e, l, W = width_of(net.row, theta), P = net.P, J = net.J, n = min(net.in_block, net.D - d)
    cdef real* dz = panel + at.dz + d * P * W
    cdef real* scratch = space                                # (P, W)
    cdef real* log_density = space + P * W                    # (W)
    cdef double* sums = <double*>(panel + at.sums) + d // net.in_block * W
    cdef outputs of_d
    memset(sums, 0, W * sizeof(double))
    for e in range(n):
        of_d = outputs_at(net, d + e)
        head_gradient(net.row, net.head, log_density, scratch, dz + e * P * W, panel + at.x + (d + e) * W,
                      panel + at.weight, &of_d)
        for l in range(W):
            sums[l] += log_density[l]
        if J < P:
            memcpy(panel + at.driven + (d + e) * J * W, dz + e * P * W, J * W * sizeof(real))
    if net.C:
        outputs_of_context_backward(net, panel + at.dcontext, theta, dz, d, n)                 # dr += U_d' dz


cdef void units_backward(const Net* net, const MadePanel* at, real* panel, real* space, const real* theta,
                         Py_ssize_t layer, Py_ssize_t i, Py_ssize_t n) noexcept nogil:
    """da of n units of a layer from unit i on: dh = W' da of what reads them (the end that reads the first of them: what
    does not read a unit has the weight zero), da = dh * s'(a)."""
    cdef Py_ssize_t W = width_of(net.row, theta), below = units_below(net, layer), begin
    cdef const Dense* own = &net.dense[layer]
    cdef const Dense* above = own + 1
    cdef real* h = panel + at.h + (below + i) * W
    cdef real* da = panel + at.da + (below + i) * W
    if layer == net.n_dense - 1:
        begin = own.degree[i] * net.J
        hidden_backward(net.row, da, space, h, h, panel + at.driven + begin * W, panel + at.weight,
                        theta + net.V + begin * net.Hp + i, net.Hp, 1, net.activation, n, net.D * net.J - begin)
    else:
        begin = above.until[own.degree[i]]
        hidden_backward(net.row, da, space, h, h, panel + at.da + (below + own.H + begin) * W, panel + at.weight,
                        theta + above.W + begin * above.width + i, above.width, 1, net.activation, n, above.H - begin)


cdef void made_panels_backward(const Net* net, const MadePanel* at, real* panels, real* space, const real* theta,
                               Py_ssize_t first, Py_ssize_t end, Watch* watch) noexcept nogil:
    """Phase A of some panels: forward, then dz, da, dr, a few rows at a time for all of them."""
    cdef Py_ssize_t p, l, i, n, below, block, W = width_of(net.row, theta), together = dims_together(net)
    cdef real* panel
    for l in range(net.n_dense):
        below = units_below(net, l)
        for block in range(pieces(net.dense[l].H, BESIDE)):
            i = block * BESIDE
            if interrupted(watch):
                return
            for p in range(first, end):
                panel = panels + p * at.size
                units_forward(net, panel + at.h + (below + i) * W, theta,
                              panel + at.x if l == 0 else panel + at.h + (below - net.dense[l - 1].H) * W,
                              panel + at.context, l, i, min(<Py_ssize_t>BESIDE, net.dense[l].H - i), W)
        for p in range(first, end):
            panel = panels + p * at.size
            for i in range(pieces(net.dense[l].H, W)):
                unpack(net.row, panel + at.rows + (strips_below(net, l + 1, W) + i) * W * W, W, W,
                       panel + at.h + (below + i * W) * W, min(W, net.dense[l].H - i * W))
    below = all_units(net) - net.dense[net.n_dense - 1].H
    for block in range(pieces(net.D, together)):
        i = block * together
        n = min(together, net.D - i)
        if interrupted(watch):
            return
        for p in range(first, end):
            panel = panels + p * at.size
            outputs_forward(net, panel + at.dz + i * net.P * W, theta, panel + at.h + below * W, panel + at.x,
                            panel + at.context, i, n, W)                                        # (5')
            for l in range(pieces(n, net.in_block)):
                dimensions_backward(net, at, panel, space, theta, i + l * net.in_block)
    for l in range(net.n_dense - 1, -1, -1):
        for block in range(pieces(net.dense[l].H, BACKWARD)):
            i = block * BACKWARD
            if interrupted(watch):
                return
            for p in range(first, end):
                units_backward(net, at, panels + p * at.size, space, theta, l, i,
                               min(<Py_ssize_t>BACKWARD, net.dense[l].H - i))


cdef void made_panel_end(const Net* net, const MadePanel* at, double* frames, real* dcontext, real* panel,
                         const real* theta, Py_ssize_t first, Py_ssize_t valid) noexcept nogil:
    """dr += W_c' da^1, as rows, and the log-density of each frame; -inf for one that the type does not hold."""
    cdef Py_ssize_t l, block, W = width_of(net.row, theta)
    cdef const double* sums = <const double*>(panel + at.sums)
    if net.Cc:
        product(net.row, panel + at.dcontext + net.c0 * W, W, theta + net.W_c, 0, 1, net.Ccp, panel + at.da, 0, W,
                <const real*>NULL, net.Cc, W, 1, net.H)
    if net.C:
        unpack(net.row, dcontext + first * net.Cs, net.Cs, valid, panel + at.dcontext, net.Cp)
    for l in range(valid):
        frames[first + l] = 0
        for block in range(pieces(net.D, net.in_block)):
            frames[first + l] += sums[block * W + l] if sums[block * W + l] >= beyond(theta) else -INFINITY


cdef struct Reading:
    # Rows of weights, (n, rows, width), where `rows` rows have each of n ascending `reads` in common.
    Py_ssize_t weights, n, rows, width
    Py_ssize_t derivative           # where (n, rows, W) begins in a panel: of what the rows give
    Py_ssize_t read                 # where the strips of what they read begin in `rows`
    const int64_t* reads


cdef Reading reading_of(const Net* net, const MadePanel* at, Py_ssize_t k, Py_ssize_t W) noexcept nogil:
    """Of the layers in order, of the outputs, and of the outputs from x."""
    cdef Reading found
    if k < net.n_dense:
        found.weights, found.n, found.rows, found.width = net.dense[k].W, net.dense[k].H, 1, net.dense[k].width
        found.derivative, found.read = at.da + units_below(net, k) * W, strips_below(net, k, W) * W * W
        found.reads = net.dense[k].reads
        return found
    found.n, found.rows, found.derivative = net.D, net.J, at.driven
    if k == net.n_dense:
        found.weights, found.width, found.reads = net.V, net.Hp, read_by_outputs(net)
        found.read = strips_below(net, k, W) * W * W
    else:
        found.weights, found.width, found.read, found.reads = net.A, net.Dp, 0, net.counts
    return found


cdef inline Py_ssize_t rows_at_once(const Reading* of) noexcept nogil:
    return max(<Py_ssize_t>1, OUTPUTS // max(<Py_ssize_t>1, of.rows))


cdef inline Py_ssize_t pieces_of(const Reading* of, Py_ssize_t W) noexcept nogil:
    return pieces(of.n, rows_at_once(of)) * pieces(of.width, W)


cdef void gradient_of_weights(const Net* net, const Reading* of, real* grad, const real* panels, Py_ssize_t of_panel,
                              Py_ssize_t rows_begin, Py_ssize_t piece, Py_ssize_t n_panels) noexcept nogil:
    """dW += da h' over the frames of a group, for some rows and one strip of what they read, where any reads it."""
    cdef Py_ssize_t W = width_of(net.row, grad), strips = pieces(of.width, W), size = rows_at_once(of)
    cdef Py_ssize_t i = piece // strips * size, j = piece % strips * W, n = min(size, of.n - i), p = 0
    while p < n_panels and j < of.reads[i + n - 1]:
        product(net.row, grad + of.weights + i * of.rows * of.width + j, of.width,
                panels + p * of_panel + of.derivative + i * of.rows * W, of_panel, W, 1,
                panels + p * of_panel + rows_begin + of.read + j * W, of_panel, W, <const real*>NULL, n * of.rows,
                min(W, of.width - j), min(<Py_ssize_t>SIDE_BY_SIDE, n_panels - p), W)
        p += SIDE_BY_SIDE


cdef void made_group_gradient(const Net* net, const MadePanel* at, real* grad, double* frames, real* dcontext,
                              real* db, real* dc, real* panels, real* buffers, Py_ssize_t of_thread,
                              const real* theta, const real* x, const real* context, const real* weight, Py_ssize_t M,
                              Py_ssize_t first, Py_ssize_t n, int n_threads, Watch* watch) noexcept nogil:
    """A group of n panels from panel `first` on, in phases A and B."""
    cdef Py_ssize_t W = width_of(net.row, theta), p, i, g, k, PW = net.D * net.P * W, units = all_units(net)
    cdef Py_ssize_t n_readings = net.n_dense + (2 if net.direct else 1), n_weights = 0
    cdef Py_ssize_t n_U = pieces_of_U(net, net.D * net.Q, W), n_W_c = pieces_of_W_c(net, net.H, W)
    cdef Reading of
    cdef float_mode mode = 0
    for k in range(n_readings):
        of = reading_of(net, at, k, W)
        n_weights += pieces_of(&of, W)
    with parallel(num_threads=n_threads):
        mode = subnormals_as_zero()
        if threadid() == 0:
            watch.team = omp_get_num_threads()
        for g in prange(n_threads, schedule="static", chunksize=1):                             # phase A
            made_panels_of_thread(net, at, panels, buffers + threadid() * of_thread, theta, x, context, weight, M,
                                  first, n * g // n_threads, n * (g + 1) // n_threads, watch)
        for i in prange(n_weights + n_U + n_W_c + n + 2, schedule="dynamic", chunksize=1):      # phase B
            if interrupted(watch):
                pass
            elif i < n_weights:
                piece_of_weights(net, at, grad, panels, i, n, W)
            elif i < n_weights + n_U:
                gradient_of_U(net, grad, <const real*>NULL, panels + at.dz, at.size, context + first * W * net.Cs, 0,
                              net.D * net.Q, i - n_weights, n)
            elif i < n_weights + n_U + n_W_c:
                gradient_of_W_c(net, grad, panels + at.da, at.size, context + first * W * net.Cs, net.H,
                                i - n_weights - n_U, n)
            elif i < n_weights + n_U + n_W_c + n:
                p = i - n_weights - n_U - n_W_c
                made_panel_end(net, at, frames, dcontext, panels + p * at.size, theta, (first + p) * W,
                               min(W, M - (first + p) * W))
            elif i == n_weights + n_U + n_W_c + n:
                add_panels(db, panels + at.dz, at.size, PW, n)
            else:
                add_panels(dc, panels + at.da, at.size, units * W, n)
        set_float_mode(mode)


cdef void made_panels_of_thread(const Net* net, const MadePanel* at, real* panels, real* space, const real* theta,
                                const real* x, const real* context, const real* weight, Py_ssize_t M,
                                Py_ssize_t first, Py_ssize_t begin, Py_ssize_t end, Watch* watch) noexcept nogil:
    cdef Py_ssize_t p, W = width_of(net.row, theta)
    for p in range(begin, end):
        made_panel_start(net, at, panels + p * at.size, x, context, weight, (first + p) * W,
                         min(W, M - (first + p) * W))
    made_panels_backward(net, at, panels, space, theta, begin, end, watch)


cdef void piece_of_weights(const Net* net, const MadePanel* at, real* grad, const real* panels, Py_ssize_t piece,
                           Py_ssize_t n_panels, Py_ssize_t W) noexcept nogil:
    """One of the pieces of all weight matrices, counted through."""
    cdef Py_ssize_t k = 0
    cdef Reading of = reading_of(net, at, 0, W)
    while piece >= pieces_of(&of, W):
        piece -= pieces_of(&of, W)
        k += 1
        of = reading_of(net, at, k, W)
    gradient_of_weights(net, &of, grad, panels, at.size, at.rows, piece, n_panels)


cdef void add_panels(real* total, const real* part, Py_ssize_t of_panel, Py_ssize_t n,
                     Py_ssize_t n_panels) noexcept nogil:
    """What the panels of a group give to a bias, lanes still apart."""
    cdef Py_ssize_t p
    for p in range(n_panels):
        add(total, part + p * of_panel, n)


cdef int made_gradient(const Net* net, Workspace memory, real* grad, double* frames, real* dcontext, const real* theta,
                       const real* x, const real* context, const real* weight, Py_ssize_t M, int n_threads) except -1:
    cdef Py_ssize_t D = net.D, P = net.P, W = width_of(net.row, theta), n_panels = pieces(M, W), units = all_units(net)
    cdef Py_ssize_t first, i, k, l, begin = 0
    cdef Watch* watch = &memory.watch
    cdef MadePanel at = made_panel_layout(net, W)
    cdef Reading of
    cdef Py_ssize_t most = max(<Py_ssize_t>n_threads, max(GROUP // <Py_ssize_t>sizeof(real), 2 * net.size) // at.size)
    most = pieces(pieces(n_panels, pieces(n_panels, most)), n_threads) * n_threads      # as many for each thread
    cdef real* panels = <real*>memory.take(most * at.size * sizeof(real))
    cdef real* db = <real*>memory.take(D * P * W * sizeof(real))                       # (D, P, W)
    cdef real* dc = <real*>memory.take(units * W * sizeof(real))                       # (units, W)
    cdef Py_ssize_t of_thread = pieces((P + 1) * W + BACKWARD, 64) * 64
    cdef real* buffers = <real*>memory.take(n_threads * of_thread * sizeof(real))
    memset(db, 0, D * P * W * sizeof(real))
    memset(dc, 0, units * W * sizeof(real))
    memset(grad, 0, net.of_frame * sizeof(real))
    for first in range(0, n_panels, most):
        memory.leave()
        with nogil:
            made_group_gradient(net, &at, grad, frames, dcontext, db, dc, panels, buffers, of_thread, theta, x, context,
                                weight, M, first, min(most, n_panels - first), n_threads, watch)
    for k in range(net.n_dense + (2 if net.direct else 1)):  # what no row reads
        of = reading_of(net, &at, k, W)
        for i in range(of.n * of.rows):
            begin = of.reads[i // of.rows]
            memset(grad + of.weights + i * of.width + begin, 0, (of.width - begin) * sizeof(real))
    for i in range(D * P):                                    # the lanes last
        grad[net.b + i] = sum_in_order(db + i * W, W)
    for l in range(net.n_dense):
        for i in range(net.dense[l].H):
            grad[net.dense[l].c + i] = sum_in_order(dc + (units_below(net, l) + i) * W, W)
    return memory.leave()


# ---- a draw: B sequences in the lanes, or one alone with the outputs in the lanes -----------------------------------
# What it keeps: a^1 of the first layer, from the start, and h of all layers, (H + PAD, B) each, as far as they are known.

cdef inline Py_ssize_t made_draw_size(const Net* net, Py_ssize_t B) noexcept nogil:
    return (net.H + all_units(net) + (net.n_dense + 1) * PAD) * B


cdef void made_draw_begin(const Net* net, real* own, const real* context, const real* theta,
                          Py_ssize_t B) noexcept nogil:
    """a^1 = c (+ W_c r)."""
    if B > 1:
        product(net.row, own, B, theta + net.W_c, 0, net.Ccp, 1, context + net.c0 * B, 0, B, theta + net.c, net.H, B, 1,
                net.Cc)
        return
    memset(own, 0, made_draw_size(net, 1) * sizeof(real))
    memcpy(own, theta + net.c, net.H * sizeof(real))
    product_one(net.row, own, theta + net.W_c, net.Ccp, context + net.c0, net.H, net.Cc)


cdef void made_draw_outputs(const Net* net, real* z, real* own, const real* x, const real* theta, Py_ssize_t d,
                            Py_ssize_t B, Py_ssize_t valid) noexcept nogil:
    """(3') of the units of degree d, layer by layer, then (5') of dimension d."""
    cdef Py_ssize_t l, i, n, reads = d, L = lanes_for(valid, B)
    cdef const Dense* at
    cdef const real* read = x
    cdef real* a = own
    cdef real* h = own + (net.H + PAD) * B
    for l in range(net.n_dense):
        at = &net.dense[l]
        i = at.until[d]
        n = at.until[d + 1] - i
        if l > 0:
            a = h
        if n > 0 and B > 1:
            product(net.row, a + i * B, B, theta + at.W + i * at.width, 0, at.width, 1, read, 0, B,
                    theta + at.c + i if l > 0 else <const real*>NULL, n, L, 1, reads)
            hidden_forward(net.row, a + i * B, h + i * B, a + i * B, <const real*>NULL, theta, 1, net.activation, n, L)
        elif n > 0:
            if l > 0:
                memcpy(a + i, theta + at.c + i, n * sizeof(real))
            product_one(net.row, a + i, theta + at.W + i * at.width, at.width, read, n, reads)
            hidden_one(net.row, a + i, h + i, 0, theta + at.W, 1, net.activation, n)
        read, reads = h, at.until[d + 1]
        h += (at.H + PAD) * B
    z += d * net.P * B
    if B > 1:
        product(net.row, z, B, theta + net.V + d * net.J * net.Hp, 0, net.Hp, 1, read, 0, B, <const real*>NULL, net.J, L,
                1, reads)
        if net.direct:
            product(net.row, z, B, theta + net.A + d * net.J * net.Dp, 0, net.Dp, 1, x, 0, B, <const real*>NULL, net.J,
                    L, 1, d)
        return
    product_one(net.row, z, theta + net.V + d * net.J * net.Hp, net.Hp, read, net.J, reads)
    if net.direct:
        product_one(net.row, z, theta + net.A + d * net.J * net.Dp, net.Dp, x, net.J, d)
