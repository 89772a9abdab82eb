"""How far a long piece of work is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import logging
import time
from types import TracebackType

from attnrobust.console import progress

log = logging.getLogger("attnrobust")

SECONDS = 30.0


class Progress:
    """Counts images; says rate and time left.

    Args:
        said: What is being done.
        total: Number of images.
    """

    def __init__(self, said: str, total: int) -> None:
        self.said = said
        self.bar = progress(desc=said, total=total, unit="image")
        self.total = total
        self.number = 0
        self.start = self.last = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.close()

    def update(self, number: int) -> None:
        """So many more are done."""
        self.number += number
        self.bar.update(number)
        now = time.monotonic()
        if self.bar.disable and now - self.last >= SECONDS:
            self.last = now
            rate = self.number / (now - self.start)
            log.info(
                "%s: %d of %d images, %.1f images/s, %.0f s left",
                self.said,
                self.number,
                self.total,
                rate,
                (self.total - self.number) / rate,
            )
