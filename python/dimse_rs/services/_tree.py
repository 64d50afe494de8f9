"""The patients, studies, series and instances of an index, and how they change.

Nothing here locks: `Index` holds its lock while a change or a look-up lasts.

What holds between two changes:

- A patient, study or series exists as long as there is an instance below it.
- `children` of a series are in the order in which the instances were added; an instance that comes
  again is added anew, and is then the last. `newest` of every node is the instance with the highest
  `number` below it.
- A study belongs to the patient that its newest instance names. Another newest instance may move
  the study, with all its series, to another patient, and may leave the former patient empty.
- `series` and `instances` of a patient are the sums over its studies, and `tallies` of a study
  count its series by modality and its instances by SOP class. Each change brings the counts up to
  date, because counting for each match would cost the size of the study.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final, cast

from ._headers import Header, common_text, shared, text_of
from .hierarchy import UNIQUE_KEYS

if TYPE_CHECKING:
    from dimse_rs.datasets import Decoder

__all__ = ["IMAGE", "MODALITY", "PATIENT", "SERIES", "SOP_CLASS", "STUDY"]
__all__ += ["Instance", "Node", "Study", "Tree", "named"]

_ISSUER: Final = 0x00100021
MODALITY: Final = 0x00080060
SOP_CLASS: Final = 0x00080016

PATIENT, STUDY, SERIES, IMAGE = range(4)
"""Depths of the levels."""


class Instance:
    """An instance: its file, and what it says, by level.

    Attributes:
        above: its series.
        name: its SOP Instance UID.
        path: of its file, without a `Path` around it: an index has many instances.
        decoder: of its headers; None when they are pydicom's elements.
        number: its place in the order in which instances were added.
    """

    __slots__ = ("_own", "_upper", "above", "decoder", "name", "number", "path")

    above: Node

    def __init__(
        self, name: str, path: str, headers: tuple[Header, ...], decoder: Decoder | None = None
    ) -> None:
        """Keep what the instance says; it has no place in a tree yet."""
        self.name = name
        self.path = path
        # Most instances of a series have the three upper levels in common, as one object.
        *upper, self._own = headers
        self._upper = tuple(upper)
        self.decoder = decoder
        self.number = 0

    @property
    def headers(self) -> tuple[Header, ...]:
        """What it says, from the level PATIENT down."""
        return (*self._upper, self._own)

    def header(self, depth: int) -> Header:
        """Give what it says at a level."""
        return self._own if depth == IMAGE else self._upper[depth]

    def share(self, like: Instance) -> None:
        """Take over what another instance says as well: once in memory is enough."""
        if self.decoder is not like.decoder:
            return  # the same bytes may be another text
        if self._upper == like._upper and self.decoder is not None:
            self._upper = like._upper
            return
        self._upper = tuple(map(shared, self._upper, like._upper))
        self._own = shared(self._own, like._own)

    @property
    def newest(self) -> Instance:
        """Itself: an instance is a node without children to those that look for the newest."""
        return self

    def text(self, depth: int, tag: int) -> str:
        """Give the value of a key as text; empty when the instance does not say it."""
        header = self.header(depth)
        if depth < IMAGE and isinstance(header, bytes):
            return common_text(header, tag, self.decoder)
        return text_of(header, tag, self.decoder)

    @property
    def patient(self) -> tuple[str, str]:
        """What names its patient: ID and issuer, or no ID and the study."""
        patient_id = self.text(PATIENT, UNIQUE_KEYS["PATIENT"])
        if not patient_id:
            return "", self.text(STUDY, UNIQUE_KEYS["STUDY"])
        return patient_id, self.text(PATIENT, _ISSUER)


class Node:
    """A patient, study or series.

    Attributes:
        above: the patient of a study, the study of a series.
        newest: the last instance that was added below it.
        series: how many there are in a patient.
        instances: how many there are in a patient or study.
    """

    __slots__ = ("above", "children", "instances", "name", "newest", "series")

    above: Node
    newest: Instance

    def __init__(self, name: Any) -> None:
        """Start without children."""
        self.name = name
        self.children: dict[str, Any] = {}
        self.series = 0
        self.instances = 0


class Study(Node):
    """A study, and how often its series and instances have each modality and SOP class.

    Attributes:
        tallies: by tag, how often each value occurs.
        lists: by tag, the sorted values, once a search has asked for them.
    """

    __slots__ = ("lists", "tallies")

    def __init__(self, name: str) -> None:
        """Start without children."""
        super().__init__(name)
        self.tallies: dict[int, dict[str, int]] = {MODALITY: {}, SOP_CLASS: {}}
        # A change puts another dictionary here and leaves the former one alone. A search that makes
        # a list puts it into the dictionary that it looked into: if a change came in between, no
        # later search sees the outdated list.
        self.lists: dict[int, list[str]] = {}

    def tally(self, tag: int, text: str, change: int) -> None:
        """Count a value once more, or once less."""
        if not text:
            return
        tally = self.tallies[tag]
        before = tally.get(text, 0)
        tally[text] = before + change
        if not tally[text]:
            del tally[text]
        if not before or text not in tally:
            self.lists = {}


class Tree:
    """Patients by ID and by issuer or study, studies by UID, instances by file.

    Attributes:
        patients: by Patient ID, then by issuer; without an ID by the study.
        studies: by Study Instance UID.
        files: the instance of each file.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.patients: dict[str, dict[str, Node]] = {}
        self.studies: dict[str, Study] = {}
        self.files: dict[str, Instance] = {}
        self._number = 0

    # ---- changes

    def like(self, study: str, series: str, instance: Instance) -> Instance | None:
        """Find an instance that probably says the same about its series, study or patient."""
        known = self.studies.get(study)
        if known is not None:
            node: Node = known.children.get(series, known)
            return node.newest
        patient_id, issuer = instance.patient
        patient = self.patients.get(patient_id, {}).get(issuer)
        return None if patient is None else patient.newest

    def put(self, instance: Instance, study_name: str, series_name: str) -> None:
        """Add an instance as the newest, in place of one with the same UIDs."""
        study = self.studies.get(study_name)
        if study is None:
            study = self.studies[study_name] = Study(study_name)
        else:
            self._uncount(study)
        series = study.children.get(series_name)
        if series is None:
            series = study.children[series_name] = Node(series_name)
            series.above = study
        else:
            study.tally(MODALITY, series.newest.text(SERIES, MODALITY), -1)
        # Taken out first: assigning to a key that is there would keep its place in the order.
        replaced = series.children.pop(instance.name, None)
        if replaced is not None:
            study.instances -= 1
            study.tally(SOP_CLASS, replaced.text(IMAGE, SOP_CLASS), -1)
            del self.files[replaced.path]
        self._number += 1
        instance.number = self._number
        instance.above = series
        series.children[instance.name] = self.files[instance.path] = instance
        series.newest = study.newest = instance
        study.instances += 1
        study.tally(SOP_CLASS, instance.text(IMAGE, SOP_CLASS), 1)
        study.tally(MODALITY, instance.text(SERIES, MODALITY), 1)
        self._belong(study)

    def remove(self, path: str) -> bool:
        """Remove the instance of a file, and what is empty without it; whether there was one."""
        instance = self.files.pop(path, None)
        if instance is None:
            return False
        series = instance.above
        study = cast("Study", series.above)
        self._uncount(study)
        study.instances -= 1
        study.tally(SOP_CLASS, instance.text(IMAGE, SOP_CLASS), -1)
        study.tally(MODALITY, series.newest.text(SERIES, MODALITY), -1)
        del series.children[instance.name]
        if series.children:
            series.newest = next(reversed(series.children.values()))
            study.tally(MODALITY, series.newest.text(SERIES, MODALITY), 1)
        else:
            del study.children[series.name]
        if study.children:
            if study.newest is instance:
                study.newest = _newest(study)
            self._belong(study)
        else:
            del self.studies[study.name]
            self._depart(study)
        return True

    @staticmethod
    def _uncount(study: Study) -> None:
        """Take a study out of the sums of its patient; `_belong` adds it again as it is then."""
        patient = study.above
        patient.series -= len(study.children)
        patient.instances -= study.instances

    def _belong(self, study: Study) -> None:
        """Give a study that has changed to the patient that its newest instance names."""
        patient_id, issuer = study.newest.patient
        of_id = self.patients.setdefault(patient_id, {})
        patient = of_id.get(issuer)
        if patient is None:
            patient = of_id[issuer] = Node((patient_id, issuer))
        before: Node | None = getattr(study, "above", None)
        if before is not patient:
            patient.children[study.name] = study
            study.above, departed = patient, before
            if departed is not None:
                self._depart(study, departed)
        patient.series += len(study.children)
        patient.instances += study.instances
        self._choose(patient, study)

    def _depart(self, study: Study, patient: Node | None = None) -> None:
        """Take a study from a patient, and the patient away when it was the last study."""
        patient = study.above if patient is None else patient
        del patient.children[study.name]
        if patient.children:
            self._choose(patient, study)
            return
        patient_id, issuer = patient.name
        del self.patients[patient_id][issuer]
        if not self.patients[patient_id]:
            del self.patients[patient_id]

    @staticmethod
    def _choose(patient: Node, study: Study) -> None:
        """Choose the newest instance of a patient again, after one of the studies has changed.

        Only when the newest instance was in that study, and is no longer the newest there or no
        longer there, do all studies of the patient have to be looked at.
        """
        newest: Instance | None = getattr(patient, "newest", None)
        belongs = study.name in patient.children
        if newest is None or (belongs and study.newest.number >= newest.number):
            patient.newest = study.newest
        elif newest.above.above is study:
            patient.newest = _newest(patient)

    # ---- looking things up

    def patients_of(self, ids: Collection[str] | None, issuer: str) -> list[Node]:
        """List the patients with one of these IDs, of an issuer where that is named."""
        groups = self.patients.values() if ids is None else named(self.patients, ids)
        patients = [patient for group in groups for patient in group.values()]
        return [p for p in patients if _is_of(p, issuer)] if issuer else patients

    def studies_of(
        self, names: Collection[str] | None, ids: Collection[str] | None, issuer: str
    ) -> list[Study]:
        """List the studies with one of these UIDs, of patients with one of these IDs.

        The walk begins at the end that has less in it: a list of UIDs may have 64,000 of them, and
        a patient may have few studies, or all.
        """
        if ids is None:
            return named(self.studies, names)
        patients = self.patients_of(ids, issuer)
        if names is None or len(names) > sum(len(p.children) for p in patients):
            return [study for p in patients for study in named(p.children, names)]
        studies = named(self.studies, names)
        return [s for s in studies if s.above.name[0] in ids and _is_of(s.above, issuer)]


def named(children: dict[str, Any], names: Collection[str] | None) -> list[Any]:
    """List the children that have one of these names, at the cost of the shorter of both lists."""
    if names is None:
        return list(children.values())
    if len(names) < len(children):
        return [children[name] for name in names if name in children]
    return [child for name, child in children.items() if name in names]


def _newest(node: Node) -> Instance:
    newest: Instance = max(
        (child.newest for child in node.children.values()), key=lambda instance: instance.number
    )
    return newest


def _is_of(patient: Node, issuer: str) -> bool:
    """Whether an issuer that was named may have given the patient the ID."""
    patient_id, of = patient.name
    return not issuer or not patient_id or of in ("", issuer)
