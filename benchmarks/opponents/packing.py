"""The form in which all opponents but ours keep the parameters: rows are frames, so matrices act from the right, and
the raw outputs of a dimension, alpha, mu and sigma, lie side by side.

    nade     W (D, H)   V (D, H, P)   b (D, P)   rho (D,)   c (H,)               P raw outputs: 3 K, or 1 of a Bernoulli
             U (D, R, P)   W_c (R, H)                                            where there is a recurrent net
    made     W (D, H)   c (H,)   W_2 (H, H)   c_2 (H,) ...   V (H, D)   b (D,)   entries behind masks are zero
    shared   U (R, K + 2 D K)   b (K + 2 D K,)                                   alpha (K), mu (D, K), sigma (D, K)

and where there is a recurrent net, W_in (D, R)   W_rec (R, R)   b_r (R,)   r0 (R,).
"""

import numpy as np

MIXTURE = tuple((f"V_{q}", f"b_{q}", f"W_{q}") for q in ("alpha", "mu", "sigma"))
BERNOULLI = (("V", "b", "W_b"),)


def pack(workload, parameters, dtype):
    """A dict of contiguous arrays from the users' names and shapes."""
    p = parameters
    packed = PACKINGS[workload.conditioner][0](workload, p)
    if workload.R:
        packed |= {"W_in": p["W_in"].T, "W_rec": p["W_rec"].T, "b_r": p["b_r"], "r0": p["r0"]}
    return {name: np.array(array, dtype, order="C") for name, array in packed.items()}


def unpack(workload, packed):
    """The users' names and shapes again."""
    p = PACKINGS[workload.conditioner][1](workload, packed)
    if workload.R:
        p |= {"W_in": packed["W_in"].T, "W_rec": packed["W_rec"].T, "b_r": packed["b_r"], "r0": packed["r0"]}
    return p


def pack_nade(w, p):
    outputs = BERNOULLI if w.head == "bernoulli" else MIXTURE
    packed = {
        "W": p["W"].T,
        "V": np.concatenate([p[V].reshape(w.D, w.H, -1) for V, _, _ in outputs], axis=2),
        "b": np.concatenate([p[b].reshape(w.D, -1) for _, b, _ in outputs], axis=1),
        "rho": p["rho"],
        "c": p["c"],
    }
    if w.R:
        U = np.concatenate([p[W].reshape(w.D, -1, w.R) for _, _, W in outputs], axis=1)
        packed |= {"U": U.transpose(0, 2, 1), "W_c": p["W_c"].T}
    return packed


def unpack_nade(w, packed):
    outputs = BERNOULLI if w.head == "bernoulli" else MIXTURE
    own = (w.D,) if w.head == "bernoulli" else (w.D, w.K)
    p = {"W": packed["W"].T, "rho": packed["rho"], "c": packed["c"]}
    for i, (V, b, W) in enumerate(outputs):
        columns = slice(i * w.K, (i + 1) * w.K)
        p[V] = packed["V"][:, :, columns].reshape(w.D, w.H, *own[1:])
        p[b] = packed["b"][:, columns].reshape(own)
        if w.R:
            p[W] = packed["U"][:, :, columns].transpose(0, 2, 1).reshape(*own, w.R)
    if w.R:
        p["W_c"] = packed["W_c"].T
    return p


def transposed(w, p):
    return {name: array.T for name, array in p.items()}


def pack_shared(w, p):
    return {
        "U": np.concatenate([p[W].reshape(-1, w.R) for _, _, W in MIXTURE]).T,
        "b": np.concatenate([p[b].ravel() for _, b, _ in MIXTURE]),
    }


def unpack_shared(w, packed):
    ends, p = [w.K, w.K + w.D * w.K], {}
    blocks = zip(MIXTURE, np.split(packed["U"].T, ends), np.split(packed["b"], ends), strict=True)
    for (_, b, W), U_q, b_q in blocks:
        shape = b_q.shape if b == "b_alpha" else (w.D, w.K)
        p |= {b: b_q.reshape(shape), W: U_q.reshape(*shape, w.R)}
    return p


PACKINGS = {
    "nade": (pack_nade, unpack_nade),
    "made": (transposed, transposed),
    "shared": (pack_shared, unpack_shared),
}
