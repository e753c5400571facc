"""What the subcommands show while they work."""

from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from ..progress import ProgressCallback


@contextmanager
def progress_bar(title: str, unit: str) -> Iterator[ProgressCallback]:
    """A bar on standard error, as a progress callback; none where that is not a terminal."""
    with tqdm(desc=title, unit=unit, disable=None, leave=False) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report
