"""What a wheel holds: the Python files, the type stubs, the data sets, one compiled module, and nothing else.

    python tools/check_wheel.py dist/*.whl

Run beside the sources.  Ends with status 1 and a sentence for each fault.
"""

import sys
import zipfile
from pathlib import Path

LARGEST = 2 * 2**20  # bytes
SOURCES = {".pyx", ".pxd", ".pxi", ".c", ".h"}  # of the compiled module, which has no C interface for others
PACKAGE = Path(__file__).parents[1] / "rnnrnade"


def faults(path):
    if path.stat().st_size > LARGEST:
        yield f"{path.name} has {path.stat().st_size} bytes, more than {LARGEST}"
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    compiled = {name for name in names if name.startswith("rnnrnade/_core.") and name.endswith((".so", ".pyd"))}
    if len(compiled) != 1:
        yield f"{path.name} holds {len(compiled)} compiled modules: {sorted(compiled)}"
    expected = {
        file.relative_to(PACKAGE.parent).as_posix()
        for file in PACKAGE.rglob("*")
        if file.is_file() and file.suffix not in SOURCES | {".so", ".pyd", ".pyc"}
    }
    for name in sorted(expected - names):
        yield f"{path.name} lacks {name}"
    for name in sorted(names - expected - compiled):
        yield f"{path.name} holds {name}, which is no part of the package"


if __name__ == "__main__":
    found = [fault for path in sys.argv[1:] for fault in faults(Path(path))]
    print("\n".join(found) or f"{', '.join(sys.argv[1:])}: complete, and nothing else")
    sys.exit(bool(found))
