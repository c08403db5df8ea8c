"""What became of runs that were interrupted or damaged on purpose (``make faults``)."""

from typing import ClassVar, Self

from pydantic import Field

from pn_lib.run.results.result import Part, Result


class FaultRow(Part):
    fault: str = Field(description="what happened")
    part: str = Field(description="to which part of a run")
    same: int = Field(description="how often the next run left the same files, byte for byte, without a word")
    told: int = Field(description="how often one sentence said what was wrong; the next run then left the same files")
    failed: int = Field(description="how often anything else came of it")


class FaultOutcomes(Result):
    """Runs interrupted or damaged on purpose."""

    FILE: ClassVar[str] = "faults.json"

    faults: int = Field(description="how many faults there were")
    rows: list[FaultRow] = Field(description="their outcomes, by fault and part")

    @classmethod
    def none(cls) -> Self:
        return cls(faults=0, rows=[])

    def with_one(self, row: FaultRow) -> Self:
        """With the outcomes of one more fault."""
        rows = {(each.fault, each.part): each for each in self.rows}
        before = rows.get((row.fault, row.part))
        if before is not None:
            counts = {name: getattr(before, name) + getattr(row, name) for name in ("same", "told", "failed")}
            row = before.model_copy(update=counts)
        rows[row.fault, row.part] = row
        return type(self)(faults=self.faults + 1, rows=sorted(rows.values(), key=lambda each: (each.fault, each.part)))


class LargeRow(Part):
    part: str = Field(description="what was done")
    amount: str = Field(description="how much of it")
    seconds: float = Field(description="how long it took, beside other work")
    peak_megabytes: float = Field(description="the most memory that the process held, in MB of 10^6 bytes")
    failed: str | None = Field(description="what went wrong, if anything did")


class LargeResult(Result):
    """What is long or large, measured on one machine."""

    FILE: ClassVar[str] = "large.json"

    rows: list[LargeRow] = Field(description="what was tried")


class FuzzRow(Part):
    reader: str = Field(description="what was read")
    files: int = Field(description="how many spoiled files were read")
    seconds: float = Field(description="how long that took, beside other work")
    whole_lines: int = Field(description="the lines of pn_lib that whole files make it run")
    lines: int = Field(description="and those that spoiled files do")
    failed: str | None = Field(description="what else happened than that a file was read or refused in a sentence")


class FuzzResult(Result):
    """Files spoiled by a fuzzer, which keeps those that make a reader run new code (``make fuzz``)."""

    FILE: ClassVar[str] = "fuzz.json"

    rows: list[FuzzRow] = Field(description="the readers")


class NumbersRow(Part):
    setting: str = Field(description="how the process computed")
    file: str = Field(description="the result file whose numbers are compared")
    numbers: int = Field(description="how many numbers it holds")
    moved: float = Field(description="the largest movement of one of them, in units of its value with one thread")
    where: str | None = Field(description="the keys to that number; null if none moved")
    bits_per_byte: float | None = Field(
        description="the largest movement of one in bits per byte; null if there is none"
    )
    texts: int = Field(description="how many texts it holds")
    other_texts: int = Field(description="how many of them differ")


class NumbersResult(Result):
    """The numbers of a part of a run, computed in other ways, beside those of one thread."""

    FILE: ClassVar[str] = "numbers.json"

    cpu: str = Field(description="the processor")
    instructions: str = Field(description="its instructions, as with one thread")
    rows: list[NumbersRow] = Field(description="the movements, by setting and file")
