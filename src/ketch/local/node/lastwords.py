"""A container's last words: the file it wrote for that, or the end of its log."""

from pathlib import Path

from ketch.kube.types.containers import Container
from ketch.local.node.logs import tail_text

FALLBACK = "FallbackToLogsOnError"
LONGEST = 4096
LONGEST_FALLBACK, FALLBACK_LINES = 2048, 80


def termination_message(container: Container, exit_code: int, written: Path, log: Path) -> str:
    """What ``state.terminated.message`` says."""
    try:
        with written.open("rb") as file:
            text = file.read(LONGEST).decode(errors="replace")
    except OSError:
        text = ""
    if text or exit_code == 0 or container.termination_message_policy != FALLBACK:
        return text
    return tail_text(log, FALLBACK_LINES)[-LONGEST_FALLBACK:]
