"""The bound of a VRNN or SRNN in PyTorch: a loop over time of what depends on the latent, all else in one batch each.

Weights that read the same lie side by side (packing.py), and prior and encoder of an SRNN, whose mean is the prior's
and its own, are one batched product.  `wrap` is what becomes of the functions of the loops: themselves, or compiled."""

import math

import torch
from torch.nn.functional import softplus

from ..workloads import LATENT_FLOOR, random_noise

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
NETS = {"F_x": "f_x", "F_y": "f_y", "P": "p_h", "Q": "q_h", "C": "c_k"}  # the layers of a net, and their biases


def above(p, name, layers, h):
    """The last layer of a net, from its first."""
    for k in range(2, layers + 1):
        h = torch.relu(torch.addmm(p[f"{NETS[name]}_{k}"], h, p[f"{name}_{k}"]))
    return h


def normal(sums):
    mu, raw = sums.chunk(2, -1)
    return mu, softplus(raw) + LATENT_FLOOR


def gru(gates, recurrent, r):
    """The next state."""
    R = r.shape[-1]
    s = torch.sigmoid(gates[:, : 2 * R] + recurrent[:, : 2 * R])
    m = torch.tanh(torch.addcmul(gates[:, 2 * R :], s[:, :R], recurrent[:, 2 * R :]))
    return torch.lerp(m, r, s[:, R:])


def gru_step(gates, r, W_rec):
    return gru(gates, r @ W_rec, r)


def divergence(mq, sq, mp, sp):
    """Of all rows."""
    u, v = (mq - mp) / sp, sq / sp
    return (0.5 * (u * u + v * v) - torch.log(v) - 0.5).sum()


def frames(p, k, x, head):
    """log p of all frames."""
    z = torch.addmm(p["b"], k, p["U"])
    if head == "bernoulli":
        return -softplus((1 - 2 * x) * z).sum()
    mu, z_sigma = z.chunk(2, -1)
    u = (x - mu) * torch.exp(-z_sigma)
    return -(0.5 * u * u + z_sigma).sum() - x.numel() * LOG_SQRT_2PI


def vrnn(w, noise, wrap):
    def step(p, r, for_gates, for_q, eps):
        s = r @ p["Z_r"]
        h = above(p, "Q", w.layers, torch.relu(for_q + s[:, 3 * w.R :]))
        mu, sigma = normal(torch.addmm(p["n_q"], h, p["N_q"]))
        y = torch.addcmul(mu, sigma, eps)
        g = above(p, "F_y", w.layers, torch.relu(torch.addmm(p["f_y"], y, p["F_y"])))
        return gru(torch.addmm(for_gates, g, p["W_g"]), s[:, : 3 * w.R], r), mu, sigma, g

    step = wrap(step)

    def bound(x, p):
        N, T, D = x.shape
        x = x.transpose(0, 1).reshape(T * N, D)
        e = above(p, "F_x", w.layers, torch.relu(torch.addmm(p["f_x"], x, p["F_x"])))
        for_gates = torch.addmm(p["b_r"], e, p["W_e"]).view(T, N, -1).unbind(0)
        for_q = torch.addmm(p["q_h"], e, p["Q_x"]).view(T, N, -1).unbind(0)
        r, found = p["r0"].expand(N, -1).contiguous(), []
        for t in range(T):
            r_next, *rest = step(p, r, for_gates[t], for_q[t], noise[t])
            found.append((r, *rest))
            r = r_next
        r, mq, sq, g = (torch.cat(part) for part in zip(*found, strict=True))
        h = above(p, "P", w.layers, torch.relu(torch.addmm(p["p_h"], r, p["P_r"])))
        mp, sp = normal(torch.addmm(p["n_p"], h, p["N_p"]))
        k = torch.relu(torch.addmm(torch.addmm(p["c_k"], r, p["C_r"]), g, p["C_y"]))
        return frames(p, above(p, "C", w.layers, k), x, w.head) - divergence(mq, sq, mp, sp)

    return bound


def srnn(w, noise, wrap):
    def step(y, sums, eps, Z_y, heads, head_bias, *later):
        """sums (2, N, E): of prior and encoder."""
        h = torch.relu(torch.baddbmm(sums, y.expand(2, -1, -1), Z_y))
        for W, b in zip(later[::2], later[1::2], strict=True):
            h = torch.relu(torch.baddbmm(b, h, W))
        mu, sigma = normal(torch.baddbmm(head_bias, h, heads))
        mp, mq = mu.unbind(0)
        sp, sq = sigma.unbind(0)
        mq = mq + mp
        return torch.addcmul(mq, sq, eps), mq, sq, mp, sp

    step, cell = wrap(step), wrap(gru_step)

    def bound(x, p):
        N, T, D = x.shape
        x = x.transpose(0, 1).reshape(T * N, D)
        e = above(p, "F_x", w.layers, torch.relu(torch.addmm(p["f_x"], x, p["F_x"])))
        first = p["r0"].expand(N, -1).contiguous()
        gates = torch.addmm(p["b_r"], e, p["W_e"]).view(T, N, -1).unbind(0)
        r = [first]
        for t in range(T - 1):
            r.append(cell(gates[t], r[-1], p["W_rec"]))
        r = torch.cat(r)
        gates = torch.addmm(torch.addmm(p["b_a"], e, p["A_e"]), r, p["A_r"]).view(T, N, -1).unbind(0)
        a = [p["a_end"].expand(N, -1).contiguous()]
        for t in range(T - 1, -1, -1):
            a.append(cell(gates[t], a[-1], p["A_rec"]))
        a = torch.cat(a[:0:-1])
        sums = torch.stack([torch.addmm(p["p_h"], r, p["P_r"]), torch.addmm(p["q_h"], a, p["Q_a"])])
        sums = sums.view(2, T, N, -1).unbind(1)
        Z_y = p["Z_y"].view(w.J, 2, -1).transpose(0, 1).contiguous()
        heads = torch.stack([p["N_p"], p["N_q"]]), torch.stack([p["n_p"], p["n_q"]]).unsqueeze(1)
        later = []
        for k in range(2, w.layers + 1):
            later.append(torch.stack([p[f"P_{k}"], p[f"Q_{k}"]]))
            later.append(torch.stack([p[f"p_h_{k}"], p[f"q_h_{k}"]]).unsqueeze(1))
        y, found = p["y0"].expand(N, -1), []
        for t in range(T):
            y, *rest = step(y, sums[t], noise[t], Z_y, *heads, *later)
            found.append((y, *rest))
        y, *normals = (torch.cat(part) for part in zip(*found, strict=True))
        k = torch.relu(torch.addmm(torch.addmm(p["c_k"], r, p["C_r"]), y, p["C_y"]))
        return frames(p, above(p, "C", w.layers, k), x, w.head) - divergence(*normals)

    return bound


def bound_of(workload, dtype, wrap=lambda function: function):
    """The function of (x, p) that gives the total bound."""
    noise = torch.from_numpy(random_noise(workload, dtype)).transpose(0, 1).contiguous().unbind(0)
    return {"vrnn": vrnn, "srnn": srnn}[workload.conditioner](workload, noise, wrap)
