"""What the pipeline notes of a run: its settings, the machine, and times."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Part, Result, Settings


class RunCard(Result):
    """Which run this is."""

    FILE: ClassVar = "run.json"
    run: str = Field(description="its name")
    profile: str = Field(description="the profile")
    corpus: str = Field(description="the corpus, as the command line names it")
    # Not in the files of earlier runs
    content: str | None = Field(None, description="digest of the corpus' files; null if pn_lib makes or fetches them")
    settings: Settings = Field(description="all settings of the profile")


class Machine(Result):
    """What the run was made on."""

    FILE: ClassVar = "timings/machine.json"
    cpu: str = Field(description="processor, with the instructions that count")
    # Null in what runs of before noted, and written by every run since
    instructions: str | None = Field(None, description="those instructions: the kind of processor")
    precision: str | None = Field(None, description="precision that training takes of itself")
    cores: int = Field(description="cores that may be used")
    threads: int = Field(description="threads of PyTorch")
    memory_gb: float = Field(description="memory, 10^9 bytes")
    system: str = Field(description="operating system")
    python: str = Field(description="version of Python")
    versions: dict[str, str] = Field(description="versions of packages")
    commit: str = Field(description="commit of the repository; with + where files differed")
    # Null in what runs of before noted, and outside a clone
    commit_date: str | None = Field(None, description="day of that commit")
    version: str | None = Field(None, description="version of PocketNarrator")


class StageTime(Part):
    notebook: str = Field(description="the notebook")
    seconds: float = Field(description="seconds that it took")
    # Null in what runs of before noted, and written by every run since: a run may go on elsewhere
    cpu: str | None = Field(None, description="processor that it ran on last, with the instructions that count")
    commit: str | None = Field(None, description="commit that it ran from last; with + where files differed")


class StageTimes(Result):
    """How long the notebooks took."""

    FILE: ClassVar = "timings/stages.json"
    stages: list[StageTime] = Field(description="notebook by notebook")
    total_seconds: float = Field(description="all together")
    peak_memory_mb: int = Field(description="most memory that a notebook's process held, 10^6 bytes")
