"""The catalogue of sentences: every word that the platform writes back, by key, in Japanese and in English.

Looking sentences up and filling in their fields only. The sentences are in ``sentences/{ja,en}.toml``; putting them
together is in ``comments`` and ``report``; making a person's text harmless before it is filled in is in ``markdown``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from string import Formatter
from types import MappingProxyType
from typing import Any

from mlops_assets.request.vocabulary import Language


def _flattened(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """``{"a": {"b": "text"}}`` as ``{"a.b": "text"}``."""
    flat: dict[str, str] = {}
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, str):
            flat[key] = value
        else:
            flat.update(_flattened(value, f"{key}."))
    return flat


@cache
def catalogue(language: Language) -> Mapping[str, str]:
    """Every sentence template of ``language`` by its dotted key; read on first use."""
    text = resources.files("mlops_assets.reports.sentences").joinpath(f"{language}.toml").read_text(encoding="utf-8")
    return MappingProxyType(_flattened(tomllib.loads(text)))


def fields_of(template: str) -> frozenset[str]:
    """The names of the format fields of a sentence template."""
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name is not None)


def fields_of_sentence(key: str) -> frozenset[str]:
    """The format fields that the sentence ``key`` needs."""
    return fields_of(catalogue("en")[key])


def has_sentence(key: str) -> bool:
    """Whether ``key`` is in the catalogues (both hold the same keys)."""
    return key in catalogue("en")


def sentence(key: str, language: Language, **values: object) -> str:
    """The sentence ``key`` in ``language`` with its fields filled in.

    Values are inserted as they are and never read as templates; a person's own text goes through
    ``markdown.echo`` or ``markdown.plain`` first. Values that the template has no field for are ignored, so that one
    call can serve a family of keys such as ``problem.*``.

    Raises:
        KeyError: there is no such key, or a field of the template has no value.
    """
    sentences = catalogue(language)
    if key not in sentences:
        near = get_close_matches(key, sentences, n=3)
        raise KeyError(f"no sentence {key!r} in {language}.toml" + (f"; did you mean {', '.join(near)}?" if near else ""))
    template = sentences[key]
    lacking = sorted(fields_of(template) - values.keys())
    if lacking:
        raise KeyError(f"sentence {key!r} needs a value for: {', '.join(lacking)}")
    return template.format(**values)


def word(family: str, value: str, language: Language) -> str | None:
    """The display name ``<family>.<value>`` of a vocabulary word; None where the catalogue has none."""
    key = f"{family}.{value}"
    return sentence(key, language) if has_sentence(key) else None
