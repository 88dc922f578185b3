/* The two roofs of a processor: nothing but multiply-adds in the widest vectors it has, and nothing but reading memory, on
 * several threads.
 *
 * CHAINS independent chains hide the latency of the instruction (4 cycles, two a cycle: 8 are enough).  They go from
 * x to a x + b with a fixed point, so that no value overflows or becomes subnormal. */
#include <omp.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
enum { CHAINS = 12, LANES = BYTES / sizeof(REAL) };

typedef REAL vector __attribute__((vector_size(BYTES)));

static REAL chains(long n, REAL factor) {
    vector x[CHAINS], a, b, sum;
    for (int i = 0; i < LANES; i++) {
        a[i] = factor;
        b[i] = 1 - factor;
        sum[i] = 0;
    }
    for (int j = 0; j < CHAINS; j++) x[j] = sum + (REAL)j;
    for (long i = 0; i < n; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < CHAINS; j++) x[j] = x[j] * a + b;
        __asm__ volatile("");
    }
    for (int j = 0; j < CHAINS; j++) sum += x[j];
    REAL total = 0;
    for (int i = 0; i < LANES; i++) total += sum[i];
    return total;
}

/* floating-point operations a second, two for each multiply-add */
double peak(long n, int threads) {
    double used = 0, begin = omp_get_wtime();
#pragma omp parallel num_threads(threads) reduction(+ : used)
    used += chains(n, (REAL)0.999);
    const double seconds = omp_get_wtime() - begin;
    return used == 0.5 ? 0 : 2.0 * n * CHAINS * LANES * threads / seconds;
}

/* bytes a second of reading an array from end to end, a contiguous part for each thread */
double bandwidth(const vector *array, long n_bytes, int threads) {
    double used = 0, begin = omp_get_wtime();
#pragma omp parallel num_threads(threads) reduction(+ : used)
    {
        vector sums[4] = {0};
#pragma omp for schedule(static)
        for (long i = 0; i < n_bytes / (4 * BYTES); i++)
            for (int j = 0; j < 4; j++) sums[j] += array[4 * i + j];
        for (int i = 0; i < LANES; i++) used += sums[0][i] + sums[1][i] + sums[2][i] + sums[3][i];
    }
    const double seconds = omp_get_wtime() - begin;
    return used == 0.5 ? 0 : n_bytes / seconds;
}

int vector_bytes(void) { return BYTES; }
