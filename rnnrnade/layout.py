"""Sizes and choices of a network, the named layout of ONE flat parameter vector, and its first values.

Design
------
All parameters are one flat block with named views, so that an optimiser, a checkpoint and a comparison are each one
call.  Inside, axes lie as the kernels like them (the axis that goes into the vector lanes last, padded with zeros to
a multiple of PAD); `Layout.views` shows every block under its user's name and shape, without a copy.  The raw outputs
that the recurrent state drives stand first, and those that no net drives last, so that one product with the state and
one with the hidden units serve all that have them, whatever `context` is.
"""

from dataclasses import dataclass, field, fields, replace
from math import prod

import numpy as np

from . import _core
from .conditioners import CONDITIONERS, direct_name
from .heads import HEADS
from .latents import Latents

PAD = _core.PADDING
ACTIVATIONS = _core.ACTIVATIONS  # name: its place in the kernels' list
MOST_LAYERS = 100  # recurrent ones: each is named
MOST_MASKS = 1000


@dataclass(frozen=True)
class Cell:
    """A recurrence: its gates, the parameters that are its first state, and whether the last gate takes W_rec r^{t-1}
    separately from the rest."""

    gates: int = 1
    first: tuple = ("r0",)
    separate_recurrent: bool = False


CELLS = {
    "sigmoid": Cell(),
    "tanh": Cell(),
    "gru": Cell(gates=3, separate_recurrent=True),
    "lstm": Cell(gates=4, first=("r0", "c0")),
}


def of_layer(name, layer):
    """The name of a parameter in a recurrent layer, counted from 1."""
    return name if layer == 1 else f"{name}_{layer}"


def padded(n):
    """n rounded up to a multiple of PAD."""
    return -(-n // PAD) * PAD


# Choices of a Layout that came after the first files, and what these had in their place.
LATER = {"L": 1, "conditioner": "nade", "direct": False, "masks": (), "latent": None, "given": 0}


@dataclass(frozen=True)
class Layout:
    """Sizes and choices of a network, and where each parameter lies in the flat vector.

    Attributes
    ----------
    head : str
        A name in HEADS.
    D, H, K, R : int
        Dimensions, hidden units (0: independent dimensions), components, recurrent units (0: static).  H is what the
        conditioner takes for `n_hidden`.
    activation, cell : str
    context : tuple of str
        What the recurrent state drives.
    min_scale : float
    L : int
        Recurrent layers.
    conditioner : str
        A name in CONDITIONERS.
    direct : bool
        MADE: whether the raw outputs of a dimension read the dimensions before it past the units, too.
    masks : tuple of int
        MADE: the numbers of the masks whose degrees are drawn; () is the one with degrees spread evenly.  A network has
        one mask: of a layout with more it is made for each of `each_mask`.
    latent : Latents or None
        The nets around a latent vector, which then give a frame its context.
    given : int
        Numbers that are known with each frame and not scored: in a row of frames they stand in front.
    """

    head: str
    D: int
    H: int
    K: int = 1
    R: int = 0
    activation: str = "sigmoid"
    cell: str = "sigmoid"
    context: tuple = ()
    min_scale: float = 0.0
    L: int = 1
    conditioner: str = "nade"
    direct: bool = False
    masks: tuple = ()
    latent: Latents | None = None
    given: int = 0
    offsets: dict = field(init=False, repr=False, compare=False)
    shapes: dict = field(init=False, repr=False, compare=False)
    size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        shapes = self.frame.shapes(self) | {"V": (self.D, self.J, self.Hp), "b": (self.D, self.F)}
        if self.C:
            shapes |= {
                "U": (self.D, self.Q, self.Cp),
                "W_c": (self.units[0] if self.Cc else 0, self.Ccp),
            }
        if self.latent:
            shapes |= self.latent.shapes(self)
        if self.R:
            for layer in range(1, self.L + 1):
                inputs = self.inputs if layer == 1 else self.R
                of_this = {"W_in": (inputs, self.Gp), "W_rec": (self.R, self.Gp), "b_r": (self.Gp,)}
                shapes |= {of_layer(name, layer): shape for name, shape in of_this.items()}
            for layer in range(self.L, 0, -1):  # a row of states
                shapes |= {of_layer(name, layer): (self.Rp,) for name in CELLS[self.cell].first}
        if self.Zp > self.Sp:  # behind the states: one row of what goes on
            shapes["y0"] = (self.Jp,)
        offsets, size = {}, 0
        for name, shape in shapes.items():
            offsets[name] = size
            size += padded(prod(shape))
        for name, value in (("shapes", shapes), ("offsets", offsets), ("size", size)):
            object.__setattr__(self, name, value)

    @property
    def choices(self):
        """What decides all else, by name.  Files have these; what came after the first of them stands there only where
        it is not what all had before."""
        found = {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        if self.latent:
            found["latent"] = self.latent.choices
        return {name: value for name, value in found.items() if name not in LATER or value != LATER[name]}

    @classmethod
    def from_file(cls, choices):
        """The layout of `choices` as a file has them; ValueError, TypeError or KeyError where they are none."""
        choices = LATER | choices | {"context": tuple(choices["context"])}
        choices["masks"] = tuple(choices["masks"])
        if isinstance(choices["H"], list):
            choices["H"] = tuple(choices["H"])
        if choices["latent"] is not None:
            choices["latent"] = Latents(**choices["latent"])
        conditioner = CONDITIONERS[choices["conditioner"]]
        if not conditioner.is_size(choices["H"]):
            raise ValueError("its hidden units are none that this version has")
        known = choices["head"] in HEADS and choices["activation"] in ACTIVATIONS and choices["cell"] in CELLS
        least = {"D": 1, "K": 1, "R": 0, "L": 1}
        if (
            not known
            or not all(type(choices[name]) is int and choices[name] >= size for name, size in least.items())
            or choices["L"] > MOST_LAYERS
            or not set(choices["context"]) <= {*conditioner.contexts(HEADS[choices["head"]])}
            or not (HEADS[choices["head"]].mixture or conditioner.drives)
            or not 0 <= choices["min_scale"] < np.inf
            or type(choices["direct"]) is not bool
            or not all(type(mask) is int and 0 <= mask < MOST_MASKS for mask in choices["masks"])
            or (choices["masks"] and choices["conditioner"] != "made")
            or not (type(choices["given"]) is int and choices["given"] >= 0)
            or (choices["given"] and choices["latent"] is not None)
        ):
            raise ValueError("its network is none that this version has")
        return cls(**choices)

    @property
    def quantities(self):
        """Names of the raw outputs in their order inside: driven by the recurrent state, by the hidden units only, and
        by no net; last those that a frame has once."""
        head, once = HEADS[self.head], self.frame.once
        by_state = [name for name in head.context if self.C and name in self.context and name not in once]
        by_units = [name for name in head.context if name not in by_state and name not in once]
        return by_state + by_units + [name for name in head.outputs if name not in head.context] + [*once]

    @property
    def contexts(self):
        """What the recurrent state may drive."""
        return self.frame.contexts(HEADS[self.head])

    @property
    def P(self):
        """Raw outputs a dimension."""
        return self.K * len(HEADS[self.head].outputs)

    @property
    def F(self):
        """Raw outputs that a dimension has for itself."""
        return self.P - self.K * len(self.frame.once)

    @property
    def J(self):
        """Raw outputs a dimension that the hidden units drive."""
        return self.K * len(HEADS[self.head].context) if self.frame.drives else 0

    @property
    def Q(self):
        """Raw outputs that a dimension has for itself and the recurrent state drives."""
        own = [name for name in HEADS[self.head].context if name not in self.frame.once]
        return self.K * sum(name in self.context for name in own) if self.C else 0

    @property
    def frame(self):
        """The row of the conditioner."""
        return CONDITIONERS[self.conditioner]

    @property
    def units(self):
        """The sizes of the layers of hidden units; the context adds to the first, the last drives the raw outputs."""
        return self.frame.units(self)

    @property
    def padded_units(self):
        return tuple(map(padded, self.units))

    @property
    def degrees(self):
        """MADE: of the units of each layer."""
        return self.frame.degrees(self)

    @property
    def each_mask(self):
        """MADE: the layouts of its networks."""
        return [replace(self, masks=(mask,)) for mask in self.masks]

    @property
    def Hp(self):
        return self.padded_units[-1]

    @property
    def Dp(self):
        return padded(self.D)

    @property
    def Rp(self):
        return padded(self.R)

    @property
    def C(self):
        """Numbers of a row of context that a frame reads: of the recurrent state, all of the top layer's r, and what is
        given; with a latent vector, the last layer of a net."""
        return self.latent.E if self.latent else self.R + self.given

    @property
    def Cs(self):
        """From one row of context to the next inside the core."""
        if self.latent:
            return self.latent.n_dense * self.Cp
        return padded(max(self.Cp, self.c0 + self.Ccp)) if self.given else self.Sp

    @property
    def Cp(self):
        return padded(self.C)

    @property
    def c0(self):
        """Where in a row of context begins what a frame starts with: all of it where `context` says so, and what is
        given always."""
        return 0 if self.hidden_context else self.C - (self.given if self.units[0] else 0)

    @property
    def Cc(self):
        """Numbers from there to its end."""
        return self.C - self.c0

    @property
    def Ccp(self):
        return padded(self.Cc)

    @property
    def X(self):
        """Numbers of a row of frames."""
        return self.given + self.D

    @property
    def inputs(self):
        """Numbers that the first recurrent layer reads."""
        if not self.latent:
            return self.X
        return 2 * self.latent.E if self.latent.reads else self.latent.E

    @property
    def Jp(self):
        """Of a latent vector, padded."""
        return padded(self.latent.J)

    @property
    def Zp(self):
        """Numbers of a row of what goes on in time: the states and, where it is read again, the latent."""
        return self.Sp + (self.Jp if self.latent and not self.latent.reads else 0)

    @property
    def G(self):
        """Gates of the cell."""
        return CELLS[self.cell].gates

    @property
    def Gp(self):
        return padded(self.G * self.R)

    @property
    def layers(self):
        """Of each recurrent layer, from the first: the numbers that it reads, and where W_in, W_rec and b_r begin."""
        inputs, names = (self.inputs, *[self.R] * (self.L - 1)) if self.R else (), ("W_in", "W_rec", "b_r")
        return [(n, *(self.offsets[of_layer(name, k)] for name in names)) for k, n in enumerate(inputs, 1)]

    @property
    def first_state(self):
        """Where the first row of states begins, in which the top layer stands in front: the frames read it."""
        return self.offsets[of_layer("r0", self.L)] if self.R else 0

    @property
    def Sl(self):
        """Numbers of a layer in a row of recurrent states: r and, for an LSTM, c behind it."""
        return len(CELLS[self.cell].first) * self.Rp

    @property
    def Al(self):
        """Numbers of a layer in a row of gates inside the core."""
        return self.Gp + (self.Rp if self.separate_recurrent else 0)

    @property
    def Sp(self):
        """Numbers of a row of recurrent states, of all layers."""
        return self.L * self.Sl

    @property
    def Ap(self):
        """Numbers of a row of gates inside the core."""
        return self.L * self.Al

    @property
    def separate_recurrent(self):
        return CELLS[self.cell].separate_recurrent

    @property
    def row_numbers(self):
        """Numbers that a score holds for each frame while it works."""
        return self.Sp + (self.Ap if self.G > 1 else 0)

    @property
    def hidden_context(self):
        """Whether the context gives what a frame starts with."""
        return bool(self.C) and self.frame.start[0] in self.context

    @property
    def head_index(self):
        return HEADS[self.head].code

    @property
    def conditioner_index(self):
        return _core.CONDITIONERS[self.conditioner]

    @property
    def activation_index(self):
        return ACTIVATIONS[self.activation]

    @property
    def cell_index(self):
        return _core.CELLS[self.cell]

    @property
    def alpha(self):
        return self.first("alpha")

    @property
    def mu(self):
        return self.first("mu")

    @property
    def sigma(self):
        return self.first("sigma")

    @property
    def nu(self):
        return self.first("nu")

    def first(self, quantity):
        """The raw output at which a quantity begins (0 for one that the head does not have)."""
        return self.quantities.index(quantity) * self.K if quantity in self.quantities else 0

    def block(self, theta, name):
        """A block of the flat vector as it lies inside."""
        shape = self.shapes[name]
        return theta[self.offsets[name] :][: prod(shape)].reshape(shape)

    def views(self, theta):
        """Views of a flat vector (parameters or their gradient) under the users' names and shapes."""
        H, K, R = self.units[-1], self.K, self.R
        V, b = self.block(theta, "V"), self.block(theta, "b")
        found = self.frame.views(self, lambda name: self.block(theta, name))
        for quantity, (name_V, name_b, name_W) in HEADS[self.head].outputs.items():
            if quantity in self.frame.once:
                continue
            rows = slice(self.first(quantity), self.first(quantity) + K)
            if name_V is not None and self.frame.drives:
                found[name_V] = V[:, rows, :H].transpose(0, 2, 1)
                if self.direct:
                    found[direct_name(name_V)] = self.block(theta, "A")[:, rows, : self.D].transpose(0, 2, 1)
            found[name_b] = b[:, rows]
            if self.C and name_W is not None and quantity in self.context:
                found[name_W] = self.block(theta, "U")[:, rows, : self.C]
        if not HEADS[self.head].mixture:  # one output: no axis of components
            found |= {name: found[name][..., 0] for name in ("V", "V_x") if name in found}
            found |= {name: found[name][:, 0] for name in ("b", "W_b") if name in found}
        if self.Cc:
            found[self.frame.start[1]] = self.block(theta, "W_c")[:, : self.Cc]
        if self.latent:
            found |= self.latent.views(self, lambda name: self.block(theta, name))
        if R:
            GR = self.G * R  # gates in the first axis, one behind the other
            for layer in range(1, self.L + 1):
                W_in, W_rec, b_r, *first = (
                    of_layer(name, layer) for name in ("W_in", "W_rec", "b_r", *CELLS[self.cell].first)
                )
                found[W_in] = self.block(theta, W_in)[:, :GR].T
                found[W_rec] = self.block(theta, W_rec)[:, :GR].T
                found[b_r] = self.block(theta, b_r)[:GR]
                found |= {name: self.block(theta, name)[:R] for name in first}
        return found

    def dropped(self, units, inputs, kept):
        """(size,): factors of the parameters where units, and of x what the frame reads, are dropped with these
        probabilities; kept(probability, shape) draws them."""
        read_x, *read_units = self.frame.readers(self)
        widths, factors = (self.D, *self.units), None
        for names, n, dropout in zip((read_x, *read_units), widths, (inputs, *[units] * len(read_units)), strict=True):
            if not dropout or (names is read_x and self.R):  # where the recurrence drops what it reads
                continue
            own = kept(dropout, n)
            factors = np.ones(self.size, own.dtype) if factors is None else factors
            for name in names:
                self.block(factors, name)[..., :n] *= own
        return factors

    def flat(self, parameters, dtype):
        """A flat vector from a mapping of users' names to arrays; what is missing, or not read, is zero."""
        theta = np.zeros(self.size, dtype)
        masks = self.frame.masks(self)
        for name, view in self.views(theta).items():
            if name in parameters:
                view[...] = parameters[name]
                if name in masks:
                    view[~masks[name]] = 0
        return theta


# ---- initialisation ------------------------------------------------------------------------------------------------


def initial_parameters(layout, generator, dtype, freedom=np.inf):
    """A flat vector to start training from.

    Every conditional starts close to a standard normal (mixtures of any family: components spread about 0 with total
    variance 1), or with `freedom`, one for all or (D,), of Gaussian components close to a Student t of variance 1, of
    Student components with these degrees of freedom (> 2; without it 10), so that behind a fitted transform the
    untrained model has nearly the likelihood of that transform alone.  Weights into hidden and recurrent units are
    normal with variance 1 / inputs; those out of them are small.  The forget gates of an LSTM start open, with bias 1
    (R. Jozefowicz, W. Zaremba, I. Sutskever, ICML 2015).
    """
    D, K, R, C, head = layout.D, layout.K, layout.R, layout.C, HEADS[layout.head]
    H = layout.units[-1]

    def normal(*shape, scale):
        return generator.standard_normal(shape) * scale

    values = layout.frame.first_values(layout, normal)
    for name in head.context:
        name_V, _, name_W = head.outputs[name]
        driven = layout.Cc if name in layout.frame.once else C
        shape_V, shape_W = ((D, H, K), (D, K, driven)) if head.mixture else ((D, H), (D, driven))
        if layout.frame.drives:
            values[name_V] = normal(*shape_V, scale=0.1 * max(H, 1) ** -0.5)
        values[name_W] = normal(*shape_W[name in layout.frame.once :], scale=0.1 * max(C, 1) ** -0.5)
    if head.mixture:
        weight, mu, scale, *shapes = layout.frame.first_components(layout, generator, freedom)
        values |= {f"b_{name}": np.log(shape - 1) for name, shape in zip(head.shapes, shapes, strict=True)}  # nu
        values |= {"b_alpha": np.log(K * weight), "b_mu": mu}
        values["b_sigma"] = np.log(np.maximum(scale - layout.min_scale, 1e-3))
    if C and layout.frame.drives:
        values["W_c"] = normal(layout.units[0], layout.Cc or C, scale=C**-0.5)
    if layout.latent:
        values |= layout.latent.first_values(layout, normal)
    if R:
        GR = layout.G * R
        for layer, (n_inputs, *_) in enumerate(layout.layers, 1):
            values[of_layer("W_in", layer)] = normal(GR, n_inputs, scale=n_inputs**-0.5)
            values[of_layer("W_rec", layer)] = normal(GR, R, scale=R**-0.5)
            values[of_layer("r0", layer)] = np.full(R, 0.5 if layout.cell == "sigmoid" else 0.0)
            if layout.cell == "lstm":
                values[of_layer("b_r", layer)] = np.repeat([0.0, 1.0, 0.0, 0.0], R)  # input, forget, cell, output
    return layout.flat(values, dtype)
