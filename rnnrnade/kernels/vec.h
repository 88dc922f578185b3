/* The vector type of one translation unit, its few primitives, and exp, expm1, log, sigmoid, tanh with their errors.

   This is the only file with intrinsics.  REAL_BITS (32 or 64) and VECTOR_BYTES (64, 32, 16) come from the file
   that includes template.h.  Arithmetic is written with the operators of GCC's and clang's vector extension.

   Errors, in units in the last place, are the largest seen in 4 million arguments against long double, in both
   types and all rows (tests/test_functions.py repeats the measurement with fewer):
       exp_      1.2   on [-87, 88] and [-708, 709], clamped outside
       expm1_    2.5   on the same
       log_      1.0   on positive normal numbers
       sigmoid_  0.81  units in the last place of 1; of its own, 2.5 + 1.2 |x| with AVX-512, 2.5 without
       tanh_     1.61  units in the last place of 1
   NaN goes through all of them. */

#if REAL_BITS == 32
typedef float real;
typedef int32_t integer;
typedef uint32_t natural;
#else
typedef double real;
typedef int64_t integer;
typedef uint64_t natural;
#endif

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef integer ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef natural uvec __attribute__((vector_size(VECTOR_BYTES))); /* bits: sums and shifts wrap */

/* Two vectors to a panel: enough independent chains to hide the latency of a multiply-add. */
enum { LANES = VECTOR_BYTES / sizeof(real), VECTORS = 2, WIDTH = VECTORS * LANES };

#define INLINE static inline __attribute__((always_inline))

INLINE vec load(const real *p) { vec v; memcpy(&v, p, sizeof v); return v; }
INLINE void store(real *p, vec v) { memcpy(p, &v, sizeof v); }
INLINE vec splat(real s) { return s - (vec){0}; }
INLINE ivec splat_int(integer s) { return s - (ivec){0}; }

/* fused(a, b, c) = a b + c, rounded once where the machine can.  larger(a, b), smaller(a, b): b where one of them
   is NaN, so a constant goes first. */
#if VECTOR_BYTES == 64 && REAL_BITS == 32
INLINE vec fused(vec a, vec b, vec c) { return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE vec larger(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vec smaller(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
#elif VECTOR_BYTES == 64
INLINE vec fused(vec a, vec b, vec c) { return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
INLINE vec larger(vec a, vec b) { return (vec)_mm512_max_pd((__m512d)a, (__m512d)b); }
INLINE vec smaller(vec a, vec b) { return (vec)_mm512_min_pd((__m512d)a, (__m512d)b); }
#elif VECTOR_BYTES == 32 && REAL_BITS == 32
INLINE vec fused(vec a, vec b, vec c) { return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE vec larger(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vec smaller(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
#elif VECTOR_BYTES == 32
INLINE vec fused(vec a, vec b, vec c) { return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
INLINE vec larger(vec a, vec b) { return (vec)_mm256_max_pd((__m256d)a, (__m256d)b); }
INLINE vec smaller(vec a, vec b) { return (vec)_mm256_min_pd((__m256d)a, (__m256d)b); }
#else /* 16 bytes: SSE2 has no fused multiply-add, NEON has */
#if defined(__aarch64__) && REAL_BITS == 32
INLINE vec fused(vec a, vec b, vec c) { return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
#elif defined(__aarch64__)
INLINE vec fused(vec a, vec b, vec c) { return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
#else
INLINE vec fused(vec a, vec b, vec c) { return a * b + c; }
#endif
INLINE vec choose(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }
INLINE vec larger(vec a, vec b) { return choose((ivec)(a > b), a, b); }
INLINE vec smaller(vec a, vec b) { return choose((ivec)(a < b), a, b); }
#endif

/* 0, 1, 2, ...: the index vectors of shuffles are arithmetic on it, which the compiler does. */
INLINE ivec lane_numbers(void) {
    static const integer numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    ivec lane;
    memcpy(&lane, numbers, sizeof lane);
    return lane;
}

/* Sum over the lanes, halves first, without leaving the register; by itself the compiler goes through memory. */
INLINE real sum_lanes(vec v) {
    UNROLL(4)
    for (int half = LANES / 2; half > 0; half /= 2) {
#if defined(__clang__)
        for (int l = 0; l < half; l++) v[l] += v[l + half];
#else
        v += __builtin_shuffle(v, lane_numbers() ^ half);
#endif
    }
    return v[0];
}

/* One step of a butterfly over pairs of vectors: with half = 1, 2, 4, ... exchange the lanes that have that bit of
   their number set in a with those that have it clear in b. */
INLINE void exchange(vec *a, vec *b, const int half) {
    vec a0 = *a, b0 = *b;
#if defined(__clang__)
    for (int l = 0; l < LANES; l++) {
        (*a)[l] = l & half ? b0[l ^ half] : a0[l];
        (*b)[l] = l & half ? b0[l] : a0[l ^ half];
    }
#else
    ivec lane = lane_numbers();
    ivec from_b_too = ((lane & half) != 0) & (LANES - half); /* whole vectors, so that the compiler knows them */
    *a = __builtin_shuffle(a0, b0, lane + from_b_too);
    *b = __builtin_shuffle(a0, b0, lane + half + from_b_too);
#endif
}

/* sums[m] = the sum over the lanes of v[m] for m < n, with the bits of sum_lanes, from a tree over all of them: each
   exchange lets one sum do the work of two. */
INLINE void sum_lanes_each(real *sums, vec *v, const int n) {
    int left = n;
    UNROLL(4)
    for (int half = LANES / 2; half > 0; half /= 2) {
        UNROLL(8)
        for (int i = 0; i < left; i += 2) {
            vec a = v[i], b = v[i + 1 < left ? i + 1 : i];
            exchange(&a, &b, half);
            v[i / 2] = a + b;
        }
        left = (left + 1) / 2;
    }
    UNROLL(8)
    for (int m = 0; m < n; m++) {
        int lane = 0, from = m;
        UNROLL(4)
        for (int half = LANES / 2; half > 0; half /= 2, from /= 2)
            if (from % 2) lane += half;
        sums[m] = v[from][lane];
    }
}

/* a <- the first halves of each piece of 16 bytes of a and b, number by number in turn; b <- the second halves. */
enum { PIECE = 16 / sizeof(real) };

INLINE void interleave(vec *a, vec *b) {
    vec a0 = *a, b0 = *b;
#if VECTOR_BYTES == 64 && REAL_BITS == 32 /* GCC takes a slower shuffle by itself */
    *a = (vec)_mm512_unpacklo_ps((__m512)a0, (__m512)b0), *b = (vec)_mm512_unpackhi_ps((__m512)a0, (__m512)b0);
#elif VECTOR_BYTES == 64
    *a = (vec)_mm512_unpacklo_pd((__m512d)a0, (__m512d)b0), *b = (vec)_mm512_unpackhi_pd((__m512d)a0, (__m512d)b0);
#elif VECTOR_BYTES == 32 && REAL_BITS == 32
    *a = (vec)_mm256_unpacklo_ps((__m256)a0, (__m256)b0), *b = (vec)_mm256_unpackhi_ps((__m256)a0, (__m256)b0);
#elif VECTOR_BYTES == 32
    *a = (vec)_mm256_unpacklo_pd((__m256d)a0, (__m256d)b0), *b = (vec)_mm256_unpackhi_pd((__m256d)a0, (__m256d)b0);
#else
    for (int l = 0; l < LANES; l++) {
        (*a)[l] = l % 2 ? b0[l / 2] : a0[l / 2];
        (*b)[l] = l % 2 ? b0[(l + LANES) / 2] : a0[(l + LANES) / 2];
    }
#endif
}

/* 16 bytes from each of the rows 0, PIECE, 2 PIECE, ... */
INLINE vec load_pieces(const real *const *rows, ptrdiff_t i) {
#if VECTOR_BYTES == 64 /* a broadcast under a mask: no shuffle */
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(rows[0] + i)));
    v = _mm512_mask_broadcast_i32x4(v, 0x00f0, _mm_loadu_si128((const __m128i *)(rows[PIECE] + i)));
    v = _mm512_mask_broadcast_i32x4(v, 0x0f00, _mm_loadu_si128((const __m128i *)(rows[2 * PIECE] + i)));
    return (vec)_mm512_mask_broadcast_i32x4(v, 0xf000, _mm_loadu_si128((const __m128i *)(rows[3 * PIECE] + i)));
#elif VECTOR_BYTES == 32
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(rows[0] + i)));
    return (vec)_mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)(rows[PIECE] + i)), 1);
#else
    return load(rows[0] + i);
#endif
}

/* column[j][l] = rows[l][i + j]   for j < PIECE */
INLINE void load_columns(vec column[PIECE], const real *const *rows, ptrdiff_t i) {
    UNROLL(4)
    for (int j = 0; j < PIECE; j++) column[j] = load_pieces(rows + j, i);
    UNROLL(2)
    for (int half = PIECE / 2; half > 0; half /= 2)
        UNROLL(4)
        for (int j = 0; j < PIECE; j++)
            if (!(j & half)) interleave(&column[j], &column[j + half]);
}

/* exp(x) = 2^n exp(r), |r| <= log(2)/2; exp(r) by its Taylor polynomial of degree 7 (float: remainder 5e-9) or
   13 (double: remainder 4e-18).  log(2) is split in two so that n log(2) is exact to twice the precision.
   The sum with 1.5 * 2^23 (2^52) rounds to the nearest integer and leaves it in the low bits. */
INLINE vec exp_or_expm1(vec x, const int minus_one) {
#if REAL_BITS == 32
    const real smallest = -87, largest = 88, log2e = 1.44269504f, round = 12582912.0f;
    const real ln2_high = 0.693145752f, ln2_low = 1.42860677e-6f;
    static const real c[] = {1 / 5040.f, 1 / 720.f, 1 / 120.f, 1 / 24.f, 1 / 6.f, 0.5f, 1, 1};
    enum { mantissa = 23 };
#else
    const real smallest = -708, largest = 709, log2e = 1.4426950408889634074, round = 6755399441055744.0;
    const real ln2_high = 0x1.62e42fefap-1, ln2_low = 0x1.cf79abc9e3b3ap-40;
    static const real c[] = {1 / 6227020800., 1 / 479001600., 1 / 39916800., 1 / 3628800., 1 / 362880.,
                             1 / 40320., 1 / 5040., 1 / 720., 1 / 120., 1 / 24., 1 / 6., 0.5, 1, 1};
    enum { mantissa = 52 };
#endif
    x = smaller(splat(largest), larger(splat(smallest), x));
    vec shifted = fused(x, splat(log2e), splat(round));
    vec n = shifted - round;
    vec r = fused(n, splat(-ln2_low), fused(n, splat(-ln2_high), x));
    vec p = splat(c[0]);
    if (minus_one) {                                           /* 2^n (exp(r) - 1) + (2^n - 1) */
        vec power = (vec)((uvec)splat(1) + ((uvec)shifted << mantissa));
        for (size_t i = 1; i < sizeof c / sizeof *c - 1; i++) p = fused(p, r, splat(c[i]));
        return fused(power, p * r, power - 1);
    }
    for (size_t i = 1; i < sizeof c / sizeof *c; i++) p = fused(p, r, splat(c[i]));
    return (vec)((uvec)p + ((uvec)shifted << mantissa));
}

INLINE vec exp_(vec x) { return exp_or_expm1(x, 0); }
INLINE vec expm1_(vec x) { return exp_or_expm1(x, 1); }        /* exp(x) - 1, precise near 0 */

/* log(x) = k log(2) + log(m), m in [1/sqrt(2), sqrt(2)), and log(m) = f - s (f - q(s^2)) with f = m - 1,
   s = f / (2 + f): the series of 2 artanh(s) with its leading terms taken exactly.  Positive normal x. */
INLINE vec log_(vec x) {
#if REAL_BITS == 32
    const natural half_root = 0x3f3504f3;
    const real ln2_high = 0.693145752f, ln2_low = 1.42860677e-6f;
    static const real c[] = {2 / 11.f, 2 / 9.f, 2 / 7.f, 2 / 5.f, 2 / 3.f};
    enum { mantissa = 23 };
#else
    const natural half_root = 0x3fe6a09e667f3bcdULL;
    const real ln2_high = 0x1.62e42fefap-1, ln2_low = 0x1.cf79abc9e3b3ap-40;
    static const real c[] = {2 / 23., 2 / 21., 2 / 19., 2 / 17., 2 / 15., 2 / 13., 2 / 11., 2 / 9., 2 / 7., 2 / 5., 2 / 3.};
    enum { mantissa = 52 };
#endif
    ivec k_int = (ivec)((uvec)x - half_root) >> mantissa;
    vec k = __builtin_convertvector(k_int, vec);
    vec f = (vec)((uvec)x - ((uvec)k_int << mantissa)) - 1;
    vec s = f / (f + 2), s2 = s * s;
    vec q = splat(c[0]);
    for (size_t i = 1; i < sizeof c / sizeof *c; i++) q = fused(q, s2, splat(c[i]));
    q = q * s2;                                                /* 2 artanh(s) / s - 2 */
    vec low = fused(k, splat(ln2_low), -(s * (f - q)));
    return fused(k, splat(ln2_high), f + low) + (x - x);       /* x - x: NaN and infinity go through as NaN */
}

/* exp(x) for a sum whose other terms are not smaller, as 1 is in a sigmoid: not clamped, and its relative error grows
   with |x|, since y = x log2(e) is rounded. 2^y = 2^floor(y) 2^(j / n) 2^r, n = 2 LANES: the second factor lies in
   two registers, the third is 1 + r q(r), q chosen for the least relative error on [0, 1 / n) (8.4e-11 in float,
   where one coefficient less costs accuracy and saves nothing, 7.6e-18 in double: Remez). The first two are `whole`,
   the third is `rest`, so that 1 + exp is one multiply-add. Only AVX-512 has the instructions. Multiply-adds and part
   of the division share one pair of pipes, and everything else here goes beside them: hence as few multiply-adds as can
   be, and no reciprocal with a step of Newton's in the place of the division. */
#define LOG2E 1.4426950408889634074

#if VECTOR_BYTES == 64
struct power { vec whole, rest; };

INLINE struct power power_of_two(vec y) {
    enum { DOWN = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC };
#if REAL_BITS == 32
    static const real powers[2 * LANES] = {
        1.f, 1.0218972f, 1.0442737f, 1.0671405f, 1.0905077f, 1.1143868f, 1.1387886f, 1.1637249f, 1.1892071f,
        1.2152474f, 1.2418578f, 1.269051f, 1.2968396f, 1.3252367f, 1.3542556f, 1.38391f, 1.4142135f, 1.4451808f,
        1.4768262f, 1.5091645f, 1.5422108f, 1.5759809f, 1.6104903f, 1.6457555f, 1.6817929f, 1.7186193f, 1.7562522f,
        1.7947091f, 1.8340081f, 1.8741677f, 1.9152066f, 1.9571441f};
    static const real c[] = {0.056084223f, 0.240215995f, 0.693147235f};
    __m512i j = (__m512i)_mm512_add_round_ps((__m512)y, _mm512_set1_ps(0x1.8p18f), DOWN);
    vec r = (vec)_mm512_reduce_ps((__m512)y, 5 << 4 | _MM_FROUND_TO_NEG_INF);
    vec whole = (vec)_mm512_permutex2var_ps(_mm512_loadu_ps(powers), j, _mm512_loadu_ps(powers + LANES));
    whole = (vec)_mm512_scalef_ps((__m512)whole, (__m512)y);
#else
    static const real powers[2 * LANES] = {
        0x1.0000000000000p+0, 0x1.0b5586cf9890fp+0, 0x1.172b83c7d517bp+0, 0x1.2387a6e756238p+0, 0x1.306fe0a31b715p+0,
        0x1.3dea64c123422p+0, 0x1.4bfdad5362a27p+0, 0x1.5ab07dd485429p+0, 0x1.6a09e667f3bcdp+0, 0x1.7a11473eb0187p+0,
        0x1.8ace5422aa0dbp+0, 0x1.9c49182a3f090p+0, 0x1.ae89f995ad3adp+0, 0x1.c199bdd85529cp+0, 0x1.d5818dcfba487p+0,
        0x1.ea4afa2a490dap+0};
    static const real c[] = {0x1.4a0386de010f6p-13, 0x1.5d7518c7bba1ap-10, 0x1.3b2ad019500dfp-7,
                             0x1.c6b08d4e93fd1p-5, 0x1.ebfbdff84120fp-3, 0x1.62e42fefa39abp-1};
    __m512i j = (__m512i)_mm512_add_round_pd((__m512d)y, _mm512_set1_pd(0x1.8p48), DOWN);
    vec r = (vec)_mm512_reduce_pd((__m512d)y, 4 << 4 | _MM_FROUND_TO_NEG_INF);
    vec whole = (vec)_mm512_permutex2var_pd(_mm512_loadu_pd(powers), j, _mm512_loadu_pd(powers + LANES));
    whole = (vec)_mm512_scalef_pd((__m512d)whole, (__m512d)y);
#endif
    vec q = splat(c[0]);
    for (size_t i = 1; i < sizeof c / sizeof *c; i++) q = fused(q, r, splat(c[i]));
    return (struct power){whole, fused(q, r, splat(1))};
}

INLINE vec exp_beside_one(vec x) {
    struct power p = power_of_two(x * (real)LOG2E);
    return p.whole * p.rest;
}

/* 1 + exp(s x) */
INLINE vec one_plus_exp(real s, vec x) {
    struct power p = power_of_two(x * (s * (real)LOG2E));
    return fused(p.whole, p.rest, splat(1));
}
#else
INLINE vec exp_beside_one(vec x) { return exp_(x); }
INLINE vec one_plus_exp(real s, vec x) { return 1 + exp_(s * x); }
#endif

INLINE vec sigmoid_(vec x) { return 1 / one_plus_exp(-1, x); }

/* tanh(x) = 2 sigmoid(2 x) - 1: exact to one rounding of 1, as is sigmoid, which is what units need. */
INLINE vec tanh_(vec x) { return 2 / one_plus_exp(-2, x) - 1; }
