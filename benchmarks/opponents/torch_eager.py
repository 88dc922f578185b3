"""PyTorch, eager, gradient by autograd: all frames at once, `a` updated from dimension to dimension.

Variants: "loop" takes the dimensions one by one; "blocks" takes BLOCK of them in one batched product, with their `a`
by cumulative sums.  In both all that the recurrent state gives to the raw outputs is one product, and the densities of
all dimensions are evaluated together.  A MADE and a mixture over the whole frame take all dimensions at once; draws of
a MADE take a pass for each dimension ("loop"), or compute each unit once, when the first dimension that reads it is
due ("blocks")."""

import math

import torch
from torch.nn.functional import softplus

from ..workloads import masks
from . import BETA1, BETA2, EPSILON, LEARNING_RATE, Unavailable
from .packing import pack, unpack
from .torch_latent import bound_of

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
    """log p of x (...) given raw outputs z (..., 3 K), without the constant."""
    z_alpha, mu, z_sigma = z.chunk(3, -1)
    u = (x.unsqueeze(-1) - mu) * torch.exp(-z_sigma)
    joint = z_alpha - 0.5 * u * u - z_sigma
    return torch.logsumexp(joint, -1) - torch.logsumexp(z_alpha, -1)


def bernoulli(z, x):
    """log p of x (...), zeros and ones, given raw outputs z (..., 1)."""
    return -softplus((1 - 2 * x) * z.squeeze(-1))


HEADS = {"gaussian": (mixture, LOG_SQRT_2PI), "bernoulli": (bernoulli, 0.0)}  # and the constant of one number


def log_density_loop(x, p, head):
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
    log_density, constant = HEADS[head]
    return log_density(z, rows).view(N, -1).sum(1) - T * D * constant


def log_density_blocks(x, p, head):
    """(N,) log-densities, BLOCK dimensions at a time."""
    N, T, D = x.shape
    columns = x.reshape(-1, D).t().contiguous()
    a, z0 = start(x, p)
    log_density, constant = HEADS[head]
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
        total = total + log_density(z, columns[block]).sum(0)
    return total.view(N, -1).sum(1) - T * D * constant


def layers(rows, p, masks):
    """The last layer of a MADE.  masks: of each weight, as it lies."""
    h = rows
    for name in masks:
        if name != "V":
            h = torch.sigmoid(torch.addmm(p["c" + name[1:]], h, p[name] * masks[name]))
    return h


def log_density_made(x, p, masks):
    rows = x[:, 0]
    z = torch.addmm(p["b"], layers(rows, p, masks), p["V"] * masks["V"])
    return bernoulli(z.unsqueeze(-1), rows).sum(1)


def log_density_shared(x, p, K):
    N, T, D = x.shape
    z = torch.addmm(p["b"], states(x, p), p["U"])
    z_alpha, rest = z[:, :K], z[:, K:].view(N * T, 2, D, K)
    mu, z_sigma = rest.unbind(1)
    u = (x.reshape(N * T, D, 1) - mu) * torch.exp(-z_sigma)
    joint = z_alpha - (0.5 * u * u + z_sigma).sum(1)
    total = torch.logsumexp(joint, -1) - torch.logsumexp(z_alpha, -1)
    return total.view(N, T).sum(1) - T * D * LOG_SQRT_2PI


def draw_nade(p, w, variant):
    """A function of r (n, R) or None that draws one frame of each of n sequences, (n, D)."""
    W, V, rho = p["W"].unbind(0), p["V"].unbind(0), p["rho"].tolist()

    def draw(r, n):
        a = p["c"].repeat(n, 1)
        z0 = p["b"].unsqueeze(1).expand(-1, n, -1).unbind(0)
        if r is not None:
            a = torch.addmm(a, r, p["W_c"])
            z0 = torch.addmm(p["b"].view(-1), r, p["U"]).view(n, w.D, w.P).unbind(1)
        numbers = noise(w, w.D, n, a.dtype)
        x = torch.empty(n, w.D, dtype=a.dtype)
        for d in range(w.D):
            x_d = drawn(torch.addmm(z0[d], torch.sigmoid(a * rho[d]), V[d]), w, *(one[d] for one in numbers))
            x[:, d] = x_d
            a.addcmul_(x_d.unsqueeze(1), W[d])
        return x

    return draw


def noise(w, D, n, dtype):
    """Random numbers of D dimensions each."""
    if w.head == "bernoulli":
        return (torch.rand(D, n, dtype=dtype).unbind(0),)
    # argmax of log alpha + Gumbel noise is a draw from alpha: fewer calls than cumulative sums
    gumbel = torch.empty(D, n, w.K, dtype=dtype).exponential_().log_().neg_()
    return torch.randn(D, n, dtype=dtype).unbind(0), gumbel.unbind(0)


def drawn(z, w, random, gumbel=None):
    """One number of each row, from its raw outputs z (n, P)."""
    if w.head == "bernoulli":
        return (random < torch.sigmoid(z[:, 0])).to(z.dtype)
    k = (z[:, : w.K] + gumbel).argmax(1, keepdim=True)
    mu, z_sigma = z[:, w.K : 2 * w.K].gather(1, k), z[:, 2 * w.K :].gather(1, k)
    return torch.addcmul(mu[:, 0], torch.exp(z_sigma[:, 0]), random)


def draw_made(p, w, variant):
    """`p` is zero behind the masks."""
    weights = [name for name in p if name[0] == "W"]

    def draw_in_passes(r, n):
        (random,) = noise(w, w.D, n, p["b"].dtype)
        x = torch.zeros(n, w.D, dtype=p["b"].dtype)
        for d in range(w.D):
            h = x
            for W in weights:
                h = torch.sigmoid(torch.addmm(p["c" + W[1:]], h, p[W]))
            x[:, d] = drawn(torch.addmm(p["b"], h, p["V"])[:, d : d + 1], w, random[d])
        return x

    until = [0, *(-(-d * w.H // w.D) for d in range(1, w.D + 1))]  # units of degrees below d
    fronts = {W: [torch.empty(0)] * w.D for W in (*weights, "V")}
    for d in range(w.D):
        read = d
        for W in weights:
            fronts[W][d] = p[W][:read, until[d] : until[d + 1]].contiguous()
            read = until[d + 1]
        fronts["V"][d] = p["V"][:read, d].contiguous()
    biases = {W: p["c" + W[1:]].detach() for W in weights}

    def draw_units_once(r, n):
        (random,) = noise(w, w.D, n, p["b"].dtype)
        x = torch.zeros(w.D, n, dtype=p["b"].dtype)  # lines of it lie together
        h = {W: torch.zeros(w.H, n, dtype=x.dtype) for W in weights}
        b = p["b"].tolist()
        for d in range(w.D):
            below, read, (i, j) = x, d, until[d : d + 2]
            for W in weights:
                if j > i:
                    a = torch.addmm(biases[W][i:j, None], fronts[W][d].t(), below[:read])
                    torch.sigmoid(a, out=h[W][i:j])
                below, read = h[W], j
            z = fronts["V"][d] @ below[:read] + b[d]
            x[d] = drawn(z.unsqueeze(1), w, random[d])
        return x.t()

    return draw_units_once if variant == "blocks" else draw_in_passes


def draw_shared(p, w, variant):
    def draw(r, n):
        z = torch.addmm(p["b"], r, p["U"])
        gumbel = torch.empty(n, w.K, dtype=z.dtype).exponential_().log_().neg_()
        k = (z[:, : w.K] + gumbel).argmax(1)
        mu, z_sigma = z[:, w.K :].view(n, 2, w.D, w.K)[torch.arange(n), :, :, k].unbind(1)
        return torch.addcmul(mu, torch.exp(z_sigma), torch.randn(n, w.D, dtype=z.dtype))

    return draw


DRAWS = {"nade": draw_nade, "made": draw_made, "shared": draw_shared}


def log_density_of(workload, dtype, variant):
    """The function of (x, p) that gives (N,) log-densities, or, of a latent model, the total bound."""
    if workload.conditioner == "made":
        own = {name: torch.from_numpy(mask.T.astype("f4")) for name, mask in masks(workload).items()}
        return lambda x, p: log_density_made(x, p, {name: mask.to(x.dtype) for name, mask in own.items()})
    if workload.latent:
        return bound_of(workload, dtype)
    if workload.conditioner == "shared":
        return lambda x, p: log_density_shared(x, p, workload.K)
    function = {"loop": log_density_loop, "blocks": log_density_blocks}[variant]
    return lambda x, p: function(x, p, workload.head)


class Torch:
    def __init__(self, workload, parameters, dtype, log_density, variant):
        self.workload, self.log_density, self.variant = workload, log_density, variant
        self.draw = None  # made when first asked for, of the parameters as they are
        packed = pack(workload, parameters, dtype)
        if "U" in packed and workload.conditioner == "nade":
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
        w = self.workload
        if "U" in packed and w.conditioner == "nade":
            packed["U"] = packed["U"].reshape(w.R, w.D, w.P).transpose(1, 0, 2)
        return unpack(w, packed)

    def step(self, x):
        self.draw = None
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
        draw = self.draw = self.draw or DRAWS[w.conditioner](p, w, self.variant)
        out = torch.empty(n, frames, w.D, dtype=p["b"].dtype)
        r = p["r0"].expand(n, -1) if w.R else None
        for t in range(frames):
            out[:, t] = draw(r, n)
            if r is not None:
                r = torch.sigmoid(torch.addmm(p["b_r"], out[:, t], p["W_in"]).addmm_(r, p["W_rec"]))
        return out.numpy()


def prepare(workload, parameters, dtype, threads, variant):
    if workload.latent and variant == "blocks":
        raise Unavailable("all dimensions at once, as in torch")
    torch.set_num_threads(threads)
    return Torch(workload, parameters, dtype, log_density_of(workload, dtype, variant), variant)
