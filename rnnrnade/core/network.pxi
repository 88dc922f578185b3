# ---- the kernels' lists: names, and the places of their members -----------------------------------------------------

HEADS = FAMILIES | {"bernoulli": <int>BERNOULLI}
CELLS = {"sigmoid": <int>SIGMOID_CELL, "tanh": <int>TANH_CELL, "gru": <int>GRU_CELL, "lstm": <int>LSTM_CELL}
ACTIVATIONS = {"sigmoid": <int>SIGMOID_UNIT, "relu": <int>RELU_UNIT}
CONDITIONERS = {"nade": <int>NADE, "made": <int>MADE, "shared": <int>SHARED_MIXTURE}
PADDING = <int>PAD                  # the last axis of a parameter is padded to a multiple of it


cdef enum:
    NADE, MADE, SHARED_MIXTURE, N_CONDITIONERS      # conditioners.pxi


# ---- the network: sizes, choices, and where each block of the flat parameter vector begins -------------------------

cdef enum:
    BLOCK = 8                       # dimensions at most whose product with the context is done at once ...
    BLOCK_ALONE = 4                 # ... and without context, so that a and h of all of them stay in the second cache
    OUTPUTS = 24                    # outputs at most of one piece of the gradient of a matrix
    MAX_WIDTH = 64                  # no panel is wider
    DEPTH = 8                       # dense layers of a net around a latent vector, at most


cdef struct Layer:
    # A recurrent layer.  I numbers that it reads: the D of a frame at the bottom, else the R of the layer below.
    bint bottom
    Py_ssize_t I, W_in, W_rec, b_r
    Py_ssize_t state, gates, below  # where its own, and the state of the layer below, begin in rows of states and gates


cdef struct Dense:
    # A layer of hidden units with masks (made.pxi).
    Py_ssize_t H, width             # units; numbers from one row of W to the next
    Py_ssize_t W, c                 # where they begin in the parameters
    const int64_t* degree           # (H)       ascending
    const int64_t* reads            # (H)       numbers of the layer below that a unit reads
    const int64_t* until            # (D + 1)   units of a degree below 0 ... D


cdef struct Stack:
    # Where the layers of a net of dense layers (latent.pxi) begin in the parameters; W[0] is not read: each net has
    # several first layers, one for each thing that it reads.
    Py_ssize_t W[DEPTH]
    Py_ssize_t b[DEPTH]


cdef struct Latents:
    # The nets around a latent vector (latent.pxi).
    Py_ssize_t E, Ep, Hs, n_dense                                    # units of a layer; Hs = n_dense Ep of a net
    Py_ssize_t Y, Yp                                                 # latent numbers
    double least                                                     # their smallest scale
    bint reads, prior, residual, smooth
    Stack features, latent, prior_net, encoder, context
    Py_ssize_t F_x, F_y, P_r, P_y, Q_x, Q_r, Q_a, Q_y, C_y, C_r      # first layers: inputs as rows, (inputs, Ep)
    Py_ssize_t N_p, n_p, N_q, n_q                                    # heads: (E, 2 Yp), means in front
    Py_ssize_t A_in, A_rec, b_a, a_end, y0                           # (R + E, Gp), (R, Gp); filter: (R + E, Rp)
    Py_ssize_t Ga                                                    # a row of gates of `a`


cdef struct Net:
    Py_ssize_t D, H, P, F, J, Q, Hp   # of a frame; F of the P raw outputs have a bias for each dimension
    Py_ssize_t given, X           # numbers of a frame that are given, and of its row: those, and the D behind them
    Py_ssize_t C, Cp, Cs          # a row of context: numbers that a frame reads, padded, and from one row to the next
    Py_ssize_t c0, Cc, Ccp        # the end of it that W_c reads: where it begins, its numbers, and those padded
    Py_ssize_t in_block           # dimensions of a block
    Py_ssize_t R, Rp, G, Gp
    Py_ssize_t L, Sl, Al, Sp, Ap  # layers; of rows of states and of gates the numbers of a layer, and of all
    const Latents* latents        # NULL: none
    bint strips                   # the matrices around them lie in strips (latent.pxi)
    Py_ssize_t Zp                 # a row of what goes on in time: states and, where it is read again, the latent
    Layer* layers                 # (L), the bottom one first
    int head, activation, cell, conditioner
    int noises                    # standard numbers that a draw takes
    bint separate_recurrent       # the cell takes W_rec r^{t-1} separately from b_r + W_in x^t
    const Dense* dense            # (n_dense)             MADE
    const int64_t* counts         # 0 ... D - 1           MADE
    Py_ssize_t n_dense, Dp, A     # Dp, A: of what x gives to the raw outputs past the units, where `direct`
    bint direct
    double cost                   # multiply-adds of a frame
    Py_ssize_t of_frame           # numbers at the front of the parameters that are no recurrence's
    outputs at
    Py_ssize_t W, c, rho, V, b, U, W_c, r0, size         # r0: a row of states
    const kernel_row* row


cdef class Network:
    """Sizes, choices and offsets for the kernels, made once from a layout (model.py)."""
    cdef Net net
    cdef Dense* dense
    cdef int64_t* tables          # what these point to
    cdef Latents latents

    def __cinit__(self, layout):
        cdef Layer* layer
        cdef Py_ssize_t l
        net = &self.net
        net.D, net.H, net.P, net.F, net.J, net.Q, net.Hp = (
            layout.D, layout.units[0], layout.P, layout.F, layout.J, layout.Q, layout.Hp)
        net.given, net.X = layout.given, layout.X
        net.C, net.Cp, net.Cs = layout.C, layout.Cp, layout.Cs
        net.c0, net.Cc, net.Ccp = layout.c0, layout.Cc, layout.Ccp
        if (net.D < 1 or net.P < 1 or not 0 <= net.Q <= net.F <= net.P or not 0 <= net.J <= net.F
                or min(net.H, net.C, layout.R, net.given) < 0):
            raise ValueError(f"layout must have dimensions and outputs, and no negative sizes. Got {layout}.")
        net.in_block = equal_pieces(net.D, BLOCK if net.C else BLOCK_ALONE)
        net.R, net.Rp, net.G, net.Gp = layout.R, layout.Rp, layout.G, layout.Gp
        net.Sl, net.Al, net.Sp, net.Ap = layout.Sl, layout.Al, layout.Sp, layout.Ap
        net.separate_recurrent = layout.separate_recurrent
        net.head, net.activation, net.cell = layout.head_index, layout.activation_index, layout.cell_index
        net.conditioner = layout.conditioner_index
        if not (0 <= net.head < N_HEADS and 0 <= net.activation < N_ACTIVATIONS and 0 <= net.cell < N_CELLS
                and 0 <= net.conditioner < N_CONDITIONERS):
            raise ValueError(f"layout must choose from the kernels' lists. Got {layout}.")
        if net.conditioner == SHARED_MIXTURE and net.head >= N_FAMILIES:
            raise ValueError(f"layout must have components that a frame can share. Got {layout}.")
        net.at.K, net.at.min_scale = layout.K, layout.min_scale
        net.at.alpha, net.at.mu, net.at.sigma, net.at.nu = layout.alpha, layout.mu, layout.sigma, layout.nu
        net.at.family = net.head
        net.noises = 2 if net.head < N_FAMILIES and families[net.head].shape != NULL else 1
        offsets = layout.offsets
        net.W, net.c, net.rho, net.V, net.b = (offsets.get(name, 0) for name in ("W", "c", "rho", "V", "b"))
        net.U, net.W_c = (offsets.get(name, 0) for name in ("U", "W_c"))
        net.r0, net.size, net.Zp = layout.first_state, layout.size, layout.Zp
        layers = layout.layers
        net.layers = <Layer*>calloc(len(layers), sizeof(Layer))
        if net.layers == NULL and layers:
            raise MemoryError(f"no memory for {len(layers)} layers")
        net.L = len(layers)
        for l, (n_inputs, W_in, W_rec, b_r) in enumerate(layers):
            layer = &net.layers[l]
            layer.bottom, layer.I, layer.W_in, layer.W_rec, layer.b_r = l == 0, n_inputs, W_in, W_rec, b_r
            layer.state = (net.L - 1 - l) * net.Sl                    # the top layer in front: frames read it
            layer.gates = (net.L - 1 - l) * net.Al
            layer.below = layer.state + net.Sl
        net.of_frame = offsets.get("W_in", layout.size)
        net.cost = net.D * (net.P * (net.H + net.C) + net.H + 2.0)
        net.direct, net.A, net.Dp = "A" in offsets, offsets.get("A", 0), layout.Dp
        if net.conditioner == MADE:
            self.add_masks(layout)
        if layout.latent is not None:
            self.add_latents(layout)

    def __dealloc__(self):
        free(self.net.layers)
        free(self.dense)
        free(self.tables)

    cdef int add_masks(self, layout) except -1:
        """The masks of a MADE, from the degrees of its units."""
        cdef Py_ssize_t D = self.net.D, n = len(layout.units), l, i, m
        cdef int64_t* free_table
        cdef Dense* at
        net = &self.net
        degrees = layout.degrees
        self.dense = <Dense*>calloc(n, sizeof(Dense))
        self.tables = <int64_t*>calloc(D + n * (D + 1) + 2 * sum(layout.units), sizeof(int64_t))
        if self.dense == NULL or self.tables == NULL:
            raise MemoryError(f"no memory for the masks of {layout}")
        net.dense, net.n_dense, net.counts, free_table = self.dense, n, self.tables, self.tables + D
        for i in range(D):
            self.tables[i] = i
        net.cost = <double>net.D * net.P * net.C + net.H * net.Cc
        for l in range(n):
            at = &self.dense[l]
            at.H, at.width = layout.units[l], net.Dp if l == 0 else layout.padded_units[l - 1]
            at.W, at.c = layout.offsets[layout.frame.named("W", l)], layout.offsets[layout.frame.named("c", l)]
            until, degree, reads = free_table, free_table + D + 1, free_table + D + 1 + at.H
            at.until, at.degree, at.reads, free_table = until, degree, reads, reads + at.H
            for i in range(at.H):
                degree[i] = degrees[l][i]
                if not (degree[i - 1] if i else 0) <= degree[i] < D:
                    raise ValueError(f"degrees must ascend from 0 on and be below {D}. Got {degree[i]} at {i}.")
                reads[i] = degree[i] if l == 0 else self.dense[l - 1].until[degree[i] + 1]
                net.cost += reads[i]
                for m in range(degree[i] + 1, D + 1):
                    until[m] += 1
        for m in range(D):
            net.cost += net.J * (self.dense[n - 1].until[m + 1] + (m if net.direct else 0))
        return 0

    cdef int add_latents(self, layout) except -1:
        """The nets around the latent vector."""
        cdef Latents* at = &self.latents
        latent, offsets, n_dense = layout.latent, layout.offsets, layout.latent.n_dense
        at.E, at.Ep, at.n_dense, at.Y, at.Yp = latent.E, layout.Cp, n_dense, latent.J, layout.Jp
        at.Hs, at.least = n_dense * at.Ep, latent.min_scale
        if not (0 < n_dense <= DEPTH and at.E > 0 and at.Y >= 0 and at.E == self.net.C and at.Hs == self.net.Cs):
            raise ValueError(f"layout must have latent nets of 1 to {<int>DEPTH} layers. Got {latent}.")
        at.reads, at.prior, at.residual = latent.reads, latent.has_prior, latent.residual
        at.smooth = not at.reads and latent.encoder == "smooth"
        at.Ga = layout.Al if at.smooth else layout.Rp
        (at.F_x, at.F_y, at.P_r, at.P_y, at.Q_x, at.Q_r, at.Q_a, at.Q_y, at.C_y, at.C_r, at.N_p, at.n_p, at.N_q, at.n_q,
         at.A_in, at.A_rec, at.b_a, at.a_end, at.y0) = (offsets.get(name, 0) for name in (
             "F_x", "F_y", "P_r", "P_y", "Q_x", "Q_r", "Q_a", "Q_y", "C_y", "C_r", "N_p", "n_p", "N_q", "n_q",
             "A_in", "A_rec", "b_a", "a_end", "y0"))
        for l in range(n_dense):
            above = "" if l == 0 else f"_{l + 1}"
            at.features.W[l], at.features.b[l] = offsets["F_x" + above], offsets["f_x" + above]
            at.latent.W[l], at.latent.b[l] = offsets.get("F_y" + above, 0), offsets.get("f_y" + above, 0)
            at.prior_net.W[l], at.prior_net.b[l] = offsets.get("P_h" + above, 0), offsets.get("p_h" + above, 0)
            at.encoder.W[l], at.encoder.b[l] = offsets.get("Q_h" + above, 0), offsets.get("q_h" + above, 0)
            at.context.W[l], at.context.b[l] = offsets.get("C_k" + above, 0), offsets.get("c_k" + above, 0)
        self.net.latents = at
        self.net.cost += at.E * (self.net.D + 5. * at.E + 6 * at.Y + 3 * self.net.R + 5. * at.E * (n_dense - 1))
        return 0

    cdef Net bound(self) except *:
        """The network with the row of kernels in use."""
        cdef Net net = self.net
        if net.latents != NULL:
            raise ValueError("network must have no latent vector: the calls latent_... take one that has.")
        net.row = find_row(_row_in_use)
        return net

    cdef Net bound_latent(self) except *:
        """The same, of one with a latent vector."""
        cdef Net net = self.net
        if net.latents == NULL:
            raise ValueError("network must have a latent vector.")
        net.row = find_row(_row_in_use)
        return net


cdef double multiply_adds(const Net* net, Py_ssize_t M) noexcept:
    return M * net.cost + recurrent_multiply_adds(net, M)


cdef double recurrent_multiply_adds(const Net* net, Py_ssize_t M) noexcept:
    cdef Py_ssize_t l
    cdef double found = 0
    for l in range(net.L):
        found += <double>M * net.G * net.R * (net.layers[l].I + net.R)
    return found


# ---- pieces and sums ------------------------------------------------------------------------------------------------

cdef inline Py_ssize_t pieces(Py_ssize_t n, Py_ssize_t size) noexcept nogil:
    return (n + size - 1) // size


cdef inline Py_ssize_t equal_pieces(Py_ssize_t n, Py_ssize_t most) noexcept nogil:
    """The size of pieces of n that are as equal as can be: at most `most`, at least 1."""
    return max(<Py_ssize_t>1, pieces(n, max(<Py_ssize_t>1, pieces(n, most))))


cdef inline Py_ssize_t padded(Py_ssize_t n) noexcept nogil:
    return pieces(n, PAD) * PAD


cdef inline void add(real* total, const real* part, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        total[i] = total[i] + part[i]


cdef inline real sum_in_order(const real* x, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef real total = 0
    for i in range(n):
        total = total + x[i]
    return total
