"""Where the real data sets and examples are, which are no part of the project; a test that needs what is absent is skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

#: ``MLOPS_SHARED_DATA``, else the folder ``shared`` beside the checkout.
SHARED = Path(os.environ.get("MLOPS_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared")


def at_hand(*parts: str) -> Path:
    """A file or folder of the real data; skips the test where there is none."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data is not at hand: {path} does not exist (set MLOPS_SHARED_DATA)")
    return path
