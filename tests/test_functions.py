"""exp, expm1, log, sigmoid and tanh of every row of the kernel table, in units in the last place; the families of the
core in double precision."""

import numpy as np
import pytest
import reference
from helpers import MIXTURES, assert_near
from scipy import stats

from rnnrnade import _core

N = 1 << 16
RANGES = {np.float32: (-87.0, 88.0), np.float64: (-708.0, 709.0)}
# As stated in kernels/vec.h, and a little: in units in the last place of the value, and in those of 1.
LARGEST_ERROR = {
    "exp": (lambda x: 1.3, None),
    "expm1": (lambda x: 2.6, None),
    "log": (lambda x: 1.1, None),
    "sigmoid": (lambda x: 2.7 + 1.2 * np.abs(x), 0.82),
    "tanh": (None, 1.6),
}


def arguments(function, dtype):
    """Half of them where the function bends, half over its whole range."""
    generator = np.random.default_rng(0)
    low, high = RANGES[dtype]
    if function == "log":
        near, far = generator.uniform(0.5, 2, N // 2), np.exp(generator.uniform(0.9 * low, 0.9 * high, N // 2))
    elif function == "expm1":
        near = np.exp(generator.uniform(low / 2, 0, N // 2)) * generator.choice([-1, 1], N // 2)
        far = generator.uniform(low / 20, high / 20, N // 2)
    else:
        near, far = generator.uniform(-2, 2, N // 2), generator.uniform(low, high, N // 2)
    return np.concatenate([near, far]).astype(dtype)


def apply(function, x):
    out = np.empty_like(x)
    _core.apply(function, x, out)
    return out


TRUE = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("dtype", RANGES)
@pytest.mark.parametrize("function", TRUE)
def test_error_in_units_in_the_last_place(row, function, dtype):
    x = arguments(function, dtype)
    true = TRUE[function](x.astype(np.longdouble))
    error = np.abs(apply(function, x) - true)
    of_value, of_one = LARGEST_ERROR[function]
    if of_value:
        normal = np.abs(true) >= np.finfo(dtype).tiny  # below the normal numbers the clamp decides
        assert (error <= of_value(x) * np.spacing(np.abs(true).astype(dtype)))[normal].all()
    if of_one:
        assert error.max() <= of_one * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", RANGES)
@pytest.mark.parametrize("function", TRUE)
def test_not_a_number_goes_through(row, function, dtype):
    x = np.ones(32, dtype)
    x[5] = np.nan
    out = apply(function, x)
    assert np.isnan(out[5])
    assert np.isfinite(np.delete(out, 5)).all()


@pytest.mark.parametrize("dtype", RANGES)
def test_far_arguments_stay_finite(row, dtype):
    x = np.array([-1e30, -1e4, 1e4, 1e30] * 4, dtype)
    for function in ("sigmoid", "tanh"):
        out = apply(function, x)
        assert np.isfinite(out).all()
        np.testing.assert_allclose(out[2:4], 1)


@pytest.mark.parametrize("family", MIXTURES)
def test_families_of_the_core_in_double_precision(family):
    same = {"gaussian": stats.norm, "student": stats.t(10)}.get(family) or getattr(stats, family)
    shapes = reference.HEADS[family].shapes((0, 0, 0, np.log(9)))
    for u in (-30.0, -3.3, -1.0, -1e-9, 0.0, 1e-9, 0.7, 1.0, 5.0, 30.0):
        found = _core.of_family(family, u, np.log(9))
        assert_near(found["log_f"], same.logpdf(u), 1e-15)
        assert found["f"] == pytest.approx(same.pdf(u), rel=1e-14, abs=0)
        assert found["minus_slope"] == pytest.approx(reference.HEADS[family].minus_slope(u, *shapes), rel=1e-15)
        assert found["cdf"] == pytest.approx(same.cdf(u), rel=1e-13, abs=0)
        assert found["log_cdf"] == pytest.approx(same.logcdf(u), rel=1e-13, abs=0)
        assert found["rate"] == pytest.approx(np.exp(same.logpdf(u) - same.logcdf(u)), rel=1e-13, abs=0)
        assert_near(same.logcdf(found["quantile"]), stats.norm.logcdf(-abs(u)), 1e-14)
    with pytest.raises(ValueError, match="name must be one of gaussian"):
        _core.of_family("cauchy", 0.0)


FREEDOM = (1 + 1e-9, 1.01, 1.5, 3.0, 10.0, 29.0, 31.0, 1e3, 9e3, 2e4, 1e6, 1e12)


@pytest.mark.parametrize("nu", FREEDOM)
def test_the_student_family_from_cauchy_to_normal(nu):
    """Against 40 digits: nothing is lost where log Gamma is large, nor near nu = 1."""
    mpmath = pytest.importorskip("mpmath")
    z, near = np.log(nu - 1), max(1e-13, 1e-15 * min(nu, 1e4))  # the fraction cancels up to where Hill's series begins
    with mpmath.workdps(40):
        nu_z = lambda z: 1 + mpmath.exp(z)  # noqa: E731
        for u in (-1e8, -100.0, -5.0, -1.8, -1.7, -0.3, -1e-9, 0.0, 2.0):
            found, square = _core.of_family("student", u, z), mpmath.mpf(u) ** 2

            def log_f(z, square=square):
                n = nu_z(z)
                constant = mpmath.loggamma((n + 1) / 2) - mpmath.loggamma(n / 2) - mpmath.log(mpmath.pi * n) / 2
                return constant - (n + 1) / 2 * mpmath.log1p(square / n)

            assert_near(found["log_f"], float(log_f(mpmath.mpf(z))), 2e-15)
            assert_near(found["shape_slope"], float(mpmath.diff(log_f, mpmath.mpf(z))), 1e-14 * max(1, nu**0.5))
            if nu < 1e5 and u < 0:
                n = nu_z(mpmath.mpf(z))
                lower = mpmath.betainc(n / 2, mpmath.mpf(1) / 2, 0, n / (n + square), regularized=True) / 2
                assert abs(found["log_cdf"] / mpmath.log(lower) - 1) < near
                assert abs(found["cdf"] - lower) < max(1e-15, 0.1 * near)
                assert abs(found["rate"] * lower / mpmath.exp(log_f(mpmath.mpf(z))) - 1) < 10 * near
            if abs(u) < 30:  # those of float64
                below = _core.of_family("student", found["quantile"], z)["log_cdf"]
                assert_near(below, stats.norm.logcdf(-abs(u)), near)
        if nu == 1e12:
            for u in (-30.0, -3.0, -1e-3):
                assert _core.of_family("student", u, z)["log_cdf"] == pytest.approx(stats.norm.logcdf(u), rel=1e-9)
