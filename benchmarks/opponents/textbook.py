"""textbook.c, compiled where it runs."""

import ctypes
from pathlib import Path

import numpy as np

from ..machine import compiled
from . import BETA1, BETA2, EPSILON, LEARNING_RATE, Unavailable
from .packing import pack, unpack

ORDER = ("W", "V", "b", "rho", "c", "U", "W_c", "W_in", "W_rec", "b_r", "r0")


class Sizes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("N", "T", "D", "H", "K", "R")]


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


class Textbook:
    def __init__(self, workload, parameters, dtype, threads):
        if (workload.conditioner, workload.head) != ("nade", "gaussian"):
            raise Unavailable("textbook.c has RNADE and RNN-RNADE only")
        try:
            self.compiled = compiled(Path(__file__).with_name("textbook.c"), dtype)
        except (OSError, RuntimeError) as error:
            raise Unavailable(str(error)) from error
        self.compiled.gradient.restype = ctypes.c_double
        self.workload, self.threads = workload, threads
        self.real = ctypes.c_float if dtype == "float32" else ctypes.c_double
        packed = pack(workload, parameters, dtype)
        self.shapes = {name: packed[name].shape for name in ORDER if name in packed}
        self.theta = np.concatenate([packed[name].ravel() for name in self.shapes])
        self.m, self.v, self.steps = np.zeros_like(self.theta), np.zeros_like(self.theta), 0
        self.generator = np.random.default_rng(0)

    def sizes(self, x):
        w = self.workload
        return ctypes.byref(Sizes(x.shape[0], x.shape[1], w.D, w.H, w.K, w.R))

    def forward(self, x):
        out = np.empty(len(x), x.dtype)
        self.compiled.forward(self.sizes(x), pointer(self.theta), pointer(x), pointer(out), self.threads)
        return out

    def gradient(self, x):
        out = np.empty_like(self.theta)
        total = self.compiled.gradient(self.sizes(x), pointer(self.theta), pointer(x), pointer(out), self.threads)
        return total, out

    def named(self, gradient):
        ends = np.cumsum([np.prod(shape) for shape in self.shapes.values()])
        blocks = zip(self.shapes.items(), np.split(gradient, ends[:-1]), strict=True)
        return unpack(self.workload, {name: block.reshape(shape) for (name, shape), block in blocks})

    def step(self, x):
        total, gradient = self.gradient(x)
        frames = x.shape[0] * x.shape[1]
        self.steps += 1
        numbers = (LEARNING_RATE / (1 - BETA1**self.steps), 1 / (1 - BETA2**self.steps), BETA1, BETA2, EPSILON)
        self.compiled.adam(
            ctypes.c_long(self.theta.size), pointer(self.theta), pointer(gradient), self.real(-1 / frames),
            pointer(self.m), pointer(self.v), *map(self.real, numbers),
        )  # fmt: skip
        return -total / frames

    def sample(self, n, frames):
        shape = (n, frames, self.workload.D)
        uniform = self.generator.random(shape, self.theta.dtype)
        normal = self.generator.standard_normal(shape, self.theta.dtype)
        out = np.empty_like(normal)
        arrays = (pointer(a) for a in (self.theta, uniform, normal, out))
        self.compiled.sample(self.sizes(out), *arrays, self.threads)
        return out


def prepare(workload, parameters, dtype, threads, variant):
    return Textbook(workload, parameters, dtype, threads)
