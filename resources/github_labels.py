"""The platform's labels in a repository: which there are, their colours, and making them once."""

from __future__ import annotations

from typing import Final

from resources.github_client import GitHubClient, Refused
from resources.github_payloads import Label, understood

#: Colour without `#`, description of at most 100 characters.
LABELS: Final = {
    "mlops:train": ("1f6feb", "Ask for a training: the issue's YAML is read, checked and proposed"),
    "mlops:running": ("fbca04", "A training of this issue is running"),
    "mlops:done": ("2da44e", "The training has ended and its model is deployed"),
    "mlops:failed": ("cf222e", "The training has failed; the comment says why"),
    "mlops:invalid": ("8250df", "The request has mistakes; the comment names every one"),
    "mlops:needs-operator": ("d4730c", "The model is below its threshold: a person decides how to go on"),
}


class RepositoryLabels:
    """Creates the platform's labels that a repository lacks; looks once in the life of a process."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client
        self._looked = False

    def ensure(self) -> None:
        """Make every label of ours that is missing; colours that a person has chosen stay."""
        if self._looked:
            return
        present = {
            label.name.casefold()
            for page in self._client.pages("labels")
            for label in understood(tuple[Label, ...], page.content)
        }
        for name, (color, description) in LABELS.items():
            if name.casefold() in present:
                continue
            try:
                self._client.write("POST", "labels", {"name": name, "color": color, "description": description}, repeatable=True)
            except Refused as refused:
                if refused.status != 422:  # 422: another process has just made it, or our first try had succeeded
                    raise
        self._looked = True
