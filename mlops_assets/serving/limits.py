"""How large a request may be; enforced by ``inputs`` and ``application``, told by ``openapi``."""

from __future__ import annotations

from typing import Final

MAX_ROWS: Final = 10_000
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_STRING_CHARACTERS: Final = 10_000
