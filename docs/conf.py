"""How Sphinx builds these pages: `make docs`, offline, every warning an error."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_tables"), str(HERE.parent)]

import dimse_rs  # noqa: E402

project = "dimse_rs"
author = "dimse_rs developers"
copyright = author
version = release = dimse_rs.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"dimse_rs {release}"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nitpicky = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Docstrings say in prose what is returned: no type before a colon, which the signature has already.
napoleon_custom_sections = [
    "Returns",
    "Yields",
    "Source",
    ("Admission", "params_style"),
    ("Services", "params_style"),
    ("Destinations", "params_style"),
    ("Concurrency", "params_style"),
]
napoleon_use_ivar = True
default_role = "code"  # the backticks of docstrings
