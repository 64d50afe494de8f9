"""Data sets made of keywords and values, and copies of data sets to add to."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from dimse_rs.callables import described, is_data_set
from dimse_rs.errors import DecodeError

from .quiet import quiet

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["check_data_set", "data_set_of"]


def check_data_set(what: object, other: str = "") -> None:
    """Check that an argument is a data set, or a mapping of keywords.

    Args:
        what: the argument.
        other: further kinds of arguments that are allowed, for the message.

    Raises:
        TypeError: the argument is neither; the message has its type, and no value.
    """
    if not is_data_set(what):
        raise TypeError(f"got {described(what)}; give {other}a data set or a mapping of keywords")


def data_set_of(attributes: Dataset | Mapping[str, Any]) -> Dataset:
    """Make a data set of keywords with values; of a data set, a copy to add to.

    The value of a sequence is a list of items, each a data set or again a mapping.

    Raises:
        DecodeError: a keyword that the data dictionary does not have, or no value for it.
    """
    from .library import Dataset

    check_data_set(attributes)
    if isinstance(attributes, Dataset):
        # Not `Dataset(attributes)`, which has its elements in common with the original, so that
        # setting an attribute would change both. Encoding and character set come along, because
        # values that are not decoded yet are read with them.
        elements = {tag: copy(element) for tag, element in attributes.items()}
        copied = Dataset(elements, parent_encoding=attributes._parent_encoding)
        implicit, little = attributes.original_encoding
        copied.set_original_encoding(implicit, little, attributes.original_character_set)
        return copied
    built = Dataset()
    for keyword, value in attributes.items():
        fault = ""
        value = _items(value)
        try:
            with quiet():
                setattr(built, keyword, value)
        except Exception as error:  # pydicom's text has the value in it
            fault = type(error).__name__
        if fault:
            raise DecodeError(f"{keyword} cannot be a {type(value).__name__} like this: {fault}")
        if keyword not in built:
            raise DecodeError(f"{keyword} is not a keyword of the data dictionary (PS3.6)")
    return built


def _items(value: Any) -> Any:
    """Turn a list of mappings, the items of a sequence, into data sets; other values stay."""
    if isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        return [data_set_of(item) if isinstance(item, Mapping) else item for item in value]
    return value
