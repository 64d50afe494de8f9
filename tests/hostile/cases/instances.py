"""E: instances."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.hostile.cases.messages import established
from tests.support.script import Accepted, Alive, Answered, Case, Repeat, Step, case
from tests.support.wire import (
    APPLICATION_CONTEXT,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    SECONDARY_CAPTURE,
    as_commands,
    as_data,
    associate_rq,
    context,
    data_element,
    data_set,
    item,
    store_rq,
    user_information,
)

BAD_UIDS = {
    "parent": b"../x",
    "absolute": b"/etc/passwd",
    "two dots": b"..",
    "dot": b".",
    "empty": b"",
    "65 long": b"1." + b"2" * 63,
    "NUL inside": b"1.2\0.3",
    "device name": b"con",
    "colon": b"a:b",
    "255 long": b"1." + b"3" * 253,
    "empty component": b"1..2",
    "not ASCII": b"1.2.\xff",
}


def instances(called: bytes) -> Iterator[Case]:
    """E: instances."""
    begin = established(called)

    def store(announced: bytes, bytes_: bytes) -> bytes:
        return as_commands(3, store_rq(announced)) + as_data(3, bytes_)

    def refused(
        id_: str, what: str, status: int, *tries: bytes, needs: tuple[str, ...] = ()
    ) -> Case:
        scripts = [(*begin, one, Answered(status, context=3), Alive()) for one in tries]
        return case(id_, what, scripts=scripts, code="refused", needs=needs)

    for name, uid in BAD_UIDS.items():
        yield refused(f"E01-{name}", "names no UID", 0x0117, store(uid, data_set(uid)))
        yield refused(
            f"E02-{name}", "hides it in the data set", 0xA900, store(b"1.2.1", data_set(uid))
        )
    yield refused(
        "E02-differ", "means another instance", 0xA900, store(b"1.2.2", data_set(b"1.2.3"))
    )
    yield refused(
        "E03",
        "has a hostile Study or Series Instance UID",
        0xC000,
        *(store(b"1.3.1", data_set(b"1.3.1", study=uid)) for uid in (b"..", b"../x", b"/x", b"")),
        *(store(b"1.3.1", data_set(b"1.3.1", series=uid)) for uid in (b"..", b"../x", b"/x", b"")),
        needs=("study",),
    )
    yield refused(
        "E05",
        "has another class inside",
        0xA900,
        store(b"1.5.1", data_set(b"1.5.1", sop_class=b"1.2.3")),
    )
    without = data_set(b"1.6.1").replace(data_element(8, 0x18, b"UI", b"1.6.1"), b"")
    yield refused("E06", "has no SOP Instance UID inside", 0xC000, store(b"1.6.1", without))
    whole = data_set(b"1.6.2")
    yield refused(
        "E06-study",
        "has no Study or Series Instance UID",
        0xC000,
        store(b"1.6.2", whole.replace(data_element(0x20, 0x0D, b"UI", b"1.2.3.10"), b"")),
        store(b"1.6.2", whole.replace(data_element(0x20, 0x0E, b"UI", b"1.2.3.11"), b"")),
        needs=("study",),
    )
    meta = data_element(0x0002, 0x0010, b"UI", EXPLICIT)
    yield refused(
        "E07",
        "is a file, or begins like one",
        0xC000,
        store(b"1.7.7", bytes(128) + b"DICM" + meta + data_set(b"1.7.7")),
        store(b"1.7.7", data_element(2, 1, b"OB", b"\0\1") + meta + data_set(b"1.7.7")),
        store(b"1.7.7", data_element(2, 0x10, b"UI", IMPLICIT) + data_set(b"1.7.7")),
    )
    names = [b"../../x", b"a\nb\x1b[2J", b"x" * 60_000, b"\xff\xfe\x80", b"$(reboot)`;|"]
    uids = [b"1.8.%d" % (100 + index) for index in range(len(names))]
    patients = {uid: data_set(uid, patient=name) for uid, name in zip(uids, names, strict=True)}
    yield case(
        "E08",
        "has a hostile patient",
        scripts=[
            (*begin, store(uid, bytes_), Answered(0, context=3), Alive())
            for uid, bytes_ in patients.items()
        ],
        stores=patients,
    )
    yield refused(
        "E09",
        "has an element longer than its data set",
        0xC000,
        *(
            store(
                b"1.9.1",
                data_set(b"1.9.1", data_element(0x7FE0, 0x10, b"OW", b"12", length=length)),
            )
            for length in (4, 0xFFFFFFF0, 0xFFFFFFFE)
        ),
    )
    yield refused(
        "E10",
        "has an undefined length where there is none",
        0xC000,
        *(
            store(
                b"1.10.1",
                data_set(b"1.10.1", data_element(0x0040, 0xA123, vr, b"", length=0xFFFFFFFF)),
            )
            for vr in (b"UT", b"OW")
        ),
    )
    begins = data_element(0x0040, 0xA730, b"SQ", b"", length=0xFFFFFFFF)
    begins += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    ends = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    nested = data_set(b"1.11.64", begins * 64 + ends * 64)
    yield case(
        "E11",
        "nests 64 sequences",
        *begin,
        store(b"1.11.64", nested),
        Answered(0, context=3),
        Alive(),
        stores={b"1.11.64": nested},
    )
    yield refused(
        "E11-deep",
        "nests 65, 1,000, 100,000 sequences",
        0xC000,
        *(
            store(b"1.11.1", data_set(b"1.11.1", begins * depth + ends * depth))
            for depth in (65, 1_000, 100_000)
        ),
    )
    yield from encodings(called)
    yield refused("E17", "is empty", 0xC000, store(b"1.17.7", b""))
    yield enormous(called)


def encodings(called: bytes) -> Iterator[Case]:
    """E12-E16: data sets that are big in number, odd, or not in the syntax they should be in."""
    plain = established(called)
    request = associate_rq(
        called,
        item(0x10, APPLICATION_CONTEXT),
        context(1),
        context(3, SECONDARY_CAPTURE, [JPEG]),
        user_information(),
    )
    jpeg: tuple[Step, Step] = request, Accepted(((1, 0), (3, 0)))

    def stored(
        id_: str, what: str, *data_sets: bytes, begin: tuple[Step, Step] = plain, status: int = 0
    ) -> Case:
        """Each of them; uids are numbered."""
        uids = [b"1.%s.%d" % (id_[1:].encode(), 1 + index) for index in range(len(data_sets))]
        whole = {uid: data_set(uid) + more for uid, more in zip(uids, data_sets, strict=True)}
        return case(
            id_,
            what,
            scripts=[
                (
                    *begin,
                    as_commands(3, store_rq(uid)) + as_data(3, bytes_),
                    Answered(status, context=3),
                    Alive(),
                )
                for uid, bytes_ in whole.items()
            ],
            code="refused" if status else "",
            stores={} if status else whole,
            memory=24 << 20,
        )

    # Private groups, full of empty elements.
    group = b"".join(struct.pack("<HH2sH", 0, at, b"LO", 0) for at in range(1 << 16))
    tiny = bytearray()
    for number in range(0x41, 0x61, 2):
        group_ = bytearray(group)
        group_[0::8] = bytes([number]) * (1 << 16)
        tiny += group_
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 100_000
    sequence = data_element(0x0040, 0xA730, b"SQ", items)
    yield stored("E12", "has a million elements, or 100,000 empty items", bytes(tiny), sequence)
    odd = struct.pack("<HH2sH", 0x0040, 0xA123, b"PN", 3) + b"Odd"
    odd += struct.pack("<HH2sH", 0x0040, 0xA124, b"UI", 3) + b"1.2"
    yield stored("E13", "has values of odd lengths", odd)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    table = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    fragment = struct.pack("<HHI", 0xFFFE, 0xE000, 2) + b"\xff\xd8"
    end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    yield stored(
        "E14", "has a million fragments", pixels + table + fragment * 1_000_000 + end, begin=jpeg
    )
    yield stored(
        "E14.2",
        "has fragments without an end, or longer than what is left",
        pixels + table + fragment,
        pixels,
        pixels + table + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFE) + b"\xff\xd8",
        begin=jpeg,
        status=0xC000,
    )
    implicit = struct.pack("<HHI", 0x0040, 0xA123, 6) + b"Nobody"
    yield stored("E15", "turns to Implicit VR in the middle", implicit, status=0xC000)
    short = struct.pack("<HH2sH", 0x0041, 0x1001, b"ZZ", 4) + b"what"
    long = struct.pack("<HH2sHI", 0x0041, 0x1001, b"ZZ", 0, 4) + b"what"
    yield stored("E16", "has an unknown VR", short, long)
    neither = struct.pack("<HH2sHI", 0x0041, 0x1001, b"ZZ", 9, 99) + b"what"
    yield stored("E16.2", "has an unknown VR of a wrong length", neither, status=0xC000)


def enormous(called: bytes) -> Case:
    """E18: the longest element there is, and more behind it: over 4 GiB."""
    longest = 0xFFFFFFFE
    tail = data_element(0x7FE1, 0x0010, b"OB", bytes(1000))
    head = data_set(b"1.18.18", data_element(0x7FE0, 0x0010, b"OB", b"", length=longest))
    times, rest = divmod(longest, 130_000)
    return case(
        "E18",
        "is longer than 4 GiB",
        *established(called),
        as_commands(3, store_rq(b"1.18.18")) + as_data(3, head, last=False),
        Repeat(as_data(3, bytes(130_000), step=130_000, last=False), times),
        as_data(3, bytes(rest) + tail),
        Answered(0, context=3),
        Alive(),
        stores={b"1.18.18": b""},
        needs={"enormous"},
        slow=True,
        memory=24 << 20,
    )
