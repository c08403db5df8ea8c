"""``python -m pn_lib listen``: a general language model hears the endings of a run, and says how surprised it is.

What it hears are notebook 05's completions (``results/<run>/completions.json``), the first ending of each beginning,
and the real endings, whole and damaged in known ways. What it answers is kept in ``results/<run>/listening/``: after a
stop, or with more beginnings, the same command goes on from there. The summary, ``listening.json``, names the
completions by their SHA-256, so that a report knows whether they are its own.
"""

import json
from pathlib import Path

import pandas as pd

from pn_lib.data.tokenizer import Coder
from pn_lib.errors import InputError
from pn_lib.evaluation.completions import cut_at
from pn_lib.evaluation.ear import Heard, Listener, ear_path, hear, open_ear
from pn_lib.evaluation.intervals import bootstrap_interval
from pn_lib.evaluation.known_groups import damage, known_groups
from pn_lib.evaluation.names import names_in, names_kept
from pn_lib.files import sha256
from pn_lib.key import make_key
from pn_lib.progress import progress
from pn_lib.run.results.listening_results import HeardTeller, ListeningResult
from pn_lib.run.results.stories_results import CompletionsResult, KnownGroups
from pn_lib.run.stages import output_root

MAX_BYTES = 500  # of an ending that are heard: a byte surprises less the more text was read before it
REAL = "human"  # the real endings among a run's completions


def listen(run: str, source: str | None, beginnings: int) -> Path:
    """Hear the endings of the first ``beginnings``; returns the summary's path.

    Raises:
        InputError: the run has no completions, there are too few beginnings, or the listener cannot be opened.
    """
    results = output_root() / "results" / run
    if not (results / CompletionsResult.FILE).exists():
        raise InputError(
            f"run {run} has no {results / CompletionsResult.FILE} to hear; make it with python -m pn_lib run"
        )
    if beginnings < 2:
        raise InputError(f"--beginnings must be at least 2, not {beginnings}")
    told, path = CompletionsResult.read(results), ear_path(source)
    listener, tokenizer = open_ear(source)
    real = [b + endings[0].text for b, endings in zip(told.beginnings, told.tellers[REAL], strict=True)]
    names = names_in(real, least=1)
    texts = endings_to_hear(told, names)
    log = HeardLog(results / "listening" / f"{path.stem}.jsonl", f"{path.name} {listener.n_parameters()}")
    rows = []
    for place, beginning in enumerate(progress(told.beginnings[:beginnings], "Listening", unit="beginning")):
        here = {group: each[place] for group, each in texts.items() if each[place] is not None}
        found = log.hear(listener, tokenizer, beginning, list(here.values()))
        rows += [
            {"group": group, "beginning": place, **heard.per_byte(), **heard._asdict()}
            | {"names_kept": names_kept(beginning, here[group], names)}
            for group, heard in zip(here, found, strict=True)
        ]
    tables = dict(tuple(pd.DataFrame(rows).groupby("group", sort=False)))
    tellers = {who: who for who in told.tellers if who != REAL}
    result = ListeningResult(
        listener=path.name,
        parameters=listener.n_parameters(),
        completions=sha256(results / CompletionsResult.FILE),
        temperature=told.temperature,
        beginnings=min(beginnings, len(told.beginnings)),
        max_bytes=MAX_BYTES,
        tellers={who: summarize(who, tables.get(who, ())) for who in told.tellers},
        known_groups=KnownGroups(**known_groups(tables, REAL, tellers, ("surprise", "worth"))),
    )
    result.write(results / ListeningResult.FILE)
    return results / ListeningResult.FILE


def endings_to_hear(told: CompletionsResult, names: set[str]) -> dict[str, list[str | None]]:
    """By group, the text heard behind each beginning: each model's first ending, the real one, and the real one
    damaged; None where it is empty, or nothing was there to damage."""
    real = [endings[0].text for endings in told.tellers[REAL]]
    groups = {who: [endings[0].text for endings in rows] for who, rows in told.tellers.items()}
    groups |= {who: [each and each[0].text for each in rows] for who, rows in damage(real, names, MAX_BYTES).items()}
    return {who: [cut_at(text, True, MAX_BYTES).text if text else None for text in row] for who, row in groups.items()}


def summarize(teller: str, table: pd.DataFrame) -> HeardTeller:
    """Bits per byte and names kept over all endings of a teller, with intervals over beginnings.

    Raises:
        InputError: of fewer than two beginnings there is an ending.
    """
    if len(table) < 2:
        raise InputError(f"{teller} wrote fewer than two endings that can be heard; give more --beginnings")
    size, kept = table["size"].to_numpy(), table["names_kept"].dropna().to_numpy()
    return HeardTeller(
        surprise=bootstrap_interval(table["given"].to_numpy(), size),
        worth=bootstrap_interval((table["alone"] - table["given"]).to_numpy(), size),
        names_kept=bootstrap_interval(kept) if len(kept) > 1 else None,
    )


class HeardLog:
    """What a listener has heard, a line of JSON each; one that a killed process left unfinished is passed over."""

    def __init__(self, path: Path, listener: str):
        self.path, self.listener = path, listener
        self.known: dict[str, Heard] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if text and not text.endswith("\n"):  # what comes next begins a line of its own
            path.write_text(text + "\n", encoding="utf-8")
        for line in text.splitlines():
            try:
                key, *heard = json.loads(line)
            except json.JSONDecodeError:
                continue
            self.known[key] = Heard(*heard)

    def hear(self, listener: Listener, tokenizer: Coder, beginning: str, endings: list[str]) -> list[Heard]:
        """``ear.hear``, asked only for what is not known yet."""
        keys = {ending: make_key([self.listener, beginning, ending]) for ending in endings}
        new = [ending for ending, key in keys.items() if key not in self.known]
        with self.path.open("a", encoding="utf-8") as file:
            for ending, heard in zip(new, hear(listener, tokenizer, beginning, new) if new else [], strict=True):
                self.known[keys[ending]] = heard
                file.write(json.dumps([keys[ending], *heard]) + "\n")
        return [self.known[keys[ending]] for ending in endings]
