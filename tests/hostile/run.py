"""Play the hostile cases and print a table: who does what must be done, and who does what else.

Without --target it plays them at our own server, at storescp of pynetdicom and at storescp of
DCMTK, and prints them side by side. Deviations that are known have a line each in a file, `CASE:
why`; tests/hostile/known has those of the two peers. It fails when our server, or the target, has
others; what else the peers do now and then is told and not held against anybody.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import ipaddress
import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.hostile.cases import cases
from tests.hostile.node import CALLED, OURS, Node, Other, Timers, nodes
from tests.support.process import MissingPeerError, PeerError, require, run
from tests.support.runner import Unexpected
from tests.support.script import Case

KNOWN = Path(__file__).with_name("known")
SHARES = 3
EXAMPLES = """
examples:
  run.py --nodes dimse_rs
  run.py --only A,B16 --json
  run.py --target 127.0.0.1 11112 --called PACS --timers artim=3,idle=4 --known pacs.txt
"""
NODES = {OURS: [], "pynetdicom": ["module:pynetdicom"], "storescp": ["storescp"]}
"""What is played at, with what has to be installed for it."""


@dataclass(frozen=True)
class Result:
    """What became of a case at a node, `why` it did not pass, and what is `known` of that.

    The `result` is pass, deviates (as is known), fails, or not run.
    """

    node: str
    id: str
    what: str
    result: str
    why: str = ""
    known: str = ""
    seconds: float = 0.0


def examine(
    name: str,
    make: Callable[[], Node],
    all_: Sequence[Case],
    known: dict[str, str],
    tell: Callable[[Result], None],
) -> list[Result]:
    """Play all cases at a node."""
    results = []
    node = make()
    try:
        for case in all_:
            began = time.monotonic()
            result, why = "pass", ""
            if not node.can(case):
                result, why = "not run", f"needs {', '.join(sorted(case.needs))}"
            else:
                try:
                    node.play(case)
                except (Unexpected, PeerError) as problem:
                    result = "deviates" if case.id in known else "fails"
                    why = str(problem)
            seconds = round(time.monotonic() - began, 2)
            note = known.get(case.id, "")
            results.append(Result(name, case.id, case.what, result, why, note, seconds))
            tell(results[-1])
    finally:
        node.close()
    return results


def read_known(path: Path) -> dict[str, str]:
    """Known deviations: `CASE: why` a line, # for comments; none when there is no file."""
    if not path.exists():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {id_.strip(): why.strip() for id_, _, why in pairs}


def table(columns: dict[str, list[Result]]) -> str:
    """One row a case and one column a node, in Markdown."""
    head = ["case", "what the bad peer does", *columns]
    rows = [
        [row[0].id, row[0].what, *(_cell(result) for result in row)]
        for row in zip(*columns.values(), strict=True)
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(result: Result) -> str:
    why = result.why.partition("\n")[0].replace("|", "\\|")
    return result.result if result.result in ("pass", "not run") else f"**no**: {why}"


def summary(name: str, results: Sequence[Result], known: dict[str, str]) -> str:
    """Counts, and what does not fit the known deviations."""
    of = {kind: [one for one in results if one.result == kind] for kind in ("pass", "deviates")}
    unknown = [one for one in results if one.result == "fails"]
    stale = [one.id for one in of["pass"] if one.id in known]
    played = sum(1 for one in results if one.result != "not run")
    lines = [
        f"{name}: {len(of['pass'])} of {played} pass, {len(of['deviates'])} deviate as is known,"
        f" {len(unknown)} otherwise, {len(results) - played} not run"
    ]
    lines += [f"  {one.id}: {one.why}" for one in unknown]
    lines += [f"  known deviations that passed: {', '.join(stale)}"] if stale else []
    return "\n".join(lines)


def _merged(all_: Sequence[Case], shares: Sequence[Future[list[Result]]]) -> list[Result]:
    by_id = {result.id: result for share in shares for result in share.result()}
    return [by_id[case.id] for case in all_]


def _version(name: str) -> str:
    if name == "pynetdicom":
        return importlib.metadata.version(name)
    if name == "storescp":
        return run(["storescp", "--version"]).stdout.split()[2].removeprefix("v")
    return ""


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    head, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="run.py",
        description=head,
        epilog=f"{more}\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    target = parser.add_argument_group("somebody's server")
    target.add_argument(
        "--target",
        nargs=2,
        metavar=("HOST", "PORT"),
        help="play at this server, on the loopback interface only; it has to take Verification, and"
        " Secondary Capture in Explicit VR Little Endian and JPEG Baseline",
    )
    target.add_argument(
        "--called", default=CALLED, metavar="AET", help="its AE title (default: %(default)s)"
    )
    target.add_argument(
        "--timers",
        type=_timers,
        default=",".join(f"{name}={value:g}" for name, value in asdict(Timers()).items() if value),
        metavar="NAME=SECONDS,...",
        help="deadlines that it is set to: artim for A-ASSOCIATE-RQ and for a close, progress for"
        " the next byte of a message, idle between messages, write for a peer that does not read"
        " (default: %(default)s)",
    )
    target.add_argument("--known", type=Path, metavar="FILE", help="its known deviations")
    parser.add_argument(
        "--nodes",
        default="",
        metavar="NAME,...",
        help=f"without --target: play at these only, of {', '.join(NODES)}",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="tell each result on standard error at once"
    )
    parser.add_argument("--only", default="", metavar="A,B01,...", help="cases whose ids begin so")
    parser.add_argument(
        "--json", action="store_true", help="print a line of JSON for each case in place of a table"
    )
    parsed = parser.parse_args(argv)
    parsed.nodes = parsed.nodes.split(",") if parsed.nodes else list(NODES)
    if unknown := set(parsed.nodes) - set(NODES):
        parser.error(f"no such nodes: {', '.join(sorted(unknown))}")
    if parsed.target is not None:
        host, port = parsed.target
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            parser.error(f"{host} {port}: {error}")
        if not all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found):
            parser.error("only servers on the loopback interface are played at")
        parsed.target = found[0][4][:2]
    return parsed


def _timers(text: str) -> Timers:
    pairs = (one.partition("=") for one in text.split(","))
    given = {name: float(value) for name, _, value in pairs}
    if unknown := given.keys() - {field.name for field in fields(Timers)}:
        raise argparse.ArgumentTypeError(f"no such timers: {', '.join(sorted(unknown))}")
    return Timers(**given)


def main(argv: Sequence[str] | None = None) -> int:
    """Play them; 0 when our server, or the target, does what it must or is known to do."""
    options = _parsed(argv)
    only = tuple(options.only.split(","))
    lock = threading.Lock()

    def tell(result: Result) -> None:
        with lock:
            if options.json:
                print(json.dumps({"event": "case"} | asdict(result)), flush=True)
            elif options.verbose or result.result == "fails":
                line = f"{result.node} {result.id} {result.result} {result.why}".rstrip()
                print(line, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        makers: dict[str, Callable[[], Node]] = nodes(Path(folder))
        known = {name: read_known(KNOWN / f"{name}.txt") for name in makers}
        wanted = options.nodes
        if options.target is not None:
            host, port = options.target
            target = options.timers.target(host, port, options.called)
            name = f"{host}:{port}"
            makers = {name: lambda: Other(target)}
            known = {name: read_known(options.known) if options.known else {}}
            wanted = [name]
        for name in tuple(wanted):
            try:
                require(*NODES.get(name, []))
            except MissingPeerError as missing:
                print(missing, file=sys.stderr)
                wanted.remove(name)
        called = options.called if options.target is not None else CALLED
        all_ = [case for case in cases(called.encode()) if case.id.startswith(only)]
        if not all_:
            print(f"no case begins with {options.only}", file=sys.stderr)
            return 2
        # Peers are waited for most of the time: several of them share the cases.
        shares = {name: SHARES if name in NODES and name != OURS else 1 for name in wanted}
        with ThreadPoolExecutor(max(1, sum(shares.values()))) as pool:
            running = {
                name: [
                    pool.submit(examine, name, makers[name], all_[at::count], known[name], tell)
                    for at in range(count)
                ]
                for name, count in shares.items()
            }
            found = {name: _merged(all_, futures) for name, futures in running.items()}
    if not options.json:
        print(table({f"{name} {_version(name)}".strip(): one for name, one in found.items()}))
        print()
    report = sys.stderr if options.json else sys.stdout
    for name, results in found.items():
        print(summary(name, results, known[name]), file=report)
    deciding = found if options.target is not None else {OURS: found.get(OURS, [])}
    return int(any(one.result == "fails" for results in deciding.values() for one in results))


if __name__ == "__main__":
    sys.exit(main())
