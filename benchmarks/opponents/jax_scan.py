"""JAX on the CPU, each operation one compiled function with a scan over dimensions.

Variants: "scan" has the recurrent part of all raw outputs before and all mixtures after the scan, in one batch each;
"mixture" has both inside it, so that no raw output is kept."""

import math
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import BETA1, BETA2, EPSILON, LEARNING_RATE
from .packing import pack, unpack

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def states(x, p):
    """(N * T, R): the recurrent state that conditions each frame."""
    N, T, D = x.shape
    drive = (x.reshape(-1, D) @ p["W_in"]).reshape(N, T, -1) + p["b_r"]
    r0 = jnp.broadcast_to(p["r0"], (N, len(p["r0"])))

    def step(r, drive_t):
        return jax.nn.sigmoid(drive_t + r @ p["W_rec"]), r

    _, r = lax.scan(step, r0, jnp.swapaxes(drive, 0, 1))
    return jnp.swapaxes(r, 0, 1).reshape(N * T, -1)


def start(x, p):
    """(columns of x (D, M), a_1 (M, H), r (M, R) or None)."""
    rows = x.reshape(-1, x.shape[2])
    if "U" not in p:
        return rows.T, jnp.broadcast_to(p["c"], (len(rows), len(p["c"]))), None
    r = states(x, p)
    return rows.T, p["c"] + r @ p["W_c"], r


def mixture(z, x):
    """log p of x (...) given raw outputs z (..., P), without the constant."""
    z_alpha, mu, z_sigma = jnp.split(z, 3, axis=-1)
    u = (x[..., None] - mu) * jnp.exp(-z_sigma)
    joint = z_alpha - 0.5 * u * u - z_sigma
    return jax.nn.logsumexp(joint, axis=-1) - jax.nn.logsumexp(z_alpha, axis=-1)


def log_density_scan(x, p):
    columns, a, r = start(x, p)
    z0 = jnp.broadcast_to(p["b"][:, None], (len(columns), len(a), p["b"].shape[1]))
    if r is not None:
        z0 = z0 + jnp.einsum("mr,drp->dmp", r, p["U"])

    def step(a, blocks):
        x_d, W_d, V_d, rho_d, z0_d = blocks
        return a + x_d[:, None] * W_d, jax.nn.sigmoid(rho_d * a) @ V_d + z0_d

    _, z = lax.scan(step, a, (columns, p["W"], p["V"], p["rho"], z0))
    return per_sequence(mixture(z, columns).sum(axis=0), x)


def log_density_mixture(x, p):
    columns, a, r = start(x, p)
    blocks = (columns, p["W"], p["V"], p["rho"], p["b"])

    def step(carry, blocks):
        a, total = carry
        x_d, W_d, V_d, rho_d, b_d = blocks[:5]
        z = jax.nn.sigmoid(rho_d * a) @ V_d + b_d
        if r is not None:
            z = z + r @ blocks[5]
        return (a + x_d[:, None] * W_d, total + mixture(z, x_d)), None

    blocks += () if r is None else (p["U"],)
    (_, total), _ = lax.scan(step, (a, jnp.zeros(len(a), a.dtype)), blocks)
    return per_sequence(total, x)


def per_sequence(total, x):
    N, T, D = x.shape
    return total.reshape(N, T).sum(axis=1) - T * D * LOG_SQRT_2PI


def adam_step(log_density, p, m, v, count, x):
    """(parameters, moments, count, loss before) after one update."""
    frames = x.shape[0] * x.shape[1]
    loss, g = jax.value_and_grad(lambda p: -log_density(x, p).sum() / frames)(p)
    count = count + 1
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
    rate, correction = LEARNING_RATE / (1 - BETA1**count), 1 / (1 - BETA2**count)
    p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v * correction) + EPSILON), p, m, v)
    return p, m, v, count, loss


def draw(p, key, n, frames):
    """(n, frames, D)."""
    D, _, P = p["V"].shape
    K = P // 3
    dtype = p["W"].dtype

    def frame(carry, key):
        r = carry
        a = jnp.broadcast_to(p["c"], (n, len(p["c"])))
        z0 = jnp.broadcast_to(p["b"][:, None], (D, n, P))
        if r is not None:
            a = a + r @ p["W_c"]
            z0 = z0 + jnp.einsum("mr,drp->dmp", r, p["U"])
        for_component, for_value = jax.random.split(key)
        uniform = jax.random.uniform(for_component, (D, n), dtype)
        normal = jax.random.normal(for_value, (D, n), dtype)

        def step(a, blocks):
            u, g, W_d, V_d, rho_d, z0_d = blocks
            z = jax.nn.sigmoid(rho_d * a) @ V_d + z0_d
            weights = jnp.cumsum(jnp.exp(z[:, :K] - z[:, :K].max(axis=1, keepdims=True)), axis=1)
            k = jnp.minimum((weights <= u[:, None] * weights[:, -1:]).sum(axis=1), K - 1)[:, None]
            mu = jnp.take_along_axis(z[:, K : 2 * K], k, 1)[:, 0]
            x_d = mu + jnp.exp(jnp.take_along_axis(z[:, 2 * K :], k, 1)[:, 0]) * g
            return a + x_d[:, None] * W_d, x_d

        _, x_t = lax.scan(step, a, (uniform, normal, p["W"], p["V"], p["rho"], z0))
        if r is not None:
            r = jax.nn.sigmoid(x_t.T @ p["W_in"] + r @ p["W_rec"] + p["b_r"])
        return r, x_t.T

    r0 = jnp.broadcast_to(p["r0"], (n, len(p["r0"]))) if "U" in p else None
    _, x = lax.scan(frame, r0, jax.random.split(key, frames))
    return jnp.swapaxes(x, 0, 1)


LOG_DENSITIES = {"scan": log_density_scan, "mixture": log_density_mixture}


class Jax:
    def __init__(self, workload, parameters, dtype, variant):
        log_density = LOG_DENSITIES[variant]
        self.p = {name: jnp.asarray(array) for name, array in pack(parameters, dtype).items()}
        self.moments = None
        self.key = jax.random.key(0, impl="rbg")  # the fastest generator on a CPU
        self._forward = jax.jit(log_density)
        self._gradient = jax.jit(jax.value_and_grad(lambda p, x: log_density(x, p).sum()))
        self._step = jax.jit(lambda *state: adam_step(log_density, *state), donate_argnums=(0, 1, 2))
        self._draw = jax.jit(draw, static_argnums=(2, 3))
        if variant != "scan":
            self.sample = None  # the same sampler

    def compile(self, operation, x):
        """Compile without running, so that memory can be measured without the compiler's."""
        if operation == "gradient":
            self._gradient = self._gradient.lower(self.p, x).compile()

    def forward(self, x):
        return np.asarray(self._forward(x, self.p))

    def gradient(self, x):
        total, gradient = jax.block_until_ready(self._gradient(self.p, x))
        return float(total), gradient

    def named(self, gradient):
        return unpack({name: np.asarray(block) for name, block in gradient.items()})

    def step(self, x):
        if self.moments is None:  # p is given away to every update: keep a copy of one's own
            self.p = {name: jnp.array(q, copy=True) for name, q in self.p.items()}
            self.moments = [jax.tree.map(jnp.zeros_like, self.p) for _ in range(2)]
            self.count = jnp.zeros((), self.p["W"].dtype)
        self.p, *self.moments, self.count, loss = self._step(self.p, *self.moments, self.count, x)
        jax.block_until_ready(self.p)
        return float(loss)

    def sample(self, n, frames):
        self.key, key = jax.random.split(self.key)
        return np.asarray(self._draw(self.p, key, n, frames))


def prepare(workload, parameters, dtype, threads, variant):
    if hasattr(os, "sched_setaffinity"):  # XLA starts a thread for each processor that the process may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", dtype == "float64")
    return Jax(workload, parameters, dtype, variant)
