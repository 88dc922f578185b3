"""Estimators whose density is exact, and every conditional of it: scores, parameters, gradients, draws."""

import functools
import inspect
import re

import numpy as np
from sklearn.base import clone

from .base import Estimator
from .calls import fitting, reading
from .checkpoints import Checkpoint
from .checks import mean_of, names_of_features, naming
from .columns import check_fixed, check_inputs, is_table
from .conditionals import Conditionals
from .conditioners import CONDITIONERS
from .density import Density
from .front import Front
from .heads import HEADS
from .masks import model_of
from .missing import GAPS, MissingValues
from .model import Scores
from .networks import layout_of
from .options import COMPONENTS, documented
from .parameters import as_arrays, flat_parameters, implied_options
from .particles import marginal_scores
from .sequences import check_absence_of_lengths
from .streaming import Stream
from .transforms import Chain, Linear


class ExactDensity(Conditionals, MissingValues, Estimator):
    """An estimator whose density, and every conditional of it, is exact."""

    def _layout(self, D):
        """The network's sizes and choices for data of D columns."""
        given = len(self._given(D))
        return layout_of(self, D - given, given=given)

    @classmethod
    def from_parameters(cls, parameters, *, transform=None, **options):
        """Make a fitted estimator from parameters, without training.

        Parameters
        ----------
        parameters : mapping of str to array-like
            Names and shapes of `parameters_`; sizes and context come from them.
        transform : Linear, optional
            A fitted transform.  Default: none, so that the model is one of X itself.
        **options
            Options of the constructor.  Those not given take a FIXED value, whatever their default there: sigmoid
            cell and units, min_scale 0, dtype of the arrays, no order.

        Returns
        -------
        estimator

        Raises
        ------
        ValueError
            For names or shapes that are missing, unknown, or contradict each other or the options.
        """
        owner = cls.__name__
        arrays = as_arrays(parameters)
        unknown = set(options) - set(cls._parameter_constraints)
        if unknown:
            raise TypeError(f"{owner} has no option {sorted(unknown)[0]!r}.")
        cls(**options)._validate_params()
        own, preset = cls._parameter_constraints, cls._preset
        fixed = {"activation": "sigmoid", "order": None, "cell": "sigmoid", "min_scale": 0.0, "transform": None}
        mixture = "conditional" in own or "conditional" in preset
        if cls._conditioner == "made":  # of either kind
            mixture = "V" not in arrays
        fixed["conditional"] = "gaussian" if mixture else "bernoulli"
        head = HEADS[options.get("conditional", fixed["conditional"])]
        if "learn_rho" in cls._parameter_constraints and "rho" not in arrays and "W" in arrays:
            arrays["rho"] = np.ones(arrays["W"].shape[-1:])
        components = preset.get("components", "dimension")
        if "components" in own and arrays.get("b_alpha", np.empty((1, 1))).ndim == 1:
            components = "frame"
        frame = CONDITIONERS[COMPONENTS.get(components, cls._conditioner)]
        n_given = sum(kind == "given" for kind in (options.get("columns") or {}).values())
        implied = implied_options(head, frame, arrays, recurrent=cls._recurrent, owner=owner, given=n_given)
        implied |= {"components": components} if "components" in own else {}
        for name in ("n_hidden", "n_components", "n_recurrent", "n_layers", "components", "direct"):
            value = options.get(name, preset.get(name))
            if name == "n_hidden" and value is not None:
                value = frame.as_size(value)
            if name in implied and value not in (None, implied[name]):
                raise ValueError(f"{name}={value!r} contradicts the parameters, whose shapes say {implied[name]!r}.")
        implied = {name: value for name, value in implied.items() if name not in preset}
        context = implied.get("context", ())
        given = options.get("context", context)
        if any(name not in context for name in given) or any(name not in given for name in context):
            raise ValueError(f"context={options['context']!r} contradicts the parameters, whose names say {context}.")
        D = n_given + frame.n_features(arrays)
        fixed = {name: value for name, value in fixed.items() if name in cls._parameter_constraints} | implied
        for_given = head.binary and isinstance(transform, Linear) and transform.covariance == "none"
        if transform is not None:
            if "transform" not in fixed and not for_given:
                raise TypeError(f"{owner} takes no transform.")
            if not isinstance(transform, Linear | Chain):
                raise TypeError(
                    f"transform must be a fitted Linear or Chain, or None. Got a {type(transform).__name__}."
                )
            first = transform.links[0] if isinstance(transform, Chain) else transform
            if not hasattr(first, "factors_"):
                raise ValueError("transform must be fitted: give the transform_ of a fitted estimator.")
            if first.mean_.shape != (D,):
                raise ValueError(f"transform is for {len(first.mean_)} dimensions, the parameters for {D}.")
            if first.given != n_given:
                raise ValueError(f"transform has {first.given} given columns, columns= says {n_given}.")
            if not for_given:
                fixed["transform"] = clone(transform)
        if options.get("n_orders", 1) != 1 or isinstance(options.get("order"), str):
            raise ValueError(
                f"{owner}.from_parameters makes one model: n_orders must be 1, and order a permutation or None."
            )
        self = cls(**(fixed | options))
        self._validate_params()
        layout = self._layout(D)
        self.n_features_in_ = D
        theta = flat_parameters(layout, arrays, self.dtype, owner)
        self._put(Density(Front(self._order(D), transform, self.dtype, n_given), model_of(layout, theta)))
        return self

    # ---- scores -------------------------------------------------------------------------------------------------

    def _scores(self, data, *, dims=False):
        """Scores of checked data; with missing values what `rnnrnade.missing` says."""
        n_threads = self._n_threads()
        if data.has_gaps:
            return marginal_scores(self._one_density(GAPS), data, self._generator(None), n_threads)
        if dims:
            return self._one_density().scores(data, dims=True, n_threads=n_threads)
        return Scores(self._density.frames(data, n_threads))

    def _scored(self, X, lengths=None, y=None):
        data = self._check(X, lengths, gaps=True)
        check_absence_of_lengths(y, data, type(self).__name__)
        return data, self._scores(data).frames

    @reading
    def _judged(self, X, *, strict=False):
        """(data, log-density of each frame, whether it has gaps), as a detector of outliers wants them: a frame with an
        absurd number has -inf, and is no reason to refuse the others, unless `strict`."""
        data = self._check(X, gaps=True)
        absurd = np.zeros(data.n_frames, bool)
        for density in () if strict else self._density.members:
            data, found = density.tamed(data)
            absurd |= found
        frames = self._scores(data).frames
        frames[absurd] = -np.inf
        return data, frames, np.isnan(data.frames).any(axis=1)

    @reading
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
        data, frames = self._scored(X, lengths)
        return data.split(frames)

    @reading
    def score_dims(self, X, *, lengths=None):
        """Exact log-density of each dimension of each frame, given the dimensions before it and the past, in nats.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, D), or one of them for one 2-D X or vectors
            They add up to `score_frames`.
        """
        self._one_density()
        data = self._check(X, lengths, gaps=True)
        return data.split(self._scores(data, dims=True).dims)

    @reading
    def predict_params(self, X, *, lengths=None):
        """Parameters of every one-dimensional conditional, in the units of X.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        MixtureParameters
            alpha, mu, sigma, each (T_i, D, K) or a list of such; for Student components StudentParameters, with nu too;
            for binary models BernoulliParameters with p (T_i, D).
            sigma is the scale of the family (`conditional`): for Gaussians, the standard deviation.
        """
        density = self._one_density()
        data = self._check(X, lengths)
        found = density.parameters(data, self._n_threads())
        deep = ("component", range(density.model.K))
        return type(found)(*(data.split(values, deep=deep) for values in found))

    @reading
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
        density = self._one_density()
        data = self._check(X, lengths)
        gradient, frames = density.gradient(data, self._n_threads())
        total = float(sum(data.per_item(frames).tolist()))
        return total, density.model.layout.views(gradient)

    # ---- draws --------------------------------------------------------------------------------------------------

    def _draw(self, n_samples, n_frames, generator, given=None, leading=None, fixed=None, inputs=None):
        """(n_samples, n_frames, D), after one checked sequence or from the start."""
        D, how = self.n_features_in_, {"given": given, "n_threads": self._n_threads()}
        known = self._fitted_given(D)
        if len(known) or inputs is not None or fixed is not None:
            checked = names_of_features(self, D), n_samples, n_frames if self._recurrent else None
            how["inputs"] = check_inputs(inputs, known, *checked)
        if leading is None and fixed is None:
            return self._density.draw(n_samples, n_frames, generator, **how)
        if leading is not None and fixed is not None:
            raise ValueError("leading and fixed both hold columns of the first frame: pass fixed alone.")
        density = self._one_density("the dimensions that lead are those of one order. Ask one of members_ for them.")
        if fixed is not None:
            how["fixed"] = check_fixed(fixed, density.front.scored(D), *checked, binary=self._head.binary)
        return density.draw(n_samples, n_frames, generator, leading=leading, **how)


class Futures:
    """What estimators of sequences, whose `_draw` continues one, do with what comes next."""

    _recurrent = True

    @reading
    def forecast(self, X, horizon, n_samples=100, random_state=None, *, fixed=None, inputs=None, lengths=None):
        """Draw what follows each sequence: `sample` with `given`.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        horizon, n_samples : int
        random_state : None, int, RandomState or Generator, default=None
        fixed : mapping of column to number, (horizon,) or (n_samples, horizon), optional
            Columns that are held at these values in every frame that is drawn, exactly: those that lead in the order of
            conditioning (`order`).
        inputs : array-like of shape (horizon, n_given), DataFrame, or a list of such, optional
            The given columns (`columns`) of the frames to come, in the order of X, or of a DataFrame by name; for
            several sequences a list of one for each, or one for all.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (n_samples, horizon, D), or one of them for one 2-D X
            Monte Carlo: independent draws from the predictive distribution; of a latent-variable model, from states of
            particles behind the sequence.
        """
        generator, horizon, n_samples = self._draws(random_state, horizon=horizon, n_samples=n_samples)
        data = self._check(X, lengths)
        several = isinstance(inputs, list) and any(hasattr(one, "shape") or is_table(one) for one in inputs)
        inputs = inputs if several else [inputs] * data.n_sequences
        if len(inputs) != data.n_sequences:
            raise ValueError(
                f"inputs must be one table, or a list of {data.n_sequences}, one for each sequence of X. Got "
                f"{len(inputs)}."
            )
        each = ((i, data.subset([i]), of_i) for i, of_i in enumerate(inputs))
        return data.each(
            [
                data.future(i, self._draw(n_samples, horizon, generator, x, fixed=fixed, inputs=of_i))
                for i, x, of_i in each
            ]
        )

    def _one_sequence(self, given):
        with naming("given"):
            data = self._check(given)
            if data.n_sequences != 1:
                raise ValueError(f"given must be one sequence, (T, D). Got {data.n_sequences} sequences.")
        return data


class SequenceEstimator(Futures, ExactDensity):
    """Calls of estimators of sequences."""

    @reading
    def sample(
        self, n_samples=1, n_frames=100, random_state=None, given=None, *, leading=None, fixed=None, inputs=None
    ):
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
        fixed : mapping of column to number, (n_frames,) or (n_samples, n_frames), optional
            Columns that are held at these values in every frame that is drawn, exactly: those that lead in that order.
        inputs : array-like of shape (n_frames, n_given) or (n_samples, n_frames, n_given), or DataFrame, optional
            The given columns (`columns`) of the frames to be drawn, in the order of X, or of a DataFrame by name.

        Returns
        -------
        ndarray of shape (n_samples, n_frames, D)

        Raises
        ------
        ValueError
            For leading dimensions of an ensemble of orders: ask one of its `members_`.
        """
        generator, n_samples, n_frames = self._draws(random_state, n_samples=n_samples, n_frames=n_frames)
        data = None if given is None else self._one_sequence(given)
        draws = self._draw(n_samples, n_frames, generator, data, leading, fixed, inputs)
        return self._named(draws) if data is None else data.future(0, draws)

    @reading
    def stream(self, X=None):
        """Read a sequence frame by frame, in constant memory.

        Parameters
        ----------
        X : array-like of shape (T, D), optional
            A sequence that counts as already read: the next frame is scored given it.

        Returns
        -------
        Stream
            `update(frame)` returns the exact log-density of the next frame, the same bits as `score_frames`.

        Raises
        ------
        ValueError
            For an ensemble of orders: stream its `members_`.
        """
        density = self._one_density(
            "a stream reads one model. Stream each of members_: the log-density of a frame is the logsumexp of theirs "
            "minus log {n}."
        )
        after = None if X is None else self._one_sequence(X)
        names = getattr(self, "feature_names_in_", None)
        state, past = density.state_after(after, 1)[0], None if after is None else after.frames
        return Stream(density, state, past, owner=type(self).__name__, names=names)


def _without_lengths(call):
    """A call of sequences as one of vectors: `lengths`, and what is said of sequences, goes."""
    signature = inspect.signature(call)
    kept = [parameter for name, parameter in signature.parameters.items() if name != "lengths"]

    @functools.wraps(call)
    def of_vectors(self, *args, **kwargs):
        if "lengths" in kwargs:
            raise TypeError(f"{type(self).__name__} takes vectors, one in each row: leave lengths out.")
        return call(self, *args, **kwargs)

    of_vectors.__signature__ = signature.replace(parameters=kept)
    if call.__doc__:  # python -OO has none
        for pattern, replacement in OF_VECTORS:
            of_vectors.__doc__ = re.sub(pattern, replacement, of_vectors.__doc__)
    return of_vectors


# What the documentation of a call of sequences says, and that of the same call of vectors.
OF_VECTORS = (
    (r"\n *lengths : array-like of shape \(N,\), optional", ""),
    (r"([XZ]) : list of \(T_i, D\) arrays, or another form", r"\1 : array-like of shape (n, D)"),
    (r"list of (ndarray)s( of shape .*)[,;] or one of them.*", r"\1\2"),
    (r", each \(T_i, D, K\) or a list of such", ", each (n, D, K)"),
    (r"T_i", "n"),
)


def for_vectors(cls):
    """Take `lengths` out of every public call that a class of estimators of vectors inherits."""
    for name in dir(cls):
        call = getattr(cls, name)
        inherited = not name.startswith("_") and name not in vars(cls) and inspect.isfunction(call)
        if inherited and "lengths" in inspect.signature(call).parameters:
            setattr(cls, name, _without_lengths(call))
    return cls


class FitVectors:
    """`fit` and `partial_fit` of estimators of vectors."""

    @fitting
    @documented
    def fit(
        self, X, y=None, *, sample_weight=None, validation_data=None, checkpoint=None, every=60.0, resume=False
    ):  # fmt: skip
        """Fit the model to vectors by maximum likelihood.

        Parameters
        ----------
        X : array-like of shape (n, D)
        y : ignored
            None, or one label for each row.
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
            For a checkpoint of another fit (the message says what differs), a damaged one, or a file of another kind.
        OSError
            For a checkpoint that cannot be read or written.
        ValueError, TypeError
            For bad options or data; the message names the option, or the row and dimension.
        """
        self._fit(X, y, None, sample_weight, validation_data, Checkpoint(checkpoint, every, resume))

    @fitting
    def partial_fit(self, X, y=None, *, sample_weight=None):
        """Continue training for one epoch over X; the first call starts a new model.

        Options changed since the last call take effect, except those of the network, which stays as it is.  The
        parameters are those after the last update, not their moving average, and the learning rate does not fall,
        because only the caller knows when training ends.  The first call fits the transform for good, so give it many
        rows.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As in `fit`, and for a changed option of the network (a size, `activation`, `dtype`, ...).
        """
        self._partial_fit(X, y, None, sample_weight)


@for_vectors
class VectorEstimator(FitVectors, ExactDensity):
    """Calls of estimators of vectors, each of which is a sequence of one frame."""

    @reading
    def score_samples(self, X):
        """Exact log-density of each row, in nats.

        Parameters
        ----------
        X : array-like of shape (n, D)

        Returns
        -------
        ndarray of shape (n,), float64
        """
        data, frames = self._scored(X)
        return data.per_item(frames)

    @reading
    def score(self, X, y=None):
        """Mean log-density per row, in nats.

        Parameters
        ----------
        X : array-like of shape (n, D)
        y : ignored
            None, or one label for each row.

        Returns
        -------
        float
        """
        return mean_of(self._scored(X, y=y)[1])

    @reading
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

    @reading
    def sample(self, n_samples=1, random_state=None, *, leading=None, fixed=None, inputs=None):
        """Draw vectors from the model, exactly.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : None, int, RandomState or Generator, default=None
            None: that of the estimator.
        leading : array-like of shape (j,) or (n_samples, j), optional
            The first j dimensions of each vector, in the model's order (`order`; by default that of X), on which the
            samples are conditioned, exactly.
        fixed : mapping of column to number or (n_samples,), optional
            The same by name or number of the column.
        inputs : array-like of shape (n_given,) or (n_samples, n_given), or DataFrame, optional
            The given columns (`columns`) of the vectors to be drawn, in the order of X, or of a DataFrame by name.

        Returns
        -------
        ndarray of shape (n_samples, D)

        Raises
        ------
        ValueError
            For leading dimensions of an ensemble of orders: ask one of its `members_`.
        """
        generator, n_samples = self._draws(random_state, n_samples=n_samples)
        return self._named(self._draw(n_samples, 1, generator, leading=leading, fixed=fixed, inputs=inputs)[:, 0])
