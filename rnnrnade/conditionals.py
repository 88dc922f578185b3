"""Every conditional in closed form: distribution functions, quantiles, CRPS, moments, the Rosenblatt transform."""

import numpy as np

from .calibration import calibration
from .calls import reading
from .checks import allocated, as_probabilities, check_finite, names_of_features, naming
from .distributions import Bernoulli, MixtureOfGaussians  # noqa: F401  (where they used to be)
from .surprise import alarm_threshold, explain

__all__ = ["Conditionals"]


class Conditionals:
    """What estimators say about their one-dimensional conditionals, in the units of X.

    X, `lengths` and what comes back follow the rule of `score_dims`: a list of (T_i, D) arrays, or one array for
    vectors and for one 2-D sequence; tables of them after `set_output`.
    """

    # ---- distribution functions, scores, moments ----------------------------------------------------------------

    @reading
    def cdf(self, X, *, lengths=None):
        """Probability integral transform: P(X_d <= x_d) given the dimensions before it and the past.  Exact.

        Under the true model these numbers are independent and uniform on [0, 1], over dimensions and frames.  For
        binary models they are 1 - p for 0 and 1 for 1, which is not uniform.

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
        return self._in_form_of_X("cdf", X, lengths, lambda part: part.family.cdf(part.e))

    @reading
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

        ends = bool(np.isin(q, (0, 1)).any())
        return self._in_form_of_X("ppf", X, lengths, value, q.shape, ("q", q.tolist()), ends)

    @reading
    def crps(self, X, *, lengths=None):
        """Continuous ranked probability score of every conditional at x_d, in the units of X.  Exact, closed form.

        Lower is better; the mean over frames is a proper score of the dimension.  For binary models it is (p - x)^2.

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
        return self._in_form_of_X("crps", X, lengths, lambda part: part.scale * part.family.crps(part.e))

    @reading
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
        return self._in_form_of_X("mean", X, lengths, lambda part: part.location + part.scale * part.family.mean())

    @reading
    def var(self, X, *, lengths=None):
        """Variance of every conditional given the true past and the true dimensions before it.  Exact; infinite where a
        Student component has at most two degrees of freedom.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        lengths : array-like of shape (N,), optional

        Returns
        -------
        list of ndarrays of shape (T_i, D), or one of them for one 2-D X or vectors
        """
        return self._in_form_of_X(
            "var", X, lengths, lambda part: part.scale**2 * part.family.var(), infinite=bool(self._head.shapes)
        )

    # ---- Rosenblatt ---------------------------------------------------------------------------------------------

    @reading
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
        return self._in_form_of_X("to_normal", X, lengths, lambda part: part.family.normal_score(part.e))

    @reading
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
        density = self._one_density()
        with naming("Z"):
            data = self._check(Z, lengths)
        return data.split(density.from_normal(data, self._n_threads()))

    # ---- surprise and calibration -------------------------------------------------------------------------------

    @reading
    def explain(self, X, top=10, *, n_dims=1, lengths=None):
        """The most surprising frames, and in each the dimensions to blame.  Exact.

        Frames are ranked by log-density, the lowest first.  Within a frame, dimensions are ranked by the log-density of
        what the transform makes of them, given those before: in the units of X, a column in millimetres would be blamed
        before the same one in metres.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
        top : int, default=10
            Number of frames; all of them if there are fewer.
        n_dims : int, default=1
            Dimensions of each frame, the most surprising first.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        Table, or pandas.DataFrame where X is one or holds them
            A row for each frame and dimension, with the columns sequence (its key, if it has one) and frame
            (vectors: row), index (of a DataFrame, or the time of a SequenceBatch), log_density (of the frame, nats),
            dimension (its name), dimension_log_density (nats, in the units of X), observed, expected (mean of the
            conditional), and pit (`cdf`; not for binary models).
        """
        density = self._one_density()
        data = self._check(X, lengths)
        names = names_of_features(self, data.n_features)
        return explain(density, data, names, top, n_dims, self._n_threads())

    @reading
    def alarm_threshold(self, X, rate=0.01, *, confidence=0.95, lengths=None):
        """The log-density of a frame below which to raise an alarm, at a given rate of false alarms.

        It is an order statistic of the log-densities of normal frames that the model was not trained on: the largest
        below which a further frame of the same kind falls with probability at most `rate`, whatever their distribution.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
            Validation data without anomalies.
        rate : float, default=0.01
            False alarms per frame, in (0, 1).
        confidence : float, default=0.95
            Confidence of the interval, in (0, 1).
        lengths : array-like of shape (N,), optional

        Returns
        -------
        AlarmThreshold
            threshold, and low and high, order statistics between which the true quantile lies with at least that
            confidence; infinite if there are too few frames to say.  The interval counts frames as independent, so it
            is too narrow for strongly dependent ones.  Raise an alarm where `score_frames(X) < threshold`.

        Raises
        ------
        ValueError
            With fewer than 1 / rate - 1 frames, which say nothing about an event so rare.
        """
        return alarm_threshold(self._scored(X, lengths)[1], rate, confidence)

    @reading
    def calibration(self, X, *, n_bins=10, lengths=None):
        """Whether the conditionals are as wide as they should be: a report on their integral transforms.  Exact.

        Parameters
        ----------
        X : list of (T_i, D) arrays, or another form
            Data that the model was not trained on.
        n_bins : int, default=10
            Bins of each histogram.
        lengths : array-like of shape (N,), optional

        Returns
        -------
        Calibration

        Raises
        ------
        ValueError
            For a binary model, whose integral transforms are not uniform.
        """
        self._refuse_binary("calibration")
        data, values = self._of_parts("cdf", X, lengths, lambda part: part.family.cdf(part.e))
        scored = np.delete(np.arange(data.n_features), self._fitted_given(data.n_features))
        names = names_of_features(self, data.n_features)
        return calibration(values[:, scored], [names[d] for d in scored], n_bins)

    # ---- inside -------------------------------------------------------------------------------------------------

    def _refuse_binary(self, call):
        if not self._head.distribution.continuous:
            raise ValueError(
                f"{call} needs continuous data: the integral transforms of {type(self).__name__}'s zeros and ones "
                "cannot be uniform. predict_params(X) gives the probabilities."
            )

    def _of_parts(self, call, X, lengths, value, shape=(), infinite=False):
        """(data, value(part), (m, D, *shape), of all parts), finite but with `infinite`."""
        density = self._one_density()
        data = self._check(X, lengths)
        out = allocated("what is asked for", (*data.frames.shape, *shape))
        for part in density.parts(data, self._n_threads()):
            with np.errstate(over="ignore", invalid="ignore"):
                out[part.rows] = value(part)
        given = self._fitted_given(data.n_features)
        out[:, given] = 0.0
        values = np.where(np.isinf(out), 0.0, out) if infinite else out
        check_finite(call, values, lambda row, d, *_: data.place(row, d))
        out[:, given] = np.nan
        return data, out

    def _in_form_of_X(self, call, X, lengths, value, shape=(), deep=None, infinite=False):
        data, out = self._of_parts(call, X, lengths, value, shape, infinite)
        return data.split(out, deep=deep)
