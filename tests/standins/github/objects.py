"""Git's own objects in memory: blobs, trees and commits under their real SHA-1 names. No repository, branch or HTTP here.

Source: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


@dataclass(frozen=True)
class Entry:
    """One entry of a tree."""

    mode: str
    name: str
    sha: str

    @property
    def type(self) -> str:
        """The kind of object that the entry names."""
        return "tree" if self.mode == "040000" else "commit" if self.mode == "160000" else "blob"


@dataclass(frozen=True)
class Signature:
    """Who and when."""

    name: str
    email: str
    at: datetime

    def line(self) -> str:
        """As it stands in a commit; always in UTC."""
        return f"{self.name} <{self.email}> {int(self.at.timestamp())} +0000"


@dataclass(frozen=True)
class Commit:
    """A parsed commit."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Signature
    committer: Signature
    message: str


@dataclass
class Objects:
    """Every object ever written; nothing is collected, as on GitHub for a good while."""

    raw: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    trees: dict[str, tuple[Entry, ...]] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.put_tree(())

    def _put(self, kind: str, content: bytes) -> str:
        sha = hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
        self.raw[sha] = (kind, content)
        return sha

    def put_blob(self, content: bytes) -> str:
        """Store bytes, return their name."""
        return self._put("blob", content)

    def blob(self, sha: str) -> bytes | None:
        """The bytes of a blob, None where there is none of that name."""
        kind, content = self.raw.get(sha, ("", b""))
        return content if kind == "blob" else None

    def put_tree(self, entries: Iterable[Entry]) -> str:
        """Store a tree; git sorts a folder as if its name ended in a slash."""
        ordered = tuple(sorted(entries, key=lambda e: e.name.encode() + (b"/" if e.type == "tree" else b"")))
        content = b"".join(f"{e.mode.lstrip('0')} {e.name}\0".encode() + bytes.fromhex(e.sha) for e in ordered)
        sha = self._put("tree", content)
        self.trees[sha] = ordered
        return sha

    def put_commit(self, tree: str, parents: tuple[str, ...], author: Signature, committer: Signature, message: str) -> str:
        """Store a commit, return its name."""
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        lines += [f"author {author.line()}", f"committer {committer.line()}", "", message]
        sha = self._put("commit", "\n".join(lines).encode())
        self.commits[sha] = Commit(sha, tree, parents, author, committer, message)
        return sha

    def walk(self, tree: str, prefix: str = "") -> dict[str, Entry]:
        """Every file below a tree by its path."""
        found: dict[str, Entry] = {}
        for entry in self.trees[tree]:
            if entry.type == "tree":
                found |= self.walk(entry.sha, f"{prefix}{entry.name}/")
            else:
                found[prefix + entry.name] = entry
        return found

    def look_up(self, tree: str, path: str) -> Entry | None:
        """The entry at a path; the empty path is the tree itself."""
        entry: Entry | None = Entry("040000", "", tree)
        for part in [part for part in path.split("/") if part]:
            if entry is None or entry.type != "tree":
                return None
            entry = next((e for e in self.trees[entry.sha] if e.name == part), None)
        return entry

    def changed(self, tree: str, changes: Mapping[str, Entry | None]) -> str:
        """A new tree with files replaced, added or (None) removed; empty folders vanish, a file gives way to a folder."""
        here: dict[str, Entry] = {e.name: e for e in self.trees[tree]}
        below: dict[str, dict[str, Entry | None]] = {}
        for path, entry in changes.items():
            first, _, rest = path.partition("/")
            if rest:
                below.setdefault(first, {})[rest] = entry
            elif entry is None:
                here.pop(first, None)
            else:
                here[first] = Entry(entry.mode, first, entry.sha)
        for name, inner in below.items():
            old = here.get(name)
            if (old is None or old.type != "tree") and not any(inner.values()):
                continue  # nothing is there to be removed
            sha = self.changed(old.sha if old is not None and old.type == "tree" else EMPTY_TREE, inner)
            if sha == EMPTY_TREE:
                here.pop(name, None)
            else:
                here[name] = Entry("040000", name, sha)
        return self.put_tree(here.values())

    def history(self, sha: str | None) -> list[Commit]:
        """A commit and its ancestors, newest first along first parents, then the others."""
        seen: dict[str, Commit] = {}
        waiting = [sha] if sha else []
        while waiting:
            name = waiting.pop(0)
            if name in self.commits and name not in seen:
                seen[name] = self.commits[name]
                waiting = [*self.commits[name].parents, *waiting]
        return list(seen.values())
