"""Send mutated data sets through every service and every conversion, and watch what comes of it.

Each mutant is one that a seed and a number name: a finding can be made again. What must hold:

- every request has exactly one final response, or an abort, within 10 s; every call ends with a
  result or an error of ours; neither takes 10 s of a processor;
- what is answered with Success is on disk with not a byte changed, what is not is not there;
- what was converted holds the values that pydicom saw before; what is answered, pydicom can decode;
- no log at any level, no event, no standard error, no warning and no exception's text has a
  patient's value;
- the node lives, without a panic, in bounded memory for each mutant, and with no more tasks and
  descriptors than before.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

from dimse_rs import DimseError
from tests.mutants import calls, services
from tests.mutants.mutate import Mutator
from tests.mutants.node import SERVERS
from tests.mutants.seeds import Seed, seeds
from tests.mutants.services import Route, Run
from tests.mutants.values import Finding, Leaks, check_text
from tests.mutants.wires import PATIENCE
from tests.support.proc import usage
from tests.support.process import Process

MEMORY = 256 << 20
"""Bytes that the node, and this process, may have more than before a mutant, at the peak."""
TURN = 10
"""Turns between two looks at the vital signs of the node."""
ENDING = 30.0
"""Seconds that the node has to be as it was at the start when all associations are closed."""


class Memory:
    """Resident memory of a process, at its peak since it was last asked."""

    def __init__(self, pid: int) -> None:
        """Begin."""
        self._folder = Path(f"/proc/{pid}")
        self._before = 0
        self.grown()

    def grown(self) -> int:
        """Give by how much it was above what it had the last time, and begin anew."""
        lines = dict(
            line.split(":", 1) for line in (self._folder / "status").read_text().splitlines()
        )
        now, peak = (int(lines[name].split()[0]) << 10 for name in ("VmRSS", "VmHWM"))
        grown, self._before = peak - self._before, now
        (self._folder / "clear_refs").write_text("5")
        return grown


class Watch:
    """Looks at the node now and then."""

    def __init__(self, node: Process) -> None:
        """Remember what it is like at the start."""
        self._node = node
        self._seen = 0
        self._said = 0
        self._first = self._vitals()

    def _vitals(self) -> dict[str, int]:
        if self._node.returncode is not None:
            raise SystemExit(self._node.story("the node is gone"))
        known = len(self._node.lines)
        os.kill(self._node.pid, signal.SIGUSR1)
        line = self._node.wait_for_line(
            lambda line: '"vitals"' in line and line in self._node.lines[known:]
        )
        told: dict[str, int] = json.loads(line)
        return told

    def look(self) -> Iterator[str]:
        """Give what must not be."""
        if panics := self._vitals()["panics"]:
            yield f"panics: {panics}"
        fresh = self._node.lines[self._seen :]
        self._seen += len(fresh)
        yield from (one for one in fresh if json.loads(one)["event"] in ("leak", "raised"))
        said = self._node.errors()
        if more := said[self._said :]:
            self._said = len(said)
            yield f"standard error: {more[:1500]}"

    def settle(self) -> Iterator[str]:
        """Give what the node has more than at the start, once nothing is asked of it any more."""
        until = time.monotonic() + ENDING
        while True:
            now = self._vitals()
            more = {name: (self._first[name], now[name]) for name in ("tasks", "files")}
            more = {name: pair for name, pair in more.items() if pair[1] > pair[0]}
            if not more:
                return
            if time.monotonic() > until:
                yield f"at the start and at the end: {more}"
                return


def attack(
    seconds: float,
    seed: int,
    *,
    only: str = "",
    most: int = 1 << 60,
    keep: Path | None = None,
    intact: bool = False,
) -> Run:
    """Send mutants for so many seconds, or so many of each route, and give the account.

    Args:
        seconds: how long, at most.
        seed: names the mutants.
        only: routes whose name has this.
        most: mutants of each route.
        keep: a folder for the mutants of findings.
        intact: send the seeds as they are.
    """
    with tempfile.TemporaryDirectory() as named, contextlib.ExitStack() as stack:
        here = Path(__file__).with_name("node.py")
        env = {"PYTHONPATH": os.pathsep.join([str(here.parents[2]), *sys.path])}
        node = stack.enter_context(Process([sys.executable, str(here), named], env=env))
        first = json.loads(node.wait_for_line(lambda line: '"listening"' in line))
        by_kind = seeds()
        ports = {name: first[name] for name in SERVERS}
        run = Run(node, ports, Path(named), by_kind["instance"])
        table = {**services.routes(), **calls.routes()}
        table = {name: row for name, row in table.items() if only in name}
        pool = [one for some in by_kind.values() for one in some]
        watch = Watch(node)
        Leaks.watch(run.leaks.append)
        stack.enter_context(_warnings_kept(run.warned))
        memory = {"node": Memory(node.pid), "own process": Memory(os.getpid())}
        until = time.monotonic() + seconds
        for turn in range(most):
            chance = random.Random(f"{seed} {turn}")
            for name, (kind, route) in table.items():
                if time.monotonic() > until:
                    break
                origin = chance.choice(by_kind[kind])
                mutator = Mutator(random.Random(f"{seed} {turn} {name}"), pool)
                content = mutator.intact(origin) if intact else mutator.mutant(origin)
                for trouble in _play(run, name, route, origin, content, memory):
                    _found(run, name, turn, origin, content, trouble, keep)
            if turn % TURN == TURN - 1 or time.monotonic() > until:
                for trouble in watch.look():
                    _found(run, "node", turn, None, b"", trouble, keep)
            if time.monotonic() > until:
                break
        run.hang_up()
        for trouble in (*watch.look(), *watch.settle()):
            _found(run, "node", 0, None, b"", trouble, keep)
    return run


@contextlib.contextmanager
def _warnings_kept(kept: list[str]) -> Iterator[None]:
    """Keep each warning, once for all mutants.

    `catch_warnings` for each of them would put a new list of filters under threads that are in the
    middle of pydicom.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_where: kept.append(str(message))
        yield


def _play(
    run: Run, name: str, route: Route, seed: Seed, content: bytes, memory: dict[str, Memory]
) -> Iterator[str]:
    """Send a mutant, and give what must not be."""
    began = _worked(run)
    outcome = "finding"
    faulthandler.dump_traceback_later(6 * PATIENCE, exit=True)
    try:
        outcome = route(run, seed, content)
    except DimseError as error:
        outcome = type(error).__name__
        try:
            check_text(error)
        except Finding as finding:
            yield str(finding)
    except Finding as finding:
        yield str(finding)
    except Exception:
        yield traceback.format_exc()[-1800:]
    finally:
        faulthandler.cancel_dump_traceback_later()
    took = _worked(run) - began
    run.counts[name] += 1
    run.outcomes[name, outcome] += 1
    run.slowest[name] = max(run.slowest.get(name, 0.0), took)
    if took > PATIENCE:
        yield f"took {took:.1f} s"
    yield from (f"warned: {run.warned.pop()}" for _ in run.warned[:])
    yield from (f"logged: {run.leaks.pop()}" for _ in run.leaks[:])
    for whose, watched in memory.items():
        grown = watched.grown()
        run.most[whose] = max(run.most.get(whose, 0), grown)
        if grown > MEMORY:
            yield f"{whose} had {grown >> 20} MiB more at its peak"


def _worked(run: Run) -> float:
    """Processor seconds of the node and of this process, whatever else the machine does."""
    return usage(run.node.pid).seconds + time.process_time()


def _found(
    run: Run, name: str, turn: int, seed: Seed | None, content: bytes, what: str, keep: Path | None
) -> None:
    syntax = "" if seed is None else seed.syntax
    run.findings.append({"route": name, "turn": turn, "syntax": syntax, "what": what})
    print(f"FINDING {name}, turn {turn}, {syntax}: {what[:1800]}", file=sys.stderr, flush=True)
    if keep is not None and content:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{len(run.findings):04d}-{turn}.bin").write_bytes(content)


def report(run: Run, seconds: float) -> str:
    """Make a table of what was sent and what came of it."""
    lines = ["| route | mutants | outcomes | slowest |", "|---|---|---|---|"]
    for name, count in run.counts.items():
        of = {what: many for (route, what), many in run.outcomes.items() if route == name}
        told = ", ".join(f"{what} {many}" for what, many in sorted(of.items(), key=lambda i: -i[1]))
        lines.append(f"| {name} | {count} | {told} | {run.slowest.get(name, 0.0):.2f} s |")
    total = sum(run.counts.values())
    peaks = ", ".join(f"{whose} {most >> 20} MiB" for whose, most in run.most.items())
    lines.append("")
    lines.append(
        f"{total} mutants in {seconds:.0f} s; for one of them at most: {peaks}; "
        f"findings: {len(run.findings)}"
    )
    return "\n".join(lines)


def main() -> int:
    """Run the attack and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long; default 60")
    parser.add_argument("--most", type=int, default=1 << 60, help="mutants of each route, at most")
    parser.add_argument("--seed", type=int, default=1, help="names the mutants; default 1")
    parser.add_argument("--only", default="", help="routes whose name has this")
    parser.add_argument("--keep", type=Path, help="a folder for the mutants of findings")
    parser.add_argument("--intact", action="store_true", help="send the seeds as they are")
    args = parser.parse_args()
    began = time.monotonic()
    run = attack(
        args.seconds,
        args.seed,
        only=args.only,
        most=args.most,
        keep=args.keep,
        intact=args.intact,
    )
    print(report(run, time.monotonic() - began))
    return 1 if run.findings else 0


if __name__ == "__main__":
    sys.exit(main())
