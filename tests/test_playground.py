"""The playground's widgets, worked as a hand would; and that it asks for nothing where nobody watches."""

import pytest
import torch

from pn_lib.course import playground
from pn_lib.course.playground import Playground, show_playground
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.models.transformer import Transformer, TransformerConfig


@pytest.fixture(scope="module")
def zoo():
    tokenizer = train_tokenizer(["Once upon a time there was a cat <b>."] * 3, 290)
    zoo = {}
    for name in ("first", "second"):
        torch.manual_seed(len(name))
        config = TransformerConfig(tokenizer.vocab_size, context=32, d_model=8, n_layers=1, n_heads=2)
        zoo[name] = Transformer(config).eval(), tokenizer
    return zoo


def test_every_control_redraws_the_probabilities(zoo):
    game = Playground(zoo, "Once")
    seen = [game.chances.value]
    for widget, value in ((game.text, "Once upon"), (game.model, "second"), (game.temperature, 0.3), (game.top_p, 0.2)):
        widget.value = value
        seen.append(game.chances.value)
    assert len(set(seen)) == len(seen) and all("<table>" in each for each in seen)


def test_the_buttons_write_and_a_seed_tells_the_same_again(zoo):
    game, again = Playground(zoo, "Once"), Playground(zoo, "Once")
    game.one.click()
    assert game.text.value.startswith("Once") and len(game.text.value) >= 5 and game.seed.value == 1
    again.one.click()
    assert again.text.value == game.text.value
    game.many.click()
    assert len(game.text.value) > len(again.text.value) + 5


def test_greedy_leaves_one_token(zoo):
    game = Playground(zoo, "Once")
    game.temperature.value = 0
    assert f"1 of {zoo['first'][1].vocab_size} tokens are possible" in game.chances.value
    assert game.chances.value.count("<tr>") == 1


def test_a_long_story_goes_on_from_its_last_words(zoo):
    game = Playground(zoo, "Once upon a time there was a cat. " * 9)
    game.one.click()
    assert len(game.text.value) > 34 * 9  # all kept, though the model sees the end alone


def test_what_a_model_writes_cannot_become_markup(zoo):
    game = Playground(zoo, "Once")
    token = zoo["first"][1].encode("<")[0]
    assert game._spell(zoo["first"][1], token) == "<"
    with torch.no_grad():
        zoo["first"][0].embedding.weight[token] += 50
    try:
        game.text.value = "Once upon <"
        assert "&lt;" in game.chances.value and "<</td>" not in game.chances.value
    finally:
        with torch.no_grad():
            zoo["first"][0].embedding.weight[token] -= 50


def test_nobody_watching_no_widgets(zoo, monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(playground, "display", shown.append)
    monkeypatch.setenv("CI", "1")
    show_playground(zoo, "Once")
    assert not shown and "JupyterLab" in capsys.readouterr().out
    monkeypatch.delenv("CI")
    monkeypatch.delenv("PN_PROGRESS", raising=False)
    show_playground(zoo, "Once")
    assert len(shown) == 1
