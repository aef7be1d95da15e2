"""Collects what is wrong with a user's data, so that it is told at once and nothing is dropped silently."""

from __future__ import annotations

from frown_jax.errors import DataError

_SHOWN = 10


class Problems:
    """Problems by place. `on_bad` decides whether they stop the run ('error') or leave their rows out ('skip')."""

    def __init__(self, on_bad: str):
        if on_bad not in ("error", "skip"):
            raise DataError(f"--config.data.on_bad is {on_bad!r}: one of error, skip")
        self._on_bad = on_bad
        self.found: list[tuple[str, str]] = []

    def add(self, where: str, what: str) -> None:
        """`where` is a file, or file:line."""
        self.found.append((where, what))

    def _listing(self) -> str:
        lines = [f"  {where}: {what}" for where, what in self.found[:_SHOWN]]
        if len(self.found) > _SHOWN:
            lines.append(f"  ... and {len(self.found) - _SHOWN:,} more")
        return "\n".join(lines)

    def settle(self, what: str, remaining: int) -> None:
        """Raises:
        DataError: there are problems and on_bad is 'error', or no row is left.
        """
        if not remaining:
            raise DataError(f"{what}: no usable image.\n{self._listing()}")
        if self.found and self._on_bad == "error":
            raise DataError(
                f"{what}: {len(self.found):,} problem{'s' * (len(self.found) > 1)}.\n{self._listing()}\n"
                "Mend them, or leave these rows out with --config.data.on_bad=skip (each is then listed in the "
                "run's data_report.txt)."
            )

    def notes(self) -> list[str]:
        return [f"left out: {where}: {what}" for where, what in self.found]
