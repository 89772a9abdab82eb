"""Processes that prepare images beside each other, and end with the one that started them."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from attnrobust.errors import UserError


@contextlib.contextmanager
def workers(count: int) -> Iterator[Executor | None]:
    """A pool of fresh processes; None for one, which needs no pool.

    Raises:
        UserError: A process was killed.
    """
    if count <= 1:
        yield None
        return
    # Forking a process that has started TensorFlow's threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_end_with_parent)
    # Ctrl-C reaches the workers too: held back until they have started and know what to do.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(count):
            pool.submit(os.getpid)  # a task each, or they would be started one by one
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        yield pool
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed (out of memory?); finished shards are kept, the same "
            "command goes on; try fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """In a worker: end on Ctrl-C without a traceback, and when the parent was killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
