"""The nets around a latent vector, and their places in the one flat vector: (V1) to (V6), (S1) to (S4) of NOTATION."""

from dataclasses import asdict, dataclass

import numpy as np

DEEPEST = 8  # dense layers of a net
KINDS = ("vae", "vrnn", "srnn")
PRIORS = ("recurrent", "standard")
ENCODERS = ("filter", "smooth")
SCALE_OF_PRIOR = 1.0  # at the start
SCALE_OF_ENCODER = 0.5


def above(name, layer):
    """The name of a parameter in a layer of a dense net; layers are counted from 1."""
    return name if layer == 1 else f"{name}_{layer}"


def raw(scale):
    """Where softplus is `scale`."""
    return np.log(np.expm1(scale))


@dataclass(frozen=True)
class Latents:
    """Sizes and choices of the nets around a latent vector.

    Attributes
    ----------
    kind : str
        "vae", "vrnn" or "srnn".
    J, E, n_dense : int
        Numbers of the latent vector (0: none), units of a dense layer, layers of a net.
    prior, encoder : str
        Members of PRIORS (VRNN) and ENCODERS (SRNN).
    residual : bool
        Whether the encoder's mean is added to the prior's.
    min_scale : float
        The smallest scale of prior and encoder.
    """

    kind: str
    J: int
    E: int
    n_dense: int = 1
    prior: str = "recurrent"
    encoder: str = "smooth"
    residual: bool = False
    min_scale: float = 1e-3

    def __post_init__(self):
        sizes = all(type(n) is int for n in (self.J, self.E, self.n_dense))
        if (
            self.kind not in KINDS
            or self.prior not in PRIORS
            or self.encoder not in ENCODERS
            or not sizes
            or self.J < 0
            or self.E < 1
            or not 1 <= self.n_dense <= DEEPEST
            or type(self.residual) is not bool
            or not 0 <= self.min_scale < np.inf
        ):
            raise ValueError("its latent nets are none that this version has")

    @property
    def choices(self):
        return asdict(self)

    @property
    def reads(self):
        """Whether the recurrence reads the latent; else prior and encoder read the one before."""
        return self.kind != "srnn"

    @property
    def has_prior(self):
        """Whether the prior is a net, not a standard normal."""
        return self.J > 0 and (self.kind == "srnn" or (self.kind == "vrnn" and self.prior == "recurrent"))

    @property
    def smooths(self):
        """Whether the encoder reads the future."""
        return self.kind == "srnn" and self.encoder == "smooth" and self.J > 0

    def nets(self, layout):
        """The first layers by net: {bias: {weights: number of inputs}}, and after each the name of its next layers."""
        D, J, E, R = layout.D, self.J, self.E, layout.R
        state = {"r": R} if R else {}
        found = {("f_x", "F_x"): {"F_x": D}}
        if self.reads:
            found["f_y", "F_y"] = {"F_y": J}
        if self.has_prior:
            found["p_h", "P_h"] = {"P_r": R} | ({} if self.reads else {"P_y": J})
        if J:
            of_encoder = {"Q_x": E} | {f"Q_{name}": n for name, n in state.items()}
            found["q_h", "Q_h"] = of_encoder if self.reads else {"Q_a": R, "Q_y": J}
        found["c_k", "C_k"] = {"C_y": E if self.reads else J} | {f"C_{name}": n for name, n in state.items()}
        return found

    def heads(self):
        """Names of the means' and the raw scales' weights and biases, by the block that holds both."""
        of_prior = {("N_p", "n_p"): ("M_p", "m_p", "S_p", "s_p")} if self.has_prior else {}
        return of_prior | ({("N_q", "n_q"): ("M_q", "m_q", "S_q", "s_q")} if self.J else {})

    def shapes(self, layout):
        """Blocks of the flat vector as they lie inside, inputs as rows."""
        Ep, Jp, shapes = layout.Cp, layout.Jp, {}
        for (bias, deep), weights in self.nets(layout).items():
            shapes |= {name: (n, Ep) for name, n in weights.items()} | {bias: (Ep,)}
            for layer in range(2, self.n_dense + 1):
                shapes |= {above(deep, layer): (self.E, Ep), above(bias, layer): (Ep,)}
        for W, b in self.heads():
            shapes |= {W: (self.E, 2 * Jp), b: (2 * Jp,)}
        if self.kind == "srnn" and self.J:
            width = layout.Gp if self.smooths else layout.Rp
            shapes |= {"A_in": (layout.R + self.E, width), "b_a": (width,)}
            if self.smooths:
                shapes |= {"A_rec": (layout.R, width), "a_end": (layout.Sl,)}
        return shapes

    def views(self, layout, block):
        """The blocks under the users' names and shapes."""
        J, E, R, Jp, found = self.J, self.E, layout.R, layout.Jp, {}
        for (bias, deep), weights in self.nets(layout).items():
            found |= {name: block(name)[:, :E].T for name in weights} | {bias: block(bias)[:E]}
            for layer in range(2, self.n_dense + 1):
                W, b = above(deep, layer), above(bias, layer)
                found |= {W: block(W)[:, :E].T, b: block(b)[:E]}
        for (W, b), (M, m, S, s) in self.heads().items():
            found |= {M: block(W)[:, :J].T, m: block(b)[:J], S: block(W)[:, Jp : Jp + J].T, s: block(b)[Jp : Jp + J]}
        if self.kind == "srnn" and J:
            found["y0"] = block("y0")[:J]
            if self.smooths:
                GR = layout.G * R
                found |= {"A_in": block("A_in")[:, :GR].T, "A_rec": block("A_rec")[:, :GR].T, "b_a": block("b_a")[:GR]}
                ends = ("a_end", "a_end_c")[: layout.Sl // layout.Rp]
                found |= {name: block("a_end")[i * layout.Rp :][:R] for i, name in enumerate(ends)}
            else:
                found |= {"A_r": block("A_in")[:R, :R].T, "A_x": block("A_in")[R:, :R].T, "b_a": block("b_a")[:R]}
        return found

    def first_values(self, layout, normal):
        """Weights with which training starts: of rectified layers with variance 2 / inputs, of heads small."""
        E, J, R, found = self.E, self.J, layout.R, {}
        for (_, deep), weights in self.nets(layout).items():
            scale = np.sqrt(2 / max(sum(weights.values()), 1))
            found |= {name: normal(E, n, scale=scale) for name, n in weights.items()}
            for layer in range(2, self.n_dense + 1):
                found[above(deep, layer)] = normal(E, E, scale=np.sqrt(2 / E))
        starts = {"M_p": SCALE_OF_PRIOR, "M_q": SCALE_OF_ENCODER}
        for M, _, S, s in self.heads().values():
            found |= {M: normal(J, E, scale=0.1 * E**-0.5), S: normal(J, E, scale=0.1 * E**-0.5)}
            found[s] = np.full(J, raw(max(starts[M] - self.min_scale, 1e-2)))
        if self.kind == "srnn" and J:
            if self.smooths:
                GR = layout.G * R
                found |= {"A_in": normal(GR, R + E, scale=(R + E) ** -0.5), "A_rec": normal(GR, R, scale=R**-0.5)}
                if layout.cell == "lstm":
                    found["b_a"] = np.repeat([0.0, 1.0, 0.0, 0.0], R)
            else:
                found |= {"A_r": normal(R, R, scale=(R + E) ** -0.5), "A_x": normal(R, E, scale=(R + E) ** -0.5)}
        return found


def implied_latents(arrays, kind):
    """Sizes and choices that parameters by name say, but for those that shapes do not tell."""
    E, J = arrays["F_x"].shape[0], arrays["M_q"].shape[0] if "M_q" in arrays else 0
    n_dense = 1
    while above("F_x", n_dense + 1) in arrays:
        n_dense += 1
    found = {"n_latent": J, "n_units": E, "n_dense": n_dense}
    if kind == "vrnn":
        found["prior"] = "recurrent" if "P_r" in arrays or not J else "standard"
    if kind == "srnn":
        found["encoder"] = "filter" if "A_r" in arrays else "smooth"
    return found
