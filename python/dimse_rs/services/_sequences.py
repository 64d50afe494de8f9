"""The items of a sequence that a peer sent, which need be none: Explicit VR names any VR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dimse_rs import StatusError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["items_of"]


def items_of(dataset: Dataset, keyword: str, status: int) -> list[Dataset]:
    """Give the items of a sequence; none when the sequence is absent or empty.

    Args:
        dataset: what the peer sent, decoded.
        keyword: of the sequence.
        status: for a peer that sent another VR in its place.

    Raises:
        StatusError: the element is no sequence.
    """
    if keyword not in dataset:
        return []
    element = dataset[keyword]
    if element.VR != "SQ":
        raise StatusError(status, f"{keyword} is no sequence, its VR is {element.VR}")
    return list(element.value or ())
