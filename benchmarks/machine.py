"""What the benchmarks ask of the machine: its name, its peak, a compiler, resident memory."""

import ctypes
import functools
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared")
DISTRIBUTIONS = ("rnnrnade", "numpy", "torch", "jax")


@functools.cache
def compiled(source, dtype):
    """A ctypes library of a C file with REAL as dtype, compiled into a folder that is removed at once.

    The compiler is that of the environment variable CC, or cc.  RuntimeError where there is none or it fails."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        raise RuntimeError(f"there is no C compiler {compiler[0]!r}")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library.so"
        real = {"float32": "float", "float64": "double"}[dtype]
        command = [*compiler, *FLAGS, f"-DREAL={real}", str(source), "-o", str(library), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{compiler[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
        return ctypes.CDLL(str(library))


def peak(dtype, threads, seconds=0.02):
    """Floating-point operations a second of a loop of multiply-adds and nothing else."""
    library = compiled(Path(__file__).with_name("peak.c"), dtype)
    library.peak.restype = ctypes.c_double
    n, took = 100_000, 0.0
    while took < seconds:  # starts the threads, and finds how long a loop lasts as long as asked for
        begin = time.perf_counter()
        found = library.peak(ctypes.c_long(n), threads)
        took = time.perf_counter() - begin
        n = int(n * min(10, max(1.5, 1.2 * seconds / took)))
    return found


def bandwidth(threads, n_bytes=1 << 28, repeats=5):
    """Bytes a second, the most of some repeats, of reading an array that no cache holds."""
    library = compiled(Path(__file__).with_name("peak.c"), "float32")
    library.bandwidth.restype = ctypes.c_double
    array = np.ones(n_bytes + 64, np.uint8)
    address = ctypes.c_void_p(array.ctypes.data + -array.ctypes.data % 64)
    return max(library.bandwidth(address, ctypes.c_long(n_bytes), threads) for _ in range(repeats))


def cores():
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def processor():
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def description(threads):
    """What every report states: a dict."""
    import rnnrnade

    versions = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = getattr(rnnrnade, "__version__", None) if name == "rnnrnade" else None
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "cores": cores(),
        "threads": threads,
        "kernels": rnnrnade.config()["kernels"],
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def headline(described):
    """The description as two lines."""
    d = described
    versions = ", ".join(f"{name} {version or 'absent'}" for name, version in d["versions"].items())
    return (
        f"{d['date']}, {d['processor']}, {d['cores']} cores, {d['threads']} threads, kernels {d['kernels']}, "
        f"{d['system']}\n{versions}"
    )


def resident(peak=False):
    """Bytes of resident memory of this process, now or at the highest since `forget_peak` (Linux only)."""
    field = "VmHWM" if peak else "VmRSS"
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} on this system")


def forget_peak():
    """Give freed memory back and begin a new peak."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
