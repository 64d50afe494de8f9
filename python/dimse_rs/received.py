"""What came of a study, and the rules by which it is taken for complete: no clock, no thread."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from dimse_rs.sop_class import SOPClass

__all__ = ["OpenStudies", "Reason", "ReceivedInstance", "ReceivedStudy"]

Reason: TypeAlias = Literal["quiet", "ended", "longest", "closed", "open"]
"""Why a study is taken for complete; "open" of a study that is not."""


@dataclass(frozen=True, slots=True)
class ReceivedInstance:
    """An instance of a `ReceivedStudy`.

    Attributes:
        uid: SOP Instance UID.
        sop_class: SOP Class UID.
        series: Series Instance UID; empty when the data set has none.
        path: the file; None of an instance that a handler took.
        size: length of the data set in bytes.
        sender: calling AE title.
        address: host and port of the sender.
        association: number of the association, as in events and logs.
        identical: the same bytes were in the folder already.
    """

    uid: str
    sop_class: SOPClass
    series: str
    path: Path | None
    size: int
    sender: str
    address: str
    association: int
    identical: bool = False


@dataclass(frozen=True, slots=True)
class ReceivedStudy:
    """What came of a study, from its first instance until it was taken for complete.

    Attributes:
        uid: Study Instance UID.
        instances: in the order in which they came, each SOP Instance UID once, as it came last.
        count: how many came; more than `instances` has when the watcher was full.
        seconds: from the first to the last.
        reason: why it is taken for complete: "quiet", "ended" (its associations are over),
            "longest" (it went on for too long), "closed" (by `StudyWatcher.close`); "open" in
            `StudyWatcher.open`.
    """

    uid: str
    instances: tuple[ReceivedInstance, ...]
    count: int
    seconds: float
    reason: Reason

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files."""
        return tuple(one.path for one in self.instances if one.path is not None)

    @property
    def series(self) -> dict[str, tuple[ReceivedInstance, ...]]:
        """The instances by Series Instance UID."""
        found: dict[str, list[ReceivedInstance]] = {}
        for one in self.instances:
            found.setdefault(one.series, []).append(one)
        return {uid: tuple(of_series) for uid, of_series in found.items()}

    @property
    def senders(self) -> dict[str, int]:
        """How many instances came from each calling AE title."""
        return dict(Counter(one.sender for one in self.instances))

    @property
    def changed(self) -> bool:
        """Whether anything new came; False when all of it was in the folder with the same bytes."""
        full = self.count > len(self.instances)
        return full or any(not one.identical for one in self.instances)

    def __repr__(self) -> str:
        """Show the UID, how many instances came, from whom and why they are taken for all."""
        senders = ", ".join(self.senders)
        return f"<ReceivedStudy {self.uid}, {self.count} instances from {senders}, {self.reason}>"


@dataclass(slots=True)
class OpenStudy:
    """A study that instances still come for. All times are those of a clock that never jumps."""

    uid: str
    first: float
    last: float
    instances: dict[str, ReceivedInstance] = field(default_factory=dict)
    unlisted: int = 0
    live: set[int] = field(default_factory=set)
    ended: float = 0.0
    unfollowed: bool = False  # an association of it is not in `live`, since the watcher was full

    def so_far(self, reason: Reason) -> ReceivedStudy:
        instances = tuple(self.instances.values())
        count = len(instances) + self.unlisted
        return ReceivedStudy(self.uid, instances, count, self.last - self.first, reason)


class OpenStudies:
    """The rules, without threads or clock: what is open, and until when.

    Three orders hold the open studies, so that neither an instance nor a look at the clock costs
    more with thousands of them: by the last instance, by the first, and by the end of the last
    association.
    """

    def __init__(self, quiet: float, after_end: float | None, longest: float, most: int) -> None:
        self.quiet = quiet
        self.after_end = after_end
        self.longest = longest
        self.most = most
        self.lost: int = 0
        self.remembered: int = 0  # studies, instances, and associations of studies
        self.by_last: dict[str, OpenStudy] = {}
        self._by_first: dict[str, OpenStudy] = {}
        self._by_end: dict[str, OpenStudy] = {}
        self._of_association: dict[int, set[str]] = {}

    def add(self, uid: str, one: ReceivedInstance, now: float) -> bool:
        """Count an instance; False when there is no room for its study."""
        study = self.by_last.pop(uid, None)
        if study is None:
            if self.remembered >= self.most:
                self.lost += 1
                return False
            study = self._by_first[uid] = OpenStudy(uid, now, now)
            self.remembered += 1
        study.last = now
        self.by_last[uid] = study
        known = study.instances.pop(one.uid, None)
        if known is None and self.remembered >= self.most:
            study.unlisted += 1
        else:
            study.instances[one.uid] = one
            self.remembered += known is None
        if self.after_end is not None:
            self._follow(study, one.association)
        return True

    def _follow(self, study: OpenStudy, association: int) -> None:
        self._by_end.pop(study.uid, None)
        if association in study.live:
            return
        if self.remembered >= self.most:
            study.unfollowed = True
            return
        self.remembered += 1
        study.live.add(association)
        self._of_association.setdefault(association, set()).add(study.uid)

    def end(self, association: int, now: float) -> None:
        """Take note of the end of an association."""
        for uid in self._of_association.pop(association, ()):
            study = self.by_last[uid]
            study.live.discard(association)
            self.remembered -= 1
            if not study.live and not study.unfollowed:
                study.ended = now
                self._by_end[uid] = study

    def due(self, now: float) -> list[ReceivedStudy]:
        """Give the studies that are complete, and watch them no more."""
        complete = []
        while (found := self._next()) is not None and found[0] <= now:
            complete.append(self.take(*found[1:]))
        return complete

    def when(self) -> float | None:
        """When the next study is complete, unless something comes; None when none is open."""
        found = self._next()
        return None if found is None else found[0]

    def _next(self) -> tuple[float, str, Reason] | None:
        dues: list[tuple[float, str, Reason]] = []
        if (study := next(iter(self.by_last.values()), None)) is not None:
            dues.append((study.last + self.quiet, study.uid, "quiet"))
        if (study := next(iter(self._by_first.values()), None)) is not None:
            dues.append((study.first + self.longest, study.uid, "longest"))
        if (study := next(iter(self._by_end.values()), None)) is not None:
            dues.append((study.ended + (self.after_end or 0.0), study.uid, "ended"))
        return min(dues, default=None)

    def take(self, uid: str, reason: Reason) -> ReceivedStudy:
        """Watch a study no more. What it takes is remembered until its receiver has it."""
        study = self.by_last.pop(uid)
        del self._by_first[uid]
        self._by_end.pop(uid, None)
        for association in study.live:
            others = self._of_association[association]
            others.discard(uid)
            if not others:
                del self._of_association[association]
        self.remembered -= len(study.live)
        return study.so_far(reason)

    def forget(self, study: ReceivedStudy) -> None:
        """Make the room of a study free, which its receiver has."""
        self.remembered -= 1 + len(study.instances)
