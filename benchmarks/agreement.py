"""Log-density and gradient of random models against PyTorch's autograd in float64.

    python -m benchmarks.agreement

The model is written here a second time, from its equations, in users' names and shapes and nothing of the opponents
of speed.py (the steps of GRU and LSTM are PyTorch's own); its gradient is autograd's.  Ours come from the public
calls.  Errors are relative: of a log-density to max(1, |log p|), of a gradient to the largest element of its block.
The exit status is 1 where a tolerance is missed.
"""

import argparse
import sys
import zlib
from typing import NamedTuple

import numpy as np

from . import machine, report
from .workloads import TOLERANCES, gradient_error, log_density_error


class Case(NamedTuple):
    """Sizes and options of a random model (R = 0: static; K = 0: binary) and the lengths of its sequences."""

    D: int
    H: int
    K: int
    R: int
    lengths: tuple
    context: tuple = ("alpha", "mu", "sigma", "hidden")
    activation: str = "sigmoid"
    cell: str = "sigmoid"
    min_scale: float = 0.0


CASES = (
    Case(1, 1, 1, 1, (1,)),
    Case(2, 50, 10, 50, (100,) * 8),
    Case(12, 50, 10, 100, (7, 29, 1, 16, 22)),
    Case(12, 50, 10, 100, (7, 29, 1, 16, 22), ("alpha", "mu", "sigma"), min_scale=1e-3),
    Case(49, 100, 10, 200, (100, 100)),
    Case(33, 17, 3, 19, (40, 3, 11), ("mu", "hidden"), cell="tanh", min_scale=0.01),
    Case(33, 17, 3, 19, (40, 3, 11), ("sigma",), activation="relu", min_scale=1e-3),
    Case(12, 50, 10, 100, (7, 29, 1, 16, 22), cell="gru", min_scale=1e-3),
    Case(12, 50, 10, 100, (7, 29, 1, 16, 22), cell="lstm", min_scale=1e-3),
    Case(5, 9, 3, 33, (200, 3, 11), ("alpha", "mu", "sigma"), cell="gru"),
    Case(5, 9, 3, 33, (200, 3, 11), ("alpha", "mu", "sigma"), cell="lstm"),
    Case(20, 0, 5, 30, (25, 25), ("alpha", "mu", "sigma")),
    Case(225, 64, 5, 80, (10, 10)),
    Case(11, 50, 20, 0, (1,) * 300),
    Case(64, 128, 7, 0, (1,) * 200, activation="relu", min_scale=1e-3),
    Case(900, 40, 3, 0, (1,) * 20),
    Case(30, 25, 0, 40, (50, 9, 1), ("bias", "hidden")),
    Case(88, 30, 0, 20, (20, 20), ("bias",), cell="tanh"),
    Case(88, 30, 0, 20, (20, 20), ("bias", "hidden"), cell="lstm"),
    Case(50, 64, 0, 0, (1,) * 200),
)


def random_model(case, generator):
    """Parameters under the users' names, float32 values in float64 arrays (so that both types mean one model)."""
    D, H, K, R = case.D, case.H, case.K, case.R

    def normal(*shape, scale):
        return (scale * generator.standard_normal(shape)).astype(np.float32).astype(np.float64)

    into_z, past = 0.5 * max(H, 1) ** -0.5, 0.5 * max(R, 1) ** -0.5
    p = {"W": normal(H, D, scale=0.5 * D**-0.5), "c": normal(H, scale=0.3), "rho": 1 + normal(D, scale=0.1)}
    if K:
        for q in ("alpha", "mu", "sigma"):
            p[f"V_{q}"], p[f"b_{q}"] = normal(D, H, K, scale=into_z), normal(D, K, scale=0.3)
            if R and q in case.context:
                p[f"W_{q}"] = normal(D, K, R, scale=past)
    else:
        p["V"], p["b"] = normal(D, H, scale=into_z), normal(D, scale=0.3)
        if R and "bias" in case.context:
            p["W_b"] = normal(D, R, scale=past)
    if R:
        if "hidden" in case.context:
            p["W_c"] = normal(H, R, scale=past)
        GR = {"gru": 3, "lstm": 4}.get(case.cell, 1) * R
        p["W_in"], p["W_rec"] = normal(GR, D, scale=0.5 * D**-0.5), normal(GR, R, scale=past)
        p["b_r"], p["r0"] = normal(GR, scale=0.1), normal(R, scale=0.3)
        if case.cell == "lstm":
            p["c0"] = normal(R, scale=0.3)
    p["rho"] = p["rho"].astype(np.float32).astype(np.float64)
    return p


def random_sequences(case, generator):
    """A list of (T_i, D) arrays, values of float32."""
    for T in case.lengths:
        x = generator.standard_normal((T, case.D))
        yield (x > 0.3).astype(np.float64) if case.K == 0 else x.astype(np.float32).astype(np.float64)


def states(x, p, cell):
    """r that conditions each frame of one sequence (T, D), in PyTorch: (T, R)."""
    import torch

    state = (p["r0"], p["c0"]) if cell == "lstm" else (p["r0"],)
    zero = torch.zeros_like(p["b_r"])  # PyTorch's cells have a second bias
    found = []
    for x_t in x:
        found.append(state[0])
        past = tuple(s[None] for s in state)
        if cell == "lstm":
            step = torch.lstm_cell(x_t[None], past, p["W_in"], p["W_rec"], p["b_r"], zero)
        elif cell == "gru":
            step = (torch.gru_cell(x_t[None], past[0], p["W_in"], p["W_rec"], p["b_r"], zero),)
        else:
            step = (getattr(torch, cell)(x_t[None] @ p["W_in"].T + past[0] @ p["W_rec"].T + p["b_r"]),)
        state = tuple(s[0] for s in step)
    return torch.stack(found)


def log_density(x, p, case):
    """log p of each frame of one sequence (T, D), in PyTorch."""
    import torch

    if case.K == 0:  # one raw output, as an axis
        p = p | {"V": p["V"][:, :, None], "b": p["b"][:, None]}
        p |= {"W_b": p["W_b"][:, None]} if "W_b" in p else {}
    activation = {"sigmoid": torch.sigmoid, "relu": torch.relu}[case.activation]
    a = p["c"].expand(len(x), -1)  # (T, H)
    if case.R:
        r = states(x, p, case.cell)
        if "W_c" in p:
            a = a + r @ p["W_c"].mT

    def raw(d, h, V, b, W):
        z = p[b][d] + h @ p[V][d]
        return z + r @ p[W][d].T if W in p else z

    total = 0.0
    for d, x_d in enumerate(x.unbind(1)):
        h = activation(p["rho"][d] * a)
        if case.K == 0:
            logits = raw(d, h, "V", "b", "W_b")[:, 0]
            total = total + torch.distributions.Bernoulli(logits=logits).log_prob(x_d)
        else:
            z_alpha, mu, z_sigma = (raw(d, h, f"V_{q}", f"b_{q}", f"W_{q}") for q in ("alpha", "mu", "sigma"))
            components = torch.distributions.Normal(mu, case.min_scale + torch.exp(z_sigma)).log_prob(x_d[:, None])
            total = total + torch.logsumexp(torch.log_softmax(z_alpha, 1) + components, 1)
        a = a + x_d[:, None] * p["W"][:, d]
    return total


def expected(case, parameters, sequences):
    """(log-density of each sequence or row, gradient of their sum) from autograd."""
    import torch

    p = {name: torch.tensor(array, requires_grad=True) for name, array in parameters.items()}
    if case.R:
        densities = torch.stack([log_density(torch.from_numpy(x), p, case).sum() for x in sequences])
    else:
        densities = log_density(torch.from_numpy(np.concatenate(sequences)), p, case)
    found = torch.autograd.grad(densities.sum(), list(p.values()), allow_unused=True)
    gradient = {name: np.zeros(p[name].shape) if g is None else g.numpy() for name, g in zip(p, found, strict=True)}
    return densities.detach().numpy(), gradient


def ours(case, parameters, sequences, dtype, threads):
    """The same from the public calls."""
    import rnnrnade

    name = ("RNN" if case.R else "") + ("RNADE" if case.K else "NADE")
    options = {"activation": case.activation, "n_jobs": threads}
    options |= {"cell": case.cell} if case.R else {}
    options |= {"min_scale": case.min_scale} if case.K else {"learn_rho": True}
    arrays = {name: array.astype(dtype) for name, array in parameters.items()}
    model = getattr(rnnrnade, name).from_parameters(arrays, **options)
    x = [sequence.astype(dtype) for sequence in sequences]
    x = x if case.R else np.concatenate(x)
    densities = model.score_samples(x)
    total, gradient = model.log_likelihood_and_gradient(x)
    if not abs(total - densities.sum()) <= 1e-12 * max(1.0, abs(total)):
        raise AssertionError(f"log_likelihood_and_gradient says {total!r}, score_samples {densities.sum()!r}")
    return densities, gradient


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agreement", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1, help="random models of each case")
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--name", default="agreement")
    options = parser.parse_args()
    described = machine.description(options.threads)
    print(machine.headline(described), flush=True)
    lines, results, missed = [], [], 0
    for case in CASES:
        worst = {}
        for seed in range(options.seeds):
            generator = np.random.default_rng([seed, zlib.crc32(repr(case).encode())])
            parameters = random_model(case, generator)
            sequences = list(random_sequences(case, generator))
            densities, gradient = expected(case, parameters, sequences)
            for dtype in TOLERANCES:
                found = ours(case, parameters, sequences, dtype, options.threads)
                errors = (log_density_error(found[0], densities), gradient_error(found[1], gradient)[0])
                worst[dtype] = np.fmax(worst.get(dtype, (0.0, 0.0)), errors) if np.isfinite(errors).all() else errors
        met = all(np.all(np.asarray(worst[dtype]) <= tolerance) for dtype, tolerance in TOLERANCES.items())
        missed += not met
        name = ("RNN-" if case.R else "") + ("RNADE" if case.K else "NADE")
        size = f"{name} D{case.D} H{case.H}" + f" K{case.K}" * bool(case.K) + f" R{case.R}" * bool(case.R)
        choices = f"{case.activation}, {case.cell}, {'+'.join(case.context)}" if case.R else case.activation
        numbers = [f"{error:.1e}" for dtype in TOLERANCES for error in worst[dtype]]
        lines.append([size, choices, f"{case.min_scale:g}", *numbers, "yes" if met else "NO"])
        results.append(case._asdict() | {dtype: [float(error) for error in worst[dtype]] for dtype in TOLERANCES})
    columns = ["model", "options", "min_scale"]
    columns += [f"{what} {dtype}" for dtype in TOLERANCES for what in ("log p", "gradient")]
    print(report.table([*columns, "met"], lines))
    print("tolerances: " + "; ".join(f"{dtype} {d:g} / {g:g}" for dtype, (d, g) in TOLERANCES.items()))
    path = report.write(options.name, {"machine": described, "tolerances": TOLERANCES, "cases": results})
    print(f"{len(CASES) - missed} of {len(CASES)} met; written: benchmarks/results/{path.name}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
