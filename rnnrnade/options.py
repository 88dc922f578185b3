"""Options of the estimators: what each may be, and what their documentation says of it."""

import re
import sys
import textwrap
from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from . import transforms
from .auto import Auto
from .checks import LARGEST
from .heads import CONDITIONALS, HEADS
from .latents import DEEPEST
from .layout import ACTIVATIONS, CELLS, MOST_LAYERS, MOST_MASKS
from .optim import OPTIMIZERS, SCHEDULES
from .transforms import Chain, Linear, Volatility

TRANSFORMS = {
    "auto": Auto(),
    "standardize": Linear(),
    "whiten": Linear(covariance="full"),
    "var": Linear(lags=2, covariance="full"),
}


def as_transform(option):
    """The transform that an option names or is: a link, a Chain, an Auto or None."""
    if isinstance(option, str):
        return TRANSFORMS[option]
    option = Chain(list(option)) if isinstance(option, list | tuple) else option
    if isinstance(option, Chain) and not all(isinstance(link, Linear | Volatility) for link in option.links):
        raise ValueError(f"transform must be a list of Linear and Volatility. Got {option.links!r:.60} instead.")
    return option


def transform_to_json(option):
    """The option `transform` as JSON knows it: the options of a Linear, {"links": [...]} or {"auto": {...}}."""
    if option is None or isinstance(option, str):
        return option
    option = as_transform(option)
    return {"auto": option.get_params()} if isinstance(option, Auto) else transforms.to_file(option)


def transform_from_json(value):
    """The option again."""
    if value is None or isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise ValueError("the transform among the options is none")
    if "auto" in value:
        return Auto(**value["auto"])
    return transforms.from_options(value)


MOST_THREADS = 4096  # of `n_jobs`: an OpenMP runtime that cannot start a thread ends the process


def _positive(kind, *, zero=False):
    """Of real numbers, those that a float holds."""
    if kind is Integral:
        return Interval(Integral, 0 if zero else 1, LARGEST, closed="both")
    return Interval(Real, 0, sys.float_info.max, closed="both" if zero else "right")


COMPONENTS = {"frame": "shared"}  # conditioners by the option `components`; "dimension": that of the class

COMMON = {
    "n_hidden": [_positive(Integral, zero=True)],
    "activation": [StrOptions(set(ACTIVATIONS))],
    "order": [None, StrOptions({"random"}), "array-like"],
    "n_orders": [_positive(Integral)],
    "dtype": [StrOptions({"float32", "float64"})],
    "max_epochs": [_positive(Integral)],
    "max_updates": [None, _positive(Integral)],
    "batch_size": [_positive(Integral)],
    "optimizer": [StrOptions(set(OPTIMIZERS))],
    "learning_rate": [_positive(Real)],
    "schedule": [None, StrOptions(set(SCHEDULES))],
    "warmup": [_positive(Integral, zero=True)],
    "weight_decay": [_positive(Real, zero=True), dict],
    "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
    "anneal": ["boolean", StrOptions({"auto"})],
    "averaging": [None, Interval(Real, 0, 1, closed="left")],
    "validation_fraction": [None, Interval(Real, 0, 1, closed="left")],
    "validate_every": [None, _positive(Integral)],
    "patience": [_positive(Integral)],
    "n_restarts": [_positive(Integral)],
    "missing": [None, StrOptions({"marginalize"})],
    "warm_start": ["boolean"],
    "n_jobs": [None, Interval(Integral, -MOST_THREADS, MOST_THREADS, closed="both")],
    "random_state": ["random_state", np.random.Generator],
    "verbose": ["verbose"],
}
SHARE = {"components": [StrOptions({"dimension", "frame"})]}
MIXTURE = {
    "n_components": [_positive(Integral)],
    "conditional": [StrOptions(set(CONDITIONALS))],
    "min_scale": [_positive(Real, zero=True)],
    "transform": [None, StrOptions(set(TRANSFORMS)), Linear, Chain, Auto, list, tuple],
    "mean_gradient": ["boolean"],
}
MASKED = MIXTURE | {
    "n_hidden": [_positive(Integral), "array-like"],
    "conditional": [StrOptions(set(HEADS))],
    "direct": ["boolean"],
    "degrees": [StrOptions({"even", "drawn"})],
    "n_masks": [Interval(Integral, 1, MOST_MASKS, closed="both")],
}
RECURRENT = {
    "n_recurrent": [_positive(Integral)],
    "n_layers": [Interval(Integral, 1, MOST_LAYERS, closed="both")],
    "cell": [StrOptions(set(CELLS))],
    "context": [tuple, list],
    "window": [None, _positive(Integral)],
    "input_noise": [_positive(Real, zero=True)],
    "input_dropout": [Interval(Real, 0, 1, closed="left")],
    "context_dropout": [Interval(Real, 0, 1, closed="left")],
}
LATENT = {
    "n_latent": [_positive(Integral, zero=True)],
    "n_units": [_positive(Integral)],
    "n_dense": [Interval(Integral, 1, DEEPEST, closed="both")],
    "n_hidden": [_positive(Integral, zero=True), "array-like"],
    "conditional": [StrOptions(set(HEADS))],
    "min_latent_scale": [_positive(Real, zero=True)],
    "n_particles": [_positive(Integral)],
    "kl_start": [Interval(Real, 0, 1, closed="both")],
    "kl_warmup": [None, _positive(Integral, zero=True)],
    "free_nats": [_positive(Real, zero=True)],
    "n_importance": [_positive(Integral)],
}
REFIT = {"refit": [StrOptions({"auto", "all"}), Options(bool, {False})]}

# Their names in a Layout, where it has others
OPTIONS = {
    "head": "conditional",
    "H": "n_hidden",
    "K": "n_components",
    "R": "n_recurrent",
    "L": "n_layers",
    "masks": "n_masks",
}

# Parameters that several estimators document; `documented` puts them where a class says {name}.
DOCUMENTED = {
    "mixture": """
n_components : int, default=10
    Mixture components of each one-dimensional conditional; >= 1.
n_hidden : int
    Hidden units; >= 0, where 0 makes the dimensions of a frame independent.  Default: 50 for vectors, 100 for
    sequences.
components : {"dimension", "frame"}, default="dimension"
    "frame": one mixture over the whole frame, whose dimensions share the component and are independent within it; it
    has no hidden units (n_hidden=0).  Its marginals of any subset of a frame are exact.
{family}
{density}""",
    "family": """
conditional : {CONDITIONALS}, default="gaussian"
    Family of the components.  sigma is its scale as in scipy.stats: for Gaussians, the standard deviation.  Those of
    "student" have degrees of freedom nu = 1 + exp(b_nu), b_nu (D, K) learned, the same for all frames.""".replace(
        "CONDITIONALS", ", ".join(f'"{name}"' for name in CONDITIONALS)
    ),
    "density": """
min_scale : float, default=1e-3
    Smallest scale, sigma, of a component, in the unit of the transform's output; >= 0.  Rounded or repeated values
    invite narrow spikes, so state it with every log-density.
transform : {"auto", "standardize", "whiten", "var"}, Auto, Linear, list of links or None, default="auto"
    Put in front of the model and fitted with it; log-densities are those of X as given.  "auto" is Auto(), which
    chooses by held-out likelihood: for vectors whitening with a shrunk covariance or standardisation, for sequences how
    many frames predict the next one, and a level, scale and correlation that follow the recent past (`rnnrnade.auto`;
    with `partial_fit`: "standardize").  Auto(season=24) also considers a season.  "var" is a vector autoregression,
    Linear(lags=2, covariance="full").  A list is a chain: [Linear(...), Volatility(...)].  In `fit`, a number
    that would decide the fit of the transform by itself counts as the largest of the others, and a warning names it.
mean_gradient : bool, default=False
    Training heuristic: the gradient with respect to V_mu, b_mu and W_mu is multiplied by the scale of its component,
    min_scale + exp(b_sigma) (Uria, Murray and Larochelle, 2013, take that of each frame).  "adam" undoes most of it,
    because its steps do not depend on the scale of a gradient.""",
    "refit": """
refit : {"all", "auto", False}, default="all"
    What is fitted again to all of X if the ends of the sequences were held out.  "auto": the coefficients of the
    transform, but not its structure.  "all": the net too, from the same first parameters, for as many updates as were
    best (`best_update_`).  `history_` is that of the first training.""",
    "units": """
n_hidden : int
    Hidden units; >= 0, where 0 makes the dimensions of a frame independent.  Default: 200 for vectors, 50 for
    sequences.""",
    "masked": """
n_hidden : int or tuple of int, default=500
    Hidden units, of one layer or of each; >= 1.
n_components : int, default=10
    Components of each one-dimensional conditional; >= 1.  Not read where data are binary.
conditional : {HEADS}, default="bernoulli"
    "bernoulli": X holds zeros and ones.  Else X is real, and this is the family of the components, as for `RNADE`.
direct : bool, default=True
    Weights from each dimension straight to the raw outputs of those after it, V_x, beside those through the units.
degrees : {"even", "drawn"}, default="even"
    The degree of a unit is the number of dimensions that it depends on: "even", floor(i D / H) of unit i of H, or drawn
    from 0 to D - 1, each as likely.  What is drawn does not depend on `random_state`.
n_masks : int, default=1
    Masks of the same parameters, in 1 ... 1000.  With more than one, their degrees are drawn, each update trains under
    one of them at random, and the density of a frame is the mean of its densities under all, which take n_masks times
    as long to compute.
min_scale : float, default=1e-3
    Smallest scale of a component, in the unit of the transform's output; >= 0.  Not read where data are binary.
transform : {"auto", "standardize", "whiten", "var"}, Auto, Linear, list of links or None, default="auto"
    Put in front of the model and fitted with it, as for `RNADE`.  Binary data have none: "auto" or None.
mean_gradient : bool, default=False
    As for `RNADE`; False where data are binary.""".replace("HEADS", ", ".join(f'"{name}"' for name in HEADS)),
    "latent": """
n_latent : int
    Numbers of the latent vector of a frame; >= 0, where 0 makes the model the deterministic net, whose density is
    exact.  Default: 8 for vectors, 16 for sequences.
n_units : int, default=100
    Units of each dense layer (features of frame and latent vector, prior, encoder, context); >= 1.  Rectified.
n_dense : int, default=1
    Dense layers of each of these nets, 1 to 8.
n_components : int, default=1
    Mixture components of each conditional of a frame; >= 1.  Not read where data are binary.
n_hidden : int or tuple of int, default=0
    How a frame goes on from its context: 0, its dimensions are independent given the latent vector; more, by the
    hidden units of an RNADE or NADE; a tuple, by the layers of a MADE.
conditional : {"gaussian", "laplace", "logistic", "student", "bernoulli"}, default="gaussian"
    "bernoulli": X holds zeros and ones.  Else X is real, and this is the family of the components.
components : {"dimension", "frame"}, default="dimension"
    "frame": one mixture over the whole frame, as for `RNNGMM`.
min_scale : float, default=1e-3
    Smallest scale of a component, in the unit of the transform's output; >= 0.  State it with every log-density.
min_latent_scale : float, default=1e-3
    Smallest scale of prior and encoder; >= 0.
transform : {"auto", "standardize", "whiten", "var"}, Auto, Linear, list of links or None, default="auto"
    Put in front of the model and fitted with it, as for `RNADE` and `RNNRNADE`.  Binary data have none.
n_particles : int, default=64
    Particles, or draws, of an estimate of the log-density; >= 1.
kl_start : float, default=0.2
    How the divergence of the encoder from the prior weighs in the first update, in [0, 1].
kl_warmup : int or None, default=None
    Updates over which that weight rises to 1, at most half of all; >= 0.  Until then no validation counts but that of
    the net as it starts.  None: those of 20 epochs, but at most 1000.
free_nats : float, default=0.0
    Mean divergence of a latent number per frame below which training does not press it down; >= 0.
n_importance : int, default=1
    Draws of each sequence or row in training and validation; > 1: the importance-weighted bound of Burda, Grosse and
    Salakhutdinov (2016), which is tighter and takes as many times as long.""",
    "recurrence": """
n_recurrent : int, default=100
    Recurrent units in each layer; >= 1.
n_layers : int, default=1
    Recurrent layers, 1 to 100.
cell : {"sigmoid", "tanh", "gru", "lstm"}, default="gru"
    Kind of recurrent unit, as for `RNNRNADE`.
window : int or None, default=None
    Frames in a training window.  Longer sequences are cut, at different places in each epoch, and what goes on in time
    is carried from window to window.  None: sequences of more than 200 frames are cut into windows of 100.""",
    "recurrent": """
n_recurrent : int, default=100
    Recurrent units in each layer; >= 1.
n_layers : int, default=1
    Recurrent layers, 1 to 100, all with the same cell and size, each with its own parameters (the second: W_in_2,
    W_rec_2, b_r_2, r0_2).  The first layer reads the frames, every other one the new state of the layer below, as in
    torch.nn.RNN, GRU and LSTM; the top layer drives the frame.
cell : {"sigmoid", "tanh", "gru", "lstm"}, default="sigmoid"
    Kind of recurrent unit: simple, or with gates, which are stacked in the first axis of W_in, W_rec and b_r ("gru":
    reset, update, candidate; "lstm": input, forget, cell, output, and a second first state c0), in the form of cuDNN
    and PyTorch with one bias.  Sources: K. Cho and others, EMNLP 2014; S. Hochreiter, J. Schmidhuber, Neural
    Computation 9 (8), 1997.
context : tuple of str
    What the recurrent state drives: any of "alpha", "mu", "sigma" (binary models: "bias") and "hidden" (the hidden
    units' first input).  Default: all but "hidden" for real values, all for binary ones; None, of `RNNMADE`: all.
window : int or None, default=None
    Frames in a training window.  Longer sequences are cut, at different places in each epoch, and the state before a
    window is carried into it.  None: sequences of more than 200 frames are cut into windows of 100.
input_noise : float, default=0.0
    Standard deviation of Gaussian noise on what the recurrence reads in training, in the unit of the transform's
    output; >= 0.  The frames whose density is fitted stay as they are.
input_dropout : float, default=0.0
    Fraction of the recurrence's inputs, the frames, set to zero in training, the others scaled up; in [0, 1).
context_dropout : float, default=0.0
    The same for the recurrent state where it drives the outputs of a frame, but not where it continues in time or
    to the next layer.""",
    "common": """
activation : {"sigmoid", "relu"}, default="sigmoid"
    Activation of the hidden units.
order : array-like of shape (D,), "random" or None, default=None
    Order in which the dimensions of a frame are conditioned on each other, a permutation of 0 ... D - 1; "random":
    drawn from random_state.
n_orders : int, default=1
    Models in the ensemble; >= 1.  The first has `order`, the others random orders, and each is trained by itself on
    the same data.  The density is the mean of theirs, frame by frame (Uria, Murray and Larochelle, A deep and
    tractable density estimator, 2014).  It takes n_orders times as long.  What belongs to a single order
    (`score_dims`, `predict_params`, the gradient, `parameters_`) is asked of one of `members_`.
dtype : {"float32", "float64"}, default="float32"
    Type of parameters and arithmetic; log-densities are always float64.
max_epochs : int, default=500
    Maximum number of passes over the training data; >= 1.
max_updates : int or None, default=None
    Maximum number of updates, if reached before max_epochs; >= 1.  `partial_fit` ignores it.
batch_size : int
    Sequences or windows (vectors: rows) in an update; >= 1.  Default: 32 rows, 16 sequences.
optimizer : {"adam", "sgd"}, default="adam"
    "sgd" has momentum 0.9.
learning_rate : float, default=1e-2 (sequences of real values: 5e-3)
    Initial step size; > 0.
schedule : {"constant", "linear", "cosine"} or None, default=None
    How the learning rate falls over the run, which is max_epochs or max_updates, whichever comes first: not at all, or
    to 0.  None: that of the optimizer, "constant" for "adam", "linear" for "sgd".  `partial_fit` keeps the rate
    constant.
warmup : int, default=0
    Updates over which the learning rate rises linearly; >= 0.
weight_decay : float or dict
    Decoupled decay of weight matrices towards zero; >= 0.  A dict gives it by parameter name, such as {"W": 0.1}.
    Default: 0.1 for vectors, 0.01 for sequences.
clip_norm : float or None, default=5.0
    Gradients of the mean log-density per frame with a larger norm are scaled down to it; > 0.
anneal : bool or "auto"
    After early stopping, `fit` returns to the best parameters and continues from there for half as many updates as led
    to them, at 0.3 of the learning rate, falling to 0; it keeps the best.  These updates come on top of max_epochs and
    max_updates.  Without held-out data this does nothing, nor for a net that is far behind one trained before it (see
    patience).  "auto": only behind a transform chosen by `transform="auto"` that sets columns apart, because these
    often take one value, and the narrow components there need small steps; there updates are of a quarter of
    batch_size, too, averaging is at least 0.98 and patience twice as long.  Default: "auto" for sequences of real
    values, otherwise False.
averaging : float or None
    Decay per update of the moving average of the parameters that `fit` validates and keeps, in [0, 1).  0 or None: the
    parameters themselves, which `partial_fit` always keeps, because it cannot know which update is the last.  Default:
    0.95 for sequences of real values, otherwise 0.99.
validation_fraction : float or None, default=0.1
    Sequences or rows held out for early stopping, in [0, 1); with fewer than ten sequences the last frames of each,
    scored with their past as context.  0 or None: train for max_epochs.  A held-out frame that would decide alone, as
    one bad value can, counts with a limited weight and is named in a warning.
validate_every : int or None, default=None
    Updates from one validation, and entry of the history, to the next; >= 1.  None: an epoch or 20 updates, whichever
    takes longer.
patience : int, default=10 (vectors: 20)
    Validations without a better score before training ends; >= 1.  It ends sooner, after 0.4 of them but four at least,
    if the score fell in each and is now two standard errors below the best, of all nets in a race (several candidates
    for the transform, n_restarts).
n_restarts : int, default=1
    Initialisations that are trained, of which `fit` keeps the one with the best validation score (without validation:
    with the lowest last loss); >= 1.  With warm_start this applies to the first `fit` only.
missing : {None, "marginalize"}, default=None
    What NaN means in data to be scored.  None: it is refused, with its position.  "marginalize": a missing value,
    which scores integrate out and `impute` draws (`rnnrnade.missing` says when that is exact).  `fit` refuses NaN.
warm_start : bool, default=False
    `fit` continues from the parameters of the last fit.
n_jobs : int or None, default=None
    OpenMP threads.  None and -1: all that the process may use.  Results are the same bits for any number.
random_state : int, RandomState, Generator or None, default=None
    Seed or generator for initialisation, held-out data, batches and draws.  None: that of np.random.seed.
verbose : int, default=0
    Show a progress bar if it is not 0.""",
    "attributes": """
members_ : list of estimators
    One for each order; [self] if n_orders is 1.  With more orders, the attributes marked * below do not exist here: ask
    one of the members.
parameters_ : mapping of str to ndarray *
transform_ : Linear, Chain or None *
    The transform that was chosen, fitted.
order_ : ndarray of shape (D,) or None *
history_ : dict of lists *
    An entry for each validation: epoch, update, loss (nats per frame, in the unit of X, over the frames since the entry
    before), validation_score, gradient_norm (mean before clipping), learning_rate, seconds since the start (not kept in
    files).
n_iter_ : int *
    Number of epochs trained.
best_epoch_, best_update_ : int or None *
    The epoch and the update after which the parameters that were kept were validated.  0: those the net starts with
    (they have no entry in the history), because training gained no more than one standard error of the paired
    difference of held-out log-densities, over rows or blocks of consecutive frames.  None: nothing was validated.
n_features_in_ : int
feature_names_in_ : ndarray of str
    Only if X has names.""",
    "checkpoints": """
checkpoint : path, optional
    File that the state of training is written to at the start and then after a validation, when `every` seconds
    have passed; also after Ctrl-C and at the end.  It is written whole or not at all.  A path that cannot be
    written is an error before training; if the disk fills up later, a warning is given and training continues.
every : float, default=60.0
    Minimum number of seconds between two writes; 0: after each validation (see `validate_every`).
resume : bool, default=False
    Continue from `checkpoint` if that file exists, also after the end, to the same bits as without the interruption
    (on the same kind of processor; except `seconds` in `history_`).  X, weights, validation data and all
    options except n_jobs, verbose and warm_start must be those of the beginning.  A random_state that is not a
    number is set to the state it had then.  False: an older checkpoint is replaced.""",
}


def _without(text, *names):
    """Entries of a documentation but for some."""
    for name in names:
        text = re.sub(rf"^{name} : .*\n(?:    .*\n?)+", "", text, flags=re.MULTILINE)
    return text


DOCUMENTED["one"] = _without(DOCUMENTED["common"], "n_orders", "missing")
DOCUMENTED["of one"] = _without(DOCUMENTED["attributes"], "members_").replace(" *\n", "\n")


def documented(thing):
    """Fill the shared entries into the docstring of a class or function."""
    for name, text in DOCUMENTED.items():
        if thing.__doc__:  # python -OO has none; from 3.13 on it has no indentation
            thing.__doc__ = re.sub(
                rf"^( *)\{{{name}\}}",
                lambda found, text=text: textwrap.indent(text.strip("\n"), found[1]),
                thing.__doc__,
                flags=re.MULTILINE,
            )
    return thing
