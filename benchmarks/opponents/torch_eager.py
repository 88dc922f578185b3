"""PyTorch, eager, gradient by autograd: all frames at once, `a` updated from dimension to dimension.

Variants: "loop" takes the dimensions one by one; "blocks" takes BLOCK of them in one batched product, with their `a`
by cumulative sums.  In both all that the recurrent state gives to the raw outputs is one product, and the mixtures of
all dimensions are evaluated together."""

import math

import torch

from . import BETA1, BETA2, EPSILON, LEARNING_RATE
from .packing import pack, unpack

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
BLOCK = 16


def states(x, p):
    """(N * T, R): the recurrent state that conditions each frame."""
    N, T, D = x.shape
    drive = torch.addmm(p["b_r"], x.reshape(-1, D), p["W_in"]).view(N, T, -1).unbind(1)
    r = p["r0"].expand(N, -1)
    found = [r]
    for drive_t in drive[:-1]:
        r = torch.sigmoid(torch.addmm(drive_t, r, p["W_rec"]))
        found.append(r)
    return torch.stack(found, 1).view(N * T, -1)


def start(x, p):
    """(a_1 (M, H), z (M, D, P) or None: what the past gives to the raw outputs).  U is kept as (R, D * P) here."""
    if "U" not in p:
        return p["c"].expand(x.shape[0] * x.shape[1], -1), None
    r = states(x, p)
    return torch.addmm(p["c"], r, p["W_c"]), (r @ p["U"]).view(len(r), *p["b"].shape)


def mixture(z, x):
    """log p of x (...) given raw outputs z (..., P), without the constant."""
    z_alpha, mu, z_sigma = z.chunk(3, -1)
    u = (x.unsqueeze(-1) - mu) * torch.exp(-z_sigma)
    joint = z_alpha - 0.5 * u * u - z_sigma
    return torch.logsumexp(joint, -1) - torch.logsumexp(z_alpha, -1)


def log_density_loop(x, p):
    """(N,) log-densities, a dimension at a time."""
    N, T, D = x.shape
    rows = x.reshape(-1, D)
    a, z0 = start(x, p)
    columns = rows.t().contiguous().unsqueeze(-1).unbind(0)
    blocks = zip(columns, p["W"].unbind(0), p["V"].unbind(0), p["b"].unbind(0), p["rho"].unbind(0), strict=True)
    z = []
    for x_d, W_d, V_d, b_d, rho_d in blocks:
        z.append(torch.addmm(b_d, torch.sigmoid(rho_d * a), V_d))
        if len(z) < D:
            a = torch.addcmul(a, x_d, W_d)
    z = torch.stack(z, 1)
    if z0 is not None:
        z = z + z0
    return mixture(z, rows).view(N, -1).sum(1) - T * D * LOG_SQRT_2PI


def log_density_blocks(x, p):
    """(N,) log-densities, BLOCK dimensions at a time."""
    N, T, D = x.shape
    columns = x.reshape(-1, D).t().contiguous()
    a, z0 = start(x, p)
    total = 0
    for begin in range(0, D, BLOCK):
        block = slice(begin, min(begin + BLOCK, D))
        updates = columns[block].unsqueeze(-1) * p["W"][block].unsqueeze(1)
        every_a = torch.cumsum(torch.cat([a.unsqueeze(0), updates]), 0)
        a = every_a[-1]
        h = torch.sigmoid(every_a[:-1] * p["rho"][block].view(-1, 1, 1))
        z = torch.baddbmm(p["b"][block].unsqueeze(1), h, p["V"][block])
        if z0 is not None:
            z = z + z0[:, block].transpose(0, 1)
        total = total + mixture(z, columns[block]).sum(0)
    return total.view(N, -1).sum(1) - T * D * LOG_SQRT_2PI


LOG_DENSITIES = {"loop": log_density_loop, "blocks": log_density_blocks}


class Torch:
    def __init__(self, workload, parameters, dtype, log_density):
        self.workload, self.log_density = workload, log_density
        packed = pack(parameters, dtype)
        if "U" in packed:
            packed["U"] = packed["U"].transpose(1, 0, 2).reshape(workload.R, -1)
        self.p = {name: torch.tensor(array, requires_grad=True) for name, array in packed.items()}
        options = {"lr": LEARNING_RATE, "betas": (BETA1, BETA2), "eps": EPSILON}
        try:
            self.optimizer = torch.optim.Adam(self.p.values(), fused=True, **options)
        except (RuntimeError, TypeError):  # before 2.4 only on accelerators
            self.optimizer = torch.optim.Adam(self.p.values(), **options)

    def forward(self, x):
        with torch.inference_mode():
            return self.log_density(torch.from_numpy(x), self.p).numpy()

    def gradient(self, x):
        total = self.log_density(torch.from_numpy(x), self.p).sum()
        return total.item(), torch.autograd.grad(total, list(self.p.values()))

    def named(self, gradient):
        packed = {name: block.numpy() for name, block in zip(self.p, gradient, strict=True)}
        if "U" in packed:
            w = self.workload
            packed["U"] = packed["U"].reshape(w.R, w.D, w.P).transpose(1, 0, 2)
        return unpack(packed)

    def step(self, x):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.log_density(torch.from_numpy(x), self.p).sum() / -(x.shape[0] * x.shape[1])
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def epochs(self, x, batch_size, n):
        """n epochs of shuffled mini-batches; the mean loss of a frame in the last."""
        for _ in range(n):
            parts = torch.randperm(len(x)).numpy()
            batches = [parts[i : i + batch_size] for i in range(0, len(x), batch_size)]
            loss = sum(self.step(x[batch]) * len(batch) for batch in batches) / len(x)
        return loss

    @torch.inference_mode()
    def sample(self, n, frames):
        p, w = self.p, self.workload
        each = torch.arange(n)
        dtype = p["W"].dtype
        out = torch.empty(n, frames, w.D, dtype=dtype)
        W, V, rho = p["W"].unbind(0), p["V"].unbind(0), p["rho"].tolist()
        z0 = p["b"].unsqueeze(1).expand(-1, n, -1).unbind(0)
        r = p["r0"].expand(n, -1) if "U" in p else None
        for t in range(frames):
            a = p["c"].repeat(n, 1)
            if r is not None:
                a = torch.addmm(a, r, p["W_c"])
                z0 = torch.addmm(p["b"].view(-1), r, p["U"]).view(n, w.D, w.P).unbind(1)
            normal = torch.randn(w.D, n, dtype=dtype).unbind(0)
            # argmax of log alpha + Gumbel noise is a draw from alpha: fewer calls than cumulative sums
            gumbel = torch.empty(w.D, n, w.K, dtype=dtype).exponential_().log_().neg_().unbind(0)
            for d in range(w.D):
                z = torch.addmm(z0[d], torch.sigmoid(a * rho[d]), V[d])
                k = (z[:, : w.K] + gumbel[d]).argmax(1)
                x_d = torch.addcmul(z[each, w.K + k], torch.exp(z[each, 2 * w.K + k]), normal[d])
                out[:, t, d] = x_d
                a.addcmul_(x_d.unsqueeze(1), W[d])
            if r is not None:
                r = torch.sigmoid(torch.addmm(p["b_r"], out[:, t], p["W_in"]).addmm_(r, p["W_rec"]))
        return out.numpy()


def prepare(workload, parameters, dtype, threads, variant):
    torch.set_num_threads(threads)
    return Torch(workload, parameters, dtype, LOG_DENSITIES[variant])
