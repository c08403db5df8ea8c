"""``python -m pn_lib evaluate``: what can be measured of any saved model without a judge, in one go, as tables.

The model may be ours or not (``pn_lib.models.loading``), the corpus any. Likelihood, completions of held-out beginnings
beside their real endings, probes; and on Pocket stories what is exact: the excess over the source, whole stories that
the source could have told, Pocket probes.
"""

import re
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd

from pn_lib.data.cleaning import clean
from pn_lib.data.corpora import load_corpus
from pn_lib.data.corpus_paths import FOUND, Naming
from pn_lib.data.stories import iterate, read_stories
from pn_lib.data.tokenizer import Coder
from pn_lib.errors import InputError
from pn_lib.evaluation import validity
from pn_lib.evaluation.completions import (
    MEASURES,
    Yardstick,
    complete,
    copy_lengths,
    cut_at,
    cut_beginning,
    measure,
    summarise,
)
from pn_lib.evaluation.copies import StoryIndex
from pn_lib.evaluation.intervals import Interval, bits_per_byte_interval
from pn_lib.evaluation.probes import KINDS, accuracy, load_probes, pocket_probes, score_probes
from pn_lib.files import read_json, write_json
from pn_lib.models.base import LanguageModel
from pn_lib.models.likelihood import Likelihood, context_of, text_likelihood
from pn_lib.models.loading import open_model
from pn_lib.models.lossless import round_trip
from pn_lib.run.profile import load_profile
from pn_lib.run.saved_models import model_source
from pn_lib.run.stage_records import check_made
from pn_lib.run.stages import NAMED_CORPORA, output_root

POCKET_PROBES = 200  # of each kind
SPLIT_SEED = 0  # of a corpus without a validation split: another seed for sampling must not change what was held out
# Text that some tokenizer takes for one of its control tokens; ours never do, and would read it letter by letter.
CONTROL = re.compile(
    r"<\|[^|<>]*\|>|</?s>|<(?:unk|pad|bos|eos|mask)>|\[/?(?:INST|CLS|SEP|MASK|PAD)\]|<0x[0-9A-F]{2}>", re.IGNORECASE
)


@dataclass(frozen=True)
class Extent:
    """How much is measured: validation stories scored, training stories searched for copies, beginnings finished,
    endings of each, and how they are sampled."""

    stories: int = 300
    train_stories: int = 10_000
    completions: int = 60
    repeats: int = 2
    max_bytes: int = 1000
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in {
            "stories": 2,
            "train_stories": 1,
            "completions": 2,
            "repeats": 1,
            "max_bytes": 1,
        }.items():
            if getattr(self, name) < least:
                raise InputError(f"--{name.replace('_', '-')} must be at least {least}, not {getattr(self, name)}")
        if self.completions > self.stories:
            raise InputError(
                f"--completions {self.completions} are more than the --stories {self.stories} whose "
                "beginnings they finish; ask for fewer"
            )


def check_prompt(prompt: str) -> str:
    """The prompt, if a story can begin so.

    Raises:
        InputError: it is empty, or holds the spelling of a control token.
    """
    if not prompt.strip():
        raise InputError("the beginning is empty; leave it out to start from nothing, or give the story's first words")
    control = CONTROL.search(prompt)
    if control:
        raise InputError(
            f"the beginning holds {control[0]!r}, which looks like a control token; models of stories "
            "read it as ordinary letters, so leave it out"
        )
    return prompt


def evaluate(source: str, corpus: str, extent: Extent, out: str | None = None, profile: str = "quick") -> str:
    """All tables as text; with ``out`` their numbers go to that JSON file too.

    The [data] of ``profile`` may name what a story is in the corpus's files.

    Stories that the model's tokenizer changes are not scored, and a warning says how many: their tokens are those of
    another text.

    Raises:
        InputError: a model or corpus that cannot be opened, or ``extent`` asks for more stories than there are.
    """
    if out is not None and (Path(out).is_dir() or not Path(out).absolute().parent.is_dir()):
        raise InputError(f"--out {out} must be a file in a folder that exists")
    naming = load_profile(profile).data.naming
    model, tokenizer = open_model(model_source(source))
    training, validation, title = _stories(source, corpus, extent, naming)
    result = {
        "model": {
            "source": source,
            "kind": model.name,
            "parameters": model.n_parameters(),
            "context": context_of(model),
            "vocabulary": tokenizer.vocab_size,
            "space_before": tokenizer.space_before,
        },
        "corpus": {"title": title, "training_stories": len(training), "validation_stories": len(validation)},
    }
    result["likelihood"], scored, score = _likelihood(model, tokenizer, validation)
    result["completions"] = _completions(model, tokenizer, training, validation[: extent.completions], extent)
    probes = [probe for kind in KINDS for probe in load_probes(kind)]
    if corpus == "pocket":
        probes += pocket_probes(POCKET_PROBES, extent.seed)
        result["pocket"] = _pocket(model, tokenizer, scored, score, extent)
    scores = score_probes(model, tokenizer, probes, context_of(model))
    result["probes"] = accuracy(scores).to_dict("index")
    if out is not None:
        write_json(out, result)
    return _text(result, extent, ours=model_source(source) != source or corpus in NAMED_CORPORA)


def _stories(source: str, corpus: str, extent: Extent, naming: Naming = FOUND) -> tuple[list[str], list[str], str]:
    """Training stories, validation stories, and what the corpus is called. A model of a run, on that run's corpus, is
    asked about the stories that the run held out."""
    results = output_root() / "results" / source.partition("/")[0]
    kept = model_source(source) != source and (results / "run.json").is_file()  # a published run keeps no stories
    if kept and read_json(results / "run.json")["corpus"] == corpus:
        check_made(results, "stories")
        check_made(results, "data.json")
        wanted = {"train": extent.train_stories, "validation": extent.stories}
        training, validation = (
            list(islice(read_stories(results / "stories" / f"{part}.parquet"), number))
            for part, number in wanted.items()
        )
        return training, validation, read_json(results / "data.json")["corpus"]["title"]
    loaded = load_corpus(corpus, extent.train_stories, extent.stories, SPLIT_SEED, output_root(), naming=naming)
    training, validation = (list(iterate(clean(part)[0])) for part in (loaded.train, loaded.validation))
    return training, validation, loaded.card.title


def _likelihood(
    model: LanguageModel, tokenizer: Coder, validation: list[str]
) -> tuple[dict, list[str], Likelihood | None]:
    """The bits per byte, of which stories they are, and their scores; None if fewer than two stories come back from the
    tokenizer, as one story has no interval."""
    trip = round_trip(tokenizer, validation)
    facts = {"stories": trip.texts, "lossless_stories": len(trip.kept), "warning": trip.sentence}
    if len(trip.kept) < 2:
        return {"value": None, "low": None, "high": None, **facts}, [], None
    scored = [validation[place] for place in trip.kept]
    score = text_likelihood(model, tokenizer, scored)
    return {**bits_per_byte_interval(score.story_nats, score.story_bytes)._asdict(), **facts}, scored, score


def _spread(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval._asdict()


def _completions(
    model: LanguageModel, tokenizer: Coder, training: list[str], validation: list[str], extent: Extent
) -> dict:
    beginnings, references = zip(*map(cut_beginning, validation), strict=True)
    told = complete(
        model,
        tokenizer,
        beginnings,
        extent.repeats,
        max_bytes=extent.max_bytes,
        temperature=extent.temperature,
        seed=extent.seed,
    )
    real = [[cut_at(reference, True, extent.max_bytes)] for reference in references]
    with tempfile.TemporaryDirectory() as folder:
        yardstick = Yardstick.of(training, StoryIndex.build(training, folder))
        tables = {
            who: measure(beginnings, endings, references, yardstick)
            for who, endings in (("model", told), ("real endings", real))
        }
    return {
        "beginnings": len(beginnings),
        "repeats": extent.repeats,
        "temperature": extent.temperature,
        "measures": {
            who: {key: _spread(value) for key, value in summarise(table).items()} for who, table in tables.items()
        },
        "copy_lengths": {who: copy_lengths(table) for who, table in tables.items()},
        "example": {"beginning": beginnings[0], "ending": told[0][0].text},
    }


def _pocket(
    model: LanguageModel, tokenizer: Coder, scored: list[str], score: Likelihood | None, extent: Extent
) -> dict:
    blank = complete(
        model,
        tokenizer,
        [""],
        extent.completions,
        max_bytes=extent.max_bytes,
        temperature=extent.temperature,
        seed=extent.seed,
        name="Telling",
    )
    stories = [ending.text for ending in blank[0]]
    whole = [ending.text for ending in blank[0] if ending.ended]
    return {
        "ended": len(whole),
        "excess_bits_per_byte": _spread(score and validity.excess_bits_per_byte(score.story_nats, scored)),
        "valid_share": _spread(validity.valid_share(stories)),
        "stories": len(stories),
        "reasons": validity.departure_reasons(whole),
    }


def _text(result: dict, extent: Extent, ours: bool) -> str:
    facts, sizes, completions = result["model"], result["corpus"], result["completions"]
    lines = [
        f"{facts['source']}: {facts['kind']}, {facts['parameters']:,} parameters, vocabulary "
        f"{facts['vocabulary']:,}, context {facts['context']:,}",
        f"{sizes['title']}: {sizes['validation_stories']:,} validation stories",
        *(
            []
            if ours
            else [
                "(A model trained on this corpus may have read some of them, unless the corpus has a "
                "validation split of its own.)"
            ]
        ),
        "Square brackets hold 95 % intervals.",
        "",
        *_likelihood_lines(result),
        "",
        f"Endings of {completions['beginnings']} held-out beginnings, {completions['repeats']} each, temperature "
        f"{completions['temperature']:g}, at most {extent.max_bytes} bytes; copies sought in "
        f"{sizes['training_stories']:,} training stories",
        pd.DataFrame(
            {
                MEASURES[key]: {who: _spell(values[key]) for who, values in completions["measures"].items()}
                for key in MEASURES
            }
        ).T.to_string(),
        "",
        "Probes: how often the right continuation is likelier than the wrong ones",
        pd.DataFrame(
            {
                kind: {"right": _spell(row), "guessing": f"{row['chance']:.2f}", "probes": row["n"]}
                for kind, row in result["probes"].items()
            }
        ).T.to_string(),
    ]
    if "pocket" in result:
        pocket = result["pocket"]
        lines += [
            "",
            "Against the exact source of Pocket stories",
            f"bits per byte above the source {_spell(pocket['excess_bits_per_byte'])}",
            f"whole stories of the language {_spell(pocket['valid_share'])} of {pocket['stories']}; "
            f"{pocket['stories'] - pocket['ended']} were cut at the limit",
        ]
        lines += [f"  {count} leave it for: {reason}" for reason, count in pocket["reasons"]]
    return "\n".join([*lines, "", f"{completions['example']['beginning']} ***{completions['example']['ending']}"])


def _likelihood_lines(result: dict) -> list[str]:
    """The bits per byte, and what they are of if that is not all stories as they were given."""
    row, lines, share = result["likelihood"], [], ""
    kept = row["lossless_stories"]
    if row["warning"]:
        scored = "Bits per byte are left out, since they would measure another text"
        if row["value"] is not None:
            share = f" on {kept:,} of {row['stories']:,} stories"
            scored = (
                f"The bits per byte are those of the other {kept:,} and cannot be compared with figures for all stories"
            )
        lines = [f"WARNING: {row['warning']}. {scored}; endings and probes use the changed texts.", ""]
    lines.append(f"bits per byte {_spell(row)}{share}")
    if result["model"]["space_before"]:
        lines.append(
            "(The tokenizer puts a space before each story: the bits count what it costs, the bytes leave it out.)"
        )
    return lines


def _spell(row: dict | None) -> str:
    return "-" if row is None or row["value"] is None else f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
