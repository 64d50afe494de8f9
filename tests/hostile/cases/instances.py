"""E: instances."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from tests.hostile.cases.messages import established
from tests.hostile.runner import (
    Alive,
    Answered,
    Case,
    case,
)
from tests.hostile.wire import (
    EXPLICIT,
    as_commands,
    as_data,
    data_element,
    data_set,
    store_rq,
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

    def store(announced: bytes, bytes_: bytes, **more: bytes) -> bytes:
        return as_commands(3, store_rq(announced, **more)) + as_data(3, bytes_)

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
    meta = data_element(0x0002, 0x0010, b"UI", EXPLICIT)
    yield refused(
        "E07",
        "is a file, or begins like one",
        0xC000,
        store(b"1.7.7", bytes(128) + b"DICM" + meta + data_set(b"1.7.7")),
        store(b"1.7.7", meta + data_set(b"1.7.7")),
    )
    names = [b"../../x", b"a\nb\x1b[2J", b"x" * 60_000, b"\xff\xfe\x80", b"$(reboot)`;|"]
    yield case(
        "E08",
        "has a hostile patient",
        scripts=[
            (
                *begin,
                store(
                    b"1.8.%d" % (100 + index),
                    data_set(b"1.8.%d" % (100 + index), data_element(0x0040, 0xA123, b"PN", name)),
                ),
                Answered(0, context=3),
                Alive(),
            )
            for index, name in enumerate(names)
        ],
        stores=[b"1.8.%d" % (100 + index) for index in range(len(names))],
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
    nested = b"".join(
        data_element(0x0040, 0xA730, b"SQ", b"", length=0xFFFFFFFF)
        + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        for _ in range(2_000)
    )
    yield refused(
        "E11", "nests 2,000 sequences", 0xC000, store(b"1.11.1", data_set(b"1.11.1", nested))
    )
    yield refused("E17", "is empty", 0xC000, store(b"1.17.7", b""))
