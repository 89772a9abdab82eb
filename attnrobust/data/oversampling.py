"""Examples of stored records, repeated until every class has as many as the commonest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Numbered = tuple[bytes, int]  # a serialized example, which of its copies


def balanced(split: Mapping[str, Any]) -> dict[str, Any]:
    """Its counts with every class that has examples as often as the commonest."""
    most = max(split["class_counts"].values())
    counts = {name: most if count else 0 for name, count in split["class_counts"].items()}
    return {"count": sum(counts.values()), "class_counts": counts}


class Copies:
    """A split's examples, shard by shard: each once, or as often as its class needs.

    Where the commonest class is no multiple of one, the first examples of that have one copy more.
    """

    def __init__(self, counts: Sequence[int], *, oversample: bool) -> None:
        self.counts, self.seen, self.oversample = counts, [0] * len(counts), oversample

    def of(self, source: Path) -> Iterator[Numbered]:
        """The examples of a shard, each with the number of its copy, 0 for itself."""
        import tensorflow as tf

        for content in tf.data.TFRecordDataset(str(source)).as_numpy_iterator():
            for copy in range(self._times(content) if self.oversample else 1):
                yield content, copy

    def _times(self, content: bytes) -> int:
        import tensorflow as tf

        example = tf.train.Example.FromString(content)
        label = example.features.feature["label"].int64_list.value[0]
        times, rest = divmod(max(self.counts), self.counts[label])
        self.seen[label] += 1
        return int(times + (self.seen[label] <= rest))
