"""The programs of the page on access run as written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from dimse_rs import load_allow

PAGE = Path(__file__).parents[2] / "docs" / "access.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def test_its_programs_run_and_tell_what_happened(tmp_path):
    program = "".join(blocks("python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        cwd=tmp_path,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    texts = done.stdout.split("<?xml ")[1:]
    messages = [ElementTree.fromstring(f"<?xml {text}") for text in texts]
    types = [message.find("EventIdentification/EventTypeCode") for message in messages]
    assert [code.get("originalText") for code in types] == ["Application Start", "Application Stop"]


def test_its_file_can_be_read(tmp_path):
    [text] = blocks("toml")
    file = tmp_path / "allow.toml"
    file.write_text(text)
    scanners, reports = load_allow(file)
    assert scanners.services == ("C-ECHO", "C-STORE")
    assert reports.certificate is not None
