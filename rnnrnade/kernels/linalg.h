/* Products of panels, and panels from rows and back.

   product: a tile of ROWS outputs by VECTORS vectors stays in registers over the whole contraction; A is read one
   number at a time and broadcast, B a vector at a time, so any M, K and stride costs the same and nothing is
   copied or padded.  Twelve sums hide the latency of a multiply-add, and 16 registers hold them: tiles of 12 rows in
   the 32 registers of AVX-512 gained nothing.  One output alone (a recurrent net on one sequence) takes WIDE vectors,
   or each multiply-add would wait for the one before it. */

enum { ROWS = 6, WIDE = 8, LINE = 64 /* bytes */ };

/* What the caches are told of weights that are read once: the next ones, `bytes` of them for each 16 numbers of a row, in
   the order in which they lie.  Memory gives a run of lines faster than the same line of many rows in turn. */
INLINE void fetch_ahead(const real *next, ptrdiff_t i, const int bytes) {
    for (int l = 0; l < bytes / LINE; l++)
        __builtin_prefetch((const char *)next + i / 16 * bytes + l * LINE, 0, 2);
}

struct product_args {
    real *C;
    const real *A, *B, *bias;
    ptrdiff_t c_m, a_o, a_m, a_i, b_o, b_i, n_outer, n;
};

/* B as it is read AHEAD steps later, for a `product_far`: the next strip lies on another page, where the processor does
   not look by itself.  Where the third cache is waited for this is worth a fifth; elsewhere it costs a few hundredths,
   and a product of few rows has no time for it. */
enum { AHEAD = 16, ROWS_AHEAD = 4 };

INLINE void fetch_lines(const real *next, const int bytes) {
    for (int l = 0; l < bytes; l += LINE) __builtin_prefetch((const char *)next + l, 0, 2);
}

/* rows and vectors are constants where this is inlined.  The rows of A are reached from two base pointers, so that each
   address is base + {0, 1, 2} * a_m and fits the addressing modes. */
INLINE void product_tile(const int rows, const int vectors, const int far, struct product_args p) {
    vec sum[ROWS][WIDE];
    for (int m = 0; m < rows; m++)
        for (int v = 0; v < vectors; v++) sum[m][v] = p.bias ? splat(p.bias[m]) : load(p.C + m * p.c_m + v * LANES);
    for (ptrdiff_t o = 0; o < p.n_outer; o++) {
        const real *B = p.B + o * p.b_o, *A_o = p.A + o * p.a_o;
        const real *A[2] = {A_o, A_o + 3 * p.a_m};
        for (ptrdiff_t i = 0; i < p.n; i++) {
            vec b[WIDE];
            for (int v = 0; v < vectors; v++) b[v] = load(B + v * LANES);
            if (far && vectors == VECTORS && rows >= ROWS_AHEAD) fetch_lines(B + AHEAD * p.b_i, VECTORS * VECTOR_BYTES);
            B += p.b_i;
            if (vectors == 1 && i % 16 == 0) fetch_ahead(A_o + rows * p.a_m, i, rows * 16 * (int)sizeof(real));
            UNROLL(6)
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
INLINE void product_strip(const int vectors, const int far, struct product_args p, ptrdiff_t M) {
    for (ptrdiff_t tiles = (M + ROWS - 1) / ROWS; tiles > 0; tiles--) {
        ptrdiff_t rows = (M + tiles - 1) / tiles;
        switch (rows) { /* so that the number is a constant in each */
        case 1: product_tile(1, vectors, far, p); break;
        case 2: product_tile(2, vectors, far, p); break;
        case 3: product_tile(3, vectors, far, p); break;
        case 4: product_tile(4, vectors, far, p); break;
        case 5: product_tile(5, vectors, far, p); break;
        case 6: product_tile(6, vectors, far, p); break;
        }
        p.C += rows * p.c_m;
        p.A += rows * p.a_m;
        if (p.bias) p.bias += rows;
        M -= rows;
    }
}

INLINE void product_as(const int far, struct product_args p, ptrdiff_t M, ptrdiff_t L) {
    real *C = p.C;
    const real *B = p.B;
    for (ptrdiff_t l = 0; l < L;) {
        p.C = C + l;
        p.B = B + l;
        if (M == 1 && L - l >= WIDE * LANES) {
            product_tile(1, WIDE, far, p);
            l += WIDE * LANES;
        } else if (L - l >= WIDTH) {
            product_strip(VECTORS, far, p, M);
            l += WIDTH;
        } else {
            product_strip(1, far, p, M);
            l += LANES;
        }
    }
}

static void product(real *C, ptrdiff_t c_m, const real *A, ptrdiff_t a_o, ptrdiff_t a_m, ptrdiff_t a_i,
                    const real *B, ptrdiff_t b_o, ptrdiff_t b_i, const real *bias,
                    ptrdiff_t M, ptrdiff_t L, ptrdiff_t n_outer, ptrdiff_t n) {
    product_as(0, (struct product_args){C, A, B, bias, c_m, a_o, a_m, a_i, b_o, b_i, n_outer, n}, M, L);
}

static void product_far(real *C, ptrdiff_t c_m, const real *A, ptrdiff_t a_o, ptrdiff_t a_m, ptrdiff_t a_i,
                        const real *B, ptrdiff_t b_o, ptrdiff_t b_i, const real *bias,
                        ptrdiff_t M, ptrdiff_t L, ptrdiff_t n_outer, ptrdiff_t n) {
    product_as(1, (struct product_args){C, A, B, bias, c_m, a_o, a_m, a_i, b_o, b_i, n_outer, n}, M, L);
}

/* One frame: LANES outputs lie in the lanes, and their rows of A are read PIECE numbers at a time, a piece of each row
   going straight into its place of a vector, and transposed there; nothing is copied before.  Behind the last row comes
   the last row again. */
static void product_one(real *c, const real *A, ptrdiff_t a_m, const real *x, ptrdiff_t M, ptrdiff_t n) {
    for (ptrdiff_t m = 0; m < M; m += LANES) {
        ptrdiff_t here = M - m < LANES ? M - m : LANES, i = 0;
        const real *rows[LANES];
        real sums[LANES];
        vec column[PIECE];
        for (int l = 0; l < LANES; l++) {
            rows[l] = A + (m + (l < here ? l : here - 1)) * a_m;
            sums[l] = c[m + (l < here ? l : here - 1)];
        }
        vec sum = load(sums);
        for (; i + PIECE <= n; i += PIECE) {
            if (i % 16 == 0) fetch_ahead(rows[0] + LANES * a_m, i, 16 * VECTOR_BYTES);
            load_columns(column, rows, i);
            UNROLL(4)
            for (int j = 0; j < PIECE; j++) sum = fused(column[j], splat(x[i + j]), sum);
        }
        if (i < n) load_columns(column, rows, i);
        for (int j = 0; i + j < n; j++) sum = fused(column[j], splat(x[i + j]), sum);
        store(sums, sum);
        memcpy(c + m, sums, here * sizeof *c);
    }
}

/* PIECE columns of LANES rows at a time through registers; the edges one number at a time. */
static void pack(real *panel, const real *rows, ptrdiff_t stride, ptrdiff_t valid, ptrdiff_t n) {
    for (ptrdiff_t l0 = 0; l0 < WIDTH; l0 += LANES) {
        ptrdiff_t j0 = 0, here = valid - l0 < 0 ? 0 : valid - l0 < LANES ? valid - l0 : LANES;
        const real *from[LANES];
        for (int l = 0; l < LANES; l++) from[l] = rows + (l0 + l) * stride;
        for (; here == LANES && j0 + PIECE <= n; j0 += PIECE) {
            vec column[PIECE];
            load_columns(column, from, j0);
            UNROLL(4)
            for (int j = 0; j < PIECE; j++) store(panel + (j0 + j) * WIDTH + l0, column[j]);
        }
        for (ptrdiff_t j = j0; j < n; j++)
            for (ptrdiff_t l = 0; l < LANES; l++) panel[j * WIDTH + l0 + l] = l < here ? from[l][j] : 0;
    }
}

static void unpack(real *rows, ptrdiff_t stride, ptrdiff_t valid, const real *panel, ptrdiff_t n) {
    for (ptrdiff_t l0 = 0; l0 < valid; l0 += LANES) {
        ptrdiff_t j0 = 0, here = valid - l0 < LANES ? valid - l0 : LANES;
        for (; here == LANES && j0 + LANES <= n; j0 += LANES) {
            const real *from[LANES];
            for (int j = 0; j < LANES; j++) from[j] = panel + (j0 + j) * WIDTH + l0;
            UNROLL(4)
            for (int l = 0; l < LANES; l += PIECE) {
                vec column[PIECE];
                load_columns(column, from, l);
                UNROLL(4)
                for (int i = 0; i < PIECE; i++) store(rows + (l0 + l + i) * stride + j0, column[i]);
            }
        }
        for (ptrdiff_t l = 0; l < here; l++)
            for (ptrdiff_t j = j0; j < n; j++) rows[(l0 + l) * stride + j] = panel[j * WIDTH + l0 + l];
    }
}
