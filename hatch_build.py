"""Puts the built-in kinds' definitions, extracted from ``kubernetes-validate``, into what is built."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

EXTRACTION = "src/ketch/local/apiserver/schemas/extraction.py"


class DefinitionsHook(BuildHookInterface):
    """Runs the extraction by its path: Ketch itself, and what it needs, is not installed while it is built."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the definitions beside the code that reads them."""
        runpy.run_path(str(Path(self.root) / EXTRACTION))["write"]()
