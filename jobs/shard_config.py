"""The configuration of a shard's assets in a file, as the launchpad of the UI has it; its keys are those of ``assets.frames``.

::

    ops:
      voxels:
        config: {voxel_size: [0.2, 0.2, 4.0]}
      kitti_coco:
        config: {categories: [Car], ignored: {Van: Car}}
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mlops_assets.errors import UserError

if TYPE_CHECKING:
    from dagster import Config

OPTION = "--config"
_MOST_BYTES = 64 * 1024


def read_config(path: Path) -> dict[str, Any]:
    """The run configuration in a file, complete and checked, so that no shard is begun with one that cannot be used.

    Raises:
        UserError: the file cannot be read, or names or gives what there is not.
    """
    from mlops_assets.assets.frames import CocoConfig, VoxelConfig

    ops = _mapping(_part(_mapping(_content(path), "the file", ("ops",)), "ops"), "ops", ("voxels", "kitti_coco"))
    complete = {}
    for name, kind in (("voxels", VoxelConfig), ("kitti_coco", CocoConfig)):
        if name in ops:
            place = f"ops.{name}"
            given = _part(_mapping(ops[name], place, ("config",)), "config")
            config = _read(kind, f"{place}.config", _mapping(given, f"{place}.config", tuple(kind.model_fields)))
            if isinstance(config, VoxelConfig):
                config.grid()
            else:
                config.policy()
            complete[name] = {"config": config.model_dump()}
    return {"ops": complete}


def _content(path: Path) -> object:
    import yaml

    try:
        with path.open(encoding="utf-8") as stream:
            text = stream.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise UserError("the file is too large for a configuration", field=OPTION, given=str(path), allowed=("64 KiB",))
        return yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"the file cannot be read: {error.strerror}", field=OPTION, given=str(path)) from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the file is no YAML: {reason}", field=OPTION, given=str(path)) from error


def _part(given: Mapping[str, Any], name: str) -> object:
    return given.get(name) or {}


def _mapping(given: object, place: str, allowed: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise UserError(f"{place} must be a mapping", field=OPTION, given=str(given)[:80], allowed=allowed)
    for key in given:
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, n=1)
            raise UserError(
                f"{place} has no such key", field=OPTION, given=str(key)[:80], allowed=allowed,
                next_step=f"did you mean `{near[0]}`?" if near else None,
            )  # fmt: skip
    return given


def _read(kind: type[Config], place: str, given: Mapping[str, Any]) -> Any:
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join([place, *(str(part) for part in first["loc"])])
        raise UserError(f"{field}: {first['msg']}", field=OPTION, given=str(first["input"])[:80]) from error
