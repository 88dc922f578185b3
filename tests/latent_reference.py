"""The definition: latent-variable models (VAE, VRNN, SRNN) in plain NumPy loops. Imports nothing from the package.

T frames, D dimensions, J latent numbers y^t of a frame, E units of each dense layer, R recurrent units. x^t is a
frame, eps^t ~ N(0, I) the noise that its latent is drawn with, r^{t-1} the state before it, of the top layer. The
cells, the frame's density and their derivatives are those of `reference`, whose numbers (1) to (9) are cited.

    e^t = relu(F_x x^t + f_x)                            features of the frame
    g^t = relu(F_y y^t + f_y)                            features of the latent: VAE, VRNN
    N(h):  mu = M h + m,  sigma = min_latent_scale + softplus(S h + s)           M_p .. s_p: prior, M_q .. s_q: encoder

    VRNN
    (V1)  prior     y^t ~ N(relu(P_r r^{t-1} + p_h)),    without P_r, M_p .. s_p: N(0, I)
    (V2)  encoder   y^t ~ N(relu(Q_x e^t + Q_r r^{t-1} + q_h))                   its mean + mu_p with `residual`
    (V3)  y^t = mu_q + sigma_q eps^t
    (V4)  context   k^t = relu(C_y g^t + C_r r^{t-1} + c_k)
    (V5)  frame     (3) to (9) with k^t in the place of r^{t-1}
    (V6)  r^t = f(W_in [e^t; g^t] + W_rec r^{t-1} + b_r)                         further layers as in (2)
    VAE: a row is a frame by itself; no r, prior N(0, I)

    SRNN
    (S0)  r^t = f(W_in e^t + W_rec r^{t-1} + b_r)        no latent in it;        y^0 learned
    (S1)  prior     y^t ~ N(relu(P_r r^{t-1} + P_y y^{t-1} + p_h))
    (S2)  filter    a^t = tanh(A_r r^{t-1} + A_x e^t + b_a)
          smooth    a^t = f(A_in [r^{t-1}; e^t] + A_rec a^{t+1} + b_a),          a^{T+1} = a_end learned
    (S3)  encoder   y^t ~ N(relu(Q_a a^t + Q_y y^{t-1} + q_h))                   its mean + mu_p with `residual`
    (S4)  context   k^t = relu(C_y y^t + C_r r^{t-1} + c_k);                     frame as (V5)

    (B1)  KL^t = sum_j log(sigma_p / sigma_q) + (sigma_q^2 + (mu_q - mu_p)^2) / (2 sigma_p^2) - 1/2
    (B2)  bound = sum_t log p(x^t | k^t) - beta KL^t
    (B3)  log w = sum_t log p(x^t | k^t) + beta (log N(y^t; mu_p, sigma_p) - log N(y^t; mu_q, sigma_q))
    (B4)  importance: log mean_k w_k of K draws;   particles: sum_t log sum_k W_k^{t-1} w_k^t, resampled on the way

With beta = 1: E w = p(x), E bound = E log w <= log p(x).

A net of more than one layer (`n_dense`) goes on with h <- relu(B h + b) for F_x_2 f_x_2, F_y_2 f_y_2, P_h_2 p_h_2,
Q_h_2 q_h_2, C_k_2 c_k_2, then _3 and so on. Parameters are a mapping with the names and shapes that users see;
complex ones are allowed, as in `reference`.
"""

from dataclasses import dataclass

import numpy as np
import reference
from reference import ACTIVATIONS, CELLS, CONDITIONERS, LOG_SQRT_2PI, logsumexp, relu, sigmoid

# ---- nets and normal distributions ---------------------------------------------------------------------------

# net: (its first layer: each matrix and what of a frame it reads), by kind of model
NETS = {
    "vae": {
        "features": (("F_x", "x"),),
        "latent": (("F_y", "y"),),
        "encoder": (("Q_x", "e"),),
        "context": (("C_y", "g"),),
    },
    "vrnn": {
        "features": (("F_x", "x"),),
        "latent": (("F_y", "y"),),
        "prior": (("P_r", "r"),),
        "encoder": (("Q_x", "e"), ("Q_r", "r")),
        "context": (("C_y", "g"), ("C_r", "r")),
    },
    "srnn": {
        "features": (("F_x", "x"),),
        "prior": (("P_r", "r"), ("P_y", "y_prev")),
        "encoder": (("Q_a", "a"), ("Q_y", "y_prev")),
        "context": (("C_y", "y"), ("C_r", "r")),
    },
}
# net: bias of its first layer; matrix and bias of layer 2 are these names and _2
LAYERS = {
    "features": ("F_x", "f_x"),
    "latent": ("F_y", "f_y"),
    "prior": ("P_h", "p_h"),
    "encoder": ("Q_h", "q_h"),
    "context": ("C_k", "c_k"),
}


def softplus(z):
    """log(1 + exp(z))"""
    above = np.where(np.real(z) > 0, z, 0.0)
    return above + np.log1p(np.exp(z - 2.0 * above))  # z - 2 max(z, 0) = -|z|


def _net(p, kind, net, frame):
    """The hidden layers of a net at a frame, a list, the first one first."""
    matrix, bias = LAYERS[net]
    h = [relu(p[bias] + sum(p[first] @ frame[source] for first, source in NETS[kind][net]))]
    while f"{matrix}_{len(h) + 1}" in p:
        end = f"_{len(h) + 1}"
        h.append(relu(p[matrix + end] @ h[-1] + p[bias + end]))
    return h


def _net_backward(p, g, kind, net, frame, h, dh, d):
    """Adds to the gradients g of the parameters and d of what the net reads of the frame."""
    matrix, bias = LAYERS[net]
    ds = ACTIVATIONS["relu"][1]
    for i in reversed(range(1, len(h))):
        end, da = f"_{i + 1}", dh * ds(h[i])
        g[matrix + end] += np.outer(da, h[i - 1])
        g[bias + end] += da
        dh = p[matrix + end].T @ da
    da = dh * ds(h[0])
    g[bias] += da
    for first, source in NETS[kind][net]:
        g[first] += np.outer(da, frame[source])
        d[source] += p[first].T @ da


def _normal(p, which, h, floor):
    """mu and sigma, (J,), of the prior ("p") or the encoder ("q")."""
    return p[f"M_{which}"] @ h + p[f"m_{which}"], floor + softplus(p[f"S_{which}"] @ h + p[f"s_{which}"])


def _normal_backward(p, g, which, h, dmu, dsigma):
    """Adds to the gradients g; returns what h gets."""
    draw = dsigma * sigmoid(p[f"S_{which}"] @ h + p[f"s_{which}"])
    for W, b, dz in ((f"M_{which}", f"m_{which}", dmu), (f"S_{which}", f"s_{which}", draw)):
        g[W] += np.outer(dz, h)
        g[b] += dz
    return p[f"M_{which}"].T @ dmu + p[f"S_{which}"].T @ draw


def log_normal(y, mu, sigma):
    """log N(y; mu, sigma), the J numbers independent: a number"""
    u = (y - mu) / sigma
    return np.sum(-0.5 * u * u - np.log(sigma) - LOG_SQRT_2PI)


def kl_normal(mu_q, sigma_q, mu_p, sigma_p):
    """KL(q || p) of independent normal numbers (J,): a number                                         (B1)"""
    d = mu_q - mu_p
    return np.sum(np.log(sigma_p / sigma_q) + (sigma_q * sigma_q + d * d) / (2.0 * sigma_p * sigma_p) - 0.5)


# ---- frames --------------------------------------------------------------------------------------------------

# What is known and drawn at a frame is a dictionary: x, e, r, a (SRNN), y_prev, y, g (VAE, VRNN), the hidden layers of
# the nets under their names, mu_q .. sigma_p, `states` of all layers before it, `after` behind a in time (smooth).


@dataclass(frozen=True)
class Choices:
    """What the shapes of the parameters do not tell."""

    kind: str
    head: str = "gaussian"
    cell: str = "tanh"
    activation: str = "sigmoid"  # of the frame's hidden units
    conditioner: str = "nade"
    min_scale: float = 0.0
    min_latent_scale: float = 1e-3
    encoder: str = "smooth"  # SRNN
    residual: bool = False
    beta: float = 1.0


def _prepared(parameters, choices):
    return reference._prepared(parameters, choices.head)


def _start(p, choices, state):
    """The states of all layers and y before the first frame."""
    if state is not None:
        return state
    cell = choices.cell if choices.kind != "vae" else "tanh"
    return reference._states(p, (), cell)[0], p.get("y0")


def _of_encoder(p):
    """The recurrence of (S2), smooth, under the names of a layer."""
    return {"W_in": p["A_in"], "W_rec": p["A_rec"], "b_r": p["b_a"]}


def _end(p):
    return np.concatenate([p[name] for name in ("a_end", "a_end_c") if name in p])


def _known(p, x, choices, states):
    """What of each frame needs no latent: a list of dictionaries, and the states behind the last one (SRNN)."""
    kind, R = choices.kind, p["r0"].size
    frames = [{"x": x_t} for x_t in x]
    for frame in frames:
        frame["features"] = _net(p, kind, "features", frame)
        frame["e"] = frame["features"][-1]
    if kind == "srnn":
        for frame in frames:  # (S0)
            frame["states"], frame["r"] = states, states[-1][:R]
            states = reference._step(p, frame["e"], states, choices.cell)
        after = _end(p) if choices.encoder == "smooth" else None
        for frame in reversed(frames):  # (S2)
            if choices.encoder == "smooth":
                frame["after"] = after
                read = np.concatenate([frame["r"], frame["e"]])
                after = frame["a_state"] = CELLS[choices.cell].step(_of_encoder(p), read, after)
                frame["a"] = after[:R]
            else:
                frame["a"] = np.tanh(p["A_r"] @ frame["r"] + p["A_x"] @ frame["e"] + p["b_a"])
    return frames, states


def _latent(p, frame, choices, states, y_prev, noise, y):
    """Completes a frame: its latent, from noise (J,) unless y (J,) is given, its context and its log-density. The
    known part stays as it is."""
    kind, floor = choices.kind, choices.min_latent_scale
    frame = frame | {"y_prev": y_prev, "noise": noise}
    if kind == "vrnn":
        frame |= {"states": states, "r": states[-1][: p["r0"].size]}
    frame["encoder"] = _net(p, kind, "encoder", frame)  # (V2), (S3)
    mu_q, sigma_q = _normal(p, "q", frame["encoder"][-1], floor)
    if "P_r" in p:
        frame["prior"] = _net(p, kind, "prior", frame)  # (V1), (S1)
        mu_p, sigma_p = _normal(p, "p", frame["prior"][-1], floor)
    else:
        mu_p, sigma_p = np.zeros(mu_q.shape), np.ones(mu_q.shape)
    if choices.residual:
        mu_q = mu_q + mu_p
    frame["y"] = mu_q + sigma_q * noise if y is None else y  # (V3)
    if kind != "srnn":
        frame["latent"] = _net(p, kind, "latent", frame)
        frame["g"] = frame["latent"][-1]
    frame["context"] = _net(p, kind, "context", frame)  # (V4), (S4)
    frame["k"] = frame["context"][-1]
    frame["log_p"] = _log_density(p, frame["x"], frame["k"], choices)
    return frame | {"mu_q": mu_q, "sigma_q": sigma_q, "mu_p": mu_p, "sigma_p": sigma_p}


def _log_density(p, x, k, choices):
    """log p(x^t | k^t)"""  # (V5)
    terms = []

    def value(d, z):
        terms.append(reference.HEADS[choices.head].log_density(x[d], z, choices.min_scale))
        return x[d]

    CONDITIONERS[choices.conditioner][0](p, k, value, choices.head, choices.activation, choices.min_scale)
    return sum(terms)


def _next(p, frame, choices, states):
    """The states of all layers behind a completed frame; those of an SRNN are known before."""
    if choices.kind != "vrnn":
        return states
    return reference._step(p, np.concatenate([frame["e"], frame["g"]]), states, choices.cell)  # (V6)


def _frames(p, x, noise, y, choices, state):
    """All frames completed, and the state behind them."""
    states, y_prev = _start(p, choices, state)
    known, last = _known(p, np.asarray(x, np.float64), choices, states)
    frames = []
    for t, frame in enumerate(known):
        noise_t, y_t = None if noise is None else noise[t], None if y is None else y[t]
        frames.append(_latent(p, frame, choices, states, y_prev, noise_t, y_t))
        states, y_prev = _next(p, frames[-1], choices, states), frames[-1]["y"]
    return frames, (last if choices.kind == "srnn" else states, y_prev)


# ---- bounds --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bound:
    reconstruction: np.ndarray  # log p(x^t | k^t): (T,)
    kl: np.ndarray  # (B1): (T,)
    log_prior: np.ndarray  # log N(y^t; mu_p, sigma_p): (T,)
    log_encoder: np.ndarray  # log N(y^t; mu_q, sigma_q): (T,)
    y: np.ndarray  # (T, J)
    mu_q: np.ndarray  # (T, J)
    sigma_q: np.ndarray  # (T, J)
    mu_p: np.ndarray  # (T, J)
    sigma_p: np.ndarray  # (T, J)
    k: np.ndarray  # (T, E)
    beta: float
    state: tuple  # the states of all layers, a list, and y behind the last frame: `state` of what comes next

    @property
    def bound(self):  # (B2)
        return np.sum(self.reconstruction - self.beta * self.kl)

    @property
    def log_weight(self):  # (B3)
        return np.sum(self.reconstruction + self.beta * (self.log_prior - self.log_encoder))


def latent_bound(parameters, x, noise, *, y=None, state=None, **choices):
    """The bound and what it is made of, for x (T, D) and noise (T, J); with y (T, J), of that instead of a draw.

    `choices` are those of `Choices`; `state` is where to start, None: the learned start.
    """
    choices = Choices(**choices)
    p = _prepared(parameters, choices)
    frames, state = _frames(p, x, noise, y, choices, state)

    def rows(values, *shape):
        return np.array(list(values)).reshape(len(frames), *shape)

    normals = ("mu_q", "sigma_q", "mu_p", "sigma_p")
    J = p["M_q"].shape[0]
    return Bound(
        reconstruction=rows(f["log_p"] for f in frames),
        kl=rows(kl_normal(*(f[name] for name in normals)) for f in frames),
        log_prior=rows(log_normal(f["y"], f["mu_p"], f["sigma_p"]) for f in frames),
        log_encoder=rows(log_normal(f["y"], f["mu_q"], f["sigma_q"]) for f in frames),
        y=rows((f["y"] for f in frames), J),
        **{name: rows((f[name] for f in frames), J) for name in normals},
        k=rows((f["k"] for f in frames), p["c_k"].size),
        beta=choices.beta,
        state=state,
    )


def latent_importance(parameters, x, noise, **choices):
    """log mean_k w_k for noise (K, T, J)                                                              (B4)"""
    log_w = np.array([latent_bound(parameters, x, of_draw, **choices).log_weight for of_draw in noise])
    return logsumexp(log_w) - np.log(len(log_w))


def latent_particles(parameters, x, noise, positions, *, resample=True, **choices):
    """The increments (T,) of the particle estimate of log p(x) for noise (T, K, J).                   (B4)

    After a frame, particles whose effective number 1 / sum_k W_k^2 is below K / 2 are resampled systematically,
    from the points (k + positions[t]) / K, and have equal weights then.  With a smoothing encoder, never.
    """
    choices = Choices(**choices)
    p = _prepared(parameters, choices)
    K = noise.shape[1]
    states, y = _start(p, choices, None)
    known, _ = _known(p, np.asarray(x, np.float64), choices, states)
    particles = [(states, y)] * K
    log_weight, increments = np.full(K, -np.log(K)), []  # sum_k exp(log_weight) = 1 before each frame
    for t, frame in enumerate(known):
        done = [_latent(p, frame, choices, *particles[k], noise[t, k], None) for k in range(K)]
        for k, f in enumerate(done):
            ratio = log_normal(f["y"], f["mu_p"], f["sigma_p"]) - log_normal(f["y"], f["mu_q"], f["sigma_q"])
            log_weight[k] += f["log_p"] + choices.beta * ratio
        particles = [(_next(p, f, choices, s), f["y"]) for f, (s, _) in zip(done, particles, strict=True)]
        increments.append(logsumexp(log_weight))
        log_weight -= increments[-1]
        weight = np.exp(log_weight)
        smooth = choices.kind == "srnn" and choices.encoder == "smooth"
        if resample and not smooth and 1.0 / np.sum(weight * weight) < K / 2:
            above = np.searchsorted(np.cumsum(weight), (np.arange(K) + positions[t]) / K, side="right")
            particles = [particles[min(k, K - 1)] for k in above]
            log_weight[:] = -np.log(K)
    return np.array(increments)


# ---- the reverse sweep ---------------------------------------------------------------------------------------


def _step_backward(p, g, cell, read, states_prev, states, dstates):
    """Undoes a step of all layers: what the states before it get, and what is read.  Adds to g."""
    layers, of_layers, R = reference._layers(p), reference._layers(g), p["r0"].size
    dstates, before = list(dstates), [None] * len(layers)
    for i in reversed(range(len(layers))):
        below = states[i - 1][:R] if i else read
        step = layers[i], below, states_prev[i], states[i], dstates[i], of_layers[i]
        before[i], dbelow = CELLS[cell].step_backward(*step)
        if i:
            dstates[i - 1] = dstates[i - 1] + np.pad(dbelow, (0, dstates[i - 1].size - R))
    return before, dbelow


def _to_top(dstates, dr):
    """The gradient of r added to that of the top layer's state."""
    *below, top = dstates
    return [*below, top + np.pad(dr, (0, top.size - dr.size))]


def _objective_backward(f, dy, choices, objective):
    """What mu_q, sigma_q, mu_p, sigma_p get of a frame's part of (B2) or (B3); dy is what y gets elsewhere."""
    mu_q, sigma_q, mu_p, sigma_p, beta = f["mu_q"], f["sigma_q"], f["mu_p"], f["sigma_p"], choices.beta
    if objective == "bound":
        d = mu_q - mu_p
        dmu_p = beta * d / sigma_p**2
        dsigma_p = beta * (-1.0 / sigma_p + (sigma_q**2 + d * d) / sigma_p**3)
        dmu_q = dy - beta * d / sigma_p**2
        dsigma_q = dy * f["noise"] + beta * (1.0 / sigma_q - sigma_q / sigma_p**2)
    else:  # log N(y; mu_q, sigma_q) = -log sigma_q - eps^2 / 2 + ..
        u = (f["y"] - mu_p) / sigma_p
        dmu_p = beta * u / sigma_p
        dsigma_p = beta * (u * u - 1.0) / sigma_p
        dmu_q = dy - beta * u / sigma_p
        dsigma_q = dmu_q * f["noise"] + beta / sigma_q
    if choices.residual:
        dmu_p = dmu_p + dmu_q
    return dmu_q, dsigma_q, dmu_p, dsigma_p


def latent_gradient(parameters, x, noise, *, objective="bound", **choices):
    """The derivative of `bound` or `log_weight` of `latent_bound`, the noise fixed: a mapping like `parameters`."""
    choices = Choices(**choices)
    p = _prepared(parameters, choices)
    g = {name: np.zeros_like(value) for name, value in p.items()}
    kind, cell, R, J = choices.kind, choices.cell, p["r0"].size, p["M_q"].shape[0]
    frames, (states_end, _) = _frames(p, x, noise, None, choices, None)
    reads = ("e", "r", "a", "y_prev", "y", "g")
    of_frames = [{name: np.zeros_like(f[name]) for name in reads if f.get(name) is not None} for f in frames]
    dstates, dy_next = [np.zeros_like(state) for state in states_end], np.zeros(J)
    for t in reversed(range(len(frames))):
        f, d = frames[t], of_frames[t]
        if kind == "vrnn":  # undoes (V6)
            read = np.concatenate([f["e"], f["g"]])
            states = frames[t + 1]["states"] if t + 1 < len(frames) else states_end
            dstates, dread = _step_backward(p, g, cell, read, f["states"], states, dstates)
            d["e"] += dread[: f["e"].size]
            d["g"] += dread[f["e"].size :]
        frame = p, g, f["x"], f["k"], choices.head, choices.activation, choices.min_scale
        _, dk = CONDITIONERS[choices.conditioner][1](*frame)  # undoes (V5)
        _net_backward(p, g, kind, "context", f, f["context"], dk, d)
        if kind != "srnn":
            _net_backward(p, g, kind, "latent", f, f["latent"], d["g"], d)
        dmu_q, dsigma_q, dmu_p, dsigma_p = _objective_backward(f, d["y"] + dy_next, choices, objective)
        dh = _normal_backward(p, g, "q", f["encoder"][-1], dmu_q, dsigma_q)
        _net_backward(p, g, kind, "encoder", f, f["encoder"], dh, d)
        if "P_r" in p:
            dh = _normal_backward(p, g, "p", f["prior"][-1], dmu_p, dsigma_p)
            _net_backward(p, g, kind, "prior", f, f["prior"], dh, d)
        if kind == "srnn":
            dy_next = d["y_prev"]
        elif kind == "vrnn":
            dstates = _to_top(dstates, d["r"])
    if kind == "srnn":
        g["y0"] += dy_next
        _encoder_backward(p, g, frames, of_frames, choices)
        for t in reversed(range(len(frames))):  # undoes (S0)
            dstates = _to_top(dstates, of_frames[t]["r"])
            if t:
                step = frames[t - 1]["e"], frames[t - 1]["states"], frames[t]["states"], dstates
                dstates, dread = _step_backward(p, g, cell, *step)
                of_frames[t - 1]["e"] += dread
    for f, d in zip(frames, of_frames, strict=True):
        _net_backward(p, g, kind, "features", f, f["features"], d["e"], {"x": np.zeros_like(f["x"])})
    if R:
        for of_layer, dstate in zip(reference._layers(g), dstates, strict=True):
            for name, first in zip(CELLS[cell].first, np.split(dstate, len(CELLS[cell].first)), strict=True):
                of_layer[name] += first
    return {name: g[name] for name in parameters}


def _encoder_backward(p, g, frames, of_frames, choices):
    """Undoes (S2): a runs backwards in time, its derivative forwards."""
    R = p["r0"].size
    if choices.encoder == "filter":
        for f, d in zip(frames, of_frames, strict=True):
            dpre = d["a"] * (1.0 - f["a"] ** 2)
            g["A_r"] += np.outer(dpre, f["r"])
            g["A_x"] += np.outer(dpre, f["e"])
            g["b_a"] += dpre
            d["r"] += p["A_r"].T @ dpre
            d["e"] += p["A_x"].T @ dpre
        return
    dstate = np.zeros_like(_end(p))
    for f, d in zip(frames, of_frames, strict=True):
        dstate[:R] += d["a"]
        read = np.concatenate([f["r"], f["e"]])
        step = _of_encoder(p), read, f["after"], f["a_state"], dstate, _of_encoder(g)
        dstate, dread = CELLS[choices.cell].step_backward(*step)
        d["r"] += dread[:R]
        d["e"] += dread[R:]
    for name, first in zip(("a_end", "a_end_c"), np.split(dstate, dstate.size // R), strict=False):
        g[name] += first


def latent_importance_gradient(parameters, x, noise, **choices):
    """The derivative of `latent_importance`: each draw's sweep times its share of the weights."""
    log_w = np.array([latent_bound(parameters, x, of_draw, **choices).log_weight for of_draw in noise])
    share = np.exp(log_w - logsumexp(log_w))
    sweeps = [latent_gradient(parameters, x, of_draw, objective="log_weight", **choices) for of_draw in noise]
    return {name: sum(s * sweep[name] for s, sweep in zip(share, sweeps, strict=True)) for name in parameters}
