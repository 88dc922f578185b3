"""NumPy: a loop over dimensions on all frames at once, with the gradient written by hand in one reverse sweep.

In float64 it is also the reference of the answers."""

import numpy as np

from . import BETA1, BETA2, EPSILON, LEARNING_RATE
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


def terms(x_d, z, K):
    """(log alpha_k N_k + constants (M, K), their logsumexp, that of z_alpha, u, 1 / sigma)."""
    z_alpha, mu, z_sigma = z[:, :K], z[:, K : 2 * K], z[:, 2 * K :]
    inverse = np.exp(-z_sigma)
    u = (x_d[:, None] - mu) * inverse
    joint = z_alpha - 0.5 * u * u - z_sigma
    return joint, logsumexp(joint), logsumexp(z_alpha), u, inverse


class NumpyLoop:
    def __init__(self, workload, parameters, dtype):
        self.K, self.p, self.dtype = workload.K, pack(parameters, dtype), np.dtype(dtype)
        self.generator = np.random.default_rng(0)
        self.moments = {name: (np.zeros_like(q), np.zeros_like(q)) for name, q in self.p.items()}
        self.steps = 0

    def forward(self, x):
        p, K = self.p, self.K
        N, T, D = x.shape
        columns = np.ascontiguousarray(x.reshape(-1, D).T)  # (D, M)
        a, _, z0 = start(x, p)
        total = np.zeros(N * T, self.dtype)
        for d, x_d in enumerate(columns):
            z = z0[d] + sigmoid(p["rho"][d] * a) @ p["V"][d]
            _, top, norm, _, _ = terms(x_d, z, K)
            total += (top - norm)[:, 0]
            a += x_d[:, None] * p["W"][d]
        return total.reshape(N, T).sum(axis=1) - self.dtype.type(T * D * LOG_SQRT_2PI)

    def gradient(self, x):
        p, K = self.p, self.K
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
            z = z0[d] + h @ p["V"][d]
            joint, top, norm, u, inverse = terms(x_d, z, K)
            total += float((top - norm).sum(dtype=np.float64))
            pi = np.exp(joint - top)
            dz[d, :, :K] = pi - np.exp(z[:, :K] - norm)
            dz[d, :, K : 2 * K] = pi * u * inverse
            dz[d, :, 2 * K :] = pi * (u * u - 1)
            g["V"][d] = h.T @ dz[d]
            dpsi = (dz[d] @ p["V"][d].T) * h * (1 - h)
            g["rho"][d] = np.vdot(dpsi, a)
            g["W"][d] = x_d @ da
            da += p["rho"][d] * dpsi
        g["b"] = dz.sum(axis=1)
        g["c"] = da.sum(axis=0)
        if r is not None:
            self._through_time(x, r, da, dz, g)
        return total - M * D * LOG_SQRT_2PI, g

    def _through_time(self, x, r, da, dz, g):
        """The gradients of the recurrent net from those of its states."""
        p, (N, T, D) = self.p, x.shape
        g["U"] = r.T @ dz
        g["W_c"] = r.T @ da
        dr = da @ p["W_c"].T
        for d in range(D):
            dr += dz[d] @ p["U"][d].T
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
        return unpack(gradient)

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
        p, K = self.p, self.K
        D = len(p["W"])
        out = np.empty((n, frames, D), self.dtype)
        each = np.arange(n)
        r = np.tile(p["r0"], (n, 1)) if "U" in p else None
        for t in range(frames):
            a = np.tile(p["c"], (n, 1))
            if r is not None:
                a += r @ p["W_c"]
            uniform = self.generator.random((D, n), self.dtype)
            normal = self.generator.standard_normal((D, n), self.dtype)
            for d in range(D):
                z = sigmoid(p["rho"][d] * a) @ p["V"][d] + p["b"][d]
                if r is not None:
                    z += r @ p["U"][d]
                weights = np.cumsum(np.exp(z[:, :K] - z[:, :K].max(axis=1, keepdims=True)), axis=1)
                k = np.minimum((weights <= uniform[d][:, None] * weights[:, -1:]).sum(axis=1), K - 1)
                x_d = z[each, K + k] + np.exp(z[each, 2 * K + k]) * normal[d]
                out[:, t, d] = x_d
                a += x_d[:, None] * p["W"][d]
            if r is not None:
                r = sigmoid(out[:, t] @ p["W_in"] + r @ p["W_rec"] + p["b_r"])
        return out


def prepare(workload, parameters, dtype, threads, variant):
    return NumpyLoop(workload, parameters, dtype)
