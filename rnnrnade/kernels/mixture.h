/* Mixtures: K components of one family, support R, P = 3 K raw outputs, and K more where the family has a shape.

   (6)  alpha = softmax(z^alpha),  mu = z^mu,  sigma = min_scale + exp(z^sigma)
   (7)  log p(x) = logsumexp_k(z^alpha_k - m + log f(u_k) - log sigma_k) - logsumexp_k(z^alpha_k - m),
        u_k = (x - mu_k) / sigma_k,  m = max_k z^alpha_k: subtracted first, since a sum with a large z^alpha loses digits

   f is that of the family (families.h).  With s = -d log f / du, its minus_slope, and pi_k the part of component k in p(x),
   d log p / dz^alpha = pi - alpha,  / dz^mu = pi s / sigma,  / dz^sigma = pi (s u - 1) exp(z^sigma) / sigma,  and by the raw
   output of a shape pi shape_slope.

   Layout: panels (P, W), a frame in each lane, so that maxima and sums over components are elementwise.  The loop over the
   vectors of a panel is outside, those over components inside, three times forward (m, the terms and their maximum, the
   sums) and once more backward; all run in ascending k.  The gradient keeps what it needs in z itself.  With min_scale = 0, the
   paper's link, log sigma is z: without that branch the forward pass takes 1.02 to 1.03 times as long. */

/* The largest exponent starts at a finite number, LOWEST: where every term is -inf the result is about LOWEST, not NaN, and the
   caller computes what this type cannot hold in double precision (core/families.pxi, far_log_density). */
struct scale { vec inverse, log, slope; };   /* 1 / sigma, log sigma, exp(z) / sigma */

INLINE struct scale scale_link(vec z, real min_scale) {
    vec e = exp_(z);
    if (min_scale == 0) return (struct scale){1 / e, z, splat(1)};     /* the paper's link needs no logarithm */
    vec sigma = e + min_scale, inverse = 1 / sigma;
    return (struct scale){inverse, log_(sigma), e * inverse};
}

/* log p(x), and the two sums of exp(. - maximum), s0 over z^alpha and s1 over q, the exponent of each term, which scratch
   holds, m1 the largest.  With `keep`, the terms of the sums replace z^alpha and q, z^mu <- u, z^sigma <- e / sigma (e =
   exp(z^sigma)), that of a shape <- shape_slope, and the second K rows of scratch <- 1 / sigma: the gradient at D = 2 takes
   0.97 of the time without more exponentials. */
struct mixture { vec log_density, s0, s1, m1; };

INLINE struct mixture mixture_sums(const enum head family, const int keep, real *scratch, real *z, vec x, const struct outputs *at) {
    const ptrdiff_t K = at->K;
    real *z_alpha = z + at->alpha * WIDTH, *z_mu = z + at->mu * WIDTH, *z_sigma = z + at->sigma * WIDTH;
    real *z_nu = z + at->nu * WIDTH;
    vec m0 = splat(LOWEST), m1 = splat(LOWEST), s0 = splat(0), s1 = splat(0);
    for (ptrdiff_t k = 0; k < K; k++) m0 = larger(m0, load(z_alpha + k * WIDTH));
    for (ptrdiff_t k = 0; k < K; k++) {
        struct scale scale = scale_link(load(z_sigma + k * WIDTH), at->min_scale);
        vec alpha_k = load(z_alpha + k * WIDTH) - m0;
        vec u = (x - load(z_mu + k * WIDTH)) * scale.inverse;
        vec q = plus_log_kernel(family, u, alpha_k, shape_of(family, at, k)) - scale.log;
        store(scratch + k * WIDTH, q);
        m1 = larger(m1, q);
        if (keep) {
            store(z_mu + k * WIDTH, u);
            store(z_sigma + k * WIDTH, scale.slope);
            store(scratch + (K + k) * WIDTH, scale.inverse);
            if (is_shaped(family)) store(z_nu + k * WIDTH, shape_slope(family, u, at->shapes + k));
        }
    }
    for (ptrdiff_t k = 0; k < K; k++) {
        vec e0 = exp_beside_one(load(z_alpha + k * WIDTH) - m0), e1 = exp_beside_one(load(scratch + k * WIDTH) - m1);
        s0 += e0;
        s1 += e1;
        if (keep) {
            store(z_alpha + k * WIDTH, e0);
            store(scratch + k * WIDTH, e1);
        }
    }
    return (struct mixture){m1 + log_(s1 / s0) - log_constant(family), s0, s1, m1};
}

INLINE void mixture_log_density(const enum head family, real *log_density, real *scratch, real *z, const real *x,
                                const struct outputs *at) {
    for (int v = 0; v < WIDTH; v += LANES)
        store(log_density + v, mixture_sums(family, 0, scratch + v, z + v, load(x + v), at).log_density);
}

INLINE void mixture_gradient(const enum head family, real *log_density, real *scratch, real *z, const real *x,
                             const real *weight, const struct outputs *at) {
    const ptrdiff_t K = at->K;
    for (int v = 0; v < WIDTH; v += LANES) {
        real *z_alpha = z + at->alpha * WIDTH + v, *z_mu = z + at->mu * WIDTH + v, *z_sigma = z + at->sigma * WIDTH + v;
        struct mixture s = mixture_sums(family, 1, scratch + v, z + v, load(x + v), at);
        store(log_density + v, s.log_density);
        vec w = load(weight + v), w0 = w / s.s0, w1 = w / s.s1;
        for (ptrdiff_t k = 0; k < K; k++) {
            vec u = load(z_mu + k * WIDTH), slope = load(z_sigma + k * WIDTH);
            vec inverse = load(scratch + v + (K + k) * WIDTH);
            vec pi = load(scratch + v + k * WIDTH) * w1, alpha = load(z_alpha + k * WIDTH) * w0;
            vec pi_s = pi * minus_slope(family, u, shape_of(family, at, k));
            store(z_alpha + k * WIDTH, pi - alpha);                      /* dz^alpha = pi - alpha */
            store(z_mu + k * WIDTH, pi_s * inverse);                     /* dz^mu = pi s / sigma */
            store(z_sigma + k * WIDTH, fused(pi_s, u, -pi) * slope);     /* dz^sigma = pi (s u - 1) e / sigma */
            if (is_shaped(family)) {
                real *z_nu = z + (at->nu + k) * WIDTH + v;
                store(z_nu, pi * load(z_nu));
            }
        }
    }
}

/* Components of several numbers: their weights after one of them, and the gradient by what is of one number alone. */
INLINE void mixture_posterior(const enum head family, real *log_density, real *after, real *z, const real *x,
                              const struct outputs *at) {
    for (int v = 0; v < WIDTH; v += LANES) {
        struct mixture s = mixture_sums(family, 0, after + v, z + v, load(x + v), at);
        store(log_density + v, s.log_density);
        for (ptrdiff_t k = 0; k < at->K; k++)
            store(after + k * WIDTH + v, larger(splat(LOWEST), load(after + k * WIDTH + v) - s.m1));
    }
}

INLINE void mixture_component_gradient(const enum head family, real *z, const real *x, const real *pi,
                                       const struct outputs *at) {
    for (int v = 0; v < WIDTH; v += LANES) {
        real *z_mu = z + at->mu * WIDTH + v, *z_sigma = z + at->sigma * WIDTH + v;
        vec x_v = load(x + v);
        for (ptrdiff_t k = 0; k < at->K; k++) {
            struct scale scale = scale_link(load(z_sigma + k * WIDTH), at->min_scale);
            vec u = (x_v - load(z_mu + k * WIDTH)) * scale.inverse, pi_k = load(pi + k * WIDTH + v);
            vec pi_s = pi_k * minus_slope(family, u, shape_of(family, at, k));
            store(z_mu + k * WIDTH, pi_s * scale.inverse);                   /* dz^mu = pi s / sigma */
            store(z_sigma + k * WIDTH, fused(pi_s, u, -pi_k) * scale.slope); /* dz^sigma = pi (s u - 1) e / sigma */
            if (is_shaped(family))
                store(z + (at->nu + k) * WIDTH + v, pi_k * shape_slope(family, u, shape_of(family, at, k)));
        }
    }
}

/* mu_k + sigma_k u, u the noise or what `deviate` makes of it; component: the first k whose cumulative weight exceeds
   uniform times the total. */
INLINE void mixture_draw(const enum head family, real *x, real *scratch, const real *z, const real *uniform, const real *noise,
                         const struct outputs *at, ptrdiff_t lanes) {
    const ptrdiff_t K = at->K;
    for (int v = 0; v < lanes; v += LANES) {
        const real *z_alpha = z + at->alpha * WIDTH + v, *z_mu = z + at->mu * WIDTH + v, *z_sigma = z + at->sigma * WIDTH + v;
        real *cumulative = scratch + v;
        vec m0 = splat(LOWEST), s0 = splat(0);
        for (ptrdiff_t k = 0; k < K; k++) m0 = larger(m0, load(z_alpha + k * WIDTH));
        for (ptrdiff_t k = 0; k < K; k++) {
            s0 += exp_(load(z_alpha + k * WIDTH) - m0);
            store(cumulative + k * WIDTH, s0);
        }
        vec threshold = load(uniform + v) * s0, mu = splat(0), z_chosen = splat(0), nu = splat(0), u = load(noise + v);
        ivec undecided = splat_int(-1);
        for (ptrdiff_t k = 0; k < K; k++) {                                  /* the last one takes what is left */
            ivec past = k == K - 1 ? splat_int(-1) : (ivec)(load(cumulative + k * WIDTH) > threshold);
            ivec take = undecided & past;
            mu = (vec)((ivec)mu | (take & (ivec)load(z_mu + k * WIDTH)));
            z_chosen = (vec)((ivec)z_chosen | (take & (ivec)load(z_sigma + k * WIDTH)));
            if (is_shaped(family)) nu = (vec)((ivec)nu | (take & (ivec)splat((real)at->shapes[k].nu)));
            undecided &= ~past;
        }
        if (is_shaped(family)) u = deviate(family, u, load(noise + WIDTH + v), nu);
        store(x + v, fused(exp_(z_chosen) + (real)at->min_scale, u, mu));
    }
}

INLINE void mixture_link(const enum head family, real *parameters, const real *z, const struct outputs *at) {
    const ptrdiff_t K = at->K;
    for (int v = 0; v < WIDTH; v += LANES) {
        vec m0 = splat(LOWEST), s0 = splat(0);
        for (ptrdiff_t k = 0; k < K; k++) m0 = larger(m0, load(z + (at->alpha + k) * WIDTH + v));
        for (ptrdiff_t k = 0; k < K; k++) s0 += exp_(load(z + (at->alpha + k) * WIDTH + v) - m0);
        for (ptrdiff_t k = 0; k < K; k++) {
            store(parameters + k * WIDTH + v, exp_(load(z + (at->alpha + k) * WIDTH + v) - m0) / s0);
            store(parameters + (K + k) * WIDTH + v, load(z + (at->mu + k) * WIDTH + v));
            store(parameters + (2 * K + k) * WIDTH + v,
                  exp_(load(z + (at->sigma + k) * WIDTH + v)) + (real)at->min_scale);
            if (is_shaped(family)) store(parameters + (3 * K + k) * WIDTH + v, splat((real)at->shapes[k].nu));
        }
    }
}

/* The functions of each family. */
#define OF(NAME, name)                                                                                                  \
    static void name##_log_density(real *log_density, real *scratch, real *z, const real *x, const struct outputs *at) { \
        mixture_log_density(NAME, log_density, scratch, z, x, at);                                                      \
    }                                                                                                                   \
    static void name##_gradient(real *log_density, real *scratch, real *z, const real *x, const real *weight,           \
                                const struct outputs *at) {                                                             \
        mixture_gradient(NAME, log_density, scratch, z, x, weight, at);                                                 \
    }                                                                                                                   \
    static void name##_draw(real *x, real *scratch, const real *z, const real *uniform, const real *noise,              \
                            const struct outputs *at, ptrdiff_t lanes) {                                                \
        mixture_draw(NAME, x, scratch, z, uniform, noise, at, lanes);                                                   \
    }                                                                                                                   \
    static void name##_link(real *parameters, const real *z, const struct outputs *at) {                                \
        mixture_link(NAME, parameters, z, at);                                                                          \
    }                                                                                                                   \
    static void name##_posterior(real *log_density, real *after, real *z, const real *x, const struct outputs *at) {    \
        mixture_posterior(NAME, log_density, after, z, x, at);                                                          \
    }                                                                                                                   \
    static void name##_component_gradient(real *z, const real *x, const real *pi, const struct outputs *at) {           \
        mixture_component_gradient(NAME, z, x, pi, at);                                                                 \
    }
FAMILIES(OF)
#undef OF
