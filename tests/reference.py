"""The definition: the model in plain NumPy loops, float64. Imports nothing from the package.

T frames, D dimensions, H hidden units, K components, R recurrent units, L layers of them. Numbers in brackets are
equations:

    (1)  log p(x^1..x^T) = sum_t sum_d log p(x_d^t | x_<d^t, x^<t)
    (2)  r^0 learned;   r^t = f(W_in x^t + W_rec r^{t-1} + b_r)                        f: the cell; GRU and LSTM below
         layer l > 1:   r_l^t = f(W_in_l r_{l-1}^t + W_rec_l r_l^{t-1} + b_r_l)        r is that of the top layer, L
    (3)  a_1 = c (+ W_c r^{t-1});     a_{d+1} = a_d + x_d W[:,d]
    (4)  h_d = s(rho_d a_d)                                                            s: the activation
    (5)  z^q_d = V^q_d' h_d + b^q_d + W^q_d r^{t-1}
    (6)  mixture:   alpha = softmax(z^alpha),  mu = z^mu,  sigma = min_scale + exp(z^sigma)
         Student:   nu = 1 + exp(z^nu), too, z^nu = b^nu
         Bernoulli: p(x_d = 1) = sigmoid(z)
    (7)  mixture:   log p(x_d | .) = logsumexp_k( log alpha_k + log f((x_d - mu_k) / sigma_k) - log sigma_k )
                    f: the density of its family
         Bernoulli: log p(x_d | .) = x_d log sigmoid(z) + (1 - x_d) log sigmoid(-z)

Where b_alpha is (K,) instead of (D, K), components are shared by all dimensions of a frame, and (3) to (5) are

    (8)  l_1 = b_alpha + W_alpha r^{t-1};     l_{d+1} = l_d + log f((x_d - mu_dk) / sigma_dk) - log sigma_dk
    (9)  z^alpha_d = l_d (less its logsumexp),     z^q_d = b^q_d + W^q_d r^{t-1}  for q in mu, sigma

In the place of (3) to (5), the conditioner "made" has layers with masks (an entry that its mask leaves
out is not read); unit i of H in a layer has degree floor(i D / H), or what parameters "degree", "degree_2" ... say, and
dimensions are counted from 0:

    (3') h^1 = s(c + W x (+ W_c r^{t-1})),   h^l = s(c_l + W_l h^{l-1})     W: input j < degree; W_l: degrees <= own
    (5') z^q_d = V^q_d' h^L + b^q_d + W^q_d r^{t-1} (+ V_x^q_d' x)          V_d: degrees <= d; V_x: inputs j < d

Where `given` = U numbers are known with each frame, x (T, U + D) has them in front: u^t. They are not scored. What
stands for r^{t-1} above is then (r^{t-1}, u^t), of which W_c (or the W_alpha of shared components) may read u^t alone,
and the recurrence reads (u^t, x^t).

Parameters are a mapping with the names and shapes that users see. A static model has no recurrent parameters,
a model without hidden units (H = 0) arrays of size 0 or none. Everything here runs on complex parameters too:
the derivative of a real function f is Im f(p + i h e) / h, exact for tiny h, and checks `gradient`.
"""

import math

import numpy as np
from scipy.special import digamma, loggamma, stdtr

LOG_SQRT_2PI = 0.5 * np.log(2.0 * np.pi)

# ---- functions of one number, analytic in a complex neighbourhood of the real line -------------------------


def sigmoid(z):
    e = np.exp(np.where(np.real(z) > 0, -z, z))  # never overflows
    return np.where(np.real(z) > 0, 1.0, e) / (1.0 + e)


def log_sigmoid(z):
    e = np.exp(np.where(np.real(z) > 0, -z, z))
    return np.where(np.real(z) > 0, 0.0, z) - np.log(1.0 + e)


def relu(z):
    return np.where(np.real(z) > 0, z, 0.0)


def logsumexp(z):
    top = np.max(np.real(z))  # a real constant: it cancels, in the derivative too
    return top + np.log(np.sum(np.exp(z - top)))


# name: (s, the derivative s' as a function of s)
ACTIVATIONS = {
    "sigmoid": (sigmoid, lambda s: s * (1.0 - s)),
    "relu": (relu, lambda s: np.where(np.real(s) > 0, 1.0, 0.0)),
}

# ---- recurrences: forward and backward of (2) --------------------------------------------------------------


# A state is what a step of a layer hands to the next: r, (R,), or (r, c) one behind the other, (2R,). Only the top
# layer's r conditions a frame.


class Elementwise:
    """r^t = f(W_in x^t + W_rec r^{t-1} + b_r)                                                          (2)"""

    gates, first = 1, ("r0",)

    def __init__(self, f, df):
        self.f, self.df = f, df

    def step(self, p, x, r_prev):
        return self.f(p["W_in"] @ x + p["W_rec"] @ r_prev + p["b_r"])

    def step_backward(self, p, x, r_prev, r, dr, g):
        """Adds to the gradients g; returns what r^{t-1} gets of dr = dr^t, and what x gets."""
        dpre = dr * self.df(r)
        g["W_rec"] += np.outer(dpre, r_prev)
        g["W_in"] += np.outer(dpre, x)
        g["b_r"] += dpre
        return p["W_rec"].T @ dpre, p["W_in"].T @ dpre


class GRU:
    """reset, update, and a candidate whose recurrent part the reset gate multiplies:

    g = sigmoid(W_in_g x + b_g + W_rec_g r^{t-1}),   u the same with its own rows
    m = tanh(W_in_m x + b_m + g * (W_rec_m r^{t-1}))
    r^t = (1 - u) * m + u * r^{t-1}                                                                     (2)
    """

    gates, first = 3, ("r0",)

    @staticmethod
    def parts(p, x, r_prev):
        from_x, from_r = np.split(p["W_in"] @ x + p["b_r"], 3), np.split(p["W_rec"] @ r_prev, 3)
        g, u = sigmoid(from_x[0] + from_r[0]), sigmoid(from_x[1] + from_r[1])
        return g, u, np.tanh(from_x[2] + g * from_r[2]), from_r[2]

    def step(self, p, x, r_prev):
        _, u, m, _ = self.parts(p, x, r_prev)
        return (1.0 - u) * m + u * r_prev

    def step_backward(self, p, x, r_prev, r, dr, grad):
        g, u, m, y = self.parts(p, x, r_prev)
        dm = dr * (1.0 - u) * (1.0 - m * m)
        du = dr * (r_prev - m) * u * (1.0 - u)
        dg = dm * y * g * (1.0 - g)
        from_x, from_r = np.concatenate([dg, du, dm]), np.concatenate([dg, du, dm * g])
        grad["W_rec"] += np.outer(from_r, r_prev)
        grad["W_in"] += np.outer(from_x, x)
        grad["b_r"] += from_x
        return dr * u + p["W_rec"].T @ from_r, p["W_in"].T @ from_x


class LSTM:
    """input, forget, cell, output:

    i, f, o = sigmoid(W_in x + W_rec r^{t-1} + b_r),   m = tanh(the same), each with its own rows
    c^t = f * c^{t-1} + i * m,   r^t = o * tanh(c^t)                                                    (2)
    """

    gates, first = 4, ("r0", "c0")

    @staticmethod
    def parts(p, x, r_prev):
        i, f, m, o = np.split(p["W_in"] @ x + p["W_rec"] @ r_prev + p["b_r"], 4)
        return sigmoid(i), sigmoid(f), np.tanh(m), sigmoid(o)

    def step(self, p, x, state_prev):
        r_prev, c_prev = np.split(state_prev, 2)
        i, f, m, o = self.parts(p, x, r_prev)
        c = f * c_prev + i * m
        return np.concatenate([o * np.tanh(c), c])

    def step_backward(self, p, x, state_prev, state, dstate, grad):
        (r_prev, c_prev), (_, c), (dr, dc) = (np.split(s, 2) for s in (state_prev, state, dstate))
        i, f, m, o = self.parts(p, x, r_prev)
        t = np.tanh(c)
        dc = dc + dr * o * (1.0 - t * t)
        dpre = [dc * m * i * (1.0 - i), dc * c_prev * f * (1.0 - f), dc * i * (1.0 - m * m), dr * t * o * (1.0 - o)]
        dpre = np.concatenate(dpre)
        grad["W_rec"] += np.outer(dpre, r_prev)
        grad["W_in"] += np.outer(dpre, x)
        grad["b_r"] += dpre
        return np.concatenate([p["W_rec"].T @ dpre, dc * f]), p["W_in"].T @ dpre


CELLS = {
    "sigmoid": Elementwise(sigmoid, lambda r: r * (1.0 - r)),
    "tanh": Elementwise(np.tanh, lambda r: 1.0 - r * r),
    "gru": GRU(),
    "lstm": LSTM(),
}

# ---- heads: the density of one number given its raw outputs ------------------------------------------------


class Mixture:
    """K components of one family: K-vectors z = (z^alpha, z^mu, z^sigma). A family is functions of u.

    One with a shape, a parameter of each component, has an output more that no net drives, and takes it behind u."""

    mixture = True
    # (V^q, b^q, W^q) for each q, and the name of W^q in `context`
    outputs = (
        ("V_alpha", "b_alpha", "W_alpha"),
        ("V_mu", "b_mu", "W_mu"),
        ("V_sigma", "b_sigma", "W_sigma"),
    )
    context = ("alpha", "mu", "sigma")

    @classmethod
    def link(cls, z, min_scale):  # (6)
        z_alpha, z_mu, z_sigma, *_ = z
        return np.exp(z_alpha - logsumexp(z_alpha)), z_mu, min_scale + np.exp(z_sigma), *cls.shapes(z)

    @staticmethod
    def shapes(z):
        return ()

    @staticmethod
    def shape_slopes(z, u):
        """d log f / dz of the outputs that the shapes are made of"""
        return ()

    @staticmethod
    def deviate(noise, *shapes):
        """A draw of u from what `noise` gives for it"""
        return noise

    @classmethod
    def log_terms(cls, x, z, min_scale):
        """log alpha_k f(u_k) / sigma_k, shape (K,)"""
        z_alpha, mu, z_sigma, *_ = z
        sigma = min_scale + np.exp(z_sigma)
        return z_alpha - logsumexp(z_alpha) + cls.log_f((x - mu) / sigma, *cls.shapes(z)) - np.log(sigma)

    @classmethod
    def log_density(cls, x, z, min_scale):  # (7)
        return logsumexp(cls.log_terms(x, z, min_scale))

    @classmethod
    def gradient(cls, x, z, min_scale):
        """d log p(x) / dz, a list in the order of z."""
        alpha, mu, sigma, *shapes = cls.link(z, min_scale)
        terms = cls.log_terms(x, z, min_scale)
        pi = np.exp(terms - logsumexp(terms))
        u = (x - mu) / sigma
        s = cls.minus_slope(u, *shapes)
        by_shape = [pi * slope for slope in cls.shape_slopes(z, u)]
        return [pi - alpha, pi * s / sigma, pi * (s * u - 1.0) * np.exp(z[2]) / sigma, *by_shape]

    @classmethod
    def draw(cls, z, min_scale, u, g):
        """mu_k + sigma_k times what the noise g makes, k the first whose cumulative alpha exceeds u (or the last, after
        rounding)."""
        alpha, mu, sigma, *shapes = cls.link(z, min_scale)
        above = np.flatnonzero(np.cumsum(alpha) > u)
        k = above[0] if above.size else alpha.size - 1
        return mu[k] + sigma[k] * cls.deviate(g, *(shape[k] for shape in shapes))


class Gaussian(Mixture):
    """u ~ N(0, 1)"""

    @staticmethod
    def log_f(u):
        return -0.5 * u * u - LOG_SQRT_2PI

    @staticmethod
    def minus_slope(u):
        """-d log f / du"""
        return u

    @staticmethod
    def cdf(u):
        """P(U <= u), of a real array u"""
        return 0.5 + 0.5 * np.vectorize(math.erf, otypes=[float])(u / np.sqrt(2.0))

    @staticmethod
    def noise(generator, shape):
        """Draws of u."""
        return generator.standard_normal(shape)


class Laplace(Mixture):
    """f(u) = exp(-|u|) / 2"""

    @staticmethod
    def log_f(u):
        return -u * np.sign(np.real(u)) - np.log(2.0)  # |u|, on either side of the kink analytic

    @staticmethod
    def minus_slope(u):
        return np.sign(np.real(u))  # at the kink 0

    @staticmethod
    def cdf(u):
        return np.where(u < 0, np.exp(-np.abs(u)) / 2.0, 1.0 - np.exp(-np.abs(u)) / 2.0)

    @staticmethod
    def noise(generator, shape):
        return generator.laplace(size=shape)


class Logistic(Mixture):
    """P(U <= u) = 1 / (1 + exp(-u))"""

    @staticmethod
    def log_f(u):
        return log_sigmoid(u) + log_sigmoid(-u)

    @staticmethod
    def minus_slope(u):
        return np.tanh(u / 2.0)

    @staticmethod
    def cdf(u):
        return sigmoid(u)

    @staticmethod
    def noise(generator, shape):
        return generator.logistic(size=shape)


class Student(Mixture):
    """f(u) = Gamma((nu + 1) / 2) / (Gamma(nu / 2) (nu pi)^(1/2)) (1 + u^2 / nu)^(-(nu + 1) / 2),  nu = 1 + exp(z^nu)"""

    outputs = (*Mixture.outputs, (None, "b_nu", None))  # no net drives z^nu

    @staticmethod
    def shapes(z):
        return (1.0 + np.exp(z[3]),)

    @staticmethod
    def log_f(u, nu):
        constant = loggamma((nu + 1.0) / 2.0) - loggamma(nu / 2.0) - 0.5 * np.log(nu * np.pi)
        return constant - (nu + 1.0) / 2.0 * np.log(1.0 + u * u / nu)

    @staticmethod
    def minus_slope(u, nu):
        return (nu + 1.0) * u / (nu + u * u)

    @staticmethod
    def shape_slopes(z, u):
        nu, t = 1.0 + np.exp(z[3]), u * u
        by_nu = 0.5 * (digamma((nu + 1.0) / 2.0) - digamma(nu / 2.0) - 1.0 / nu)
        by_nu = by_nu - 0.5 * np.log(1.0 + t / nu) + 0.5 * (nu + 1.0) * t / (nu * (nu + t))
        return (by_nu * (nu - 1.0),)

    @staticmethod
    def cdf(u, nu):
        return stdtr(nu, u)

    @staticmethod
    def noise(generator, shape):
        """Two standard normals for each draw: (*shape, 2)"""
        return generator.standard_normal((*shape, 2))

    @staticmethod
    def deviate(noise, nu):
        """g (nu (exp((g^2 + g'^2) / nu) - 1) / (g^2 + g'^2))^(1/2)"""
        first, second = noise
        square = first * first + second * second
        return first * np.sqrt(nu * np.expm1(square / nu) / square)


class Bernoulli:
    """p(x = 1) = sigmoid(z), x in {0, 1}: log p = x log s(z) + (1 - x) log s(-z)."""

    mixture = False
    outputs = (("V", "b", "W_b"),)
    context = ("bias",)

    @staticmethod
    def link(z, min_scale):  # (6)
        return (sigmoid(z[0]),)

    @staticmethod
    def log_density(x, z, min_scale):  # (7)
        return x * log_sigmoid(z[0]) + (1.0 - x) * log_sigmoid(-z[0])

    @staticmethod
    def gradient(x, z, min_scale):
        return [x - sigmoid(z[0])]

    @staticmethod
    def draw(z, min_scale, u, g):
        """1 where u < p; the noise g is not used."""
        return 1.0 if u < sigmoid(z[0]) else 0.0

    @staticmethod
    def noise(generator, shape):
        return np.zeros(shape)


HEADS = {
    "gaussian": Gaussian,
    "laplace": Laplace,
    "logistic": Logistic,
    "student": Student,
    "bernoulli": Bernoulli,
}

# ---- the model ---------------------------------------------------------------------------------------------


def _shared(p):
    """Whether one mixture of K components is over the whole frame."""
    return "b_alpha" in p and p["b_alpha"].ndim == 1


def _prepared(parameters, head):
    """Float64 (or complex) arrays, and what a model without hidden units or without rho may leave out."""
    p = {}
    for name, value in parameters.items():
        value = np.asarray(value)
        p[name] = value.astype(np.complex128 if np.iscomplexobj(value) else np.float64)
    D, H = p[HEADS[head].outputs[-1][1]].shape[0], (p["W"].shape[0] if "W" in p else 0)
    p.setdefault("W", np.zeros((H, D)))
    p.setdefault("c", np.zeros(H))
    p.setdefault("rho", np.ones(D))
    p.setdefault("r0", np.zeros(0))
    for V, b, _ in HEADS[head].outputs if not _shared(p) else ():
        if V is not None:
            p.setdefault(V, np.zeros((D, H, *p[b].shape[1:])))
    return p


RECURRENT = ("W_in", "W_rec", "b_r", "r0", "c0")


def _layers(p):
    """The recurrent parameters of each layer, the first one first, under the names of the first."""
    n = 1 + sum(f"W_rec_{k}" in p for k in range(2, len(p)))
    ends = ["", *(f"_{k}" for k in range(2, n + 1))]
    return [{name: p[name + end] for name in RECURRENT if name + end in p} for end in ends]


def _step(p, x_t, states, cell):
    """The states of all layers, a list, past a frame."""  # (2)
    found, read = [], x_t
    for of_layer, state in zip(_layers(p), states, strict=True):
        found.append(CELLS[cell].step(of_layer, read, state) if "W_in" in p else state)
        read = _r(p, found[-1])
    return found


def _r(p, state):
    return state[: p["r0"].size]


def _states(p, x, cell):
    """The states 0 .. T, a list of lists, one of each layer; R = 0 for a static model."""  # (2)
    states = [[np.concatenate([of_layer[name] for name in CELLS[cell].first]) for of_layer in _layers(p)]]
    for x_t in x:
        states.append(_step(p, x_t, states[-1], cell))
    return states


def _conditions(p, states, mask, given=()):
    """r of the top layer in each state, times the factors that a mask (T, R) gives it where it conditions its frame,
    and behind it what is given with that."""
    r = [_r(p, of_layers[-1]) for of_layers in states]
    r = r if mask is None else [mask_t * r_t for mask_t, r_t in zip(mask, r, strict=False)]
    return [np.concatenate([r_t, u_t]) for r_t, u_t in zip(r, given, strict=False)] if len(given) else r


def _end(W, r):
    """What W reads of a row of context: its end."""
    return r[len(r) - W.shape[-1] :]


def _first(p, r):
    return p["c"] + p["W_c"] @ _end(p["W_c"], r) if "W_c" in p else p["c"]  # (3), d = 1


def _raw_outputs(p, d, h, r, head):
    z = []
    for V, b, W in HEADS[head].outputs:  # (5)
        driven = 0.0 if V is None else np.dot(h, p[V][d])
        z.append(driven + p[b][d] + (np.dot(p[W][d], r) if W in p else 0.0))
    return z


def _shared_outputs(p, r, head):
    """l_1 (K,), z^mu, z^sigma and those of shapes, each (D, K)."""
    return [p[b] + (np.dot(p[W], _end(p[W], r)) if W in p else 0.0) for _, b, W in HEADS[head].outputs]


def _shared_frame(p, r, value, head, min_scale):
    """The same with components for the whole frame."""
    log_weight, *own = _shared_outputs(p, r, head)  # (8), (9)
    for d in range(len(own[0])):
        z = [log_weight - logsumexp(log_weight), *(z_q[d] for z_q in own)]
        log_weight = HEADS[head].log_terms(value(d, z), z, min_scale)  # (8)


def _nade_frame(p, r, value, head, activation, min_scale):
    """One frame from d = 1 to D. `value(d, z)` gets the raw outputs of dimension d and answers with x_d."""
    if _shared(p):
        _shared_frame(p, r, value, head, min_scale)
        return
    s, _ = ACTIVATIONS[activation]
    a = _first(p, r)  # (3)
    for d in range(p["rho"].size):
        h = s(p["rho"][d] * a)  # (4)
        x_d = value(d, _raw_outputs(p, d, h, r, head))
        a = a + x_d * p["W"][:, d]  # (3)


def _masked_layers(p):
    """W and c of each layer of a MADE, names and masked arrays, and the mask of what drives the outputs."""
    found, D, layer = [], p["W"].shape[1], 1
    below, name = None, "W"
    while name in p:
        degree = np.array([i * D // len(p[name]) for i in range(len(p[name]))])
        degree = np.real(p.get(name.replace("W", "degree"), degree))
        mask = np.arange(D) < degree[:, None] if layer == 1 else below <= degree[:, None]
        found.append((name, name.replace("W", "c"), mask))
        below, layer = degree, layer + 1
        name = f"W_{layer}"
    return found, below <= np.arange(D)[:, None]


def _made_hidden(p, r, x, activation):
    """The hidden units of all layers for x (D,)."""  # (3')
    s, _ = ACTIVATIONS[activation]
    h, below = [], x
    for W, c, mask in _masked_layers(p)[0]:
        a = p[c] + (p[W] * mask) @ below
        if W == "W" and "W_c" in p:
            a = a + p["W_c"] @ _end(p["W_c"], r)
        below = s(a)
        h.append(below)
    return h


def _made_outputs(p, d, h, r, x, head):
    """z of dimension d."""  # (5')
    read = _masked_layers(p)[1][d]
    z = _raw_outputs(p, d, h * read, r, head)
    for q, (V, _, _) in enumerate(HEADS[head].outputs):
        if V is not None and "V_x" + V[1:] in p:
            z[q] = z[q] + np.dot(x * (np.arange(x.size) < d), p["V_x" + V[1:]][d])
    return z


def _made_frame(p, r, value, head, activation, min_scale):
    """One frame, a whole pass for each dimension."""
    x = np.zeros(p["W"].shape[1])
    for d in range(x.size):
        x[d] = value(d, _made_outputs(p, d, _made_hidden(p, r, x, activation)[-1], r, x, head))


def _made_backward(p, g, x, r, head, activation, min_scale):
    """One frame. Adds to g; returns log p(x^t | x^<t) and what r^{t-1} gets."""
    _, ds = ACTIVATIONS[activation]
    h = _made_hidden(p, r, x, activation)
    layers, read = _masked_layers(p)
    dh, dr, log_p = np.zeros_like(h[-1]), np.zeros_like(r), 0.0
    for d in range(x.size):
        z = _made_outputs(p, d, h[-1], r, x, head)
        log_p += HEADS[head].log_density(x[d], z, min_scale)
        for (V, b, W), dz in zip(HEADS[head].outputs, HEADS[head].gradient(x[d], z, min_scale), strict=True):
            g[b][d] += dz  # undoes (5')
            if V is None:
                continue
            g[V][d] += np.multiply.outer(h[-1] * read[d], dz)
            dh = dh + np.dot(p[V][d], dz) * read[d]
            if "V_x" + V[1:] in p:
                g["V_x" + V[1:]][d] += np.multiply.outer(x * (np.arange(x.size) < d), dz)
            if W in p:
                g[W][d] += np.multiply.outer(dz, r)
                dr = dr + np.dot(dz, p[W][d])
    for i in reversed(range(len(layers))):  # undoes (3')
        W, c, mask = layers[i]
        da = dh * ds(h[i])
        g[W] += np.outer(da, h[i - 1] if i else x) * mask
        g[c] += da
        dh = (p[W] * mask).T @ da
    if "W_c" in p:
        g["W_c"] += np.outer(da, _end(p["W_c"], r))
        _end(p["W_c"], dr)[...] += p["W_c"].T @ da
    return log_p, dr


def log_density_dims(
    parameters,
    x,
    *,
    head="gaussian",
    activation="sigmoid",
    cell="sigmoid",
    min_scale=0.0,
    conditioner="nade",
    given=0,
    inputs=None,
    mask=None,
):
    """log p(x_d^t | x_<d^t, x^<t) for x (T, D): (T, D)                                                 (7)

    0 for what is given.

    With `inputs` (T, D) the recurrence reads these instead of x; `mask` (T, R) multiplies r where it conditions a
    frame, not where it goes on to the next step.
    """
    p = _prepared(parameters, head)
    x = np.asarray(x, np.float64)
    log_p = np.zeros(x.shape, np.result_type(*p.values()))
    r = _conditions(p, _states(p, x if inputs is None else inputs, cell), mask, x[:, :given])
    for t in range(x.shape[0]):

        def value(d, z, t=t):
            log_p[t, given + d] = HEADS[head].log_density(x[t, given + d], z, min_scale)
            return x[t, given + d]

        CONDITIONERS[conditioner][0](p, r[t], value, head, activation, min_scale)
    return log_p


def log_density_dims_of_masks(parameters, x, degrees, **choices):
    """log p(x_d^t | x_<d^t, x^<t) for x (T, D), where a frame has the mean of its densities under each mask: (T, D)

    degrees: for each mask those of the units, under the names "degree", "degree_2", ... of the layers."""
    own = [log_density_dims(parameters | of_mask, x, **choices) for of_mask in degrees]
    log_p = np.zeros(x.shape)
    for t in range(x.shape[0]):
        before = np.zeros(len(own))  # log p_m of the dimensions before d
        for d in range(x.shape[1]):
            now = np.array([before[m] + own[m][t, d] for m in range(len(own))])
            log_p[t, d] = logsumexp(now) - logsumexp(before)
            before = now
    return log_p


def log_density(parameters, sequences, **choices):
    """Total log-density of a list of sequences: a number                                               (1)"""
    return sum(log_density_dims(parameters, x, **choices).sum() for x in sequences)


def conditionals(
    parameters,
    x,
    *,
    head="gaussian",
    activation="sigmoid",
    cell="sigmoid",
    min_scale=0.0,
    conditioner="nade",
    given=0,
):
    """alpha, mu, sigma and the shapes, each (T, D, K); Bernoulli: p, (T, D)                            (6)

    NaN for what is given."""
    p = _prepared(parameters, head)
    x = np.asarray(x, np.float64)
    r = _conditions(p, _states(p, x, cell), None, x[:, :given])
    found = []
    for t in range(x.shape[0]):

        def value(d, z, t=t):
            found.append(HEADS[head].link(z, min_scale))
            return x[t, given + d]

        CONDITIONERS[conditioner][0](p, r[t], value, head, activation, min_scale)
    arrays = [np.stack(values).reshape(len(x), -1, *values[0].shape) for values in zip(*found, strict=True)]
    arrays = [np.pad(a, [(0, 0), (given, 0), *[(0, 0)] * (a.ndim - 2)], constant_values=np.nan) for a in arrays]
    return tuple(arrays) if len(arrays) > 1 else arrays[0]


def draw(
    parameters,
    n_frames,
    uniforms,
    noise,
    *,
    after=None,
    follow=None,
    head="gaussian",
    activation="sigmoid",
    cell="sigmoid",
    min_scale=0.0,
    conditioner="nade",
    given=0,
    u=None,
):
    """One sequence (n_frames, D) from uniforms and noise, each (n_frames, D), continuing `after` (T, D); u
    (n_frames, given): what is given with its frames.

    Noise has an axis more where a draw takes more than one number.

    With `follow` (n_frames, D), each number is what would be drawn if those before it were as in `follow`.
    """
    p = _prepared(parameters, head)
    x = np.zeros((n_frames, given + p["rho"].size))
    x[:, :given] = u if given else 0.0
    past = x if follow is None else np.asarray(follow, np.float64)
    state = _states(p, np.zeros((0, 0)) if after is None else np.asarray(after, np.float64), cell)[-1]
    for t in range(n_frames):

        def value(d, z, t=t):
            x[t, given + d] = HEADS[head].draw(z, min_scale, uniforms[t, d], noise[t, d])
            return past[t, given + d]

        r = _conditions(p, [state], None, x[t : t + 1, :given] if given else ())
        CONDITIONERS[conditioner][0](p, *r, value, head, activation, min_scale)
        state = _step(p, past[t], state, cell)
    return x


def _shared_frame_backward(p, g, x, r, head, min_scale):
    """With pi, the responsibilities of the components for the whole frame: dz^alpha = pi - alpha,
    dz^mu_d = pi s / sigma, dz^sigma_d = pi (s u - 1) exp(z^sigma) / sigma."""
    z_alpha, z_mu, z_sigma, *_ = z = _shared_outputs(p, r, head)
    shapes = HEADS[head].shapes(z)
    sigma = min_scale + np.exp(z_sigma)
    u = (x[:, None] - z_mu) / sigma
    terms = z_alpha - logsumexp(z_alpha) + (HEADS[head].log_f(u, *shapes) - np.log(sigma)).sum(axis=0)
    pi, s = np.exp(terms - logsumexp(terms)), HEADS[head].minus_slope(u, *shapes)
    dz = {"alpha": pi - np.exp(z_alpha - logsumexp(z_alpha))}
    dz["mu"], dz["sigma"] = pi * s / sigma, pi * (s * u - 1.0) * np.exp(z_sigma) / sigma
    for slope in HEADS[head].shape_slopes(z, u):
        dz["nu"] = pi * slope
    dr = np.zeros_like(r)
    for q, dz_q in dz.items():
        g[f"b_{q}"] += dz_q
        if f"W_{q}" in p:
            W = p[f"W_{q}"]
            g[f"W_{q}"] += np.multiply.outer(dz_q, _end(W, r))
            _end(W, dr)[...] += np.tensordot(dz_q, W, dz_q.ndim)
    return logsumexp(terms), dr


def _nade_backward(p, g, x, r, head, activation, min_scale):
    """One frame from d = D down to 1. Adds to g; returns log p(x^t | x^<t) and what r^{t-1} gets."""
    if _shared(p):
        return _shared_frame_backward(p, g, x, r, head, min_scale)
    s, ds = ACTIVATIONS[activation]
    a = _first(p, r) + p["W"] @ x  # a_{D+1}
    da = np.zeros_like(a)
    dr = np.zeros_like(r)
    log_p = 0.0
    for d in reversed(range(x.size)):
        a = a - x[d] * p["W"][:, d]  # undoes (3): now a = a_d, it holds x_<d only
        psi = p["rho"][d] * a
        h = s(psi)
        z = _raw_outputs(p, d, h, r, head)
        log_p += HEADS[head].log_density(x[d], z, min_scale)
        dh = np.zeros_like(h)
        for (V, b, W), dz in zip(HEADS[head].outputs, HEADS[head].gradient(x[d], z, min_scale), strict=True):
            g[b][d] += dz  # undoes (5)
            if V is not None:
                g[V][d] += np.multiply.outer(h, dz)
                dh = dh + np.dot(p[V][d], dz)
            if W in p:
                g[W][d] += np.multiply.outer(dz, r)
                dr = dr + np.dot(dz, p[W][d])
        dpsi = dh * ds(h)  # undoes (4)
        g["rho"][d] += dpsi @ a
        g["W"][:, d] += x[d] * da  # undoes (3): da of the later dimensions only
        da = da + p["rho"][d] * dpsi
    g["c"] += da
    if "W_c" in p:
        g["W_c"] += np.outer(da, _end(p["W_c"], r))
        _end(p["W_c"], dr)[...] += p["W_c"].T @ da
    return log_p, dr


# name: (one frame given its dimensions one after the other, its gradient)
CONDITIONERS = {
    "nade": (_nade_frame, _nade_backward),
    "made": (_made_frame, _made_backward),
    "shared": (_nade_frame, _nade_backward),  # which tell it by the shape of b_alpha
}


def gradient(
    parameters,
    sequences,
    *,
    head="gaussian",
    activation="sigmoid",
    cell="sigmoid",
    min_scale=0.0,
    conditioner="nade",
    given=0,
    inputs=None,
    masks=None,
):
    """Total log-density of a list of sequences, and its gradient: (number, mapping like `parameters`).

    `inputs` and `masks` are lists with the `inputs` and `mask` of `log_density_dims` for each sequence.
    """
    p = _prepared(parameters, head)
    g = {name: np.zeros_like(value) for name, value in p.items()}
    total = 0.0
    for i, x in enumerate(sequences):
        x = np.asarray(x, np.float64)
        T = x.shape[0]
        read = x if inputs is None else inputs[i]
        states = _states(p, read, cell)
        R = p["r0"].size
        r = _conditions(p, states, None if masks is None else masks[i], x[:, :given])
        ds = [[np.zeros_like(state) for state in states[0]] for _ in range(T + 1)]  # 0 at T: r^T predicts nothing
        for t in reversed(range(T)):  # the frame x[t] is predicted from r[t]
            log_p, dr = CONDITIONERS[conditioner][1](p, g, x[t, given:], r[t], head, activation, min_scale)
            ds[t][-1][:R] = dr[:R] if masks is None else masks[i][t] * dr[:R]
            total += log_p
        layers, of_layers = _layers(p), _layers(g)
        if "W_in" in p:
            for t in reversed(range(1, T)):  # undoes (2), the top layer first
                for k in reversed(range(len(layers))):
                    below = _r(p, states[t][k - 1]) if k else read[t - 1]
                    step = layers[k], below, states[t - 1][k], states[t][k], ds[t][k], of_layers[k]
                    back, dbelow = CELLS[cell].step_backward(*step)
                    ds[t - 1][k] = ds[t - 1][k] + back
                    if k:
                        ds[t][k - 1][:R] = ds[t][k - 1][:R] + dbelow
        for k, of_layer in enumerate(of_layers):
            for name, first in zip(CELLS[cell].first, np.split(ds[0][k], len(CELLS[cell].first)), strict=True):
                of_layer[name] += first
    return total, {name: g[name] for name in parameters}


# ---- the linear transform ----------------------------------------------------------------------------------


def linear(x, intercepts, coefficients, factors):
    """e and its log-Jacobian, both (T, D), of one sequence x (T, D):

        e^t = L_q^{-1} (x^t - A_q0 - sum_{i=1..q} A_qi x^{t-i}),  q = min(t - 1, lags),  L_q lower triangular

    For q = 0 .. lags, intercepts[q] = A_q0 (D,), coefficients[q] = A_q1 .. A_qq (q, D, D) and
    factors[q] = L_q (D, D).
    The log-Jacobian of dimension d is -log (L_q)_dd.
    """
    x = np.asarray(x, np.float64)
    e, log_jacobian = np.zeros(x.shape), np.zeros(x.shape)
    for t in range(x.shape[0]):
        q = min(t, len(intercepts) - 1)
        L = factors[q]
        rest = x[t] - linear_prediction(x[:t], intercepts, coefficients)
        for d in range(x.shape[1]):  # forward substitution
            e[t, d] = (rest[d] - L[d, :d] @ e[t, :d]) / L[d, d]
            log_jacobian[t, d] = -np.log(L[d, d])
    return e, log_jacobian


def linear_prediction(past, intercepts, coefficients):
    """A_q0 + sum_i A_qi x^{t-i} for the frame after past (t - 1, D): (D,)"""
    q = min(len(past), len(intercepts) - 1)
    prediction = np.array(intercepts[q], np.float64)
    for i in range(1, q + 1):
        prediction += coefficients[q][i - 1] @ past[-i]
    return prediction


def linear_conditionals(x, mu_e, sigma_e, intercepts, coefficients, factors):
    """mu and sigma of the conditionals in the units of x from those of e, each (T, D, K):

    mu = prediction_d + sum_{j<d} L_dj e_j + L_dd mu_e,   sigma = L_dd sigma_e
    """
    x = np.asarray(x, np.float64)
    e, _ = linear(x, intercepts, coefficients, factors)
    mu, sigma = np.zeros(mu_e.shape), np.zeros(sigma_e.shape)
    for t in range(x.shape[0]):
        L = factors[min(t, len(intercepts) - 1)]
        prediction = linear_prediction(x[:t], intercepts, coefficients)
        for d in range(x.shape[1]):
            mu[t, d] = prediction[d] + L[d, :d] @ e[t, :d] + L[d, d] * mu_e[t, d]
            sigma[t, d] = L[d, d] * sigma_e[t, d]
    return mu, sigma
