"""Build of the compiled module.

One extension: typed Cython for the loops, and the panel kernels in plain C, built once for each type and
instruction set.  Only flags of any processor are given; the files that want more ask for it themselves and are
chosen at run time.  -ffp-contract=off: the source says where a multiply-add is fused, so that every layout of the
same sum gives the same bits.  Debug symbols, five times the size of the rest, are left out unless CFLAGS asks for them.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CORE, KERNELS = Path("rnnrnade") / "core", Path("rnnrnade") / "kernels"
FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
if not any(flag.startswith("-g") for flag in os.environ.get("CFLAGS", "").split()):
    FLAGS.append("-g0")  # Python's own flags ask for them
OPENMP = {"darwin": (["-Xpreprocessor", "-fopenmp"], ["-lomp"])}.get(sys.platform, (["-fopenmp"], ["-fopenmp"]))
PROBE = "#include <omp.h>\nint main(void) { return omp_get_num_threads() - 1; }\n"


class build_ext_openmp(build_ext):
    """Adds OpenMP where the compiler has it; without it the library runs on one thread and says so."""

    def build_extensions(self):
        if self.has_openmp():
            for extension in self.extensions:
                extension.extra_compile_args += OPENMP[0]
                extension.extra_link_args += OPENMP[1]
        else:
            print("rnnrnade: no OpenMP in this compiler; building for one thread", file=sys.stderr)
        super().build_extensions()

    def has_openmp(self):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.c"
            source.write_text(PROBE)
            command = [*self.compiler.compiler_so, str(source), *OPENMP[0], *OPENMP[1]]
            command += [*os.environ.get("LDFLAGS", "").split(), "-o", str(Path(folder) / "probe")]
            return subprocess.run(command, capture_output=True).returncode == 0


core = Extension(
    "rnnrnade._core",
    ["rnnrnade/_core.pyx", *(str(path) for path in sorted(KERNELS.glob("*.c")))],
    include_dirs=["rnnrnade"],
    depends=[str(path) for path in sorted([*KERNELS.glob("*.h"), *CORE.glob("*.pxi")])] + ["rnnrnade/_core.pxd"],
    extra_compile_args=FLAGS,
)

setup(
    ext_modules=cythonize([core], build_dir="build/cython", annotate=False),
    cmdclass={"build_ext": build_ext_openmp},
)
