"""The form in which all opponents but ours keep the parameters: rows are frames, so matrices act from the right, and
the raw outputs (alpha, mu, sigma) of a dimension lie side by side.

    W (D, H)   V (D, H, P)   b (D, P)   rho (D,)   c (H,)                            P = 3 K raw outputs
    U (D, R, P)   W_c (R, H)   W_in (D, R)   W_rec (R, R)   b_r (R,)   r0 (R,)       where there is a recurrent net
"""

import numpy as np

QUANTITIES = ("alpha", "mu", "sigma")


def pack(parameters, dtype):
    """A dict of contiguous arrays from the users' names and shapes."""
    p = parameters
    packed = {
        "W": p["W"].T,
        "V": np.concatenate([p[f"V_{q}"] for q in QUANTITIES], axis=2),
        "b": np.concatenate([p[f"b_{q}"] for q in QUANTITIES], axis=1),
        "rho": p["rho"],
        "c": p["c"],
    }
    if "W_rec" in p:
        packed["U"] = np.concatenate([p[f"W_{q}"] for q in QUANTITIES], axis=1).transpose(0, 2, 1)
        packed |= {name: p[name].T for name in ("W_c", "W_in", "W_rec")}
        packed |= {name: p[name] for name in ("b_r", "r0")}
    return {name: np.array(array, dtype, order="C") for name, array in packed.items()}


def unpack(packed):
    """The users' names and shapes again."""
    K = packed["b"].shape[1] // 3
    p = {"W": packed["W"].T, "rho": packed["rho"], "c": packed["c"]}
    for i, q in enumerate(QUANTITIES):
        columns = slice(i * K, (i + 1) * K)
        p[f"V_{q}"] = packed["V"][:, :, columns]
        p[f"b_{q}"] = packed["b"][:, columns]
        if "U" in packed:
            p[f"W_{q}"] = packed["U"][:, :, columns].transpose(0, 2, 1)
    if "U" in packed:
        p |= {name: packed[name].T for name in ("W_c", "W_in", "W_rec")}
        p |= {name: packed[name] for name in ("b_r", "r0")}
    return p
