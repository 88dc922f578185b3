"""The scikit-learn face: options, fit, scores, samples.  Glue only: the work is done in model.py and training.py."""

import re
import textwrap
import time
import warnings
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions
from sklearn.utils.validation import check_is_fitted

from . import _core
from .checkpoints import Checkpoint, digest
from .checks import as_generator, naming
from .conditionals import Conditionals
from .heads import CONDITIONALS, HEADS
from .io import load_estimator, save_estimator
from .layout import ACTIVATIONS, CELLS, Layout, initial_parameters
from .missing import GAPS, MissingValues, marginal_scores
from .model import Model
from .optim import OPTIMIZERS, SCHEDULES
from .sequences import (
    Sequences,
    check_frame_weights,
    check_sequences,
    check_validation,
    check_vectors,
    ordered,
)
from .training import Data, Trainer, weight_decays
from .transforms import Linear

OF_TRAINING = ("history_", "n_iter_", "best_epoch_", "best_update_")
TRANSFORMS = {
    "standardize": Linear(),
    "whiten": Linear(covariance="full"),
    "var": Linear(lags=2, covariance="full"),
}
FEW = 10  # sequences or rows: below this none is held out whole
OF_ONE_ORDER = (
    "the conditionals of single dimensions, their parameters and the gradient are those of one order. Ask one of "
    "members_ for them."
)
DRAWS = 1 << 22  # random numbers of each kind held at a time


class MixtureParameters(NamedTuple):
    """Parameters of every one-dimensional conditional in the units of X: each (T_i, D, K), or a list of such.

    Weights, locations and scales of the components: of Gaussians means and standard deviations.
    """

    alpha: np.ndarray
    mu: np.ndarray
    sigma: np.ndarray


class BernoulliParameters(NamedTuple):
    """Parameters of every one-dimensional conditional: p(x_d = 1), (T_i, D), or a list of such."""

    p: np.ndarray


def _positive(kind, *, zero=False):
    return Interval(kind, 0, None, closed="left" if zero else "neither")


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
    "clip_norm": [None, _positive(Real)],
    "averaging": [None, Interval(Real, 0, 1, closed="left")],
    "validation_fraction": [None, Interval(Real, 0, 1, closed="left")],
    "validate_every": [None, _positive(Integral)],
    "patience": [_positive(Integral)],
    "n_restarts": [_positive(Integral)],
    "missing": [None, StrOptions({"marginalize"})],
    "warm_start": ["boolean"],
    "n_jobs": [None, Integral],
    "random_state": ["random_state", np.random.Generator],
    "verbose": ["verbose"],
}
MIXTURE = {
    "n_components": [_positive(Integral)],
    "conditional": [StrOptions(set(CONDITIONALS))],
    "min_scale": [_positive(Real, zero=True)],
    "transform": [None, StrOptions(set(TRANSFORMS)), Linear],
    "mean_gradient": ["boolean"],
}
RECURRENT = {
    "n_recurrent": [_positive(Integral)],
    "cell": [StrOptions(set(CELLS))],
    "context": [tuple, list],
    "window": [None, _positive(Integral)],
    "input_noise": [_positive(Real, zero=True)],
    "input_dropout": [Interval(Real, 0, 1, closed="left")],
    "context_dropout": [Interval(Real, 0, 1, closed="left")],
}


# Parameters that several estimators document; `documented` puts them where a class says {name}.
DOCUMENTED = {
    "mixture": """
n_components : int, default=10
    Components of each one-dimensional conditional; >= 1.
n_hidden : int
    Hidden units; >= 0, where 0 makes the dimensions of a frame independent.  Default: 50 for vectors, 100 for
    sequences.
min_scale : float, default=1e-3
    Smallest scale, sigma, of a component, in the unit of the transform's output; >= 0.  Rounded or repeated values
    invite narrow spikes: state it with every log-density.
conditional : {CONDITIONALS}, default="gaussian"
    Family of the components.  sigma is its scale as in scipy.stats: of Gaussians the standard deviation.
transform : {"standardize", "whiten", "var"}, Linear or None
    Fitted and put in front of the model; log-densities are those of X as given.  "var" is a vector autoregression,
    Linear(lags=2, covariance="full").  Default: "whiten" for vectors, "var" for sequences.
mean_gradient : bool, default=False
    Heuristic of training: the gradient by V_mu, b_mu and W_mu is multiplied with the scale of its component,
    min_scale + exp(b_sigma) (Uria, Murray and Larochelle, 2013, take that of each frame).  "adam" undoes most of it,
    since its steps do not depend on the scale of a gradient.""".replace(
        "CONDITIONALS", ", ".join(f'"{name}"' for name in CONDITIONALS)
    ),
    "units": """
n_hidden : int, default=50
    Hidden units; >= 0, where 0 makes the dimensions of a frame independent.""",
    "recurrent": """
n_recurrent : int, default=100
    Recurrent units; >= 1.
cell : {"sigmoid", "tanh", "gru", "lstm"}, default="sigmoid"
    Recurrent unit: simple, or with gates, stacked in the first axis of W_in, W_rec and b_r ("gru": reset, update,
    candidate; "lstm": input, forget, cell, output, and a second first state c0), in the form of cuDNN and PyTorch with
    one bias.  Sources: K. Cho and others, EMNLP 2014; S. Hochreiter, J. Schmidhuber, Neural Computation 9 (8), 1997.
context : tuple of str
    What the recurrent state drives: of "alpha", "mu", "sigma" (binary models: "bias") and "hidden" (the hidden
    units' first input).  Default: all but "hidden" for real values, all for binary ones.
window : int or None, default=None
    Frames of a training window.  Longer sequences are cut, at other places in each epoch, and the state before a
    window is carried into it.  None: sequences of more than 200 frames are cut into windows of 100.
input_noise : float, default=0.0
    Standard deviation of Gaussian noise on what the recurrence reads in training, in the unit of the transform's
    output; >= 0.  The frames whose density is fitted stay as they are.
input_dropout : float, default=0.0
    Part of the numbers that the recurrence reads which are set to 0 in training, the others scaled up; in [0, 1).
context_dropout : float, default=0.0
    The same for the recurrent state where it drives the outputs of a frame, not where it goes on in time.""",
    "common": """
activation : {"sigmoid", "relu"}, default="sigmoid"
    Hidden unit.
order : array-like of shape (D,), "random" or None, default=None
    Order in which the dimensions of a frame are conditioned on each other, a permutation of 0 ... D - 1; "random":
    drawn from random_state.
n_orders : int, default=1
    Models in the ensemble, >= 1: the first has `order`, each other one a random order, and each is trained by itself
    on the same training data.  The density is the mean of theirs, frame by frame (Uria, Murray and Larochelle, A deep
    and tractable density estimator, 2014).  Costs n_orders times as much; what is of one order only (`score_dims`,
    `predict_params`, the gradient) has to be asked of `members_`.
dtype : {"float32", "float64"}, default="float32"
    Of parameters and arithmetic; log-densities are float64 always.
max_epochs : int, default=500
    Passes over the training data at the most; >= 1.
max_updates : int or None, default=None
    Updates at the most, if they come before max_epochs; >= 1.  `partial_fit` does not look at it.
batch_size : int
    Sequences or windows (vectors: rows) of an update; >= 1.  Default: 32 rows, 16 sequences.
optimizer : {"adam", "sgd"}, default="adam"
    "sgd" has momentum 0.9.
learning_rate : float, default=1e-2
    > 0.
schedule : {"constant", "linear", "cosine"} or None, default=None
    How the learning rate falls over the run, which is max_epochs or max_updates, whichever comes first: not at all, or
    to 0.  None: that of the optimizer, "constant" for "adam", "linear" for "sgd".  In `partial_fit` none falls.
warmup : int, default=0
    Updates over which the learning rate rises linearly; >= 0.
weight_decay : float or dict
    Decoupled pull of weight matrices to zero; >= 0.  A dict gives it by parameter name, such as {"W": 0.1}.
    Default: 0.1 for vectors, 0.01 for sequences.
clip_norm : float or None, default=5.0
    Gradients (of the mean log-density per frame) of a larger norm are scaled down to it; > 0.
averaging : float or None
    Decay per update of the moving average of the parameters that `fit` validates and keeps, in [0, 1).  0 or None: the
    parameters themselves, which `partial_fit` keeps always: it cannot know which update is the last.  Default: 0.95 for
    sequences of real values, else 0.99.
validation_fraction : float or None, default=0.1
    Sequences or rows held out for early stopping, in [0, 1); with fewer than ten sequences the last frames of each,
    scored with their past as context.  0 or None: train for max_epochs.
validate_every : int or None, default=None
    Updates from one validation, and row of the history, to the next; >= 1.  None: at the end of each epoch.
patience : int, default=15 (vectors: 20)
    Validations without a better score before training ends; >= 1.
n_restarts : int, default=1
    Initialisations, each trained, of which `fit` keeps that of the best validation score (without validation: of the
    lowest last loss); >= 1.  With warm_start only the first `fit` starts so often.
missing : {None, "marginalize"}, default=None
    What NaN in the data to be scored means.  None: it is refused, with its position.  "marginalize": a missing value,
    which scores integrate out and `impute` draws (`rnnrnade.missing` says when that is exact).  `fit` refuses NaN.
warm_start : bool, default=False
    `fit` goes on from the parameters of the last fit.
n_jobs : int or None, default=None
    OpenMP threads.  None and -1: all that the process may use.  Results have the same bits for any number.
random_state : int, RandomState, Generator or None, default=None
    Of initialisation, held-out data, batches and draws.
verbose : int, default=0
    A progress bar where it is not 0.""",
    "attributes": """
members_ : list of estimators
    One for each order, of one order each; [self] where n_orders is 1.  For more, each attribute below with * is a tuple
    of those of the members.
parameters_ : mapping of str to ndarray *
transform_ : Linear or None *
order_ : ndarray of shape (D,) or None *
history_ : dict of lists *
    A row for each validation: epoch, update, loss (nats per frame, in the unit of X, over the frames since the row
    before), validation_score, gradient_norm (mean before clipping), learning_rate, seconds since the begin (not kept in
    files).
n_iter_ : int *
    Epochs run.
best_epoch_, best_update_ : int *
    The epoch and the update after which the parameters that were kept were validated; 0: none was.
n_features_in_ : int
feature_names_in_ : ndarray of str
    Where X has names.""",
    "checkpoints": """
checkpoint : path, optional
    File that the state of training is written to at the begin and then after a validation, when `every` seconds
    have passed; also after Ctrl-C and at the end.  It is written whole or not at all.  A path that cannot be
    written is an error before training; a disk that fills up later is a warning, and training goes on.
every : float, default=60.0
    Seconds between two writings at least; 0: after each validation (see `validate_every`).
resume : bool, default=False
    Go on from `checkpoint` where that file exists, to the same bits as without the interruption (on the same
    kind of processor; `seconds` in `history_` apart), also after the end.  X, weights, validation data and all
    options but n_jobs, verbose and warm_start must be those it was begun with.  A random_state that is no
    number is set to the state it had then.  False: an older checkpoint is replaced.""",
}


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


class DensityEstimator(Conditionals, MissingValues, DensityMixin, BaseEstimator):
    """What all estimators share.  A subclass says which head it has and whether it reads sequences."""

    _recurrent = False
    _binary = False

    # ---- options ------------------------------------------------------------------------------------------------

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = False
        tags.non_deterministic = False
        return tags

    def _option(self, name, default=None):
        return vars(self).get(name, default)

    # scikit-learn takes for a transformer whatever has an attribute `transform`: that option is read by get_params.
    @property
    def transform(self):
        raise AttributeError(
            f"{type(self).__name__} is no transformer: get_params()['transform'] is the option, transform_ the fitted."
        )

    @transform.setter
    def transform(self, value):
        vars(self)["transform"] = value

    def get_params(self, deep=True):
        """The options by name; with deep those of a Linear in `transform` too, as transform__lags and so on."""
        params = {name: vars(self)[name] for name in self._get_param_names()}
        transform = params.get("transform")
        if deep and isinstance(transform, Linear):
            params |= {f"transform__{name}": value for name, value in transform.get_params().items()}
        return params

    def _layout(self, D):
        """The network's sizes and choices for data of D dimensions."""
        contexts = (*HEADS[self._head].context, "hidden")
        context = tuple(self._option("context", ()))
        unknown = [name for name in context if name not in contexts]
        if unknown:
            raise InvalidParameterError(
                f"The 'context' parameter of {type(self).__name__} must be a tuple of names among {contexts}. "
                f"Got {unknown[0]!r} in it."
            )
        return Layout(
            head=self._head,
            D=D,
            H=self.n_hidden,
            K=self._option("n_components", 1),
            R=self.n_recurrent if self._recurrent else 0,
            activation=self.activation,
            cell=self._option("cell", "sigmoid"),
            context=context,
            min_scale=float(self._option("min_scale", 0.0)),
        )

    @property
    def _head(self):
        return "bernoulli" if self._binary else self.conditional

    def _check_order(self, D):
        if self.order is None or isinstance(self.order, str):  # "random": drawn by fit
            return None
        order = np.asarray(self.order)
        if order.shape != (D,) or not np.array_equal(np.sort(order), np.arange(D)):
            raise InvalidParameterError(
                f"The 'order' parameter of {type(self).__name__} must be a permutation of 0 ... {D - 1}, one number "
                f"for each of the {D} features, 'random' or None. Got {self.order!r} instead."
            )
        return order.astype(np.intp)

    def _n_threads(self):
        if self.n_jobs == 0:
            raise InvalidParameterError(
                f"The 'n_jobs' parameter of {type(self).__name__} must be None, a positive int, or a negative one "
                "(-1: all cores). Got 0 instead."
            )
        return _core.effective_threads(self.n_jobs)

    # ---- data ---------------------------------------------------------------------------------------------------

    def _check(self, X, lengths=None, *, reset=False, gaps=False):
        """Checked data; with `gaps` NaN may stand for missing values, where the option `missing` says so."""
        kind = {"reset": reset, "binary": self._binary, "gaps": gaps and self.missing is not None}
        return check_sequences(self, X, lengths, **kind) if self._recurrent else check_vectors(self, X, **kind)

    def _encode(self, data):
        """Frames in the model's order, unit and type."""
        frames = ordered(data.frames, self.order_)
        if self.transform_ is not None:
            frames = self.transform_.forward(frames, data.offsets)
        with np.errstate(over="ignore", invalid="ignore"):
            encoded = np.ascontiguousarray(frames, self._model.dtype)
            fits = encoded.dtype == frames.dtype or np.isfinite(encoded.sum(dtype=np.float64))
        if not fits:
            bad = np.argwhere(~np.isfinite(encoded))
            if len(bad):
                i, d = bad[0]
                s = int(np.searchsorted(data.offsets, i, side="right")) - 1
                d = d if self.order_ is None else self.order_[d]
                raise ValueError(
                    f"X is too large for float32 in sequence {s}, frame {i - data.offsets[s]}, dimension {d}: "
                    "scale X down or use dtype='float64'."
                )
        return encoded

    def _in_order_of_X(self, values):
        """Undo `order` in an array whose second axis are the dimensions."""
        if self.order_ is None:
            return values
        out = np.empty_like(values)
        out[:, self.order_] = values
        return out

    def _log_jacobian(self, data):
        if self.transform_ is None:
            return None
        return self.transform_.log_jacobian(data.offsets)

    # ---- fit ----------------------------------------------------------------------------------------------------

    def _prepare(self, X, lengths, sample_weight, validation_data, reset):
        """Checked options and data; transform and model where there are none to go on with."""
        self._validate_params()
        n_threads = self._n_threads()
        data = self._check(X, lengths, reset=reset)
        layout = self._layout(data.n_features)
        weight_decays(layout, self.weight_decay)  # raises
        order = self._check_order(data.n_features)
        weight = check_frame_weights(sample_weight, data)
        check = check_sequences if self._recurrent else check_vectors
        held_out = check_validation(self, validation_data, binary=self._binary, check=check)
        return n_threads, data, layout, order, weight, held_out

    def _new_transform(self):
        transform = self._option("transform")
        if transform is None:
            return None
        return clone(TRANSFORMS[transform] if isinstance(transform, str) else transform)

    def _trained(self):
        """Which parameters training may change."""
        trained = np.ones(self._model.layout.size, bool)
        if self._binary and not self.learn_rho:
            self._model.layout.block(trained, "rho")[...] = False
        return trained

    @documented
    def fit(
        self, X, y=None, *, lengths=None, sample_weight=None, validation_data=None, checkpoint=None, every=60.0,
        resume=False,
    ):  # fmt: skip
        """Fit the model to sequences by maximum likelihood.

        Parameters
        ----------
        X : list of (T_i, D) arrays
            Or one of the other forms: an array (N, T, D); one 2-D array, DataFrame or list of lists (ONE sequence);
            an object array of sequences; a 2-D array with `lengths`.
        y : ignored
        lengths : array-like of shape (N,), optional
            Frames of each sequence, for a 2-D X that holds several end to end.  Unfit for cross-validation.
        sample_weight : array-like, optional
            One weight for each item of X's first axis.
        validation_data : X or (X, None), optional
            Used instead of held-out sequences.
        {checkpoints}

        Returns
        -------
        self

        Raises
        ------
        ModelFileError
            For a checkpoint of another fit, which says what differs, or a damaged one; for a file of another kind.
        OSError
            For a checkpoint that cannot be read or written.
        ValueError, TypeError
            For bad options or data; the message names the option, or the sequence and position.
        """
        return self._fit(X, lengths, sample_weight, validation_data, Checkpoint(checkpoint, every, resume))

    def _fit(self, X, lengths, sample_weight, validation_data, checkpoint):
        again = self.warm_start and self.__sklearn_is_fitted__()
        if checkpoint.about is not None and checkpoint.about.get("first parameters") is None:
            again = False  # the interrupted fit was the first
        n_threads, data, layout, _, weight, held_out = self._prepare(
            X, lengths, sample_weight, validation_data, reset=not again
        )
        generator = as_generator(self.random_state)
        weight = np.ones(data.n_frames) if weight is None else weight
        again = again and len(self.members_) == self.n_orders
        again = again and all(member._model.layout == layout for member in self.members_)
        if checkpoint.path is not None:
            checkpoint.begin(self._about_fit(data, weight, held_out, again, generator), generator)
        train, train_weight, valid, valid_weight = self._split(data, weight, held_out, generator)
        members = []
        try:
            for k in range(self.n_orders):
                # Members, and restarts, go on in one stream of random numbers: the first is as if it were alone.
                if again:
                    member = self.members_[k]
                    self._hand_on(member)
                else:
                    member, order = self._new_member(k, generator)
                    member._put_transform(train, train_weight, order)
                members.append(member)
                sets = (train, train_weight), (valid, valid_weight)
                if member._train(sets, None if again else layout, generator, n_threads, checkpoint):
                    break
        finally:
            checkpoint.flush()
        self._put_members(members)
        return self

    def _about_fit(self, data, weight, held_out, again, generator):
        """What decides how a fit goes on, by name: options, digests of data, the first parameters if not random."""
        about = {"class": type(self).__name__} | self._options_for_files()
        for name in ("n_jobs", "verbose", "warm_start"):
            about.pop(name)
        about["generator"] = generator.bit_generator.state["bit_generator"]
        about["X"] = digest(data.frames, data.offsets)
        about["sample_weight"] = digest(weight)
        about["validation_data"] = None if held_out is None else digest(held_out.frames, held_out.offsets)
        first = [m for member in self.members_ for m in (member._model.theta, member.order_)] if again else None
        about["first parameters"] = None if first is None else digest(*(a for a in first if a is not None))
        return about

    def _train(self, sets, layout, generator, n_threads, checkpoint):
        """Keep the best of n_restarts trainings from new parameters, or without layout train on; say if interrupted."""
        best = None
        for _ in range(self.n_restarts if layout else 1):
            if layout:
                self._put_model(layout, generator)
            if best is None:
                train, valid = (None if data is None else self._training_data(data, weight) for data, weight in sets)
            trainer = Trainer(self._model, self, generator, self._trained(), n_threads, self.averaging or 0.0)
            checkpoint.restore(trainer)
            trainer.fit(train, valid, self._option("window"), checkpoint.keep)
            if best is None or trainer.score > best.score:
                best = trainer
            if trainer.interrupted:
                break
        self._keep(best)
        self._trainer_state = None
        return trainer.interrupted

    # An ensemble holds estimators of one order each; one of one order is its own and only member.

    @property
    def members_(self):
        """The fitted models of the ensemble: estimators of one order each."""
        check_is_fitted(self)
        return list(vars(self).get("_members", [self]))

    def _new_member(self, k, generator):
        """Member k, not fitted, and its order."""
        order = self._check_order(self.n_features_in_)
        if k > 0 or isinstance(self.order, str):
            order = generator.permutation(self.n_features_in_)
        if self.n_orders == 1:
            return self, order
        member = type(self)(order=None if order is None else order.tolist())
        self._hand_on(member)
        return member, order

    def _hand_on(self, member):
        """Give a member the options of the ensemble, and what it knows of the columns."""
        if member is self:
            return
        member.set_params(**(self.get_params(deep=False) | {"n_orders": 1, "order": member.order}))
        member.n_features_in_ = self.n_features_in_
        vars(member).pop("feature_names_in_", None)
        if hasattr(self, "feature_names_in_"):
            member.feature_names_in_ = self.feature_names_in_

    def _put_transform(self, data, weight, order):
        """Fit the transform of the options in an order of the dimensions."""
        transform = self._new_transform()
        if transform is not None:
            transform.fit(ordered(data.frames, order), data.offsets, weight)
        self.order_, self.transform_ = order, transform

    def _put_model(self, layout, generator):
        self._model = Model(layout, initial_parameters(layout, generator, np.dtype(self.dtype)))

    def _put_members(self, members):
        vars(self).pop("_members", None)
        if members[0] is not self:
            vars(self).pop("_model", None)
            self._members = members
            for name in ("order_", "transform_", *OF_TRAINING):
                setattr(self, name, tuple(getattr(member, name) for member in members))

    def _keep(self, trainer):
        """The model of a trainer, and what it says of its training."""
        self._model = trainer.model
        self.history_ = trainer.history
        self.n_iter_ = len(set(trainer.history["epoch"]))
        self.best_epoch_, self.best_update_ = trainer.best.epoch, trainer.best.update

    def _training_data(self, data, weight):
        jacobian = self._log_jacobian(data)
        constant = 0.0 if jacobian is None else float((weight * jacobian.sum(axis=-1)).sum())
        return Data(self._encode(data), data.offsets, weight, constant)

    def _split(self, data, weight, held_out, generator):
        """(train, its weights, validation, its weights); validation None where there is none."""
        if held_out is not None:
            return data, weight, held_out, np.ones(held_out.n_frames)
        fraction = self.validation_fraction
        if not fraction:
            return data, weight, None, None
        if data.n_sequences >= FEW:
            index = generator.permutation(data.n_sequences)
            n_valid = max(1, round(fraction * data.n_sequences))
            kept, held = np.sort(index[n_valid:]), np.sort(index[:n_valid])
            train_weight, valid_weight = weight[data.rows(kept)], weight[data.rows(held)]
            if train_weight.sum() > 0 and valid_weight.sum() > 0:
                return data.subset(kept), train_weight, data.subset(held), valid_weight
        elif self._recurrent and (data.lengths * fraction).sum() >= 2:
            # Few sequences: the end of each, scored with its past as context.
            last = np.maximum(1, np.round(fraction * data.lengths)).astype(np.int64)
            last = np.where(data.lengths > 1, last, 0)
            kept = data.lengths - last
            position = np.arange(data.n_frames) - np.repeat(data.offsets[:-1], data.lengths)
            is_train = position < np.repeat(kept, data.lengths)
            offsets = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
            train = type(data)(np.ascontiguousarray(data.frames[is_train]), offsets, "list")
            if weight[is_train].sum() > 0 and weight[~is_train].sum() > 0:
                return train, weight[is_train], data, np.where(is_train, 0.0, weight)
        what = "frames" if self._recurrent else "rows"
        warnings.warn(
            f"{data.n_frames} {what} are too few to hold some out: training runs for max_epochs without validation. "
            "Pass validation_data, or validation_fraction=0 to silence this.",
            ConvergenceWarning,
            stacklevel=4,
        )
        return data, weight, None, None

    def partial_fit(self, X, y=None, *, lengths=None, sample_weight=None):
        """Go on training for one epoch over X; the first call starts a new model.

        Options set since the last call hold from now on.  The parameters are those after the last update, not their
        moving average, and the learning rate does not fall: when training ends is for the caller to know.

        Parameters
        ----------
        X, y, lengths, sample_weight
            As in `fit`.

        Returns
        -------
        self
        """
        return self._partial_fit(X, lengths, sample_weight)

    def _partial_fit(self, X, lengths, sample_weight):
        first = not self.__sklearn_is_fitted__()
        n_threads, data, layout, _, weight, _ = self._prepare(X, lengths, sample_weight, None, reset=first)
        weight = np.ones(data.n_frames) if weight is None else weight
        members = [] if first else self.members_
        if first:
            generator = as_generator(self.random_state)
            for k in range(self.n_orders):
                member, order = self._new_member(k, generator)
                member._put_transform(data, weight, order)
                member._put_model(layout, generator)
                member._continue(n_threads)
                member._keep(member._trainer_state)
                members.append(member)
        for member in members:
            self._hand_on(member)
            member._train_one_epoch(data, weight, n_threads)
        self._put_members(members)
        return self

    def _continue(self, n_threads):
        """The trainer of the calls before, or a new one, with the options of now."""
        trainer = getattr(self, "_trainer_state", None)
        if trainer is None:
            trainer = Trainer(self._model, self, as_generator(self.random_state), self._trained(), n_threads)
            self._trainer_state = trainer
        trainer.model = self._model
        trainer.follow(self, n_threads)
        return trainer

    def _train_one_epoch(self, data, weight, n_threads):
        trainer = self._continue(n_threads)
        began = time.perf_counter()
        data = self._training_data(data, weight)
        try:
            for _ in trainer.epoch(data, self._option("window")):
                pass
            if not np.isfinite(self._model.theta).all():
                raise FloatingPointError
        except FloatingPointError:
            self._model.theta[...] = trainer.begin[0]
            self._trainer_state = None  # its moments may not be finite
            warnings.warn(
                "the loss was not finite: the parameters stay as they were. A smaller learning_rate helps.",
                ConvergenceWarning,
                stacklevel=4,
            )
            return
        seconds = sum(trainer.history["seconds"][-1:])
        trainer.record(data, np.nan, seconds + time.perf_counter() - began)
        trainer.best.epoch, trainer.best.update = trainer.epochs, trainer.updates
        self._keep(trainer)

    # ---- scores -------------------------------------------------------------------------------------------------

    def _scores(self, X, lengths=None, *, dims=False, parameters=False, last=False):
        """(data, e, scores) of a model of one order."""
        self._refuse_ensemble()
        data = self._check(X, lengths, gaps=dims)
        return data, *self._scores_of(data, self._n_threads(), dims=dims, parameters=parameters, last=last)

    def _refuse_ensemble(self, why=OF_ONE_ORDER):
        check_is_fitted(self)
        if "_members" in vars(self):
            n = len(self._members)
            raise ValueError(
                f"this {type(self).__name__} is an ensemble of {n} orders, whose density is a mean: {why.format(n=n)}"
            )

    def _scores_of(self, data, n_threads, **wanted):
        if data.has_gaps:
            return None, marginal_scores(self, data, n_threads)
        e = self._encode(data)
        scores = self._model.log_density(e, data.offsets, n_threads=n_threads, **wanted)
        jacobian = self._log_jacobian(data)
        if jacobian is not None:
            scores.frames[...] += jacobian.sum(axis=-1)
            if scores.dims is not None:
                scores.dims[...] += jacobian
        return e, scores

    def _frame_scores(self, X, lengths=None):
        """(data, log-density of each frame): the mean over the members of their densities given the past."""
        check_is_fitted(self)
        data = self._check(X, lengths, gaps=True)
        if data.has_gaps:
            self._refuse_ensemble(GAPS)
        return data, self._scores_of_frames(data)

    def _scores_of_frames(self, data):
        n_threads = self._n_threads()
        of_members = [member._scores_of(data, n_threads)[1].frames for member in self.members_]
        if len(of_members) == 1:
            return of_members[0]
        return np.logaddexp.reduce(of_members, axis=0) - np.log(len(of_members))

    def score_samples(self, X, *, lengths=None):
        """Exact log-density of each item of X's first axis, in nats (with missing values: `rnnrnade.missing`).

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        ndarray, float64
            Of shape (N,) for a list or a 3-D array: one for each sequence; of shape (T,) for a 2-D array: one for
            each frame, given its past.
        """
        data, frames = self._frame_scores(X, lengths)
        return data.per_item(frames)

    def score(self, X, y=None, *, lengths=None):
        """Mean log-density per frame, in nats.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        y : ignored
        lengths : array-like of shape (N,), optional

        Returns
        -------
        float
        """
        return float(np.mean(self._frame_scores(X, lengths)[1]))

    def score_frames(self, X, *, lengths=None):
        """Exact log-density of each frame given its past, in nats.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i,), or one of them for one 2-D X
        """
        data, frames = self._frame_scores(X, lengths)
        return data.split(frames)

    def score_dims(self, X, *, lengths=None):
        """Exact log-density of each dimension of each frame, given the dimensions before it and the past, in nats.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, D), or one of them for one 2-D X
            They add up to `score_frames`.
        """
        data, _, scores = self._scores(X, lengths, dims=True)
        return data.split(self._in_order_of_X(scores.dims))

    def predict_params(self, X, *, lengths=None):
        """Parameters of every one-dimensional conditional, in the units of X.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        MixtureParameters
            alpha, mu, sigma, each (T_i, D, K) or a list of such; for binary models BernoulliParameters with p (T_i, D).
            sigma is the scale of the family (`conditional`): of Gaussians the standard deviation.
        """
        data, _, scores = self._scores(X, lengths, parameters=True)
        values = scores.parameters.astype(np.float64)
        if self._binary:
            return BernoulliParameters(data.split(self._in_order_of_X(values[:, :, 0])))
        K = self._model.layout.K
        alpha, mu, sigma = (values[:, :, i * K : (i + 1) * K] for i in range(3))
        if self.transform_ is not None:
            frames = ordered(data.frames, self.order_)
            location, scale = self.transform_.location_and_scale(frames, data.offsets)
            mu, sigma = location[:, :, None] + scale[:, :, None] * mu, scale[:, :, None] * sigma
        return MixtureParameters(*(data.split(self._in_order_of_X(part)) for part in (alpha, mu, sigma)))

    def log_likelihood_and_gradient(self, X, *, lengths=None):
        """Total log-likelihood of X and its exact gradient, the transform held fixed.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        log_likelihood : float
            In nats, in the units of X: the sum of `score_samples` in the order of sequences.
        gradient : dict of ndarrays
            Names and shapes of `parameters_`: views of one vector, the caller's own.
        """
        self._refuse_ensemble()
        data = self._check(X, lengths)
        weight = np.ones(data.n_frames, self._model.dtype)
        gradient, frames = self._model.gradient(self._encode(data), data.offsets, weight, n_threads=self._n_threads())
        jacobian = self._log_jacobian(data)
        if jacobian is not None:
            frames += jacobian.sum(axis=-1)
        total = float(sum(data.per_item(frames).tolist()))
        return total, self._model.layout.views(gradient)

    # ---- samples ------------------------------------------------------------------------------------------------

    def _draw(self, n_samples, n_frames, generator, given=None, leading=None):
        """(n_samples, n_frames, D) in the units of X, after one checked sequence or from the start, the first
        dimensions of the first frame given or not."""
        if "_members" in vars(self):
            if leading is not None:
                self._refuse_ensemble("the dimensions that lead are those of one order. Ask one of members_ for them.")
            return self._draw_mixture(n_samples, n_frames, generator, given, self._n_threads())
        return self._draw_alone(n_samples, n_frames, generator, given, leading, self._n_threads())

    def _draw_alone(self, n_samples, n_frames, generator, given, leading, n_threads):
        D = self._model.layout.D
        state = self._state_after(given, n_samples, n_threads)
        at_once = max(1, DRAWS // (n_samples * D))
        parts = []
        past = None if given is None else given.frames
        if leading is not None:
            in_order = None if past is None else ordered(past, self.order_)
            first, leading, state = self._draw_rest(leading, n_samples, generator, in_order, state)
            parts.append(first[:, None])
        for begin in range(len(parts), n_frames, at_once):
            uniform, noise = self._noise((n_samples, min(at_once, n_frames - begin), D), generator)
            parts.append(self._model.sample(uniform, noise, state=state, n_threads=n_threads))
        x = self._decode(np.concatenate(parts, axis=1), past)
        if leading is not None:  # not what the transform and its inverse round it to
            j = leading.shape[1]
            x[:, 0, slice(j) if self.order_ is None else self.order_[:j]] = leading
        return x

    def _draw_mixture(self, n_samples, n_frames, generator, given, n_threads):
        """For each frame of each sequence a member drawn at random draws the frame, and all members read it."""
        members, D = self._members, self.n_features_in_
        states = [member._state_after(given, n_samples, n_threads) for member in members]
        lags = max(0 if member.transform_ is None else member.transform_.lags for member in members)
        known = 0 if given is None else min(lags, given.n_frames)
        x = np.empty((n_samples, known + n_frames, D))
        if known:
            x[:, :known] = given.frames[-known:]
        for t in range(known, known + n_frames):
            past = x[:, max(0, t - lags) : t]
            drawing = generator.integers(len(members), size=n_samples)
            uniform, noise = members[0]._noise((n_samples, 1, D), generator)
            for k, (member, state) in enumerate(zip(members, states, strict=True)):
                rows = np.flatnonzero(drawing == k)
                if len(rows):
                    own = None if state is None else state[rows]
                    e = member._model.sample(uniform[rows], noise[rows], state=own, n_threads=n_threads)
                    x[rows, t] = member._decode(e, past[rows])[:, 0]
            if self._recurrent and t + 1 < known + n_frames:
                last = x[:, max(0, t - lags) : t + 1]  # the frame, with what a transform needs before it
                states = [m._state_read(last, state, n_threads) for m, state in zip(members, states, strict=True)]
        return x[:, known:]

    def _noise(self, shape, generator):
        """(uniform, noise) for Model.sample."""
        return HEADS[self._head].numbers(generator, shape, self._model.dtype)

    def _decode(self, e, past):
        """Frames (N, T, D) of the model in the units and order of X; past as Linear.inverse has it."""
        x = e.astype(np.float64)
        if self.transform_ is not None:
            x = self.transform_.inverse(x, None if past is None else ordered(past, self.order_))
        if self.order_ is None:
            return x
        out = np.empty_like(x)
        out[:, :, self.order_] = x
        return out

    def _state_after(self, data, n, n_threads):
        """The state after one sequence, or without data the first, n times: (n, Rp); None for static models."""
        if data is None or not self._recurrent:
            return self._model.initial_state(n)
        return np.tile(self._scores_of(data, n_threads, last=True)[1].last, (n, 1))

    def _state_read(self, frames, state, n_threads):
        """The states (N, Rp) after the last of frames (N, q + 1, D), from those before it."""
        N, T, D = frames.shape
        e = self._encode(Sequences(frames.reshape(N * T, D), np.arange(N + 1) * T, "3d"))[T - 1 :: T]
        initial = (state, np.zeros(N, np.uint8))
        scores = self._model.log_density(
            np.ascontiguousarray(e), np.arange(N + 1), initial=initial, last=True, n_threads=n_threads
        )
        return scores.last

    def _sampler(self, random_state, **counts):
        check_is_fitted(self)
        for name, value in counts.items():
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be an int in the range [1, inf). Got {value!r} instead.")
        return as_generator(self.random_state if random_state is None else random_state)

    # ---- parameters and files -----------------------------------------------------------------------------------

    @property
    def parameters_(self):
        """Read-only mapping of the parameters by name, in the shapes of NOTATION.md."""
        check_is_fitted(self)
        if "_members" in vars(self):
            return tuple(member.parameters_ for member in self._members)
        return self._model.parameters

    @classmethod
    def from_parameters(cls, parameters, *, transform=None, **options):
        """A fitted estimator without training.

        Parameters
        ----------
        parameters : mapping of str to array-like
            Names and shapes of `parameters_`; sizes and context come from them.
        transform : Linear, optional
            Fitted; default: none, the model lives in the units of X.
        **options
            Of the constructor.  What is not given takes a FIXED value, whatever the constructor's default: sigmoid
            cell and units, min_scale 0, dtype of the arrays, no order.

        Returns
        -------
        estimator

        Raises
        ------
        ValueError
            For names or shapes that are missing, unknown or contradict each other or the options.
        """
        return _from_parameters(cls, parameters, transform, options)

    def save(self, path):
        """Write the fitted estimator to a file, whole or not at all.

        Parameters
        ----------
        path : str or path-like
        """
        check_is_fitted(self)
        save_estimator(self, path)

    @classmethod
    def load(cls, path):
        """Read an estimator that `save` wrote; runs no code of the file and refuses a changed one.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        estimator

        Raises
        ------
        ModelFileError
            For a file that is damaged, changed, of another version, or no model of this class.
        """
        return load_estimator(path, kind=cls)

    def __sklearn_is_fitted__(self):
        return "_model" in vars(self) or "_members" in vars(self)

    def _options_for_files(self):
        """The options as JSON knows them; of a random_state that is no number, None."""
        options = self.get_params(deep=False)
        transform = options.get("transform")
        options["transform"] = transform.get_params() if isinstance(transform, Linear) else transform
        seed = self.random_state
        options["random_state"] = int(seed) if isinstance(seed, Integral) else None
        if self.order is not None and not isinstance(self.order, str):
            options["order"] = [int(i) for i in self.order]
        if "context" in options:
            options["context"] = list(self.context)
        return options

    def _state(self):
        options = self._options_for_files()
        transform = options.pop("transform")
        state = {"options": options, "n_features_in": self.n_features_in_, "members": []}
        state["feature_names_in"] = [str(name) for name in getattr(self, "feature_names_in_", ())]
        state["transform_option"] = transform
        arrays = {}
        for k, member in enumerate(self.members_):
            state["members"].append(member._member_state())
            arrays[f"{k}.theta"] = member._model.theta
            if member.transform_ is not None:
                arrays |= {f"{k}.transform.{name}": a for name, a in member.transform_.to_arrays().items()}
        return type(self).__name__, state, arrays

    def _member_state(self):
        history = getattr(self, "history_", {})
        return {
            "order": None if self.order_ is None else [int(i) for i in self.order_],
            # Without the time that training took: equal fits give equal files.
            "history": {name: [float(v) for v in history[name]] for name in history if name != "seconds"},
            "best_epoch": getattr(self, "best_epoch_", 0),
            "best_update": getattr(self, "best_update_", 0),
            "transform": None if self.transform_ is None else self.transform_.get_params(),
        }

    @classmethod
    def _from_state(cls, state, arrays):
        options = dict(state["options"])
        if "context" in options:
            options["context"] = tuple(options["context"])
        transform = state["transform_option"]
        if "transform" in cls._parameter_constraints:
            options["transform"] = Linear(**transform) if isinstance(transform, dict) else transform
        self = cls(**options)
        self._validate_params()
        self.n_features_in_ = int(state["n_features_in"])
        self._check_order(self.n_features_in_)
        names = state["feature_names_in"]
        if not isinstance(names, list) or len(names) not in (0, self.n_features_in_) or self.n_features_in_ < 1:
            raise ValueError("the names of the features do not fit their number")
        if names:
            self.feature_names_in_ = np.array(state["feature_names_in"], dtype=object)
        members = []
        for k, of_member in enumerate(state["members"]):
            member = self
            if self.n_orders > 1:
                member = cls(order=of_member["order"])
                self._hand_on(member)
            prefix = f"{k}."
            own = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
            member._put_member_state(of_member, own)
            members.append(member)
        if not members or (members[0] is self and len(members) > 1):
            raise ValueError(f"it holds {len(members)} models, but n_orders is {self.n_orders}")
        self._put_members(members)
        return self

    def _put_member_state(self, state, arrays):
        D, order = self.n_features_in_, state["order"]
        if order is not None and sorted(order) != list(range(D)):
            raise ValueError("the order of dimensions is no permutation")
        self.order_ = None if order is None else np.array(order, np.intp)
        self.transform_ = None
        if state["transform"] is not None:
            fitted = {name.removeprefix("transform."): a for name, a in arrays.items() if name != "theta"}
            self.transform_ = Linear.from_arrays(state["transform"], fitted, D)
        layout, theta = self._layout(D), arrays["theta"]
        if theta.shape != (layout.size,) or theta.dtype != np.dtype(self.dtype):
            raise ValueError("the parameters do not fit the options")
        self._model = Model(layout, np.array(theta))
        self.history_ = {name: [float(value) for value in column] for name, column in state["history"].items()}
        for name in ("epoch", "update"):
            self.history_[name] = [int(value) for value in self.history_.get(name, [])]
        if len({len(column) for column in self.history_.values()}) > 1:
            raise ValueError("the columns of its history have several lengths")
        self.n_iter_ = len(set(self.history_["epoch"]))
        self.best_epoch_, self.best_update_ = int(state["best_epoch"]), int(state["best_update"])


def _from_parameters(cls, parameters, transform, options):
    """Sizes and context from names and shapes; the estimator with these parameters."""
    name_of = cls.__name__
    if not hasattr(parameters, "keys"):
        raise TypeError(f"parameters must be a mapping of names to arrays. Got a {type(parameters).__name__}.")
    arrays = {}
    for name in parameters:
        arrays[name] = np.asarray(parameters[name])
        if arrays[name].dtype.kind not in "fiu":
            raise ValueError(f"parameter {name!r} must hold real numbers. Got dtype {arrays[name].dtype}.")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"parameter {name!r} holds NaN or infinity.")
    if "conditional" in options and "conditional" in cls._parameter_constraints:
        cls(conditional=options["conditional"])._validate_params()
    head = HEADS["bernoulli" if cls._binary else options.get("conditional", "gaussian")]
    sources = {"W": 2, "V" if cls._binary else "V_alpha": 2 if cls._binary else 3}
    if cls._recurrent:
        sources["W_rec"] = 2
    for name, ndim in sources.items():
        if name not in arrays:
            raise ValueError(f"{name_of}.from_parameters needs the parameter {name!r}, which is missing.")
        if arrays[name].ndim != ndim:
            raise ValueError(f"parameter {name!r} must have {ndim} axes. Got shape {arrays[name].shape}.")
    H, D = arrays["W"].shape
    fixed = {"n_hidden": H, "activation": "sigmoid", "order": None}
    if head.mixture:
        fixed |= {"n_components": arrays["V_alpha"].shape[2], "min_scale": 0.0, "transform": None}
    if cls._recurrent:
        context = tuple(q for q, (_, _, name_W) in head.outputs.items() if name_W in arrays)
        context += ("hidden",) if "W_c" in arrays else ()
        fixed |= {"n_recurrent": arrays["W_rec"].shape[1], "cell": "sigmoid", "context": context}
    fixed["dtype"] = "float64" if any(a.dtype == np.float64 for a in arrays.values()) else "float32"
    if cls._binary and "rho" not in arrays:
        arrays["rho"] = np.ones(D)
    for name in ("n_hidden", "n_components", "n_recurrent"):
        if name in fixed and options.get(name, fixed[name]) != fixed[name]:
            raise ValueError(f"{name}={options[name]!r} contradicts the parameters, whose shapes say {fixed[name]}.")
    if "context" in fixed and set(options.get("context", fixed["context"])) != set(fixed["context"]):
        raise ValueError(f"context={options['context']!r} contradicts the parameters, whose names say {context}.")
    unknown = set(options) - set(cls._parameter_constraints)
    if unknown:
        raise TypeError(f"{name_of} has no option {sorted(unknown)[0]!r}.")
    if transform is not None and not head.mixture:
        raise TypeError(f"{name_of} takes no transform.")
    if transform is not None and not isinstance(transform, Linear):
        raise TypeError(f"transform must be a fitted Linear or None. Got a {type(transform).__name__}.")
    if transform is not None:
        if not hasattr(transform, "factors_"):
            raise ValueError("transform must be fitted: give the transform_ of a fitted estimator.")
        if transform.mean_.shape != (D,):
            raise ValueError(f"transform is for {len(transform.mean_)} dimensions, the parameters for {D}.")
        fixed["transform"] = clone(transform)
    if options.get("n_orders", 1) != 1 or isinstance(options.get("order"), str):
        raise ValueError(
            f"{name_of}.from_parameters makes one model: n_orders must be 1, and order a permutation or None."
        )
    self = cls(**(fixed | options))
    self._validate_params()
    layout = self._layout(D)
    if cls._recurrent and arrays["W_rec"].shape != (layout.G * layout.R, layout.R):
        raise ValueError(
            f"parameter 'W_rec' has shape {arrays['W_rec'].shape}, but {layout.R} units of cell={layout.cell!r} ask "
            f"for {(layout.G * layout.R, layout.R)}. Rows: {', '.join(f'{c.gates} R ({n})' for n, c in CELLS.items())}."
        )
    expected = layout.views(np.zeros(layout.size))
    for name, view in expected.items():
        if name not in arrays:
            raise ValueError(f"{name_of}.from_parameters needs the parameter {name!r}, which is missing.")
        if arrays[name].shape != view.shape:
            raise ValueError(
                f"parameter {name!r} has shape {arrays[name].shape}, but W, V and W_rec ask for {view.shape}."
            )
    unknown = sorted(set(arrays) - set(expected))
    if unknown:
        raise ValueError(f"{name_of} has no parameter {unknown[0]!r}; it has {', '.join(expected)}.")
    self.n_features_in_ = D
    self.order_ = self._check_order(D)
    self.transform_ = transform
    self._model = Model(layout, layout.flat(arrays, np.dtype(self.dtype)))
    return self


class SequenceEstimator(DensityEstimator):
    """What RNNRNADE and RNNNADE add: samples of sequences, and forecasts."""

    _recurrent = True

    def sample(self, n_samples=1, n_frames=100, random_state=None, given=None, *, leading=None):
        """Draw sequences from the model, exactly.

        Parameters
        ----------
        n_samples, n_frames : int, default=1, 100
        random_state : None, int, RandomState or Generator, default=None
            None: that of the estimator.
        given : array-like of shape (T, D), optional
            One sequence that the samples continue.
        leading : array-like of shape (j,) or (n_samples, j), optional
            The first j dimensions of the first drawn frame, in the model's order (`order`; by default that of X),
            on which the samples are conditioned, exactly.

        Returns
        -------
        ndarray of shape (n_samples, n_frames, D)

        Raises
        ------
        ValueError
            For leading dimensions of an ensemble of orders: ask one of its `members_`.
        """
        generator = self._sampler(random_state, n_samples=n_samples, n_frames=n_frames)
        data = None
        if given is not None:
            with naming("given"):
                data = self._check(given)
                if data.n_sequences != 1:
                    raise ValueError(f"given must be one sequence, (T, D). Got {data.n_sequences} sequences.")
        return self._draw(n_samples, n_frames, generator, data, leading)

    def forecast(self, X, horizon, n_samples=100, random_state=None, *, lengths=None):
        """Draw what follows each sequence: `sample` with `given`.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        horizon, n_samples : int
        random_state : None, int, RandomState or Generator, default=None
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (n_samples, horizon, D), or one of them for one 2-D X
            Monte Carlo: independent draws from the exact predictive distribution.
        """
        generator = self._sampler(random_state, horizon=horizon, n_samples=n_samples)
        data = self._check(X, lengths)
        each = [data.subset([i]) for i in range(data.n_sequences)]
        drawn = [self._draw(n_samples, horizon, generator, one) for one in each]
        return drawn[0] if data.form == "2d" else drawn

    def stream(self, X=None):
        """A sequence to be read frame by frame, in constant memory.

        Parameters
        ----------
        X : array-like of shape (T, D), optional
            One sequence that has been read already: the next frame is scored given it.

        Returns
        -------
        Stream
            `update(frame)` gives the exact log-density of the next frame, the same bits as `score_frames`.

        Raises
        ------
        ValueError
            For an ensemble of orders: stream its `members_`.
        """
        from .streaming import Stream

        self._refuse_ensemble(
            "a stream reads one model. Stream each of members_: the log-density of a frame is the logsumexp of theirs "
            "minus log {n}."
        )
        return Stream(self, X)


class VectorEstimator(DensityEstimator):
    """What RNADE and NADE add: calls for vectors, without `lengths`."""

    @documented
    def fit(
        self, X, y=None, *, sample_weight=None, validation_data=None, checkpoint=None, every=60.0, resume=False
    ):  # fmt: skip
        """Fit the model to vectors by maximum likelihood.

        Parameters
        ----------
        X : array-like of shape (n, D)
        y : ignored
        sample_weight : array-like of shape (n,), optional
        validation_data : X or (X, None), optional
            Used instead of held-out rows.
        {checkpoints}

        Returns
        -------
        self

        Raises
        ------
        ModelFileError
            For a checkpoint of another fit, which says what differs, or a damaged one; for a file of another kind.
        OSError
            For a checkpoint that cannot be read or written.
        ValueError, TypeError
            For bad options or data; the message names the option, or the row and dimension.
        """
        return self._fit(X, None, sample_weight, validation_data, Checkpoint(checkpoint, every, resume))

    def partial_fit(self, X, y=None, *, sample_weight=None):
        """Go on training for one epoch over X; the first call starts a new model.

        Options set since the last call hold from now on.  The parameters are those after the last update, not their
        moving average, and the learning rate does not fall: when training ends is for the caller to know.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self
        """
        return self._partial_fit(X, None, sample_weight)

    def score_samples(self, X):
        """Exact log-density of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n, D)

        Returns
        -------
        ndarray of shape (n,), float64
        """
        return self._frame_scores(X)[1]

    def score(self, X, y=None):
        """Mean log-density per row, in nats.

        Parameters
        ----------
        X : array-like of shape (n, D)
        y : ignored

        Returns
        -------
        float
        """
        return float(np.mean(self.score_samples(X)))

    def score_frames(self, X):
        """The same as `score_samples`: each row is a frame.

        Parameters
        ----------
        X : array-like of shape (n, D)

        Returns
        -------
        ndarray of shape (n,), float64
        """
        return self.score_samples(X)

    def score_dims(self, X):
        """Exact log-density of each dimension of each row, given the dimensions before it, in nats.

        Parameters
        ----------
        X : array-like of shape (n, D)

        Returns
        -------
        ndarray of shape (n, D), float64
            Adds up to `score_samples`.
        """
        return super().score_dims(X)

    def predict_params(self, X):
        """Parameters of every one-dimensional conditional, in the units of X.

        Parameters
        ----------
        X : array-like of shape (n, D)

        Returns
        -------
        MixtureParameters
            alpha, mu, sigma, each (n, D, K); for binary models BernoulliParameters with p (n, D).
            sigma is the scale of the family (`conditional`): of Gaussians the standard deviation.
        """
        return super().predict_params(X)

    def log_likelihood_and_gradient(self, X):
        """Total log-likelihood of X and its exact gradient, the transform held fixed.

        Parameters
        ----------
        X : array-like of shape (n, D)

        Returns
        -------
        log_likelihood : float
            In nats, in the units of X.
        gradient : dict of ndarrays
            Names and shapes of `parameters_`: views of one vector, the caller's own.
        """
        return super().log_likelihood_and_gradient(X)

    def sample(self, n_samples=1, random_state=None, *, leading=None):
        """Draw vectors from the model, exactly.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : None, int, RandomState or Generator, default=None
            None: that of the estimator.
        leading : array-like of shape (j,) or (n_samples, j), optional
            The first j dimensions of each vector, in the model's order (`order`; by default that of X), on which the
            samples are conditioned, exactly.

        Returns
        -------
        ndarray of shape (n_samples, D)

        Raises
        ------
        ValueError
            For leading dimensions of an ensemble of orders: ask one of its `members_`.
        """
        generator = self._sampler(random_state, n_samples=n_samples)
        return self._draw(n_samples, 1, generator, leading=leading)[:, 0]


# ---- the four estimators -------------------------------------------------------------------------------------------
# Their options are written out because scikit-learn reads them off the signature of __init__.


@documented
class RNADE(VectorEstimator):
    """Real-valued neural autoregressive density estimator: exact densities of vectors.

    The density of each dimension given those before it is a mixture of Gaussians, or of another family (`conditional`),
    whose parameters come from hidden units that are updated from dimension to dimension in O(n_hidden).

    Parameters
    ----------
    {mixture}
    {common}

    Attributes
    ----------
    {attributes}

    References
    ----------
    Uria, Murray and Larochelle, RNADE: The real-valued neural autoregressive density-estimator, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import RNADE
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> model = RNADE(n_components=2, n_hidden=8, max_epochs=5, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.score_dims(X).shape, model.sample(4).shape
    ((200,), (200, 3), (4, 3))
    """

    _parameter_constraints = MIXTURE | COMMON

    def __init__(
        self,
        n_components=10,
        n_hidden=50,
        *,
        activation="sigmoid",
        conditional="gaussian",
        min_scale=1e-3,
        transform="whiten",
        mean_gradient=False,
        order=None,
        n_orders=1,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=32,
        optimizer="adam",
        learning_rate=1e-2,
        schedule=None,
        warmup=0,
        weight_decay=0.1,
        clip_norm=5.0,
        averaging=0.99,
        validation_fraction=0.1,
        validate_every=None,
        patience=20,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.n_hidden = n_hidden
        self.activation = activation
        self.conditional = conditional
        self.min_scale = min_scale
        self.transform = transform
        self.mean_gradient = mean_gradient
        self.order = order
        self.n_orders = n_orders
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class NADE(VectorEstimator):
    """Neural autoregressive distribution estimator: exact probabilities of binary vectors.

    Parameters
    ----------
    {units}
    {common}
    learn_rho : bool, default=False
        Learn the factor rho_d of the hidden units' input, which is 1 otherwise.

    Attributes
    ----------
    {attributes}

    References
    ----------
    Larochelle and Murray, The neural autoregressive distribution estimator, 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import NADE
    >>> X = np.random.default_rng(0).integers(0, 2, size=(200, 3))
    >>> model = NADE(n_hidden=8, max_epochs=5, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.predict_params(X).p.shape
    ((200,), (200, 3))
    """

    _binary = True
    _parameter_constraints = COMMON | {"learn_rho": ["boolean"]}

    def __init__(
        self,
        n_hidden=50,
        *,
        activation="sigmoid",
        order=None,
        n_orders=1,
        learn_rho=False,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=32,
        optimizer="adam",
        learning_rate=1e-2,
        schedule=None,
        warmup=0,
        weight_decay=0.1,
        clip_norm=5.0,
        averaging=0.99,
        validation_fraction=0.1,
        validate_every=None,
        patience=20,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_hidden = n_hidden
        self.activation = activation
        self.order = order
        self.n_orders = n_orders
        self.learn_rho = learn_rho
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class RNNRNADE(SequenceEstimator):
    """RNN-RNADE: exact densities of real-valued sequences.

    A recurrent net reads the past and sets the biases of an RNADE, which gives the density of the next frame one
    dimension at a time.

    Parameters
    ----------
    {mixture}
    {recurrent}
    {common}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> from rnnrnade import RNNRNADE
    >>> from rnnrnade.datasets import make_trajectories
    >>> X = make_trajectories(20, 30, random_state=0)
    >>> model = RNNRNADE(n_components=2, n_hidden=8, n_recurrent=8, max_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.score_dims(X)[0].shape, model.sample(4, 10).shape
    ((20,), (30, 2), (4, 10, 2))
    """

    _parameter_constraints = MIXTURE | RECURRENT | COMMON

    def __init__(
        self,
        n_components=10,
        n_hidden=100,
        *,
        n_recurrent=100,
        cell="sigmoid",
        context=("alpha", "mu", "sigma"),
        window=None,
        input_noise=0.0,
        input_dropout=0.0,
        context_dropout=0.0,
        activation="sigmoid",
        conditional="gaussian",
        min_scale=1e-3,
        transform="var",
        mean_gradient=False,
        order=None,
        n_orders=1,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=16,
        optimizer="adam",
        learning_rate=1e-2,
        schedule=None,
        warmup=0,
        weight_decay=1e-2,
        clip_norm=5.0,
        averaging=0.95,
        validation_fraction=0.1,
        validate_every=None,
        patience=15,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.n_hidden = n_hidden
        self.n_recurrent = n_recurrent
        self.cell = cell
        self.context = context
        self.window = window
        self.input_noise = input_noise
        self.input_dropout = input_dropout
        self.context_dropout = context_dropout
        self.activation = activation
        self.conditional = conditional
        self.min_scale = min_scale
        self.transform = transform
        self.mean_gradient = mean_gradient
        self.order = order
        self.n_orders = n_orders
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


@documented
class RNNNADE(SequenceEstimator):
    """RNN-NADE: exact probabilities of binary sequences.

    Parameters
    ----------
    {units}
    {recurrent}
    {common}
    learn_rho : bool, default=False
        Learn the factor rho_d of the hidden units' input, which is 1 otherwise.

    Attributes
    ----------
    {attributes}

    References
    ----------
    Boulanger-Lewandowski, Bengio and Vincent, High-dimensional sequence transduction, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade import RNNNADE
    >>> X = list(np.random.default_rng(0).integers(0, 2, size=(20, 30, 3)))
    >>> model = RNNNADE(n_hidden=8, n_recurrent=8, max_epochs=2, random_state=0).fit(X)
    >>> model.score_samples(X).shape, model.sample(4, 10).shape
    ((20,), (4, 10, 3))
    """

    _binary = True
    _parameter_constraints = RECURRENT | COMMON | {"learn_rho": ["boolean"]}

    def __init__(
        self,
        n_hidden=50,
        *,
        n_recurrent=100,
        cell="sigmoid",
        context=("bias", "hidden"),
        window=None,
        input_noise=0.0,
        input_dropout=0.0,
        context_dropout=0.0,
        activation="sigmoid",
        order=None,
        n_orders=1,
        learn_rho=False,
        dtype="float32",
        max_epochs=500,
        max_updates=None,
        batch_size=16,
        optimizer="adam",
        learning_rate=1e-2,
        schedule=None,
        warmup=0,
        weight_decay=1e-2,
        clip_norm=5.0,
        averaging=0.99,
        validation_fraction=0.1,
        validate_every=None,
        patience=15,
        n_restarts=1,
        missing=None,
        warm_start=False,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_hidden = n_hidden
        self.n_recurrent = n_recurrent
        self.cell = cell
        self.context = context
        self.window = window
        self.input_noise = input_noise
        self.input_dropout = input_dropout
        self.context_dropout = context_dropout
        self.activation = activation
        self.order = order
        self.n_orders = n_orders
        self.learn_rho = learn_rho
        self.dtype = dtype
        self.max_epochs = max_epochs
        self.max_updates = max_updates
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.validate_every = validate_every
        self.patience = patience
        self.n_restarts = n_restarts
        self.missing = missing
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose


ESTIMATORS = {cls.__name__: cls for cls in (RNADE, NADE, RNNRNADE, RNNNADE)}
