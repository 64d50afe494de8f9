"""Packages whose names are loaded when a program asks for them."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["loader"]


def loader(
    package: str, where: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make `__getattr__` and `__dir__` of a package (PEP 562): a module is loaded for its names.

    A package that imported its modules at once would form a circle with them, because each module
    waits for its package; two threads that begin at different ends of a circle get half a module.

    Args:
        package: the name of the package.
        where: the names that each module gives; a module is named relative to the package (".x") or
            in full.

    Returns:
        Both functions. The first raises AttributeError for a name that no module gives. The second
        lists all names, loaded or not: `help()` and completion show what it lists.
    """
    module_of = {name: module for module, names in where.items() for name in names}

    def load(name: str) -> Any:
        if name not in module_of:
            text = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(text, name=name, obj=import_module(package))
        return getattr(import_module(module_of[name], package), name)

    def listed() -> list[str]:
        return sorted({*vars(import_module(package)), *module_of})

    return load, listed
