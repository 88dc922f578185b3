"""What users fit today, each with `fit(X, validation_data=None)`, `score_frames(X)` in nats and, for sequences, draws.

X is an array of rows (for the models of sequences: one sequence) or a list of sequences, as in the library.  Models
without time take sequences as rows.  `min_scale` is the smallest standard deviation (or bandwidth) that the settings
allow, in the unit of the standardised columns; None where nothing bounds it.
"""

import copy
import warnings

import numpy as np
from scipy import stats
from scipy.signal import lfilter
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn import mixture, neighbors

from rnnrnade import Linear


def rows_of(X):
    """All frames as rows."""
    return X if isinstance(X, np.ndarray) else np.concatenate(X)


def moments(rows):
    """(mean (D,), standard deviation (D,)) of columns."""
    return rows.mean(axis=0), rows.std(axis=0)


class Peer:
    """Scores of any form of X from `log_density(x)` of one array (T, D) to (T,)."""

    min_scale = None

    def __init__(self, random_state=None):
        self.random_state = random_state

    def score_frames(self, X):
        return self.log_density(X) if isinstance(X, np.ndarray) else [self.log_density(x) for x in X]


class Static(Peer):
    """A peer without time: columns are standardised, `fit_rows` and `log_density_rows` see those."""

    def fit(self, X, validation_data=None):
        rows = rows_of(X).astype(np.float64)
        self.mean_, self.scale_ = moments(rows)
        held = None if validation_data is None else self._standardised(rows_of(validation_data))
        self.fit_rows(self._standardised(rows), held)
        return self

    def _standardised(self, x):
        return (np.asarray(x, np.float64) - self.mean_) / self.scale_

    def log_density(self, x):
        return self.log_density_rows(self._standardised(x)) - np.log(self.scale_).sum()


class Gaussian(Static):
    """A full Gaussian by maximum likelihood."""

    def fit_rows(self, rows, held):
        covariance = np.cov(rows.T, bias=True)
        self.density_ = multivariate_normal(rows.mean(axis=0), covariance, allow_singular=False)

    def log_density_rows(self, rows):
        return self.density_.logpdf(rows)

    def predictive_mean(self, x):
        """(T, D): the mean of each frame given its past."""
        return np.broadcast_to(self.mean_ + self.scale_ * self.density_.mean, x.shape)

    def draw(self, x, n, generator):
        """(n, T, D): draws of each frame given its past."""
        drawn = generator.multivariate_normal(self.density_.mean, self.density_.cov, (n, len(x)))
        return self.mean_ + self.scale_ * drawn


class Mixture(Static):
    """A mixture of Gaussians by EM (scikit-learn).  `floor` squared is added to the variances."""

    def __init__(self, n_components=5, covariance_type="full", floor=1e-3, n_init=1, random_state=None):
        super().__init__(random_state)
        self.options = {"n_components": n_components, "covariance_type": covariance_type, "n_init": n_init}
        self.min_scale = floor

    def fit_rows(self, rows, held):
        self.density_ = mixture.GaussianMixture(
            **self.options, reg_covar=self.min_scale**2, max_iter=300, random_state=self.random_state
        ).fit(rows)

    def log_density_rows(self, rows):
        return self.density_.score_samples(rows)


class KernelDensity(Static):
    """A Gaussian kernel on every training row."""

    def __init__(self, bandwidth=0.3, random_state=None):
        super().__init__(random_state)
        self.min_scale = bandwidth

    def fit_rows(self, rows, held):
        self.density_ = neighbors.KernelDensity(bandwidth=self.min_scale).fit(rows)

    def log_density_rows(self, rows):
        return self.density_.score_samples(rows)


class NeuralSplineFlow(Static):
    """An autoregressive neural spline flow (zuko, PyTorch), stopped early on the validation data.

    Durkan, Bekasov, Murray and Papamakarios, Neural spline flows, 2019.
    """

    def __init__(
        self, transforms=3, hidden=(64, 64), learning_rate=1e-3, weight_decay=0.0, batch_size=128, max_epochs=400,
        patience=20, random_state=None,
    ):  # fmt: skip
        super().__init__(random_state)
        self.transforms, self.hidden, self.learning_rate, self.weight_decay = (
            transforms, hidden, learning_rate, weight_decay,
        )  # fmt: skip
        self.batch_size, self.max_epochs, self.patience = batch_size, max_epochs, patience

    def fit_rows(self, rows, held):
        import torch
        import zuko

        if held is None:
            raise ValueError("the flow needs validation data to stop on")
        generator = np.random.default_rng(self.random_state)
        with torch.random.fork_rng(devices=[]):  # the process's own stream stays where it is
            torch.manual_seed(int(generator.integers(2**31)))
            flow = zuko.flows.NSF(features=rows.shape[1], transforms=self.transforms, hidden_features=self.hidden)
        optimizer = torch.optim.AdamW(flow.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        x, valid = torch.tensor(rows, dtype=torch.float32), torch.tensor(held, dtype=torch.float32)
        best, best_state, since = -np.inf, None, 0
        for _ in range(self.max_epochs):
            order = torch.from_numpy(generator.permutation(len(x)))
            for batch in order.split(self.batch_size):
                optimizer.zero_grad()
                (-flow().log_prob(x[batch]).mean()).backward()
                torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
                optimizer.step()
            with torch.no_grad():
                score = float(flow().log_prob(valid).mean())
            if score > best:
                best, best_state, since = score, copy.deepcopy(flow.state_dict()), 0
            else:
                since += 1
                if since >= self.patience:
                    break
        if best_state is not None:
            flow.load_state_dict(best_state)
        self.flow_ = flow

    def log_density_rows(self, rows):
        import torch

        with torch.no_grad():
            return self.flow_().log_prob(torch.tensor(rows, dtype=torch.float32)).numpy().astype(np.float64)


class VAR(Peer):
    """A vector autoregression by ridge regression, with full or diagonal noise: the library's transform alone, whose
    output is standard normal.  The first frames of a sequence have predictors of their own."""

    def __init__(self, lags=1, covariance="full", ridge=1.0, floor=1e-3, random_state=None):
        super().__init__(random_state)
        self.linear = Linear(lags=lags, covariance=covariance, ridge=ridge, floor=floor)
        self.min_scale = floor

    def fit(self, X, validation_data=None):
        sequences = [X] if isinstance(X, np.ndarray) else X
        self.linear.fit(np.concatenate(sequences), np.cumsum([0, *map(len, sequences)]))
        return self

    def _left(self, x):
        """(e, its log-Jacobian), each (T, D)."""
        x, offsets = np.ascontiguousarray(x, np.float64), np.array([0, len(x)])
        jacobian = self.linear.log_jacobian(offsets)
        return self.linear.forward(x, offsets), np.broadcast_to(jacobian, x.shape)

    def log_density(self, x):
        e, jacobian = self._left(x)
        return (jacobian - 0.5 * e**2 - 0.5 * np.log(2 * np.pi)).sum(axis=1)

    def predictive_mean(self, x):
        """(T, D): the mean of each frame given its past."""
        e, _ = self._left(x)
        return x - noise(self.linear, e, np.arange(len(x)))

    def draw(self, x, n, generator):
        """(n, T, D): draws of each frame given its past."""
        e, _ = self._left(x)
        return x + noise(self.linear, generator.standard_normal((n, *e.shape)) - e, np.arange(len(x)))


def noise(linear, e, position):
    """scale L_q e of e (..., T, D), where frame t has position[t] frames before it: what e moves x by."""
    moved, lags = np.empty_like(e), np.minimum(position, linear.lags)
    for q in np.unique(lags):
        moved[..., lags == q, :] = linear.scale_ * (e[..., lags == q, :] @ linear.factors_[q].T)
    return moved


class ScaledVAR(VAR):
    """A VAR with full noise e whose covariance has K scalings, by EM: loudness, and nothing else, changes::

        p(e) = sum_k pi_k N(e; 0, s_k I)

    `scalings` is K; EM, which sees no more than the squared norms of the training residuals, begins with equal weights
    at quantiles of them, and ends when its mean log-density rises by less than 1e-6.
    """

    def __init__(self, lags=2, scalings=8, ridge=1.0, floor=1e-3, random_state=None):
        super().__init__(lags, "full", ridge, floor, random_state)
        self.scalings = scalings

    def fit(self, X, validation_data=None):
        super().fit(X)
        squares = np.concatenate([self._squares(x) for x in ([X] if isinstance(X, np.ndarray) else X)])
        D = len(self.linear.scale_)
        self.s_ = np.quantile(squares / D, np.linspace(0.02, 0.98, self.scalings))
        self.pi_ = np.full(self.scalings, 1 / self.scalings)
        before = -np.inf
        for _ in range(1000):
            joint = self._joint(squares)
            total = logsumexp(joint, axis=1)
            if total.mean() - before < 1e-6:
                break
            before, share = total.mean(), np.exp(joint - total[:, None])
            self.pi_ = share.mean(axis=0)
            self.s_ = (share * squares[:, None]).sum(axis=0) / (D * share.sum(axis=0))
        return self

    def _squares(self, x):
        """|e^t|^2, (T,)"""
        return (self._left(x)[0] ** 2).sum(axis=1)

    def _joint(self, squares):
        """log of pi_k N(e; 0, s_k I) of each frame, (T, K), from |e|^2 (T,)"""
        D = len(self.linear.scale_)
        return np.log(self.pi_) - 0.5 * (squares[:, None] / self.s_ + D * np.log(2 * np.pi * self.s_))

    def log_density(self, x):
        e, jacobian = self._left(x)
        return jacobian.sum(axis=1) + logsumexp(self._joint((e**2).sum(axis=1)), axis=1)

    def draw(self, x, n, generator):
        """(n, T, D): draws of each frame given its past."""
        e, _ = self._left(x)
        chosen = np.sqrt(generator.choice(self.s_, p=self.pi_, size=(n, len(x), 1)))
        return x + noise(self.linear, chosen * generator.standard_normal((n, *e.shape)) - e, np.arange(len(x)))


# ---- binary data -------------------------------------------------------------------------------------------------


class ChowLiu(Peer):
    """A tree of binary variables, each depending on one other, by maximum likelihood: the maximum spanning tree of the
    mutual information of pairs (Chow and Liu, Approximating discrete probability distributions with dependence trees,
    1968).  `prior` rows with independent fair coins in them are added to the counts."""

    def __init__(self, prior=1.0, random_state=None):
        super().__init__(random_state)
        self.prior = prior

    def fit(self, X, validation_data=None):
        n, X = len(X), np.asarray(X, np.float64)
        ones, both = X.sum(axis=0), X.T @ X
        counts = np.array([[n - ones[:, None] - ones + both, ones - both], [ones[:, None] - both, both]])
        joint = (counts + self.prior / 4) / (n + self.prior)  # [i, j, c, d]: x_c = i and x_d = j
        p = (ones + self.prior / 2) / (n + self.prior)
        single = np.array([1 - p, p])
        information = sum(
            joint[i, j] * np.log(joint[i, j] / np.outer(single[i], single[j])) for i in (0, 1) for j in (0, 1)
        )
        tree = minimum_spanning_tree(-np.triu(information.clip(1e-9), 1))  # a zero would be an absent edge
        order, parent = breadth_first_order(tree, 0, directed=False)
        self.root_, self.children_, self.parents_ = order[0], order[1:], parent[order[1:]]
        self.log_root_ = np.log(single[:, self.root_])
        self.log_edges_ = np.log(
            joint[:, :, self.parents_, self.children_] / single[:, None, self.parents_]
        )  # of x_child = j given x_parent = i: [i, j, edge]
        return self

    def log_density(self, x):
        x = np.asarray(x, np.int64)
        edges = self.log_edges_[x[:, self.parents_], x[:, self.children_], np.arange(len(self.children_))]
        return self.log_root_[x[:, self.root_]] + edges.sum(axis=1)


class BernoulliMixture(Peer):
    """A mixture of K vectors of independent bits by EM, with `prior` rows of the column means in each component.

    With validation data the iteration that is best on them is kept."""

    def __init__(self, n_components=32, prior=1.0, n_iter=100, random_state=None):
        super().__init__(random_state)
        self.n_components, self.prior, self.n_iter = n_components, prior, n_iter

    def fit(self, X, validation_data=None):
        X = np.asarray(X, np.float64)
        share = np.random.default_rng(self.random_state).dirichlet(np.full(self.n_components, 0.1), len(X))
        mean, best, kept = X.mean(axis=0), -np.inf, None
        for _ in range(self.n_iter):
            total = share.sum(axis=0)
            pi = (total + 1e-9) / (total + 1e-9).sum()
            p = ((share.T @ X + self.prior * mean) / (total[:, None] + self.prior)).clip(1e-4, 1 - 1e-4)
            self.log_pi_, self.log_p_, self.log_q_ = np.log(pi), np.log(p), np.log1p(-p)
            joint = self._joint(X)
            share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
            if validation_data is not None and (score := self.log_density(validation_data).mean()) > best:
                best, kept = score, (self.log_pi_, self.log_p_, self.log_q_)
        if kept is not None:
            self.log_pi_, self.log_p_, self.log_q_ = kept
        return self

    def _joint(self, x):
        """log p(k, x): (T, K)"""
        x = np.asarray(x, np.float64)
        return self.log_pi_ + x @ self.log_p_.T + (1 - x) @ self.log_q_.T

    def log_density(self, x):
        return logsumexp(self._joint(x), axis=1)


class Bits(Peer):
    """Each column by itself: bits that depend on none before them (memory=0) or on the one before (memory=1; before a
    sequence stand zeros).  `prior` fair draws are added to the counts of each case."""

    def __init__(self, memory=1, prior=1.0, random_state=None):
        super().__init__(random_state)
        self.memory, self.prior = memory, prior

    def fit(self, X, validation_data=None):
        sequences = [X] if isinstance(X, np.ndarray) else X
        x, before = np.concatenate(sequences), np.concatenate([self._before(x) for x in sequences])
        cases = [before == past for past in (0, 1)]
        p = [((case * x).sum(axis=0) + self.prior / 2) / (case.sum(axis=0) + self.prior) for case in cases]
        self.log_p_ = np.log([np.subtract(1, p), p])  # of x_d^t = j given what was before, i: [j, i, d]
        return self

    def _before(self, x):
        """What x (T, D) depends on."""
        return np.vstack([np.zeros_like(x[:1]), x[:-1]]) if self.memory else np.zeros_like(x)

    def log_density(self, x):
        x, before = np.asarray(x, np.int64), np.asarray(self._before(x), np.int64)
        return self.log_p_[x, before, np.arange(x.shape[1])].sum(axis=1)


class GaussianHMM(Peer):
    """A hidden Markov model with Gaussian states by EM (hmmlearn, its default priors but for that of the variances);
    columns standardised.  `floor` squared is added to the variances: a state with few frames has a singular covariance
    matrix.  A `restart` other than 0 is another seed of EM.  Where EM fails or ends in numbers that are not finite, as
    it may with few frames of many columns, every score is -inf."""

    def __init__(
        self, n_components=5, covariance_type="full", n_iter=100, covars_prior=1e-2, floor=1e-3, restart=0,
        random_state=None,
    ):  # fmt: skip
        super().__init__(restart or random_state)
        self.min_scale = floor
        self.options = {
            "n_components": n_components, "covariance_type": covariance_type, "n_iter": n_iter,
            "covars_prior": covars_prior,
        }  # fmt: skip

    def fit(self, X, validation_data=None):
        from hmmlearn.hmm import GaussianHMM as HMM

        sequences = [X] if isinstance(X, np.ndarray) else X
        rows = np.concatenate(sequences)
        self.mean_, self.scale_ = moments(rows)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            try:
                self.model_ = HMM(**self.options, random_state=self.random_state).fit(
                    (rows - self.mean_) / self.scale_, [len(x) for x in sequences]
                )
            except ValueError:  # a covariance matrix, or a probability, is none any more
                self.is_finite_ = False
                return self
        self.covars_ = self.model_.covars_ + self.min_scale**2 * np.eye(rows.shape[1])
        numbers = self.covars_, self.model_.means_, self.model_.transmat_, self.model_.startprob_
        self.is_finite_ = all(np.isfinite(values).all() for values in numbers)
        return self

    def _filter(self, x):
        """(log p(x^t | past) (T,), p(state^t | past) (T, states)), by the forward recursion."""
        model, z = self.model_, (x - self.mean_) / self.scale_
        log_b = np.stack(
            [multivariate_normal(m, c).logpdf(z) for m, c in zip(model.means_, self.covars_, strict=True)],
            axis=-1,
        ).reshape(len(z), -1)
        predicted, log_density = np.empty_like(log_b), np.empty(len(z))
        p = model.startprob_
        with np.errstate(divide="ignore"):  # a state that cannot be
            for t in range(len(z)):
                predicted[t] = p
                joint = np.log(p) + log_b[t]
                top = joint.max()
                p = np.exp(joint - top)
                total = p.sum()
                log_density[t] = top + np.log(total)
                p = p / total @ model.transmat_
        return log_density - np.log(self.scale_).sum(), predicted

    def log_density(self, x):
        return self._filter(x)[0] if self.is_finite_ else np.full(len(x), -np.inf)

    def predictive_mean(self, x):
        """(T, D): the mean of each frame given its past."""
        return self.mean_ + self.scale_ * (self._filter(x)[1] @ self.model_.means_)

    def draw(self, x, n, generator):
        """(n, T, D): draws of each frame given its past."""
        predicted, model = self._filter(x)[1], self.model_
        state = (generator.random((n, len(x), 1)) > predicted.cumsum(axis=1)[:, :-1]).sum(axis=-1)
        L = np.linalg.cholesky(self.covars_)
        drawn = model.means_[state]
        for s in range(len(L)):  # one state's matrix at a time
            where = state == s
            drawn[where] += generator.standard_normal((where.sum(), x.shape[1])) @ L[s].T
        return self.mean_ + self.scale_ * drawn


def student_conditionals(v, nu):
    """(scales s (T, D), degrees of freedom (D,)): v_d / s_d given v_1 ... v_{d-1} is a Student-t, where v (T, D) are
    multivariate t with nu degrees of freedom and covariance I."""
    if np.isinf(nu):
        return np.ones_like(v), np.full(v.shape[1], np.inf)
    f = (nu - 2) / nu  # the scale matrix is f I
    before = np.cumsum(v**2, axis=1) - v**2
    degrees = nu + np.arange(v.shape[1])
    return np.sqrt((f * nu + before) / degrees), degrees


class StudentVAR(Peer):
    """A vector autoregression on chosen lags by ridge regression, whose noise is multivariate Student-t, its covariance
    an exponentially weighted mean of the products of past residuals.  In standardised columns::

        z^t = b + sum_l A_l z^{t-l} + r^t,   cov(r^t) = (1 - constant) C_t + constant S + floor^2 I,
        C_{t+1} = decay C_t + (1 - decay) r^t r^t',   C_1 = S

    with S the covariance of the training residuals.  decay = 1 and nu = inf: a VAR with constant Gaussian noise.
    Frames with a shorter past than the longest lag are those of a Gaussian (or t) without time.
    """

    def __init__(
        self, lags=(1,), ridge=1.0, decay=1.0, constant=0.0, nu=np.inf, floor=1e-3, random_state=None
    ):  # fmt: skip
        super().__init__(random_state)
        self.lags, self.ridge, self.decay, self.constant, self.nu = tuple(lags), ridge, decay, constant, nu
        self.min_scale = floor

    def fit(self, X, validation_data=None):
        self.mean_, self.scale_ = moments(rows_of(X))
        sequences = [(x - self.mean_) / self.scale_ for x in ([X] if isinstance(X, np.ndarray) else X)]
        past = np.concatenate([self._past(z) for z in sequences])
        target = np.concatenate([z[max(self.lags) :] for z in sequences])
        self.A_, self.b_ = self._coefficients(past, target)
        self.S_, without_time = (
            r.T @ r / len(r) for r in (target - self.b_ - past @ self.A_, np.concatenate(sequences))
        )
        self.first_root_ = self._root(without_time)
        return self

    def _coefficients(self, past, target):
        """(A (lags * D, D), b (D,))"""
        means = past.mean(axis=0), target.mean(axis=0)
        past, target = past - means[0], target - means[1]
        A = np.linalg.solve(past.T @ past + self.ridge * np.eye(past.shape[1]), past.T @ target)
        return A, means[1] - means[0] @ A

    def _past(self, z):
        """(T - longest lag, lags * D): what predicts the frames that have so long a past."""
        n = max(0, len(z) - max(self.lags))
        begins = [max(self.lags) - lag for lag in self.lags]
        return np.hstack([z[begin : begin + n] for begin in begins])

    def _root(self, C):
        return np.linalg.cholesky(C + self.min_scale**2 * np.eye(C.shape[-1]))

    def _roots(self, C):
        """Cholesky factors of cov(r^t) from C_t (..., D, D)."""
        return self._root((1 - self.constant) * C + self.constant * self.S_)

    def _left(self, x):
        """(r (T, D), Cholesky factors of their covariances, and the C_t of the frame after the last)."""
        z, first = (x - self.mean_) / self.scale_, min(max(self.lags), len(x))
        r = np.concatenate([z[:first], z[first:] - self.b_ - self._past(z) @ self.A_])
        products = (r[:, :, None] * r[:, None, :])[first:]
        C, _ = lfilter([1 - self.decay], [1, -self.decay], products, axis=0, zi=self.decay * self.S_[None])
        C = np.concatenate([self.S_[None], C])
        return r, np.concatenate([np.tile(self.first_root_, (first, 1, 1)), self._roots(C[:-1])]), C[-1]

    def _conditionals(self, x):
        """(r / s, s, each (T, D), degrees of freedom (D,)): r_d / s_d given the past and r_1 ... r_{d-1} is a t."""
        r, roots, _ = self._left(x)
        v = np.linalg.solve(roots, r[:, :, None])[:, :, 0]
        scale, degrees = student_conditionals(v, self.nu)
        return v / scale, scale * np.diagonal(roots, axis1=1, axis2=2), degrees

    def log_density(self, x):
        v, scale, degrees = self._conditionals(x)
        return (stats.t.logpdf(v, degrees) - np.log(scale * self.scale_)).sum(axis=1)

    def cdf(self, x):
        """(T, D): the probability integral transforms, each given the past and the dimensions before."""
        v, _, degrees = self._conditionals(x)
        return stats.t.cdf(v, degrees)

    def _noise(self, roots, n, generator):
        """Draws of r: (n, T, D)"""
        v = generator.standard_normal((n, *roots.shape[:-1]))
        if not np.isinf(self.nu):
            v *= np.sqrt((self.nu - 2) / generator.chisquare(self.nu, (*v.shape[:-1], 1)))
        return np.einsum("tij,ntj->nti", roots, v)

    def draw(self, x, n, generator):
        """(n, T, D): draws of each frame given its past."""
        r, roots, _ = self._left(x)
        return x + self.scale_ * (self._noise(roots, n, generator) - r)

    def forecast(self, x, horizon, n, generator):
        """(n, horizon, D): draws of what follows x, which is at least as long as the longest lag."""
        longest, C = max(self.lags), np.tile(self._left(x)[2], (n, 1, 1))
        path = np.tile((x[len(x) - longest :] - self.mean_) / self.scale_, (n, 1, 1))
        for _ in range(horizon):
            past = np.hstack([path[:, -lag] for lag in self.lags])
            r = self._noise(self._roots(C), 1, generator)[0]
            path = np.concatenate([path, (self.b_ + past @ self.A_ + r)[:, None]], axis=1)
            C = self.decay * C + (1 - self.decay) * r[:, :, None] * r[:, None, :]
        return self.mean_ + self.scale_ * path[:, longest:]


class SeasonalNaive(StudentVAR):
    """Each frame is the one of a season before, with constant Gaussian noise; a season of 1 is a random walk."""

    def __init__(self, season=1, floor=1e-3, random_state=None):
        super().__init__(lags=(season,), floor=floor, random_state=random_state)

    def _coefficients(self, past, target):
        return np.eye(target.shape[1]), np.zeros(target.shape[1])


class GARCH(Peer):
    """Each column by itself: a constant mean and a GARCH(1, 1) variance with Student-t noise (the package arch)::

        var_t = omega + alpha r_{t-1}^2 + beta var_{t-1},   r_t = z_t - mu,   var_1 = 1 (columns are standardised)

    Several sequences are fitted as one that goes on.
    """

    def fit(self, X, validation_data=None):
        from arch import arch_model

        rows = rows_of(X)
        self.mean_, self.scale_ = moments(rows)
        fitted = [
            arch_model(z, mean="Constant", vol="GARCH", p=1, q=1, dist="t", rescale=False).fit(
                disp="off", show_warning=False
            )
            for z in ((rows - self.mean_) / self.scale_).T
        ]
        self.mu_, self.omega_, self.alpha_, self.beta_, self.nu_ = np.stack([one.params for one in fitted], axis=1)
        return self

    def _standard(self, x):
        """(v, sd), each (T, D): z = mu + sd v, and v has variance 1."""
        left = (x - self.mean_) / self.scale_ - self.mu_
        variance = np.ones_like(left)
        for t in range(1, len(left)):
            variance[t] = self.omega_ + self.alpha_ * left[t - 1] ** 2 + self.beta_ * variance[t - 1]
        return left / np.sqrt(variance), np.sqrt(variance)

    def log_density(self, x):
        v, sd = self._standard(x)
        unit = np.sqrt((self.nu_ - 2) / self.nu_)  # of a Student-t with variance 1
        return (stats.t.logpdf(v / unit, self.nu_) - np.log(unit * sd * self.scale_)).sum(axis=1)

    def cdf(self, x):
        """(T, D): the probability integral transforms, each given the past."""
        v, _ = self._standard(x)
        return stats.t.cdf(v / np.sqrt((self.nu_ - 2) / self.nu_), self.nu_)

    def draw(self, x, n, generator):
        """(n, T, D): draws of each frame given its past."""
        _, sd = self._standard(x)
        v = generator.standard_t(self.nu_, (n, *x.shape)) * np.sqrt((self.nu_ - 2) / self.nu_)
        return self.mean_ + self.scale_ * (self.mu_ + sd * v)
