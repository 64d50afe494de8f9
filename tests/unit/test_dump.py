"""PDUs and messages as the log shows them."""

from __future__ import annotations

from dimse_rs.observe._dump import message_text, pdu_text

CT = "1.2.840.10008.5.1.4.1.1.2"


def test_every_item_of_a_proposal_has_its_line():
    items = {
        "called": "SCP",
        "calling": "SCU",
        "application_context": "1.2.840.10008.3.1.1.1",
        "max_length": 16384,
        "implementation_class": "1.2.3",
        "implementation_version": "V1",
        "window": (8, 1),
        "contexts": [{"id": 1, "class": CT, "syntaxes": ["1.2.840.10008.1.2", "9.9"]}],
        "roles": [(CT, True, True), ("1.2.9", False, False)],
        "extended": [(CT, "01 00")],
        "common": [("1.2.9", "1.2.840.10008.4.2", [CT])],
        "identity": (2, True),
    }
    text = pdu_text({"type": "A-ASSOCIATE-RQ", "length": 300, "items": items})
    assert text.splitlines() == [
        "A-ASSOCIATE-RQ, 300 bytes",
        "  Called AE Title:         SCP",
        "  Calling AE Title:        SCU",
        "  Application Context:     1.2.840.10008.3.1.1.1",
        "  Maximum Length:          16384",
        "  Implementation Class:    1.2.3",
        "  Implementation Version:  V1",
        "  Asynchronous Window:     8 invoked, 1 performed",
        "  Presentation Contexts:",
        f"      1 CT Image Storage ({CT})",
        "        Implicit VR Little Endian (1.2.840.10008.1.2)",
        "        9.9",
        f"  Role:                    SCU and SCP of CT Image Storage ({CT})",
        "  Role:                    none of 1.2.9",
        f"  Extended Negotiation:    01 00 for CT Image Storage ({CT})",
        "  Common Extended:         1.2.9 of service 1.2.840.10008.4.2,"
        f" related to CT Image Storage ({CT})",
        "  User Identity:           username and passcode, response requested",
    ]


def test_an_answer_shows_results_and_only_syntaxes_that_count():
    items = {
        "called": "",
        "calling": "",
        "contexts": [
            {"id": 1, "class": CT, "syntaxes": ["1.2.840.10008.1.2"], "result": "acceptance"},
            {"id": 3, "class": "1.2.9", "syntaxes": ["9.9"], "result": "user-rejection"},
        ],
        "identity_response": True,
    }
    lines = pdu_text({"type": "A-ASSOCIATE-AC", "length": 1, "items": items}).splitlines()
    assert lines[3:] == [
        "  Application Context:     none",
        "  Maximum Length:          not said",
        "  Implementation Class:    not said",
        "  Implementation Version:  not said",
        "  Presentation Contexts:",
        f"      1 CT Image Storage ({CT}): acceptance",
        "        Implicit VR Little Endian (1.2.840.10008.1.2)",
        "      3 1.2.9: user-rejection",
        "  User Identity:           response",
    ]


def test_an_abort_and_a_pdu_that_says_nothing():
    text = pdu_text({"type": "A-ABORT", "length": 4, "items": {"source": 2, "reason": 1}})
    assert [line.split() for line in text.splitlines()[1:]] == [["Source:", "2"], ["Reason:", "1"]]
    assert pdu_text({"type": "P-DATA-TF", "length": 74}) == "P-DATA-TF, 74 bytes"


def test_a_message_is_its_command_set():
    command = {"CommandField": 1, "AffectedSOPClassUID": CT, "Status": 0xA700}
    facts = {"type": "C-STORE-RSP", "context": 5, "bytes": 12, "command": command}
    assert [line.split(":", 1) for line in message_text(facts).splitlines()] == [
        ["C-STORE-RSP in context 5, data set of 12 bytes"],
        ["  AffectedSOPClassUID", " " * 22 + f"CT Image Storage ({CT})"],
        ["  Status", " " * 35 + "0xA700"],
    ]
