"""What ``verify`` measures, and the verdict on it."""

import dataclasses
import textwrap

import numpy as np

# Largest difference of any number from transformers' in float32, times the output's root mean square where that is
# above 1 (logits): float32 has a fixed number of digits. Torch beside torch, through Keras, differs by 2.5e-5 where
# logits are 30.
MAX_DIFFERENCE = 2e-5
# How many times farther from float64 than torch's own numbers ours may be. Fewer tokens or sequences tell nothing.
MAX_RATIO = 1.5
MIN_TOKENS = 1000

_WIDTH = 80
_NAME = len("next-sentence logits")


@dataclasses.dataclass(frozen=True)
class Row:
    """One output on real tokens: here, in torch, and in torch with float64.

    Attributes:
        name: the layer or head.
        vectors: number of tokens, or of sequences where the output has one for each.
        size: root mean square of the output itself.
        largest: largest absolute difference between here and torch.
        rms: root mean square difference between here and torch.
        here: root mean square distance from here to float64.
        torch: root mean square distance from torch in float32 to float64.
    """

    name: str
    vectors: int
    size: float
    largest: float
    rms: float
    here: float
    torch: float

    @property
    def ratio(self) -> float:
        """How many times farther from float64 than torch's our numbers are."""
        return self.here / max(self.torch, np.finfo(np.float64).tiny)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the output does not pass, a sentence each; empty if it does."""
        limit = MAX_DIFFERENCE * max(1.0, self.size)
        problems = []
        # Written so that NaN is a problem.
        if not self.largest <= limit:
            problems.append(f"{self.name}: differs by {self.largest:.1e}, more than {limit:.1e}")
        if self.vectors >= MIN_TOKENS and not self.ratio <= MAX_RATIO:
            problems.append(f"{self.name}: {self.ratio:.2f} times as far from float64 as torch, more than {MAX_RATIO}")
        return tuple(problems)

    def __str__(self) -> str:
        differences = f"{self.largest:9.1e}{self.rms:9.1e}  {self.here:9.1e}{self.torch:9.1e}"
        return f"{self.name:{_NAME}}  {self.size:6.2f}  {differences}  {self.ratio:5.2f}"


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
        return (*self.flaws, *(problem for row in self.rows for problem in row.problems))

    @property
    def passed(self) -> bool:
        """Whether all outputs, token ids and tensors agree."""
        return not self.problems

    @property
    def verdict(self) -> str:
        """One sentence, or the problems, one a line."""
        if self.problems:
            return "\n".join(("NOT VERIFIED", *(f"- {problem}" for problem in self.problems)))
        return (
            f"VERIFIED (limits: largest difference {MAX_DIFFERENCE:.0e}, times the output's rms where that is above 1; "
            f"ratio {MAX_RATIO} over {MIN_TOKENS:,} tokens)"
        )

    def __str__(self) -> str:
        lines = [
            self.title,
            "",
            f"{'':{_NAME}}  {'rms of':>6}  {'from torch here':>18}  {'rms from float64':>18}",
            f"{'':{_NAME}}  {'output':>6}  {'largest':>9}{'rms':>9}  {'here':>9}{'torch':>9}  {'ratio':>5}",
            *map(str, self.rows),
            "",
            self.inputs,
            self.tokenizer,
            self.tensors,
            *self.verdict.splitlines(),
        ]
        return "\n".join(textwrap.fill(line, _WIDTH, subsequent_indent="  ") for line in lines)


class Differences:
    """Gathers a row over many batches.

    >>> gathered = Differences()
    >>> gathered.add(here=np.array([1.5, 2]), torch=np.array([1.0, 2]), exact=np.array([1.0, 2]))
    >>> gathered.row("pooler").largest
    0.5
    """

    def __init__(self) -> None:
        self._vectors = self._numbers = 0
        self._largest = 0.0
        self._squares = np.zeros(4)

    def add(self, *, here: np.ndarray, torch: np.ndarray, exact: np.ndarray) -> None:
        """Adds outputs of one shape, the first axis for tokens or sequences; ``exact`` is float64."""
        self._vectors += len(exact)
        self._numbers += exact.size
        parts = (exact, here - torch.astype(np.float64), here - exact, torch - exact)
        self._largest = np.maximum(self._largest, np.abs(parts[1]).max())
        self._squares += [np.square(part).sum() for part in parts]

    def row(self, name: str) -> Row:
        """The row of all outputs that were added."""
        size, rms, here, torch = np.sqrt(self._squares / self._numbers).tolist()
        return Row(name, self._vectors, size, largest=float(self._largest), rms=rms, here=here, torch=torch)
