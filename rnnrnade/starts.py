"""Where training starts: a net behind a fitted transform, and what both sets of data are to it."""

from dataclasses import dataclass, replace

import numpy as np

from .auto import FREEDOM, Candidate, degrees_of_freedom
from .checks import OutOfRange
from .density import Density
from .heads import HEADS
from .training import Data, Trainer, gain, lowest

NEARLY_NORMAL = 40.0  # degrees of freedom
SMALLER, LONGER = 4, 0.98  # of columns apart: what batches are divided by; the decay of the average, at least


def tails_of(transform, D):
    """Degrees of freedom of a Student t that a net may start as, where they differ, of each dimension."""
    last = getattr(transform, "links", [transform])[-1]
    within = getattr(last, "within", None)
    if within is None:
        return FREEDOM
    # The dimensions of a multivariate Student t, given those before: nearly normal from some number on.
    return (*FREEDOM, np.minimum(within + np.arange(D), NEARLY_NORMAL))


@dataclass
class Start:
    """A net before training.

    Attributes
    ----------
    density : Density
    candidate : Candidate or None
        Of the transform.
    train : Data
        Behind a transform that was fitted here, each frame as if it had been left out of that fit.
    held : Data or None
    freedom : float or ndarray of shape (D,)
        Degrees of freedom of what the transform leaves.
    """

    density: Density
    candidate: Candidate | None
    train: Data
    held: Data | None
    freedom: object = np.inf

    @classmethod
    def behind(cls, front, candidate, split, layout, generator, names, n_threads, *, heavy_tails, kind=Density):
        """A new net behind a front, which is fitted; with `heavy_tails` it may start as a Student t, whose degrees of
        freedom are those with the best held-out score, or without held-out data those of what the front leaves."""
        train, weight, held, held_weight = split
        try:
            left_out = front.fit_left_out(train, weight)
        except OutOfRange as error:
            raise train.refusal(error) from None
        tails = [np.inf]
        if heavy_tails and layout.head in ("gaussian", "student"):
            tails = [degrees_of_freedom(left_out)] if held is None else tails_of(front.map, layout.D)
        if HEADS[layout.head].shapes:  # infinity is no place to start from
            tails = [np.minimum(freedom, NEARLY_NORMAL) for freedom in tails] if heavy_tails else tails
        state, starts = generator.bit_generator.state, []
        for freedom in tails:  # with the same weights
            generator.bit_generator.state = state
            density = kind.untrained(front, layout, generator, freedom)
            starts.append(cls(density, candidate, None, None, freedom))
        valid = None if held is None else density.training_data(held, held_weight, names)
        data = density.training_data(train, weight, names, left_out)
        for start in starts:
            start.train, start.held = data, valid
        return max(starts, key=lambda start: start.score(n_threads)) if len(starts) > 1 else starts[0]

    @classmethod
    def of(cls, density, split, names):
        """Of a density that was trained before."""
        train, weight, held, held_weight = split
        valid = None if held is None else density.training_data(held, held_weight, names)
        return cls(density, None, density.training_data(train, weight, names), valid)

    @property
    def apart(self):
        """Whether columns that often take one value were found and set apart."""
        return self.candidate is not None and self.candidate.role == "apart"

    def training(self, options):
        """Its options of training: with anneal="auto", columns apart, which take narrow components, have smaller
        updates and more, a longer average, and a second phase.

        On irradiance, six seeds gained 1.3 +- 0.3 nats on a second phase alone, in 0.7 of the time; with the patience
        of all others they lost 0.4, in 0.3 of it.  A ride, whose columns are not apart, loses 0.3 to 0.6 by such
        updates (training.py)."""
        if options.anneal != "auto":
            return options
        if not self.apart:
            return replace(options, anneal=False)
        return replace(
            options, anneal=True, batch_size=-(-options.batch_size // SMALLER), patience=2 * options.patience,
            averaging=options.averaging and max(options.averaging, LONGER),
        )  # fmt: skip

    def model(self, restart, generator):
        """The net with its first parameters, which are new ones in each restart."""
        model = self.density.model
        if not restart:
            return model.with_theta(model.theta.copy())
        return type(self.density).untrained(self.density.front, model.layout, generator, self.freedom).model

    def again(self, trainer, density, data, weight, names, left_out):
        """(a trainer that does with all data what led to the best of one of this start, these data).

        To go on from the best instead, for a quarter of the updates with a rate that falls to 0, was tried: on the next
        tenth of the recordings irradiance gained 0.5 nats on this, motion capture lost 0.16 and ridership 0.07."""
        model = density.model.with_theta(trainer.start.theta.copy())
        repeating = Trainer(
            model, trainer.options, trainer.generator, trainer.n_threads, repeats=trainer.recipe_of_best
        )
        return repeating, density.training_data(data, weight, names, left_out)

    def score(self, n_threads):
        """Held-out score of the net as it starts, without frames that would rule it."""
        if self.held is None:
            return -np.inf
        scores = self.held.scores(self.density.model, n_threads)
        floor = lowest(scores, self.density.model.layout.D)
        return float(np.average(np.maximum(scores, floor), weights=self.held.weight))


def best_of(runs):
    """The run to keep, of pairs (trainer, start): that of the best score, if it was not kept as it started but gains
    more than one standard error on the best of all starts; else that start.  Trainers end there."""
    best, start = max(runs, key=lambda run: run[0].score)
    if len(runs) > 1 and start.held is not None and best.best.update > 0:
        others = [run for run in runs if run[0].start.frames is not None]
        first, of_first = max(others, key=lambda run: run[0].start.score, default=(best, start))
        mean, error = gain(best.best.frames, first.start.frames, start.held.groups, start.held.weight)
        if mean <= error:
            first.go_back()
            return first, of_first
    return best, start
