"""A run's endings are heard, what was heard is kept, and the summary says whose they were."""

import pytest

pytest.importorskip("transformers")

from tiny_listener import save_listener

from pn_lib.cli import main
from pn_lib.files import sha256
from pn_lib.run.commands import listen_command
from pn_lib.run.results.listening_results import ListeningResult
from pn_lib.run.results.stories_results import CompletionsResult

BEGINNINGS = ["One day, Tom saw Mia.", "Once, Ben had a drum.", "Sue was in the park."]
REAL = [" Tom was glad. Mia ran.", " Ben could play. He was loud.", " Sue sat. Then Sue was sad."]
MODEL = [" Tom Tom Tom.", " A kite was it.", ""]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("PN_ROOT", str(tmp_path))
    save_listener(tmp_path / "ear", [b + e for b, e in zip(BEGINNINGS, REAL, strict=True)])
    results = tmp_path / "results" / "mine"
    ending = {
        who: [[{"text": text, "ended": True}] for text in row] for who, row in (("ngram", MODEL), ("human", REAL))
    }
    CompletionsResult(beginnings=BEGINNINGS, temperature=1.0, tellers=ending).write(results / CompletionsResult.FILE)
    return results


def listen(run, *more):
    return main(["listen", "mine", "--ear", str(run.parents[1] / "ear"), *more])


def test_what_was_heard_is_kept_and_never_asked_again(run, monkeypatch):
    asked = []
    hear = listen_command.hear

    def counting(listener, tokenizer, beginning, endings):
        asked.extend((beginning, ending) for ending in endings)
        return hear(listener, tokenizer, beginning, endings)

    monkeypatch.setattr(listen_command, "hear", counting)
    assert listen(run, "--beginnings", "2") == 0
    first, few = ListeningResult.read(run), len(asked)
    assert first.beginnings == 2 and first.completions == sha256(run / CompletionsResult.FILE)
    assert set(first.tellers) == {"ngram", "human"} and few == len(set(asked))
    assert listen(run, "--beginnings", "2") == 0 and len(asked) == few and ListeningResult.read(run) == first
    with (run / "listening" / "ear.jsonl").open("a") as log:
        log.write('["unfinished')  # as a killed process leaves it
    assert listen(run) == 0
    assert len(asked) == len(set(asked)) > few and ListeningResult.read(run).beginnings == 3
    assert listen(run) == 0 and len(asked) == len(set(asked))  # nothing is lost behind the damaged line


def test_the_summary_holds_models_and_known_groups(run):
    assert listen(run) == 0
    found = ListeningResult.read(run)
    assert {"shuffled", "renamed", "another", "negated", "looping", "ngram"} == set(found.known_groups.groups)
    assert set(found.known_groups.better) == {"surprise", "worth"}
    for teller in found.tellers.values():
        assert teller.surprise.low <= teller.surprise.value <= teller.surprise.high
    # Of Tom and Mia, Ben, and Sue, the real endings name all; the model's say Tom, no one, and nothing to be heard
    assert found.tellers["human"].names_kept.value == 1 and found.tellers["ngram"].names_kept.value == 0.25


def test_mistakes_are_one_sentence(run, capsys):
    told = CompletionsResult.read(run)
    silent = [[{"text": "", "ended": True}]] * 3
    told = CompletionsResult(
        beginnings=BEGINNINGS,
        temperature=1.0,
        tellers={"ngram": silent, "human": told.model_dump()["tellers"]["human"]},
    )
    told.write(run.parent / "empty" / CompletionsResult.FILE)
    for arguments, said in (
        (["listen", "nobody"], "run nobody has no"),
        (["listen", "mine", "--beginnings", "1"], "--beginnings must be at least 2"),
        (["listen", "mine", "--ear", "no/where"], "there is no model at no/where"),
        (["listen", "empty", "--ear", str(run.parents[1] / "ear")], "ngram wrote fewer than two endings"),
    ):
        assert main(arguments) == 2
        assert said in capsys.readouterr().err
