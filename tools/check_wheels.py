"""Checks and tries each file in dist/, and prints a table: `make wheels` ends with it.

A wheel for this processor is tried with this Python and with every further one that is named, the
one for aarch64 with Debian's Python in an emulator.

usage: check_wheels.py FOLDER_OF_TOOLS [PYTHON...]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CROSS = ROOT / "build" / "cross"
TRY = ROOT / "tools" / "echo_and_store.py"
QEMU = "qemu-aarch64-static"


def run(*command: str | Path, **environment: str) -> str:
    """Run a program; its output, or the end of this one with that output."""
    done = subprocess.run(
        list(map(str, command)),
        env=environment or None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}")
    return done.stdout


def checked(tools: Path, file: Path) -> list[str]:
    """Have the checkers look at a file, and name those that passed it."""
    run(tools / "twine", "check", "--strict", file)
    if file.suffix != ".whl":
        return ["twine"]
    tag = f"manylinux_2_17_{machine(file)}"
    if f'"{tag}"' not in " ".join(run(tools / "auditwheel", "show", file).split()):
        sys.exit(f"{file.name} is not consistent with {tag}")
    run(tools / "abi3audit", "--strict", file)
    run(tools / "check-wheel-contents", file)
    return ["twine", "auditwheel", "abi3audit", "check-wheel-contents"]


def machine(file: Path) -> str:
    """Give the processor that a wheel is for."""
    return "aarch64" if "aarch64" in file.name else "x86_64"


def tried(file: Path, pythons: list[str]) -> str:
    """Install a wheel where nothing else is, and run an echo and a store with it."""
    if file.suffix != ".whl":
        return "not run"
    if machine(file) == "aarch64":
        return in_emulator(file)
    return "; ".join(in_clean_environment(file, python) for python in pythons)


def in_clean_environment(file: Path, python: str) -> str:
    """Try a wheel in a virtual environment of its own."""
    clean = ROOT / "build" / "wheels-clean"
    run(python, "-m", "venv", "--clear", clean)
    run(clean / "bin/python", "-m", "pip", "install", "-q", "--find-links", file.parent, "dimse_rs")
    return run(clean / "bin/python", TRY, PATH="/usr/bin").strip()


def in_emulator(file: Path) -> str:
    """Try a wheel for aarch64 on another processor."""
    debian = CROSS / "debian"
    if not debian.exists() or shutil.which(QEMU) is None:
        return "not run: no emulator"
    site = CROSS / "site"
    abis = [word for abi in ("abi3", "cp311", "none") for word in ("--abi", abi)]
    platform = ["--platform", "manylinux_2_17_aarch64", "--python-version", "3.11", *abis]
    install = [sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--target", site]
    run(*install, "--only-binary", ":all:", *platform, file)
    python = [QEMU, "-L", debian, debian / "usr/bin/python3.11"]
    return run(*python, TRY, PYTHONPATH=str(site), PATH="/usr/bin").strip() + " (emulated)"


def main() -> None:
    """Check and try everything, and print the table."""
    tools, pythons = Path(sys.argv[1]), [sys.executable, *sys.argv[2:]]
    print("| file | KiB | checks | run |\n| --- | --- | --- | --- |")
    for file in sorted((ROOT / "dist").iterdir()):
        size = f"{file.stat().st_size / 1024:,.0f}"
        row = [f"`{file.name}`", size, ", ".join(checked(tools, file)), tried(file, pythons)]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
