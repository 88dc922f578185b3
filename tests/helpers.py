"""What test modules share: cases, small estimators, comparisons, derivatives, guarded arrays, forged files."""

import hashlib
import itertools
import json
import os
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
import reference
from scipy.special import ndtri
from scipy.stats import kstest

FLOAT32, FLOAT64 = "float32", "float64"
DTYPES = (FLOAT64, FLOAT32)

# Error allowed against the reference, relative to max(1, |value|); for a gradient see assert_near_gradient.
TOLERANCE = {
    "score": {FLOAT64: 1e-12, FLOAT32: 1e-5},
    "gradient": {FLOAT64: 1e-12, FLOAT32: 3e-5},
    "sample": {FLOAT64: 1e-12, FLOAT32: 1e-5},
    "derivative": 1e-8,
}

CONTEXTS = {name: (*head.context, "hidden") for name, head in reference.HEADS.items()}
DEFAULT_CONTEXT = {name: CONTEXTS[name][:3] for name in CONTEXTS}  # of mixtures all but "hidden"
MIXTURES = tuple(name for name, head in reference.HEADS.items() if head.mixture)

# ---- cases -------------------------------------------------------------------------------------------------


CHOICES = ("head", "activation", "cell", "min_scale", "conditioner")  # of a case, for the functions of the reference


@dataclass(frozen=True)
class Case:
    """One model and its data. R = 0: a static model (rows of one array). Only mixtures have K.
    H: a tuple of the sizes of its layers where the conditioner is "made"."""

    D: int
    H: int | tuple
    K: int
    R: int
    lengths: tuple
    head: str = "gaussian"
    activation: str = "sigmoid"
    cell: str = "sigmoid"
    context: tuple = field(default=None)
    min_scale: float = 0.0
    L: int = 1  # recurrent layers
    conditioner: str = "nade"
    direct: bool = False
    given: int = 0  # numbers known with each frame: its first columns

    def __post_init__(self):
        if self.context is None:
            context = DEFAULT_CONTEXT[self.head] if self.R else ()
            if self.given and not self.R:  # all that it may drive
                context = [name for name in CONTEXTS[self.head] if self.conditioner != "shared" or name != "hidden"]
                context = tuple(name for name in context if self.H or name != "hidden")
            object.__setattr__(self, "context", context)

    @property
    def mixture(self):
        return self.head in MIXTURES

    def __str__(self):
        layers = "_".join(map(str, self.H)) if isinstance(self.H, tuple) else self.H
        parts = [self.head, f"D{self.D}", f"H{layers}"]
        parts += [f"K{self.K}"] if self.mixture else []
        parts += [f"R{self.R}", self.cell, "+".join(self.context)] if self.R else ["static"]
        parts += [f"{self.L}layers"] if self.L > 1 else []
        parts += ["T" + "_".join(map(str, self.lengths)), self.activation]
        parts += [f"min{self.min_scale:g}"] if self.min_scale else []
        parts += [self.conditioner] if self.conditioner != "nade" else []
        parts += ["direct"] if self.direct else []
        parts += [f"given{self.given}"] if self.given else []
        return "-".join(parts)

    @property
    def seed(self):
        return zlib.crc32(str(self).encode())

    @property
    def choices(self):
        """The keyword arguments of the reference's functions."""
        return {name: getattr(self, name) for name in CHOICES} | ({"given": self.given} if self.given else {})

    @property
    def options(self):
        """The keyword arguments of `from_parameters`."""
        options = {"activation": self.activation} if self.conditioner != "shared" else {}
        if self.R:
            options["cell"] = self.cell
        if self.mixture:
            options |= {"conditional": self.head, "min_scale": self.min_scale}
        if self.given:
            options["columns"] = dict.fromkeys(range(self.given), "given")
        return options

    @property
    def estimator_name(self):
        if self.R and self.conditioner == "shared":
            return "RNNGMM"
        frame = "MADE" if self.conditioner == "made" else "RNADE" if self.mixture else "NADE"
        return ("RNN" if self.R else "") + frame

    def make(self, dtype=FLOAT64):
        """(parameters, list of sequences), both of the type `dtype`."""
        generator = np.random.default_rng(self.seed)
        parameters = random_parameters(
            generator,
            self.D,
            self.H,
            self.K,
            self.R,
            head=self.head,
            cell=self.cell,
            context=self.context,
            n_layers=self.L,
            dtype=dtype,
            conditioner=self.conditioner,
            direct=self.direct,
            n_given=self.given,
        )
        sequences = random_sequences(generator, self.lengths, self.D, head=self.head, dtype=dtype)
        if self.given:
            given = random_sequences(generator, self.lengths, self.given, dtype=dtype)
            sequences = [np.concatenate(pair, axis=1) for pair in zip(given, sequences, strict=True)]
        return parameters, sequences

    def model(self, dtype=FLOAT64, **options):
        """The package's estimator of this case, and its X."""
        import rnnrnade

        parameters, sequences = self.make(dtype)
        estimator = getattr(rnnrnade, self.estimator_name)
        return estimator.from_parameters(parameters, dtype=dtype, **self.options, **options), self.X(sequences)

    def core(self, dtype=FLOAT64):
        """The package's model of this case as the estimators hold it, and packed frames and offsets."""
        from rnnrnade.layout import Layout
        from rnnrnade.model import Model

        parameters, sequences = self.make(dtype)
        K = self.K if self.mixture else 1
        sizes = self.D, self.H, K, self.R
        choices = self.activation, self.cell, self.context, self.min_scale, self.L, self.conditioner, self.direct
        layout = Layout(self.head, *sizes, *choices, given=self.given)
        model = Model(layout, layout.flat(parameters, np.dtype(dtype)))
        return model, np.concatenate(sequences), np.cumsum([0, *self.lengths])

    def X(self, sequences):
        """The sequences as the estimator takes them: a list, or the rows of one array."""
        return list(sequences) if self.R else np.concatenate(sequences)


def random_parameters(
    generator,
    n_features,
    n_hidden,
    n_components=1,
    n_recurrent=0,
    *,
    head="gaussian",
    cell="sigmoid",
    context=(),
    n_layers=1,
    dtype=FLOAT64,
    conditioner="nade",
    direct=False,
    n_given=0,
):
    """Parameters whose raw outputs are of order one: nothing saturates, nothing is negligible.  A MADE has numbers
    where its masks read none, too."""
    D, K, R = n_features, n_components, n_recurrent
    C = R + n_given
    layers = n_hidden if conditioner == "made" else (n_hidden,)
    H = layers[-1]

    def normal(*shape, scale=1.0, shift=0.0):
        return shift + scale * generator.standard_normal(shape)

    p = {"W": normal(layers[0], D, scale=D**-0.5), "c": normal(layers[0]), "rho": normal(D, scale=0.3, shift=1.0)}
    if conditioner == "made":
        del p["rho"]
        for i, (below, n) in enumerate(itertools.pairwise(layers), 2):
            p |= {f"W_{i}": normal(n, below, scale=below**-0.5), f"c_{i}": normal(n)}
        if direct:
            for V, b, _ in reference.HEADS[head].outputs:
                if V is not None:
                    p["V_x" + V[1:]] = normal(D, D, *((K,) if b != "b" else ()), scale=0.3 * D**-0.5)
    if reference.HEADS[head].mixture:
        for q, scale in (("alpha", 1.0), ("mu", 1.0), ("sigma", 0.4)):
            p[f"V_{q}"] = normal(D, H, K, scale=scale * max(H, 1) ** -0.5)
            p[f"b_{q}"] = normal(D, K, scale=scale)
            if q in context:
                p[f"W_{q}"] = normal(D, K, C, scale=scale * max(C, 1) ** -0.5)
        if head == "student":
            p["b_nu"] = normal(D, K, scale=1.5, shift=1.0)  # nu from near 1 to a hundred
    else:
        p["V"] = normal(D, H, scale=max(H, 1) ** -0.5)
        p["b"] = normal(D)
        if "bias" in context:
            p["W_b"] = normal(D, C, scale=max(C, 1) ** -0.5)
    if conditioner == "shared":  # a component is of the whole frame
        p = {name: value for name, value in p.items() if name[:2] not in ("W", "c", "rh", "V_")}
        p |= {name: p[name][0] for name in ("b_alpha", "W_alpha") if name in p}
        if n_given and "W_alpha" not in p:
            p["W_alpha"] = normal(K, n_given, scale=n_given**-0.5)
    elif "hidden" in context:
        p["W_c"] = normal(layers[0], C, scale=max(C, 1) ** -0.5)
    elif n_given and layers[0]:
        p["W_c"] = normal(layers[0], n_given, scale=n_given**-0.5)
    if R:
        p |= random_recurrence(generator, n_given + D, R, cell, n_layers)
    return {name: np.ascontiguousarray(value, dtype) for name, value in p.items()}


def random_recurrence(generator, n_inputs, n_recurrent, cell, n_layers=1):
    """The parameters of the recurrent layers, the first of which reads n_inputs numbers."""
    R, GR, p = n_recurrent, reference.CELLS[cell].gates * n_recurrent, {}

    def normal(*shape, scale):
        return scale * generator.standard_normal(shape)

    for end in ("", *(f"_{k}" for k in range(2, n_layers + 1))):
        n = R if end else n_inputs
        p[f"W_in{end}"] = normal(GR, n, scale=n**-0.5)
        W_rec = normal(GR, R, scale=R**-0.5)
        p[f"W_rec{end}"] = W_rec / max(1.0, np.linalg.norm(W_rec, 2))  # no chaos: rounding does not grow with time
        p[f"b_r{end}"] = normal(GR, scale=0.3)
        p |= {name + end: normal(R, scale=0.5) for name in reference.CELLS[cell].first}
    return p


def random_latent_parameters(
    generator,
    kind,
    n_features,
    n_latent,
    n_units,
    n_recurrent=0,
    *,
    n_dense=1,
    n_layers=1,
    head="gaussian",
    n_components=1,
    n_hidden=0,
    conditioner="nade",
    direct=False,
    context=None,
    cell="tanh",
    prior="recurrent",
    encoder="smooth",
    dtype=FLOAT64,
):
    """Parameters of a VAE, VRNN or SRNN (`latent_reference`) whose raw outputs are of order one: latents matter, and
    about half of the units of a dense layer are at work."""
    D, J, E, R = n_features, n_latent, n_units, n_recurrent
    context = DEFAULT_CONTEXT[head] if context is None else context
    frame = random_parameters(
        generator, D, n_hidden, n_components, E, head=head, context=context, conditioner=conditioner, direct=direct
    )
    p = {name: value for name, value in frame.items() if name not in reference.RECURRENT}

    def normal(*shape, scale=1.0, shift=0.0):
        return shift + scale * generator.standard_normal(shape)

    def net(first, bias, later):
        """`first`: the matrices of the first layer and how many numbers each reads"""
        p.update({name: normal(E, n, scale=max(n * len(first), 1) ** -0.5) for name, n in first.items()})
        p[bias] = normal(E, scale=0.3)
        for k in range(2, n_dense + 1):
            p[f"{later}_{k}"], p[f"{bias}_{k}"] = normal(E, E, scale=(E / 2) ** -0.5), normal(E, scale=0.3)

    def heads(which):
        for W, b in (("M", "m"), ("S", "s")):
            p[f"{W}_{which}"] = normal(J, E, scale=0.7 * E**-0.5)
            p[f"{b}_{which}"] = normal(J, scale=0.3, shift=0.5 * (W == "S"))

    net({"F_x": D}, "f_x", "F_x")
    if kind != "srnn":
        net({"F_y": J}, "f_y", "F_y")
    if kind != "vae" and prior == "recurrent":
        net({"P_r": R} | ({"P_y": J} if kind == "srnn" else {}), "p_h", "P_h")
        heads("p")
    net({"vae": {"Q_x": E}, "vrnn": {"Q_x": E, "Q_r": R}, "srnn": {"Q_a": R, "Q_y": J}}[kind], "q_h", "Q_h")
    heads("q")
    net({"C_y": J if kind == "srnn" else E} | ({"C_r": R} if kind != "vae" else {}), "c_k", "C_k")
    if kind != "vae":
        p |= random_recurrence(generator, 2 * E if kind == "vrnn" else E, R, cell, n_layers)
    if kind == "srnn":
        p["y0"] = normal(J, scale=0.5)
    if kind == "srnn" and encoder == "filter":
        p |= {"A_r": normal(R, R, scale=R**-0.5), "A_x": normal(R, E, scale=E**-0.5), "b_a": normal(R, scale=0.3)}
    elif kind == "srnn":
        backwards = random_recurrence(generator, R + E, R, cell)
        names = {"W_in": "A_in", "W_rec": "A_rec", "b_r": "b_a", "r0": "a_end", "c0": "a_end_c"}
        p |= {names[name]: value for name, value in backwards.items()}
    return {name: np.ascontiguousarray(value, dtype) for name, value in p.items()}


def random_sequences(generator, lengths, n_features, *, head="gaussian", dtype=FLOAT64):
    if head == "bernoulli":
        return [generator.integers(0, 2, (T, n_features)).astype(dtype) for T in lengths]
    return [1.5 * generator.standard_normal((T, n_features)).astype(dtype) for T in lengths]


# Each size that a tile, a vector or an edge could get wrong, each choice, at least once; `cases` mixes them.
SIZES = {
    "D": (1, 2, 3, 5, 9, 17),
    "H": (0, 1, 3, 7, 16, 33, 50),
    "K": (1, 2, 3, 5, 11),
    "R": (0, 1, 4, 17, 33),
    "lengths": ((1,), (5,), (3, 1, 7, 2), (40, 33, 1)),
    "head": tuple(reference.HEADS),
    "activation": tuple(reference.ACTIVATIONS),
    "cell": tuple(reference.CELLS),
    "min_scale": (0.0, 1e-3, 0.1),
    "L": (1, 2, 1, 3),
}


def valid(case):
    """The same model once: choices that say nothing for a case take their default."""
    case = replace(case, context=None)
    if case.R == 0:
        case = replace(case, cell="sigmoid", L=1)
    if not case.mixture:
        case = replace(case, K=1, min_scale=0.0)
    if not case.mixture and case.R and case.H == 0:
        case = replace(case, context=("bias",))
    return case


def cases(rounds, seed=0):
    """`rounds` times a few cases in which every value of every choice occurs, mixed at random."""
    generator = np.random.default_rng(seed)
    longest = max(map(len, SIZES.values()))
    found = {}
    for _ in range(rounds):
        columns = {}
        for name, values in SIZES.items():
            order = [values[i % len(values)] for i in range(longest)]
            columns[name] = [order[i] for i in generator.permutation(longest)]
        for i in range(longest):
            case = valid(Case(**{name: column[i] for name, column in columns.items()}))
            found[str(case)] = case
    return list(found.values())


def all_contexts(head):
    names = CONTEXTS[head]
    return [c for n in range(1, len(names) + 1) for c in itertools.combinations(names, n)]


# The edges together, then every set of contexts, at sizes that are no multiple of anything.
EDGES = [
    valid(Case(D=1, H=1, K=1, R=R, lengths=lengths, head=head))
    for R in (0, 1)
    for lengths in ((1,), (2, 1))
    for head in reference.HEADS
] + [valid(Case(D=2, H=0, K=2, R=R, lengths=(3, 1), head=head)) for R in (0, 3) for head in reference.HEADS]
EVERY_CONTEXT = [
    Case(D=D, H=H, K=2, R=R, lengths=(4, 1, 6), head=head, cell="tanh", context=context)
    for D, H, R in ((3, 5, 6), (10, 19, 18))
    for head in reference.HEADS
    for context in all_contexts(head)
]
SHARED = [
    Case(D=D, H=0, K=K, R=R, lengths=lengths, head=head, cell=cell, context=context, min_scale=m, conditioner="shared")
    for head in MIXTURES
    for D, K, R, lengths, cell, context, m in (
        (1, 1, 0, (1,), "sigmoid", None, 0.0),
        (1, 3, 1, (2, 1), "sigmoid", None, 0.0),
        (3, 1, 2, (4, 1, 6), "tanh", ("mu", "sigma"), 0.1),
        (2, 2, 3, (5,), "lstm", ("alpha",), 1e-3),
        (5, 11, 0, (40,), "sigmoid", None, 1e-3),
        (9, 5, 17, (40, 33, 1), "gru", ("alpha", "sigma"), 0.0),
        (17, 16, 4, (3, 1, 7, 2), "sigmoid", ("alpha", "mu", "sigma"), 0.1),
        (17, 7, 33, (40, 33, 1), "tanh", ("mu",), 0.0),
    )
] + [
    Case(D=5, H=0, K=4, R=9, lengths=(7, 1, 4), cell="lstm", L=2, conditioner="shared"),
]
# Units around the lanes of a vector: gates lie one behind the other without padding.
GATED = [
    Case(D=3, H=2, K=2, R=R, lengths=(5, 1, 3), cell=cell, context=context)
    for cell in ("gru", "lstm")
    for R, context in (
        (1, ("hidden",)),
        (15, ("mu",)),
        (16, ("alpha", "sigma")),
        (18, ("alpha", "mu", "sigma", "hidden")),
    )
]
LAYERED = [
    Case(D=3, H=2, K=2, R=R, lengths=(5, 1, 3), cell=cell, context=context, L=L)
    for cell in reference.CELLS
    for R, context, L in ((1, ("hidden",), 3), (18, ("alpha", "sigma"), 2), (16, ("mu", "hidden"), 2))
]
# MADE: fewer units than dimensions, as many, and more; one layer and several; masks of any shape.
MASKED = [
    Case(D=D, H=H, K=2, R=R, lengths=(4, 1, 6), head=head, cell="tanh", context=context, activation=activation,
         conditioner="made", direct=direct)
    for D, H, R, activation, direct in (
        (1, (1,), 0, "sigmoid", False),
        (1, (3, 2), 2, "relu", True),
        (2, (1, 4), 0, "relu", False),
        (3, (5,), 6, "sigmoid", True),
        (7, (4, 19, 9), 0, "sigmoid", True),
        (10, (19, 33), 18, "relu", False),
        (17, (16, 50), 0, "sigmoid", False),
    )
    for head in reference.HEADS
    for context in ((all_contexts(head)[0], CONTEXTS[head]) if R else (None,))
]  # fmt: skip
# Numbers that are given with each frame: fewer and more than the lanes of a vector, with every way in.
GIVEN = [
    valid(Case(D=D, H=H, K=2, R=R, lengths=(4, 1, 6), head=head, cell=cell, given=given, L=L))
    for head in reference.HEADS
    for D, H, R, cell, given, L in (
        (3, 5, 0, "sigmoid", 1, 1),
        (2, 0, 0, "sigmoid", 3, 1),
        (10, 19, 18, "tanh", 17, 1),
        (3, 2, 6, "lstm", 2, 2),
    )
] + [
    Case(D=3, H=5, K=2, R=6, lengths=(4, 1, 6), cell="gru", context=("mu", "hidden"), given=3),
    Case(D=3, H=5, K=2, R=6, lengths=(40, 33, 1), head="bernoulli", context=("hidden",), given=3),
    Case(D=5, H=0, K=11, R=0, lengths=(40,), conditioner="shared", given=2),
    Case(D=5, H=0, K=4, R=9, lengths=(7, 1, 4), cell="gru", context=("mu",), conditioner="shared", given=17),
    Case(D=2, H=0, K=3, R=2, lengths=(7, 1, 4), head="laplace", conditioner="shared", given=1),
    Case(D=7, H=(4, 19, 9), K=2, R=0, lengths=(4, 1, 6), conditioner="made", direct=True, given=3),
    Case(D=7, H=(9,), K=2, R=18, lengths=(40, 33, 1), head="bernoulli", conditioner="made", cell="gru", given=2),
    Case(D=3, H=(5,), K=2, R=4, lengths=(4, 1), context=CONTEXTS["gaussian"], conditioner="made", given=17),
]
# More than one block of frames, units, dimensions and contraction indices in any layout.
LARGE = [
    Case(D=37, H=70, K=7, R=130, lengths=(33, 70, 1, 130), min_scale=1e-3, cell="tanh"),
    Case(D=37, H=30, K=2, R=101, lengths=(33, 70, 1, 130), cell="gru"),
    Case(D=37, H=30, K=2, R=67, lengths=(33, 70, 1, 130), cell="lstm"),
    Case(D=70, H=131, K=3, R=0, lengths=(300,), activation="relu"),
    Case(D=67, H=40, K=1, R=67, lengths=(129, 2, 64), head="bernoulli"),
    Case(D=37, H=30, K=2, R=101, lengths=(33, 70, 1, 130), cell="gru", L=2),
    Case(D=37, H=0, K=21, R=130, lengths=(33, 70, 1, 130), cell="gru", conditioner="shared"),
    Case(D=37, H=0, K=9, R=0, lengths=(300,), min_scale=1e-3, conditioner="shared"),
    Case(D=67, H=(130, 90), K=1, R=0, lengths=(300,), head="bernoulli", conditioner="made", direct=True),
    Case(D=37, H=70, K=7, R=130, lengths=(33, 70, 1, 130), min_scale=1e-3, cell="tanh", given=45),
    Case(D=37, H=(30, 70), K=7, R=67, lengths=(33, 70, 1, 130), min_scale=1e-3, conditioner="made", cell="gru"),
]


LATENT_CHOICES = ("kind", "head", "cell", "activation", "conditioner", "min_scale", "encoder", "residual")


@dataclass(frozen=True)
class LatentCase:
    """A VAE (rows: one entry of `lengths`), VRNN or SRNN and its data. R = 0: a VAE."""

    kind: str
    D: int
    J: int
    E: int
    R: int
    lengths: tuple
    head: str = "gaussian"
    K: int = 1
    H: int | tuple = 0
    conditioner: str = "nade"
    direct: bool = False
    context: tuple = field(default=None)
    activation: str = "sigmoid"
    min_scale: float = 0.0
    cell: str = "tanh"
    L: int = 1  # recurrent layers
    n_dense: int = 1
    prior: str = "recurrent"
    encoder: str = "smooth"
    residual: bool = False

    def __post_init__(self):
        if self.context is None:
            object.__setattr__(self, "context", CONTEXTS[self.head] if self.H else DEFAULT_CONTEXT[self.head])

    def __str__(self):
        layers = "_".join(map(str, self.H)) if isinstance(self.H, tuple) else self.H
        parts = [self.kind]
        parts += {"vae": [], "vrnn": [self.prior], "srnn": [self.encoder]}[self.kind]
        parts += ["residual"] if self.residual else []
        parts += [f"J{self.J}", f"E{self.E}"] + ([f"{self.n_dense}dense"] if self.n_dense > 1 else [])
        parts += [f"R{self.R}", self.cell] + ([f"{self.L}layers"] if self.L > 1 else []) if self.R else []
        parts += [self.head, f"D{self.D}", f"K{self.K}", f"H{layers}"]
        parts += [self.conditioner] if self.conditioner != "nade" else []
        parts += ["direct"] if self.direct else []
        parts += [f"min{self.min_scale:g}"] if self.min_scale else []
        return "-".join([*parts, self.activation, "T" + "_".join(map(str, self.lengths))])

    @property
    def seed(self):
        return zlib.crc32(str(self).encode())

    @property
    def choices(self):
        """The keyword arguments of the functions of `latent_reference`."""
        return {name: getattr(self, name) for name in LATENT_CHOICES}

    def make(self, dtype=FLOAT64):
        """(parameters, list of sequences, list of noise (T, J)), all of the type `dtype`."""
        generator = np.random.default_rng(self.seed)
        parameters = random_latent_parameters(
            generator,
            self.kind,
            self.D,
            self.J,
            self.E,
            self.R,
            n_dense=self.n_dense,
            n_layers=self.L,
            head=self.head,
            n_components=self.K,
            n_hidden=self.H,
            conditioner=self.conditioner,
            direct=self.direct,
            context=self.context,
            cell=self.cell,
            prior=self.prior,
            encoder=self.encoder,
            dtype=dtype,
        )
        sequences = random_sequences(generator, self.lengths, self.D, head=self.head, dtype=dtype)
        noise = [generator.standard_normal((T, self.J)).astype(dtype) for T in self.lengths]
        return parameters, sequences, noise


# Every kind with its priors, encoders and cells, no latent and several, one dense layer and more, every kind of frame;
# sizes around the lanes of a vector.
LATENT_CASES = [
    LatentCase("vae", D=1, J=1, E=3, R=0, lengths=(1,)),
    LatentCase("vae", D=3, J=3, E=9, R=0, lengths=(5,), n_dense=2, min_scale=0.1),
    LatentCase("vae", D=3, J=0, E=8, R=0, lengths=(4,), K=2, H=3),
    LatentCase("vae", D=5, J=3, E=17, R=0, lengths=(40,), head="bernoulli"),
    LatentCase("vae", D=9, J=17, E=33, R=0, lengths=(7,), K=5, conditioner="shared", min_scale=1e-3),
    LatentCase("vae", D=4, J=2, E=16, R=0, lengths=(6,), head="student", K=2, H=5, activation="relu"),
    LatentCase("vae", D=7, J=3, E=12, R=0, lengths=(5,), K=2, H=(9, 5), conditioner="made"),
    LatentCase("vrnn", D=1, J=1, E=4, R=1, lengths=(1,), cell="sigmoid"),
    LatentCase("vrnn", D=3, J=3, E=9, R=5, lengths=(5, 1, 3), cell="sigmoid"),
    LatentCase("vrnn", D=3, J=2, E=9, R=5, lengths=(4, 2), cell="gru", prior="standard"),
    LatentCase("vrnn", D=2, J=3, E=8, R=6, lengths=(4, 1), cell="lstm", residual=True, min_scale=0.1),
    LatentCase("vrnn", D=3, J=0, E=7, R=4, lengths=(5, 2), cell="gru"),
    LatentCase("vrnn", D=3, J=1, E=8, R=4, lengths=(5, 2), cell="lstm", L=2, n_dense=2, K=2, H=3),
    LatentCase("vrnn", D=6, J=3, E=17, R=16, lengths=(3, 1, 6), cell="gru", head="bernoulli", H=7, activation="relu"),
    LatentCase("vrnn", D=5, J=2, E=10, R=7, lengths=(4, 1), head="bernoulli", H=(6,), conditioner="made", n_dense=2),
    LatentCase("vrnn", D=9, J=16, E=33, R=18, lengths=(9, 4, 1), K=5, conditioner="shared", residual=True, n_dense=2),
    LatentCase("vrnn", D=4, J=3, E=9, R=5, lengths=(5,), head="student", K=2, H=4, cell="gru", L=2, prior="standard"),
    LatentCase("srnn", D=1, J=1, E=5, R=1, lengths=(1,), cell="sigmoid", encoder="filter"),
    LatentCase("srnn", D=3, J=3, E=9, R=5, lengths=(5, 1, 3), residual=True),
    LatentCase("srnn", D=3, J=3, E=9, R=5, lengths=(5, 1, 3), cell="gru"),
    LatentCase("srnn", D=2, J=3, E=8, R=6, lengths=(4, 1), cell="lstm", residual=True, n_dense=2, min_scale=0.1),
    LatentCase("srnn", D=3, J=0, E=8, R=4, lengths=(5, 2), cell="gru", L=2),
    LatentCase("srnn", D=3, J=1, E=8, R=4, lengths=(5, 2), cell="lstm", L=2, encoder="filter", residual=True, K=2, H=3),
    LatentCase("srnn", D=5, J=3, E=17, R=16, lengths=(3, 1, 6), cell="sigmoid", head="bernoulli", H=7),
    LatentCase("srnn", D=5, J=2, E=9, R=7, lengths=(4, 1), encoder="filter", K=3, H=(6, 4), conditioner="made"),
    LatentCase("srnn", D=9, J=16, E=33, R=18, lengths=(9, 4, 1), K=5, conditioner="shared", cell="gru", n_dense=2),
    LatentCase("srnn", D=4, J=3, E=9, R=5, lengths=(5,), head="student", K=2, encoder="filter", n_dense=2, L=2),
    LatentCase("srnn", D=2, J=3, E=8, R=4, lengths=(4, 2), head="laplace", K=2, H=3, residual=True, activation="relu"),
]


def listed(values):
    """What an estimator gave for a list of sequences, or the one array that it gave for rows: a list."""
    return [values] if isinstance(values, np.ndarray) else list(values)


def ids(values):
    return [str(value) for value in values]


LATENT_CLASSES = {"vae": "VAE", "vrnn": "VRNN", "srnn": "SRNN"}
TINY_LATENT = {"n_latent": 2, "n_units": 6, "batch_size": 8, "random_state": 0, "n_jobs": 1}
SEQUENTIAL_LATENT = TINY_LATENT | {"n_recurrent": 5, "transform": "standardize"}


def latent_model_of(case, of=FLOAT64, **options):
    """(estimator, X, noise of all frames (M, J)) of a latent case"""
    import rnnrnade

    parameters, sequences, noise = case.make(of)
    named = {"n_jobs": 1, "conditional": case.head, "activation": case.activation, "min_scale": case.min_scale}
    if case.kind != "vae":
        named |= {"cell": case.cell}
    if case.kind == "srnn" or case.prior == "recurrent":
        named |= {"residual": case.residual} if case.kind != "vae" else {}
    if case.J == 0:  # what reads or makes a latent vector is not there
        kept = ("F_x", "f_x", "F_y", "f_y", "C_", "c_k", "W", "V", "b", "c", "rho", "r0", "c0")
        parameters = {name: p for name, p in parameters.items() if name.startswith(kept) and name != "b_a"}
        if case.kind == "srnn":
            parameters.pop("F_y", None)
    model = getattr(rnnrnade, LATENT_CLASSES[case.kind]).from_parameters(parameters, **(named | options))
    X = sequences[0] if case.kind == "vae" else sequences
    return model, X, np.concatenate(noise)


def latent_data_of(name, X):
    """X as a latent estimator takes it: the rows of one array for a VAE."""
    return np.concatenate(X) if name == "VAE" else X


# ---- small estimators and their data -----------------------------------------------------------------------

ESTIMATORS = ("RNADE", "NADE", "RNNRNADE", "RNNNADE", "RNNGMM", "RNNGauss", "MADE", "RNNMADE")
every_estimator = pytest.mark.parametrize("name", ESTIMATORS)
STILL = {"learning_rate": 1e-30, "weight_decay": 0.0}  # training that leaves the parameters


def walks(n=30, D=3, seed=0, shortest=8, longest=16):
    """n random walks, so that frames depend on their past and dimensions on each other."""
    generator = np.random.default_rng(seed)
    mix = np.tril(generator.standard_normal((D, D)))
    return [np.cumsum(generator.standard_normal((T, D)) @ mix, 0) / 3 for T in generator.integers(shortest, longest, n)]


def packed(X):
    """The frames of a list of sequences in one array, and offsets, as transforms and models take them."""
    return np.concatenate(X), np.cumsum([0, *map(len, X)])


def small_model(name, X=None, **options):
    """An unfitted estimator of the class of that name, and data for it: X, or for binary models its signs.

    Its transform is no choice of `fit`, which has tests of its own (test_auto.py)."""
    import rnnrnade

    X = walks() if X is None else X
    kind = getattr(rnnrnade, name)
    options = {"n_hidden": 4, "max_epochs": 4, "random_state": 0, "n_components": 2, "n_recurrent": 4} | options
    binary = "transform" not in kind._parameter_constraints or (name.endswith("MADE") and "conditional" not in options)
    options = ({} if binary else {"transform": "standardize"}) | {"refit": False} | options
    if binary:
        X = [(x > 0).astype(float) for x in X]
    if not kind._recurrent:
        X = np.concatenate(X)
    not_of_all = {"n_hidden", "activation", "n_components", "n_recurrent", "transform", "refit"}
    return kind(**{n: v for n, v in options.items() if n in kind._parameter_constraints or n not in not_of_all}), X


def small_rnnrnade(**options):
    return small_model("RNNRNADE", **options)[0]


def copied_parameters(model):
    """Those of a fitted estimator by name, which further training leaves as they are."""
    return {name: value.copy() for name, value in model.parameters_.items()}


def without_seconds(model):
    """The history of a fit but for the time it took: equal fits have the same."""
    return {name: column for name, column in model.history_.items() if name != "seconds"}


def gradient_at(call, answer):
    """The core's gradient, but for one call (counted from 1), after which answer(gradient) is asked."""
    from rnnrnade import _core

    true, calls = _core.gradient, []

    def gradient(*arguments):
        true(*arguments)
        calls.append(None)
        if len(calls) == call:
            answer(arguments[1])

    return gradient


def interrupt(gradient):
    """An answer for `gradient_at`: Ctrl-C."""
    raise KeyboardInterrupt


def in_units_of_X(transform):
    """A_q0, A_qi and L_q in the units of the data; a fitted Linear holds those of standardised columns."""
    mean, scale = transform.mean_, transform.scale_
    intercepts, coefficients, factors = [], [], []
    for q in range(transform.lags + 1):
        A = scale[:, None] * transform.coefficients_[q, :q] / scale  # zero for i > q
        coefficients.append(A)
        intercepts.append(mean + scale * transform.intercepts_[q] - A.sum(0) @ mean)
        factors.append(scale[:, None] * transform.factors_[q])
    return intercepts, coefficients, factors


# ---- what the reference says of a case, computed once ------------------------------------------------------


@cache
def expected_dims(case, dtype):
    """List of (T, D): from the parameters and frames as rounded to `dtype`."""
    parameters, sequences = case.make(dtype)
    return [reference.log_density_dims(parameters, x, **case.choices) for x in sequences]


@cache
def expected_gradient(case, dtype):
    parameters, sequences = case.make(dtype)
    return reference.gradient(parameters, sequences, **case.choices)


# ---- comparing ---------------------------------------------------------------------------------------------


def assert_near(actual, desired, tolerance, name="value"):
    """|actual - desired| <= tolerance max(1, |desired|) everywhere; NaN is far from everything."""
    actual, desired = np.asarray(actual, np.float64), np.asarray(desired, np.float64)
    assert actual.shape == desired.shape, f"{name}: shape {actual.shape}, not {desired.shape}"
    error = np.abs(actual - desired) / np.maximum(1.0, np.abs(desired))
    if error.size and not np.max(error) <= tolerance:
        where = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
        raise AssertionError(
            f"{name}{list(map(int, where))}: {actual[where]!r}, not {desired[where]!r}: "
            f"relative error {error[where]:.2e} > {tolerance:g}"
        )


def assert_near_gradient(actual, desired, tolerance):
    """The same names and shapes; errors relative to 1, the largest element of the array, or a tenth of the
    largest of all: an element is a sum of terms of that size, and where they cancel the rounding stays."""
    assert set(actual) == set(desired)
    largest = max(np.max(np.abs(value), initial=0.0) for value in desired.values())
    for name, value in desired.items():
        scale = max(1.0, np.max(np.abs(value), initial=0.0), 0.1 * largest)
        assert_near(np.asarray(actual[name]) / scale, value / scale, tolerance, f"d {name}")


def assert_same_bits(actual, desired, name="value"):
    """Same types, shapes and bits: arrays, numbers, and lists, tuples and mappings of them. No NaN."""
    if isinstance(desired, dict):
        assert set(actual) == set(desired), f"{name}: {sorted(actual)}, not {sorted(desired)}"
        for key in desired:
            assert_same_bits(actual[key], desired[key], f"{name}[{key!r}]")
        return
    if isinstance(desired, (list, tuple)):
        assert len(actual) == len(desired), f"{name}: {len(actual)} items, not {len(desired)}"
        for i, (a, b) in enumerate(zip(actual, desired, strict=True)):
            assert_same_bits(a, b, f"{name}[{i}]")
        return
    actual, desired = np.asarray(actual), np.asarray(desired)
    assert actual.dtype == desired.dtype, f"{name}: {actual.dtype}, not {desired.dtype}"
    assert actual.shape == desired.shape, f"{name}: shape {actual.shape}, not {desired.shape}"
    assert not (desired.dtype.kind == "f" and np.isnan(desired).any()), f"{name} has NaN"
    if actual.tobytes() != desired.tobytes():
        different = np.flatnonzero(actual.ravel() != desired.ravel())  # none: zeros of different sign
        raise AssertionError(f"{name}: {different.size} of {actual.size} numbers differ, the first at {different[:1]}")


# ---- draws ------------------------------------------------------------------------------------------------


def check_uniform(values):
    """Numbers (n, ..., D) should be independent and uniform: Kolmogorov-Smirnov, neighbours' correlation."""
    assert np.all((values >= 0) & (values <= 1))
    D = values.shape[-1]
    assert kstest(values.ravel(), "uniform").pvalue > 0.001
    for d in range(D):
        assert kstest(values[..., d].ravel(), "uniform").pvalue > 0.001 / D
    normal = ndtri(np.clip(values, 1e-9, 1 - 1e-9))
    for axis in range(1, values.ndim):
        n = values.shape[axis]
        if n > 1:
            product = np.take(normal, range(1, n), axis) * np.take(normal, range(n - 1), axis)
            assert abs(product.mean()) < 4 / np.sqrt(product.size)


def integral_transforms(model, X):
    """The conditional distribution functions at X, one array or a list of them: the same form."""
    if isinstance(X, list):
        return [integral_transforms(model, x) for x in X]
    alpha, mu, sigma, *shapes = model.predict_params(X)
    assert_near(alpha.sum(-1), np.ones(X.shape), 1e-6)
    return (alpha * reference.HEADS[model.conditional].cdf((X[..., None] - mu) / sigma, *shapes)).sum(-1)


# ---- derivatives -------------------------------------------------------------------------------------------

STEP = 1e-40  # a complex step has no cancellation, so it can be as small as this


def complex_step(function, parameters, direction):
    """Exact derivative of function(parameters) along `direction`, a mapping like parameters."""
    moved = {name: value + 1j * STEP * direction[name] for name, value in parameters.items()}
    return np.imag(function(moved)) / STEP


def complex_step_gradient(function, parameters):
    """Every coordinate, one evaluation each: a mapping like parameters."""
    zero = {name: np.zeros(value.shape) for name, value in parameters.items()}
    found = {name: np.zeros(value.shape) for name, value in parameters.items()}
    for name, value in parameters.items():
        for index in np.ndindex(value.shape):
            one = np.zeros(value.shape)
            one[index] = 1.0
            found[name][index] = complex_step(function, parameters, {**zero, name: one})
    return found


def central_difference(function, parameters, direction, step=0.2, orders=5):
    """Derivative along `direction` by central differences of halved steps and Richardson's extrapolation."""
    table = []
    for i in range(orders):
        h = step / 2**i
        forward = function({n: v + h * direction[n] for n, v in parameters.items()})
        backward = function({n: v - h * direction[n] for n, v in parameters.items()})
        row = [(forward - backward) / (2 * h)]
        for j in range(i):
            row.append(row[j] + (row[j] - table[-1][j]) / (4 ** (j + 1) - 1))
        table.append(row)
    return table[-1][-1]


def random_direction(generator, parameters):
    return {name: generator.standard_normal(value.shape) for name, value in parameters.items()}


def dot(a, b):
    assert set(a) == set(b)
    return sum(float(np.sum(np.asarray(a[name], np.float64) * b[name])) for name in a)


# ---- arrays in guards, forged files ------------------------------------------------------------------------


class Guarded:
    """Outputs for the compiled core in the middle of larger arrays full of a pattern, and copies of the inputs.

    At the end of a `with` block: the numbers before and behind each output are the pattern still, all its own are
    finite and not the pattern, so each was written, and the inputs are as they were.
    """

    GUARD = 64  # numbers before and behind
    PATTERN = 12345.0

    def __init__(self, *inputs):
        self.inputs = [(array, array.copy()) for array in inputs]
        self.outputs = {}

    def array(self, name, shape, dtype):
        size = int(np.prod(shape))
        self.outputs[name] = whole = np.full(size + 2 * self.GUARD, self.PATTERN, dtype)
        return whole[self.GUARD : -self.GUARD].reshape(shape)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        for name, whole in self.outputs.items():
            before, output, behind = np.split(whole, [self.GUARD, len(whole) - self.GUARD])
            assert np.all(before == self.PATTERN) and np.all(behind == self.PATTERN), f"something beside {name}"
            assert np.all(np.isfinite(output)) and not np.any(output == self.PATTERN), name
        for array, copy in self.inputs:
            assert array.tobytes() == copy.tobytes(), "an input was changed"


def rewritten(path, change):
    """The file with its parsed header changed, and a hash that fits: what a careful forger would write."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    content = json.loads(header["__metadata__"]["rnnrnade"])
    content["sha256"] = "0" * 64
    change(header, content)
    header["__metadata__"]["rnnrnade"] = json.dumps(content, separators=(",", ":"))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    forged = struct.pack("<Q", len(text)) + text + data[8 + length :]
    return forged.replace(b"0" * 64, hashlib.sha256(forged).hexdigest().encode())


def edited(value, rng):
    """A JSON value with one thing in it changed, as a forger would who knows the format."""
    strange = [None, True, -1, 0, 1, 7, 1e308, -1e-300, 2**63, 10**400, "", "x", "float64", [], [[]], {}, {"a": 1}]
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[rng.integers(len(value))]
        what = rng.random()
        if what < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return value | ({str(rng.integers(10)): 1} if what < 0.15 else {key: edited(value[key], rng)})
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.integers(len(value))
        return value[:at] + ([] if rng.random() < 0.2 else [edited(value[at], rng)]) + value[at + 1 :]
    return strange[rng.integers(len(strange))]


# ---- processes ---------------------------------------------------------------------------------------------


def team_of(n):
    """How many threads work together where n are asked for: one in a build without OpenMP."""
    from rnnrnade import _core

    return n if _core.has_openmp() else 1


def run_child(code, *arguments):
    """The finished process, its output as text, of Python code that may import the tests and the installed library."""
    tests = os.path.dirname(os.path.abspath(__file__))
    code = f"import sys\nsys.path.insert(0, {tests!r})\n" + code
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
