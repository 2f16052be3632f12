"""Damage to files, drawn by hypothesis."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

ODD_NUMBERS = [
    struct.pack(form, number)
    for form, numbers in (
        ("<i", (0, 1, -1, 0x7FFFFFFF, -0x80000000, 0x10000, 0x40000000)),
        ("<h", (0, -1, 0x7FFF, -0x8000, 0x100)),
        ("<q", (-1, 0x7FFFFFFFFFFFFFFF, 1 << 40)),
        ("<f", (float("inf"), float("-inf"), float("nan"), 1e38, -0.0)),
    )
    for number in numbers
]
"""Numbers that parsers often mishandle."""


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes], *, most: int = 12) -> bytes:
    """One of some files, with bytes changed, deleted or duplicated, or the end cut off."""
    content = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, most))):
        # Headers hold the structure: half of the damage is done there.
        last = max(0, len(content) - 1)
        place = draw(st.integers(0, min(last, 600)) | st.integers(0, last))
        match draw(st.sampled_from(["byte", "number", "cut", "double", "end", "bit"])):
            case "byte":
                content[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case "bit":
                if content:
                    content[place] ^= 1 << draw(st.integers(0, 7))
            case "number":
                number = draw(st.sampled_from(ODD_NUMBERS))
                content[place : place + len(number)] = number
            case "cut":
                del content[place : place + draw(st.integers(1, 64))]
            case "double":
                piece = content[place : place + draw(st.integers(1, 64))]
                content[place:place] = piece
            case _:
                del content[place:]
    return bytes(content)
