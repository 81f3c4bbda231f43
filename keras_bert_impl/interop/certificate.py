"""The certificate of ``verify``: what is measured, the limits, and the verdict."""

import dataclasses
import textwrap

import numpy as np

# Limit of the largest absolute difference to transformers in float32, for outputs of RMS up to 1. Larger outputs
# (logits) have larger rounding errors, so the limit is multiplied by their RMS. Torch compared with torch through Keras
# differs by 2.5e-5 at logits of 30.
MAX_DIFFERENCE = 2e-5
# The same for the vectors of texts and the scores of cross-encoders.
MAX_RESULT_DIFFERENCE = 1e-5
# Limit of our RMS error to float64, divided by torch's. It needs this many tokens or sequences to be reliable.
MAX_RATIO = 1.5
MIN_TOKENS = 1000

_WIDTH = 80
_NAME = len("next-sentence logits")


@dataclasses.dataclass(frozen=True)
class ComparedOutput:
    """The differences of one output between this package, torch in float32 and torch in float64, without padding.

    Attributes:
        name: the layer or head.
        vectors: the number of tokens, or of sequences for outputs that have one vector per sequence.
        size: root mean square (RMS) of the output itself, in float64.
        largest: the largest absolute difference between ours and torch's in float32.
        rms: RMS difference between ours and torch's in float32.
        ours: RMS error of ours to float64.
        torch: RMS error of torch's float32 to float64.
        max_difference: the limit of ``largest`` for an RMS up to 1.
    """

    name: str
    vectors: int
    size: float
    largest: float
    rms: float
    ours: float
    torch: float
    max_difference: float = MAX_DIFFERENCE

    @property
    def ratio(self) -> float:
        """Our RMS error to float64, divided by torch's: below 1 means that ours is more precise."""
        return self.ours / max(self.torch, np.finfo(np.float64).tiny)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the output does not pass, one sentence each; empty if it passes."""
        limit = self.max_difference * max(1.0, self.size)
        problems = []
        # The comparison is negated so that NaN is reported.
        if not self.largest <= limit:
            problems.append(f"{self.name}: the largest difference is {self.largest:.1e}; the limit is {limit:.1e}")
        if self.vectors >= MIN_TOKENS and not self.ratio <= MAX_RATIO:
            problems.append(
                f"{self.name}: our RMS error to float64, divided by torch's, is {self.ratio:.2f}; the limit is "
                f"{MAX_RATIO}"
            )
        return tuple(problems)

    def __str__(self) -> str:
        differences = f"{self.largest:9.1e}{self.rms:9.1e}  {self.ours:9.1e}{self.torch:9.1e}"
        return f"{self.name:{_NAME}}  {self.size:6.2f}  {differences}  {self.ratio:5.2f}"


@dataclasses.dataclass(frozen=True)
class Verification:
    """The certificate of a conversion; ``str`` formats it as a table.

    Attributes:
        title: what was compared with what.
        rows: the outputs, in the order of computation.
        inputs: a description of the inputs.
        tokenizer: how many texts got the same token ids.
        tensors: how many of the file's tensors were compared.
        flaws: what is wrong apart from the outputs, one sentence each: other token ids, tensors that no model used.
    """

    title: str
    rows: tuple[ComparedOutput, ...]
    inputs: str
    tokenizer: str
    tensors: str
    flaws: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the conversion is not verified, one sentence each; empty if it is verified."""
        return (*self.flaws, *(problem for row in self.rows for problem in row.problems))

    @property
    def passed(self) -> bool:
        """Whether all outputs, token ids and tensors agree."""
        return not self.problems

    @property
    def verdict(self) -> str:
        """One sentence; or the problems, one per line."""
        if self.problems:
            return "\n".join(("NOT VERIFIED", *(f"- {problem}" for problem in self.problems)))
        limits = " or ".join(f"{limit:.0e}" for limit in sorted({row.max_difference for row in self.rows}))
        return (
            f"VERIFIED (limits: largest difference {limits}, multiplied by the output's RMS if the RMS is above 1; "
            f"ratio {MAX_RATIO}, checked for {MIN_TOKENS:,} tokens or more)"
        )

    def __str__(self) -> str:
        lines = [
            self.title,
            "",
            f"{'':{_NAME}}  {'RMS of':>6}  {'difference to torch':>18}  {'error to float64':>17}  {'ours/':>5}",
            f"{'':{_NAME}}  {'output':>6}  {'largest':>9}{'RMS':>9}  {'ours':>9}{'torch':>9}  {'torch':>5}",
            *map(str, self.rows),
            "",
            self.inputs,
            self.tokenizer,
            self.tensors,
            *self.verdict.splitlines(),
        ]
        return "\n".join(textwrap.fill(line, _WIDTH, subsequent_indent="  ") for line in lines)


class Differences:
    """Accumulates the differences of one output over batches.

    >>> differences = Differences()
    >>> differences.add(ours=np.array([1.5, 2]), torch=np.array([1.0, 2]), exact=np.array([1.0, 2]))
    >>> differences.make_row("pooler").largest
    0.5
    """

    def __init__(self, max_difference: float = MAX_DIFFERENCE) -> None:
        self._max_difference = max_difference
        self._vectors = self._numbers = 0
        self._largest = 0.0
        self._squares = np.zeros(4)

    def add(self, *, ours: np.ndarray, torch: np.ndarray, exact: np.ndarray) -> None:
        """Adds outputs of the same shape, whose first axis is tokens or sequences; ``exact`` is float64."""
        self._vectors += len(exact)
        self._numbers += exact.size
        parts = (exact, ours - torch.astype(np.float64), ours - exact, torch - exact)
        self._largest = np.maximum(self._largest, np.abs(parts[1]).max())
        self._squares += [np.square(part).sum() for part in parts]

    def make_row(self, name: str) -> ComparedOutput:
        """Returns the differences of all outputs that were added."""
        size, rms, ours, torch = np.sqrt(self._squares / self._numbers).tolist()
        return ComparedOutput(
            name,
            self._vectors,
            size,
            largest=float(self._largest),
            rms=rms,
            ours=ours,
            torch=torch,
            max_difference=self._max_difference,
        )
