#!/bin/bash
# Builds the sdist and the wheels for Linux of the commit that is checked out into dist/: for glibc 2.17 (manylinux2014),
# x86_64 and aarch64, one abi3 wheel each for CPython 3.11 and later. `make wheels` installs what this needs.
#
# zig is the C compiler and linker: it links against the symbols of any glibc, for any processor. Rust's own standard
# library for aarch64 comes from rustup where rustup has it, else from Debian, whose rustc-web it has to match.
# usage: wheels.sh FOLDER_OF_TOOLS [URL_OF_THE_REPOSITORY]
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD tools=$(realpath -s "$1") cross=$PWD/build/cross source=$PWD/build/source
aarch64=aarch64-unknown-linux-gnu

git diff --quiet HEAD || echo "wheels: of the last commit, without the changes since" >&2
rm -rf dist "$source"
mkdir -p "$source" "$cross"
git archive HEAD | tar -x -C "$source"
[ -z "${2:-}" ] || python3 tools/addresses.py "$source" "$2"

if [ ! -d "$cross/debian/usr" ] && command -v mmdebstrap >/dev/null; then
    # An unpacked Debian for aarch64: Rust's standard library, and the Python with which the wheel is tried.
    for attempt in 1 2 3; do
        rm -rf "$cross/debian"
        mmdebstrap --quiet --variant=extract --arch=arm64 --include=python3,libstd-rust-web-dev bookworm \
            "$cross/debian" && break
        [ $attempt -lt 3 ] && echo "attempt $attempt failed, again"
    done
fi

# Nothing in the wheels shall name folders of the machine that built them.
flags="--remap-path-prefix=$source=dimse_rs --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
export PATH=$tools:$PATH VIRTUAL_ENV=${tools%/bin} CARGO_TARGET_DIR=$root/build/cross-target
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS=$flags CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS=$flags
cd "$source"
maturin sdist --out "$root/dist"
build() { maturin build --release --locked --zig --compatibility manylinux2014 --target "$1" --out "$root/dist"; }
build x86_64-unknown-linux-gnu
if [ ! -d "$(rustc --print target-libdir --target $aarch64)" ]; then
    libraries=$cross/sysroot/lib/rustlib
    mkdir -p "$libraries"
    ln -sfn /usr/lib/rustlib/x86_64-unknown-linux-gnu "$libraries/x86_64-unknown-linux-gnu"
    ln -sfn "$cross/debian/usr/lib/rustlib/$aarch64" "$libraries/$aarch64"
    export RUSTC=/usr/bin/rustc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="$flags --sysroot=$cross/sysroot"
fi
build $aarch64
