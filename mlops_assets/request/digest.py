"""Canonical JSON and its SHA-256: the one way that plans, requests and configurations get an identity."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(content: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces.

    Raises:
        ValueError: the content holds NaN or infinity, which JSON has no word for.
    """
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_of(content: Any) -> str:
    """Hexadecimal SHA-256 of the canonical JSON of ``content``."""
    return hashlib.sha256(canonical_json(content)).hexdigest()
