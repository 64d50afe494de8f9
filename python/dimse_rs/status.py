"""DIMSE statuses: the value of (0000,0900), its category and its meaning (PS3.7 C, PS3.4).

The tables hold the codes that the standard assigns. Any other code has the category of its range
(PS3.7 C); outside every range it is a failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Never, Self, TypeAlias

__all__ = [
    "ATTRIBUTES_NOT_SUPPORTED",
    "CANCEL",
    "CANNOT_UNDERSTAND",
    "DUPLICATE_SOP_INSTANCE",
    "DUPLICATE_TRANSACTION_UID",
    "INVALID_ARGUMENT_VALUE",
    "INVALID_ATTRIBUTE_VALUE",
    "INVALID_SOP_INSTANCE",
    "MISSING_ATTRIBUTE",
    "MISSING_ATTRIBUTE_VALUE",
    "NOT_AUTHORIZED",
    "NO_SUCH_ACTION_TYPE",
    "NO_SUCH_ARGUMENT",
    "NO_SUCH_ATTRIBUTE",
    "NO_SUCH_EVENT_TYPE",
    "NO_SUCH_SOP_CLASS",
    "NO_SUCH_SOP_INSTANCE",
    "OUT_OF_RESOURCES",
    "PENDING",
    "PENDING_WARNING",
    "PROCESSING_FAILURE",
    "RESOURCE_LIMITATION",
    "SOP_CLASS_NOT_SUPPORTED",
    "SUCCESS",
    "UNRECOGNIZED_OPERATION",
    "Category",
    "Status",
    "is_defined",
]

Category: TypeAlias = Literal["success", "pending", "cancel", "warning", "failure"]

# The same in every service: PS3.7 C.1 to C.5.
_GENERAL: Final[dict[int, str]] = {
    0x0000: "success",
    0x0001: "requested optional attributes are not supported",
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0107: "attribute list error",
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    0x0113: "no such event type",
    0x0114: "no such argument",
    0x0115: "invalid argument value",
    0x0116: "attribute value out of range",
    0x0117: "invalid SOP instance UID",
    0x0118: "no such SOP class",
    0x0119: "class-instance conflict",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    0x0122: "refused: SOP class not supported",
    0x0123: "no such action type",
    0x0124: "refused: not authorized",
    0x0131: "duplicate transaction UID",
    0x0210: "duplicate invocation: message id in use",
    0x0211: "unrecognized operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xFE00: "cancelled",
    0xFF00: "pending",
    0xFF01: "pending: some optional keys are not supported",
}

# (code, mask) -> meaning, the exact code before the range that holds it.
_Table: TypeAlias = tuple[tuple[int, int, str], ...]
_ONE = 0xFFFF
_A7 = _A9 = 0xFF00
_C = 0xF000

_STORAGE: Final[_Table] = (  # PS3.4 B.2.3
    (0xA700, _A7, "refused: out of resources"),
    (0xA900, _A9, "data set does not match SOP class"),
    (0xB000, _ONE, "coercion of data elements"),
    (0xB006, _ONE, "elements discarded"),
    (0xB007, _ONE, "data set does not match SOP class"),
    (0xC000, _C, "cannot understand"),
)
_QUERY: Final[_Table] = (  # PS3.4 C.4, K.4, Y.4, Z.4
    (0xA700, _ONE, "refused: out of resources"),
    (0xA701, _ONE, "refused: out of resources, cannot calculate the number of matches"),
    (0xA702, _ONE, "refused: out of resources, cannot perform sub-operations"),
    (0xA710, _ONE, "invalid prior record key"),
    (0xA801, _ONE, "refused: move destination unknown"),
    (0xA900, _ONE, "identifier does not match SOP class"),
    (0xAA00, _ONE, "none of the requested frames found"),
    (0xAA01, _ONE, "cannot create a new object for this SOP class"),
    (0xAA02, _ONE, "cannot extract frames"),
    (0xAA03, _ONE, "time-based request for an object that is not time-based"),
    (0xAA04, _ONE, "invalid request"),
    (0xB000, _ONE, "sub-operations complete, with failures or warnings"),
    (0xB001, _ONE, "matching stopped, more records are available"),
    (0xC000, _C, "unable to process"),
)
_RELEVANT_PATIENT: Final[_Table] = (  # PS3.4 Q.2
    (0xC100, _ONE, "more than one match"),
    (0xC200, _ONE, "template not supported"),
    *_QUERY,
)
_UPS: Final[_Table] = (  # PS3.4 CC.2
    (0xA700, _ONE, "refused: out of resources"),
    (0xA900, _ONE, "identifier does not match SOP class"),
    (0xB300, _ONE, "the UPS was created with modifications"),
    (0xB301, _ONE, "deletion lock not granted"),
    (0xB304, _ONE, "the UPS is already canceled"),
    (0xB305, _ONE, "coerced invalid values to valid values"),
    (0xB306, _ONE, "the UPS is already completed"),
    (0xC300, _ONE, "the UPS may no longer be updated"),
    (0xC301, _ONE, "the correct transaction UID was not provided"),
    (0xC302, _ONE, "the UPS is already in progress"),
    (0xC303, _ONE, "the UPS becomes scheduled by N-CREATE only"),
    (0xC304, _ONE, "the UPS has not met the final state requirements"),
    (0xC307, _ONE, "no such UPS instance, or it is no longer managed"),
    (0xC308, _ONE, "the receiving AE title is unknown"),
    (0xC309, _ONE, "the state of a new UPS shall be SCHEDULED"),
    (0xC310, _ONE, "the UPS is not in progress"),
    (0xC311, _ONE, "the UPS is already completed"),
    (0xC312, _ONE, "the performer cannot be contacted"),
    (0xC313, _ONE, "the performer chooses not to cancel"),
    (0xC314, _ONE, "the action is not appropriate for this instance"),
    (0xC315, _ONE, "event reports are not supported"),
    (0xC000, _C, "unable to process"),
)
_PRINT: Final[_Table] = (  # PS3.4 H.4
    (0xB600, _ONE, "memory allocation is not supported"),
    (0xB601, _ONE, "film session printing (collation) is not supported"),
    (0xB602, _ONE, "the film session has empty pages"),
    (0xB603, _ONE, "the film box has empty pages"),
    (0xB604, _ONE, "the image has been demagnified"),
    (0xB605, _ONE, "density outside the printer's range"),
    (0xB609, _ONE, "the image has been cropped"),
    (0xB60A, _ONE, "the image has been decimated"),
    (0xC600, _ONE, "the film session has no film box"),
    (0xC601, _ONE, "the print queue is full"),
    (0xC602, _ONE, "the print queue is full"),
    (0xC603, _ONE, "the image is larger than the image box"),
    (0xC605, _ONE, "not enough memory in the printer"),
    (0xC613, _ONE, "the combined image is larger than the image box"),
    (0xC616, _ONE, "the previous film box has not been printed"),
)
_MEDIA_CREATION: Final[_Table] = (  # PS3.4 S.3
    (0xA510, _ONE, "an initiate request was already received"),
    (0xC201, _ONE, "media creation is already completed"),
    (0xC202, _ONE, "media creation is already in progress"),
    (0xC203, _ONE, "cancellation denied"),
)
_EVENT_LOGGING: Final[_Table] = (  # PS3.4 P.2, P.3
    (0xB101, _ONE, "synchronization frame of reference differs from the SCP's"),
    (0xB102, _ONE, "logged under another Study Instance UID"),
    (0xB104, _ONE, "ids inconsistent in matching a current study, logged all the same"),
    (0xC101, _ONE, "procedural logging not available for this Study Instance UID"),
    (0xC102, _ONE, "event information does not match the template"),
    (0xC103, _ONE, "cannot match the event to a current study"),
    (0xC104, _ONE, "ids inconsistent in matching a current study, not logged"),
    (0xC10E, _ONE, "operator not authorized to add the record"),
    (0xC110, _ONE, "patient cannot be identified from the identifiers"),
    (0xC111, _ONE, "update of the medication administration record failed"),
)
_RT_VERIFICATION: Final[_Table] = (  # PS3.4 DD.3
    (0xC112, _ONE, "no such machine verification instance"),
    (0xC221, _ONE, "the referenced fraction group does not exist"),
    (0xC222, _ONE, "the referenced fraction group has no beams"),
    (0xC223, _ONE, "already verifying, cannot process this request now"),
    (0xC224, _ONE, "the referenced beam is not in the referenced fraction group"),
    (0xC225, _ONE, "the referenced device or accessory is not supported"),
    (0xC226, _ONE, "the referenced device or accessory is not in the referenced beam"),
    (0xC227, _ONE, "the referenced RT plan does not exist"),
)
_PROCEDURE_STEP: Final[_Table] = (  # PS3.4 F.7: an Error ID, met as a status too
    (0xA710, _ONE, "the performed procedure step may no longer be updated"),
)
_STORAGE_MANAGEMENT: Final[_Table] = (  # PS3.4 KK.2
    (0xB010, _ONE, "attribute list error"),
)

# Keys: `SOPClass.service`, and the DIMSE-C names for callers that know no more.
_SERVICES: Final[dict[str, _Table]] = {
    "C-FIND": _QUERY,
    "C-GET": _QUERY,
    "C-MOVE": _QUERY,
    "C-STORE": _STORAGE,
    "color-palette": _QUERY,
    "defined-procedure": _QUERY,
    "event-logging": _EVENT_LOGGING,
    "hanging-protocol": _QUERY,
    "implant-template": _QUERY,
    "inventory": _QUERY,
    "media-creation": _MEDIA_CREATION,
    "non-patient-object": _STORAGE,
    "print": _PRINT,
    "procedure-step": _PROCEDURE_STEP,
    "protocol-approval": _QUERY,
    "query-retrieve": _QUERY,
    "relevant-patient": _RELEVANT_PATIENT,
    "rt-verification": _RT_VERIFICATION,
    "storage": _STORAGE,
    "storage-management": _STORAGE_MANAGEMENT,
    "substance-administration": _QUERY,
    "ups": _UPS,
    "worklist": _QUERY,
}

# What a performer may answer beside Success, by service: PS3.7 9.1.x.1 and 10.1.x.1. An x is any
# digit. C-FIND lists 0122 alone there, but PS3.4 (CC.2.8) has it refuse with 0124 as the others do.
_C_COMMON: Final = "0122 0124 0210 0211 0212"
_N_COMMON: Final = "0110 0117 0118 0119 0210 0211 0212 0213"
_OF_OPERATION: Final = {
    "C-ECHO": "0122 0210 0211 0212",
    "C-STORE": f"0117 {_C_COMMON}",
    "C-FIND": f"{_C_COMMON} FE00 FF00",
    "C-GET": f"{_C_COMMON} FE00 FF00",
    "C-MOVE": f"{_C_COMMON} FE00 FF00",
    "N-EVENT-REPORT": f"{_N_COMMON} 0112 0113 0114 0115",
    "N-GET": f"{_N_COMMON} 0107 0112 0124",
    "N-SET": f"{_N_COMMON} 0105 0106 0107 0112 0116 0121 0124",
    "N-ACTION": f"{_N_COMMON} 0112 0114 0115 0123 0124",
    "N-CREATE": f"{_N_COMMON} 0105 0106 0107 0111 0116 0120 0121 0124",
    "N-DELETE": f"{_N_COMMON} 0112 0124",
}
# The same for classes that are not in the table below: private, retired or unknown ones.
_OF_ANY_CLASS: Final = "0001 01xx 02xx Axxx Bxxx Cxxx"

_FIND: Final = "A700 A900 Cxxx FF01"
_GET: Final = "A701 A702 A900 B000 Cxxx"
_RETRIEVAL: Final = {"C-FIND": _FIND, "C-GET": _GET, "C-MOVE": f"A801 {_GET}"}
_FRAMES: Final = "AA00 AA01 AA02 AA03 AA04"

# What a service class adds: `SOPClass.service` -> DIMSE service -> codes. Sources as above.
_OF_CLASS: Final[dict[str, dict[str, str]]] = {
    "color-palette": _RETRIEVAL,
    "defined-procedure": _RETRIEVAL,
    "display-system": {},
    "event-logging": {"N-ACTION": "B101 B102 B104 C101 C102 C103 C104 C10E C110 C111"},
    "hanging-protocol": _RETRIEVAL,
    "implant-template": _RETRIEVAL,
    "instance-availability": {},
    "inventory": _RETRIEVAL,
    "media-creation": {
        "N-CREATE": "A510",
        "N-ACTION": "A510 C201 C202 C203",
        "N-GET": "0001",
    },
    "non-patient-object": {"C-STORE": "A700 A900 C000"},
    "print": {
        "N-CREATE": "B600 B605 C616",
        "N-SET": "B600 B604 B605 B609 B60A C603 C605 C613",
        "N-ACTION": "B601 B602 B603 B604 B609 B60A C600 C601 C602 C603 C613",
    },
    "procedure-step": {"N-GET": "0001"},
    "protocol-approval": _RETRIEVAL,
    "query-retrieve": {
        "C-FIND": f"A710 B001 {_FIND}",
        "C-GET": f"{_GET} {_FRAMES}",
        "C-MOVE": f"A801 {_GET} {_FRAMES}",
    },
    "relevant-patient": {"C-FIND": "A700 A900 C000 C100 C200"},
    "rt-verification": {
        "N-CREATE": "C221 C222 C223 C227",
        "N-SET": "C224 C225 C226",
        "N-GET": "C112",
        "N-ACTION": "C112",
    },
    "storage": {"C-STORE": "A7xx A9xx B000 B006 B007 Cxxx"},
    "storage-commitment": {},
    "storage-management": {"N-ACTION": "B010"},
    "substance-administration": {"C-FIND": _FIND},
    "ups": {
        "C-FIND": _FIND,
        "N-CREATE": "B300 C309",
        "N-GET": "0001 C307",
        "N-SET": "0001 B305 C300 C301 C307 C310",
        "N-ACTION": (
            "B301 B304 B306 C300 C301 C302 C303 C304 C307 C308 C310 C311 C312 C313 C314 C315"
        ),
    },
    "verification": {},
    "worklist": {"C-FIND": _FIND},
}


def is_defined(code: int, operation: str, service: str = "") -> bool:
    """Whether a performer may answer a request with a status.

    Args:
        code: the value of (0000,0900).
        operation: the DIMSE service, such as "C-FIND" or "N-CREATE".
        service: the `SOPClass.service`. For one that has no table, or an empty string, every code
            of the ranges in the standard is allowed.

    Raises:
        KeyError: there is no such DIMSE service.

    Source: PS3.7 9.1, 10.1 and C, and the clause on statuses of each service class in PS3.4.
    """
    allowed = _OF_OPERATION[operation]
    of_class = _OF_CLASS.get(service)
    if of_class is not None:
        allowed = f"{allowed} {of_class.get(operation, '')}"
    else:
        allowed = f"{allowed} {_OF_ANY_CLASS} {'FF01' if operation == 'C-FIND' else ''}"
    digits = f"{int(code):04X}"
    return code == 0x0000 or any(
        len(pattern) == len(digits)
        and all(wanted in ("x", digit) for wanted, digit in zip(pattern, digits, strict=True))
        for pattern in allowed.split()
    )


class Status(int):
    """A DIMSE status: an `int` with a category and a meaning, and without a truth value.

    ``Status(0xA700, "storage").meaning == "refused: out of resources"``.

    Attributes:
        service: whose table gives the meaning: a `SOPClass.service`, a DIMSE-C name such as
            "C-STORE", or an empty string for the codes that all services share.

    Source: PS3.7 C.
    """

    service: str

    def __new__(cls, code: int, service: str = "") -> Self:
        """Check that the code fits (0000,0900) and keep the service."""
        if not isinstance(code, int):
            kind = type(code).__name__
            raise TypeError(f"a status is a number such as 0xA700, not a {kind} (PS3.7 C)")
        if not 0 <= code <= 0xFFFF:
            raise ValueError(f"a status is 0 to 0xFFFF, not {code:#x} (PS3.7 C)")
        self = super().__new__(cls, code)
        self.service = service
        return self

    @property
    def category(self) -> Category:
        """The class of the status, which follows from the value alone, in every service."""
        code = int(self)
        if code == 0x0000:
            return "success"
        if code in (0xFF00, 0xFF01):
            return "pending"
        if code == 0xFE00:
            return "cancel"
        # Most warnings are Bxxx; PS3.7 C.4 has three of DIMSE-N outside of that range.
        if code in (0x0001, 0x0107, 0x0116) or 0xB000 <= code <= 0xBFFF:
            return "warning"
        return "failure"

    @property
    def meaning(self) -> str:
        """The meaning of the code in the standard, in a few words."""
        code = int(self)
        for value, mask, text in _SERVICES.get(self.service, ()):
            if code & mask == value:
                return text
        if code in _GENERAL:
            return _GENERAL[code]
        if 0xB000 <= code <= 0xBFFF:
            return "warning"
        if code >> 12 in (0xA, 0xC) or code >> 8 in (0x01, 0x02):
            return "failure"
        return "failure: not a code of the standard"

    @property
    def is_success(self) -> bool:
        """Whether it is 0x0000: done, without a warning."""
        return int(self) == 0x0000

    @property
    def is_final(self) -> bool:
        """Whether no further response follows this one (PS3.7 Table 7.5-2)."""
        return self.category != "pending"

    def __bool__(self) -> Never:
        """Refuse: Success is 0x0000, so `if status:` would take it for a failure.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"the truth of {self!r} is not defined, Success being 0x0000 (PS3.7 C.1): "
            "write `status == 0` or `status.is_success`"
        )

    def __repr__(self) -> str:
        """Show the code in hex with its meaning."""
        return f"<Status 0x{int(self):04X} {self.category}: {self.meaning}>"

    def __str__(self) -> str:
        """Give the code in hex with its meaning, as logs and tables print it."""
        return f"0x{int(self):04X} ({self.meaning})"

    if not TYPE_CHECKING:  # for checkers there is no such name

        def __getattr__(self, name: str) -> Any:
            """Refuse an element of pynetdicom's status data sets; say what is used here instead."""
            from .hints import refuse

            return refuse(self, "Status", name)

    def __reduce__(self) -> tuple[type[Status], tuple[int, str]]:
        """Pickle with the service."""
        return Status, (int(self), self.service)


SUCCESS: Final = Status(0x0000)
CANCEL: Final = Status(0xFE00)
PENDING: Final = Status(0xFF00)
PENDING_WARNING: Final = Status(0xFF01)

# As the standard calls them: PS3.7 C; the last two are those of storage and query/retrieve, PS3.4.
ATTRIBUTES_NOT_SUPPORTED: Final = Status(0x0001)
NO_SUCH_ATTRIBUTE: Final = Status(0x0105)
INVALID_ATTRIBUTE_VALUE: Final = Status(0x0106)
PROCESSING_FAILURE: Final = Status(0x0110)
DUPLICATE_SOP_INSTANCE: Final = Status(0x0111)
NO_SUCH_SOP_INSTANCE: Final = Status(0x0112)
NO_SUCH_EVENT_TYPE: Final = Status(0x0113)
NO_SUCH_ARGUMENT: Final = Status(0x0114)
INVALID_ARGUMENT_VALUE: Final = Status(0x0115)
INVALID_SOP_INSTANCE: Final = Status(0x0117)
NO_SUCH_SOP_CLASS: Final = Status(0x0118)
MISSING_ATTRIBUTE: Final = Status(0x0120)
MISSING_ATTRIBUTE_VALUE: Final = Status(0x0121)
SOP_CLASS_NOT_SUPPORTED: Final = Status(0x0122)
NO_SUCH_ACTION_TYPE: Final = Status(0x0123)
NOT_AUTHORIZED: Final = Status(0x0124)
DUPLICATE_TRANSACTION_UID: Final = Status(0x0131)
UNRECOGNIZED_OPERATION: Final = Status(0x0211)
RESOURCE_LIMITATION: Final = Status(0x0213)
OUT_OF_RESOURCES: Final = Status(0xA700)
CANNOT_UNDERSTAND: Final = Status(0xC000)
