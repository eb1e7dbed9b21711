"""Where a dataset is read from: plug-ins that bring one source to one local raw file.

A source is written ``scheme:rest``; without a scheme it is a path. ``file`` and ``sklearn`` are built in; any installed
distribution adds a scheme with an entry point of that name in the group ``mlops.sources`` (a class with ``scheme`` and
``fetch``). Only what a person gives on the command line comes here, never the text of an issue. Interpreting the raw file is
in ``ingest``.
"""

from __future__ import annotations

import difflib
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, runtime_checkable

from mlops_assets.data.engine import scratch_folder
from mlops_assets.data.raw_file import inspect
from mlops_assets.errors import UserError

ENTRY_POINTS: Final = "mlops.sources"


@runtime_checkable
class Source(Protocol):
    """One kind of place that datasets are read from."""

    scheme: str

    def fetch(self, rest: str, folder: Path) -> Path:
        """Write the raw file of ``rest`` (the source without its scheme) into the empty ``folder`` and return its path."""
        ...


class FileSource:
    """``data.csv`` or ``file:///folder/data.csv``: CSV, TSV, CSV.gz or Parquet on this machine, copied as it is."""

    scheme = "file"

    def fetch(self, rest: str, folder: Path) -> Path:
        """Copy the file.

        Raises:
            UserError: it is missing, not a file, or not readable.
        """
        path = Path(rest.removeprefix("//")).expanduser()
        found = inspect(path)  # before a large copy, so that a wrong file costs nothing
        suffix = ".parquet" if found.format == "parquet" else ".tsv" if found.delimiter == "\t" else ".csv"
        target = folder / f"raw{suffix}{'.gz' if found.compressed else ''}"
        shutil.copyfile(path, target)
        return target


class SklearnSource:
    """``sklearn:NAME``: a small real dataset that ships with scikit-learn, as CSV with readable names and classes."""

    scheme = "sklearn"
    #: name -> (loader, name of the target column)
    DATASETS: ClassVar[dict[str, tuple[str, str]]] = {
        "breast_cancer": ("load_breast_cancer", "diagnosis"),
        "wine": ("load_wine", "cultivar"),
        "iris": ("load_iris", "species"),
        "diabetes": ("load_diabetes", "progression"),
    }

    def fetch(self, rest: str, folder: Path) -> Path:
        """Write the dataset; class names instead of numbers, column names in snake_case.

        Raises:
            UserError: there is no such dataset.
        """
        if rest not in self.DATASETS:
            near = difflib.get_close_matches(rest, self.DATASETS, n=1)
            raise UserError(
                "scikit-learn ships no such dataset",
                field="source",
                given=f"sklearn:{rest}",
                allowed=tuple(f"sklearn:{name}" for name in self.DATASETS),
                next_step=f"did you mean sklearn:{near[0]}?" if near else "name one of these",
            )
        import sklearn.datasets

        loader, target = self.DATASETS[rest]
        loaded: Any = getattr(sklearn.datasets, loader)()
        frame: Any = _frame(loaded.data, [_snake_case(name) for name in loaded.feature_names])
        frame[target] = (
            [str(loaded.target_names[label]) for label in loaded.target] if "target_names" in loaded else loaded.target
        )
        path = folder / "raw.csv"
        frame.to_csv(path, index=False, lineterminator="\n")
        return path


def _frame(values: Any, names: list[str]) -> Any:
    import pandas

    return pandas.DataFrame(values, columns=names)


def _snake_case(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def installed_sources() -> dict[str, Source]:
    """Every source by its scheme: the built-in ones and those of installed distributions."""
    from importlib.metadata import entry_points

    found: dict[str, Source] = {source.scheme: source for source in (FileSource(), SklearnSource())}
    for point in entry_points(group=ENTRY_POINTS):
        source = point.load()()
        found[source.scheme] = source
    return found


def fetch(source: str, out: Path) -> Path:
    """Bring ``source`` to a raw file ``raw.<suffix>`` in the folder ``out`` and return its path.

    The file appears there whole or not at all. Its fields are counted later, by ``ingest``.

    Raises:
        UserError: the scheme is unknown, or the file is missing, a folder, empty, damaged, in an unknown encoding, or has no
            usable header or no row.
    """
    if not source.strip() or "\x00" in source:
        raise UserError(
            "a source is needed", field="source", given=repr(source), next_step="give a path or sklearn:breast_cancer"
        )
    scheme, colon, rest = source.partition(":")
    sources = installed_sources()
    if not colon or scheme not in sources:
        if re.match(r"[a-z][a-z0-9+.-]*://", source):
            raise UserError(
                "no installed source reads this scheme",
                field="source",
                given=source,
                allowed=("a path", *(f"{known}:" for known in sorted(sources))),
                next_step="copy the file to this machine, or install a package that offers the scheme",
            )
        scheme, rest = FileSource.scheme, source
    with scratch_folder(out) as scratch:
        fetched = sources[scheme].fetch(rest, scratch)
        inspect(fetched)
        target = out / fetched.name
        fetched.replace(target)
    return target
