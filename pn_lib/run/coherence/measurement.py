"""What stories a model of Pocket stories tells: how many are valid, what breaks first, and what is kept from how far
back."""

import math
from collections import Counter
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pn_lib.data import pocket
from pn_lib.data.tokenizer import Tokenizer
from pn_lib.evaluation.intervals import bits_per_byte_interval, wilson_interval
from pn_lib.evaluation.recall import Fact, novelty, recall_by_distance, recall_by_fact, recalls, stories_by_fact
from pn_lib.evaluation.validity import departures, source_nats
from pn_lib.models.base import LanguageModel
from pn_lib.models.flops import training_flops
from pn_lib.models.generation import generate
from pn_lib.models.grid import Grid
from pn_lib.models.packed import save_packed
from pn_lib.models.packed_tokenizer import pack_tokenizer
from pn_lib.models.quantize import quantize
from pn_lib.run.coherence.plan import TRAIN_SEED, Plan
from pn_lib.run.results.coherence_results import Told
from pn_lib.training.config import TrainingConfig

BACK = (0, 50, 100, 200, 400)  # characters: where the stretches of ``recall_by_distance`` begin
ROUNDED = ("int8", "int4")


def measure_model(
    model: LanguageModel,
    tokenizer: Tokenizer,
    plan: Plan,
    training: TrainingConfig,
    story_nats: list[float],
    scratch: Path,
) -> dict[str, Any]:
    """The fields of a ``CoherentModel`` that do not hang on the training's clock; ``story_nats`` are those of the
    plan's held-out stories. The weights are told from as they are and, at temperature 1, rounded; ``scratch`` takes the
    files of the rounded ones."""
    exact, sizes = source_nats(plan.held_out, plan.language), np.array([len(s.encode()) for s in plan.held_out])
    whole = 4 * model.n_parameters() + len(pack_tokenizer(tokenizer)[1])
    texts = {t: tell(model, tokenizer, plan, t) for t in plan.temperatures}
    told = [_told(texts[t], plan, temperature=t, integers=None, file_bytes=whole) for t in plan.temperatures]
    for integers in ROUNDED:
        small, path = quantize(model, Grid(integers)), scratch / f"{integers}.safetensors"
        save_packed(small, tokenizer, path)
        stories = tell(small, tokenizer, plan, plan.temperatures[0])
        told.append(
            _told(stories, plan, temperature=plan.temperatures[0], integers=integers, file_bytes=path.stat().st_size)
        )
    return {
        "parameters": model.n_parameters(),
        "config": asdict(model.config),
        "flops": training_flops(model.config, training.tokens, training.context),
        "excess": bits_per_byte_interval(np.array(story_nats) - exact, sizes),
        "story_bytes": float(sizes.mean()),
        "story_words": float(np.mean([len(story.split()) for story in plan.held_out])),
        "source": float(exact.sum() / math.log(2) / sizes.sum()),
        "told": told,
        "story": texts[plan.temperatures[0]][0],
    }


def tell(model: LanguageModel, tokenizer: Tokenizer, plan: Plan, temperature: float) -> list[str]:
    """Stories from nothing, as long as the context at most."""
    separator = tokenizer.separator_id
    rows = generate(
        model, [[separator]] * plan.told, plan.context, temperature=temperature, stop_id=separator, seed=plan.seed
    )
    return [tokenizer.decode(row.ids) for row in rows]


def _told(stories: list[str], plan: Plan, **how: Any) -> Told:
    faults = departures(stories, plan.language)
    ends = dict(zip(faults["story"], faults["position"], strict=True))  # character of the first fault
    valid = [story for number, story in enumerate(stories) if number not in ends]
    texts, known = _training(plan.training_stories, plan.plots, plan.words)
    repeats = recalls(stories, faults, plan.language)
    return Told(
        **how,
        stories=len(stories),
        valid=wilson_interval(len(valid), len(stories)),
        words=float(np.mean([len(text[: ends.get(number)].split()) for number, text in enumerate(stories)])),
        reasons=dict(Counter(faults["reason"]).most_common()),
        slots=dict(Counter(faults["slot"].dropna()).most_common()),
        recalled=recall_by_distance(repeats, BACK).to_dict("records"),
        facts=recall_by_fact(repeats).to_dict("records"),
        copies=sum(story in texts for story in stories),
        new_pairs=float(novelty(valid, known, plan.language).mean()) if valid else None,
    )


@lru_cache(maxsize=1)
def _training(stories: int, plots: int | None, words: int | None) -> tuple[frozenset[str], dict[Fact, set[int]]]:
    """The training stories, and the numbers of those that tell a fact."""
    texts, tellings = zip(*pocket.sample_tellings(stories, TRAIN_SEED, pocket.dialect(plots, words)), strict=True)
    return frozenset(texts), stories_by_fact(tellings)
