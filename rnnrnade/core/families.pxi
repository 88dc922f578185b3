# The families of components in double precision, for the row "plain" and for the roots of quantiles.pxi: functions of
# u = (x - mu) / sigma, symmetric about 0, with the formulas of kernels/families.h.  A family is its functions, in this
# order, and its row in the table, under its name in FAMILIES.  One with a shape reads what it asks of it from `own`, which
# its function `shape` makes of the raw output, once a call for each dimension and component (`shapes_of`).

from libc.float cimport DBL_MAX, FLT_MAX
from libc.math cimport NAN, atanh, erf, erfc, exp, expm1, fabs, isinf, log, log1p, sqrt, tanh

cdef extern from "kernels/kernels.h" nogil:
    enum:
        GAUSSIAN
        LAPLACE
        LOGISTIC
        STUDENT
        N_FAMILIES

FAMILIES = {"gaussian": <int>GAUSSIAN, "laplace": <int>LAPLACE, "logistic": <int>LOGISTIC,
            "student": <int>STUDENT}

ctypedef double (*function_of_one)(double, const shape*) noexcept nogil
ctypedef double (*function_of_three)(double, double, double) noexcept nogil
ctypedef void (*function_of_output)(shape*, double) noexcept nogil

cdef struct Family:
    function_of_one log_kernel        # log f(u), but for the constant
    function_of_one minus_slope       # -d log f / du
    function_of_one cdf               # F(u), to relative precision for u < 0
    function_of_one log_cdf           # log F(u)
    function_of_one rate              # f(u) / F(u)
    function_of_one quantile          # the u with F(u) = Phi(z), for z <= 0
    double norm, log_norm             # f(u) = exp(log_kernel(u)) / norm
    function_of_output shape          # NULL, as the rest, where the family has none
    function_of_one shape_slope       # d log f / d its raw output
    function_of_three deviate         # a draw of u from two standard normal numbers and nu


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


cdef double gaussian_log_kernel(double u, const shape* own) noexcept nogil:
    return -0.5 * u * u


cdef double gaussian_minus_slope(double u, const shape* own) noexcept nogil:
    return u


cdef double Phi(double u) noexcept nogil:
    return 0.5 * erfc(-u * SQRT_HALF)


cdef double log_Phi(double u) noexcept nogil:
    if u > 0:
        return log1p(-0.5 * erfc(u * SQRT_HALF))
    if u > FAR:
        return log(0.5 * erfc(-u * SQRT_HALF))
    return -0.5 * u * u - log(-u * SQRT_2PI) + log(mills_series(u))


cdef double gaussian_cdf(double u, const shape* own) noexcept nogil:
    return Phi(u)


cdef double gaussian_log_cdf(double u, const shape* own) noexcept nogil:
    return log_Phi(u)


cdef double gaussian_rate(double u, const shape* own) noexcept nogil:
    if u <= FAR:
        return -u / mills_series(u)
    return exp(-0.5 * u * u) / (SQRT_2PI * 0.5 * erfc(-u * SQRT_HALF))


cdef double gaussian_quantile(double z, const shape* own) noexcept nogil:
    return z


# ---- Laplace -----------------------------------------------------------------------------------------------------

cdef double LOG_2 = 0.69314718055994530942


cdef double laplace_log_kernel(double u, const shape* own) noexcept nogil:
    return -fabs(u)


cdef double laplace_minus_slope(double u, const shape* own) noexcept nogil:
    return (u > 0) - (u < 0)


cdef double laplace_cdf(double u, const shape* own) noexcept nogil:
    return 0.5 * exp(u) if u < 0 else 1 - 0.5 * exp(-u)


cdef double laplace_log_cdf(double u, const shape* own) noexcept nogil:
    return u - LOG_2 if u < 0 else log1p(-0.5 * exp(-u))


cdef double laplace_rate(double u, const shape* own) noexcept nogil:
    return 1 if u < 0 else 0.5 * exp(-u) / (1 - 0.5 * exp(-u))


cdef double laplace_quantile(double z, const shape* own) noexcept nogil:
    return log1p(erf(z * SQRT_HALF)) if z > -1 else log_Phi(z) + LOG_2


# ---- logistic ----------------------------------------------------------------------------------------------------

cdef double logistic_log_kernel(double u, const shape* own) noexcept nogil:
    return -fabs(u) - 2 * log1p(exp(-fabs(u)))


cdef double logistic_minus_slope(double u, const shape* own) noexcept nogil:
    return tanh(0.5 * u)


cdef double logistic_cdf(double u, const shape* own) noexcept nogil:
    return 1 / (1 + exp(-u))


cdef double logistic_log_cdf(double u, const shape* own) noexcept nogil:
    return min(u, 0.) - log1p(exp(-fabs(u)))


cdef double logistic_rate(double u, const shape* own) noexcept nogil:
    return 1 / (1 + exp(u))


cdef double logistic_quantile(double z, const shape* own) noexcept nogil:
    return 2 * atanh(erf(z * SQRT_HALF)) if z > -1 else log_Phi(z) - log_Phi(-z)


# ---- Student -----------------------------------------------------------------------------------------------------
# With a = nu / 2 and x = nu / (nu + u^2), F(u) = I_x(a, 1/2) / 2 for u < 0, by the continued fraction of the incomplete
# beta function I, whose factor is |u| f(u) / a, or far from the tail 1/2 - I_{1-x}(1/2, a) / 2, with the factor 2 |u| f(u).
# Where nu is large F(u) = Phi(z), z by the expansion of G. W. Hill, Algorithm 395, Communications of the ACM 13, 1970.

cdef:
    double MOST_NU = 30             # of b_nu: from nu = 1e13 on the family is Gaussian to all digits
    double NEARLY_NORMAL = 1e4      # nu from which on the fraction has fewer digits than a normal score, as it cancels ...
    double NEAR = 0.01              # ... where u^2 / nu is below
    double SETTLED = 15             # of a, from which on a series in 1 / a has all digits


cdef void student_shape(shape* own, double z) noexcept nogil:
    """nu = 1 + exp(z), and log f(0) = log Gamma(a + 1/2) - log Gamma(a) - log(2 pi a) / 2 with its derivative by nu.

    By the series of rho(a) = log Gamma(a + 1/2) - log Gamma(a) - log(a) / 2 in 1 / a, and for small a through
    Gamma(a + 1) = a Gamma(a), so that nothing is lost where a is large."""
    cdef double a, s, product = 1, rho, slope = 0
    own.nu = 1 + exp(z if z < MOST_NU else MOST_NU)
    own.inverse = 1 / own.nu
    own.power = 0.5 * (own.nu + 1)
    a = 0.5 * own.nu
    while a < SETTLED:
        product *= a / (a + 0.5)
        slope += 0.5 / (a * (a + 0.5))
        a += 1
    s = 1 / (a * a)
    rho = (-1 / 8. + s * (1 / 192. - s * (1 / 640. - s * (17 / 14336. - s * (31 / 18432. - s * 691 / 180224.))))) / a
    slope += s * (1 / 8. - s * (3 / 192. - s * (5 / 640. - s * (119 / 14336. - s * (279 / 18432. - s * 7601 / 180224.)))))
    if a > 0.5 * own.nu:
        rho += 0.5 * log(product * product * (a / (0.5 * own.nu)))
        slope += 0.5 / a - own.inverse
    own.log_norm = rho - LOG_SQRT_2PI
    own.log_norm_slope = 0.5 * slope


cdef inline double student_log1p(double u, const shape* own) noexcept nogil:
    """log(1 + u^2 / nu), finite for every finite u"""
    cdef double root = fabs(u) * sqrt(own.inverse)
    return log1p(root * root) if root < 1e100 else 2 * log(root)


cdef double student_log_kernel(double u, const shape* own) noexcept nogil:
    return own.log_norm - own.power * student_log1p(u, own)


cdef double student_minus_slope(double u, const shape* own) noexcept nogil:
    return 2 * own.power * own.inverse * u / (1 + u * u * own.inverse)


cdef double student_shape_slope(double u, const shape* own) noexcept nogil:
    cdef double t = min(u * u * own.inverse, DBL_MAX)
    return (own.nu - 1) * (own.log_norm_slope - 0.5 * student_log1p(u, own) + own.power * own.inverse * (t / (1 + t)))


cdef double student_deviate(double first, double second, double nu) noexcept nogil:
    cdef double q = max((first * first + second * second) / nu, 1e-30)
    return first * sqrt(expm1(q) / q)


cdef double beta_fraction(double a, double b, double x) noexcept nogil:
    """I_x(a, b) a B(a, b) / (x^a (1 - x)^b) by Lentz's method, for x < (a + 1) / (a + b + 2)"""
    cdef double c = 1, d = 1 / (1 - (a + b) * x / (a + 1)), h = d, change, term
    cdef int m
    for m in range(1, 100000):
        term = m * (b - m) * x / ((a - 1 + 2 * m) * (a + 2 * m))
        d = 1 / (1 + term * d)
        c = 1 + term / c
        h *= d * c
        term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 1 + 2 * m))
        d = 1 / (1 + term * d)
        c = 1 + term / c
        change = d * c
        h *= change
        if fabs(change - 1) < 2e-16:
            break
    return h


cdef inline bint nearly_normal(double u, const shape* own) noexcept nogil:
    return own.nu > NEARLY_NORMAL and u * u < NEAR * own.nu


cdef double student_score(double u, const shape* own) noexcept nogil:
    """Phi^-1(F(u)) of one that is nearly normal"""
    cdef double a = own.nu - 0.5, b = 48 * a * a, y = a * student_log1p(u, own)
    cdef double w = y + 3 - (((0.4 * y + 3.3) * y + 24) * y + 85.5) / (0.8 * y * y + 100 + b)
    return (w / b + 1) * sqrt(y) * (1 if u > 0 else -1)


cdef inline bint in_the_tail(double u, const shape* own) noexcept nogil:
    return u * u * (0.5 * own.nu + 1) > 1.5 * own.nu


cdef double student_over_density(double u, const shape* own) noexcept nogil:
    """F(u) / (|u| f(u)) in the tail, or (1/2 - F(u)) / (|u| f(u)) where it is not, for u < 0"""
    cdef double t = u * u * own.inverse
    if in_the_tail(u, own):
        return beta_fraction(0.5 * own.nu, 0.5, 1 / (1 + t)) * own.inverse
    return beta_fraction(0.5, 0.5 * own.nu, t / (1 + t))


cdef double student_cdf(double u, const shape* own) noexcept nogil:
    cdef double part
    if isnan(u):
        return u
    if nearly_normal(u, own):
        return Phi(student_score(u, own))
    if u > 0:
        return 1 - student_cdf(-u, own)
    if u == 0:
        return 0.5
    if in_the_tail(u, own):
        return exp(student_log_cdf(u, own))
    part = -u * exp(student_log_kernel(u, own)) * student_over_density(u, own)
    return 0.5 - part


cdef double student_log_cdf(double u, const shape* own) noexcept nogil:
    if isnan(u):
        return u
    if nearly_normal(u, own):
        return log_Phi(student_score(u, own))
    if u > 0:
        return log1p(-student_cdf(-u, own))
    if isinf(u):
        return u
    if in_the_tail(u, own):
        return log(-u) + student_log_kernel(u, own) + log(student_over_density(u, own))
    return log(student_cdf(u, own))


cdef double student_rate(double u, const shape* own) noexcept nogil:
    if not nearly_normal(u, own) and u < 0 and in_the_tail(u, own):
        return 1 / (-u * student_over_density(u, own))
    return exp(student_log_kernel(u, own) - student_log_cdf(u, own))


cdef double student_quantile(double z, const shape* own) noexcept nogil:
    """By Newton's method on log F, in log(-u) but near the middle, since both are straight in the tail."""
    cdef double q = z * z * own.inverse, target = log_Phi(z), u, v, step
    cdef int i
    if z == 0:
        return 0
    v = 0.5 * (log(own.nu) + (log(expm1(q)) if q < 1 else q + log1p(-exp(-q))))
    u = -exp(v)
    for i in range(100):
        if z > -0.5:
            step = (student_cdf(u, own) - Phi(z)) / exp(student_log_kernel(u, own))
            u -= step
            if not fabs(step) > 1e-14 * fabs(u):
                break
        else:
            if isinf(u):
                break
            step = (student_log_cdf(u, own) - target) / (student_rate(u, own) * u)
            v -= step
            u = -exp(v)
            if not fabs(step) > 1e-14 * max(1, fabs(v)):
                break
    return u


# ---- what the type of the network cannot hold ----------------------------------------------------------------------

cdef inline double beyond(const real* z) noexcept nogil:
    """Log-densities below are not to be believed where they are of the type of z: a square has overflowed, or may have."""
    return -0.5 * (<double>FLT_MAX if real is float else DBL_MAX)


cdef double far_log_density(const outputs* at, const real* z, Py_ssize_t W, double x) noexcept nogil:
    """(7) for an x that is too far from all components for the kernels, in double precision; -inf where that is too
    narrow, too.  z (P), W apart."""
    cdef Py_ssize_t k, K = at.K
    cdef const Family* f = &families[at.family]
    cdef const real *alpha = z + at.alpha * W
    cdef const real *mu = z + at.mu * W
    cdef const real *sigma = z + at.sigma * W
    cdef double m = -INFINITY, prior = 0, top = -INFINITY, total = 0, part
    for k in range(K):
        m = max(m, <double>alpha[k * W])
    for k in range(K):
        prior += exp(alpha[k * W] - m)
        top = max(top, alpha[k * W] - m + log_component(at, f, k, mu[k * W], sigma[k * W], x))
    if top == -INFINITY:
        return top
    for k in range(K):
        total += exp(alpha[k * W] - m + log_component(at, f, k, mu[k * W], sigma[k * W], x) - top)
    return top + log(total / prior) - f.log_norm


cdef inline double log_component(const outputs* at, const Family* f, Py_ssize_t k, double mu, double z,
                                 double x) noexcept nogil:
    """log f(u) - log sigma, but for the constant."""
    cdef double sigma
    if at.min_scale == 0:                                     # sigma = exp(z) may be 0 or infinite
        return f.log_kernel((x - mu) * exp(-z) if x != mu else 0, shape_at(at, k)) - z
    sigma = at.min_scale + exp(z)
    return f.log_kernel((x - mu) / sigma, shape_at(at, k)) - log(sigma)


# ---- shapes --------------------------------------------------------------------------------------------------------

cdef inline const shape* shape_at(const outputs* at, Py_ssize_t k) noexcept nogil:
    if at.shapes == NULL:
        return NULL
    return at.shapes + k


cdef inline outputs outputs_at(const Net* net, Py_ssize_t d) noexcept nogil:
    """What the head needs to know of the raw outputs of dimension d."""
    cdef outputs at = net.at
    if at.shapes != NULL:
        at.shapes = at.shapes + d * at.K
    return at


cdef int shapes_of(Net* net, Workspace memory, const real* theta) except -1:
    """The shapes (D, K) of a call, where the head has any: every call that asks the head begins with it."""
    cdef Py_ssize_t d, k
    cdef shape* shapes
    if net.head >= N_FAMILIES or families[net.head].shape == NULL:
        return 0
    shapes = <shape*>memory.take(net.D * net.at.K * sizeof(shape))
    for d in range(net.D):
        for k in range(net.at.K):
            families[net.head].shape(shapes + d * net.at.K + k, theta[net.b + d * net.F + net.at.nu + k])
    net.at.shapes = shapes
    return 0


# ---- the table ---------------------------------------------------------------------------------------------------

cdef double unknown(double u, const shape* own) noexcept nogil:
    return NAN


cdef Family[N_FAMILIES] families

for _family in range(N_FAMILIES):     # one that is in kernels.h and not here gives NaN, and from_normal refuses it
    families[<int>_family] = Family(&unknown, &unknown, &unknown, &unknown, &unknown, &unknown, NAN, NAN,
                                    NULL, NULL, NULL)
families[GAUSSIAN] = Family(&gaussian_log_kernel, &gaussian_minus_slope, &gaussian_cdf, &gaussian_log_cdf, &gaussian_rate,
                            &gaussian_quantile, SQRT_2PI, LOG_SQRT_2PI, NULL, NULL, NULL)
families[LAPLACE] = Family(&laplace_log_kernel, &laplace_minus_slope, &laplace_cdf, &laplace_log_cdf, &laplace_rate,
                           &laplace_quantile, 2, LOG_2, NULL, NULL, NULL)
families[LOGISTIC] = Family(&logistic_log_kernel, &logistic_minus_slope, &logistic_cdf, &logistic_log_cdf, &logistic_rate,
                            &logistic_quantile, 1, 0, NULL, NULL, NULL)
families[STUDENT] = Family(&student_log_kernel, &student_minus_slope, &student_cdf, &student_log_cdf, &student_rate,
                           &student_quantile, 1, 0, &student_shape, &student_shape_slope, &student_deviate)


def of_family(str name, double u, double z=0):
    """The functions of a family at u, by name; that of its quantile at -abs(u).  z: the raw output of its shape, where it
    has one.  For tests of their accuracy."""
    if name not in FAMILIES:
        raise ValueError(f"name must be one of {', '.join(FAMILIES)}. Got {name!r} instead.")
    cdef const Family* f = &families[<int>FAMILIES[name]]
    cdef shape own
    if f.shape != NULL:
        f.shape(&own, z)
    found = {"log_f": f.log_kernel(u, &own) - f.log_norm, "f": exp(f.log_kernel(u, &own)) / f.norm,
             "minus_slope": f.minus_slope(u, &own), "cdf": f.cdf(u, &own), "log_cdf": f.log_cdf(u, &own),
             "rate": f.rate(u, &own), "quantile": f.quantile(-fabs(u), &own)}
    return found if f.shape == NULL else found | {"shape_slope": f.shape_slope(u, &own)}


def student(str function not None, const double[::1] u not None, const double[::1] nu not None,
            double[::1] out not None):
    """out = a function of the Student family at u with nu > 1 degrees of freedom, elementwise: log_f, cdf, log_cdf or
    quantile, of which u is the normal score and u <= 0."""
    cdef Py_ssize_t i
    cdef shape own
    cdef function_of_one f
    functions = ("log_f", "cdf", "log_cdf", "quantile")
    if function not in functions:
        raise ValueError(f"function must be one of {', '.join(functions)}. Got {function!r} instead.")
    f = (&student_log_kernel if function == "log_f" else &student_cdf if function == "cdf" else
         &student_log_cdf if function == "log_cdf" else &student_quantile)
    check_shape("nu", &nu.shape[0], 1, u.shape[0])
    check_shape("out", &out.shape[0], 1, u.shape[0])
    own.nu = NAN
    with nogil:
        for i in range(u.shape[0]):
            student_shape(&own, log(nu[i] - 1))
            out[i] = f(u[i], &own)
