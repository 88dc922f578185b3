"""What is timed: sizes, random parameters and data, useful operations, tolerances.

N sequences, T frames, D dimensions, H hidden units, K components, R recurrent units (0: a static model, whose N rows
are sequences of one frame).  The recurrent state drives all raw outputs and the hidden units; min_scale is 0, so that
sigma = exp(z_sigma) for every opponent.  The conditioner is "nade", "made" (static, `layers` of H units each, with
masks) or "shared" (one mixture over the whole frame, no hidden units); the head is a mixture of Gaussians, or
"bernoulli".
"""

from dataclasses import dataclass

import numpy as np

OPERATIONS = ("forward", "gradient", "sample", "sample-one", "step")  # "step" last: it changes the parameters

# (log-density, gradient): largest relative error against the same model in float64.
TOLERANCES = {"float64": (1e-11, 1e-9), "float32": (2e-4, 2e-3)}


@dataclass(frozen=True)
class Workload:
    """Sizes; `frames` is how many frames one timed call of sampling draws (times are given for one frame)."""

    name: str
    D: int
    H: int
    K: int
    R: int
    T: int
    N: int
    frames: int = 1
    conditioner: str = "nade"
    head: str = "gaussian"
    layers: int = 1

    @property
    def M(self):
        """Frames in all."""
        return self.N * self.T

    @property
    def P(self):
        """Raw outputs a dimension."""
        return 1 if self.head == "bernoulli" else 3 * self.K

    @property
    def multiply_adds(self):
        """Of the products of one frame; of weights behind masks, those that are read."""
        D, H, K, R = self.D, self.H, self.K, self.R
        if self.conditioner == "made":
            return sum(int(mask.sum()) for mask in masks(self).values())
        if self.conditioner == "shared":
            return R * (K + 2 * D * K) + R * (D + R)
        return D * (self.P * (H + R) + H) + R * (D + R + H)

    def rows(self, operation):
        """Frames that one timed unit works on: a call, or one frame of all sampled sequences."""
        return {"sample": self.N, "sample-one": 1}.get(operation, self.M)

    def flops(self, operation):
        """Useful floating-point operations of one timed unit: two for each multiply-add of the products.

        The gradient has three products for each one of the forward pass: recomputing a product, exponentials,
        normalisation and the update of a step are work but not useful, the same for everyone."""
        return 2 * self.multiply_adds * self.rows(operation) * {"gradient": 3, "step": 3}.get(operation, 1)

    def bytes(self, operation, dtype):
        """Bytes that one timed unit has to read and write at the least: the parameters once (and their gradient once;
        in a step the two moments too), and the data."""
        parameters = self.multiply_adds  # every weight is in one of a frame
        passes = {"gradient": 2, "step": 7}.get(operation, 1)
        return (parameters * passes + self.rows(operation) * self.D) * {"float32": 4, "float64": 8}[dtype]


WORKLOADS = {
    w.name: w
    for w in (
        Workload("S", D=2, H=50, K=10, R=50, T=100, N=64, frames=20),
        Workload("M", D=49, H=100, K=10, R=200, T=100, N=32, frames=5),
        Workload("L", D=225, H=200, K=5, R=400, T=50, N=16, frames=2),
        Workload("XL", D=900, H=300, K=3, R=600, T=20, N=16, frames=2),
        Workload("P", D=64, H=512, K=20, R=0, T=1, N=2048),
        *(Workload(f"D{D}", D=D, H=128, K=5, R=0, T=1, N=512) for D in (16, 32, 64, 128, 256, 512, 1024)),
        Workload("MADE", D=784, H=500, K=1, R=0, T=1, N=1000, conditioner="made", head="bernoulli", layers=2),
        Workload("NADE", D=784, H=500, K=1, R=0, T=1, N=1000, head="bernoulli"),
        Workload("RNN-NADE", D=88, H=150, K=1, R=200, T=100, N=32, frames=5, head="bernoulli"),
        Workload("RNN-GMM", D=49, H=0, K=20, R=200, T=100, N=32, frames=5, conditioner="shared"),
    )
}
MAIN = ("S", "M", "L", "XL", "P")
KIN = ("MADE", "NADE", "RNN-NADE", "RNN-GMM")  # the other members of the family
SWEEP = tuple(name for name in WORKLOADS if name.startswith("D"))


def masks(workload):
    """Of a MADE, by the names of the weights, which of them are read.  Unit i of a layer has the degree i D // H."""
    dimension, degree = np.arange(workload.D), np.arange(workload.H) * workload.D // workload.H
    found = {"W": dimension < degree[:, None]}
    for layer in range(2, workload.layers + 1):
        found[f"W_{layer}"] = degree <= degree[:, None]
    return found | {"V": degree <= dimension[:, None]}


def random_parameters(workload, dtype, seed=0):
    """Parameters under the users' names and in the users' shapes."""
    D, H, K, R = workload.D, workload.H, workload.K, workload.R
    generator = np.random.default_rng(seed)

    def normal(*shape, scale):
        return (scale * generator.standard_normal(shape)).astype(dtype)

    p = {}
    if workload.conditioner == "made":
        for name, mask in masks(workload).items():
            p[name] = normal(*mask.shape, scale=mask.shape[1] ** -0.5) * mask
            bias = "b" if name == "V" else "c" + name[1:]
            p[bias] = normal(len(mask), scale=0.3)
        return p
    if workload.conditioner == "nade":
        p |= {"W": normal(H, D, scale=0.5 * D**-0.5), "c": normal(H, scale=0.3)}
        p["rho"] = 1 + normal(D, scale=0.1)
    if workload.head == "bernoulli":
        p |= {"V": normal(D, H, scale=0.5 * H**-0.5), "b": normal(D, scale=0.3)}
        if R:
            p["W_b"] = normal(D, R, scale=0.5 * R**-0.5)
    else:
        for q in ("alpha", "mu", "sigma"):
            if workload.conditioner == "nade":
                p[f"V_{q}"] = normal(D, H, K, scale=0.5 * H**-0.5)
            shape = (K,) if workload.conditioner == "shared" and q == "alpha" else (D, K)
            p[f"b_{q}"] = normal(*shape, scale=0.3)
            if R:
                p[f"W_{q}"] = normal(*shape, R, scale=0.5 * R**-0.5)
    if R:
        if workload.conditioner == "nade":
            p["W_c"] = normal(H, R, scale=0.5 * R**-0.5)
        p["W_in"] = normal(R, D, scale=0.5 * D**-0.5)
        p["W_rec"] = normal(R, R, scale=0.5 * R**-0.5)
        p["b_r"] = normal(R, scale=0.1)
        p["r0"] = 0.5 + normal(R, scale=0.1)
    return p


def random_data(workload, dtype, seed=1):
    """(N, T, D), standard normal, or ones where that is positive and zeros elsewhere."""
    shape = (workload.N, workload.T, workload.D)
    x = np.random.default_rng(seed).standard_normal(shape)
    return (x > 0 if workload.head == "bernoulli" else x).astype(dtype)


def log_density_error(found, expected):
    """Largest error relative to max(1, |expected|)."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.max(np.abs(found - expected) / np.maximum(1.0, np.abs(expected))))


def gradient_error(found, expected):
    """(error, name): the worst block's largest error relative to its largest element."""
    if set(found) != set(expected):
        raise ValueError(f"blocks {sorted(set(found) ^ set(expected))} are in one gradient only")
    errors = {}
    for name, block in expected.items():
        largest = np.max(np.abs(block), initial=np.finfo(np.float32).tiny)
        errors[name] = float(np.max(np.abs(np.asarray(found[name], np.float64) - block), initial=0.0) / largest)
    worst = max(errors, key=lambda name: (np.isnan(errors[name]), errors[name]))
    return errors[worst], worst
