"""NumPy: the bound of a VRNN or SRNN for given noise and its gradient by hand, a frame of all sequences at a time.

Rows lie time by time, (T, N, ..).  What is read is on the left of each product; see packing.py for names."""

import numpy as np

from ..workloads import LATENT_FLOOR, random_noise
from .packing import pack, unpack

LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
NETS = {"F_x": "f_x", "F_y": "f_y", "P": "p_h", "Q": "q_h", "C": "c_k"}  # the layers of a net, and their biases


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class NumpyLatent:
    def __init__(self, workload, parameters, dtype):
        self.w, self.p = workload, pack(workload, parameters, dtype)
        self.noise = random_noise(workload, dtype).transpose(1, 0, 2)

    # ---- layers, each with the derivatives that it adds to g ----

    def net(self, name, sums):
        """The layers of a net, the first one first, from the sums of the first without its bias."""
        bias = NETS[name]
        h = [np.maximum(sums + self.p[bias], 0)]
        for k in range(2, self.w.layers + 1):
            h.append(np.maximum(h[-1] @ self.p[f"{name}_{k}"] + self.p[f"{bias}_{k}"], 0))
        return h

    def net_back(self, name, h, dh):
        """The derivative by the sums of the first layer."""
        bias = NETS[name]
        for k in range(self.w.layers, 1, -1):
            dh = dh * (h[k - 1] > 0)
            dh = self.product_back(f"{name}_{k}", h[k - 2], dh, f"{bias}_{k}")
        dh = dh * (h[0] > 0)
        self.g[bias] += dh.reshape(-1, dh.shape[-1]).sum(axis=0)
        return dh

    def product_back(self, name, read, d, bias=None):
        """The derivative by what is read."""
        of_rows = d.reshape(-1, d.shape[-1])
        self.g[name] += read.reshape(-1, read.shape[-1]).T @ of_rows
        if bias is not None:
            self.g[bias] += of_rows.sum(axis=0)
        return d @ self.p[name].T

    def normal(self, h, which):
        mu, raw = np.split(h @ self.p["N_" + which] + self.p["n_" + which], 2, axis=-1)
        return mu, LATENT_FLOOR + np.logaddexp(0, raw), sigmoid(raw)

    def gru(self, gates, recurrent, r):
        R = r.shape[-1]
        s = sigmoid(gates[:, : 2 * R] + recurrent[:, : 2 * R])
        reset, u, y = s[:, :R], s[:, R:], recurrent[:, 2 * R :]
        m = np.tanh(gates[:, 2 * R :] + reset * y)
        return (1 - u) * m + u * r, (reset, u, m, y, r)

    def gru_back(self, kept, dr):
        """Derivatives by the gates, by the recurrent product, and by the state that u lets through."""
        reset, u, m, y, r = kept
        dm = dr * (1 - u) * (1 - m * m)
        du, dreset = dr * (r - m) * u * (1 - u), dm * y * reset * (1 - reset)
        return np.hstack([dreset, du, dm]), np.hstack([dreset, du, dm * reset]), dr * u

    def divergence(self, mq, sq, mp, sp):
        return np.log(sp / sq) + (sq**2 + (mq - mp) ** 2) / (2 * sp**2) - 0.5

    def divergence_back(self, dy, noise, mq, sq, mp, sp):
        """Derivatives of the bound by mu and sigma of encoder and prior."""
        d = mq - mp
        dmp, dsp = d / sp**2, ((sq**2 + d**2) / sp**2 - 1) / sp
        return dy - d / sp**2, dy * noise + 1 / sq - sq / sp**2, dmp, dsp

    def normal_back(self, which, h, dmu, dsigma, slope):
        return self.product_back("N_" + which, h, np.concatenate([dmu, dsigma * slope], axis=-1), "n_" + which)

    # ---- the frame ----

    def frame(self, k, x):
        """(log p of all frames, the derivative by k)."""
        z = k @ self.p["U"] + self.p["b"]
        if self.w.head == "bernoulli":
            log_p, dz = -np.logaddexp(0, (1 - 2 * x) * z), x - sigmoid(z)
        else:
            mu, z_sigma = np.split(z, 2, axis=-1)
            u = (x - mu) * np.exp(-z_sigma)
            log_p, dz = -0.5 * u * u - z_sigma - LOG_SQRT_2PI, np.concatenate([u * np.exp(-z_sigma), u * u - 1], -1)
        return log_p.sum(), self.product_back("U", k, dz, "b")

    def gradient(self, x):
        self.g = {name: np.zeros_like(q) for name, q in self.p.items()}
        x = x.transpose(1, 0, 2)
        return {"vrnn": self.vrnn, "srnn": self.srnn}[self.w.conditioner](x), self.g

    def vrnn(self, x):
        p, (T, N, _), R = self.p, x.shape, self.w.R
        e = self.net("F_x", x @ p["F_x"])
        for_gates, for_q = e[-1] @ p["W_e"] + p["b_r"], e[-1] @ p["Q_x"]
        r, kept = np.tile(p["r0"], (N, 1)), []
        for t in range(T):
            s = r @ p["Z_r"]
            hq = self.net("Q", for_q[t] + s[:, 3 * R :])
            normal = self.normal(hq[-1], "q")
            y = normal[0] + normal[1] * self.noise[t]
            latent = self.net("F_y", y @ p["F_y"])
            r_next, of_gru = self.gru(for_gates[t] + latent[-1] @ p["W_g"], s[:, : 3 * R], r)
            kept.append((r, hq, *normal, y, latent, of_gru))
            r = r_next
        r, hq, mq, sq, slope_q, y, latent, _ = zip(*kept, strict=True)
        r, mq, sq = np.stack(r), np.stack(mq), np.stack(sq)
        g = [np.stack(layer) for layer in zip(*latent, strict=True)]
        hp = self.net("P", r @ p["P_r"])
        mp, sp, slope_p = self.normal(hp[-1], "p")
        k = self.net("C", g[-1] @ p["C_y"] + r @ p["C_r"])
        total, dk = self.frame(k[-1], x)
        dk = self.net_back("C", k, dk)
        dg, dr = self.product_back("C_y", g[-1], dk), self.product_back("C_r", r, dk)
        _, _, dmp, dsp = self.divergence_back(0, 0, mq, sq, mp, sp)
        dr += self.product_back("P_r", r, self.net_back("P", hp, self.normal_back("p", hp[-1], dmp, dsp, slope_p)))
        dgates, dq, d_next = np.zeros_like(for_gates), np.zeros_like(for_q), np.zeros((N, R), x.dtype)
        for t in range(T - 1, -1, -1):
            dgates[t], drecurrent, through = self.gru_back(kept[t][-1], d_next)
            dy = self.net_back("F_y", latent[t], dg[t] + self.product_back("W_g", latent[t][-1], dgates[t]))
            dy = self.product_back("F_y", y[t], dy)
            dmq, dsq, _, _ = self.divergence_back(dy, self.noise[t], mq[t], sq[t], mp[t], sp[t])
            dq[t] = self.net_back("Q", hq[t], self.normal_back("q", hq[t][-1], dmq, dsq, slope_q[t]))
            d_next = dr[t] + through + self.product_back("Z_r", r[t], np.hstack([drecurrent, dq[t]]))
        self.g["r0"] = d_next.sum(axis=0)
        de = self.product_back("W_e", e[-1], dgates, "b_r") + self.product_back("Q_x", e[-1], dq)
        self.product_back("F_x", x, self.net_back("F_x", e, de))
        return total - self.divergence(mq, sq, mp, sp).sum()

    def srnn(self, x):
        p, (T, N, _), E = self.p, x.shape, self.w.E
        e = self.net("F_x", x @ p["F_x"])
        r, of_r = self.run(e[-1] @ p["W_e"] + p["b_r"], p["W_rec"], p["r0"])
        r = np.concatenate([np.tile(p["r0"], (1, N, 1)), r[:-1]])
        a, of_a = self.run((r @ p["A_r"] + e[-1] @ p["A_e"] + p["b_a"])[::-1], p["A_rec"], p["a_end"])
        a = a[::-1]
        for_p, for_q = r @ p["P_r"], a @ p["Q_a"]
        y, kept = np.tile(p["y0"], (N, 1)), []
        for t in range(T):
            s = y @ p["Z_y"]
            hp, hq = self.net("P", for_p[t] + s[:, :E]), self.net("Q", for_q[t] + s[:, E:])
            of_p, of_q = self.normal(hp[-1], "p"), self.normal(hq[-1], "q")
            mq = of_p[0] + of_q[0]
            kept.append((y, hp, hq, *of_p, mq, *of_q[1:]))
            y = mq + of_q[1] * self.noise[t]
        y_prev, hp, hq, mp, sp, slope_p, mq, sq, slope_q = zip(*kept, strict=True)
        y_all = np.stack([*y_prev[1:], y])
        k = self.net("C", y_all @ p["C_y"] + r @ p["C_r"])
        total, dk = self.frame(k[-1], x)
        dk = self.net_back("C", k, dk)
        dy, dr = self.product_back("C_y", y_all, dk), self.product_back("C_r", r, dk)
        dp, dq = np.zeros_like(for_p), np.zeros_like(for_q)
        dy_next = np.zeros_like(y)
        for t in range(T - 1, -1, -1):
            found = self.divergence_back(dy[t] + dy_next, self.noise[t], mq[t], sq[t], mp[t], sp[t])
            dmq, dsq, dmp, dsp = found
            dp[t] = self.net_back("P", hp[t], self.normal_back("p", hp[t][-1], dmp + dmq, dsp, slope_p[t]))
            dq[t] = self.net_back("Q", hq[t], self.normal_back("q", hq[t][-1], dmq, dsq, slope_q[t]))
            dy_next = self.product_back("Z_y", y_prev[t], np.hstack([dp[t], dq[t]]))
        self.g["y0"] = dy_next.sum(axis=0)
        dr += self.product_back("P_r", r, dp)
        dgates, self.g["a_end"] = self.run_back(of_a, "A_rec", self.product_back("Q_a", a, dq)[::-1])
        dgates = dgates[::-1]
        dr += self.product_back("A_r", r, dgates)
        de = self.product_back("A_e", e[-1], dgates, "b_a")
        dgates, last = self.run_back(of_r, "W_rec", np.concatenate([dr[1:], np.zeros_like(dr[:1])]))
        self.g["r0"] = last + dr[0].sum(axis=0)
        de += self.product_back("W_e", e[-1], dgates, "b_r")
        self.product_back("F_x", x, self.net_back("F_x", e, de))
        return total - sum(self.divergence(*one).sum() for one in zip(mq, sq, mp, sp, strict=True))

    def run(self, gates, W_rec, first):
        """The states behind each time, and what the way back needs."""
        r, states, kept = np.tile(first, (gates.shape[1], 1)), [], []
        for gates_t in gates:
            r, of_gru = self.gru(gates_t, r @ W_rec, r)
            states.append(r)
            kept.append(of_gru)
        return np.stack(states), kept

    def run_back(self, kept, W_rec, dr):
        """Derivatives by the gates, and by the first state."""
        dgates, d_next = [], 0
        for of_gru, dr_t in zip(kept[::-1], dr[::-1], strict=True):
            dgates_t, drecurrent, through = self.gru_back(of_gru, dr_t + d_next)
            d_next = through + self.product_back(W_rec, of_gru[-1], drecurrent)
            dgates.append(dgates_t)
        return np.stack(dgates[::-1]), d_next.sum(axis=0)

    def named(self, gradient):
        return unpack(self.w, gradient)
