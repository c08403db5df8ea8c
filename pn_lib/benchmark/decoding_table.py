"""The table of decoding: time of one step, and the memory kept, against how much has been read before."""

import statistics
import time

import pandas as pd
import torch

from pn_lib.benchmark.contenders import Scale, build_ours, mamba_name, mixer_names, ours, random_ids
from pn_lib.benchmark.peak_memory import forget_peak, fresh_peak_mb
from pn_lib.benchmark.tables import Pair
from pn_lib.models.base import LanguageModel
from pn_lib.progress import progress
from pn_lib.training.timing import Contender, alternate

STEPS = 56  # measured at the end of each context
TURN = 8  # steps in one turn; the first half, not timed, brings weights back into the cache, as in real decoding
WARM_UP = 1


class Decoder:
    """A model that has read all but ``STEPS`` tokens of a context, in each row of a batch; a call is one turn."""

    def __init__(self, model: LanguageModel, scale: Scale, context: int, batch: int):
        self.model, self.ids = model, random_ids(scale, batch)
        with torch.inference_mode():
            _, state = model.prefill(random_ids(scale, 1, context - STEPS))
            # All rows read the same: one is enough to read, and the others are copies of its state.
            self.state = model.select(state, torch.zeros(batch, dtype=torch.int64))

    def __call__(self) -> float:
        """Seconds of a step, the median of the second half of a turn."""
        seconds = []
        with torch.inference_mode():
            for _ in range(TURN):
                start = time.perf_counter()
                _, self.state = self.model.step(self.ids, self.state)
                seconds.append(time.perf_counter() - start)
        return statistics.median(seconds[TURN // 2 :])

    def kept_mb(self) -> float:
        """Memory that decoding keeps between two tokens, in MB of 10^6 bytes."""
        return self.model.state_bytes(self.state) / 1e6


def measure_decoding(scale: Scale) -> pd.DataFrame:
    """A row for each model, batch and context: tokens/s of all rows together, ms a step, memory in MB."""
    rows = []
    for batch in progress(scale.batches, "decoding", unit="batch"):
        cases = {f"{name} at {context}": (name, context) for context in scale.contexts for name in ours(scale)}
        decoders = {}
        for label, (name, context) in progress(cases.items(), f"prefill, batch {batch}", unit="model"):
            decoders[label] = Decoder(build_ours(name, scale, context), scale, context, batch)
        contenders = [Contender(label, decoder, batch) for label, decoder in decoders.items()]
        timings = alternate(contenders, STEPS // TURN - WARM_UP, description=f"decoding, batch {batch}")
        tiny = scale.tiny()
        for label, (name, context) in progress(cases.items(), f"memory of decoding, batch {batch}", unit="model"):
            rows.append(
                {
                    "model": name,
                    "precision": "float32",
                    "batch": batch,
                    "context": context,
                    **timings[label].rates(batch),
                    **timings[label].milliseconds(),
                    "kept_mb": decoders[label].kept_mb(),
                    "peak_memory_mb": fresh_peak_mb(
                        decode_briefly, (scale, name, context, batch), (tiny, name, STEPS + TURN, 1)
                    ),
                }
            )
    return pd.DataFrame(rows)


def decoding_pairs(scale: Scale) -> list[Pair]:
    """Which rows of the table are set beside which."""
    mambas = [mamba_name(layers) for layers in (scale.equal_layers, scale.layers)]
    return [Pair(name, "Transformer", ("batch", "context")) for name in (*mambas, *mixer_names(scale))]


def decode_briefly(scale: Scale, name: str, context: int, batch: int) -> None:
    """Build a model, let it read and take the steps of one turn: what the memory of decoding is measured on.

    Model, state and step count, not what reading took at its height: here only one row has been read.
    """
    decoder = Decoder(build_ours(name, scale, context), scale, context, batch)
    forget_peak()
    decoder()


def against_context(table: pd.DataFrame) -> pd.DataFrame:
    """How decoding changes with the context: a row for each model and batch.

    ``longest_over_shortest`` is tokens/s at the longest context over those at the shortest;
    ``faster_than_transformer_from`` the least context measured from which on the model's step is the faster one, empty
    if there is none.
    """
    rows = []
    for (name, batch), mine in table.groupby(["model", "batch"], sort=False):
        speed = mine.set_index("context")["tokens_per_second"].sort_index()
        other = table[(table["model"] == "Transformer") & (table["batch"] == batch)]
        lead = speed > other.set_index("context")["tokens_per_second"].sort_index()
        rows.append(
            {
                "model": name,
                "batch": batch,
                "shortest": speed.index[0],
                "longest": speed.index[-1],
                "longest_over_shortest": speed.iloc[-1] / speed.iloc[0],
                "faster_than_transformer_from": _from(lead),
            }
        )
    return pd.DataFrame(rows).astype({"faster_than_transformer_from": "Int64"})


def _from(lead: pd.Series) -> int | None:
    """The first context from which on ``lead`` holds to the end."""
    behind = lead.index[~lead]
    ahead = lead.index[lead.index > behind[-1]] if len(behind) else lead.index
    return int(ahead[0]) if len(ahead) else None
