"""What all estimators share: options, `fit`, scores, draws, files.

An `Estimator` holds one density of X, or the mean of several (density.py), and trains it.  What a density with exact
conditionals can say is in exact.py; which options there are, and their defaults, in estimators.py.
"""

import copy
import os
import time
import warnings
from dataclasses import replace
from itertools import product
from numbers import Integral
from types import MappingProxyType

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted

from . import _core, transforms
from .auto import Auto, Candidate, choose
from .calls import fitting, reading
from .checkpoints import CHECKPOINT, Checkpoint, digest
from .checks import as_generator, check_counts, mean_of, names_of_features, plain
from .columns import check_columns, given_columns
from .density import Density, Ensemble, Record
from .front import Front
from .heads import HEADS
from .io import ModelFileError, holds, read_file, write_file
from .labels import as_table, draws_as_table, frame_index
from .layout import LATER
from .options import COMPONENTS, OPTIONS, as_transform, documented, transform_from_json, transform_to_json
from .sequences import check_absence_of_lengths, check_frame_weights, check_sequences, check_validation, check_vectors
from .starts import Start, best_of
from .training import Trainer, Training, bounds, weight_decays
from .transforms import Linear

FEW = 10  # rows for each dimension, below which a transform should not be fitted for good
FEW_HELD_OUT = 50  # frames: by fewer no transform is chosen
HELD_OUT_WHOLE = 10  # sequences or rows from which on some are held out; of fewer sequences the ends are
ONE_ORDER = (
    "the conditionals of single dimensions, their parameters and the gradient are those of one order. Ask one of "
    "members_ for them."
)

ESTIMATORS = {}  # the classes that a file may hold, by name; see Estimator.__init_subclass__


def load_estimator(path, kind=None):
    """Read an estimator from a file that its `save` wrote.

    Parameters
    ----------
    path : str or path-like
    kind : class, default=None
        Refuse an estimator that is not of this class.

    Returns
    -------
    estimator
        Fitted, with the same bits in every array.

    Raises
    ------
    ModelFileError
        For a file that is not a model, is damaged or changed in any byte, or is of another version or kind.
    FileNotFoundError, PermissionError
        As `open` raises them.
    """
    name, state, arrays, version = read_file(path)
    file_name, written = repr(os.fsdecode(path)), f"written by rnnrnade {version}"
    if name == CHECKPOINT:
        raise ModelFileError(
            f"{file_name} is a checkpoint of a fit, not a model: continue with "
            f"fit(..., checkpoint={file_name}, resume=True)."
        )
    if name not in ESTIMATORS:
        raise ModelFileError(
            f"{file_name} holds a {name} ({written}), but this version knows only {', '.join(sorted(ESTIMATORS))}: "
            "load it with that version of rnnrnade."
        )
    if kind is not None and not issubclass(ESTIMATORS[name], kind):
        raise ModelFileError(f"{file_name} holds a {name}, not a {kind.__name__}: load it with {name}.load().")
    try:
        return ESTIMATORS[name]._from_file(state, arrays)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise ModelFileError(
            f"{file_name} holds a {name} ({written}) that this version cannot rebuild: {error}. "
            "Load it with that version of rnnrnade."
        ) from error


def _of_one_order(name, value):
    """A fitted attribute of the one density; an ensemble has none (AttributeError)."""

    def get(self):
        check_is_fitted(self)
        density = self._density
        if isinstance(density, Ensemble):
            raise AttributeError(
                f"this {type(self).__name__} is an ensemble of {len(density.members)} orders and has no {name}: each "
                "of members_ has its own."
            )
        return value(density)

    return property(get)


class Estimator(DensityMixin, BaseEstimator):
    """Options, fit, scores, draws and files of an estimator of sequences or vectors.

    A subclass says what its network looks like (`_layout`) and which forms of X it takes (`_check`).
    """

    _recurrent = False  # whether it reads sequences
    _kind = Density  # of what it fits
    _conditioner = "nade"  # of its network, a name in CONDITIONERS, where the option `components` does not choose it
    _preset = MappingProxyType({})  # options of other estimators, which this one has for good

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "_parameter_constraints" in vars(cls):
            ESTIMATORS[cls.__name__] = cls

    # ---- options ------------------------------------------------------------------------------------------------

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = False
        tags.non_deterministic = False
        return tags

    def _option(self, name, default=None):
        """An option as computing takes it: a number of any type is Python's own."""
        return plain(vars(self).get(name, self._preset.get(name, default)))

    # scikit-learn treats anything with an attribute `transform` as a transformer: that option is read by get_params.
    @property
    def transform(self):
        raise AttributeError(
            f"{type(self).__name__} is not a transformer: get_params()['transform'] is the option, transform_ what was "
            "fitted."
        )

    @transform.setter
    def transform(self, value):
        vars(self)["transform"] = value

    def get_params(self, deep=True):
        """The options by name; with deep those of a link in `transform` too, as transform__lags and so on."""
        params = {name: vars(self)[name] for name in self._get_param_names()}
        transform = params.get("transform")
        if deep and isinstance(transform, BaseEstimator):
            params |= {f"transform__{name}": value for name, value in transform.get_params().items()}
        return params

    def _bad_option(self, name, what, value):
        return InvalidParameterError(
            f"The {name!r} parameter of {type(self).__name__} must be {what}. Got {value!r:.60} instead."
        )

    def _validate_params(self):
        options = {name: plain(value) for name, value in self.get_params(deep=False).items()}
        validate_parameter_constraints(self._parameter_constraints, options, caller_name=type(self).__name__)
        check_columns(self._option("columns"), "binary" if self._head.binary else "real")

    @property
    def _head(self):
        return HEADS[self._option("conditional", "bernoulli")]

    @property
    def _frame(self):
        """The name of the conditioner."""
        return COMPONENTS.get(self._option("components"), self._conditioner)

    @property
    def _transform(self):
        """The transform that the options ask for: of zeros and ones none, but for what is given with them."""
        if self._head.binary:
            return Linear(covariance="none") if self._option("columns") else None
        return as_transform(self._option("transform"))

    def _given(self, D):
        """The numbers of the columns of D that the options call given."""
        return given_columns(self._option("columns"), getattr(self, "feature_names_in_", None), D)

    def _fitted_given(self, D):
        """The same of what was fitted, whatever options were set since."""
        return self._density.members[0].front.given_in(D)

    def _order(self, D):
        """The option `order` as indices, the given columns first; None where there is neither, or where `fit` draws
        it."""
        if self.order is None or isinstance(self.order, str):
            return self._given_first(np.arange(D)) if self._option("columns") else None
        try:
            order = np.asarray(self.order)
            fits = order.shape == (D,) and np.array_equal(np.sort(order), np.arange(D))
        except (TypeError, ValueError):  # ragged, or of things that have no order
            fits = False
        if not fits:
            what = f"a permutation of 0 ... {D - 1}, one number for each of the {D} features, 'random' or None"
            raise self._bad_option("order", what, self.order)
        return self._given_first(order.astype(np.intp))

    def _given_first(self, order):
        """An order of the columns of X with the given ones in front."""
        given = self._given(len(order))
        return np.concatenate([given, order[~np.isin(order, given)]])

    def _front(self, order, transform, D):
        """A front, not yet fitted, with a transform whose columns are those of X."""
        given = len(self._given(D))
        if transform is not None:
            transform = transforms.placed(transform, np.arange(D) if order is None else np.argsort(order), given)
        return Front(order, transform, self.dtype, given).unfitted()

    def _n_threads(self):
        n_jobs = self._option("n_jobs")
        if n_jobs == 0:
            raise self._bad_option("n_jobs", "None, a positive int, or a negative one (-1: all cores)", 0)
        return _core.effective_threads(n_jobs)

    def _training(self):
        """The options of training."""
        named = {name: self._option(name) for name in Training.__dataclass_fields__ if name in vars(self)}
        fixed = () if self._option("learn_rho", True) else ("rho",)
        return Training(**named, fixed=fixed)

    # ---- data ---------------------------------------------------------------------------------------------------

    def _check(self, X, lengths=None, *, reset=None, gaps=False):
        """Checked data; with `gaps` NaN may stand for missing values, where the option `missing` says so.  reset: of a
        fit, whether X sets its columns."""
        values = self._values(self._fitted_given if reset is None else self._given)
        kind = {"reset": bool(reset), "gaps": gaps and self.missing is not None} | values
        data = check_sequences(self, X, lengths, **kind) if self._recurrent else check_vectors(self, X, **kind)
        if not self._gives_tables():
            return data
        return replace(data, labels=replace(data.labels, features=names_of_features(self, data.n_features)))

    def _values(self, given):
        """What numbers X may hold, for the border."""
        return {"binary": self._head.binary, "given": given}

    def set_output(self, *, transform=None):
        """Choose whether results for frames, sequences and draws are arrays or DataFrames.

        DataFrames keep the index of X, or, without one, number the frames: `score_frames`, `score_dims`, `cdf` and the
        like.  Scores of sequences are labelled by their keys.  Draws have the index (draw, time); for `forecast`
        it continues that of X if that moves in equal steps, and otherwise counts the frames.  Clones and pickles keep
        the choice, files do not.

        Parameters
        ----------
        transform : {"default", "pandas"} or None, default=None
            "default": arrays.  None: no change.  The name of the argument is scikit-learn's.

        Returns
        -------
        self

        Raises
        ------
        ImportError
            Without pandas.
        ValueError
            For another name.
        """
        if not (transform is None or (isinstance(transform, str) and transform in ("default", "pandas"))):
            raise ValueError(f"set_output takes transform='default' or 'pandas'. Got {transform!r:.60} instead.")
        if transform == "pandas":
            try:
                import pandas  # noqa: F401
            except ImportError as error:
                raise ImportError('DataFrames need pandas: pip install "rnnrnade[data]"') from error
        if transform is not None:
            self._sklearn_output_config = {"transform": transform}  # the name that clones of scikit-learn copy
        return self

    def _gives_tables(self):
        return getattr(self, "_sklearn_output_config", {}).get("transform") == "pandas"

    # ---- fit ----------------------------------------------------------------------------------------------------

    def _prepare(self, X, y, lengths, sample_weight, reset):
        """Options that fit together and checked data: (threads, data, its weights, layout)."""
        n_threads = self._n_threads()
        data = self._check(X, lengths, reset=reset)
        check_absence_of_lengths(y, data, type(self).__name__)
        layout = self._layout(data.n_features)
        weight_decays(layout, self.weight_decay)  # raises
        self._order(data.n_features)  # raises
        weight = check_frame_weights(sample_weight, data)
        return n_threads, data, np.ones(data.n_frames) if weight is None else weight, layout

    def _bounded(self, data, weight):
        """The data without numbers that would rule the fit of the transform, the first of which a warning names."""
        if self._transform is None:
            return data
        low, high = bounds(data.frames[weight > 0])
        beyond = (data.frames < low) | (data.frames > high)
        if not beyond.any():
            return data
        frames = np.clip(data.frames, low, high)
        row, d = np.argwhere(beyond)[0].tolist()
        more = f", and {n} more numbers are like it" if (n := np.count_nonzero(beyond) - 1) else ""
        warnings.warn(
            f"{data.whereabouts(row, d, getattr(self, 'feature_names_in_', None))}, is so far from all others of its "
            f"column that it would decide the fit by itself: {data.frames[row, d]:g} counts as {frames[row, d]:g} "
            f"there{more}. If the value is an error, correct it or leave it out.",
            stacklevel=5,
        )
        return replace(data, frames=np.ascontiguousarray(frames))

    def _draw_order(self, k, D, generator):
        """The order of member k of an ensemble; all but the first have a random one."""
        if k > 0 or isinstance(self.order, str):
            return self._given_first(generator.permutation(D))
        return self._order(D)

    def _transforms(self, data, weight, split):
        """The transforms, not yet fitted, that may be worth a net: those that "auto" finds, or that of the options."""
        transform = self._transform
        if not isinstance(transform, Auto):
            return [Candidate(np.nan, transform, "given")]
        train, train_weight, held, held_weight = split
        if held is data:  # its ends
            frames, offsets, marks = data.frames, data.offsets, held_weight > 0
        elif held is not None:
            frames = np.concatenate([train.frames, held.frames])
            offsets = np.concatenate([train.offsets, train.offsets[-1] + held.offsets[1:]])
            weight, marks = np.concatenate([train_weight, held_weight]), np.arange(len(frames)) >= len(train.frames)
        else:
            frames, offsets, marks = train.frames, train.offsets, None
        if marks is not None and np.count_nonzero(marks) < FEW_HELD_OUT:
            marks = None  # too few to choose by: folds
        given, D = self._given(frames.shape[1]), frames.shape[1]
        if len(given):
            order = self._given_first(np.arange(D))
            frames, transform = frames[:, order], transforms.placed(transform, np.argsort(order), len(given))
        chosen = choose(frames, offsets, weight, marks, self._recurrent, transform, len(given))
        if len(given):
            chosen = [one._replace(transform=transforms.placed(one.transform, order)) for one in chosen]  # of X
        return chosen[: 1 if held is None else None]

    def _chooses(self):
        """Whether the transform is chosen."""
        return isinstance(self._transform, Auto)

    def _starts(self, candidates, order, split, layout, generator, n_threads, names):
        """The nets to train, behind fitted transforms; of those in one role the one that starts best."""
        best = {}
        for candidate in candidates:
            front = self._front(order, candidate.transform, split[0].n_features)
            start = Start.behind(
                front,
                candidate,
                split,
                layout,
                generator,
                names,
                n_threads,
                heavy_tails=self._chooses(),
                kind=self._kind,
            )
            before = best.setdefault(candidate.role, start)
            if before is not start and start.score(n_threads) > before.score(n_threads):
                best[candidate.role] = start
        return list(best.values())

    def _put(self, density, trainers=None):
        """Keep what was fitted, a Density or an Ensemble, and the trainers with which `partial_fit` goes on."""
        self._density, self._trainers = density, trainers

    def _in_orders(self, densities):
        """The density of several orders, or of the one that the options ask for."""
        return densities[0] if self._option("n_orders") == 1 else Ensemble(densities)

    @fitting
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
            an object array of sequences; a 2-D array with `lengths`; a DataFrame whose index has levels, the last of
            which is the time, or with a column "sequence" (several sequences).
        y : ignored
            None, or one label for each item of X.  Anything else is a TypeError, because in hmmlearn this is the place
            of the lengths.
        lengths : array-like of shape (N,), optional
            Frames in each sequence, for a 2-D X that holds several end to end.  Not for cross-validation.
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
            For a checkpoint of another fit (the message says what differs), a damaged one, or a file of another kind.
        OSError
            For a checkpoint that cannot be read or written.
        ValueError, TypeError
            For bad options or data; the message names the option, or the sequence and position.
        """
        self._fit(X, y, lengths, sample_weight, validation_data, Checkpoint(checkpoint, every, resume))

    def _fit(self, X, y, lengths, sample_weight, validation_data, checkpoint):
        self._validate_params()
        vars(self).pop("_file_columns", None)
        before = self._density.members if self.warm_start and self.__sklearn_is_fitted__() else ()
        if checkpoint.about is not None and checkpoint.about.get("first parameters") is None:
            before = ()  # the interrupted fit was the first
        n_threads, data, weight, layout = self._prepare(X, y, lengths, sample_weight, reset=not before)
        check = check_sequences if self._recurrent else check_vectors
        held_out = check_validation(self, validation_data, check=check, **self._values(self._given))
        generator = as_generator(self.random_state)
        if len(before) != self._option("n_orders") or any(density.model.layout != layout for density in before):
            before = ()
        if checkpoint.path is not None:
            checkpoint.begin(self._about_fit(data, weight, held_out, before, generator), generator)
        data = self._bounded(data, weight)
        split = self._split(data, weight, held_out, generator)
        densities, options = [], self._training()
        if split[2] is None and self._option("validation_fraction") and self._chooses():
            options = replace(options, max_updates=0)  # too few frames to judge by
        candidates = [] if before else self._transforms(data, weight, split)
        names = getattr(self, "feature_names_in_", None)
        try:
            for k in range(self._option("n_orders")):
                # Members, transforms and restarts go on in one stream of random numbers: the first is as if alone.
                if before:
                    starts = [Start.of(before[k], split, names)]
                else:
                    order = self._draw_order(k, data.n_features, generator)
                    starts = self._starts(candidates, order, split, layout, generator, n_threads, names)
                runs = self._race(starts, options, generator, n_threads, checkpoint, 1 if before else None)
                trainer, start = best_of(runs)
                candidates = [start.candidate]  # for all members that of the first
                density, interrupted = start.density.changed(model=trainer.model), runs[-1][0].interrupted
                if not before and self._option("refit") and split[2] is data:
                    density, interrupted = self._refitted(trainer, start, data, weight, interrupted, checkpoint)
                densities.append(density.changed(record=Record.of(trainer)))
                if interrupted:
                    break
        finally:
            checkpoint.flush()
        self._put(self._in_orders(densities))
        self._comment()

    def _comment(self):
        """Warn of what a fit came to."""

    def _race(self, starts, options, generator, n_threads, checkpoint, n_restarts=None):
        """Train a net of each start, each restart; pairs (trainer, start) up to the first that is interrupted."""
        runs = []
        for start, restart in product(starts, range(n_restarts or self._option("n_restarts"))):
            trainer = Trainer(start.model(restart, generator), start.training(options), generator, n_threads)
            checkpoint.restore(trainer)
            if runs:
                trainer.floor = runs[0][0].floor  # all are judged alike
                trainer.rival = max((run.best for run, _ in runs), key=lambda best: best.score)
            trainer.fit(start.train, start.held, checkpoint.keep)
            runs.append((trainer, start))
            if trainer.interrupted:
                break
        return runs

    def _refitted(self, trainer, start, data, weight, interrupted, checkpoint):
        """(the density of a trainer's best with the transform, or the net too, fitted to all data; interrupted)"""
        front = start.density.front.unfitted()
        left_out = front.fit_left_out(data, weight)
        density = start.density.changed(front, trainer.model)
        if self._option("refit") != "all" or not trainer.best.update or interrupted:
            return density, interrupted
        names = getattr(self, "feature_names_in_", None)
        again, of_all = start.again(trainer, density, data, weight, names, left_out)
        checkpoint.restore(again)
        again.fit(of_all, None, checkpoint.keep)
        return density.changed(model=again.model) if again.repeated else density, again.interrupted

    def _about_fit(self, data, weight, held_out, before, generator):
        """What decides how a fit goes on, by name: options, digests of data, the first parameters if not random."""
        about = {"class": type(self).__name__} | self._options_for_files()
        for name in ("n_jobs", "verbose", "warm_start"):
            about.pop(name)
        about["generator"] = generator.bit_generator.state["bit_generator"]
        about["X"] = digest(data.frames, data.offsets)
        about["sample_weight"] = digest(weight)
        about["validation_data"] = None if held_out is None else digest(held_out.frames, held_out.offsets)
        first = [a for density in before for a in (density.model.theta, density.front.order) if a is not None]
        about["first parameters"] = digest(*first) if before else None
        return about

    def _split(self, data, weight, held_out, generator):
        """The data to train on, their weights, the held-out data, theirs; None, None where none is held out."""
        if held_out is not None:
            return data, weight, held_out, np.ones(held_out.n_frames)
        fraction = self._option("validation_fraction")
        if not fraction:
            return data, weight, None, None
        if data.n_sequences >= HELD_OUT_WHOLE:
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
            origin = (data, lambda: np.flatnonzero(is_train))
            train = type(data)(np.ascontiguousarray(data.frames[is_train]), offsets, "list", origin=origin)
            if weight[is_train].sum() > 0 and weight[~is_train].sum() > 0:
                return train, weight[is_train], data, np.where(is_train, 0.0, weight)
        what = "frames" if self._recurrent else "rows"
        if self._chooses():
            then, way_out = "the network stays as it starts, behind the transform", "to train for max_epochs"
        else:
            then, way_out = "training runs for max_epochs without validation", "to silence this"
        warnings.warn(
            f"{data.n_frames} {what} are too few to hold some out: {then}. Pass validation_data, or "
            f"validation_fraction=0 {way_out}.",
            ConvergenceWarning,
            stacklevel=5,
        )
        return data, weight, None, None

    @fitting
    def partial_fit(self, X, y=None, *, lengths=None, sample_weight=None):
        """Continue training for one epoch over X; the first call starts a new model.

        Options changed since the last call take effect, except those of the network, which stays as it is.  The
        parameters are those after the last update, not their moving average, and the learning rate does not fall,
        because only the caller knows when training ends.  The first call fits the transform for good, so give it many
        rows.

        Parameters
        ----------
        X, y, lengths, sample_weight
            As in `fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            As in `fit`, and for a changed option of the network (a size, `cell`, `dtype`, ...).
        """
        self._partial_fit(X, y, lengths, sample_weight)

    def _partial_fit(self, X, y, lengths, sample_weight):
        self._validate_params()
        first = not self.__sklearn_is_fitted__()
        n_threads, data, weight, layout = self._prepare(X, y, lengths, sample_weight, reset=first)
        options = self._training()
        if first:
            self._warn_of_few(data)
            generator = as_generator(self.random_state)
            densities, trainers = [], []
            for k in range(self._option("n_orders")):
                order = self._draw_order(k, data.n_features, generator)
                transform = self._transform
                transform = Linear() if isinstance(transform, Auto) else transform  # what is to come is not known
                front = self._front(order, transform, data.n_features).fit(data, weight)
                densities.append(self._kind.untrained(front, layout, generator))
                trainers.append(self._new_trainer(densities[k], options, n_threads))
            self._put(self._in_orders(densities), trainers)
        members = list(self._density.members)
        self._refuse_another_network(members, layout)
        trainers = self._trainers or [None] * len(members)
        if not all(density.model.theta.flags.writeable for density in members):
            # Of a file that is mapped into memory (joblib.load(mmap_mode="r")), as the moments of the optimizer are.
            members, trainers = copy.deepcopy((members, trainers))
        for k, density in enumerate(members):
            trainer = trainers[k]
            if trainer is None or trainer.model is not density.model:
                trainer = self._new_trainer(density, options, n_threads)
            trainer.follow(options, n_threads)
            made = self._one_epoch(trainer, density.training_data(data, weight))
            trainers[k] = trainer if made else None  # its moments may not be finite
            if made or first:
                members[k] = density.changed(model=trainer.model, record=Record.of(trainer))
        self._put(Ensemble(members) if isinstance(self._density, Ensemble) else members[0], trainers)

    def _new_trainer(self, density, options, n_threads):
        """A trainer of `partial_fit`, which cannot know when training ends: it does not average."""
        return Trainer(density.model, options, as_generator(self.random_state), n_threads, averages=False)

    def _warn_of_few(self, data):
        """Of a transform that the first call of `partial_fit` fits to few rows."""
        wanted = FEW * data.n_features
        if self._transform is not None and data.n_frames < wanted:
            what = "frames" if self._recurrent else "rows"
            warnings.warn(
                f"the first call of partial_fit fits the transform to its {data.n_frames} {what}, and later calls "
                f"leave it as it is: {data.n_features} features ask for {wanted} or more. Gather them for the first "
                "call, or pass transform=None.",
                stacklevel=5,
            )

    def _refuse_another_network(self, members, layout):
        """ValueError for options that ask for another network than the one that was fitted."""
        given = [names.tolist() for names in (self._fitted_given(layout.X), self._given(layout.X))]
        if given[0] != given[1]:
            raise ValueError(
                f"partial_fit continues with the network that was fitted, but the given columns were {given[0]}, are "
                f"{given[1]}. Set `columns` back, or start again with fit."
            )
        now = self._network_options(layout, self.dtype, self._option("n_orders"))
        for density in members:
            model = density.model
            was = self._network_options(model.layout, model.dtype.name, len(members))
            differ = [f"{name} was {was[name]!r}, is {now[name]!r}" for name in was if was[name] != now[name]]
            if differ:
                raise ValueError(
                    f"partial_fit continues with the network that was fitted, but {'; '.join(differ)}. Set it back, or "
                    "start again with fit."
                )

    @staticmethod
    def _network_options(layout, dtype, n_orders):
        """The options that make a network, by name."""
        of_layout = {OPTIONS.get(name, name): value for name, value in (LATER | layout.choices).items()}
        return of_layout | {"dtype": dtype, "n_orders": n_orders}

    @staticmethod
    def _one_epoch(trainer, data):
        """One epoch of `partial_fit`; whether it was made."""
        began = time.perf_counter()
        try:
            for _ in trainer.epoch(data):
                pass
            if not np.isfinite(trainer.model.theta).all():
                raise FloatingPointError
        except FloatingPointError:
            trainer.model = trainer.model.with_theta(trainer.epoch_start[0])
            warnings.warn(
                "the loss was not finite: the parameters stay as they were. A smaller learning_rate helps.",
                ConvergenceWarning,
                stacklevel=5,
            )
            return False
        seconds = sum(trainer.history["seconds"][-1:])
        trainer.record(data, np.nan, seconds + time.perf_counter() - began)
        return True

    # ---- what was fitted ----------------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self):
        return "_density" in vars(self)

    @property
    def members_(self):
        """The fitted models of the ensemble, estimators with one order each; a single model is its own member."""
        check_is_fitted(self)
        density = self._density
        if not isinstance(density, Ensemble):
            return [self]
        return [self._member(one) for one in density.members]

    def _member(self, density):
        """A density of an ensemble as an estimator."""
        order = density.front.order
        options = self.get_params(deep=False) | {"n_orders": 1, "order": None if order is None else order.tolist()}
        member = type(self)(**options)
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                setattr(member, name, getattr(self, name))
        member._put(density)
        return member

    parameters_ = _of_one_order("parameters_", lambda density: density.model.parameters)
    transform_ = _of_one_order("transform_", lambda density: density.front.transform)
    order_ = _of_one_order("order_", lambda density: density.front.order)
    history_ = _of_one_order("history_", lambda density: density.record.history)
    n_iter_ = _of_one_order("n_iter_", lambda density: density.record.n_epochs)
    best_epoch_ = _of_one_order("best_epoch_", lambda density: density.record.best_epoch)
    best_update_ = _of_one_order("best_update_", lambda density: density.record.best_update)

    def _one_density(self, why=ONE_ORDER):
        """The density, where it is one; of an ensemble ValueError, which says why."""
        density = self._density
        if isinstance(density, Ensemble):
            n = len(density.members)
            raise ValueError(
                f"this {type(self).__name__} is an ensemble of {n} orders, whose density is a mean: {why.format(n=n)}"
            )
        return density

    # ---- scores and draws ---------------------------------------------------------------------------------------

    def _scored(self, X, lengths=None, y=None):
        """(data, log-density of each frame)."""
        data = self._check(X, lengths)
        check_absence_of_lengths(y, data, type(self).__name__)
        return data, self._density.frames(data, self._n_threads())

    @reading
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
            each frame, given its past.  For one DataFrame of several sequences, a Series labelled with their keys.
        """
        data, frames = self._scored(X, lengths)
        return data.per_item(frames)

    @reading
    def score(self, X, y=None, *, lengths=None):
        """Mean log-density per frame, in nats.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        y : ignored
            None, or one label for each item of X.  Anything else is a TypeError, because in hmmlearn this is the place
            of the lengths.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        float
        """
        return mean_of(self._scored(X, lengths, y)[1])

    def _generator(self, random_state):
        """The generator of draws."""
        return as_generator(self.random_state if random_state is None else random_state)

    def _draws(self, random_state, **counts):
        """(the generator of draws, counts, which must be positive ints)."""
        return self._generator(random_state), *check_counts(**counts)

    def _named(self, draws):
        """Draws that follow nothing, (n_samples, n_frames, D) or (n_samples, D), as a table where that is wanted."""
        if not self._gives_tables():
            return draws
        index, features = frame_index(None, draws.shape[-2]), names_of_features(self, draws.shape[-1])
        return as_table(draws, index, features, None) if draws.ndim == 2 else draws_as_table(draws, index, features)

    # ---- files --------------------------------------------------------------------------------------------------

    @reading
    def save(self, path):
        """Write the fitted estimator to a file, whole or not at all.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        TypeError
            For an option that cannot be written.
        OSError
            If the file cannot be written.
        ModelFileError
            If the path holds a checkpoint, from which a fit may continue.
        """
        if holds(path, CHECKPOINT):
            raise ModelFileError(f"{os.fsdecode(path)!r} holds a checkpoint of a fit: give the model another path.")
        write_file(path, *self._to_file())

    @classmethod
    def load(cls, path):
        """Read an estimator that `save` wrote; runs no code from the file, and refuses a changed one.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        estimator

        Raises
        ------
        ModelFileError
            For a file that is damaged, changed, of another version, or not a model of this class.
        """
        return load_estimator(path, kind=cls)

    def _options_for_files(self):
        """The options as JSON knows them; of a random_state that is no number, None."""
        options = {name: plain(value) for name, value in self.get_params(deep=False).items()}
        transform = options.get("transform")
        options["transform"] = transform_to_json(transform)
        seed = self.random_state
        options["random_state"] = int(seed) if isinstance(seed, Integral) else None
        if self.order is not None and not isinstance(self.order, str):
            options["order"] = [int(i) for i in self.order]
        if options.get("columns") is not None:
            options["columns"] = [[plain(column), kind] for column, kind in self.columns.items()]
        if options.get("context") is not None:
            options["context"] = list(self.context)
        if not isinstance(options.get("n_hidden", 0), Integral):
            options["n_hidden"] = [int(n) for n in self.n_hidden]
        return options

    def _to_file(self):
        """(class, what JSON knows, arrays)."""
        options = self._options_for_files()
        transform = options.pop("transform")
        state = {"options": options, "n_features_in": self.n_features_in_, "members": []}
        state["ensemble"] = isinstance(self._density, Ensemble)
        state["feature_names_in"] = [str(name) for name in getattr(self, "feature_names_in_", ())]
        state["transform_option"] = transform
        if columns := getattr(self, "_file_columns", None):  # else the file is as it was before there were any
            state["file_columns"] = columns
        arrays = {}
        for k, density in enumerate(self._density.members):
            of_member, own = density.to_file()
            state["members"].append(of_member)
            arrays |= {f"{k}.{name}": array for name, array in own.items()}
        return type(self).__name__, state, arrays

    @classmethod
    def _from_file(cls, state, arrays):
        options = dict(state["options"])
        for name in ("context", "n_hidden"):
            if isinstance(options.get(name), list):
                options[name] = tuple(options[name])
        if options.get("columns") is not None:
            options["columns"] = dict(map(tuple, options["columns"]))
        transform = state["transform_option"]
        if "transform" in cls._parameter_constraints:
            options["transform"] = transform_from_json(transform)
        self = cls(**options)
        self._validate_params()
        D = self.n_features_in_ = int(state["n_features_in"])
        if not isinstance(options.get("transform"), str | None):
            options["transform"]._check_options(D)
        names = state["feature_names_in"]
        if not isinstance(names, list) or len(names) not in (0, D) or D < 1:
            raise ValueError("the names of the features do not fit their number")
        if names:
            self.feature_names_in_ = np.array(names, dtype=object)
        self._order(D)
        if columns := state.get("file_columns"):
            if set(columns) - {"key", "time"} or not all(isinstance(column, str) for column in columns.values()):
                raise ValueError("the columns of its training data have no names")
            self._file_columns = dict(columns)
        densities = []
        for k, of_member in enumerate(state["members"]):
            own = {name.removeprefix(f"{k}."): a for name, a in arrays.items() if name.startswith(f"{k}.")}
            if "layout" not in of_member:  # files of before: that of the options
                of_member = of_member | {"layout": self._layout(D).choices}
            densities.append(cls._kind.from_file(of_member, own, D))
            layout = densities[k].model.layout
            kind = bool(layout.R), layout.conditioner, densities[k].head.binary
            if kind != (cls._recurrent, self._frame, self._head.binary):
                raise ValueError(f"its network is none of {cls.__name__}")
        ensemble = state.get("ensemble", self._option("n_orders") > 1)
        if not densities or (len(densities) > 1 and not ensemble):
            raise ValueError(f"it holds {len(densities)} models, but {'is' if ensemble else 'is no'} ensemble")
        self._put(Ensemble(densities) if ensemble else densities[0])
        return self
