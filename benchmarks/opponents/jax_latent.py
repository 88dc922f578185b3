"""The bound of a VRNN or SRNN in JAX: scans over what depends on the latent or the state before, all else in one batch
each.  Weights that read the same lie side by side (packing.py)."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from ..workloads import LATENT_FLOOR, random_noise

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
NETS = {"F_x": "f_x", "F_y": "f_y", "P": "p_h", "Q": "q_h", "C": "c_k"}  # the layers of a net, and their biases


def net(p, name, layers, sums):
    """The last layer of a net, from the sums of its first without the bias."""
    h = jax.nn.relu(sums + p[NETS[name]])
    for k in range(2, layers + 1):
        h = jax.nn.relu(h @ p[f"{name}_{k}"] + p[f"{NETS[name]}_{k}"])
    return h


def normal(p, which, h):
    mu, raw = jnp.split(h @ p["N_" + which] + p["n_" + which], 2, axis=-1)
    return mu, jax.nn.softplus(raw) + LATENT_FLOOR


def gru(gates, recurrent, r):
    """The next state."""
    R = r.shape[-1]
    s = jax.nn.sigmoid(gates[:, : 2 * R] + recurrent[:, : 2 * R])
    m, u = jnp.tanh(gates[:, 2 * R :] + s[:, :R] * recurrent[:, 2 * R :]), s[:, R:]
    return m + u * (r - m)


def divergence(mq, sq, mp, sp):
    u, v = (mq - mp) / sp, sq / sp
    return (0.5 * (u * u + v * v) - jnp.log(v) - 0.5).sum()


def frames(p, k, x, head):
    z = k @ p["U"] + p["b"]
    if head == "bernoulli":
        return -jax.nn.softplus((1 - 2 * x) * z).sum()
    mu, z_sigma = jnp.split(z, 2, axis=-1)
    u = (x - mu) * jnp.exp(-z_sigma)
    return -(0.5 * u * u + z_sigma).sum() - x.size * LOG_SQRT_2PI


def rows(start, n):
    return jnp.broadcast_to(start, (n, len(start)))


def vrnn(p, x, noise, w):
    e = net(p, "F_x", w.layers, x @ p["F_x"])

    def step(r, at):
        for_gates, for_q, eps = at
        s = r @ p["Z_r"]
        mu, sigma = normal(p, "q", net(p, "Q", w.layers, for_q + s[:, 3 * w.R :]))
        g = net(p, "F_y", w.layers, (mu + sigma * eps) @ p["F_y"])
        return gru(for_gates + g @ p["W_g"], s[:, : 3 * w.R], r), (r, mu, sigma, g)

    _, (r, mq, sq, g) = lax.scan(step, rows(p["r0"], x.shape[1]), (e @ p["W_e"] + p["b_r"], e @ p["Q_x"], noise))
    mp, sp = normal(p, "p", net(p, "P", w.layers, r @ p["P_r"]))
    k = net(p, "C", w.layers, g @ p["C_y"] + r @ p["C_r"])
    return frames(p, k, x, w.head) - divergence(mq, sq, mp, sp)


def srnn(p, x, noise, w):
    N = x.shape[1]
    e = net(p, "F_x", w.layers, x @ p["F_x"])
    _, r = lax.scan(lambda r, gates: (gru(gates, r @ p["W_rec"], r), r), rows(p["r0"], N), e @ p["W_e"] + p["b_r"])

    def back(a, gates):
        a = gru(gates, a @ p["A_rec"], a)
        return a, a

    _, a = lax.scan(back, rows(p["a_end"], N), r @ p["A_r"] + e @ p["A_e"] + p["b_a"], reverse=True)

    def step(y, at):
        for_p, for_q, eps = at
        s = y @ p["Z_y"]
        mp, sp = normal(p, "p", net(p, "P", w.layers, for_p + s[:, : w.E]))
        mq, sq = normal(p, "q", net(p, "Q", w.layers, for_q + s[:, w.E :]))
        mq = mq + mp
        y = mq + sq * eps
        return y, (y, mq, sq, mp, sp)

    _, (y, *normals) = lax.scan(step, rows(p["y0"], N), (r @ p["P_r"], a @ p["Q_a"], noise))
    k = net(p, "C", w.layers, y @ p["C_y"] + r @ p["C_r"])
    return frames(p, k, x, w.head) - divergence(*normals)


def bound_of(workload, dtype):
    """The function of (x, p) that gives the total bound."""
    noise = jnp.asarray(random_noise(workload, dtype).transpose(1, 0, 2))
    function = {"vrnn": vrnn, "srnn": srnn}[workload.conditioner]
    return lambda x, p: function(p, jnp.swapaxes(x, 0, 1), noise, workload)
