"""PyTorch with torch.compile.

Variants: "loop" compiles the whole log-density with its loop over dimensions unrolled, which takes minutes for many
of them and is left out there; "step" compiles the body of the loop, the density inside, once for all dimensions; of
a latent model, whose loops are over time, the bodies of these."""

import torch

from . import Unavailable
from .torch_eager import HEADS, Torch, log_density_of, start
from .torch_latent import bound_of

LONGEST_LOOP = 64


def step_of(head):
    def step(a, total, x_d, W_d, V_d, b_d, rho_d, z0_d=None):
        z = torch.addmm(b_d, torch.sigmoid(rho_d * a), V_d)
        if z0_d is not None:
            z = z + z0_d
        return torch.addcmul(a, x_d, W_d), total + HEADS[head][0](z, x_d.squeeze(-1))

    return step


def by_steps(body, head):
    """The log-density as an eager loop over a compiled body."""

    def log_density(x, p):
        N, T, D = x.shape
        a, z0 = start(x, p)
        a = a.contiguous()
        total = a.new_zeros(len(a))
        every = [x.reshape(-1, D).t().contiguous().unsqueeze(-1).unbind(0)]
        every += [p[name].unbind(0) for name in ("W", "V", "b", "rho")]
        if z0 is not None:
            every.append(z0.transpose(0, 1).contiguous().unbind(0))
        for blocks in zip(*every, strict=True):
            a, total = body(a, total, *blocks)
        return total.view(N, -1).sum(1) - T * D * HEADS[head][1]

    return log_density


class TorchCompiled(Torch):
    sample = None  # the loop of the sampler is eager torch's

    def forward(self, x):
        with torch.no_grad():  # inference mode would compile a second time for its own kind of tensors
            return self.log_density(torch.from_numpy(x), self.p).numpy()


def prepare(workload, parameters, dtype, threads, variant):
    torch.set_num_threads(threads)
    in_steps = workload.conditioner == "nade"
    if variant == "step" and not (in_steps or workload.latent):
        raise Unavailable("all dimensions at once, as in torch-compiled")
    if variant == "loop" and in_steps and workload.D > LONGEST_LOOP:
        raise Unavailable(f"the unrolled loop over {workload.D} dimensions takes too long to compile")
    if variant == "loop" and workload.latent:
        raise Unavailable(f"the unrolled loop over {workload.T} times takes too long to compile")
    try:
        torch.compile(lambda x: torch.sigmoid(x) + 1)(torch.ones(3))
    except Exception as error:  # whatever a missing or broken compiler makes torch raise
        first = str(error).strip().splitlines()[:1]
        raise Unavailable(f"torch.compile does not work here: {type(error).__name__}: {''.join(first)}") from error
    torch._dynamo.reset()
    if variant == "step" and workload.latent:
        log_density = bound_of(workload, dtype, lambda function: torch.compile(function, dynamic=False))
    elif variant == "loop":
        log_density = torch.compile(log_density_of(workload, dtype, variant), dynamic=False)
    else:
        log_density = by_steps(torch.compile(step_of(workload.head), dynamic=False), workload.head)
    return TorchCompiled(workload, parameters, dtype, log_density, variant)
