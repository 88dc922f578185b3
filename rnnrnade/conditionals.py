"""Every conditional in closed form: distribution functions, quantiles, CRPS, moments, the Rosenblatt transform.

Design
------
*Units.*  The network's conditionals are of e, the output of the transform.  x_d = location_d + scale_d e_d with
location and scale known before x_d is (`Linear.location_and_scale`), so a quantile or mean of x_d is that of e_d moved
and scaled, a CRPS is scaled, and the distribution function is the same number.

*Memory.*  The parameters of all conditionals would be (T, D, P).  `Conditionals._parts` goes through the frames in
slices of at most SLICE of these numbers and carries the recurrent state, which leaves every bit as it is.
"""

from dataclasses import dataclass

import numpy as np

from .checks import as_numbers, as_probabilities, naming
from .distributions import Bernoulli, MixtureOfGaussians  # noqa: F401  (where they used to be)
from .heads import HEADS
from .sequences import ordered

__all__ = ["Conditionals"]

SLICE = 1 << 19  # numbers of the parameters that are held at a time


# ---- the conditionals of a model -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """The conditionals of some consecutive frames, all arrays in the model's order of dimensions.

    Attributes
    ----------
    rows : slice
        Which of the packed frames.
    e : ndarray of shape (m, D), float64
        What the frames are to the network.
    location, scale : ndarray of shape (m, D), or 0.0 and 1.0
        x = location + scale e.
    family : Mixture or Bernoulli
        Of e, leading axes (m, D).
    """

    rows: slice
    e: np.ndarray
    location: np.ndarray
    scale: np.ndarray
    family: object


def complete(model, e, begin, value, state, n_threads):
    """Fill dimensions begin ... D - 1 of the next frame of N sequences, each given those before it.

    Each dimension takes one call of the core, which computes the conditionals of the whole frame: that of dimension d
    is the same bits whatever stands in dimensions d ... D - 1.

    Parameters
    ----------
    model : Model
    e : ndarray of shape (N, D), float64
        Overwritten from dimension `begin` on.
    value : callable
        value(d, family) gives dimension d, (N,), from its N distributions.
    state : ndarray of shape (N, Rp) or None
        Conditions the frame.

    Returns
    -------
    ndarray of shape (N, Rp) or None
        The state after the frame.
    """
    N, D = e.shape
    offsets = np.arange(N + 1, dtype=np.int64)
    initial = None if state is None else (state, np.zeros(N, np.uint8))
    e[:, begin:] = 0
    rounded = np.ascontiguousarray(e, model.dtype)
    for d in range(begin, D):
        scores = model.log_density(rounded, offsets, initial=initial, parameters=True, n_threads=n_threads)
        e[:, d] = value(d, HEADS[model.layout.head].distribution.of_outputs(scores.parameters[:, d]))
        rounded[:, d] = e[:, d]
    if state is None:
        return None
    return model.log_density(rounded, offsets, initial=initial, last=True, n_threads=n_threads).last


class Conditionals:
    """What estimators say of their one-dimensional conditionals, in the units of X.

    X, `lengths` and what comes back follow the rule of `score_dims`: a list of (T_i, D) arrays, or one array for
    vectors and for one 2-D sequence.  `lengths` is for sequence estimators.
    """

    # ---- distribution functions, scores, moments ----------------------------------------------------------------

    def cdf(self, X, *, lengths=None):
        """Probability integral transform: P(X_d <= x_d) given the dimensions before it and the past.  Exact.

        Under the true model these numbers are independent and uniform on [0, 1], over dimensions and frames.  Of binary
        models they are 1 - p for 0 and 1 for 1, which is not uniform.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, D), or one of them for one 2-D X or vectors

        References
        ----------
        A. P. Dawid, Statistical theory: the prequential approach, 1984.
        """
        return self._of_parts(X, lengths, lambda part: part.family.cdf(part.e))

    def ppf(self, X, q, *, lengths=None):
        """Quantiles of every conditional given the true past and the true dimensions before it.  Exact.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        q : float or array-like of shape (Q,)
            Probabilities in [0, 1]; the quantiles of 0 and 1 are -inf and inf (binary models: 0 and 1).
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, D), or (T_i, D, Q) for an array q; or one of them for one 2-D X or vectors

        Raises
        ------
        ValueError
            If q is not a number or a 1-D array in [0, 1].
        """
        q = as_probabilities("q", q)

        def value(part):
            found = [part.location + part.scale * part.family.ppf(one) for one in np.atleast_1d(q)]
            return np.stack(found, axis=-1) if q.ndim else found[0]

        return self._of_parts(X, lengths, value, q.shape)

    def crps(self, X, *, lengths=None):
        """Continuous ranked probability score of every conditional at x_d, in the units of X.  Exact, closed form.

        Lower is better; the mean over frames is a proper score of the dimension.  Of binary models (p - x)^2.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, D), or one of them for one 2-D X or vectors

        References
        ----------
        E. P. Grimit, T. Gneiting, V. J. Berrocal, N. A. Johnson, The continuous ranked probability score for circular
        variables and its application to mesoscale forecast ensemble verification, 2006.
        """
        return self._of_parts(X, lengths, lambda part: part.scale * part.family.crps(part.e))

    def mean(self, X, *, lengths=None):
        """Mean of every conditional given the true past and the true dimensions before it.  Exact.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, D), or one of them for one 2-D X or vectors
        """
        return self._of_parts(X, lengths, lambda part: part.location + part.scale * part.family.mean())

    def var(self, X, *, lengths=None):
        """Variance of every conditional given the true past and the true dimensions before it.  Exact.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, D), or one of them for one 2-D X or vectors
        """
        return self._of_parts(X, lengths, lambda part: part.scale**2 * part.family.var())

    # ---- Rosenblatt ---------------------------------------------------------------------------------------------

    def to_normal(self, X, *, lengths=None):
        """Rosenblatt transform: frames to numbers that are independent standard normals under the model.  Exact.

        z_d = Phi^-1(P(X_d <= x_d)) given the past and the dimensions before it, precise in both tails.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, D), or one of them for one 2-D X or vectors

        Raises
        ------
        ValueError
            For a binary model.

        References
        ----------
        M. Rosenblatt, Remarks on a multivariate transformation, 1952.
        """
        self._refuse_binary("to_normal")
        return self._of_parts(X, lengths, lambda part: part.family.normal_score(part.e))

    def from_normal(self, Z, *, lengths=None):
        """Inverse of `to_normal`: the frames whose normal scores are Z.  Exact.

        Independent standard normals become draws from the model.  A frame costs little more than a draw by `sample`:
        each of its numbers is the root of a distribution function.

        Parameters
        ----------
        Z : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, D), or one of them for one 2-D Z or vectors
            from_normal(to_normal(X)) is X up to rounding in `dtype`, where the density of X is not negligible.

        Raises
        ------
        ValueError
            For a binary model.
        """
        self._refuse_binary("from_normal")
        self._refuse_ensemble()
        with naming("Z"):
            data = self._checked(Z, lengths)
        z = np.ascontiguousarray(ordered(data.frames, self.order_), np.float64)
        x = self._model.from_normal(z, data.offsets, n_threads=self._n_threads())
        if self.transform_ is not None:
            x = self.transform_.inverse_of_packed(x, data.offsets)
        return data.split(self._in_order_of_X(x))

    # ---- surprise and calibration -------------------------------------------------------------------------------

    def explain(self, X, top=10, *, n_dims=1, lengths=None):
        """The most surprising frames, and in each the dimensions to blame.  Exact.

        Frames are ranked by log-density, the lowest first.  Within a frame dimensions are ranked by the log-density of
        what the transform makes of them, given those before: in the units of X a column in millimetres would be blamed
        before the same one in metres.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        top : int, default=10
            Frames; all of them where there are fewer.
        n_dims : int, default=1
            Dimensions of each frame, the most surprising first.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        Table, or pandas.DataFrame where X is one or holds them
            A row for each frame and dimension, with the columns sequence and frame (vectors: row), index (of a
            DataFrame), log_density (of the frame, nats), dimension (its name), dimension_log_density (nats, in the
            units of X), observed, expected (mean of the conditional), and pit (`cdf`; not for binary models).
        """
        from .surprise import explain

        return explain(self, X, top, n_dims, lengths)

    def alarm_threshold(self, X, rate=0.01, *, confidence=0.95, lengths=None):
        """The log-density of a frame below which to raise an alarm, at a given rate of false alarms.

        An order statistic of the log-densities of normal frames that were not trained on: the largest for which a
        further frame of the same kind falls below it with probability at most `rate`, whatever their distribution.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
            Validation data without anomalies.
        rate : float, default=0.01
            False alarms a frame, in (0, 1).
        confidence : float, default=0.95
            Of the interval, in (0, 1).
        lengths : array-like of shape (N,), optional

        Returns
        -------
        AlarmThreshold
            threshold, and low and high, order statistics between which the true quantile lies with at least that
            confidence; infinite where there are too few frames to say.  It counts frames as independent, so that of
            strongly dependent frames it is too narrow.  Alarm where `score_frames(X) < threshold`.

        Raises
        ------
        ValueError
            With fewer than 1 / rate - 1 frames, which say nothing about so rare an event.
        """
        from .surprise import alarm_threshold

        return alarm_threshold(self, X, rate, confidence, lengths)

    def calibration(self, X, *, n_bins=10, lengths=None):
        """Whether the conditionals are as wide as they should be: a report on their integral transforms.  Exact.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
            Data that were not trained on.
        n_bins : int, default=10
            Of the histograms.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        Calibration

        Raises
        ------
        ValueError
            For a binary model, whose integral transforms are not uniform.
        """
        from .calibration import calibration

        self._refuse_binary("calibration")
        return calibration(self, X, n_bins, lengths)

    # ---- inside -------------------------------------------------------------------------------------------------

    def _refuse_binary(self, call):
        if not HEADS[self._head].distribution.continuous:
            raise ValueError(
                f"{call} needs continuous data: the integral transforms of {type(self).__name__}'s zeros and ones "
                "cannot be uniform. predict_params(X) gives the probabilities."
            )

    def _checked(self, X, lengths):
        self._refuse_ensemble()
        if lengths is not None and not self._recurrent:
            raise TypeError(f"{type(self).__name__} takes vectors, one a row: leave lengths out.")
        return self._check(X, lengths)

    def _parts(self, data):
        """The conditionals of all frames of `data`, in slices."""
        model = self._model
        encoded = self._encode(data)
        frames = np.asarray(ordered(data.frames, self.order_), np.float64)
        location = scale = None
        if self.transform_ is not None:
            location, scale = self.transform_.location_and_scale(np.ascontiguousarray(frames), data.offsets)
        most = max(1, SLICE // (model.layout.D * model.layout.P))
        for rows, values in model.outputs(encoded, data.offsets, most, n_threads=self._n_threads()):
            family = HEADS[self._head].distribution.of_outputs(values)
            if location is None:
                yield Part(rows, frames[rows], 0.0, 1.0, family)
            else:
                yield Part(rows, (frames[rows] - location[rows]) / scale[rows], location[rows], scale[rows], family)

    def _of_parts(self, X, lengths, value, shape=()):
        """value(part), (m, D, *shape), of all parts, in the form of X."""
        data = self._checked(X, lengths)
        out = np.empty((*data.frames.shape, *shape))
        for part in self._parts(data):
            out[part.rows] = value(part)
        return data.split(self._in_order_of_X(out))

    def _draw_rest(self, leading, n_samples, generator, past, state):
        """The first frame of samples whose leading dimensions are given: e (n_samples, D), x of those dimensions
        (n_samples, j), and the state after it.  The other dimensions are drawn from their conditionals."""
        model, D = self._model, self._model.layout.D
        leading = as_numbers("leading", leading)
        j = leading.shape[-1] if leading.ndim else 0
        if leading.ndim not in (1, 2) or not 1 <= j <= D or (leading.ndim == 2 and len(leading) != n_samples):
            raise ValueError(
                f"leading must hold the first j of the {D} dimensions of a frame, (j,) or ({n_samples}, j) with "
                f"1 <= j <= {D}. Got shape {leading.shape}."
            )
        if not np.isfinite(leading).all():
            raise ValueError("leading holds NaN or infinity: give finite values.")
        if self._binary and not np.isin(leading, (0, 1)).all():
            raise ValueError("leading must hold zeros and ones: this is a model of binary data.")
        leading = np.broadcast_to(leading, (n_samples, j))
        e = np.zeros((n_samples, D))
        e[:, :j] = leading
        if self.transform_ is not None:
            # Of the frame so far, after the last frames of the past: e_1 ... e_j depend on nothing else.
            lags = self.transform_.lags
            n_past = 0 if past is None else min(len(past), lags)
            frames = np.zeros((n_samples, n_past + 1, D))
            if n_past:
                frames[:, :-1] = past[len(past) - n_past :]
            frames[:, -1, :j], frames[:, -1, j:] = leading, self.transform_.mean_[j:]
            offsets = (n_past + 1) * np.arange(n_samples + 1, dtype=np.int64)
            e[:] = self.transform_.forward(frames.reshape(-1, D), offsets)[n_past :: n_past + 1]
        if np.abs(e).max() > np.finfo(model.dtype).max:
            raise ValueError(f"leading is too large for {model.dtype}: scale it down or use dtype='float64'.")

        state = complete(model, e, j, lambda d, family: family.draw(generator), state, self._n_threads())
        return e, leading, state
