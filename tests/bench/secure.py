"""C-STORE over TLS 1.3 with mutual authentication: ours beside DCMTK's."""

from __future__ import annotations

import functools

from tests.bench import measure
from tests.bench.measure import MEMORY, script, transfer
from tests.bench.report import Report, cell
from tests.bench.rounds import Case, Options, Workload, measured
from tests.data.certificates import Authority
from tests.peers.scp import dcmtk_scp

OURS = "ours -> ours (fast), TLS"
DCMTK = "DCMTK -> DCMTK +B, best, TLS"


def transfers(report: Report, workload: Workload, options: Options) -> None:
    """Add what TLS leaves of the rate."""
    with measure.scratch(MEMORY) as folder:
        ca = Authority(folder)
        node = ca.issue("node", kind="rsa")
        files = [str(path) for path in (node.key, node.cert, ca.ca)]
        tls = ["+tls", *files[:2], "+cf", files[2]]
        best = ["+B", "+xa", *measure.DCMTK_BEST, *tls]
        cases = [
            Case(
                OURS,
                functools.partial(
                    transfer,
                    script(measure.OUR_SCU, "secure", *files),
                    lambda to: measure.storescp(to, "--mode", "fast", *tls),
                ),
                key=True,
            ),
            Case(
                DCMTK,
                functools.partial(
                    transfer, measure.dcmtk_scu(*tls), lambda to: dcmtk_scp(to, *best)
                ),
                key=True,
            ),
        ]
        seen = measured(report, workload, cases, options)
    for name in seen.runs:
        ratio = cell(seen.ratio(name, DCMTK))
        report.add(workload.name, name, seen.rate(name), "", ratio, seen.memory(name))
    if not options.peers_only:
        report.least(f"{workload.name}, TLS", "DCMTK over TLS", 1, seen.ratio(OURS, DCMTK))
