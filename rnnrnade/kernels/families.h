/* The families of components: the density f of u = (x - mu) / sigma.  A family is what follows, in this order, under one
   comment with its support, its link and its formula, and its name in FAMILIES of kernels.h:

       plus_log_kernel   alpha + log f(u), but for the constant
       minus_slope       -d log f / du
       log_constant      what plus_log_kernel leaves out of -log f

   The link of all is (6): mu = z^mu, sigma = min_scale + exp(z^sigma).  NaN goes through, and an infinite u makes none.
   The loop over components, lanes and rows is in mixture.h and knows no family. */

/* ---- Gaussian: support R.  log f(u) = -u^2 / 2 - log(2 pi) / 2.  sigma is the standard deviation. ---- */

INLINE vec gaussian_plus_log_kernel(vec u, vec alpha) { return fused(splat(-0.5) * u, u, alpha); }
INLINE vec gaussian_minus_slope(vec u) { return u; }
INLINE real gaussian_log_constant(void) { return (real)0.91893853320467274178; }

/* ---- Laplace: support R.  log f(u) = -|u| - log 2.  The slope at the kink is 0. ---- */

INLINE vec laplace_plus_log_kernel(vec u, vec alpha) { return alpha - larger(u, -u); }
INLINE vec laplace_minus_slope(vec u) {
    return (vec)(((ivec)(u > 0) & (ivec)splat(1)) | ((ivec)(u < 0) & (ivec)splat(-1)));
}
INLINE real laplace_log_constant(void) { return (real)0.69314718055994530942; }

/* ---- logistic: support R.  log f(u) = -|u| - 2 log(1 + exp(-|u|)),  -d log f / du = tanh(u / 2). ---- */

INLINE vec logistic_plus_log_kernel(vec u, vec alpha) {
    vec size = larger(u, -u);
    return fused(splat(-2), log_(one_plus_exp(-1, size)), alpha - size);
}
INLINE vec logistic_minus_slope(vec u) {
    vec m = expm1_(-larger(u, -u)), minus_size = m / (2 + m);                /* tanh(v / 2) = (e^v - 1) / (e^v + 1) */
    return (vec)((ivec)minus_size ^ ((ivec)(u > 0) & (ivec)splat(-(real)0)));
}
INLINE real logistic_log_constant(void) { return 0; }

/* ---- the functions of a family that is known when this is compiled ---- */

INLINE vec plus_log_kernel(const enum head family, vec u, vec alpha) {
#define OF(NAME, name) if (family == NAME) return name##_plus_log_kernel(u, alpha);
    FAMILIES(OF)
#undef OF
    return alpha;
}

INLINE vec minus_slope(const enum head family, vec u) {
#define OF(NAME, name) if (family == NAME) return name##_minus_slope(u);
    FAMILIES(OF)
#undef OF
    return u;
}

INLINE real log_constant(const enum head family) {
#define OF(NAME, name) if (family == NAME) return name##_log_constant();
    FAMILIES(OF)
#undef OF
    return 0;
}
