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
