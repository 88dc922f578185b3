"""Estimators with latent vectors: bounds and estimates of the log-density, codes, draws."""

import warnings
from dataclasses import replace
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from .base import Estimator
from .calls import reading
from .checks import check_counts, check_finite, mean_of
from .columns import check_inputs
from .conditionals import Conditionals
from .conditioners import CONDITIONERS
from .exact import ExactDensity, FitVectors, Futures, for_vectors
from .front import Front
from .heads import HEADS
from .latent_density import BoundFrames, LatentDensity, Noise, Particles, hash_after
from .latent_model import LatentModel
from .latents import Latents, implied_latents
from .missing import REPEATS, LikelihoodEstimate, MissingValues, check_repeats
from .networks import layout_of
from .parameters import as_arrays, flat_parameters, implied_options
from .particles import PARTICLES
from .sequences import check_absence_of_lengths
from .streaming import Stream
from .transforms import Chain, Linear

__all__ = ["LatentStream"]

OF_EXACT = {name for kind in (Conditionals, ExactDensity) for name in vars(kind) if name[0] != "_"}
COLLAPSED = 0.01  # nats a frame
DRAWS = 16  # of a bound


def _without_hidden_units(head, arrays):
    """The parameters, without numbers, that a frame without hidden units has."""
    bias = next(arrays[b] for _, b, _ in head.outputs.values() if b in arrays)
    D, *K = bias.shape
    found = {"W": np.zeros((0, D)), "c": np.zeros(0), "rho": np.ones(D)}
    found |= {V: np.zeros((D, 0, *K)) for V, _, _ in head.outputs.values() if V is not None}
    return {name: array.astype(bias.dtype) for name, array in found.items()}


class LatentVariables(MissingValues, Estimator):
    """An estimator whose density is an integral over latent vectors: it is estimated, and bounded from below."""

    _kind = LatentDensity
    _latent = "vae"

    def __getattr__(self, name):
        if name in OF_EXACT:
            raise AttributeError(
                f"{type(self).__name__} has no {name}: with latent vectors behind a frame it could not be computed "
                "exactly. The estimators without them, such as RNADE and RNNRNADE, have it."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _frame(self):
        hidden = self._option("n_hidden")
        if self._option("components") == "frame":
            return "shared"
        return "nade" if np.ndim(hidden) == 0 else "made"

    def _layout(self, D):
        """The network's sizes and choices for data of D dimensions."""
        if self._head.binary and self._option("components") == "frame":
            raise self._bad_option("components", "'dimension' with conditional='bernoulli'", "frame")
        latents = Latents(
            kind=self._latent,
            J=int(self._option("n_latent")),
            E=int(self._option("n_units")),
            n_dense=int(self._option("n_dense")),
            prior=self._option("prior", "recurrent"),
            encoder=self._option("encoder", "smooth"),
            residual=bool(self._option("residual", False)),
            min_scale=float(self._option("min_latent_scale")),
        )
        return layout_of(self, D, latents)

    @property
    def noise_seed_(self):
        """The seed of the noise with which log-densities are estimated, drawn by `fit`."""
        return self._density.model.seed

    @classmethod
    def from_parameters(cls, parameters, *, transform=None, noise_seed=0, **options):
        """Make a fitted estimator from parameters, without training.

        Parameters
        ----------
        parameters : mapping of str to array-like
            Names and shapes of `parameters_`; sizes come from them.
        transform : Linear or Chain, optional
            A fitted transform.  Default: none, so that the model is one of X itself.
        noise_seed : int, default=0
            Of the noise of estimates; in [0, 2**63).
        **options
            Options of the constructor.  Those not given take a FIXED value, whatever their default there: sigmoid cell
            and units, min_scale 0, min_latent_scale 1e-3, no residual, dtype of the arrays, no order.

        Returns
        -------
        estimator

        Raises
        ------
        ValueError
            For names or shapes that are missing, unknown, or contradict each other or the options, or another
            noise_seed.
        """
        owner, arrays, own = cls.__name__, as_arrays(parameters), cls._parameter_constraints
        if len(arrays.get("W_c", [0])) == 0:  # of no hidden units
            del arrays["W_c"]
        if not isinstance(noise_seed, Integral) or isinstance(noise_seed, bool) or not 0 <= noise_seed < 2**63:
            raise ValueError(f"noise_seed must be an int in the range [0, 2**63). Got {noise_seed!r:.60} instead.")
        unknown = set(options) - set(own)
        if unknown:
            raise TypeError(f"{owner} has no option {sorted(unknown)[0]!r}.")
        for name, axes in (("F_x", 2), ("C_y", 2)):
            if name not in arrays:
                raise ValueError(f"{owner}.from_parameters needs the parameter {name!r}, which is missing.")
            if arrays[name].ndim != axes:
                raise ValueError(f"parameter {name!r} must have {axes} axes. Got shape {arrays[name].shape}.")
        fixed = {
            "activation": "sigmoid", "order": None, "cell": "sigmoid", "min_scale": 0.0, "min_latent_scale": 1e-3,
            "residual": False, "transform": None, "conditional": "bernoulli" if "W_b" in arrays else "gaussian",
        }  # fmt: skip
        head = HEADS[options.get("conditional", fixed["conditional"])]
        shared = arrays.get("b_alpha", np.empty((1, 1))).ndim == 1
        if not shared and "W" not in arrays:  # dimensions that are independent given the context
            arrays |= _without_hidden_units(head, arrays)
        frame = "shared" if shared else "nade" if "rho" in arrays else "made"
        implied = implied_options(head, CONDITIONERS[frame], arrays, recurrent=cls._recurrent, owner=owner)
        implied.pop("context", None)
        implied.pop("direct", None)
        implied |= implied_latents(arrays, cls._latent) | {"components": "frame" if shared else "dimension"}
        for name, value in implied.items():
            given = options.get(name)
            if name in own and name != "dtype" and given is not None and given != value:
                raise ValueError(f"{name}={given!r} contradicts the parameters, whose shapes say {value!r}.")
        fixed = {name: value for name, value in (fixed | implied).items() if name in own}
        D = arrays["F_x"].shape[1]
        if transform is not None:
            if not isinstance(transform, Linear | Chain):
                raise TypeError(
                    f"transform must be a fitted Linear or Chain, or None. Got a {type(transform).__name__}."
                )
            fixed["transform"] = clone(transform)
        self = cls(**(fixed | options))
        self._validate_params()
        layout = self._layout(D)
        self.n_features_in_ = D
        theta = flat_parameters(layout, arrays, self.dtype, owner)
        network = LatentModel(layout, theta, int(noise_seed))
        self._put(LatentDensity(Front(self._order(D), transform, self.dtype), network))
        return self

    def _comment(self):
        kl = self.history_.get("kl", [])
        if self._option("n_latent") and kl and kl[-1] < COLLAPSED:
            warnings.warn(
                f"the latent vectors say almost nothing: the encoder is {kl[-1]:.2g} nats a frame from the prior, so "
                "this is in effect the net without them (n_latent=0). A longer kl_warmup, free_nats, or a frame with "
                "n_hidden=0 may help.",
                ConvergenceWarning,
                stacklevel=5,
            )

    # ---- estimates and bounds ----------------------------------------------------------------------------------

    def _scored(self, X, lengths=None, y=None):
        data = self._check(X, lengths, gaps=True)
        check_absence_of_lengths(y, data, type(self).__name__)
        return data, self._density.frames(data, self._n_threads(), self._option("n_particles"))

    @reading
    def score_samples(self, X, *, lengths=None):
        """Estimated log-density of each item of X's first axis, in nats.

        Monte Carlo with `n_particles` particles (importance sampling for vectors and for an encoder that reads the
        future), whose noise comes from the stored seed and from the frames: the same X has the same estimate.  Its mean
        is below the log-density; `log_likelihood` says how uncertain it is.  With n_latent=0 it is exact.  Missing
        values are integrated out (`log_likelihood_missing`), where the option `missing` says so.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        ndarray, float64
            Of shape (N,) for a list or a 3-D array: one for each sequence; of shape (T,) for a 2-D array: one for each
            frame, given its past.
        """
        data, frames = self._scored(X, lengths)
        return data.per_item(frames, "estimated_log_density")

    @reading
    def score(self, X, y=None, *, lengths=None):
        """Mean estimated log-density per frame, in nats.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        y : ignored
            None, or one label for each item of X.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        float
        """
        return mean_of(self._scored(X, lengths, y)[1])

    @reading
    def score_frames(self, X, *, lengths=None):
        """Estimated log-density of each frame given its past, in nats: the increments of `score_samples`.

        With an encoder that reads the future they are not those of a beginning of the sequence, but other estimates of
        the same numbers.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i,), or one of them for one 2-D X
        """
        data, frames = self._scored(X, lengths)
        return data.split(frames, "estimated_log_density")

    @reading
    def log_likelihood(self, X, n_particles=None, *, n_repeats=REPEATS, lengths=None):
        """Log-likelihood of X, as estimated, and its standard error.

        The logarithm of the mean of `n_repeats` independent estimates, each unbiased for the likelihood; the logarithm
        is low by about half the squared standard error.  The standard error comes from their spread.  Where the encoder
        is narrower than the posterior the weights have heavy tails, and it is a lower limit of the error.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        n_particles : int, optional
            In each; default: those of the estimator.
        n_repeats : int, default=10
            >= 2.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        LikelihoodEstimate
            log_likelihood and standard_error, each (N,): one of each for a sequence or row; 0 where exact.
        """
        return self._likelihood(X, lengths, n_particles, n_repeats)

    def _likelihood(self, X, lengths, n_particles, n_repeats, **gaps):
        own = self._option("n_particles") if n_particles is None else n_particles
        n_particles, n_repeats = check_counts(n_particles=own, n_repeats=n_repeats)
        check_repeats(n_repeats)
        data = self._check(X, lengths, gaps=bool(gaps))
        total, error = self._density.likelihood(data, n_particles, n_repeats, n_threads=self._n_threads(), **gaps)
        return LikelihoodEstimate(
            data.per_sequence(total, "log_likelihood"), data.per_sequence(error, "standard_error")
        )

    @reading
    def log_likelihood_missing(self, X, n_particles=None, random_state=None, *, n_repeats=REPEATS, lengths=None):
        """Log-likelihood of the observed part of X, with missing values (NaN) integrated out, as estimated, and its
        standard error.

        Complete sequences and rows have the numbers of `log_likelihood`.  Where something is missing, particles are
        completed sequences (`rnnrnade.missing`).  A frame that holds a part of its dimensions draws its latent vector
        from a mixture of the prior and the encoder, and one that holds nothing from the prior; an encoder that reads
        the future reads as far as the next gap.  With n_latent=0 it is exact for those gaps for which the models
        without latent vectors are.

        The more is missing, the more particles it takes: as long as the estimate rises with `n_particles`, it is low.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        n_particles : int, optional
            In each estimate.  Default: 1000 where something is missing, else those of the estimator.
        random_state : None, int, RandomState or Generator, default=None
            Of the draws where something is missing.  None: `noise_seed_`, the same in each call.
        n_repeats : int, default=10
            Number of estimates; >= 2, because their spread gives the standard error.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        LikelihoodEstimate
            log_likelihood and standard_error, each (N,): one of each for a sequence or row.

        Raises
        ------
        ValueError
            For NaN if the option `missing` is None.

        Examples
        --------
        >>> import numpy as np
        >>> from rnnrnade import VAE
        >>> X = np.random.default_rng(0).normal(size=(200, 3))
        >>> model = VAE(n_latent=2, n_units=8, max_epochs=5, missing="marginalize", random_state=0).fit(X)
        >>> estimate, error = model.log_likelihood_missing([[0.3, np.nan, -0.1]])
        >>> bool(-3 < estimate[0] < -1 and 0 < error[0] < 0.1)
        True
        """
        gaps = {
            "generator": None if random_state is None else self._generator(random_state),
            "with_gaps": PARTICLES if n_particles is None else None,
        }
        return self._likelihood(X, lengths, n_particles, n_repeats, **gaps)

    @reading
    def impute(self, X, n_samples=1, random_state=None, *, n_particles=PARTICLES, lengths=None):
        """Draw the missing values (NaN) of X given everything observed, before and after them.

        From the particles of one filter, those of `log_likelihood_missing`: the distribution of the draws tends to the
        exact one as the number of particles grows.  They are not quite independent of each other, because the further
        back a gap lies, the fewer different values the particles still hold there.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        n_samples : int, default=1
        random_state : None, int, RandomState or Generator, default=None
            None: that of the estimator.
        n_particles : int, default=1000
            At least `n_samples` are used.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (n_samples, T_i, D), or one of them for one 2-D X, or (n_samples, n, D) for vectors
            The observed values of X are unchanged in each.

        Raises
        ------
        ValueError
            For NaN if the option `missing` is None.

        Examples
        --------
        >>> import numpy as np
        >>> from rnnrnade import VRNN
        >>> from rnnrnade.datasets import make_trajectories
        >>> X = make_trajectories(20, 30, random_state=0)
        >>> options = {"n_latent": 2, "n_units": 8, "n_recurrent": 8, "missing": "marginalize"}
        >>> model = VRNN(**options, max_epochs=2, random_state=0).fit(X)
        >>> x = X[0].copy()
        >>> x[10:13], x[20, 0] = np.nan, np.nan
        >>> filled = model.impute(x, 5)
        >>> filled.shape, bool((filled[:, ~np.isnan(x)] == x[~np.isnan(x)]).all())
        ((5, 30, 2), True)
        """
        return self._filled(X, lengths, random_state, n_samples, n_particles)

    def _bound(self, X, lengths, n_draws):
        (n_draws,) = check_counts(n_draws=n_draws)
        data = self._check(X, lengths)
        return data, *self._density.bound(data, n_draws, self._n_threads())

    @reading
    def lower_bound(self, X, *, n_draws=DRAWS, lengths=None):
        """A lower bound of the log-density of each sequence or row, in nats.

        The mean over `n_draws` draws from the encoder of the log-density of the frames given them, less the divergence
        of the encoder from the prior, in closed form for each frame.  Its expectation is below the log-density, by the
        divergence of the encoder from the posterior.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        n_draws : int, default=16
        lengths : array-like of shape (N,), optional

        Returns
        -------
        ndarray of shape (N,), float64
        """
        data, reconstruction, divergence = self._bound(X, lengths, n_draws)
        share = reconstruction - divergence
        return data.per_sequence(np.array([share[a:b].sum() for a, b in data.slices]), "lower_bound")

    @reading
    def lower_bound_frames(self, X, *, n_draws=DRAWS, lengths=None):
        """The two terms of the lower bound for each frame, in nats.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        n_draws : int, default=16
        lengths : array-like of shape (N,), optional

        Returns
        -------
        BoundFrames
            reconstruction and kl, each a list of ndarrays of shape (T_i,), or one of them for one 2-D X.  Their
            differences add up to `lower_bound`.
        """
        data, reconstruction, divergence = self._bound(X, lengths, n_draws)
        return BoundFrames(data.split(reconstruction, "reconstruction"), data.split(divergence, "kl"))

    @reading
    def lower_bound_and_gradient(self, X, noise, *, objective="bound", lengths=None):
        """Total lower bound of X for given noise, and its exact gradient, the transform held fixed.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        noise : array-like of shape (M, n_latent), or (K, M, n_latent)
            Standard normal numbers for all frames of X, one sequence behind the other.
        objective : {"bound", "importance"}, default="bound"
            "importance": the logarithm of the mean of the K weights of each sequence instead.

        Returns
        -------
        value : float
            In nats, in the units of X.
        gradient : dict of ndarrays
            Names and shapes of `parameters_`.
        """
        if objective not in ("bound", "importance"):
            raise ValueError(f"objective must be 'bound' or 'importance'. Got {objective!r:.60} instead.")
        data, density = self._check(X, lengths), self._density
        noise = np.asarray(noise, np.float64)
        noise = noise[None] if noise.ndim == 2 else noise
        J = density.model.latent.J
        if noise.ndim != 3 or noise.shape[1:] != (data.n_frames, J) or not noise.size + (J == 0):
            raise ValueError(
                f"noise must have the shape {(data.n_frames, J)}, or more such. Got {noise.shape} instead."
            )
        if not np.isfinite(noise).all():
            raise ValueError("noise must hold finite numbers. Got NaN or infinity in it.")
        if objective == "bound" and len(noise) != 1:
            raise ValueError(f"noise must be one draw with objective='bound'. Got {len(noise)}.")
        gradient, value = density.gradient(data, noise, objective == "importance", self._n_threads())
        return value, density.model.layout.views(gradient)

    # ---- codes -------------------------------------------------------------------------------------------------

    @reading
    def encode(self, X, *, lengths=None):
        """The latent vector of each frame: the mean of the encoder, after the means before it.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, n_latent), or one of them for one 2-D X
        """
        data = self._check(X, lengths)
        codes = self._density.codes(data, self._n_threads()).astype(np.float64)
        if not self._gives_tables():
            return data.split(codes)
        names = [f"latent{j}" for j in range(codes.shape[1])]
        return replace(data, labels=replace(data.labels, features=names)).split(codes)

    @reading
    def reconstruct(self, X, *, lengths=None):
        """X as its latent vectors (`encode`) tell it: the mean of each dimension given them, the past, and, where a
        frame's dimensions are not independent, those before it.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, D), or one of them for one 2-D X
        """
        data = self._check(X, lengths)
        return data.split(self._density.reconstructed(data, self._n_threads()))

    # ---- draws -------------------------------------------------------------------------------------------------

    def _draw(self, n_samples, n_frames, generator, given=None, fixed=None, inputs=None):
        if fixed is not None:
            raise ValueError(
                f"fixed: the conditionals of a {type(self).__name__} are given a latent vector, whose distribution "
                "what is fixed would change. A model without one draws exactly."
            )
        check_inputs(inputs, (), (), n_samples, n_frames)
        return self._density.draw(
            n_samples, n_frames, generator, given, self._option("n_particles"), n_threads=self._n_threads()
        )


class LatentSequences(Futures, LatentVariables):
    """Calls of latent-variable models of sequences."""

    @reading
    def sample(self, n_samples=1, n_frames=100, random_state=None, given=None):
        """Draw sequences from the model: latent vectors from the prior, frames given them, exactly.

        Parameters
        ----------
        n_samples, n_frames : int, default=1, 100
        random_state : None, int, RandomState or Generator, default=None
            None: that of the estimator.
        given : array-like of shape (T, D), optional
            One sequence that the samples continue, from states that `n_particles` particles hold after it: Monte Carlo.

        Returns
        -------
        ndarray of shape (n_samples, n_frames, D)
        """
        generator, n_samples, n_frames = self._draws(random_state, n_samples=n_samples, n_frames=n_frames)
        data = None if given is None else self._one_sequence(given)
        draws = self._draw(n_samples, n_frames, generator, data)
        return self._named(draws) if data is None else data.future(0, draws)

    @reading
    def stream(self, X=None):
        """Read a sequence frame by frame, in constant memory.

        Parameters
        ----------
        X : array-like of shape (T, D), optional
            A sequence that counts as already read.

        Returns
        -------
        LatentStream
            `update(frame)` returns the estimated log-density of the next frame, the same bits as `score_frames`.

        Raises
        ------
        ValueError
            For an encoder that reads the future.
        """
        if self._density.smooths:
            raise ValueError("this encoder reads what comes after a frame: stream a model with encoder='filter'.")
        found = LatentStream(
            self._density, self._option("n_particles"), self._n_threads(), owner=type(self).__name__,
            names=getattr(self, "feature_names_in_", None),
        )  # fmt: skip
        for frame in () if X is None else self._one_sequence(X).frames:
            found.update(frame)
        return found


@for_vectors
class LatentVectors(FitVectors, LatentVariables):
    """Calls of latent-variable models of vectors, each of which is a sequence of one frame."""

    @reading
    def sample(self, n_samples=1, random_state=None):
        """Draw vectors from the model: latent vectors from the prior, rows given them, exactly.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : None, int, RandomState or Generator, default=None
            None: that of the estimator.

        Returns
        -------
        ndarray of shape (n_samples, D)
        """
        generator, n_samples = self._draws(random_state, n_samples=n_samples)
        return self._named(self._draw(n_samples, 1, generator)[:, 0])


class LatentStream(Stream):
    """A sequence that is read frame by frame, made by `stream` of a latent-variable model of sequences.

    It holds particles, so its memory does not grow.

    Attributes
    ----------
    n_frames : int
        Frames read so far.
    """

    def __init__(self, density, n_particles, n_threads, *, owner="LatentStream", names=None):
        particles = Particles(density.model, 1, 1 if density.exact else n_particles, n_threads)
        super().__init__(density, particles, owner=owner, names=names)
        self._hashed = 0

    def update(self, frame):
        """Read the next frame.

        Parameters
        ----------
        frame : array-like of shape (D,)

        Returns
        -------
        float
            Its estimated log-density given the frames before, in nats.

        Raises
        ------
        ValueError, TypeError
            For a frame that is not D finite numbers (binary models: 0 or 1); nothing is read then.
        """
        n_before = self.n_frames
        x, e, jacobian = self._read(frame)
        model, particles = self._density.model, self._state
        self._hashed = hash_after(self._hashed, x)
        noise, uniform = Noise(model.seed)(self._hashed, particles.K, model.latent.J, model.dtype)
        found = particles.read(np.ascontiguousarray(e), noise[None], np.array([uniform]))
        self._density.front.to_units_of_x(None if jacobian is None else np.broadcast_to(jacobian, e.shape), found)
        check_finite("the estimated log-density", found, lambda _: f"frame {n_before}", below=True)
        return float(found[0])
