"""Which fonts and which language a figure can use on this machine, so that no character ever shows as an empty box.

For the figures of every task; what is drawn, and its words, are in the task's own ``figures``.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlops_assets.request.vocabulary import Language

#: Fonts with Japanese characters, as Linux, macOS and Windows install them.
CJK_FAMILIES = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "Source Han Sans JP",
    "IPAexGothic",
    "IPAGothic",
    "TakaoPGothic",
    "VL PGothic",
    "Hiragino Sans",
    "Hiragino Kaku Gothic ProN",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
)
LATIN_FAMILY = "DejaVu Sans"  # ships with matplotlib
LONGEST_NAME = 28


@dataclass(frozen=True)
class Lettering:
    """The language that can be shown, the font families in order, and the characters that they cover."""

    language: Language
    families: tuple[str, ...]
    covered: frozenset[int]

    def printable(self, name: str, substitute: str) -> str:
        """``name`` on one line and shortened; ``substitute`` where a character of it has no glyph on this machine."""
        line = " ".join(name.split())
        if not line or any(ord(character) not in self.covered for character in line):
            return substitute
        return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 9]}...{line[-6:]}"


def lettering_for(language: Language) -> Lettering:
    """Fonts for ``language``; English where the machine has no font for it."""
    from matplotlib import font_manager

    installed = {
        entry.name: entry.fname for entry in font_manager.fontManager.ttflist if entry.weight in (400, "normal", "regular")
    }
    families = [LATIN_FAMILY]
    japanese = next((family for family in CJK_FAMILIES if family in installed), None)
    if japanese is not None:
        families.insert(0 if language == "ja" else 1, japanese)
    covered: set[int] = set()
    for family in families:
        covered.update(font_manager.get_font(installed[family]).get_charmap())
    shown: Language = language if language == "en" or japanese is not None else "en"
    return Lettering(shown, tuple(families), frozenset(covered))
