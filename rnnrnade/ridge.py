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

*A path.*  One eigen-decomposition of the Gram matrix serves every ridge and every P; one ridge alone takes a Cholesky
factor.
"""

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular

TOWARDS = ("zero", "last", "own")
MOST_LEVERAGE = 1 - 1e-8
OWN_RIDGE = 1.0


class Predictors:
    """The frames `rows` of z, and the frames `lags` before them.

    Parameters
    ----------
    z : ndarray of shape (M, D)
    w : ndarray of shape (M,)
        Weights, of a positive sum over the rows.
    rows : ndarray of shape (n,)
    lags : tuple of ints
    path : bool, default=False
        Prepare for many ridges.
    """

    def __init__(self, z, w, rows, lags, *, path=False):
        self.lags, self.target, self.weight = lags, z[rows], w[rows]
        self.total = self.weight.sum()
        self.past = np.hstack([z[rows - lag] for lag in lags]) if lags else np.empty((len(rows), 0))
        self.target_mean, self.past_mean = (self.weight @ a / self.total for a in (self.target, self.past))
        self.root = np.sqrt(self.weight)[:, None]
        self.x = self.root * (self.past - self.past_mean)  # (n, p D)
        self.gram, self.eigen = self.x.T @ self.x, None
        if path:
            self._decompose()

    def _decompose(self):
        values, vectors = np.linalg.eigh(self.gram)
        rotated = self.x @ vectors
        self.eigen = np.maximum(values, 0), vectors, rotated, rotated**2

    def prior(self, towards):
        """P (p D, D)"""
        D = self.target.shape[1]
        P = np.zeros((len(self.lags) * D, D))
        if towards == "last":
            P[:D] = np.eye(D)[: len(P)]
        elif towards == "own":
            y = self.root * (self.target - self.target_mean)
            for d in range(D):
                own = np.arange(len(self.lags)) * D + d
                gram = self.gram[np.ix_(own, own)] + OWN_RIDGE * np.eye(len(own))
                P[own, d] = np.linalg.solve(gram, self.x[:, own].T @ y[:, d])
        return P

    def fit(self, prior, ridge):
        """(B (p D, D), intercept (D,), leverage (n,))"""
        left = self.root * (self.target - self.target_mean) - self.x @ prior
        if not self.lags:
            C, leverage = np.zeros_like(prior), 0.0
        elif self.eigen is None:
            C, leverage = self._by_cholesky(left, ridge)
        else:
            C, leverage = self._by_eigen(left, ridge)
        B = prior + C
        leverage = (self.weight / self.total + leverage) / np.maximum(self.weight, 1)
        leverage = np.minimum(leverage, MOST_LEVERAGE)
        return B, self.target_mean - self.past_mean @ B, leverage

    def _by_cholesky(self, left, ridge):
        try:
            factor, lower = cho_factor(self.gram + ridge * np.eye(len(self.gram)), lower=True)
        except LinAlgError:  # without a ridge, columns that depend on each other
            self._decompose()
            return self._by_eigen(left, ridge)
        solved = solve_triangular(factor, self.x.T, lower=lower)
        return cho_solve((factor, lower), self.x.T @ left), (solved**2).sum(axis=0)

    def _by_eigen(self, left, ridge):
        values, vectors, rotated, squares = self.eigen
        scale = values + ridge
        inverse = np.where(scale > 1e-12 * scale.max(initial=0), 1 / np.maximum(scale, 1e-300), 0)
        return vectors @ (inverse[:, None] * (rotated.T @ left)), squares @ inverse

    def left(self, B, intercept, leverage):
        """What each frame leaves of a fit to the others: (n, D)"""
        return (self.target - intercept - self.past @ B) / (1 - leverage)[:, None]

    def covariance(self, left):
        """Weighted mean of the products of what is left."""
        return left.T @ (self.weight[:, None] * left) / self.total


def shrunk(covariance, shrinkage, floor):
    """(1 - shrinkage) S + shrinkage diag(S) + floor^2 I"""
    diagonal = np.diag(covariance)
    return (1 - shrinkage) * covariance + np.diag(shrinkage * diagonal + floor**2)


# ---- stability -------------------------------------------------------------------------------------------------------

LARGEST = 1200  # rows of a companion matrix whose eigenvalues are all computed
LARGEST_CORRECTION = 0.5


def stable(B, lags, max_radius):
    """B with no root beyond `max_radius`: those that are further out are placed on that circle and the others stay,
    where that takes a small correction; else lag l is scaled by gamma^l.

    With W the left eigenvectors of the roots to be moved, F - [I; 0] K moves them and no other, K W' [I; 0] = the
    difference times W' (a pole placement)."""
    D = B.shape[1]
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
