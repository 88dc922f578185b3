"""The fit loop: batches, validation, early stopping, history, progress.

Design
------
An epoch goes once over all frames: whole sequences, or windows of long ones, in random order, `batch_size` of them to
an update.  A window that does not begin its sequence starts in the state that the parameters at the start of the epoch
give it after all frames before (the state is carried in; no gradient flows through it), so training sees what scoring
sees.

Validation comes after an epoch or 20 updates, whichever is later, or every `validate_every` updates; each makes a row
of the history.  Early stopping: training ends when the score has not risen for `patience` validations.  (After each
epoch, which of one recording is one to four updates, training ended within dozens of updates and spent a fourth of its
time in validation.  Now that is 3 %, and test log-density rose by 2 nats a frame on a bicycle ride and by 3 on
irradiance.  Going back to the best parameters with a smaller learning rate, up to three times, was tried: with the
average below it gained nothing on either set that the defaults were chosen on, and cost as many epochs again.)

A net is given up earlier where its score has fallen in each of the last validations, four or `FALLING` times the
patience, whichever is more, and is then more than `BEHIND` standard errors below the best so far, in a race of nets
that of all before it.  A net that is so far behind after early stopping has no second phase.  On eight recordings, two
seeds each, every best was kept, and of 17,000 updates 12,200 were left, of the six smaller sets half.  (After three
falls a bicycle ride would be given up, which starts with a dip.  Windows of 50 frames, or 8 of these in an update, took
0.5 to 1 of the time, but on that ride held-out scores fell by 0.03 to 1 nats.)

The net as it starts is validated too, as update 0, and it is kept unless the best of what was trained gains more than
one standard error on it (`gain`): a net that learned nothing from few frames is no better than the transform alone.

With `anneal` a second phase begins at the best parameters, with a new optimiser and 0.3 of the learning rate, which
falls to 0 over half as many updates as led to them.  What it begins with stays a candidate.  It gained nothing on most
sets of real data; but where columns with an atom (irradiance, 0 at night) are set apart it raised the held-out score by
3 nats a frame, so there it is the default, after smaller updates (`Start.training`).

What a fit takes is the updates of a race and of its refit, a few hundred each.  To save some of them, these were tried
on a ride and on irradiance, three or four seeds each, by held-out scores, and left out.  To give up a net after 200
updates that is two standard errors behind those before it dropped the best of the race in three and four of four seeds;
if only where a second gain as large as that of the later half of its updates leaves it behind, in one and three: nets
that win begin slowly.  A refit that goes on from the best for a quarter of the updates had less than half of what one
from the first parameters gained on the next tenth of the recording: 0.1 to 0.2 of 0.6 nats on the ride, 0.5 of 1.3 at
best on irradiance.  A rate that falls to 0 over 400 or 700 updates lost 0.9 and 0.3 nats on the ride, 0.8 and 0.3 on
irradiance; five components instead of ten, 0.2 and 0.9.  On the ride, updates of a quarter of the frames lost 0.3 to
0.6: as 4 windows, at the learning rate, at half of it, with a rate that falls, with other bounds of the gradient; as 16
windows of 25 frames they lost 0.3, and 32 of these 0.1, in the time of 16 of 100.

The score is the mean log-density of the held-out frames, each of them at least the floor (`lowest`), which the net as
it starts decides: without it one bad value ends training at once (a wind of 1048 mph scored -769 nats, and what the
net made of it outweighed all else).  A number that would rule even the fit of a transform (`bounds`) counts as the
largest of the others.  A mean of the best 99 % would leave out what heavy tails are judged by.

What is validated and kept is an exponential moving average of the parameters over about 1 / (1 - averaging) updates
(Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992).  Sequences are few, and so are the
updates of an epoch: there an average over a hundred updates lags behind a model that begins to overfit.

A checkpoint (checkpoints.py) holds the state of a `Trainer` at a validation, which may be inside an epoch: then it has
the parameters and the generator at the start of the epoch too, from which the epoch's batches are made again.

Noise and dropout are drawn from the generator of the fit, one array for a batch, so that they are the same for any
number of threads.  The states carried into windows have read the frames as they are.
"""

import math
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from numbers import Real
from typing import NamedTuple, Protocol

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from tqdm.auto import tqdm

from . import optim
from .checks import plain

ANNEALED = 0.3  # of the learning rate: what annealing begins with
SECOND = 0.5  # of the updates that led to the best: how many annealing takes
MOST = 20  # standard errors of the held-out mean that one frame may move it by
RULES = 30.0  # times the sum of squares of all others: a number beyond rules the fit of a transform
FEWEST = 20  # frames of which one may be such
LONG = 200  # frames: window=None cuts sequences longer than this ...
WINDOW = 100  # ... into windows of this
PAST = 2000  # frames before the held-out end of a sequence, 20 windows, that validation reads; a window if it is longer
FALLING, FALLS = 0.4, 4  # times the patience, or this: validations, each below the last, after which it is given up ...
BEHIND = 2.0  # ... if it is so many standard errors below the best
WARM_EPOCHS, WARM_UPDATES = 20, 1000  # at most, with kl_warmup=None: until the divergence weighs in full
AT_LEAST = 20  # updates from one validation to the next with validate_every=None
COLUMNS = ("epoch", "update", "loss", "validation_score", "gradient_norm", "learning_rate", "seconds")


class Trainable(Protocol):
    """What a `Trainer` needs of a model, and all that it needs."""

    theta: np.ndarray  # (size,)
    layout: object  # names and shapes of theta: views(theta), flat(mapping, dtype), size

    def gradient(self, frames, offsets, weight, *, initial, out, n_threads, **noise):
        """(gradient of sum_i weight_i log p_i, which goes to `out`; log p of each frame; for each of `columns` a number
        of each frame)."""

    def log_density(self, frames, offsets, *, n_threads):
        """Has an attribute `frames`: log p of each frame."""

    def states(self, frames, offsets, rows, *, n_threads):
        """What conditions frames `rows` where a window begins there; None where nothing does."""

    columns: tuple  # of the history, beside those of all

    def noise(self, frames, options, generator, update):
        """Arguments of `gradient` that are drawn for a batch after `update` updates."""

    def judging(self, options):
        """Arguments of `log_density` in validation."""

    def with_theta(self, theta):
        """The same model with other parameters."""


@dataclass(frozen=True)
class Training:
    """Options of a fit, under the names that estimators have for them, and the parameters that stay as they are."""

    max_epochs: int
    max_updates: int | None
    batch_size: int
    optimizer: str
    learning_rate: float
    schedule: str | None
    warmup: int
    weight_decay: float | dict
    clip_norm: float | None
    validate_every: int | None
    patience: int
    verbose: int
    averaging: float | None = None
    anneal: bool | str = False
    mean_gradient: bool = False
    window: int | None = None
    input_noise: float = 0.0
    input_dropout: float = 0.0
    context_dropout: float = 0.0
    kl_start: float = 1.0
    kl_warmup: int | None = 0
    free_nats: float = 0.0
    n_importance: int = 1
    fixed: tuple = ()  # names of parameters

    def window_of(self, longest):
        """Frames of a training window, where the longest sequence has `longest`."""
        if self.window is not None:
            return min(self.window, longest)
        return WINDOW if longest > LONG else longest


@dataclass
class Data:
    """Packed frames in the unit of the transform's output, of the model's type, with what scores need.

    `counted` (M,) weighs each frame in the score, 0 for frames that are only context; `jacobian`, (M,) or one number,
    is the log-Jacobian that brings a log-density into the units of X; `place(row, d)` says in words where in X the
    number is that the model has as dimension d of a frame."""

    frames: np.ndarray
    offsets: np.ndarray
    counted: np.ndarray
    jacobian: np.ndarray | float = 0.0
    place: Callable | None = None
    past: int = PAST  # frames before the first counted one of a sequence that scores read

    def __post_init__(self):
        self.jacobian = np.broadcast_to(self.jacobian, self.counted.shape)

    @property
    def total(self):
        return float(self.counted.sum())

    @cached_property
    def constant(self):
        """Sum of weight * log-Jacobian."""
        return float((self.counted * self.jacobian).sum())

    @cached_property
    def rows(self):
        """The counted frames, (m,)."""
        return np.flatnonzero(self.counted)

    @cached_property
    def weight(self):
        """Of the counted frames, (m,)."""
        return self.counted[self.rows]

    @cached_property
    def read(self):
        """What scores read, in one piece: frames, offsets, and which of the frames are counted, (m,)."""
        sequence, first = np.unique(np.searchsorted(self.offsets, self.rows, side="right") - 1, return_index=True)
        starts = np.maximum(self.offsets[sequence], self.rows[first] - self.past)
        rows, offsets = gathered(starts, self.offsets[sequence + 1] - starts)
        return self.frames[rows], offsets, np.searchsorted(rows, self.rows)

    def reads(self, past):
        """Let scores read so many frames of the past."""
        if past != self.past:
            self.past = past
            vars(self).pop("read", None)  # what was cached

    @cached_property
    def groups(self):
        """To which group each counted frame belongs, (m,): a block of about sqrt(m) consecutive ones of a sequence (a
        row of vectors), so that what depends on each other is mostly in one."""
        sequence = np.searchsorted(self.offsets, self.rows, side="right") - 1
        _, first, counts = np.unique(sequence, return_index=True, return_counts=True)
        blocks = np.maximum(1, np.round(counts / int(np.sqrt(len(self.rows))))).astype(np.int64)  # of each sequence
        position = np.arange(len(self.rows)) - np.repeat(first, counts)
        within = position * np.repeat(blocks, counts) // np.repeat(counts, counts)
        return np.repeat(np.cumsum(blocks) - blocks, counts) + within

    def scores(self, model, n_threads, **judging):
        """Log-density of each counted frame, nats, in the units of X: (m,)"""
        frames, offsets, counted = self.read
        found = model.log_density(frames, offsets, n_threads=n_threads, **judging).frames
        return found[counted] + self.jacobian[self.rows]

    def warn_below(self, floor, scores, model, n_threads):
        """Name the first counted frame whose log-density, of `scores` (m,), is below the floor, if there is one."""
        low = self.rows[scores < floor]
        if not len(low) or self.place is None:
            return
        row, (frames, offsets, counted) = low[0], self.read
        dims = model.log_density(frames, offsets, dims=True, n_threads=n_threads).dims[counted[self.rows == row][0]]
        # What is absurd in one dimension makes those after it absurd, which are regressed on it: the first is to blame.
        under = dims < floor - self.jacobian[row]
        others = f" (and {len(low) - 1} more frames)" if len(low) > 1 else ""
        warnings.warn(
            f"{self.place(int(row), int(under.argmax() if under.any() else dims.argmin()))}, is held out and so "
            f"improbable that this frame{others} would by itself decide when training stops and what is kept: its "
            "weight in validation is bounded. If the value is an error, correct it or leave it out.",
            stacklevel=7,
        )


def lowest(scores, n_dims):
    """The log-density below which a held-out frame counts as much as there, from those that the untrained net gives the
    held-out frames, (m,): with it one frame moves their mean by `MOST` of its standard errors at most.

    The spread of the log-densities is 1.48 times their median deviation from their median, as of normal numbers, and at
    least sqrt(D), which is more than that of a normal density in D dimensions, sqrt(D / 2).  On ten sets of real data
    behind each transform the lowest held-out frame is within 6 of these errors: there the score is the plain mean."""
    with np.errstate(invalid="ignore"):  # of infinite ones: the score is no number then, which is seen
        median = np.median(scores)
        spread = 1.48 * np.median(np.abs(scores - median))
        return float(median - MOST * np.sqrt(len(scores)) * max(spread, np.sqrt(n_dims)))


def bounds(frames):
    """(low, high), each (D,): what the numbers of a column beyond them count as in a fit, which they would rule.

    They are a hundredth of the column at most, and the least of them is so far from the median that its square is more
    than `RULES` times the sum of those of all that are nearer: a column of a thousand normal numbers has such where one
    is beyond 170 standard deviations.  -inf and inf for a column without, and for one half of which is one
    number, such as the marks of a rare event."""
    n, D = frames.shape
    low, high, most = np.full(D, -np.inf), np.full(D, np.inf), max(n >= FEWEST, n // 100)
    if not most:
        return low, high
    for d in range(D):
        x = np.asarray(frames[:, d], np.float64)
        size = np.abs(x).max()
        if not 0 < size < np.inf:
            continue
        squares = (x / size - (x / size).mean()) ** 2
        if squares.max() * most < 0.8 * squares.sum():  # far from it, which is seen without sorting
            continue
        distance = np.abs(x / size - np.median(x / size))
        ordered = np.sort(distance)
        sums = np.cumsum(ordered**2)
        rule = ordered[-most:] ** 2 > RULES * sums[-most - 1 : -1]
        if rule.any() and ordered[n // 2] > 0:
            kept = x[distance <= ordered[n - most + rule.argmax() - 1]]
            low[d], high[d] = kept.min(), kept.max()
    return low, high


def gain(new, old, groups, weight=None):
    """What frames gain in log-density from `old` to `new`: (weighted mean, its standard error).

    The error is that of a ratio of two sums over groups, which are taken to be independent: with the differences d_i,
    weights w_i and the mean m, of each group r = sum_i w_i (d_i - m), and error^2 = G / (G - 1) sum r^2 / (sum w)^2.
    It is infinite where there is one group: one says nothing about the next.

    Parameters
    ----------
    new, old : ndarray of shape (m,)
        Log-densities of the same frames.
    groups : ndarray of shape (m,), ints from 0 on
        Such as `Data.groups`.
    weight : ndarray of shape (m,), optional

    Returns
    -------
    mean, error : float

    Examples
    --------
    >>> import numpy as np
    >>> from rnnrnade.training import gain
    >>> gain(np.array([1.0, 2.0, 4.0, 5.0]), np.zeros(4), np.array([0, 0, 1, 1]))
    (3.0, 1.5)
    """
    weight = np.ones(len(new)) if weight is None else weight
    total, size = np.bincount(groups, weight * (new - old)), np.bincount(groups, weight)
    total, size = total[size > 0], size[size > 0]
    mean, G = total.sum() / size.sum(), len(size)
    error = np.sqrt(G / (G - 1) * ((total - mean * size) ** 2).sum()) / size.sum() if G > 1 else np.inf
    return float(mean), float(error)


def windows(offsets, window, generator):
    """Cut every sequence of more than `window` frames into consecutive windows.

    The first piece of such a sequence has a random number of frames, from 1 to `window`, and the others have
    `window` but for the last, so that the cuts move from epoch to epoch.  Sequences of at most `window` frames
    stay whole and draw no random number.  Every frame is in exactly one window.

    Parameters
    ----------
    offsets : ndarray of shape (N + 1,), int64
    window : int or None
        None: all sequences stay whole.
    generator : numpy.random.Generator

    Returns
    -------
    starts, lengths, sequence : three ndarrays of int64, in order, one entry a window
        Its first row in the packed frames, its number of frames, and the index of its sequence.
    """
    lengths = np.diff(offsets)
    first = lengths.copy()  # frames of the first piece of each sequence
    if window is not None:
        cut = lengths > window
        first[cut] = generator.integers(1, window, size=np.count_nonzero(cut), endpoint=True)
    step = lengths.max(initial=1) if window is None else window
    pieces = 1 - (first - lengths) // step  # 1 + ceil((lengths - first) / step)
    sequence = np.repeat(np.arange(len(lengths), dtype=np.int64), pieces)
    piece = np.arange(len(sequence)) - (np.cumsum(pieces) - pieces)[sequence]
    stops = np.minimum(first[sequence] + step * piece, lengths[sequence])
    starts = np.where(piece == 0, 0, first[sequence] + step * (piece - 1))
    return offsets[sequence] + starts, stops - starts, sequence


def gathered(starts, lengths):
    """Consecutive frames of several places end to end: (their rows, offsets)."""
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths), offsets


def batches(data, options, generator, model, n_threads):
    """The mini-batches of an epoch: (frames, offsets, weights, initial) in random order."""
    longest = int(np.diff(data.offsets).max())
    window = options.window_of(longest)
    starts, lengths, sequence = windows(data.offsets, window, generator)
    states = model.states(data.frames, data.offsets, starts, n_threads=n_threads) if longest > window else None
    fresh = (starts == data.offsets[sequence]).astype(np.uint8)
    shuffled = generator.permutation(len(starts))
    for chosen in np.array_split(shuffled, -(-len(shuffled) // options.batch_size)):
        rows, offsets = gathered(starts[chosen], lengths[chosen])
        initial = None if states is None else (states[chosen], fresh[chosen])
        yield data.frames[rows], offsets, data.counted[rows], initial


def weight_decays(layout, weight_decay):
    """The strength of the decay by name, where there is one: one number for all weight matrices, or a mapping."""
    names = list(layout.views(np.broadcast_to(np.float32(0), layout.size)))
    if not isinstance(weight_decay, dict):
        weight_decay = {name: weight_decay for name in names if name[0].isupper()}
    for name, value in weight_decay.items():
        if name not in names:
            raise ValueError(f"there is no parameter {name!r} for weight_decay; there are {', '.join(names)}.")
        if not isinstance(value, Real) or not 0 <= plain(value) <= float(np.finfo(np.float32).max):
            raise ValueError(f"weight_decay of {name!r} must be a number in the range [0, 3.4e38]. Got {value!r:.60}.")
    return {name: float(value) for name, value in weight_decay.items() if value > 0}


def _check_counts(counts):
    """Of a file: ints that a float can hold."""
    for name, count in counts.items():
        if type(count) is not int or not 0 <= count < 2**53:
            raise ValueError(f"{name!r} is no count")


@dataclass
class Seen:
    """What training saw since the last row of the history."""

    total: float = 0.0  # of weight * log-density
    weight: float = 0.0
    norms: list = field(default_factory=list)
    more: dict = field(default_factory=Counter)  # of weight * what the model's own columns hold


@dataclass
class Best:
    """The best parameters so far, and their epoch and update; 0 is the start.

    `frames` (m,): the held-out log-density of each counted frame (`Data.rows`) in nats, in the units of X, at least the
    floor; None: not validated.  They are no part of a checkpoint: `fit` makes them again."""

    theta: np.ndarray | None = None
    score: float = -np.inf
    epoch: int = 0
    update: int = 0
    frames: np.ndarray | None = None


class Repeat(NamedTuple):
    """How a run came to its best: updates of the first phase and of the second, and those of the whole run, which the
    schedule of the learning rate knows."""

    first: int
    second: int
    steps: float


class Trainer:
    """Fits the parameters of a model: `model` holds those of now, in an array of its own from the first epoch on.

    Parameters
    ----------
    model : Trainable
    options : Training
    generator : numpy.random.Generator
    n_threads : int
    averages : bool
        Whether the moving average of the parameters, where the options ask for one, is what is validated and kept;
        else the parameters are.
    repeats : Repeat, optional
        Make these updates, whatever the limits of the options.
    """

    def __init__(self, model, options, generator, n_threads, *, averages=True, repeats=None):
        self.repeats = repeats
        self.model, self.generator = model, generator
        self.averaging = (options.averaging or 0.0) if averages else 0.0
        self.updates = self.epochs = 0
        self.steps = np.inf  # updates of the whole run; fit knows it
        self.columns = (*COLUMNS[:4], *model.columns, *COLUMNS[4:])
        self.history = {name: [] for name in self.columns}
        self.seen = Seen()
        self.best = Best()
        self.annealing = None  # or (update after which the second phase began, that of the best of the first)
        self.start = None  # the net as it starts, once `fit` or `set_state` has begun
        self.floor = None  # of held-out log-densities, see `lowest`
        self.rival = None  # the best of the runs before
        self.without_gain = 0  # validations since the best
        self.batches_done = 0  # of this epoch
        self.batches_to_skip = 0  # that were done before a checkpoint
        self.epoch_start = None  # parameters and state of the generator at the start of this epoch
        self.interrupted = self.finished = False
        self.recipe = self.state = None
        self.decays, self.strength, self.gradient = {}, None, np.empty_like(model.theta)
        self.follow(options, n_threads)

    def __getstate__(self):
        # Closures do not pickle; `follow` makes these anew, an epoch its start.
        return vars(self) | {"optimizer": None, "gradient": None, "decays": {}, "strength": None, "epoch_start": None}

    def follow(self, options, n_threads):
        """Build the optimiser that the options ask for; its moments stay unless it is another one."""
        self.options, self.n_threads = options, n_threads
        layout, dtype = self.model.layout, self.model.theta.dtype
        rule = optim.OPTIMIZERS[options.optimizer]["rule"]
        decays = weight_decays(layout, options.weight_decay)
        if decays != self.decays:
            self.decays, self.strength = decays, layout.flat(decays, dtype) if decays else None
        links = [optim.zero(layout.flat(dict.fromkeys(options.fixed, 1), bool))]
        if options.mean_gradient:
            links.append(optim.mean_gradient(layout))
        links.append(optim.clip_norm(np.inf if options.clip_norm is None else options.clip_norm, n_threads=n_threads))
        links.append(rule(self.learning_rate, self.strength, self.averaging, n_threads=n_threads))
        self.optimizer = optim.chain(*links)
        if self.gradient is None:
            self.gradient = np.empty_like(self.model.theta)
        recipe = (options.optimizer, len(links))
        if recipe != self.recipe:
            self.recipe, self.state = recipe, self.optimizer.init(self.model.theta)

    @property
    def averaged(self):
        """The model that is validated and kept."""
        average = self.state[-1]["average"]
        return self.model if average is None else self.model.with_theta(average)

    def learning_rate(self, step):
        """Of the update after `step` others: the warm-up times the schedule; of a second phase a line to 0."""
        options = self.options
        if self.annealing:
            return ANNEALED * options.learning_rate * max(0.0, 1 - step / self.n_annealed)
        schedule = optim.SCHEDULES[options.schedule or optim.OPTIMIZERS[options.optimizer]["schedule"]]
        warm = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
        return options.learning_rate * warm * schedule(min(1.0, step / self.steps))

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is seen and said
    def update(self, batch):
        """One update, from which FloatingPointError says that it was not finite and not made."""
        frames, offsets, weight, initial = batch
        model, seen, share = self.model, self.seen, weight.sum()
        if share == 0:
            return
        _, scores, *more = model.gradient(
            frames, offsets, (-weight / share).astype(model.theta.dtype), initial=initial, out=self.gradient,
            n_threads=self.n_threads, **model.noise(frames, self.options, self.generator, self.updates),
        )  # fmt: skip
        seen.total += float((scores * weight).sum())
        if not np.isfinite(seen.total):
            raise FloatingPointError("the loss is not finite")
        self.optimizer.update(self.gradient, self.state, model.theta)
        seen.weight += float(share)
        for name, values in zip(model.columns, more, strict=True):
            seen.more[name] += float((values * weight).sum())
        seen.norms.append(self.state[-2]["norm"])
        self.updates += 1

    def epoch(self, data):
        """One pass over the data, or what a checkpoint left of it; yields after each update."""
        remaining = batches(data, self.options, self.generator, self.model, self.n_threads)
        self.batches_done, self.batches_to_skip = self.batches_to_skip, 0
        if self.batches_done:
            now = self.model.theta.copy(), self.generator.bit_generator.state
            self.model.theta[...], self.generator.bit_generator.state = self.epoch_start
            for _ in zip(range(self.batches_done), remaining, strict=False):
                pass
            self.model.theta[...], self.generator.bit_generator.state = now
        else:
            self.epochs += 1
            self.epoch_start = self.model.theta, self.generator.bit_generator.state
            self.model = self.model.with_theta(self.model.theta.copy())  # others may hold the model of before
        for batch in remaining:
            self.update(batch)
            self.batches_done += 1
            yield
        self.batches_done = 0

    def get_state(self):
        """(numbers, arrays): copies of all that `set_state` needs to go on to the same bits, at a validation."""
        best, history = self.best, np.array(list(self.history.values()), np.float64)
        numbers = {
            "finished": self.finished,
            "epochs": self.epochs,
            "updates": self.updates,
            "since": self.without_gain,
            "best": [best.score, best.epoch, best.update],
            "annealing": self.annealing,
            "generator": self.generator.bit_generator.state,
        }
        arrays = {"history": history} | ({} if best.theta is None else {"best": best.theta})
        if self.finished:  # nothing will go on from here
            return numbers, arrays
        numbers |= {"done": self.batches_done, "generator_of_epoch": None, "optimizer": []}
        arrays["theta"] = self.model.theta.copy()
        for i, state in enumerate(self.state):
            of_link = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
            numbers["optimizer"].append(of_link)
            arrays |= {f"optimizer.{i}.{name}": state[name].copy() for name in state if name not in of_link}
        if self.batches_done:
            arrays["theta_of_epoch"], numbers["generator_of_epoch"] = self.epoch_start
        return numbers, arrays

    def set_state(self, numbers, arrays):
        """Go on from what `get_state` gave.  What is not that raises one of ValueError, TypeError, KeyError."""
        theta = self.model.theta
        self.start = Best(theta)

        def of_parameters(name):
            if arrays[name].shape != theta.shape or arrays[name].dtype != theta.dtype:
                raise ValueError(f"{name!r} does not fit the parameters")
            return np.array(arrays[name])

        _check_counts({name: numbers[name] for name in ("epochs", "updates", "since")})
        if not isinstance(numbers["finished"], bool):
            raise ValueError("'finished' is no bool")
        self.finished, self.epochs, self.updates = numbers["finished"], numbers["epochs"], numbers["updates"]
        self.without_gain = numbers["since"]
        score, *at = numbers["best"]
        _check_counts(dict(zip(("best epoch", "best update"), at, strict=True)))
        if numbers.get("annealing") is not None:
            self.annealing = begun, best = tuple(numbers["annealing"])
            _check_counts({"begin of annealing": begun, "best before annealing": best})
        has_best = self.finished or "best" in arrays
        self.best = Best(of_parameters("best") if has_best else None, float(score), *at)
        if arrays["history"].ndim != 2 or arrays["history"].dtype != np.float64:
            raise ValueError("'history' is no table")
        for name, column in zip(self.columns, arrays["history"].tolist(), strict=True):
            self.history[name] = [int(value) for value in column] if name in ("epoch", "update") else column
        if not self.finished:
            self._set_state_of_epoch(numbers, of_parameters)
        self.generator.bit_generator.state = numbers["generator"]
        self.model = self.model.with_theta(of_parameters("best" if self.finished else "theta"))

    def _set_state_of_epoch(self, numbers, of_parameters):
        _check_counts({"done": numbers["done"]})
        self.batches_done = self.batches_to_skip = numbers["done"]
        for i, (state, of_link) in enumerate(zip(self.state, numbers["optimizer"], strict=True)):
            for name in state:
                if isinstance(state[name], np.ndarray):
                    state[name] = of_parameters(f"optimizer.{i}.{name}")
            if "step" in state:
                _check_counts({"step": of_link["step"]})
                state["step"] = of_link["step"]
        if self.batches_done:
            self.epoch_start = of_parameters("theta_of_epoch"), numbers["generator_of_epoch"]
            self.generator.bit_generator.state = self.epoch_start[1]  # raises, if it is none

    def record(self, data, score, seconds):
        """Append a row to the history; the log-Jacobian of a part of the frames is taken to be the mean of all."""
        seen, self.seen = self.seen, Seen()
        loss = -(seen.total + data.constant * (seen.weight / data.total)) / seen.weight
        rate = self.learning_rate(self.state[-1]["step"])
        more = (seen.more[name] / seen.weight for name in self.model.columns)
        values = (self.epochs, self.updates, loss, score, *more, float(np.mean(seen.norms)), rate, seconds)
        for column, value in zip(self.history.values(), values, strict=True):
            column.append(value)

    def validations(self, data, validation):
        """Train for the whole run; yields whenever it is time to validate."""
        options, repeats = self.options, self.repeats
        if not self.annealing:
            limits = (repeats.first, np.inf) if repeats else (options.max_updates, options.max_epochs)
            yield from self.phase(data, *limits)
            if not repeats.second if repeats else (not options.anneal or self.best.frames is None):
                return
            if not repeats and self.behind(self.best.frames, validation):
                return
            self.anneal()
        yield from self.phase(
            data, repeats.first + repeats.second if repeats else self.annealing[0] + self.n_annealed, np.inf
        )

    @property
    def recipe_of_best(self):
        """What another trainer repeats to do what led to the best of this one."""
        begun, n = self.annealing or (np.inf, 0)
        if self.best.update <= begun:
            return Repeat(self.best.update, 0, self.steps)
        return Repeat(n, self.best.update - begun, self.steps)

    @property
    def n_annealed(self):
        """Updates of the second phase."""
        return max(1, math.ceil(SECOND * self.annealing[1]))

    def anneal(self):
        """Go back to the best parameters and begin the second phase, with an optimiser that knows nothing."""
        self.annealing = self.updates, self.best.update
        self.model = self.model.with_theta(self.best.theta.copy())
        self.state = self.optimizer.init(self.model.theta)
        self.without_gain = self.batches_done = self.batches_to_skip = 0

    @property
    def out_of_patience(self):
        return not self.annealing and self.without_gain >= self.options.patience

    def falls(self):
        """Whether each of the last validations was below the one before."""
        n = max(FALLS, math.ceil(FALLING * self.options.patience))
        scores = self.history["validation_score"][-n - 1 :]
        return len(scores) > n and all(new < old for old, new in pairwise(scores))

    def behind(self, frames, validation):
        """Whether held-out log-densities are too far below the best, of this run or of those before it."""
        bests = [one for one in (self.best, self.rival) if one is not None and one.frames is not None]
        if not bests:
            return False
        best = max(bests, key=lambda one: one.score)
        mean, error = gain(frames, best.frames, validation.groups, validation.weight)
        return mean < -BEHIND * error

    def phase(self, data, last, max_epochs):
        """Train until update `last`, `max_epochs` or the end of patience; yields whenever it is time to validate."""
        every, validated = self.options.validate_every, self.updates
        while not self.out_of_patience and self.updates != last and (self.batches_to_skip or self.epochs < max_epochs):
            for _ in self.epoch(data):
                if self.seen.weight and (self.updates == last or (every and self.updates % every == 0)):
                    yield
                if self.updates == last or self.out_of_patience:
                    return
            if not every and self.updates - validated >= AT_LEAST:
                yield
                validated = self.updates
        if self.seen.weight:
            yield

    def scores(self, model, validation):
        return validation.scores(model, self.n_threads, **model.judging(self.options))

    def validate(self, model, validation):
        """(log-density of each counted frame, at least the floor; their mean)."""
        frames = np.maximum(self.scores(model, validation), self.floor)
        return frames, float((frames * validation.weight).sum()) / validation.total

    def begin(self, validation):
        """Find the floor and validate the net as it starts; after a checkpoint what was best until then, too."""
        validation.reads(max(PAST, self.options.window or 0))
        model = self.model.with_theta(self.start.theta)
        scores = self.scores(model, validation)
        if self.floor is None:
            self.floor = lowest(scores, model.layout.D)
            validation.warn_below(self.floor, scores, model, self.n_threads)
        for one in (self.start, self.best):
            if one.theta is not None:
                one.frames, one.score = self.validate(model.with_theta(one.theta), validation)

    def kept(self, validation):
        """The best of what was trained where it gains more than one standard error on the net as it starts, else that;
        without validation the last."""
        start, best = self.start, self.best
        if best.theta is None:
            return start
        if best.frames is None or start.frames is None:
            return best
        mean, error = gain(best.frames, start.frames, validation.groups, validation.weight)
        return best if mean > error else start

    def kept_in_words(self, validation):
        return "of before the refit" if self.repeats else f"of epoch {self.kept(validation).epoch}"

    @property
    def repeated(self):
        """Whether what is kept has made all updates that were to be repeated."""
        return self.best.update == self.repeats.first + self.repeats.second

    def fit(self, data, validation, validated=lambda trainer: None):
        """Train until the validation score stops rising, or max_epochs or max_updates, and anneal if the options say
        so; `validated` is called after each validation, and at the end.

        The model is left with the best parameters seen, which are those it starts with where training gains no more
        than one standard error on them (without validation data: the last), also after Ctrl-C, and never with
        parameters that are not finite."""
        options = self.options
        began = time.perf_counter() - sum(self.history["seconds"][-1:])
        if self.start is None:
            self.start = Best(self.model.theta.copy())
        if self.finished:  # a checkpoint
            if validation:
                self.begin(validation)
            return
        longest = int(np.diff(data.offsets).max())
        n_windows = int(np.ceil(np.diff(data.offsets) / options.window_of(longest)).sum())
        updates = -(-n_windows // options.batch_size)
        self.steps = max(1, min(options.max_epochs * updates, options.max_updates or np.inf))
        if self.repeats:
            self.steps = self.repeats.steps
        warmup = min(WARM_EPOCHS * updates, WARM_UPDATES) if options.kl_warmup is None else options.kl_warmup
        warmup = int(min(warmup, self.steps // 2))  # or nothing would count
        self.options = options = replace(options, kl_warmup=warmup)
        n_epochs = -(-(self.repeats.first + self.repeats.second if self.repeats else self.steps) // updates)
        # None, not a disabled bar: those too share a lock with forked processes, and one that is killed keeps it.
        bar = (
            tqdm(total=n_epochs, initial=self.epochs, unit="epoch", desc="fit")
            if options.verbose and options.max_updates != 0
            else None
        )
        try:
            if validation:
                self.begin(validation)
            for _ in self.validations(data, validation):
                averaged, counts = self.averaged, self.updates >= options.kl_warmup
                judged = validation and counts
                frames, score = self.validate(averaged, validation) if judged else (None, np.nan)
                if not np.isfinite(averaged.theta).all() or (judged and not np.isfinite(score)):
                    raise FloatingPointError
                self.record(data, score, time.perf_counter() - began)
                self.without_gain += counts
                if not validation or (counts and score > self.best.score):  # without validation the last is the best
                    self.best = Best(averaged.theta.copy(), score, self.epochs, self.updates, frames)
                    self.without_gain = 0
                elif judged and self.falls() and self.behind(frames, validation):
                    self.without_gain = options.patience  # given up
                loss = self.history["loss"][-1]
                if bar is not None:
                    bar.set_postfix_str(f"loss {loss:.3f}" + (f", validation {score:.3f}" if validation else ""))
                    bar.update(self.epochs - bar.n)
                validated(self)
        except FloatingPointError:
            warnings.warn(
                f"the loss was not finite in epoch {self.epochs}: training stopped and went back to the parameters "
                f"{self.kept_in_words(validation)}. A smaller learning_rate (now {options.learning_rate}), a "
                f"smaller clip_norm (now {options.clip_norm}) or a larger min_scale helps.",
                ConvergenceWarning,
                stacklevel=5,
            )
        except KeyboardInterrupt:
            self.interrupted = True
            warnings.warn(
                f"training was interrupted: the estimator has the parameters {self.kept_in_words(validation)}.",
                ConvergenceWarning,
                stacklevel=5,
            )
        finally:
            if bar is not None:
                bar.close()
            self.best = self.kept(validation)
            self.model = self.model.with_theta(self.best.theta.copy())
        self.finished = not self.interrupted
        if self.finished:
            validated(self)

    def go_back(self):
        """Keep the net as it started."""
        self.best = self.start
        self.model = self.model.with_theta(self.start.theta.copy())

    @property
    def score(self):
        """What restarts are compared by: the score of what is kept, or without validation minus the last loss."""
        if np.isnan(self.best.score):
            return -self.history["loss"][-1] if self.history["loss"] else -np.inf
        return self.best.score
