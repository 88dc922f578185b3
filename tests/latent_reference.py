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
    mu_p, sigma_p = _prior(p, frame, choices)
    if choices.residual:
        mu_q = mu_q + mu_p
    frame["y"] = mu_q + sigma_q * noise if y is None else y  # (V3)
    _context(p, frame, kind)
    frame["log_p"] = _log_density(p, frame["x"], frame["k"], choices)
    return frame | {"mu_q": mu_q, "sigma_q": sigma_q, "mu_p": mu_p, "sigma_p": sigma_p}


def _prior(p, frame, choices):
    """mu_p and sigma_p"""
    if "P_r" not in p:
        return np.zeros(len(p["M_q"])), np.ones(len(p["M_q"]))
    frame["prior"] = _net(p, choices.kind, "prior", frame)  # (V1), (S1)
    return _normal(p, "p", frame["prior"][-1], choices.min_latent_scale)


def _context(p, frame, kind):
    """Adds g and k to a frame that has its latent."""
    if kind != "srnn":
        frame["latent"] = _net(p, kind, "latent", frame)
        frame["g"] = frame["latent"][-1]
    frame["context"] = _net(p, kind, "context", frame)  # (V4), (S4)
    frame["k"] = frame["context"][-1]


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


def _frames(p, x, noise, y, choices, state, known=None):
    """All frames completed, and the state behind them; `known`, where the same x had it before."""
    states, y_prev = _start(p, choices, state)
    known, last = known or _known(p, np.asarray(x, np.float64), choices, states)
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
    return _bound(p, *_frames(p, x, noise, y, choices, state), choices)


def _bound(p, frames, state, choices):
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


def latent_log_weights(parameters, x, noise, **choices):
    """log w_k of each draw, (K,), for noise (K, T, J)                                                 (B3)"""
    choices = Choices(**choices)
    p = _prepared(parameters, choices)
    known = _known(p, np.asarray(x, np.float64), choices, _start(p, choices, None)[0])
    frames = [_frames(p, x, of_draw, None, choices, None, known) for of_draw in noise]
    return np.array([_bound(p, *of_draw, choices).log_weight for of_draw in frames])


def latent_importance(parameters, x, noise, **choices):
    """log mean_k w_k for noise (K, T, J)                                                              (B4)"""
    log_w = latent_log_weights(parameters, x, noise, **choices)
    return logsumexp(log_w) - np.log(len(log_w))


def systematic(weight, position):
    """K indices, each k in the mean K weight_k times: where the points (k + position) / K fall between the sums."""
    K = len(weight)
    above = np.searchsorted(np.cumsum(weight), (np.arange(K) + position) / K, side="right")
    return np.minimum(above, K - 1)  # a sum may be below 1 by rounding


def latent_particles(parameters, x, noise, positions, *, resample=True, **choices):
    """The increments (T,) of the particle estimate of log p(x) for noise (T, K, J).                   (B4)

    After a frame, particles whose effective number 1 / sum_k W_k^2 is below K / 2 are resampled systematically, with
    positions[t] in [0, 1), and have equal weights then.  With a smoothing encoder, never.
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
            particles = [particles[k] for k in systematic(weight, positions[t])]
            log_weight[:] = -np.log(K)
    return np.array(increments)


def latent_draw(parameters, latent_noise, uniforms, noise, *, state=None, **choices):
    """A sequence x (T, D) and its latents (T, J): y^t = mu_p + sigma_p eps^t, eps^t the latent noise (T, J), then x^t
    as `reference.draw` makes it of uniforms and noise (T, D).  With a state, what follows it."""
    choices = Choices(**choices)
    p = _prepared(parameters, choices)
    states, y_prev = _start(p, choices, state)
    drawn = []
    for t in range(len(uniforms)):
        frame = {"x": np.zeros(uniforms.shape[1]), "y_prev": y_prev, "r": states[-1][: p["r0"].size]}
        mu_p, sigma_p = _prior(p, frame, choices)
        frame["y"] = y_prev = mu_p + sigma_p * latent_noise[t]
        _context(p, frame, choices.kind)

        def value(d, z, t=t, x=frame["x"]):
            x[d] = reference.HEADS[choices.head].draw(z, choices.min_scale, uniforms[t, d], noise[t, d])
            return x[d]

        of_frame = p, frame["k"], value, choices.head, choices.activation, choices.min_scale
        CONDITIONERS[choices.conditioner][0](*of_frame)
        frame["e"] = _net(p, choices.kind, "features", frame)[-1]
        if choices.kind != "vae":
            read = frame["e"] if choices.kind == "srnn" else np.concatenate([frame["e"], frame["g"]])
            states = reference._step(p, read, states, choices.cell)
        drawn.append(frame)
    return np.array([frame["x"] for frame in drawn]), np.array([frame["y"] for frame in drawn])


# ---- gaps ----------------------------------------------------------------------------------------------------


def _conditionals(p, x, k, choices):
    """What gives each dimension of a frame (D,) given the context and those before it, and its log-density, lists."""
    given, terms = [], []

    def value(d, z):
        given.append(z)
        terms.append(reference.HEADS[choices.head].log_density(x[d], z, choices.min_scale))
        return x[d]

    CONDITIONERS[choices.conditioner][0](p, k, value, choices.head, choices.activation, choices.min_scale)
    return given, np.array(terms)


def latent_particles_with_gaps(parameters, x, n_particles, numbers, *, share_of_prior=0.5, **choices):
    """Particles of x (T, D) with NaN for what is missing: the logarithm of the estimate of the likelihood of what is
    observed after each frame, (T,), and the particles as complete sequences (n_particles, T, D).

    Frames without a gap draw y from the encoder, one by one; an encoder that reads the future reads on to the next gap,
    all those frames at once. A frame of which nothing is known draws y from the prior, then itself. Any other draws y
    from the prior with probability share_of_prior, else from the encoder, which reads 0 for what is missing, and weighs
    by the density of the mixture of both; then dimension after dimension weighs, or is drawn from its conditional.
    Before each draw, particles whose effective number is below half of them are resampled.

    `numbers` gives, for all particles, latent(n): standard normals (n_particles, n, J); lot(): uniforms
    (n_particles,); dimension(): (uniforms, noise), each (n_particles,); frame(): the same (n_particles, D); and
    position(): one uniform.
    """
    choices = Choices(**choices)
    p, K, T = _prepared(parameters, choices), n_particles, len(x)
    particles, log_weight, totals = [_start(p, choices, None)] * K, np.zeros(K), []
    x, y, missing = np.repeat(np.asarray(x, np.float64)[None], K, axis=0), [None] * K, np.isnan(x)

    def resample():
        nonlocal particles, log_weight, x, y
        weight = np.exp(log_weight - logsumexp(log_weight))
        if 1.0 / np.sum(weight * weight) < K / 2:
            index = systematic(weight, numbers.position())
            particles, x, y = [particles[k] for k in index], x[index], [y[k] for k in index]
            log_weight = np.full(K, logsumexp(log_weight) - np.log(K))

    def total():
        return logsumexp(log_weight) - np.log(K)

    def frames_of(k, x_k, noise, y_k):
        return _frames(p, x_k, noise, y_k, choices, particles[k])

    t = 0
    while t < T:
        resample()
        if not missing[t].any():
            n = int(np.append(missing[t:].any(axis=1), True).argmax()) if choices.encoder == "smooth" else 1
            n = n if choices.kind == "srnn" else 1
            noise, added = numbers.latent(n), np.zeros((K, n))
            for k in range(K):
                frames, particles[k] = frames_of(k, x[k, t : t + n], noise[k], None)
                for i, f in enumerate(frames):
                    ratio = log_normal(f["y"], f["mu_p"], f["sigma_p"]) - log_normal(f["y"], f["mu_q"], f["sigma_q"])
                    added[k, i] = f["log_p"] + ratio
            for i in range(n):
                log_weight = log_weight + added[:, i]
                totals.append(total())
            t += n
            continue
        noise = numbers.latent(1)
        if missing[t].all():
            of_frame = numbers.frame()
            for k in range(K):
                drawn = latent_draw(
                    parameters, noise[k], *(one[k : k + 1] for one in of_frame), state=particles[k], **vars(choices)
                )
                x[k, t] = drawn[0][0]
                particles[k] = frames_of(k, *drawn[:1], None, drawn[1])[1]
        else:
            lot = numbers.lot()
            for k in range(K):
                (f,), _ = frames_of(k, np.where(missing[t], 0.0, x[k, t : t + 1]), noise[k], None)
                of_prior, of_encoder = (f["mu_p"], f["sigma_p"]), (f["mu_q"], f["sigma_q"])
                mu, sigma = of_prior if lot[k] < share_of_prior else of_encoder
                y[k] = mu + sigma * noise[k, 0]
                log_p, log_q = log_normal(y[k], *of_prior), log_normal(y[k], *of_encoder)
                mixed = share_of_prior * np.exp(log_p) + (1.0 - share_of_prior) * np.exp(log_q)
                log_weight[k] += log_p - np.log(mixed)
            for d in range(x.shape[2]):
                if missing[t, d]:
                    resample()
                    uniforms, deviates = numbers.dimension()
                for k in range(K):
                    known = np.where(np.arange(x.shape[2]) < d + (not missing[t, d]), x[k, t], 0.0)
                    (f,), _ = frames_of(k, known[None], None, y[k][None])
                    given, terms = _conditionals(p, known, f["k"], choices)
                    if missing[t, d]:
                        head = reference.HEADS[choices.head]
                        x[k, t, d] = head.draw(given[d], choices.min_scale, uniforms[k], deviates[k])
                    else:
                        log_weight[k] += terms[d]
            for k in range(K):
                particles[k] = frames_of(k, x[k, t : t + 1], None, y[k][None])[1]
        totals.append(total())
        t += 1
    return np.array(totals), x


def gaussian_with_gaps(x, mean, covariance):
    """x with NaN for what is missing, jointly normal: the log-density of what is observed; mean and covariance of what
    is missing given it."""
    missing = np.isnan(x).ravel()
    seen, d = ~missing, np.ravel(x)[~missing] - mean[~missing]
    gain = covariance[np.ix_(missing, seen)] @ np.linalg.inv(covariance[np.ix_(seen, seen)])
    log_density = _log_normal_full(d, 0.0, covariance[np.ix_(seen, seen)]) if seen.any() else 0.0
    left = covariance[np.ix_(missing, missing)] - gain @ covariance[np.ix_(seen, missing)]
    return log_density, mean[missing] + gain @ d, left


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
    log_w = latent_log_weights(parameters, x, noise, **choices)
    share = np.exp(log_w - logsumexp(log_w))
    sweeps = [latent_gradient(parameters, x, of_draw, objective="log_weight", **choices) for of_draw in noise]
    return {name: sum(s * sweep[name] for s, sweep in zip(share, sweeps, strict=True)) for name in parameters}


# ---- the marginal by quadrature ------------------------------------------------------------------------------


def latent_log_marginal(parameters, x, *, limit=8.0, nodes=121, **choices):
    """log p(x) for J = 1 by the trapezoid rule over each y^t in [-limit, limit]; nodes^T evaluations: T <= 2.

    The kinks of relu limit its error to the square of the step.
    """
    choices = Choices(**choices)
    p = _prepared(parameters, choices)
    states, y_prev = _start(p, choices, None)
    known, _ = _known(p, np.asarray(x, np.float64), choices, states)
    grid, step = np.linspace(-limit, limit, nodes, retstep=True)

    def rest(t, states, y_prev):
        """log p(x^t.. | what was before)"""
        if t == len(known):
            return 0.0
        terms = []
        for y in grid[:, None]:
            f = _latent(p, known[t], choices, states, y_prev, None, y)
            after = rest(t + 1, _next(p, f, choices, states), y)
            terms.append(f["log_p"] + log_normal(y, f["mu_p"], f["sigma_p"]) + after)
        return logsumexp(np.array(terms)) + np.log(step)

    return rest(0, states, y_prev)


# ---- models whose likelihood is known ------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    parameters: dict
    choices: dict  # of `latent_bound`
    log_density: callable  # of x (T, D): log p(x)
    gap: callable  # of x: log p(x) less the mean of the bound over the noise
    draw: callable  # of a generator and T: x (T, D)
    joint: callable = None  # of T, where x is jointly normal: mean (T D,) and covariance


# A net of relu units is linear where it has two for each number v: max(v, 0) and max(-v, 0).


def _split(A, E):
    """(E, n): units that hold the two parts of A v, for A (m, n) and 2 m <= E, and zeros"""
    return np.concatenate([A, -A, np.zeros((E - 2 * len(A), A.shape[1]))])


def _joined(A, E):
    """(.., E): what reads A v from the two parts of v (n,), for A (.., n) and 2 n <= E"""
    return np.concatenate([A, -A, np.zeros((*A.shape[:-1], E - 2 * A.shape[-1]))], axis=-1)


def _raw_scale(sigma, floor):
    """softplus^-1(sigma - floor)"""
    return np.log(np.expm1(sigma - floor))


def _linear_gaussian_frame(p, W_mu, b, psi, E):
    """Adds x ~ N(W_mu k + b, psi) to the parameters, W_mu (D, E)."""
    p |= {"b_alpha": np.zeros((len(b), 1)), "b_mu": b[:, None], "b_sigma": np.log(psi)[:, None]}
    p |= {"W_alpha": np.zeros((len(b), 1, E)), "W_mu": W_mu[:, None], "W_sigma": np.zeros((len(b), 1, E))}


def _deeper(p, n_dense, E):
    """Adds layers to all nets that change nothing: relu(I h) = h where h >= 0."""
    for matrix, bias in LAYERS.values():
        for k in range(2, n_dense + 1) if bias in p else ():
            p |= {f"{matrix}_{k}": np.eye(E), f"{bias}_{k}": np.zeros(E)}


def _log_normal_full(x, mean, covariance):
    d = x - mean
    return -0.5 * (d @ np.linalg.solve(covariance, d) + np.linalg.slogdet(2.0 * np.pi * covariance)[1])


def _kl_full(mean_q, covariance_q, mean_p, covariance_p):
    d, ratio = mean_p - mean_q, np.linalg.solve(covariance_p, covariance_q)
    return 0.5 * (np.trace(ratio) + d @ np.linalg.solve(covariance_p, d) - len(d) - np.linalg.slogdet(ratio)[1])


def linear_gaussian_frames(
    generator,
    D,
    J,
    R=0,
    *,
    cell="tanh",
    n_layers=1,
    n_dense=1,
    prior="recurrent",
    residual=False,
    off=0.0,
    min_latent_scale=1e-3,
):
    """x^t = W y^t + b(r^{t-1}) + psi u^t,  y^t ~ N(mu_p(r^{t-1}), sigma_p),  no latent in r: any cell, J <= D.

    A VAE (R = 0; b and mu_p constant) is factor analysis, a VRNN has W_in of zeros for g. W' Psi^-1 W is diagonal, so
    that the encoder is the posterior if `off` is 0; else its mean, its slope by x and its scale are off by that much.
    """
    n, floor = 3, min_latent_scale
    m = 2 * max(D, J)  # units for the two parts of x or y; then n of the prior, n of the context
    E, of_prior, of_context = m + 2 * n, slice(m, m + n), slice(m + n, m + 2 * n)
    recurrent = prior == "recurrent" and R > 0

    def normal(*shape, scale=1.0):
        return scale * generator.standard_normal(shape)

    psi, b, size = generator.uniform(0.5, 1.0, D), normal(D), generator.uniform(0.5, 2.0, J)
    W = psi[:, None] * np.linalg.qr(normal(D, J))[0] * size
    sigma_p = generator.uniform(0.5, 1.5, J) if recurrent else np.ones(J)
    sigma = (sigma_p**-2 + size**2) ** -0.5  # of the posterior, whose mean is mu_p + G (x - b - W mu_p)
    G = (sigma**2)[:, None] * W.T / psi**2
    tilt, shift, stretch = off * normal(J, D, scale=0.3), off * normal(J), np.exp(off * normal(J, scale=0.5))

    p = {"F_x": normal(E, D), "f_x": normal(E, scale=0.3), "F_y": _split(np.eye(J), E), "f_y": np.zeros(E)}
    p["F_x"][:m], p["f_x"][:m] = _split(np.eye(D), m), 0.0  # what is left are features for the recurrence
    p |= {"C_y": np.diag(np.arange(E) < m).astype(float), "c_k": np.zeros(E)}
    p |= {"Q_x": np.diag(np.arange(E) < m).astype(float), "q_h": np.zeros(E), "M_q": _joined(G + tilt, E)}
    p |= {"S_q": np.zeros((J, E)), "s_q": _raw_scale(stretch * sigma, floor), "m_q": shift - G @ b}
    W_mu = _joined(W, E)
    if R:
        gates, first = CELLS[cell].gates * R, CELLS[cell].first
        for end in ("", *(f"_{k}" for k in range(2, n_layers + 1))):
            p["W_in" + end] = normal(gates, R if end else E, scale=0.3)
            p |= {"W_rec" + end: normal(gates, R, scale=0.5 * R**-0.5), "b_r" + end: normal(gates, scale=0.3)}
            p |= {name + end: normal(R, scale=0.5) for name in first}
        p |= {"C_r": np.zeros((E, R)), "Q_r": np.zeros((E, R))}
        p["C_r"][of_context], p["c_k"][of_context], W_mu[:, of_context] = normal(n, R), normal(n), normal(D, n)
        p["Q_r"][of_context], p["q_h"][of_context] = p["C_r"][of_context], p["c_k"][of_context]
        p["M_q"][:, of_context] = -G @ W_mu[:, of_context]
    if recurrent:
        p |= {"P_r": np.zeros((E, R)), "p_h": np.zeros(E), "M_p": np.zeros((J, E)), "S_p": np.zeros((J, E))}
        p |= {"m_p": normal(J), "s_p": _raw_scale(sigma_p, floor)}
        p["P_r"][of_prior], p["p_h"][of_prior], p["M_p"][:, of_prior] = normal(n, R), normal(n), normal(J, n)
        p["Q_r"][of_prior], p["q_h"][of_prior] = p["P_r"][of_prior], p["p_h"][of_prior]
        own = (0.0 if residual else np.eye(J)) - G @ W
        p["M_q"][:, of_prior], p["m_q"] = own @ p["M_p"][:, of_prior], p["m_q"] + own @ p["m_p"]
    _linear_gaussian_frame(p, W_mu, b, psi, E)
    _deeper(p, n_dense, E)

    def step(states, x_t):
        return reference._step(walk, np.maximum(p["F_x"] @ x_t + p["f_x"], 0.0), states, cell)

    def mean(states):
        """E x^t"""
        r = states[-1][:R]
        mu_p = p["M_p"] @ np.maximum(p["P_r"] @ r + p["p_h"], 0.0) + p["m_p"] if recurrent else np.zeros(J)
        b_r = W_mu[:, of_context] @ np.maximum(p["C_r"] @ r + p["c_k"], 0.0)[of_context] if R else 0.0
        return W @ mu_p + b + b_r

    walk = {name: value for name, value in p.items() if name.startswith(("W_in", "W_rec", "b_r", "r0", "c0"))}
    walk |= {"r0": np.zeros(0)} if not R else {}
    start = reference._states(walk, (), cell if R else "tanh")[0]
    covariance = W @ np.diag(sigma_p**2) @ W.T + np.diag(psi**2)

    def log_density(x):
        states, total = start, 0.0
        for x_t in x:
            seen = ~np.isnan(x_t)  # rows may have gaps; the state of a recurrence reads all
            total += _log_normal_full(x_t[seen], mean(states)[seen], covariance[np.ix_(seen, seen)])
            states = step(states, x_t)
        return total

    def gap(x):
        return sum(
            _kl_full(tilt @ x_t + shift, np.diag((stretch * sigma) ** 2), np.zeros(J), np.diag(sigma**2)) for x_t in x
        )

    def draw(generator, T):
        states, x = start, []
        for _ in range(T):
            x.append(mean(states) + W @ (sigma_p * generator.standard_normal(J)) + psi * generator.standard_normal(D))
            states = step(states, x[-1])
        return np.array(x)

    if R:
        p["W_in"] = np.concatenate([p["W_in"], np.zeros_like(p["W_in"])], axis=1)

    def joint(T):
        return np.tile(mean(start), T), np.kron(np.eye(T), covariance)  # of rows

    choices = {"kind": "vrnn" if R else "vae", "min_latent_scale": floor, "residual": residual}
    joint = None if R else joint
    return Known(p, choices | ({"cell": cell} if R else {}), log_density, gap, draw, joint)


def linear_gaussian_states(D=3, *, encoder="filter", residual=False, cell="tanh", n_dense=1, small=1e-6):
    """y^t = A y^{t-1} + q u^t,  x^t = C y^t + psi v^t,  D <= 3, J = 2, y^0 = 0, as an SRNN: Kalman's likelihood.

    "filter": the mean of p(y^t | y^{t-1}, x^t) and the best diagonal scale. "smooth": those of p(y^t | y^{t-1}, x^t..)
    far from the end of a sequence. (S2)'s tanh is linear to the order of small^2, so that the cell is tanh where
    smooth; a tanh whose last digits are absolute, not relative, needs a larger `small`.
    """
    J, E, R, floor = 2, 6, 3, 1e-3
    A, q, psi = np.array([[0.9, 0.2], [-0.2, 0.8]]), np.array([0.5, 0.4]), np.array([0.5, 0.6, 0.7])[:D]
    C = np.random.default_rng(0).standard_normal((3, J))[:D]
    seen, Q_inv = C.T @ np.diag(psi**-2) @ C, np.diag(q**-2)  # precisions of y^t by x^t and by y^{t-1}
    ahead, back = seen, np.zeros((J, J))
    if encoder == "smooth":
        # p(x^t.. | y^t) ~ exp(-y' ahead y / 2 + eta^t' y),  eta^t = C' Psi^-1 x^t + back eta^{t+1}
        for _ in range(500):
            S = np.linalg.inv(Q_inv + ahead)
            ahead = seen + A.T @ (Q_inv - Q_inv @ S @ Q_inv) @ A
        back = A.T @ Q_inv @ np.linalg.inv(Q_inv + ahead)
    S = np.linalg.inv(Q_inv + ahead)
    from_past, sigma_q = S @ Q_inv @ A, np.diag(Q_inv + ahead) ** -0.5  # mu_q = from_past y^{t-1} + S eta^t

    p = {"F_x": _split(np.eye(D), E), "f_x": np.zeros(E)}
    gates = CELLS[cell].gates * R
    p |= {"W_in": np.ones((gates, E)), "W_rec": np.eye(R)[np.arange(gates) % R], "b_r": np.zeros(gates)}  # not read
    p |= {name: np.zeros(R) for name in CELLS[cell].first} | {"y0": np.zeros(J)}
    p |= {"P_r": np.zeros((E, R)), "P_y": _split(np.eye(J), E), "p_h": np.zeros(E)}
    p |= {"M_p": _joined(A, E), "m_p": np.zeros(J), "S_p": np.zeros((J, E)), "s_p": _raw_scale(q, floor)}
    eta = np.concatenate([C.T @ np.diag(psi**-2), np.zeros((R - J, D))])  # the first J of a^t are small eta^t
    if encoder == "smooth":
        p |= {"A_in": small * np.concatenate([np.zeros((R, R)), _joined(eta, E)], axis=1), "a_end": np.zeros(R)}
        p |= {"A_rec": np.pad(back, (0, R - J)), "b_a": np.zeros(R)}
    else:
        p |= {"A_r": np.zeros((R, R)), "A_x": small * _joined(eta, E), "b_a": np.zeros(R)}
    own = from_past - A if residual else from_past
    p |= {"Q_a": _split(np.pad(S / small, ((0, 0), (0, R - J))), E), "Q_y": _split(own, E), "q_h": np.zeros(E)}
    p |= {"M_q": _joined(np.eye(J), E), "m_q": np.zeros(J), "S_q": np.zeros((J, E)), "s_q": _raw_scale(sigma_q, floor)}
    p |= {"C_y": _split(np.eye(J), E), "C_r": np.zeros((E, R)), "c_k": np.zeros(E)}
    _linear_gaussian_frame(p, _joined(C, E), np.zeros(D), psi, E)
    _deeper(p, n_dense, E)

    def log_density(x):
        mean, P, total = np.zeros(J), np.zeros((J, J)), 0.0
        for x_t in x:
            mean, P = A @ mean, A @ P @ A.T + np.diag(q**2)
            seen = ~np.isnan(x_t)  # what is missing says nothing
            if not seen.any():
                continue
            C_t, x_t = C[seen], x_t[seen]
            S = C_t @ P @ C_t.T + np.diag(psi[seen] ** 2)
            total += _log_normal_full(x_t, C_t @ mean, S)
            gain = P @ C_t.T @ np.linalg.inv(S)
            mean, P = mean + gain @ (x_t - C_t @ mean), P - gain @ S @ gain.T
        return total

    def gap(x):
        """KL(q || posterior) of all latents of x at once"""
        T = len(x)
        to_noise = np.eye(T * J) - np.kron(np.eye(T, k=-1), A)
        precision = to_noise.T @ np.kron(np.eye(T), Q_inv) @ to_noise + np.kron(np.eye(T), seen)
        eta = x @ np.diag(psi**-2) @ C
        covariance = np.linalg.inv(precision)
        mean = covariance @ eta.ravel()
        for t in reversed(range(T - 1)):
            eta[t] += back @ eta[t + 1]
        path = np.linalg.inv(np.eye(T * J) - np.kron(np.eye(T, k=-1), from_past))
        covariance_q = path @ np.diag(np.tile(sigma_q**2, T)) @ path.T
        return _kl_full(path @ (eta @ S).ravel(), covariance_q, mean, covariance)

    def draw(generator, T):
        y, x = np.zeros(J), []
        for _ in range(T):
            y = A @ y + q * generator.standard_normal(J)
            x.append(C @ y + psi * generator.standard_normal(D))
        return np.array(x)

    def joint(T):
        path = np.linalg.inv(np.eye(T * J) - np.kron(np.eye(T, k=-1), A)) @ np.kron(np.eye(T), np.diag(q))
        seen_of = np.kron(np.eye(T), C) @ path
        return np.zeros(T * D), seen_of @ seen_of.T + np.kron(np.eye(T), np.diag(psi**2))

    choices = {"kind": "srnn", "encoder": encoder, "residual": residual, "cell": cell, "min_latent_scale": floor}
    return Known(p, choices, log_density, gap, draw, joint)


def idle_latents(generator, parameters, kind, J, *, encoder="filter", residual=False, n_dense=1, **choices):
    """A model of `reference` with latents that nothing reads and whose encoder is the prior: (parameters, choices).

    Its bound, its weights and its particle estimates are the log-density of that model. `choices` are those of
    `reference.log_density_dims`. A VAE is made of a static model.
    """
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    D = p[reference.HEADS[choices["head"]].outputs[-1][1]].shape[0]
    R, floor = p["r0"].size if kind != "vae" else 0, 1e-3
    E = 2 * max(D, R, J) + 1

    def normal(*shape):
        return generator.standard_normal(shape)

    p |= {"F_x": _split(np.eye(D), E), "f_x": np.zeros(E)}
    if kind != "srnn":
        p |= {"F_y": normal(E, J), "f_y": normal(E)}
    p |= {"C_y": np.zeros((E, J if kind == "srnn" else E)), "c_k": np.zeros(E)}
    prior = {"M": normal(J, E), "m": normal(J), "S": normal(J, E), "s": normal(J)}
    if kind == "vae":  # N(0, I)
        prior = {name: np.zeros_like(value) for name, value in prior.items()}
        prior["s"] = np.full(J, _raw_scale(1.0, floor))
        p |= {"Q_x": normal(E, E), "q_h": normal(E)}
    else:
        for name in [name for name in p if name.startswith("W_") and name[2:] in ("c", "b", "alpha", "mu", "sigma")]:
            p[name] = _joined(p[name], E)  # k^t: the two parts of r^{t-1}
        p |= {"C_r": _split(np.eye(R), E), "P_r": normal(E, R), "p_h": normal(E), "W_in": _joined(p["W_in"], E)}
    if kind == "vrnn":
        p["W_in"] = np.pad(p["W_in"], ((0, 0), (0, E)))
        p |= {"Q_x": np.zeros((E, E)), "Q_r": p["P_r"], "q_h": p["p_h"]}
    elif kind == "srnn":
        p |= {"P_r": np.zeros((E, R)), "P_y": normal(E, J), "y0": normal(J)}
        p |= {"Q_a": np.zeros((E, R)), "Q_y": p["P_y"], "q_h": p["p_h"]}
        gates = CELLS[choices["cell"]].gates * R
        if encoder == "filter":
            p |= {"A_r": normal(R, R), "A_x": normal(R, E), "b_a": normal(R)}
        else:
            p |= {"A_in": normal(gates, R + E), "A_rec": normal(gates, R), "b_a": normal(gates)}
            p |= dict(zip(("a_end", "a_end_c"), (normal(R) for _ in CELLS[choices["cell"]].first), strict=False))
    _deeper(p, n_dense, E)
    if kind != "vae":
        p |= {name + "_p": value for name, value in prior.items()}
    p |= {name + "_q": np.zeros_like(value) if residual and name in "Mm" else value for name, value in prior.items()}
    if kind == "vae":
        choices = {name: value for name, value in choices.items() if name != "cell"}
    return p, choices | {"kind": kind, "encoder": encoder, "residual": residual, "min_latent_scale": floor}
