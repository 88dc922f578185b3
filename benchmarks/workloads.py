"""What is timed: sizes, random parameters and data, useful operations, tolerances.

N sequences, T frames, D dimensions, H hidden units, K components, R recurrent units (0: a static model, whose N rows
are sequences of one frame).  The recurrent state drives all raw outputs and the hidden units; min_scale is 0, so that
sigma = exp(z_sigma) for every opponent.  The conditioner is "nade", "made" (static, `layers` of H units each, with
masks) or "shared" (one mixture over the whole frame, no hidden units); the head is a mixture of Gaussians, or
"bernoulli".

"vrnn" and "srnn" are models with a latent vector of J numbers: nets of `layers` layers of E units, a GRU, and frames
whose dimensions are independent given the context.  The SRNN's encoder reads the future, and its mean is added to the
prior's.  Their gradient is that of the bound for noise that all have.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

OPERATIONS = ("forward", "gradient", "sample", "sample-one", "step")  # "step" last: it changes the parameters

# (log-density, gradient): largest relative error against the same model in float64.
TOLERANCES = {"float64": (1e-11, 1e-9), "float32": (2e-4, 2e-3)}

LATENT_FLOOR = 1e-3  # the smallest scale of a latent number


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
    J: int = 0
    E: int = 0

    @property
    def latent(self):
        return self.conditioner in ("vrnn", "srnn")

    def offers(self, operation):
        """Whether it is timed."""
        if self.latent:
            return operation == "gradient"
        return operation != "sample-one" or self.R > 0  # one row of a static model is no use of it

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
        if self.latent:
            shapes = latent_shapes(self).items()  # alpha of one component is one
            return sum(prod(shape) for name, shape in shapes if name[0].isupper() and name != "W_alpha")
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
        *(
            Workload(name.upper() + end, H=0, K=1, N=16, conditioner=name, **sizes)
            for end, sizes in (
                ("", {"D": 88, "R": 150, "J": 32, "E": 100, "T": 60, "head": "bernoulli"}),
                ("-large", {"D": 200, "R": 400, "J": 64, "E": 200, "T": 40, "layers": 2}),
            )
            for name in ("vrnn", "srnn")
        ),
    )
}
MAIN = ("S", "M", "L", "XL", "P")
KIN = ("MADE", "NADE", "RNN-NADE", "RNN-GMM")  # the other members of the family
LATENT = tuple(name for name, w in WORKLOADS.items() if w.latent)
SWEEP = tuple(name for name in WORKLOADS if name.startswith("D"))


def masks(workload):
    """Of a MADE, by the names of the weights, which of them are read.  Unit i of a layer has the degree i D // H."""
    dimension, degree = np.arange(workload.D), np.arange(workload.H) * workload.D // workload.H
    found = {"W": dimension < degree[:, None]}
    for layer in range(2, workload.layers + 1):
        found[f"W_{layer}"] = degree <= degree[:, None]
    return found | {"V": degree <= dimension[:, None]}


def latent_shapes(w):
    """The users' names and shapes of the parameters of a VRNN or SRNN."""
    D, E, J, R = w.D, w.E, w.J, w.R
    reads = {  # net: its first matrices and how many numbers each reads
        "vrnn": {
            "f_x": {"F_x": D},
            "f_y": {"F_y": J},
            "p_h": {"P_r": R},
            "q_h": {"Q_x": E, "Q_r": R},
            "c_k": {"C_y": E, "C_r": R},
        },
        "srnn": {
            "f_x": {"F_x": D},
            "p_h": {"P_r": R, "P_y": J},
            "q_h": {"Q_a": R, "Q_y": J},
            "c_k": {"C_y": J, "C_r": R},
        },
    }[w.conditioner]
    later = {"f_x": "F_x", "f_y": "F_y", "p_h": "P_h", "q_h": "Q_h", "c_k": "C_k"}
    found = {}
    for bias, first in reads.items():
        found |= {name: (E, n) for name, n in first.items()} | {bias: (E,)}
        for k in range(2, w.layers + 1):
            found |= {f"{later[bias]}_{k}": (E, E), f"{bias}_{k}": (E,)}
    for which in "pq":
        found |= {f"M_{which}": (J, E), f"m_{which}": (J,), f"S_{which}": (J, E), f"s_{which}": (J,)}
    inputs = 2 * E if w.conditioner == "vrnn" else E
    found |= {"W_in": (3 * R, inputs), "W_rec": (3 * R, R), "b_r": (3 * R,), "r0": (R,)}
    if w.conditioner == "srnn":
        found |= {"A_in": (3 * R, R + E), "A_rec": (3 * R, R), "b_a": (3 * R,), "a_end": (R,), "y0": (J,)}
    outputs = {"b": "W_b"} if w.head == "bernoulli" else {"b_alpha": "W_alpha", "b_mu": "W_mu", "b_sigma": "W_sigma"}
    for b, W in outputs.items():
        found |= {W: (D, E), b: (D,)} if w.head == "bernoulli" else {W: (D, 1, E), b: (D, 1)}
    return found


def random_noise(w, dtype, seed=2):
    """(N, T, J): the standard normal numbers that the latent vectors are drawn with."""
    return np.random.default_rng(seed).standard_normal((w.N, w.T, w.J)).astype(dtype)


def random_parameters(workload, dtype, seed=0):
    """Parameters under the users' names and in the users' shapes."""
    D, H, K, R = workload.D, workload.H, workload.K, workload.R
    generator = np.random.default_rng(seed)

    def normal(*shape, scale):
        return (scale * generator.standard_normal(shape)).astype(dtype)

    p = {}
    if workload.latent:
        shapes = latent_shapes(workload).items()
        return {name: normal(*s, scale=s[-1] ** -0.5 if len(s) > 1 and s[-1] > 1 else 0.1) for name, s in shapes}
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
