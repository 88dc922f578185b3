/* The hidden units of the RNADE: one step forward over a dimension, and the same step backward.

   Layout: panels (H, W), a frame in each lane.  Forward the loop runs over the units, its body over the two vectors of
   a panel; a is read and written once, and a panel whose frames fit one vector touches one.  Backward it runs over tiles
   of ROWS units, inside over the P outputs: dh = V' dz stays in registers until da has it.  Sums over lanes come last,
   those of a tile by one tree.  Tiles outside and dimensions of a block inside would keep da in the first cache, but
   cost more. */

/* s(rho a) */
INLINE vec unit(real rho, vec a, const int activation) {
    return activation == SIGMOID_UNIT ? 1 / one_plus_exp(-rho, a) : larger(splat(0), rho * a);
}

/* s'(psi) from h = s(psi) */
INLINE vec unit_slope(vec h, const int activation) {
    return activation == SIGMOID_UNIT ? h * (1 - h) : (vec)((ivec)(h > 0) & (ivec)splat(1));
}

INLINE void hidden_forward_as(const int activation, const int vectors, real *a, real *h, const real *a_prev,
                              const real *x, const real *w, real rho, ptrdiff_t H) {
    vec x_v[VECTORS];
    for (int v = 0; v < vectors; v++) x_v[v] = x ? load(x + v * LANES) : splat(0);
    for (ptrdiff_t j = 0; j < H; j++)
        for (int v = 0; v < vectors; v++) {
            ptrdiff_t at = j * WIDTH + v * LANES;
            vec a_j = load(a_prev + at);
            if (x) a_j = fused(x_v[v], splat(w[j]), a_j);          /* a_{d+1} = a_d + x_d W[:, d] */
            store(a + at, a_j);
            store(h + at, unit(rho, a_j, activation));            /* h = s(rho a) */
        }
}

static void hidden_forward(real *a, real *h, const real *a_prev, const real *x, const real *w, real rho,
                           int activation, ptrdiff_t H, ptrdiff_t lanes) {
    if (activation == SIGMOID_UNIT && lanes > LANES)
        hidden_forward_as(SIGMOID_UNIT, VECTORS, a, h, a_prev, x, w, rho, H);
    else if (activation == SIGMOID_UNIT)
        hidden_forward_as(SIGMOID_UNIT, 1, a, h, a_prev, x, w, rho, H);
    else
        hidden_forward_as(RELU_UNIT, VECTORS, a, h, a_prev, x, w, rho, H);
}

static void hidden_one(real *a, real *h, real x, const real *w, real rho, int activation, ptrdiff_t H) {
    for (ptrdiff_t j = 0; j < H; j += LANES) {
        vec a_j = fused(splat(x), load(w + j), load(a + j));
        store(a + j, a_j);
        store(h + j, activation == SIGMOID_UNIT ? unit(rho, a_j, SIGMOID_UNIT) : unit(rho, a_j, RELU_UNIT));
    }
}

/* rows hidden units at once: dh stays in registers from V' dz to the update of da */
INLINE void hidden_backward_tile(const int rows, const int activation, vec drho[VECTORS], real *da, real *dw,
                                 const real *a, const real *h, const real *dz, const real *x, const real *V,
                                 ptrdiff_t stride, real rho, ptrdiff_t P) {
    vec dh[ROWS][VECTORS];
    for (int m = 0; m < rows; m++)
        for (int v = 0; v < VECTORS; v++) dh[m][v] = splat(0);
    for (ptrdiff_t k = 0; k < P; k++) {                            /* dh = V' dz */
        vec dz_k[VECTORS];
        for (int v = 0; v < VECTORS; v++) dz_k[v] = load(dz + k * WIDTH + v * LANES);
        UNROLL(6)
        for (int m = 0; m < rows; m++) {
            vec V_km = splat(V[k * stride + m]);
            for (int v = 0; v < VECTORS; v++) dh[m][v] = fused(V_km, dz_k[v], dh[m][v]);
        }
    }
    vec dw_lanes[ROWS];
    UNROLL(6)
    for (int m = 0; m < rows; m++) {
        vec dw_m = splat(0);
        for (int v = 0; v < VECTORS; v++) {
            ptrdiff_t at = m * WIDTH + v * LANES;
            vec da_m = load(da + at);
            vec dpsi = dh[m][v] * unit_slope(load(h + at), activation);    /* dpsi = dh * s'(psi) */
            drho[v] = fused(dpsi, load(a + at), drho[v]);                  /* drho += dpsi . a */
            dw_m = fused(load(x + v * LANES), da_m, dw_m);                 /* dW[:, d] += x_d da */
            store(da + at, fused(splat(rho), dpsi, da_m));                 /* da += rho dpsi */
        }
        dw_lanes[m] = dw_m;
    }
    sum_lanes_each(dw, dw_lanes, rows);
}

INLINE real hidden_backward_as(const int activation, real *da, real *dw, const real *a, const real *h,
                               const real *dz, const real *x, const real *V, ptrdiff_t stride, real rho,
                               ptrdiff_t H, ptrdiff_t P) {
    vec drho[VECTORS];
    for (int v = 0; v < VECTORS; v++) drho[v] = splat(0);
    for (ptrdiff_t tiles = (H + ROWS - 1) / ROWS; tiles > 0; tiles--) {
        ptrdiff_t rows = (H + tiles - 1) / tiles;
        switch (rows) {
        case 1: hidden_backward_tile(1, activation, drho, da, dw, a, h, dz, x, V, stride, rho, P); break;
        case 2: hidden_backward_tile(2, activation, drho, da, dw, a, h, dz, x, V, stride, rho, P); break;
        case 3: hidden_backward_tile(3, activation, drho, da, dw, a, h, dz, x, V, stride, rho, P); break;
        case 4: hidden_backward_tile(4, activation, drho, da, dw, a, h, dz, x, V, stride, rho, P); break;
        case 5: hidden_backward_tile(5, activation, drho, da, dw, a, h, dz, x, V, stride, rho, P); break;
        case 6: hidden_backward_tile(6, activation, drho, da, dw, a, h, dz, x, V, stride, rho, P); break;
        }
        da += rows * WIDTH, a += rows * WIDTH, h += rows * WIDTH;
        dw += rows, V += rows, H -= rows;
    }
    return sum_lanes(drho[0] + drho[1]);
}

static real hidden_backward(real *da, real *dw, const real *a, const real *h, const real *dz, const real *x,
                            const real *V, ptrdiff_t stride, real rho, int activation, ptrdiff_t H, ptrdiff_t P) {
    if (activation == SIGMOID_UNIT)
        return hidden_backward_as(SIGMOID_UNIT, da, dw, a, h, dz, x, V, stride, rho, H, P);
    return hidden_backward_as(RELU_UNIT, da, dw, a, h, dz, x, V, stride, rho, H, P);
}
