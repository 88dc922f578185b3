/* Products of panels, and panels from rows and back.

   product: a tile of ROWS outputs by VECTORS vectors stays in registers over the whole contraction; A is read one
   number at a time and broadcast, B a vector at a time, so any M, K and stride costs the same and nothing is
   copied or padded.  ROWS is what the register file holds beside two vectors of B: 12 of 32 registers' worth with
   AVX-512 and NEON, 6 of 16 below. */

#if VECTOR_BYTES == 64 || defined(__aarch64__)
enum { ROWS = 12 };
#else
enum { ROWS = 6 };
#endif

struct product_args {
    real *C;
    const real *A, *B, *bias;
    ptrdiff_t c_m, a_o, a_m, a_i, b_o, b_i, n_outer, n;
};

/* rows and vectors are constants where this is inlined.  The rows of A are reached from four base pointers, so
   that each address is base + {0, 1, 2} * a_m and fits the addressing modes. */
INLINE void product_tile(const int rows, const int vectors, struct product_args p) {
    vec sum[ROWS][VECTORS];
    for (int m = 0; m < rows; m++)
        for (int v = 0; v < vectors; v++) sum[m][v] = p.bias ? splat(p.bias[m]) : load(p.C + m * p.c_m + v * LANES);
    for (ptrdiff_t o = 0; o < p.n_outer; o++) {
        const real *B = p.B + o * p.b_o, *A_o = p.A + o * p.a_o;
        const real *A[4] = {A_o, A_o + 3 * p.a_m, A_o + 6 * p.a_m, A_o + 9 * p.a_m};
        for (ptrdiff_t i = 0; i < p.n; i++) {
            vec b[VECTORS];
            for (int v = 0; v < vectors; v++) b[v] = load(B + v * LANES);
            B += p.b_i;
#pragma GCC unroll 12
            for (int m = 0; m < rows; m++) {
                vec a = splat(A[m / 3][(m % 3) * p.a_m]);
                for (int v = 0; v < vectors; v++) sum[m][v] = fused(a, b[v], sum[m][v]);
            }
            for (int g = 0; g < (rows + 2) / 3; g++) A[g] += p.a_i;
        }
    }
    for (int m = 0; m < rows; m++)
        for (int v = 0; v < vectors; v++) store(p.C + m * p.c_m + v * LANES, sum[m][v]);
}

/* A strip of lanes: M outputs in tiles as equal as can be. */
INLINE void product_strip(const int vectors, struct product_args p, ptrdiff_t M) {
    for (ptrdiff_t tiles = (M + ROWS - 1) / ROWS; tiles > 0; tiles--) {
        ptrdiff_t rows = (M + tiles - 1) / tiles;
        switch (rows) {
        case 1: product_tile(1, vectors, p); break;
        case 2: product_tile(2, vectors, p); break;
        case 3: product_tile(3, vectors, p); break;
        case 4: product_tile(4, vectors, p); break;
        case 5: product_tile(5, vectors, p); break;
        case 6: product_tile(6, vectors, p); break;
#if VECTOR_BYTES == 64 || defined(__aarch64__)
        case 7: product_tile(7, vectors, p); break;
        case 8: product_tile(8, vectors, p); break;
        case 9: product_tile(9, vectors, p); break;
        case 10: product_tile(10, vectors, p); break;
        case 11: product_tile(11, vectors, p); break;
        case 12: product_tile(12, vectors, p); break;
#endif
        }
        p.C += rows * p.c_m;
        p.A += rows * p.a_m;
        if (p.bias) p.bias += rows;
        M -= rows;
    }
}

static void product(real *C, ptrdiff_t c_m, const real *A, ptrdiff_t a_o, ptrdiff_t a_m, ptrdiff_t a_i,
                    const real *B, ptrdiff_t b_o, ptrdiff_t b_i, const real *bias,
                    ptrdiff_t M, ptrdiff_t L, ptrdiff_t n_outer, ptrdiff_t n) {
    struct product_args p = {C, A, B, bias, c_m, a_o, a_m, a_i, b_o, b_i, n_outer, n};
    for (ptrdiff_t l = 0; l < L;) {
        p.C = C + l;
        p.B = B + l;
        if (L - l >= WIDTH) {
            product_strip(VECTORS, p, M);
            l += WIDTH;
        } else {
            product_strip(1, p, M);
            l += LANES;
        }
    }
}

static void pack(real *panel, const real *rows, ptrdiff_t stride, ptrdiff_t valid, ptrdiff_t n) {
    for (ptrdiff_t j0 = 0; j0 < n; j0 += PAD) { /* PAD columns at a time, so that a cache line is read once */
        ptrdiff_t j1 = j0 + PAD < n ? j0 + PAD : n;
        for (ptrdiff_t l = 0; l < valid; l++)
            for (ptrdiff_t j = j0; j < j1; j++) panel[j * WIDTH + l] = rows[l * stride + j];
        for (ptrdiff_t l = valid; l < WIDTH; l++)
            for (ptrdiff_t j = j0; j < j1; j++) panel[j * WIDTH + l] = 0;
    }
}

static void unpack(real *rows, ptrdiff_t stride, ptrdiff_t valid, const real *panel, ptrdiff_t n) {
    for (ptrdiff_t j0 = 0; j0 < n; j0 += PAD) {
        ptrdiff_t j1 = j0 + PAD < n ? j0 + PAD : n;
        for (ptrdiff_t l = 0; l < valid; l++)
            for (ptrdiff_t j = j0; j < j1; j++) rows[l * stride + j] = panel[j * WIDTH + l];
    }
}
