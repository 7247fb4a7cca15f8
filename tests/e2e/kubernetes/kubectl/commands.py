"""kubectl in one namespace, and tables of its commands."""

import concurrent.futures
import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.e2e.platforms import SCRIPTS, Platform

AT_ONCE = 4
PATIENCE = 120
LONGEST = 2000
"""Characters of what a command printed that are shown when it was wrong."""


class Done(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kubectl:
    """kubectl as a user of one namespace has it."""

    platform: Platform
    namespace: str
    variables: Mapping[str, str] = field(default_factory=dict[str, str])

    def run(self, *arguments: str, stdin: Any = None, **variables: str) -> Done:
        """Run a command; ``stdin`` is text, or objects."""
        text = stdin if stdin is None or isinstance(stdin, str) else documents(stdin)
        home = str(self.platform.root / "kubectl-home")
        ours = {"KUBECONFIG": str(self.platform.kubeconfig), "HOME": home, **self.variables, **variables}
        done = subprocess.run(
            [str(SCRIPTS / "kubectl"), "-n", self.namespace, *arguments],
            check=False,
            text=True,
            capture_output=True,
            input=text,
            timeout=PATIENCE,
            env={**os.environ, **ours},
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, stdin: Any = None, **variables: str) -> str:
        """What a command prints that must succeed."""
        done = self.run(*arguments, stdin=stdin, **variables)
        assert done.code == 0, f"kubectl {' '.join(arguments)}: {done.err}"
        return done.out

    def fails(self, *arguments: str, stdin: Any = None) -> str:
        """What a command says that must not succeed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.code != 0, f"kubectl {' '.join(arguments)} did it: {done.out}"
        return done.err

    def get(self, *arguments: str) -> Any:
        """``kubectl get ... -o json``."""
        return json.loads(self("get", *arguments, "-o", "json"))

    def value(self, path: str, *arguments: str) -> str:
        """``kubectl get ... -o jsonpath={path}``."""
        return self("get", *arguments, "-o", f"jsonpath={{{path}}}")

    def apply(self, *objects: Any) -> str:
        """``kubectl apply`` of objects."""
        return self("apply", "-f", "-", stdin=objects)

    def check(self, cases: Iterable[tuple[str, str]]) -> None:
        """A table of commands that change nothing: each must print what stands beside it, however widely spaced."""
        table = list(cases)
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(lambda case: self.run(*words(case[0])), table))
        wrong = [
            f"kubectl {command}: {done.code}, without {expected!r}: {(done.out + done.err)[-LONGEST:]}"
            for (command, expected), done in zip(table, found, strict=True)
            if done.code or expected not in " ".join((done.out + done.err).split())
        ]
        assert not wrong, "\n".join(wrong)


def words(command: str) -> list[str]:
    """A command's words; what is between bars is one of them."""
    parts = command.split("|")
    return [word for index, part in enumerate(parts) for word in ([part] if index % 2 else part.split())]


def documents(objects: Any) -> str:
    """Objects as kubectl reads them."""
    return "\n---\n".join(map(json.dumps, objects if isinstance(objects, list | tuple) else (objects,)))
