"""Routes in this process: requests that mutants answer, and files that are mutants."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import random
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from dimse_rs import (
    AE,
    Association,
    Context,
    DimseError,
    Index,
    PerformedStep,
    StudyRoot,
    Timeouts,
    Worklist,
    commit,
    datasets,
    notify_availability,
    worklist,
)
from dimse_rs.cli import main as command
from dimse_rs.encoding.quiet import quiet
from dimse_rs.services.mpps import from_worklist
from tests.mutants.seeds import MARK, SECONDARY_CAPTURE, SYNTAXES, Seed, part10
from tests.mutants.services import CLASSES, Route, Run, check_stored, identity
from tests.mutants.values import Finding, check_same, check_text, looked_at
from tests.mutants.wires import PATIENCE, Answering

PRINTER = "1.2.840.10008.5.1.1.16"
_PROPOSED = dict(zip(SYNTAXES, ("-xi", "-xe", "-xb", "-xd"), strict=True))
SCU = AE("SCU", timeouts=Timeouts(dimse=PATIENCE, store=PATIENCE, progress=PATIENCE))


class Requestor:
    """Calls of ours that are answered with mutants."""

    def __init__(self) -> None:
        """Start the SCP that answers."""
        self._scp = Answering()

    def _answer(self, seed: Seed, content: bytes) -> tuple[str, int]:
        self._scp.content, self._scp.syntax = content, seed.syntax
        self._scp.instance = identity(seed)[1]
        return ("127.0.0.1", self._scp.port)

    @contextlib.contextmanager
    def _association(
        self, seed: Seed, content: bytes, *sop_classes: str, scp: bool = False
    ) -> Iterator[Association]:
        peer = self._answer(seed, content)
        contexts = [
            Context(uid, [seed.syntax], scp=scp and at > 0) for at, uid in enumerate(sop_classes)
        ]
        with SCU.associate(peer, contexts=contexts) as association:
            yield association

    def find(self, run: Run, seed: Seed, content: bytes) -> str:
        """c_find: matches."""
        with self._association(seed, content, CLASSES["find"]) as association:
            for match in association.c_find(_asked(), model=CLASSES["find"]):
                looked_at(match)
        return "ok"

    def find_async(self, run: Run, seed: Seed, content: bytes) -> str:
        """c_find of an AsyncAssociation."""
        peer = self._answer(seed, content)

        async def ask() -> None:
            contexts = [Context(CLASSES["find"], [seed.syntax])]
            async with SCU.associate_async(peer, contexts=contexts) as association:
                async for match in association.c_find(_asked(), model=CLASSES["find"]):
                    looked_at(match)

        asyncio.run(ask())
        return "ok"

    def get(self, into: str) -> Route:
        """c_get: what comes of it in a list, a function or a folder."""

        def route(run: Run, seed: Seed, content: bytes) -> str:
            classes = (CLASSES["get"], identity(seed)[0])
            got: list[Dataset] = []
            folder = run.folder / "got"
            wanted: dict[str, Any] = {
                "list": got,
                "function": lambda request: looked_at(request.dataset),
                "folder": folder,
            }
            told = "0000"
            try:
                with self._association(seed, content, *classes, scp=True) as association:
                    asked = {"StudyInstanceUID": "1.2.3"}
                    steps = association.c_get(
                        asked, model=CLASSES["get"], level="STUDY", into=wanted[into]
                    )
                    for _ in steps:
                        pass
            except DimseError as error:
                check_text(error)
                told = type(error).__name__
            for one in got:
                looked_at(one)
            if into == "folder":
                check_stored(run, "got", told, content)
            return told

        return route

    def normalized(self, ask: Callable[[Association], Any]) -> Route:
        """An N-service: what came with the response."""

        def route(run: Run, seed: Seed, content: bytes) -> str:
            classes = (PRINTER, CLASSES["step"], CLASSES["notice"])
            with self._association(seed, content, *classes) as association:
                response = ask(association)
                if response.dataset is not None:
                    looked_at(response.dataset)
            return "ok"

        return route

    def worklist(self, run: Run, seed: Seed, content: bytes) -> str:
        """worklist(), and steps made of its items."""
        with self._association(seed, content, CLASSES["worklist"]) as association:
            for item in worklist(association, Modality="CT"):
                looked_at(item)
                looked_at(from_worklist(item))
        return "ok"

    def commitment(self, run: Run, seed: Seed, content: bytes) -> str:
        """commit(): the report."""
        ae = AE("SCU", timeouts=Timeouts(dimse=PATIENCE, progress=PATIENCE))
        peer = self._answer(seed, content)
        instances = [(SECONDARY_CAPTURE, "1.2.3.4")]
        report = commit(ae, peer, instances, timeout=PATIENCE / 2)
        return "ok" if report.ok else "not ok"

    def command(self, *arguments: str) -> Route:
        """A command that asks; only data sets that were asked for are printed."""

        def route(run: Run, seed: Seed, content: bytes) -> str:
            host, port = self._answer(seed, content)
            out, err = (io.TextIOWrapper(BytesIO(), "utf-8") for _ in "12")
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                _logging_as_before(),
            ):
                code = command([*arguments, _PROPOSED[seed.syntax], "-d", host, str(port)])
            err.flush()
            said = err.buffer.getvalue().decode()  # type: ignore[attr-defined]
            if MARK in said or "Traceback" in said:
                raise Finding(f"said on standard error: {said[-1500:]}")
            return f"exit {code}"

        return route


@contextlib.contextmanager
def _logging_as_before() -> Iterator[None]:
    """Take away what a command does to the log of a process that it thinks is its own."""
    logger = logging.getLogger("dimse_rs")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    try:
        yield
    finally:
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def _asked() -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.PatientName = "STUDY", "*"
    return asked


# ---- conversions, and what reads files


def _decoded(run: Run, seed: Seed, content: bytes) -> str:
    looked_at(datasets.from_bytes(content, seed.syntax))
    return "ok"


def _converted(run: Run, seed: Seed, content: bytes) -> str:
    path = run.folder / "convert.dcm"
    path.write_bytes(part10(content, seed.syntax))
    done = 0
    for target in SYNTAXES:
        try:
            made = datasets.convert(path, target)
        except DimseError as error:
            check_text(error)
            continue
        done += 1
        check_same(content, seed.syntax, made, target)
    return f"{done} of 4"


def _rewritten(run: Run, seed: Seed, content: bytes) -> str:
    """Read a data set, write it as a file, and look at what that has."""
    path = run.folder / "written.dcm"
    dataset = datasets.from_bytes(content, seed.syntax, file_meta=True)
    datasets.write(path, dataset)
    with quiet():
        now = dcmread(path)
    check_same(content, seed.syntax, datasets.to_bytes(now, seed.syntax), seed.syntax)
    return "ok"


def _sent(run: Run, seed: Seed, content: bytes) -> str:
    """c_store of a file, to a peer that takes another syntax, or the same."""
    path = run.folder / "send.dcm"
    sop_class, _ = identity(seed)
    path.write_bytes(part10(content, seed.syntax, sop_class=sop_class))
    return _stored(run, seed, content, path)


def _sent_bytes(run: Run, seed: Seed, content: bytes) -> str:
    """c_store of a file in memory."""
    whole = part10(content, seed.syntax, sop_class=identity(seed)[0])
    return _stored(run, seed, content, whole)


def _sent_data_set(run: Run, seed: Seed, content: bytes) -> str:
    """c_store of a data set, as pydicom reads it."""
    whole = part10(content, seed.syntax, sop_class=identity(seed)[0])
    with quiet():
        try:
            dataset = dcmread(BytesIO(whole))
        except Exception:
            return "unread"
    return _stored(run, seed, content, dataset)


def _stored(run: Run, seed: Seed, content: bytes, instance: Any) -> str:
    target = random.Random(len(content)).choice(SYNTAXES)
    peer = ("127.0.0.1", run.ports["store"])
    try:
        with SCU.associate(peer, contexts=[Context(identity(seed)[0], [target])]) as association:
            told = f"{int(association.c_store(instance)):04X}"
    except DimseError as error:
        check_text(error)
        told = type(error).__name__
    check_stored(
        run, "store", told, content, seed.syntax, anew=not isinstance(instance, bytes | Path)
    )
    return told


def _sent_folder(repair: bool) -> Route:
    """AE.send of a folder, where the peer takes one syntax alone."""

    def route(run: Run, seed: Seed, content: bytes) -> str:
        folder = run.folder / "outbox"
        folder.mkdir(exist_ok=True)
        sop_class, _ = identity(seed)
        (folder / "a.dcm").write_bytes(part10(content, seed.syntax, sop_class=sop_class))
        (folder / "b").write_bytes(content)
        target = random.Random(len(content)).choice(SYNTAXES)
        peer = ("127.0.0.1", run.ports["store"])
        contexts = [Context(sop_class, [target])]
        report = SCU.send(peer, folder, contexts=contexts, repair=repair)
        told = []
        for result in report.results:
            if result.error is not None:
                check_text(result.error)
            told.append(result.category)
        for path in (run.folder / "store").glob("*"):
            path.unlink()
        return " ".join(told) or "skipped"

    return route


def _indexed(run: Run, seed: Seed, content: bytes) -> str:
    """Index.add_folder, and what it then finds."""
    folder = run.folder / "index"
    folder.mkdir(exist_ok=True)
    (folder / "one.dcm").write_bytes(part10(content, seed.syntax))
    (folder / "two").write_bytes(content)  # without preamble
    origin = run.instances[len(content) % len(run.instances)]
    (folder / "whole.dcm").write_bytes(part10(origin.content, origin.syntax))
    index = Index()
    added = index.add_folder(folder)
    asked = _asked()
    asked.PatientID, asked.StudyDate, asked.NumberOfStudyRelatedInstances = "", "", ""
    for match in index.find(asked, StudyRoot):
        looked_at(match)
    return str(added)


def _scheduled(run: Run, seed: Seed, content: bytes) -> str:
    """Worklist: the file of an item."""
    folder = run.folder / "list"
    folder.mkdir(exist_ok=True)
    (folder / "one.wl").write_bytes(part10(content, seed.syntax))
    (folder / "two.dcm").write_bytes(content)
    items = Worklist(folder)
    asked = Dataset()
    asked.PatientName = "*"
    step = Dataset()
    step.ScheduledProcedureStepStartDate = "20000101-20991231"
    asked.ScheduledProcedureStepSequence = [step]
    for item in items.items():
        looked_at(item)
    found = list(items.find(asked))
    for match in found:
        looked_at(match)
    return str(len(found))


def routes() -> dict[str, tuple[str, Route]]:
    """Give every call that meets mutants, with the kind of seed that each wants."""
    requestor = Requestor()
    printer = {"sop_class": PRINTER, "instance_uid": "1.2.3"}
    return {
        "c_find, matches": ("instance", requestor.find),
        "async c_find, matches": ("query", requestor.find_async),
        "c_get into a list": ("instance", requestor.get("list")),
        "c_get into a function": ("instance", requestor.get("function")),
        "c_get into a folder": ("instance", requestor.get("folder")),
        "n_get, response": ("step", requestor.normalized(lambda a: a.n_get(**printer))),
        "n_action, response": (
            "commitment",
            requestor.normalized(lambda a: a.n_action(1, **printer)),
        ),
        "PerformedStep, responses": (
            "step",
            requestor.normalized(lambda a: PerformedStep.start(a, {}).update({"Modality": "CT"})),
        ),
        "notify_availability, response": (
            "notice",
            requestor.normalized(
                lambda a: notify_availability(
                    a, "1.2", [("1.2", "1.2", "1.2")], retrieve_ae_title="X"
                )
            ),
        ),
        "worklist, items": ("item", requestor.worklist),
        "commit, report": ("report", requestor.commitment),
        "findscu": ("query", requestor.command("findscu", "-S", "-L", "STUDY")),
        "findscu --json": ("step", requestor.command("findscu", "--json", "-S", "-L", "STUDY")),
        "mwlscu": ("item", requestor.command("mwlscu")),
        "from_bytes": ("instance", _decoded),
        "convert": ("plain", _converted),
        "write": ("plain", _rewritten),
        "c_store, file": ("plain", _sent),
        "c_store, bytes": ("plain", _sent_bytes),
        "c_store, data set": ("plain", _sent_data_set),
        "send": ("plain", _sent_folder(False)),
        "send(repair=True)": ("instance", _sent_folder(True)),
        "Index.add_folder": ("instance", _indexed),
        "Worklist, files": ("item", _scheduled),
    }
