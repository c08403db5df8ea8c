"""The README's figure of bytes and bits: all points and names are there, and no name lies on another."""

from itertools import combinations

import pytest

from pn_lib.course import frontier_figure
from pn_lib.course.frontier_figure import draw_frontier, frontier_markdown, frontier_picture
from pn_lib.errors import InputError
from pn_lib.files import write_json
from pn_lib.run.plotting import COLOURS, use_style


def model(name: str, size: int, loss: float) -> dict:
    return {"name": name, "file_bytes": size, "bits_per_byte": {"value": loss, "low": loss - 0.01, "high": loss + 0.01}}


MODELS = [
    model("reference/100k", 99_472, 0.99),
    model("reference/300k", 295_063, 0.81),
    model("stories260K", 1_062_767, 0.92),
    model("overnight-tinystories/small", 1_371_000, 0.93),
    model("4-gram", 26_000_000, 1.07),
    model("SmolLM2-135M-Instruct", 93_000_000, 0.8),
]


def test_every_point_has_its_name_beside_it_and_none_covers_another():
    use_style()
    figure = draw_frontier(MODELS, {"zlib": 2.4, "bz2": 1.65})
    [axes] = figure.axes
    names = [text.get_text() for text in axes.texts]
    assert names[0] == "bz2: compression, no model"
    assert sorted(names[1:]) == ["4-gram, 26 MB", "SmolLM2-135M-Instruct, 93 MB", "ours, 1.4 MB", "ours, 295 kB",
                                 "ours, 99 kB", "stories260K, 1.1 MB"]  # fmt: skip
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    points = axes.transData.transform([(one["file_bytes"], one["bits_per_byte"]["value"]) for one in MODELS])
    assert not [box for box in boxes if box.count_contains(points)]
    [line] = [line for line in axes.lines if line.get_color() == COLOURS["blue"] and len(line.get_xdata()) > 1]
    assert list(line.get_xdata()) == [99_472, 295_063]  # the larger one of ours is not better


def test_too_many_points_in_one_place_are_an_error_and_not_a_muddle():
    with pytest.raises(InputError, match="has no room for the name"):
        draw_frontier([model(f"a model {i}", 100_000 + i, 1 + i / 1e5) for i in range(40)], {"bz2": 1.65})


def test_all_compared_models_are_shown_once_there_are_any(tmp_path, monkeypatch):
    monkeypatch.setattr(frontier_figure, "PUBLISHED", tmp_path)
    write_json(tmp_path / "reference" / "frontier.json", {"models": [model("300k", 295_063, 0.81)]})
    write_json(tmp_path / "overnight-tinystories" / "data.json", {"compressors": {"bz2": 1.65}})
    assert "included: ours, 295 kB: 0.81](figures/" in frontier_markdown()
    write_json(tmp_path / "reference" / "general.json", {"models": MODELS[::-1]})
    words = frontier_markdown()
    assert "ours, 99 kB: 0.99; ours, 295 kB: 0.81; stories260K, 1.1 MB: 0.92" in words and "4-gram, 26 MB" in words
    assert frontier_picture() == frontier_picture()
