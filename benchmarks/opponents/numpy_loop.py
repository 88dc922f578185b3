"""NumPy: a loop over dimensions on all frames at once, with the gradient written by hand in one reverse sweep; of a
MADE and of a mixture over the whole frame, all dimensions at once.

In float64 it is also the reference of the answers."""

import numpy as np

from ..workloads import masks
from . import BETA1, BETA2, EPSILON, LEARNING_RATE
from .numpy_latent import NumpyLatent
from .packing import pack, unpack

LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def logsumexp(z):
    top = z.max(axis=-1, keepdims=True)
    return top + np.log(np.exp(z - top).sum(axis=-1, keepdims=True))


def states(x, p):
    """(N, T, R): the recurrent state that conditions each frame."""
    N, T, D = x.shape
    drive = (x.reshape(-1, D) @ p["W_in"]).reshape(N, T, -1) + p["b_r"]
    r = np.empty_like(drive)
    r[:, 0] = p["r0"]
    for t in range(1, T):
        r[:, t] = sigmoid(drive[:, t - 1] + r[:, t - 1] @ p["W_rec"])
    return r


def start(x, p):
    """(a_1 (M, H), r (M, R) or None, z (D, M, P): what the past and the biases give to the raw outputs)."""
    M = x.shape[0] * x.shape[1]
    a = np.tile(p["c"], (M, 1))
    z = np.repeat(p["b"][:, None], M, axis=1)
    if "U" not in p:
        return a, None, z
    r = states(x, p).reshape(M, -1)
    a += r @ p["W_c"]
    z += r @ p["U"]
    return a, r, z


def terms(x, z):
    """Of x (...), z (..., 3 K): log alpha_k N_k + constants (..., K), its logsumexp, that of z_alpha, u, 1 / sigma."""
    z_alpha, mu, z_sigma = np.split(z, 3, axis=-1)
    inverse = np.exp(-z_sigma)
    u = (x[..., None] - mu) * inverse
    joint = z_alpha - 0.5 * u * u - z_sigma
    return joint, logsumexp(joint), logsumexp(z_alpha), u, inverse


class Gaussian:
    """A mixture of normals: log p of x (...) given z (..., 3 K), its gradient by z, a draw."""

    @staticmethod
    def log_density(x, z):
        _, top, norm, _, _ = terms(x, z)
        return (top - norm)[..., 0] - z.dtype.type(LOG_SQRT_2PI)

    @staticmethod
    def gradient(x, z):
        joint, top, norm, u, inverse = terms(x, z)
        pi = np.exp(joint - top)
        dz = np.concatenate([pi - np.exp(z[..., : pi.shape[-1]] - norm), pi * u * inverse, pi * (u * u - 1)], axis=-1)
        return (top - norm)[..., 0] - z.dtype.type(LOG_SQRT_2PI), dz

    @staticmethod
    def draw(z, uniform, normal):
        K = z.shape[1] // 3
        k = component(z[:, :K], uniform)
        each = np.arange(len(z))
        return z[each, K + k] + np.exp(z[each, 2 * K + k]) * normal


class Bernoulli:
    """The same of zeros and ones, z (..., 1)."""

    @staticmethod
    def log_density(x, z):
        return -np.logaddexp(0, (1 - 2 * x) * z[..., 0])

    @staticmethod
    def gradient(x, z):
        return Bernoulli.log_density(x, z), x[..., None] - sigmoid(z)

    @staticmethod
    def draw(z, uniform, normal):
        return uniform < sigmoid(z[:, 0])


HEADS = {"gaussian": Gaussian, "bernoulli": Bernoulli}


def component(z_alpha, uniform):
    """A draw from softmax(z_alpha) for each row."""
    weights = np.cumsum(np.exp(z_alpha - z_alpha.max(axis=1, keepdims=True)), axis=1)
    return np.minimum((weights <= uniform[:, None] * weights[:, -1:]).sum(axis=1), weights.shape[1] - 1)


class NumpyLoop:
    """The conditioner of NADE; what the others share with it, too."""

    def __init__(self, workload, parameters, dtype):
        self.workload, self.head = workload, HEADS[workload.head]
        self.p, self.dtype = pack(workload, parameters, dtype), np.dtype(dtype)
        self.generator = np.random.default_rng(0)
        self.moments = {name: (np.zeros_like(q), np.zeros_like(q)) for name, q in self.p.items()}
        self.steps = 0

    def forward(self, x):
        p = self.p
        N, T, D = x.shape
        columns = np.ascontiguousarray(x.reshape(-1, D).T)  # (D, M)
        a, _, z0 = start(x, p)
        total = np.zeros(N * T, self.dtype)
        for d, x_d in enumerate(columns):
            z = z0[d] + sigmoid(p["rho"][d] * a) @ p["V"][d]
            total += self.head.log_density(x_d, z)
            a += x_d[:, None] * p["W"][d]
        return total.reshape(N, T).sum(axis=1)

    def gradient(self, x):
        p = self.p
        N, T, D = x.shape
        M = N * T
        rows = x.reshape(M, D)
        columns = np.ascontiguousarray(rows.T)
        g = {name: np.zeros_like(q) for name, q in p.items()}
        a, r, z0 = start(x, p)
        a += rows @ p["W"]
        da = np.zeros_like(a)
        dz = np.empty_like(z0)
        total = 0.0
        for d in range(D - 1, -1, -1):
            x_d = columns[d]
            a -= x_d[:, None] * p["W"][d]
            h = sigmoid(p["rho"][d] * a)
            log_density, dz[d] = self.head.gradient(x_d, z0[d] + h @ p["V"][d])
            total += float(log_density.sum(dtype=np.float64))
            g["V"][d] = h.T @ dz[d]
            dpsi = (dz[d] @ p["V"][d].T) * h * (1 - h)
            g["rho"][d] = np.vdot(dpsi, a)
            g["W"][d] = x_d @ da
            da += p["rho"][d] * dpsi
        g["b"] = dz.sum(axis=1)
        g["c"] = da.sum(axis=0)
        if r is not None:
            g["U"] = r.T @ dz
            g["W_c"] = r.T @ da
            dr = da @ p["W_c"].T
            for d in range(D):
                dr += dz[d] @ p["U"][d].T
            self._through_time(x, r, dr, g)
        return total, g

    def _through_time(self, x, r, dr, g):
        """The gradients of the recurrent net from those of its states."""
        p, (N, T, D) = self.p, x.shape
        r, dr = r.reshape(N, T, -1), dr.reshape(N, T, -1)
        dpre = np.zeros_like(dr)  # of what stands inside the sigmoid of state t
        for t in range(T - 1, 0, -1):
            dpre[:, t] = dr[:, t] * r[:, t] * (1 - r[:, t])
            dr[:, t - 1] += dpre[:, t] @ p["W_rec"].T
        g["r0"] = dr[:, 0].sum(axis=0)
        later = dpre[:, 1:].reshape(N * (T - 1), -1)
        g["W_rec"] = r[:, :-1].reshape(len(later), -1).T @ later
        g["W_in"] = x[:, :-1].reshape(len(later), D).T @ later
        g["b_r"] = later.sum(axis=0)

    def named(self, gradient):
        return unpack(self.workload, gradient)

    def step(self, x):
        total, gradient = self.gradient(x)
        frames = x.shape[0] * x.shape[1]
        self.steps += 1
        rate = LEARNING_RATE / (1 - BETA1**self.steps)
        correction = 1 / (1 - BETA2**self.steps)
        for name, g in gradient.items():
            g *= -1 / frames
            m, v = self.moments[name]
            m += (1 - BETA1) * (g - m)
            v += (1 - BETA2) * (g * g - v)
            self.p[name] -= rate * m / (np.sqrt(v * correction) + EPSILON)
        return -total / frames

    def sample(self, n, frames):
        out = np.empty((n, frames, self.workload.D), self.dtype)
        r = np.tile(self.p["r0"], (n, 1)) if self.workload.R else None
        for t in range(frames):
            uniform = self.generator.random((self.workload.D, n), self.dtype)
            normal = self.generator.standard_normal((self.workload.D, n), self.dtype)
            self._draw(out[:, t], r, uniform, normal)
            if r is not None:
                r = sigmoid(out[:, t] @ self.p["W_in"] + r @ self.p["W_rec"] + self.p["b_r"])
        return out

    def _draw(self, x, r, uniform, normal):
        """One frame of each sequence, into x (n, D), given r (n, R) or None."""
        p = self.p
        a = np.tile(p["c"], (len(x), 1))
        if r is not None:
            a += r @ p["W_c"]
        for d in range(x.shape[1]):
            z = sigmoid(p["rho"][d] * a) @ p["V"][d] + p["b"][d]
            if r is not None:
                z += r @ p["U"][d]
            x[:, d] = self.head.draw(z, uniform[d], normal[d])
            a += x[:, d, None] * p["W"][d]


class Made(NumpyLoop):
    """Dense layers with masks, of zeros and ones."""

    def __init__(self, workload, parameters, dtype):
        super().__init__(workload, parameters, dtype)
        self.masks = {name: mask.T for name, mask in masks(workload).items()}
        self.names = [name for name in self.masks if name != "V"]

    def layers(self, rows, names):
        """h of each layer, above the rows that the first reads."""
        h = [rows]
        for W in names:
            h.append(sigmoid(h[-1] @ self.p[W] + self.p["c" + W[1:]]))
        return h

    def forward(self, x):
        rows = x[:, 0]
        z = self.layers(rows, self.names)[-1] @ self.p["V"] + self.p["b"]
        return self.head.log_density(rows, z[..., None]).sum(axis=1)

    def gradient(self, x):
        p, rows, g = self.p, x[:, 0], {}
        h = self.layers(rows, self.names)
        log_density, dz = self.head.gradient(rows, (h[-1] @ p["V"] + p["b"])[..., None])
        da = dz[..., 0]
        for below, weights in zip(h[::-1], ["V", *self.names[::-1]], strict=True):
            g[weights] = (below.T @ da) * self.masks[weights]
            g["b" if weights == "V" else "c" + weights[1:]] = da.sum(axis=0)
            da = (da @ p[weights].T) * below * (1 - below)
        return float(log_density.sum(dtype=np.float64)), g

    def _draw(self, x, r, uniform, normal):
        """The layers above the first are computed anew for each dimension."""
        p = self.p
        a = np.tile(p["c"], (len(x), 1))
        for d in range(x.shape[1]):
            h = self.layers(sigmoid(a), self.names[1:])[-1]
            x[:, d] = self.head.draw(h @ p["V"][:, d : d + 1] + p["b"][d], uniform[d], normal[d])
            a += x[:, d, None] * p["W"][d]


class Shared(NumpyLoop):
    """One mixture of diagonal normals over the whole frame."""

    def terms(self, x, r):
        """(log alpha_k N_k + constants (M, K), z_alpha, u (M, D, K), 1 / sigma)."""
        D, K = self.workload.D, self.workload.K
        z_alpha, mu, z_sigma = np.split(r @ self.p["U"] + self.p["b"], [K, K + D * K], axis=1)
        inverse = np.exp(-z_sigma).reshape(-1, D, K)
        u = (x.reshape(-1, D, 1) - mu.reshape(-1, D, K)) * inverse
        joint = z_alpha - 0.5 * (u * u).sum(axis=1) - z_sigma.reshape(-1, D, K).sum(axis=1)
        return joint, z_alpha, u, inverse

    def forward(self, x):
        N, T, D = x.shape
        joint, z_alpha, _, _ = self.terms(x, states(x, self.p).reshape(N * T, -1))
        return (logsumexp(joint) - logsumexp(z_alpha)).reshape(N, T).sum(axis=1) - x.dtype.type(T * D * LOG_SQRT_2PI)

    def gradient(self, x):
        N, T, D = x.shape
        r, g = states(x, self.p).reshape(N * T, -1), {}
        joint, z_alpha, u, inverse = self.terms(x, r)
        top, norm = logsumexp(joint), logsumexp(z_alpha)
        pi = np.exp(joint - top)
        of_whole = pi[:, None]  # the responsibilities are those of the whole frame
        dz = np.concatenate(
            [pi - np.exp(z_alpha - norm), *((of_whole * part).reshape(N * T, -1) for part in (u * inverse, u * u - 1))],
            axis=1,
        )
        g["U"], g["b"] = r.T @ dz, dz.sum(axis=0)
        self._through_time(x, r, dz @ self.p["U"].T, g)
        return float((top - norm).sum(dtype=np.float64)) - N * T * D * LOG_SQRT_2PI, g

    def _draw(self, x, r, uniform, normal):
        D, K = self.workload.D, self.workload.K
        z = r @ self.p["U"] + self.p["b"]
        k = component(z[:, :K], uniform[0])
        mu, z_sigma = z[:, K:].reshape(len(x), 2, D, K)[np.arange(len(x)), :, :, k].transpose(1, 0, 2)
        x[:] = mu + np.exp(z_sigma) * normal.T


CONDITIONERS = {"nade": NumpyLoop, "made": Made, "shared": Shared, "vrnn": NumpyLatent, "srnn": NumpyLatent}


def prepare(workload, parameters, dtype, threads, variant):
    return CONDITIONERS[workload.conditioner](workload, parameters, dtype)
