"""The faults of the printed algorithms, one at a time, against complex-step derivatives (docs/errata.md).

A small random RNN-RNADE, a few frames. The log-likelihood is the definition, tests/reference.py. Its derivative by a
complex step, Im f(p + i h e) / h, has no error but rounding and knows nothing of any algorithm for gradients. The
algorithm below is the sweep of NOTATION.md with a switch for each fault; with all switches off it must agree with
the derivative, with one of them on the table says how far it is off.

The second part does the same for printed equations of latent-variable models: what each fault makes of a number that is
known in closed form.

    python tools/errata.py
"""

import itertools
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import reference

SEED = 0
D, H, K, R = 4, 5, 3, 6  # dimensions, hidden units, components, recurrent units
LENGTHS = (5, 3)  # frames of each sequence
STEP = 1e-40
HEAD = ("alpha", "mu", "sigma")

# switch: what is printed
FAULTS = {
    "current": "a holds x_1 ... x_d when p(x_d) is computed",
    "phi": "phi = (mu - x)^2 / (2 sigma^2) - log sigma - log(2 pi) / 2, in pi",
    "square": "dz^sigma = pi ((x - mu) / sigma^2 - 1)",
    "z_alpha": "dh = V^alpha z^alpha + ...",
    "late": "dW[:,d] after da has taken dimension d",
    "rho": "da += dpsi, without rho_d",
    "slope": "dpsi = dh, without s'(psi)",
    "assigned": "gradients assigned in the loop over t",
    "da": "da not set to 0 at each frame",
    "transpose": "back through time with W_rec for W_rec'",
    "once": "a <- c once, before the loop over t",
    "r0": "no gradient for r^0",
    "b": "no gradient for b^alpha, b^mu, b^sigma, only for the part that r drives",
}


def random_model(generator):
    """Raw outputs of order one: nothing saturates, nothing is negligible."""

    def normal(*shape, inputs=1, shift=0.0, scale=1.0):
        return shift + scale * generator.standard_normal(shape) / np.sqrt(inputs)

    p = {"W": normal(H, D, inputs=D), "c": normal(H), "rho": normal(D, shift=1.0, scale=0.3)}
    for q in HEAD:
        scale = 0.4 if q == "sigma" else 1.0
        p[f"V_{q}"] = normal(D, H, K, inputs=H, scale=scale)
        p[f"b_{q}"] = normal(D, K, scale=scale)
        p[f"W_{q}"] = normal(D, K, R, inputs=R, scale=scale)
    p |= {"W_in": normal(R, D, inputs=D), "W_rec": normal(R, R, inputs=R), "b_r": normal(R), "r0": normal(R)}
    return p, [1.5 * generator.standard_normal((T, D)) for T in LENGTHS]


def derivative(p, sequences):
    """The gradient of the log-likelihood, a complex step for each number."""
    found = {name: np.zeros(value.shape) for name, value in p.items()}
    for name, value in p.items():
        for index in np.ndindex(value.shape):
            moved = value.astype(complex)
            moved[index] += 1j * STEP
            found[name][index] = np.imag(reference.log_density(p | {name: moved}, sequences)) / STEP
    return found


def frame_backward(p, g, x, r, a, da, fault):
    """One frame, d = D ... 1, from a = a_{D+1}: adds to g; returns the last a, da, and what r gets."""
    dr = np.zeros(R)
    for d in reversed(range(D)):
        if fault != "current":
            a = a - x[d] * p["W"][:, d]
        psi = p["rho"][d] * a
        h = reference.sigmoid(psi)
        z = {q: h @ p[f"V_{q}"][d] + p[f"b_{q}"][d] + p[f"W_{q}"][d] @ r for q in HEAD}
        alpha, mu, sigma = np.exp(z["alpha"] - reference.logsumexp(z["alpha"])), z["mu"], np.exp(z["sigma"])
        square, rest = (mu - x[d]) ** 2 / (2 * sigma**2), np.log(sigma) + np.log(2 * np.pi) / 2
        phi = square - rest if fault == "phi" else np.exp(-square - rest)
        pi = alpha * phi / np.sum(alpha * phi)
        power = 1 if fault == "square" else 2
        dz = {
            "alpha": pi - alpha,
            "mu": pi * (x[d] - mu) / sigma**2,
            "sigma": pi * ((x[d] - mu) ** power / sigma**2 - 1),
        }
        for q in HEAD:
            g[f"V_{q}"][d] += np.outer(h, dz[q])
            g[f"b_{q}"][d] += 0 if fault == "b" else dz[q]
            g[f"W_{q}"][d] += np.outer(dz[q], r)
            dr = dr + dz[q] @ p[f"W_{q}"][d]
        back = dz | {"alpha": z["alpha"]} if fault == "z_alpha" else dz
        dh = sum(p[f"V_{q}"][d] @ back[q] for q in HEAD)
        dpsi = dh if fault == "slope" else dh * h * (1 - h)
        step = dpsi if fault == "rho" else p["rho"][d] * dpsi
        g["rho"][d] += dpsi @ a
        g["W"][:, d] += x[d] * (da + step if fault == "late" else da)
        da = da + step
        if fault == "current":
            a = a - x[d] * p["W"][:, d]
    g["c"] += da
    return a, da, dr


def gradient(p, sequences, fault=None):
    """The gradient by the sweep of NOTATION.md, with one fault or none."""
    g = {name: np.zeros(value.shape) for name, value in p.items()}
    for x in sequences:
        T = len(x)
        r = [p["r0"]]
        for t in range(T):
            r.append(reference.sigmoid(p["W_in"] @ x[t] + p["W_rec"] @ r[t] + p["b_r"]))
        dr = np.zeros((T + 1, R))
        carried = np.cumsum(x, axis=0)  # of frames, where a is not set back to c
        da = np.zeros(H)
        for t in reversed(range(T)):
            if fault == "assigned":
                for q in ("V", "b", "W"):
                    for name in HEAD:
                        g[f"{q}_{name}"][...] = 0
                for name in ("W", "c", "rho"):
                    g[name][...] = 0
            a = p["c"] + p["W"] @ (carried[t] if fault == "once" else x[t])
            _, da, dr[t] = frame_backward(p, g, x[t], r[t], a, da if fault == "da" else np.zeros(H), fault)
        for t in reversed(range(1, T)):
            dpre = dr[t] * r[t] * (1 - r[t])
            if fault == "assigned":
                for name in ("W_rec", "W_in", "b_r"):
                    g[name][...] = 0
            g["W_rec"] += np.outer(dpre, r[t - 1])
            g["W_in"] += np.outer(dpre, x[t - 1])
            g["b_r"] += dpre
            dr[t - 1] += (p["W_rec"] if fault == "transpose" else p["W_rec"].T) @ dpre
        g["r0"] += 0 if fault == "r0" else dr[0]
    return g


def worst(found, exact):
    """(relative error, name) of the parameter that is furthest off: |found - exact| / |exact| in the 2-norm."""
    norm = np.linalg.norm
    return max((norm((found[name] - exact[name]).ravel()) / norm(exact[name].ravel()), name) for name in exact)


def leak(p):
    """The integral over x_1 of "p(x_1)" when a holds x_1 already: not 1, so not a density."""

    def log_density(x, a):
        h = reference.sigmoid(p["rho"][0] * a)
        z = [h @ p[f"V_{q}"][0] + p[f"b_{q}"][0] + p[f"W_{q}"][0] @ p["r0"] for q in HEAD]
        return reference.Gaussian.log_density(x, z, 0.0)

    grid, width = np.linspace(-60, 60, 12001, retstep=True)
    right = sum(np.exp(log_density(x, p["c"])) for x in grid) * width
    wrong = sum(np.exp(log_density(x, p["c"] + x * p["W"][:, 0])) for x in grid) * width
    return right, wrong


def underflow(p, dtype):
    """The number of frames whose product of densities is 0 in `dtype`: one more than it can hold."""
    x = 1.5 * np.random.default_rng(SEED).standard_normal((1000, D))
    densities = np.exp(reference.log_density_dims(p, x)).astype(dtype)
    return int(np.argmax(np.cumprod(densities.ravel(), dtype=dtype) == 0)) // D + 1


# ---- latent-variable models: y is the latent, x what is observed -----------------------------------------------------


def log_normal(x, mean, covariance):
    """log N(x; mean, covariance) of the last axis of x."""
    half = np.linalg.solve(np.linalg.cholesky(covariance), np.moveaxis(np.atleast_2d(x - mean), -1, 0))
    return -0.5 * (half**2).sum(axis=0) - 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]


def one_latent(w=1.5, s=0.5, x=1.2):
    """y ~ N(0, 1), x | y ~ N(w y, s^2): what stands for log p(x), right and as printed, all in closed form."""
    evidence = log_normal(np.array([x]), 0.0, np.array([[w**2 + s**2]]))[0]
    variance = 1 / (1 + w**2 / s**2)
    mean = variance * w * x / s**2  # of the posterior p(y | x)

    def expected_log_likelihood(m, v):
        """E log p(x | y) under y ~ N(m, v)."""
        return -0.5 * ((x - w * m) ** 2 + w**2 * v) / s**2 - np.log(s) - 0.5 * np.log(2 * np.pi)

    kl = 0.5 * (variance + mean**2 - 1 - np.log(variance))
    bound = expected_log_likelihood(mean, variance) - kl
    if abs(bound - evidence) > 1e-12:
        sys.exit("the bound at the posterior is not log p(x)")
    return {
        "log p(x), and the bound where q is the posterior": bound,
        "E p(x | y) under the prior": np.exp(evidence),
        "E log p(x | y) under the prior, and the bound where q(y | x) is N(0, 1)": expected_log_likelihood(0.0, 1.0),
        "the bound where q is the posterior and the KL has the wrong sign": expected_log_likelihood(mean, variance)
        + kl,
    }


def masses(generator):
    """The sum of p(x^1, y^1, x^2, y^2) over binary x and y: as a product over t, and as a sum over t."""

    def table(*past):
        """Probabilities of 0 and 1 given the past."""
        p = generator.random(past)
        return np.stack([p, 1 - p], axis=-1)

    y_1, x_1, y_2, x_2 = table(), table(2), table(2, 2), table(2, 2, 2)
    terms = [(y_1[a] * x_1[a, b], y_2[a, b, c] * x_2[a, b, c, d]) for a, b, c, d in itertools.product((0, 1), repeat=4)]
    return sum(first * second for first, second in terms), sum(first + second for first, second in terms)


class LinearGaussian:
    """y^t = A y^{t-1} + N(0, Q), x^t = C y^t + N(0, R), y^0 = 0: the exact likelihood, and bounds without sampling."""

    def __init__(self, generator):
        self.A = np.array([[0.9, 0.2], [-0.2, 0.8]])
        self.Q, self.R = np.diag([0.5, 0.4]) ** 2, np.diag([0.5, 0.6, 0.7]) ** 2
        self.C = generator.standard_normal((3, 2))

    def sample(self, n, T, generator):
        """(n, T, 3)"""
        y, x = np.zeros((n, 2)), []
        for _ in range(T):
            y = y @ self.A.T + generator.standard_normal((n, 2)) @ np.sqrt(self.Q)
            x.append(y @ self.C.T + generator.standard_normal((n, 3)) @ np.sqrt(self.R))
        return np.stack(x, axis=1)

    def filter(self, x):
        """(log p(x) (n,), E[x^t | x^<t] (n, T, 3)) by the Kalman filter."""
        mean, covariance, total, expected = np.zeros((len(x), 2)), np.zeros((2, 2)), 0.0, []
        for x_t in np.moveaxis(x, 1, 0):
            mean, covariance = mean @ self.A.T, self.A @ covariance @ self.A.T + self.Q
            S = self.C @ covariance @ self.C.T + self.R
            gain = covariance @ self.C.T @ np.linalg.inv(S)
            expected.append(mean @ self.C.T)
            total = total + log_normal(x_t, expected[-1], S)
            mean, covariance = mean + (x_t - expected[-1]) @ gain.T, covariance - gain @ S @ gain.T
        return total, np.stack(expected, axis=1)

    def joint_log_density(self, x):
        """The same as one normal distribution of all frames: (n,)"""
        n, T, D = x.shape
        power = [np.linalg.matrix_power(self.A, t) for t in range(T)]
        path = np.block([[power[t - s] if s <= t else np.zeros((2, 2)) for s in range(T)] for t in range(T)])
        C = np.kron(np.eye(T), self.C)
        covariance = C @ path @ np.kron(np.eye(T), self.Q) @ path.T @ C.T + np.kron(np.eye(T), self.R)
        return log_normal(x.reshape(n, T * D), 0.0, covariance)

    def bound(self, x, seen=None):
        """The bound on log p(x), without sampling: (n,)

        For q(y^t | .) = p(y^t | y^{t-1}, x^t) with `seen` (n, T, 3) in the place of x.
        None: for q(y^t | .) = p(y^t | y^{t-1}), the prior.
        """
        from_x = self.C.T @ np.linalg.inv(self.R)
        inverse = np.linalg.inv(self.Q)
        own = self.Q if seen is None else np.linalg.inv(inverse + from_x @ self.C)  # covariance of q
        carry = own @ inverse @ self.A  # the mean of q is carry y^{t-1} + shift
        shift = np.zeros((*x.shape[:2], 2)) if seen is None else seen @ (own @ from_x).T
        mean, covariance, total = np.zeros((len(x), 2)), np.zeros((2, 2)), 0.0  # of y^{t-1} under q

        def square(left, mean, load, covariance, weight):
            """E v' weight v of v = left - load y, y ~ N(mean, covariance)."""
            v = left - mean @ load.T
            return np.einsum("ni,ij,nj->n", v, weight, v) + np.trace(weight @ load @ covariance @ load.T)

        same = np.trace(inverse @ own) - 2 + np.linalg.slogdet(self.Q)[1] - np.linalg.slogdet(own)[1]
        for t in range(x.shape[1]):
            kl = 0.5 * (same + square(shift[:, t], mean, self.A - carry, covariance, inverse))
            mean, covariance = mean @ carry.T + shift[:, t], own + carry @ covariance @ carry.T
            distance = square(x[:, t], mean, self.C, covariance, np.linalg.inv(self.R))
            total = total - 0.5 * (distance + np.linalg.slogdet(2 * np.pi * self.R)[1]) - kl
        return total


def gaps(T=50):
    """(log p(x), how far the bound is below it for each q), in nats a step, the mean of 200 sequences."""
    generator = np.random.default_rng(SEED)
    model = LinearGaussian(generator)
    x = model.sample(200, T, generator)
    exact, expected = model.filter(x)
    if np.abs(exact - model.joint_log_density(x)).max() > 1e-9 * np.abs(exact).max():
        sys.exit("the Kalman filter is wrong")
    encoders = {
        "p(y^t | y^{t-1}, x^t)": x,
        "the same with E[x^t | x^<t] for x^t": expected,
        "p(y^t | y^{t-1}), the prior": None,
    }
    return exact.mean() / T, {q: (exact - model.bound(x, seen)).mean() / T for q, seen in encoders.items()}


def latent():
    """Print what the faults of printed equations of latent-variable models do."""
    print("\nlatent-variable models")
    for what, value in one_latent().items():
        print(f"{what}: {value:.3f}")
    product, total = masses(np.random.default_rng(SEED))
    print(f"mass over binary x and y, T = 2: {product:.6f} for the product over t, {total:.6f} for the sum over t")
    if abs(product - 1) > 1e-12:
        sys.exit("the product over t is not a distribution")
    exact, below = gaps()
    print(f"linear-Gaussian sequences: log p(x) is {exact:.3f} nats a step, and the bound is below it by")
    for q, gap in below.items():
        print(f"{gap:.3f} where q is {q}")


def main():
    """Print the tables."""
    p, sequences = random_model(np.random.default_rng(SEED))
    exact = derivative(p, sequences)
    error, _ = worst(gradient(p, sequences), exact)
    print(f"D = {D}, H = {H}, K = {K}, R = {R}, sequences of {LENGTHS} frames, seed {SEED}")
    print(f"no fault: {error:.1e}")
    if error > 1e-12:
        sys.exit("the algorithm without faults is wrong")
    print("\n| printed | relative error | worst parameter |\n|---|---|---|")
    for fault, printed in FAULTS.items():
        error, name = worst(gradient(p, sequences, fault), exact)
        print(f"| {printed} | {error:.2g} | `{name}` |")
    right, wrong = leak(p)
    print(f"\nintegral over x_1 of p(x_1): {right:.6f}; where a holds x_1 already: {wrong:.4f}")
    frames = [underflow(p, dtype) for dtype in (np.float32, np.float64)]
    print(f"p <- p p(x_d) is 0 after {frames[0]} frames in float32, after {frames[1]} in float64")
    latent()


if __name__ == "__main__":
    main()
