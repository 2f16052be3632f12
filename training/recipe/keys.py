"""Value types and descriptions of a recipe's keys."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Count = Annotated[int, Meta(ge=1)]
CountOrNone = Annotated[int, Meta(ge=0)]
Span = tuple[float, float]


def about(text: str) -> Meta:
    """The description of a key in docs/recipe.md."""
    return Meta(description=text)
