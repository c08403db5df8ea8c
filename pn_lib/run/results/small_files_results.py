"""What the files that come with the repository cost: alone, without the rest of a run."""

from pydantic import Field

from pn_lib.run.results.frontier_results import PackedTiming, SmallFilesTimings


class SmallFileTiming(PackedTiming):
    processes: int = Field(description="processes that trained it together, each on one core")
    cpu: str = Field(description="the processor that trained it, and its instructions; training was beside other work")


class PublishedTimings(SmallFilesTimings):
    models: list[SmallFileTiming] = Field(description="models trained to be small")
