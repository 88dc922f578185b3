"""The form in which all opponents but ours keep the parameters: rows are frames, so matrices act from the right, and
the raw outputs of a dimension, alpha, mu and sigma, lie side by side.

    nade     W (D, H)   V (D, H, P)   b (D, P)   rho (D,)   c (H,)               P raw outputs: 3 K, or 1 of a Bernoulli
             U (D, R, P)   W_c (R, H)                                            where there is a recurrent net
    made     W (D, H)   c (H,)   W_2 (H, H)   c_2 (H,) ...   V (H, D)   b (D,)   entries behind masks are zero
    shared   U (R, K + 2 D K)   b (K + 2 D K,)                                   alpha (K), mu (D, K), sigma (D, K)
    vrnn     F_x f_x, F_y f_y, P_r p_h, Q_x q_h, C_y C_r c_k and the layers above, each matrix (inputs, outputs)
             N_p, N_q (E, 2 J)   n_p, n_q (2 J,)   mean and raw scale side by side
             W_e, W_g (E, 3 R)   b_r   Z_r (R, 3 R + E)   W_rec and Q_r; b_r and r0 as below, W_in and W_rec not
             U (E, D) or (E, 2 D)   b                     mu and sigma; alpha of one component is one
    srnn     the same with Q_a for Q_x, without F_y, C_y (J, E), Z_y (J, 2 E)   P_y and Q_y, W_e, W_rec (R, 3 R), b_r,
             A_r, A_e, A_rec (., 3 R), b_a, a_end, y0

and where there is a recurrent net, W_in (D, R)   W_rec (R, R)   b_r (R,)   r0 (R,).
"""

import numpy as np

MIXTURE = tuple((f"V_{q}", f"b_{q}", f"W_{q}") for q in ("alpha", "mu", "sigma"))
BERNOULLI = (("V", "b", "W_b"),)


def pack(workload, parameters, dtype):
    """A dict of contiguous arrays from the users' names and shapes."""
    p = parameters
    packed = PACKINGS[workload.conditioner][0](workload, p)
    if workload.R and not workload.latent:
        packed |= {"W_in": p["W_in"].T, "W_rec": p["W_rec"].T, "b_r": p["b_r"], "r0": p["r0"]}
    return {name: np.array(array, dtype, order="C") for name, array in packed.items()}


def unpack(workload, packed):
    """The users' names and shapes again."""
    p = PACKINGS[workload.conditioner][1](workload, packed)
    if workload.R and not workload.latent:
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


# The blocks of one packed matrix, (inputs, outputs), side by side: those of these users' matrices.
JOINED = {
    "vrnn": {"N_p": ("M_p", "S_p"), "N_q": ("M_q", "S_q"), "Z_r": ("W_rec", "Q_r")},
    "srnn": {"N_p": ("M_p", "S_p"), "N_q": ("M_q", "S_q"), "Z_y": ("P_y", "Q_y")},
}
# And those of the users' matrices whose columns are cut: what each reads first.
CUT = {
    "vrnn": {"W_in": (("W_e", "E"), ("W_g", "E"))},
    "srnn": {"W_in": (("W_e", "E"),), "A_in": (("A_r", "R"), ("A_e", "E"))},
}


def frame_blocks(w):
    """(matrix, bias) of a frame's raw outputs that are not the same for all parameters."""
    return (("W_b", "b"),) if w.head == "bernoulli" else (("W_mu", "b_mu"), ("W_sigma", "b_sigma"))


def pack_latent(w, p):
    matrices = frame_blocks(w)
    packed = {
        "U": np.concatenate([p[W].reshape(w.D, w.E) for W, _ in matrices]).T,
        "b": np.concatenate([p[b].ravel() for _, b in matrices]),
    }
    joined, cut = JOINED[w.conditioner], CUT[w.conditioner]
    for name, parts in joined.items():
        packed[name] = np.concatenate([p[part] for part in parts]).T
        if name[0] == "N":
            packed["n_" + name[2]] = np.concatenate([p[part.lower()] for part in parts])
    for name, parts in cut.items():
        ends = np.cumsum([getattr(w, size) for _, size in parts])[:-1]
        blocks = np.split(p[name].T, ends)
        packed |= {part: block for (part, _), block in zip(parts, blocks, strict=True)}
    taken = {part for parts in joined.values() for part in parts} | set(cut)
    taken |= {part.lower() for part in taken if part[0] in "MS"} | {name for pair in OUTPUT_NAMES for name in pair}
    return packed | {LAYER_NAMES.get(name, name): q.T for name, q in p.items() if name not in taken}


def unpack_latent(w, packed):
    packed, p = dict(packed), {}
    own = (w.D,) if w.head == "bernoulli" else (w.D, 1)
    matrices = frame_blocks(w)
    U, b = packed.pop("U"), packed.pop("b")
    blocks = zip(matrices, np.split(U, len(matrices), axis=1), np.split(b, len(matrices)), strict=True)
    for (W, bias), U_q, b_q in blocks:
        p |= {W: U_q.T.reshape(*own, w.E), bias: b_q.reshape(own)}
    if w.head != "bernoulli":
        p |= {"W_alpha": np.zeros((w.D, 1, w.E)), "b_alpha": np.zeros((w.D, 1))}
    sizes = {"M": w.J, "S": w.J, "W": 3 * w.R, "Q": w.E, "P": w.E}
    for name, parts in JOINED[w.conditioner].items():
        ends = np.cumsum([sizes[part[0]] for part in parts])[:-1]
        p |= dict(zip(parts, np.split(packed.pop(name).T, ends), strict=True))
        if name[0] == "N":
            halves = np.split(packed.pop("n_" + name[2]), 2)
            p |= {part.lower(): half for part, half in zip(parts, halves, strict=True)}
    for name, parts in CUT[w.conditioner].items():
        p[name] = np.concatenate([packed.pop(part) for part, _ in parts]).T
    users = {mine: name for name, mine in LAYER_NAMES.items()}
    return p | {users.get(name, name): q.T for name, q in packed.items()}


OUTPUT_NAMES = (("W_b", "b"), *((f"W_{q}", f"b_{q}") for q in ("alpha", "mu", "sigma")))
# Layers above the first of the nets whose name tells what the first reads.
LAYER_NAMES = {f"{net}_{k}": f"{net[0]}_{k}" for net in ("P_h", "Q_h", "C_k") for k in range(2, 9)}

PACKINGS = {
    "nade": (pack_nade, unpack_nade),
    "made": (transposed, transposed),
    "shared": (pack_shared, unpack_shared),
    "vrnn": (pack_latent, unpack_latent),
    "srnn": (pack_latent, unpack_latent),
}
