"""Linear prediction from the past by ridge regression, with what it leaves of each frame had it not been fitted to it.

Design
------
*Towards.*  Coefficients are shrunk towards P, not only towards zero: C = B - P has the ridge.  P is zero, the last
frame (the identity at lag 1), or the past of each channel by itself, fitted first.

*Left out.*  What a frame leaves when all others are fitted is r_t / (1 - h_t), r_t what it leaves of the fit to all and
h_t its leverage, x_t' G^-1 x_t with the Gram matrix G (D. M. Allen, The relationship between variable selection and
data augmentation and a method for prediction, 1974).  Of a frame with a weight above 1 one of so many is left out, so
that whole weights are repetitions; below 1, all of it: h_t min(w_t, 1).  Coefficients that are many for few frames
leave too little in the frames they were fitted to; a net that trains on that learns a scale that no other frame has.
For P fitted to the channels, few numbers each, the same h_t is taken.

*Given.*  What is known with a frame, u, predicts it beside the past, with a ridge of its own (`GIVEN_RIDGE`): it is
profiled out.  With the smoother S = u (u'u + ridge)^-1 u' the Gram matrix is x'(I - S) x, and the leverage that of S
and of x - S x together, so that all else stays as it is without.

*A path.*  One eigen-decomposition of the Gram matrix serves every ridge and every P; one ridge alone takes a Cholesky
factor.
"""

from functools import lru_cache

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

TOWARDS = ("zero", "last", "own")
MOST_LEVERAGE = 1 - 1e-8
OWN_RIDGE = 1.0
GIVEN_RIDGE = 1.0
ROWS = 4096  # frames whose past is held at once


class Predictors:
    """The frames `rows` of z, and the frames `lags` before them, which are never held at once.

    Parameters
    ----------
    z : ndarray of shape (M, given + D)
    w : ndarray of shape (M,)
        Weights, of a positive sum over the rows.
    rows : ndarray of shape (n,)
    lags : tuple of ints
    given : int, default=0
        Columns in front that are given: of the frames themselves they predict the others.
    path : bool, default=False
        Prepare for many ridges; this holds n numbers for each of the coefficients.
    """

    def __init__(self, z, w, rows, lags, given=0, *, path=False):
        u, self.z, self.rows, self.lags, self.weight = z[rows, :given], z[:, given:], rows, lags, w[rows]
        self.total = self.weight.sum()
        z = self.z
        self.target_mean = self.weight @ z[rows] / self.total
        self.past_mean = (
            np.concatenate([self.weight @ z[rows - lag] for lag in lags]) / self.total if lags else z[0, :0]
        )
        self.given_mean = self.weight @ u / self.total
        self.u = u - self.given_mean
        self.target_by_given, self.past_by_given, self.given_leverage = self._profiled()
        self.gram = GIVEN_RIDGE * self.past_by_given.T @ self.past_by_given  # X'WX
        self.cross = GIVEN_RIDGE * self.past_by_given.T @ self.target_by_given  # X'WY
        for part, x in self._centred():
            weighted = self.weight[part, None] * x
            self.gram += x.T @ weighted
            self.cross += weighted.T @ (z[rows[part]] - self.target_mean - self.u[part] @ self.target_by_given)
        self.eigen = self._decomposed() if path else None

    def _profiled(self):
        """What u gives to the targets (given, D) and to their past (given, p D), and its leverage (n,)."""
        given = self.u.shape[1]
        weighted = self.weight[:, None] * self.u
        gram = self.u.T @ weighted + GIVEN_RIDGE * np.eye(given)
        past = np.zeros((given, len(self.past_mean)))
        for part, x in self._past() if given else ():
            past += weighted[part].T @ x
        targets = weighted.T @ (self.z[self.rows] - self.target_mean)
        solved = np.linalg.solve(gram, np.hstack([targets, past, self.u.T]))
        targets, past, by_row = np.split(solved, np.cumsum([targets.shape[1], past.shape[1]]), axis=1)
        return targets, past, (by_row * self.u.T).sum(axis=0)

    def _past(self):
        """(some of the rows, the frames before them (m, p D) less their mean), one after the other."""
        if self.lags:
            for begin in range(0, len(self.rows), ROWS):
                part = slice(begin, begin + ROWS)
                yield part, np.hstack([self.z[self.rows[part] - lag] for lag in self.lags]) - self.past_mean

    def _centred(self):
        """The same less what u gives."""
        for part, x in self._past():
            yield part, x - self.u[part] @ self.past_by_given

    def _decomposed(self):
        """Eigenvalues and vectors of the Gram matrix, and the squares of the frames in that basis."""
        values, vectors = np.linalg.eigh(self.gram)
        squares = [(x @ vectors) ** 2 for _, x in self._centred()]
        return np.maximum(values, 0), vectors, np.concatenate(squares)

    def prior(self, towards):
        """P (p D, D)"""
        P = np.zeros_like(self.cross)
        D = P.shape[1]
        if towards == "last":
            P[:D] = np.eye(D)[: len(P)]
        elif towards == "own":
            for d in range(D):
                own = np.arange(len(self.lags)) * D + d
                P[own, d] = np.linalg.solve(
                    self.gram[np.ix_(own, own)] + OWN_RIDGE * np.eye(len(own)), self.cross[own, d]
                )
        return P

    def fit(self, prior, ridge):
        """(B (p D, D), leverage (n,))"""
        C, leverage = np.zeros_like(prior), 0.0
        if self.lags:
            moments = self.cross - self.gram @ prior
            C, leverage = (self._by_cholesky if self.eigen is None else self._by_eigen)(moments, ridge)
        B = prior + C
        leverage = (1 / self.total + self.given_leverage + leverage) * np.minimum(self.weight, 1)
        return B, np.minimum(leverage, MOST_LEVERAGE)

    def rest(self, B, apart=()):
        """(intercept (D,), what the given columns give (given, D)) beside B; nothing to the columns `apart`."""
        by_given = self.target_by_given - self.past_by_given @ B
        by_given[:, apart] = 0
        return self.target_mean - self.past_mean @ B - self.given_mean @ by_given, by_given

    def _by_cholesky(self, moments, ridge):
        try:
            factor = cholesky(self.gram + ridge * np.eye(len(self.gram)), lower=True)
        except LinAlgError:  # without a ridge, columns that depend on each other
            self.eigen = self._decomposed()
            return self._by_eigen(moments, ridge)
        solved = [(solve_triangular(factor, x.T, lower=True) ** 2).sum(axis=0) for _, x in self._centred()]
        return cho_solve((factor, True), moments), np.concatenate(solved)

    def _by_eigen(self, moments, ridge):
        values, vectors, squares = self.eigen
        scale = values + ridge
        inverse = np.where(scale > 1e-12 * scale.max(initial=0), 1 / np.maximum(scale, 1e-300), 0)
        return vectors @ (inverse[:, None] * (vectors.T @ moments)), squares @ inverse

    def left(self, B, intercept, by_given, leverage):
        """What each frame leaves of a fit to the others: (n, D)"""
        left = self.z[self.rows] - intercept
        if len(by_given):
            left -= (self.u + self.given_mean) @ by_given
        for part, x in self._past():
            left[part] -= x @ B + self.past_mean @ B
        return left / (1 - leverage)[:, None]

    def covariance(self, left):
        """Weighted mean of the products of what is left."""
        return left.T @ (self.weight[:, None] * left) / self.total


def shrunk(covariance, shrinkage, floor):
    """(1 - shrinkage) S + shrinkage diag(S) + floor^2 I"""
    diagonal = np.diag(covariance)
    return (1 - shrinkage) * covariance + np.diag(shrinkage * diagonal + floor**2)


def separated(covariance, apart, constant):
    """Take the columns `apart` out of a covariance, in place; the constant ones, a mask (D,), get the variance 1."""
    for d in apart:
        covariance[d, :d] = covariance[d, d + 1 :] = covariance[:d, d] = covariance[d + 1 :, d] = 0
    covariance[constant], covariance[:, constant] = 0, 0
    covariance[constant, constant] = 1


# ---- stability -------------------------------------------------------------------------------------------------------

LARGEST = 1200  # rows of a companion matrix whose eigenvalues are all computed
LARGEST_CORRECTION = 0.5


def stable(B, lags, max_radius):
    """B with no root beyond `max_radius`: those that are further out are placed on that circle and the others stay,
    where that takes a small correction; else lag l is scaled by gamma^l.

    With W the left eigenvectors of the roots to be moved, F - [I; 0] K moves them and no other, K W' [I; 0] = the
    difference times W' (a pole placement).  The last results are kept, because several candidates of a choice begin
    with the same coefficients, and 45 columns with a season of 12 take half a second."""
    return _stable(B.tobytes(), B.shape, lags, max_radius).copy()


@lru_cache(maxsize=4)
def _stable(numbers, shape, lags, max_radius):
    B = np.frombuffer(numbers).reshape(shape)
    D = shape[1]
    F = companion(B, lags)
    if len(F) > LARGEST:
        radius = _radius(B, lags)
        values = None
    else:
        values, W = np.linalg.eig(F.T)
        radius = np.abs(values).max()
    if radius <= max_radius:
        return B
    if values is not None and lags == tuple(range(1, len(lags) + 1)):
        out = np.flatnonzero(np.abs(values) > max_radius)
        if len(out) <= D:
            moved = values[out] * (1 - max_radius * (1 - 1e-9) / np.abs(values[out]))
            K = (np.linalg.pinv(W[:D, out].T) @ (moved[:, None] * W[:, out].T)).real
            F[:D] -= K
            if np.abs(K).max() < LARGEST_CORRECTION and np.abs(np.linalg.eigvals(F)).max() <= max_radius + 1e-6:
                return np.vstack([F[:D, i * D : (i + 1) * D].T for i in range(len(lags))])
    gamma = max_radius / radius
    return B * np.repeat([gamma**lag for lag in lags], D)[:, None]


def companion(B, lags):
    """The matrix that takes the frames before to those before the next frame."""
    D, p = B.shape[1], max(lags)
    F = np.zeros((p * D, p * D))
    for i, lag in enumerate(lags):
        F[:D, (lag - 1) * D : lag * D] = B[i * D : (i + 1) * D].T
    F[D:, :-D] = np.eye((p - 1) * D)
    return F


def _radius(B, lags, steps=500):
    """The same without the matrix: how fast a random past grows in the end."""
    D, p = B.shape[1], max(lags)
    past = list(np.random.default_rng(0).standard_normal((p, D)))  # the latest first
    growth = []
    for _ in range(steps):
        z = sum(past[lag - 1] @ B[i * D : (i + 1) * D] for i, lag in enumerate(lags))
        past = [z, *past[:-1]]
        size = np.sqrt(sum((a**2).sum() for a in past))
        growth.append(np.log(size))
        past = [a / size for a in past]
    return float(np.exp(np.mean(growth[steps // 2 :])))
