"""What ``verify`` measures, and the verdict on it."""

import dataclasses
import textwrap

import numpy as np

# Largest difference of any number from transformers' in float32, and how many times farther from float64 than torch's
# own numbers ours may be.
MAX_DIFFERENCE = 2e-5
MAX_RATIO = 1.5

_WIDTH = 80


@dataclasses.dataclass(frozen=True)
class Row:
    """One output on real tokens: here, in torch, and in torch with float64.

    Attributes:
        name: the layer or head.
        largest: largest absolute difference between here and torch.
        rms: root mean square difference between here and torch.
        here: root mean square distance from here to float64.
        torch: root mean square distance from torch in float32 to float64.
    """

    name: str
    largest: float
    rms: float
    here: float
    torch: float

    @property
    def ratio(self) -> float:
        """How many times farther from float64 than torch's our numbers are."""
        return self.here / max(self.torch, np.finfo(np.float64).tiny)


@dataclasses.dataclass(frozen=True)
class Verification:
    """The certificate of a conversion; printed, a table.

    Attributes:
        title: what was compared with what.
        rows: the outputs, in the order of computation.
        inputs: what ran through both, in words.
        tokenizer: how many texts got the same token ids, in words.
        tensors: how many of the file's tensors were compared, in words.
        flaws: what is wrong beside the numbers, a sentence each: other token ids, tensors that nothing used.
    """

    title: str
    rows: tuple[Row, ...]
    inputs: str
    tokenizer: str
    tensors: str
    flaws: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the conversion is not verified, a sentence each; empty if it is."""
        # Written so that NaN is a problem.
        far = [row for row in self.rows if not row.largest <= MAX_DIFFERENCE]
        inexact = [row for row in self.rows if not row.ratio <= MAX_RATIO]
        return (
            *self.flaws,
            *(f"{row.name}: differs by {row.largest:.1e}, more than {MAX_DIFFERENCE:.0e}" for row in far),
            *(f"{row.name}: {row.ratio:.2f} times as far from float64 as torch, more than {MAX_RATIO}" for row in inexact),
        )

    @property
    def passed(self) -> bool:
        """Whether all outputs, token ids and tensors agree."""
        return not self.problems

    @property
    def verdict(self) -> str:
        """One sentence, or the problems."""
        if self.problems:
            return "NOT VERIFIED\n" + "\n".join(f"- {problem}" for problem in self.problems)
        largest, ratio = max(row.largest for row in self.rows), max(row.ratio for row in self.rows)
        return (
            f"VERIFIED: differences up to {largest:.1e} (limit {MAX_DIFFERENCE:.0e}), "
            f"distance ratios up to {ratio:.2f} (limit {MAX_RATIO})"
        )

    def __str__(self) -> str:
        width = max(len("embeddings"), *(len(row.name) for row in self.rows))
        lines = [
            *textwrap.wrap(self.title, _WIDTH),
            "",
            f"{'':{width}}  {'from torch':>20}  {'from float64':>20}",
            f"{'':{width}}  {'largest':>10}{'rms':>10}  {'rms here':>10}{'rms torch':>10}  {'ratio':>5}",
            *(
                f"{row.name:{width}}  {row.largest:10.1e}{row.rms:10.1e}  {row.here:10.1e}{row.torch:10.1e}  {row.ratio:5.2f}"
                for row in self.rows
            ),
            "",
            *(line for text in (self.inputs, self.tokenizer, self.tensors) for line in textwrap.wrap(text, _WIDTH)),
            *(line for text in self.verdict.splitlines() for line in textwrap.wrap(text, _WIDTH, subsequent_indent="  ")),
        ]
        return "\n".join(lines)


class Differences:
    """Gathers a row over many batches.

    >>> gathered = Differences()
    >>> gathered.add(here=np.array([1.5, 2]), torch=np.array([1.0, 2]), exact=np.array([1.0, 2]))
    >>> gathered.row("pooler").largest
    0.5
    """

    def __init__(self) -> None:
        self._largest = 0.0
        self._squares = np.zeros(3)
        self._count = 0

    def add(self, *, here: np.ndarray, torch: np.ndarray, exact: np.ndarray) -> None:
        """Adds numbers of one shape, the third in float64."""
        gap = here - torch.astype(np.float64)
        self._largest = np.maximum(self._largest, np.abs(gap).max())
        self._squares += [np.square(part).sum() for part in (gap, here - exact, torch - exact)]
        self._count += exact.size

    def row(self, name: str) -> Row:
        """The row of all numbers that were added."""
        rms, here, torch = np.sqrt(self._squares / self._count)
        return Row(name, float(self._largest), float(rms), float(here), float(torch))
