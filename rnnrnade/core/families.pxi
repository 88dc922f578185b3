# The families of components in double precision, for the row "plain" and for the roots of quantiles.pxi: functions of
# u = (x - mu) / sigma, symmetric about 0, with the formulas of kernels/families.h.  A family is its functions, in this
# order, and its row in the table, under its name in FAMILIES.

from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport NAN, atanh, erf, erfc, exp, fabs, log, log1p, tanh

cdef extern from "kernels/kernels.h" nogil:
    enum:
        GAUSSIAN
        LAPLACE
        LOGISTIC
        N_FAMILIES

FAMILIES = {"gaussian": <int>GAUSSIAN, "laplace": <int>LAPLACE, "logistic": <int>LOGISTIC}

ctypedef double (*function_of_one)(double) noexcept nogil

cdef struct Family:
    function_of_one log_kernel        # log f(u), but for the constant
    function_of_one minus_slope       # -d log f / du
    function_of_one cdf               # F(u), to relative precision for u < 0
    function_of_one log_cdf           # log F(u)
    function_of_one rate              # f(u) / F(u)
    function_of_one quantile          # the u with F(u) = Phi(z), for z <= 0
    double norm, log_norm             # f(u) = exp(log_kernel(u)) / norm


# ---- Gaussian ----------------------------------------------------------------------------------------------------

cdef:
    double SQRT_HALF = 0.7071067811865476
    double SQRT_2PI = 2.5066282746310002
    double LOG_SQRT_2PI = 0.91893853320467274178
    double FAR = -37                # from here on down Phi is near the smallest numbers, and by its asymptotic series


cdef inline double mills_series(double u) noexcept nogil:
    """-u Phi(u) / phi(u) for u <= FAR"""
    cdef double s = 1 / (u * u)
    return 1 - s * (1 - 3 * s * (1 - 5 * s * (1 - 7 * s * (1 - 9 * s))))


cdef double gaussian_log_kernel(double u) noexcept nogil:
    return -0.5 * u * u


cdef double gaussian_minus_slope(double u) noexcept nogil:
    return u


cdef double Phi(double u) noexcept nogil:
    return 0.5 * erfc(-u * SQRT_HALF)


cdef double log_Phi(double u) noexcept nogil:
    if u > 0:
        return log1p(-0.5 * erfc(u * SQRT_HALF))
    if u > FAR:
        return log(0.5 * erfc(-u * SQRT_HALF))
    return -0.5 * u * u - log(-u * SQRT_2PI) + log(mills_series(u))


cdef double gaussian_rate(double u) noexcept nogil:
    if u <= FAR:
        return -u / mills_series(u)
    return exp(-0.5 * u * u) / (SQRT_2PI * 0.5 * erfc(-u * SQRT_HALF))


cdef double gaussian_quantile(double z) noexcept nogil:
    return z


# ---- Laplace -----------------------------------------------------------------------------------------------------

cdef double LOG_2 = 0.69314718055994530942


cdef double laplace_log_kernel(double u) noexcept nogil:
    return -fabs(u)


cdef double laplace_minus_slope(double u) noexcept nogil:
    return (u > 0) - (u < 0)


cdef double laplace_cdf(double u) noexcept nogil:
    return 0.5 * exp(u) if u < 0 else 1 - 0.5 * exp(-u)


cdef double laplace_log_cdf(double u) noexcept nogil:
    return u - LOG_2 if u < 0 else log1p(-0.5 * exp(-u))


cdef double laplace_rate(double u) noexcept nogil:
    return 1 if u < 0 else 0.5 * exp(-u) / (1 - 0.5 * exp(-u))


cdef double laplace_quantile(double z) noexcept nogil:
    return log1p(erf(z * SQRT_HALF)) if z > -1 else log_Phi(z) + LOG_2


# ---- logistic ----------------------------------------------------------------------------------------------------

cdef double logistic_log_kernel(double u) noexcept nogil:
    return -fabs(u) - 2 * log1p(exp(-fabs(u)))


cdef double logistic_minus_slope(double u) noexcept nogil:
    return tanh(0.5 * u)


cdef double logistic_cdf(double u) noexcept nogil:
    return 1 / (1 + exp(-u))


cdef double logistic_log_cdf(double u) noexcept nogil:
    return min(u, 0.) - log1p(exp(-fabs(u)))


cdef double logistic_rate(double u) noexcept nogil:
    return 1 / (1 + exp(u))


cdef double logistic_quantile(double z) noexcept nogil:
    return 2 * atanh(erf(z * SQRT_HALF)) if z > -1 else log_Phi(z) - log_Phi(-z)


# ---- what the type of the network cannot hold ----------------------------------------------------------------------

cdef inline double beyond(const real* z) noexcept nogil:
    """Log-densities below are not to be believed where they are of the type of z: a square has overflowed, or may have."""
    return -0.5 * (<double>FLT_MAX if real is float else DBL_MAX)


cdef double far_log_density(const Net* net, const real* z, Py_ssize_t W, double x) noexcept nogil:
    """(7) for an x that is too far from all components for the kernels, in double precision; -inf where that is too
    narrow, too.  z (P), W apart."""
    cdef Py_ssize_t k, K = net.at.K
    cdef const Family* f = &families[net.head]
    cdef const real *alpha = z + net.at.alpha * W
    cdef const real *mu = z + net.at.mu * W
    cdef const real *sigma = z + net.at.sigma * W
    cdef double m = -INFINITY, prior = 0, top = -INFINITY, total = 0, part
    for k in range(K):
        m = max(m, <double>alpha[k * W])
    for k in range(K):
        prior += exp(alpha[k * W] - m)
        top = max(top, alpha[k * W] - m + log_component(net, f, mu[k * W], sigma[k * W], x))
    if top == -INFINITY:
        return top
    for k in range(K):
        total += exp(alpha[k * W] - m + log_component(net, f, mu[k * W], sigma[k * W], x) - top)
    return top + log(total / prior) - f.log_norm


cdef inline double log_component(const Net* net, const Family* f, double mu, double z, double x) noexcept nogil:
    """log f(u) - log sigma, but for the constant."""
    cdef double sigma
    if net.at.min_scale == 0:                                 # sigma = exp(z) may be 0 or infinite
        return f.log_kernel((x - mu) * exp(-z) if x != mu else 0) - z
    sigma = net.at.min_scale + exp(z)
    return f.log_kernel((x - mu) / sigma) - log(sigma)


# ---- the table ---------------------------------------------------------------------------------------------------

cdef double unknown(double u) noexcept nogil:
    return NAN


cdef Family[N_FAMILIES] families

for _family in range(N_FAMILIES):     # one that is in kernels.h and not here gives NaN, and from_normal refuses it
    families[<int>_family] = Family(&unknown, &unknown, &unknown, &unknown, &unknown, &unknown, NAN, NAN)
families[GAUSSIAN] = Family(&gaussian_log_kernel, &gaussian_minus_slope, &Phi, &log_Phi, &gaussian_rate, &gaussian_quantile,
                            SQRT_2PI, LOG_SQRT_2PI)
families[LAPLACE] = Family(&laplace_log_kernel, &laplace_minus_slope, &laplace_cdf, &laplace_log_cdf, &laplace_rate,
                           &laplace_quantile, 2, LOG_2)
families[LOGISTIC] = Family(&logistic_log_kernel, &logistic_minus_slope, &logistic_cdf, &logistic_log_cdf, &logistic_rate,
                            &logistic_quantile, 1, 0)


def of_family(str name, double u):
    """The functions of a family at u, by name; that of its quantile at -abs(u).  For tests of their accuracy."""
    if name not in FAMILIES:
        raise ValueError(f"name must be one of {', '.join(FAMILIES)}. Got {name!r} instead.")
    cdef const Family* f = &families[<int>FAMILIES[name]]
    return {"log_f": f.log_kernel(u) - f.log_norm, "f": exp(f.log_kernel(u)) / f.norm, "minus_slope": f.minus_slope(u),
            "cdf": f.cdf(u), "log_cdf": f.log_cdf(u), "rate": f.rate(u), "quantile": f.quantile(-fabs(u))}
