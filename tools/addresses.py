"""Writes the address of the repository into a copy of the sources, for the page of a package index.

That page has no folder beside it: links of the README become absolute, and the project has URLs.

usage: addresses.py FOLDER URL
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main() -> None:
    """Change README.md and pyproject.toml of the folder."""
    folder, url = Path(sys.argv[1]), sys.argv[2].rstrip("/")
    readme = folder / "README.md"
    text, links = re.subn(
        r"\]\((?!https?:|#)([^)]+)\)", rf"]({url}/blob/main/\1)", readme.read_text()
    )
    readme.write_text(text)
    project = folder / "pyproject.toml"
    urls = {
        "Repository": url,
        "Documentation": f"{url}/tree/main/docs",
        "Changelog": f"{url}/blob/main/CHANGELOG.md",
        "Issues": f"{url}/issues",
        "Security": f"{url}/blob/main/SECURITY.md",
    }
    table = "[project.urls]\n" + "".join(f'{name} = "{where}"\n' for name, where in urls.items())
    project.write_text(
        project.read_text().replace("[project.scripts]\n", f"{table}\n[project.scripts]\n", 1)
    )
    print(f"{links} links of the README are absolute, {len(urls)} addresses of the project")


if __name__ == "__main__":
    main()
