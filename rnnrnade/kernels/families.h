/* The families of components: the density f of u = (x - mu) / sigma.  A family is what follows, in this order, under one
   comment with its support, its link and its formula, and its name in FAMILIES of kernels.h:

       plus_log_kernel   alpha + log f(u), but for the constant
       minus_slope       -d log f / du
       log_constant      what plus_log_kernel leaves out of -log f

   and, where it has a shape, a parameter of each component, its name in SHAPED and

       shape_slope       d log f / dz of the raw output z that the shape is made of
       deviate           a draw of u from two standard normal numbers and the shape

   `shape` is what the density asks of it, computed before; the other families do not look at it.  The link of all is
   (6): mu = z^mu, sigma = min_scale + exp(z^sigma).  NaN goes through, and an infinite u makes none.
   The loop over components, lanes and rows is in mixture.h and knows no family. */

#if REAL_BITS == 32
#define LARGEST FLT_MAX
#else
#define LARGEST DBL_MAX
#endif
#define LOWEST (-LARGEST)

/* ---- Gaussian: support R.  log f(u) = -u^2 / 2 - log(2 pi) / 2.  sigma is the standard deviation. ---- */

INLINE vec gaussian_plus_log_kernel(vec u, vec alpha, const struct shape *shape) {
    (void)shape;
    return fused(splat(-0.5) * u, u, alpha);
}
INLINE vec gaussian_minus_slope(vec u, const struct shape *shape) {
    (void)shape;
    return u;
}
INLINE real gaussian_log_constant(void) { return (real)0.91893853320467274178; }

/* ---- Laplace: support R.  log f(u) = -|u| - log 2.  The slope at the kink is 0. ---- */

INLINE vec laplace_plus_log_kernel(vec u, vec alpha, const struct shape *shape) {
    (void)shape;
    return alpha - larger(u, -u);
}
INLINE vec laplace_minus_slope(vec u, const struct shape *shape) {
    (void)shape;
    return (vec)(((ivec)(u > 0) & (ivec)splat(1)) | ((ivec)(u < 0) & (ivec)splat(-1)));
}
INLINE real laplace_log_constant(void) { return (real)0.69314718055994530942; }

/* ---- logistic: support R.  log f(u) = -|u| - 2 log(1 + exp(-|u|)),  -d log f / du = tanh(u / 2). ---- */

INLINE vec logistic_plus_log_kernel(vec u, vec alpha, const struct shape *shape) {
    (void)shape;
    vec size = larger(u, -u);
    return fused(splat(-2), log_(one_plus_exp(-1, size)), alpha - size);
}
INLINE vec logistic_minus_slope(vec u, const struct shape *shape) {
    (void)shape;
    vec m = expm1_(-larger(u, -u)), minus_size = m / (2 + m);                /* tanh(v / 2) = (e^v - 1) / (e^v + 1) */
    return (vec)((ivec)minus_size ^ ((ivec)(u > 0) & (ivec)splat(-(real)0)));
}
INLINE real logistic_log_constant(void) { return 0; }

/* ---- Student: support R.  log f(u) = log f(0) - (nu + 1) / 2 log(1 + t),  t = u^2 / nu,  -d log f / du = (nu + 1) / nu
   u / (1 + t),  d log f / dz^nu = (nu - 1) (d log f(0) / dnu - log(1 + t) / 2 + (nu + 1) / (2 nu) t / (1 + t)).  log f(0) is
   in the kernel, since it differs from one component to the next.  A square that overflows makes log f -inf: the caller
   computes it in double precision, as what is below LOWEST (mixture.h). ---- */

INLINE vec student_w(vec t) { return smaller(splat(LARGEST), 1 + t); }

INLINE vec student_log1p(vec t) {                                            /* the rounding of 1 + t made good */
    vec w = student_w(t);
    return log_(w) + (t - (w - 1)) / w;
}
INLINE vec student_plus_log_kernel(vec u, vec alpha, const struct shape *shape) {
    vec t = u * u * splat((real)shape->inverse);
    return fused(splat(-(real)shape->power), student_log1p(t), alpha + (real)shape->log_norm);
}
INLINE vec student_minus_slope(vec u, const struct shape *shape) {
    return splat((real)(2 * shape->power * shape->inverse)) * u / student_w(u * u * splat((real)shape->inverse));
}
INLINE real student_log_constant(void) { return 0; }
INLINE vec student_shape_slope(vec u, const struct shape *shape) {           /* finite for an infinite u, too */
    vec t = u * u * splat((real)shape->inverse), log1p = smaller(splat(2048), student_log1p(t));
    vec part = fused(splat((real)(shape->power * shape->inverse)), smaller(splat(LARGEST), t) / student_w(t),
                     splat(-(real)0.5) * log1p);
    return splat((real)(shape->nu - 1)) * (part + (real)shape->log_norm_slope);
}
INLINE vec student_deviate(vec first, vec second, vec nu) {
    /* u = g ((exp(q) - 1) / q)^(1/2),  q = (g^2 + g'^2) / nu:  R. W. Bailey, Mathematics of Computation 62, 1994 */
    vec square = fused(first, first, second * second);
    vec q = larger(splat((real)1e-30), square / nu);
    return first * exp_((real)0.5 * log_(expm1_(q) / q));
}

/* ---- the functions of a family that is known when this is compiled ---- */

INLINE vec plus_log_kernel(const enum head family, vec u, vec alpha, const struct shape *shape) {
#define OF(NAME, name) if (family == NAME) return name##_plus_log_kernel(u, alpha, shape);
    FAMILIES(OF)
#undef OF
    return alpha;
}

INLINE vec minus_slope(const enum head family, vec u, const struct shape *shape) {
#define OF(NAME, name) if (family == NAME) return name##_minus_slope(u, shape);
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

INLINE int is_shaped(const enum head family) {
#define OF(NAME, name) if (family == NAME) return 1;
    SHAPED(OF)
#undef OF
    return 0;
}

INLINE const struct shape *shape_of(const enum head family, const struct outputs *at, ptrdiff_t k) {
    return is_shaped(family) ? at->shapes + k : NULL;
}

INLINE vec shape_slope(const enum head family, vec u, const struct shape *shape) {
#define OF(NAME, name) if (family == NAME) return name##_shape_slope(u, shape);
    SHAPED(OF)
#undef OF
    return u;
}

INLINE vec deviate(const enum head family, vec first, vec second, vec nu) {
#define OF(NAME, name) if (family == NAME) return name##_deviate(first, second, nu);
    SHAPED(OF)
#undef OF
    return first;
}
