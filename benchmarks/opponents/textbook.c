/* The model as its equations read, in plain C: scalar loops, one sequence to a thread, exp and log of the library.
 *
 * N sequences, T frames, D dimensions, H hidden units, K components, P = 3 K raw outputs, R recurrent units.
 * Parameters are one vector, block after block in the order of `enum`; so is the gradient.  Inner loops run over
 * contiguous memory, nothing else is done for speed.  Compiled once for each REAL, float or double. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h>

enum { W, V, b, RHO, c, U, W_C, W_IN, W_REC, B_R, R0, BLOCKS };

typedef struct {
    long N, T, D, H, K, R;
} sizes;

static const REAL LOG_SQRT_2PI = 0.91893853320467274178;

static long size_of(const sizes *s, long *length) {
    const long D = s->D, H = s->H, P = 3 * s->K, R = s->R;
    const long lengths[BLOCKS] = {D * H, D * H * P, D * P, D, H, D * R * P, R * H, D * R, R * R, R, R};
    long total = 0;
    for (int i = 0; i < BLOCKS; i++) total += length[i] = lengths[i];
    return total;
}

static void blocks_of(const sizes *s, REAL *theta, REAL **block) {
    long length[BLOCKS];
    size_of(s, length);
    for (int i = 0; i < BLOCKS; i++) {
        block[i] = theta;
        theta += length[i];
    }
}

static REAL sigmoid(REAL x) { return 1 / (1 + exp(-x)); }

/* y += x A, A (n, m) */
static void add_product(long n, long m, REAL *restrict y, const REAL *restrict x, const REAL *restrict A) {
    for (long i = 0; i < n; i++)
        for (long j = 0; j < m; j++) y[j] += x[i] * A[i * m + j];
}

/* dx += A dy, dA += x dy' */
static void add_product_backward(long n, long m, const REAL *restrict dy, const REAL *restrict x,
                                 const REAL *restrict A, REAL *restrict dx, REAL *restrict dA) {
    for (long i = 0; i < n; i++) {
        REAL sum = 0;
        for (long j = 0; j < m; j++) {
            sum += A[i * m + j] * dy[j];
            dA[i * m + j] += x[i] * dy[j];
        }
        dx[i] += sum;
    }
}

/* r_next = sigmoid(b_r + x W_in + r W_rec) */
static void cell(const sizes *s, REAL **p, REAL *r_next, const REAL *x, const REAL *r) {
    memcpy(r_next, p[B_R], s->R * sizeof(REAL));
    add_product(s->D, s->R, r_next, x, p[W_IN]);
    add_product(s->R, s->R, r_next, r, p[W_REC]);
    for (long i = 0; i < s->R; i++) r_next[i] = sigmoid(r_next[i]);
}

/* r (T, R): the states that condition the frames of one sequence */
static void states(const sizes *s, REAL **p, REAL *r, const REAL *x) {
    memcpy(r, p[R0], s->R * sizeof(REAL));
    for (long t = 1; s->R && t < s->T; t++) cell(s, p, r + t * s->R, x + (t - 1) * s->D, r + (t - 1) * s->R);
}

/* raw outputs of dimension d, and the hidden units they come from */
static void outputs(const sizes *s, REAL **p, long d, REAL *z, REAL *h, const REAL *a, const REAL *r) {
    const long H = s->H, P = 3 * s->K;
    for (long j = 0; j < H; j++) h[j] = sigmoid(p[RHO][d] * a[j]);
    memcpy(z, p[b] + d * P, P * sizeof(REAL));
    add_product(H, P, z, h, p[V] + d * H * P);
    add_product(s->R, P, z, r, p[U] + d * s->R * P);
}

/* log density of x given raw outputs z; dz (P), its gradient, where it is not NULL */
static REAL mixture(long K, REAL x, const REAL *z, REAL *dz) {
    REAL joint[K], u[K], top = -INFINITY, largest = -INFINITY, sum = 0, norm = 0;
    for (long k = 0; k < K; k++) {
        u[k] = (x - z[K + k]) * exp(-z[2 * K + k]);
        joint[k] = z[k] - u[k] * u[k] / 2 - z[2 * K + k];
        top = fmax(top, joint[k]);
        largest = fmax(largest, z[k]);
    }
    for (long k = 0; k < K; k++) {
        sum += exp(joint[k] - top);
        norm += exp(z[k] - largest);
    }
    for (long k = 0; dz && k < K; k++) {
        const REAL pi = exp(joint[k] - top) / sum;
        dz[k] = pi - exp(z[k] - largest) / norm;
        dz[K + k] = pi * u[k] * exp(-z[2 * K + k]);
        dz[2 * K + k] = pi * (u[k] * u[k] - 1);
    }
    return top + log(sum) - largest - log(norm) - LOG_SQRT_2PI;
}

/* out (N): log density of each sequence of x (N, T, D) */
void forward(const sizes *s, REAL *theta, const REAL *x, REAL *out, int threads) {
    REAL *p[BLOCKS];
    blocks_of(s, theta, p);
#pragma omp parallel num_threads(threads)
    {
        REAL *r = malloc((s->T * s->R + 1) * sizeof(REAL));
        REAL a[s->H], h[s->H], z[3 * s->K];
#pragma omp for schedule(dynamic)
        for (long n = 0; n < s->N; n++) {
            double total = 0;
            if (s->R) states(s, p, r, x + n * s->T * s->D);
            for (long t = 0; t < s->T; t++) {
                const REAL *x_t = x + (n * s->T + t) * s->D, *r_t = r + t * s->R;
                memcpy(a, p[c], sizeof(a));
                add_product(s->R, s->H, a, r_t, p[W_C]);
                for (long d = 0; d < s->D; d++) {
                    outputs(s, p, d, z, h, a, r_t);
                    total += mixture(s->K, x_t[d], z, NULL);
                    for (long j = 0; j < s->H; j++) a[j] += x_t[d] * p[W][d * s->H + j];
                }
            }
            out[n] = total;
        }
        free(r);
    }
}

/* one sequence: its log density; adds its gradient to g */
static double sequence_gradient(const sizes *s, REAL **p, REAL **g, const REAL *x, REAL *r, REAL *dr) {
    const long T = s->T, D = s->D, H = s->H, P = 3 * s->K, R = s->R;
    REAL a[H], da[H], h[H], dh[H], z[P], dz[P], dpre[R + 1];
    double total = 0;
    if (R) states(s, p, r, x);
    memset(dr, 0, (T * R + 1) * sizeof(REAL));
    for (long t = T - 1; t >= 0; t--) {
        const REAL *x_t = x + t * D, *r_t = r + t * R;
        REAL *dr_t = dr + t * R;
        memcpy(a, p[c], sizeof(a));
        memset(da, 0, sizeof(da));
        add_product(R, H, a, r_t, p[W_C]);
        add_product(D, H, a, x_t, p[W]);
        for (long d = D - 1; d >= 0; d--) {
            for (long j = 0; j < H; j++) a[j] -= x_t[d] * p[W][d * H + j];
            outputs(s, p, d, z, h, a, r_t);
            total += mixture(s->K, x_t[d], z, dz);
            memset(dh, 0, sizeof(dh));
            for (long k = 0; k < P; k++) g[b][d * P + k] += dz[k];
            add_product_backward(H, P, dz, h, p[V] + d * H * P, dh, g[V] + d * H * P);
            add_product_backward(R, P, dz, r_t, p[U] + d * R * P, dr_t, g[U] + d * R * P);
            for (long j = 0; j < H; j++) {
                const REAL dpsi = dh[j] * h[j] * (1 - h[j]);
                g[W][d * H + j] += x_t[d] * da[j];
                g[RHO][d] += dpsi * a[j];
                da[j] += p[RHO][d] * dpsi;
            }
        }
        for (long j = 0; j < H; j++) g[c][j] += da[j];
        add_product_backward(R, H, da, r_t, p[W_C], dr_t, g[W_C]);
    }
    for (long t = T - 1; t > 0; t--) {
        const REAL *x_t = x + (t - 1) * D, *r_t = r + t * R;
        for (long i = 0; i < R; i++) {
            dpre[i] = dr[t * R + i] * r_t[i] * (1 - r_t[i]);
            g[B_R][i] += dpre[i];
        }
        add_product_backward(R, R, dpre, r_t - R, p[W_REC], dr + (t - 1) * R, g[W_REC]);
        for (long d = 0; d < D; d++)
            for (long i = 0; i < R; i++) g[W_IN][d * R + i] += x_t[d] * dpre[i];
    }
    for (long i = 0; i < R; i++) g[R0][i] += dr[i];
    return total;
}

/* gradient (size of theta) of the total log density, which is returned; each thread adds up its own */
double gradient(const sizes *s, REAL *theta, const REAL *x, REAL *out, int threads) {
    REAL *p[BLOCKS];
    long length[BLOCKS];
    const long size = size_of(s, length);
    double total = 0;
    blocks_of(s, theta, p);
    memset(out, 0, size * sizeof(REAL));
#pragma omp parallel num_threads(threads) reduction(+ : total)
    {
        REAL *g[BLOCKS], *own = calloc(size, sizeof(REAL));
        REAL *r = malloc((s->T * s->R + 1) * sizeof(REAL)), *dr = malloc((s->T * s->R + 1) * sizeof(REAL));
        blocks_of(s, own, g);
#pragma omp for schedule(dynamic)
        for (long n = 0; n < s->N; n++) total += sequence_gradient(s, p, g, x + n * s->T * s->D, r, dr);
#pragma omp critical
        for (long i = 0; i < size; i++) out[i] += own[i];
        free(own);
        free(r);
        free(dr);
    }
    return total;
}

/* out (N, T, D) from uniforms and standard normals of the same shape */
void sample(const sizes *s, REAL *theta, const REAL *uniform, const REAL *normal, REAL *out, int threads) {
    REAL *p[BLOCKS];
    blocks_of(s, theta, p);
#pragma omp parallel for num_threads(threads) schedule(dynamic)
    for (long n = 0; n < s->N; n++) {
        const long K = s->K;
        REAL a[s->H], h[s->H], z[3 * K], r[2][s->R + 1];
        memcpy(r[0], p[R0], s->R * sizeof(REAL));
        for (long t = 0; t < s->T; t++) {
            const long row = (n * s->T + t) * s->D;
            const REAL *r_t = r[t % 2];
            memcpy(a, p[c], sizeof(a));
            add_product(s->R, s->H, a, r_t, p[W_C]);
            for (long d = 0; d < s->D; d++) {
                REAL largest = -INFINITY, sum = 0, passed = 0;
                long k = 0;
                outputs(s, p, d, z, h, a, r_t);
                for (long i = 0; i < K; i++) largest = fmax(largest, z[i]);
                for (long i = 0; i < K; i++) sum += z[i] = exp(z[i] - largest);
                for (passed = z[0]; k < K - 1 && passed <= uniform[row + d] * sum; passed += z[k]) k++;
                const REAL x = out[row + d] = z[K + k] + exp(z[2 * K + k]) * normal[row + d];
                for (long j = 0; j < s->H; j++) a[j] += x * p[W][d * s->H + j];
            }
            if (s->R) cell(s, p, r[(t + 1) % 2], out + row, r_t);
        }
    }
}

/* theta, m, v after an update by the gradient g of what is to be minimised */
void adam(long size, REAL *theta, const REAL *g, REAL scale, REAL *m, REAL *v, REAL rate, REAL correction,
          REAL beta1, REAL beta2, REAL epsilon) {
    for (long i = 0; i < size; i++) {
        const REAL g_i = scale * g[i];
        m[i] = beta1 * m[i] + (1 - beta1) * g_i;
        v[i] = beta2 * v[i] + (1 - beta2) * g_i * g_i;
        theta[i] -= rate * m[i] / (sqrt(v[i] * correction) + epsilon);
    }
}
