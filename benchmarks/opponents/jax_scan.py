"""JAX on the CPU, each operation one compiled function with a scan over dimensions.

Variants: "scan" has the recurrent part of all raw outputs before and all densities after the scan, in one batch each;
"mixture" has both inside it, so that no raw output is kept.  A MADE and a mixture over the whole frame take all
dimensions at once; draws of a MADE take its layers above the first anew for each dimension."""

import math
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..workloads import masks
from . import BETA1, BETA2, EPSILON, LEARNING_RATE, Unavailable
from .jax_latent import bound_of
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
    """log p of x (...) given raw outputs z (..., 3 K), without the constant."""
    z_alpha, mu, z_sigma = jnp.split(z, 3, axis=-1)
    u = (x[..., None] - mu) * jnp.exp(-z_sigma)
    joint = z_alpha - 0.5 * u * u - z_sigma
    return jax.nn.logsumexp(joint, axis=-1) - jax.nn.logsumexp(z_alpha, axis=-1)


def bernoulli(z, x):
    """log p of x (...), zeros and ones, given raw outputs z (..., 1)."""
    return -jax.nn.softplus((1 - 2 * x) * z[..., 0])


HEADS = {"gaussian": (mixture, LOG_SQRT_2PI), "bernoulli": (bernoulli, 0.0)}  # and the constant of one number


def log_density_scan(x, p, w):
    columns, a, r = start(x, p)
    z0 = jnp.broadcast_to(p["b"][:, None], (len(columns), len(a), p["b"].shape[1]))
    if r is not None:
        z0 = z0 + jnp.einsum("mr,drp->dmp", r, p["U"])

    def step(a, blocks):
        x_d, W_d, V_d, rho_d, z0_d = blocks
        return a + x_d[:, None] * W_d, jax.nn.sigmoid(rho_d * a) @ V_d + z0_d

    _, z = lax.scan(step, a, (columns, p["W"], p["V"], p["rho"], z0))
    return per_sequence(HEADS[w.head][0](z, columns).sum(axis=0), x, w)


def log_density_mixture(x, p, w):
    columns, a, r = start(x, p)
    blocks = (columns, p["W"], p["V"], p["rho"], p["b"])

    def step(carry, blocks):
        a, total = carry
        x_d, W_d, V_d, rho_d, b_d = blocks[:5]
        z = jax.nn.sigmoid(rho_d * a) @ V_d + b_d
        if r is not None:
            z = z + r @ blocks[5]
        return (a + x_d[:, None] * W_d, total + HEADS[w.head][0](z, x_d)), None

    blocks += () if r is None else (p["U"],)
    (_, total), _ = lax.scan(step, (a, jnp.zeros(len(a), a.dtype)), blocks)
    return per_sequence(total, x, w)


def layers(h, p, names, masks):
    """The last of these layers of a MADE, above h."""
    for name in names:
        h = jax.nn.sigmoid(h @ (p[name] * masks[name]) + p["c" + name[1:]])
    return h


def log_density_made(x, p, w):
    rows, own = x[:, 0], packed_masks(w)
    z = layers(rows, p, [name for name in own if name != "V"], own) @ (p["V"] * own["V"]) + p["b"]
    return bernoulli(z[..., None], rows).sum(axis=1)


def packed_masks(w):
    return {name: mask.T for name, mask in masks(w).items()}


def log_density_shared(x, p, w):
    rows = x.reshape(-1, w.D, 1)
    z_alpha, mu, z_sigma = parts(states(x, p) @ p["U"] + p["b"], w)
    u = (rows - mu) * jnp.exp(-z_sigma)
    joint = z_alpha - (0.5 * u * u + z_sigma).sum(axis=1)
    return per_sequence(jax.nn.logsumexp(joint, axis=-1) - jax.nn.logsumexp(z_alpha, axis=-1), x, w)


def parts(z, w):
    """(z_alpha (M, K), mu (M, D, K), z_sigma (M, D, K)) of a mixture over the whole frame."""
    z_alpha, mu, z_sigma = jnp.split(z, [w.K, w.K + w.D * w.K], axis=-1)
    return z_alpha, mu.reshape(-1, w.D, w.K), z_sigma.reshape(-1, w.D, w.K)


def per_sequence(total, x, w):
    N, T, D = x.shape
    return total.reshape(N, T).sum(axis=1) - T * D * HEADS[w.head][1]


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


def draw(p, key, n, frames, w):
    """(n, frames, D)."""

    def frame(r, key):
        for_choice, for_value = jax.random.split(key)
        uniform = jax.random.uniform(for_choice, (w.D, n), p["b"].dtype)
        normal = jax.random.normal(for_value, (w.D, n), p["b"].dtype) if w.head == "gaussian" else uniform
        x = DRAWS[w.conditioner](p, r, uniform, normal, w)
        return None if r is None else jax.nn.sigmoid(x @ p["W_in"] + r @ p["W_rec"] + p["b_r"]), x

    r0 = jnp.broadcast_to(p["r0"], (n, len(p["r0"]))) if w.R else None
    _, x = lax.scan(frame, r0, jax.random.split(key, frames))
    return jnp.swapaxes(x, 0, 1)


def component(z_alpha, uniform):
    """A draw from softmax(z_alpha) for each row, (n, 1)."""
    weights = jnp.cumsum(jnp.exp(z_alpha - z_alpha.max(axis=1, keepdims=True)), axis=1)
    return jnp.minimum((weights <= uniform[:, None] * weights[:, -1:]).sum(axis=1), weights.shape[1] - 1)[:, None]


def drawn(z, uniform, normal, w):
    """One number of each row, from its raw outputs z (n, P)."""
    if w.head == "bernoulli":
        return (uniform < jax.nn.sigmoid(z[:, 0])).astype(z.dtype)
    k = component(z[:, : w.K], uniform)
    mu = jnp.take_along_axis(z[:, w.K : 2 * w.K], k, 1)[:, 0]
    return mu + jnp.exp(jnp.take_along_axis(z[:, 2 * w.K :], k, 1)[:, 0]) * normal


def draw_nade(p, r, uniform, normal, w):
    """One frame of each sequence, (n, D), given r (n, R) or None."""
    n = uniform.shape[1]
    a = jnp.broadcast_to(p["c"], (n, len(p["c"])))
    z0 = jnp.broadcast_to(p["b"][:, None], (w.D, n, w.P))
    if r is not None:
        a = a + r @ p["W_c"]
        z0 = z0 + jnp.einsum("mr,drp->dmp", r, p["U"])

    def step(a, blocks):
        u, g, W_d, V_d, rho_d, z0_d = blocks
        x_d = drawn(jax.nn.sigmoid(rho_d * a) @ V_d + z0_d, u, g, w)
        return a + x_d[:, None] * W_d, x_d

    return lax.scan(step, a, (uniform, normal, p["W"], p["V"], p["rho"], z0))[1].T


def draw_made(p, r, uniform, normal, w):
    own = packed_masks(w)
    above = [name for name in own if name not in ("W", "V")]

    def step(a, blocks):
        u, W_d, V_d, b_d = blocks
        h = layers(jax.nn.sigmoid(a), p, above, own)
        x_d = drawn((h @ V_d + b_d)[:, None], u, u, w)
        return a + x_d[:, None] * W_d, x_d

    a = jnp.broadcast_to(p["c"], (uniform.shape[1], w.H))
    return lax.scan(step, a, (uniform, p["W"], p["V"].T, p["b"]))[1].T


def draw_shared(p, r, uniform, normal, w):
    z_alpha, mu, z_sigma = parts(r @ p["U"] + p["b"], w)
    k = component(z_alpha, uniform[0])[:, :, None]
    return (jnp.take_along_axis(mu, k, 2) + jnp.exp(jnp.take_along_axis(z_sigma, k, 2)) * normal.T[:, :, None])[:, :, 0]


DRAWS = {"nade": draw_nade, "made": draw_made, "shared": draw_shared}
LOG_DENSITIES = {
    ("nade", "scan"): log_density_scan,
    ("nade", "mixture"): log_density_mixture,
    ("made", "scan"): log_density_made,
    ("shared", "scan"): log_density_shared,
}


class Jax:
    def __init__(self, workload, parameters, dtype, variant):
        self.workload = workload
        self.p = {name: jnp.asarray(array) for name, array in pack(workload, parameters, dtype).items()}
        self.moments = None
        self.key = jax.random.key(0, impl="rbg")  # the fastest generator on a CPU

        if workload.latent:
            log_density = bound_of(workload, dtype)
        else:
            function = LOG_DENSITIES[workload.conditioner, variant]

            def log_density(x, p):
                return function(x, p, workload)

        self._forward = jax.jit(log_density)
        self._gradient = jax.jit(jax.value_and_grad(lambda p, x: log_density(x, p).sum()))
        self._step = jax.jit(lambda *state: adam_step(log_density, *state), donate_argnums=(0, 1, 2))
        self._draw = jax.jit(draw, static_argnums=(2, 3, 4))
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
        return unpack(self.workload, {name: np.asarray(block) for name, block in gradient.items()})

    def step(self, x):
        if self.moments is None:  # p is given away to every update: keep a copy of one's own
            self.p = {name: jnp.array(q, copy=True) for name, q in self.p.items()}
            self.moments = [jax.tree.map(jnp.zeros_like, self.p) for _ in range(2)]
            self.count = jnp.zeros((), self.p["b"].dtype)
        self.p, *self.moments, self.count, loss = self._step(self.p, *self.moments, self.count, x)
        jax.block_until_ready(self.p)
        return float(loss)

    def sample(self, n, frames):
        self.key, key = jax.random.split(self.key)
        return np.asarray(self._draw(self.p, key, n, frames, self.workload))


def prepare(workload, parameters, dtype, threads, variant):
    if variant != "scan" and (workload.conditioner, variant) not in LOG_DENSITIES:
        raise Unavailable("all dimensions at once, as in jax-scan")
    if hasattr(os, "sched_setaffinity"):  # XLA starts a thread for each processor that the process may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", dtype == "float64")
    return Jax(workload, parameters, dtype, variant)
