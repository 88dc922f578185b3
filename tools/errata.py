"""The faults of the printed algorithms, one at a time, against complex-step derivatives (docs/errata.md).

A small random RNN-RNADE, a few frames. The log-likelihood is the definition, tests/reference.py. Its derivative by a
complex step, Im f(p + i h e) / h, has no error but rounding and knows nothing of any algorithm for gradients. The
algorithm below is the sweep of NOTATION.md with a switch for each fault; with all switches off it must agree with
the derivative, with one of them on the table says how far it is off.

    python tools/errata.py
"""

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


def main():
    """Print the table."""
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


if __name__ == "__main__":
    main()
