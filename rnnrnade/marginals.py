"""A frame that is one mixture of Gaussians, behind a transform: marginals of any of its dimensions, draws of the rest.

Where the components are of a whole frame (`components="frame"`), e ~ sum_k alpha_k N(m_k, diag(s_k^2)).  Within a frame
a transform is affine, z = p + L e, so that any subset O of the dimensions is

    z_O ~ sum_k alpha_k N(p_O + L_O m_k, L_O diag(s_k^2) L_O')

and the dimensions that are missing are drawn given z_O by drawing the component, then e of it, and moving e by
diag(s_k^2) L_O' S_k^{-1} (z_O - p_O - L_O e), S_k the covariance of z_O (Y. Hoffman, E. Ribak, Constrained realizations
of Gaussian fields, 1991).  Everything here is float64.
"""

import numpy as np

HELD = 1 << 22  # numbers of covariances at a time


def is_closed(density):
    """Whether a frame of this density is one mixture of Gaussians."""
    layout = density.model.layout
    return layout.head == "gaussian" and layout.frame.once != ()


def first_parameters(model, e, **sequences):
    """(alpha (n, K), mu, sigma, each (n, D, K)) of frames, before anything of them is known."""
    alpha, mu, sigma = [], [], []
    for _, scores in model.outputs(e, **sequences):
        parts = np.split(scores.parameters.astype(np.float64), 3, axis=2)
        alpha.append(parts[0][:, 0])
        mu.append(parts[1])
        sigma.append(parts[2])
    return tuple(np.concatenate(parts) for parts in (alpha, mu, sigma))


def affine(reader, u, D):
    """(p (n, D), L (n, D, D)) with z = p + L e for the frame that a reader of n sequences has started and with which u
    (n, given) is given; L is None where it is the identity and p 0."""
    n, given = u.shape
    if reader.front.map.is_diagonal:
        return np.zeros((n, D)), None

    def z(e):
        return reader.unscaled(np.concatenate([u, e], axis=1))[:, given:]

    p, L = z(np.zeros((n, D))), np.empty((n, D, D))
    for d in range(D):
        unit = np.zeros((n, D))
        unit[:, d] = 1.0
        L[:, :, d] = z(unit) - p
    return p, L


class FrameMarginal:
    """The observed dimensions of n frames.

    Parameters
    ----------
    alpha : ndarray of shape (n, K)
    mu, sigma : ndarray of shape (n, D, K)
    p, L : ndarray of shape (n, D), (n, D, D) or None
    z : ndarray of shape (n, D)
    observed : ndarray of shape (D,), bool

    Attributes
    ----------
    log_density : ndarray of shape (n, o)
        Of z_d for each observed dimension d, given the observed ones before it.
    """

    def __init__(self, alpha, mu, sigma, p, L, z, observed):
        self.parameters, self.p, self.L, self.z, self.observed = (alpha, mu, sigma), p, L, z, observed
        n, o = len(z), int(observed.sum())
        self.log_density = np.empty((n, o))
        self.log_weight = np.empty(alpha.shape)  # of the components, once z_O is known
        for rows in self._slices():
            with np.errstate(divide="ignore"):
                prior = np.log(alpha[rows])
            u, factor = self._whitened(rows)
            log_scale = np.log(np.diagonal(factor, axis1=-2, axis2=-1))
            terms = -0.5 * u**2 - log_scale - 0.5 * np.log(2 * np.pi)  # (rows, K, o)
            joint = np.concatenate([prior[:, :, None], prior[:, :, None] + np.cumsum(terms, axis=2)], axis=2)
            self.log_density[rows] = np.diff(np.logaddexp.reduce(joint, axis=1), axis=1)
            self.log_weight[rows] = joint[:, :, -1]

    def _slices(self):
        n, o = self.log_density.shape
        size = max(1, HELD // max(1, self.parameters[0].shape[1] * o * max(o, self.z.shape[1])))
        return [slice(a, min(a + size, n)) for a in range(0, n, size)]

    def _L(self, rows):
        """L_O (rows, o, D)"""
        if self.L is None:
            return np.broadcast_to(np.eye(self.z.shape[1])[self.observed], (rows.stop - rows.start, *self.shape_of_L))
        return self.L[rows][:, self.observed]

    @property
    def shape_of_L(self):
        return int(self.observed.sum()), self.z.shape[1]

    def _whitened(self, rows, e=None, component=None):
        """(C^{-1} (z_O - p_O - L_O m), C), C C' the covariance of z_O: of all components (rows, K, ...), or of one of
        each frame about e."""
        L, (_, mu, sigma) = self._L(rows), (values[rows] for values in self.parameters)
        if component is None:
            sigma, mu = np.swapaxes(sigma, 1, 2), np.swapaxes(mu, 1, 2)  # (rows, K, D)
            L = L[:, None]
        else:
            sigma, mu = _of(component, sigma), e
        scaled = L * sigma[..., None, :]
        factor = np.linalg.cholesky(scaled @ np.swapaxes(scaled, -1, -2))
        left = (self.z - self.p)[rows][:, self.observed]
        left = (left[:, None] if component is None else left) - (L @ mu[..., None])[..., 0]
        return np.linalg.solve(factor, left[..., None])[..., 0], factor

    def draw(self, generator):
        """e (n, D) of the frames given what is observed of them: z_O = p_O + L_O e."""
        _, mu, sigma = self.parameters
        noise = generator.gumbel(size=self.log_weight.shape)
        component = np.argmax(self.log_weight + noise, axis=1)  # k with the probability of its weight
        e = _of(component, mu) + _of(component, sigma) * generator.standard_normal(self.z.shape)
        for rows in self._slices() if self.observed.any() else ():
            L, s = self._L(rows), _of(component[rows], sigma[rows])
            u, factor = self._whitened(rows, e[rows], component[rows])
            v = np.linalg.solve(np.swapaxes(factor, -1, -2), u[..., None])
            e[rows] += s**2 * (np.swapaxes(L, -1, -2) @ v)[..., 0]
        return e


def _of(component, values):
    """values (n, D, K) of one component of each frame: (n, D)"""
    return np.take_along_axis(values, component[:, None, None], axis=2)[:, :, 0]
