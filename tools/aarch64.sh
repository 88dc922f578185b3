#!/usr/bin/env bash
# The library for AArch64, built by a cross compiler and tested under user-mode emulation.
#
#     tools/aarch64.sh PYTHON TESTS...     PYTHON has Cython and setuptools, TESTS are arguments of pytest
#
# On Debian and its kin, with the packages gcc-aarch64-linux-gnu and qemu-user.  Nothing else of the system changes: the
# emulated Python is Debian's, unpacked into .aarch64/, and NumPy and the rest are the wheels for it.
set -euo pipefail
cd "$(dirname "$0")/.."
build_python=$1
shift
root=$PWD/.aarch64

for tool in aarch64-linux-gnu-gcc qemu-aarch64 apt-get dpkg-deb; do
    command -v $tool >/dev/null || { echo "make aarch64 needs $tool (packages gcc-aarch64-linux-gnu, qemu-user)" >&2; exit 1; }
done

if [ ! -e "$root/ready" ]; then
    rm -rf "$root"
    mkdir -p "$root/apt/lists/partial" "$root/apt/archives/partial"
    touch "$root/apt/status" # no package is installed: apt fetches whatever the wanted ones need
    cat >"$root/apt/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures "arm64";
APT::Sandbox::User "$(id -un)";
Dir::State "$root/apt";
Dir::State::status "$root/apt/status";
Dir::Cache "$root/apt";
END
    export APT_CONFIG=$root/apt/apt.conf
    apt-get -qq update
    apt-get -qq --yes --no-install-recommends --download-only install \
        python3-minimal libpython3-stdlib libpython3-dev libgomp1 libstdc++6
    for package in "$root"/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
fi

target=$(basename "$(readlink "$root/usr/bin/python3")") # python3.11

# Started as this script, so that sys.executable can start a child, too.
cat >"$root/python" <<END
#!/bin/sh
PYTHONHOME=$root/usr PYTHONPATH=$root/site PYTHONDONTWRITEBYTECODE=1 \
exec qemu-aarch64 -L $root -0 $root/python $root/usr/bin/$target "\$@"
END
chmod +x "$root/python"

if [ ! -e "$root/ready" ]; then
    platforms=$(printf -- '--platform manylinux_2_%s_aarch64 ' 17 27 28)
    "$build_python" -m pip install --quiet --target "$root/site" $platforms --platform manylinux2014_aarch64 \
        --python-version "${target#python}" --only-binary :all: \
        numpy scipy scikit-learn tqdm safetensors pytest
    touch "$root/ready"
fi

# The flags and file names of the emulated Python, and its headers before those of the one that builds.
mkdir -p "$root/sysconfig"
cp "$root/usr/lib/$target/_sysconfigdata__aarch64-linux-gnu.py" "$root/sysconfig"
rm -rf "$root/site/rnnrnade"
PYTHONPATH=$root/sysconfig _PYTHON_SYSCONFIGDATA_NAME=_sysconfigdata__aarch64-linux-gnu \
    CFLAGS="-idirafter $root/usr/include" "$build_python" setup.py --quiet \
    build_ext --include-dirs "$root/usr/include/$target" \
    build --build-lib "$root/site" --build-temp "$root/build"

cd tests # where there are no sources
OMP_WAIT_POLICY=passive "$root/python" -m pytest -c ../pyproject.toml -q -p no:cacheprovider -m "not full" "$@"
