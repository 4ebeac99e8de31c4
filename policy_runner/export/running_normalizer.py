"""Mean and variance of a stream of samples, exact in float64, mergeable, saved with their count.

Updates and merges use the pairwise formula of Chan, Golub and LeVeque, "Updating formulae and a
pairwise algorithm for computing sample variances" (1979): with n samples of mean m and sum of
squared differences S,

    n = a.n + b.n,  d = b.m - a.m,  m = a.m + d b.n / n,  S = a.S + b.S + d^2 a.n b.n / n

which keeps its digits where the mean is large against the spread, unlike E[x^2] - E[x]^2. The
variance is that of the population, S / n, as numpy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from policy_runner.core.errors import refuse
from policy_runner.core.files.arrays import read_statistics
from policy_runner.core.model import Array
from policy_runner.formats.own.exported import npz_bytes

EPS = 1e-8


class RunningNormalizer:
    """Running statistics of vectors of `size` numbers.

    Attributes:
        mean: float64 [size]; zeros before the first sample.
        count: samples so far.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise refuse("", "size", "1 or more", f"{size}")
        self.mean: Array = np.zeros(size)
        self.count = 0.0
        self._squares: Array = np.zeros(size)  # sum of squared differences from the mean

    @classmethod
    def of(cls, mean: Array, var: Array, count: float) -> RunningNormalizer:
        """The normalizer with these statistics; further samples weigh against `count`.

        Args:
            mean, var: float64 [size] each; the population's variance.

        Raises:
            Refusal: other sizes, numbers that are not finite, a variance or a count below 0.
        """
        mean = np.array(mean, dtype=np.float64).reshape(-1)
        var = np.array(var, dtype=np.float64).reshape(-1)
        if mean.shape != var.shape:
            raise refuse("", "var", f"{mean.size} numbers, as mean has", f"{var.size}")
        if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(var)) and np.all(var >= 0)):
            raise refuse("", "mean, var", "finite numbers, and variances of 0 or more", "others")
        if not (np.isfinite(count) and count >= 0):
            raise refuse("", "count", "a finite number of 0 or more", f"{count}")
        found = cls(mean.size)
        found.mean, found.count, found._squares = mean, float(count), var * float(count)
        return found

    @property
    def size(self) -> int:
        """Numbers of one sample."""
        return int(self.mean.size)

    @property
    def var(self) -> Array:
        """Variance of the population, float64 [size]; ones before the first sample."""
        if self.count == 0:
            return np.ones(self.size)
        return self._squares / self.count

    @property
    def std(self) -> Array:
        """Standard deviation, float64 [size]."""
        return np.asarray(np.sqrt(self.var), dtype=np.float64)

    def update(self, samples: npt.ArrayLike) -> None:
        """Take samples: [size], or a batch [n, size]; an empty batch changes nothing.

        Raises:
            Refusal: another size, or a number that is not finite; then nothing has changed.
        """
        batch = np.asarray(samples, dtype=np.float64)
        batch = batch[None] if batch.ndim == 1 else batch
        if batch.ndim != 2 or batch.shape[1] != self.size:
            raise refuse("", "samples", f"[n, {self.size}]", f"{list(batch.shape)}")
        if not batch.shape[0]:
            return
        if not np.all(np.isfinite(batch)):
            row, column = (int(one) for one in np.argwhere(~np.isfinite(batch))[0])
            raise refuse(
                "", f"samples[{row}, {column}]", "a finite number", f"{batch[row, column]}"
            )
        # A first guess takes the offset away, so that the sum below keeps its digits.
        guess = batch[0]
        shifted = batch - guess
        mean = shifted.mean(axis=0)
        squares = np.square(shifted - mean).sum(axis=0)
        self._add(guess + mean, squares, float(batch.shape[0]))

    def merge(self, others: RunningNormalizer | Sequence[RunningNormalizer]) -> None:
        """Take the samples of others, such as those of parallel workers.

        Raises:
            Refusal: another size.
        """
        for other in [others] if isinstance(others, RunningNormalizer) else others:
            if other.size != self.size:
                raise refuse("", "merge", f"{self.size} numbers", f"{other.size}")
            self._add(other.mean, other._squares, other.count)

    def _add(self, mean: Array, squares: Array, count: float) -> None:
        if count == 0:
            return
        total = self.count + count
        apart = mean - self.mean
        self._squares = self._squares + squares + np.square(apart) * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total

    def normalize(self, x: npt.ArrayLike, eps: float = EPS, clip: float = np.inf) -> Array:
        """clip((x - mean) / sqrt(var + eps), -clip, clip), float64, of [size] or [n, size]."""
        values = np.asarray(x, dtype=np.float64)
        scaled = (values - self.mean) / np.sqrt(self.var + eps)
        return np.asarray(np.clip(scaled, -clip, clip), dtype=np.float64)

    def save(self, path: Path) -> None:
        """Write `mean`, `var` and `count` to an .npz, which a policy spec may name as well.

        Raises:
            Refusal: another ending.
        """
        if path.suffix != ".npz":
            raise refuse(str(path), "", "a file ending in .npz", f"'{path.suffix}'")
        arrays = {"mean": self.mean, "var": self.var, "count": np.array([self.count])}
        path.write_bytes(npz_bytes(arrays))

    @classmethod
    def load(cls, path: Path) -> RunningNormalizer:
        """What `save` wrote; the count is kept, so that further samples do not take over.

        Raises:
            Refusal: no such file, or a part is missing.
        """
        stored = read_statistics(path)
        for name in ("mean", "var", "count"):
            if name not in stored:
                got = ", ".join(stored) or "nothing"
                remedy = "without its count the next samples would replace what was learnt"
                raise refuse(str(path), name, "this statistic", got, remedy)
        return cls.of(stored["mean"], stored["var"], float(stored["count"].item(0)))
