"""Value types and descriptions of a recipe's keys."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Count = Annotated[int, Meta(ge=1)]
CountOrNone = Annotated[int, Meta(ge=0)]
Span = tuple[float, float]


def about(text: str) -> Meta:
    """The description of a key in docs/recipe.md."""
    return Meta(description=text)


def check_spans(settings: Struct) -> None:
    """Check that the lower number of each pair comes first.

    Raises:
        ValueError: It does not.
    """
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, tuple) and len(value) == 2 and value[0] > value[1]:
            raise ValueError(
                f"{name} is [{value[0]:g}, {value[1]:g}]: the lower number comes first"
            )
