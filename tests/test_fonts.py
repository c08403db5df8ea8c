"""Letters that the usual fonts lack come from the system's fonts; what no font has is said once."""

import warnings

import matplotlib.pyplot as plt
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.ttLib.tables._g_l_y_f import Glyph
from matplotlib import font_manager

from pn_lib.run import fonts
from pn_lib.run.plotting import draw, use_style


@pytest.fixture
def bare(monkeypatch):
    """A system with no fonts but matplotlib's own."""
    own = [font for font in font_manager.fontManager.ttflist if font.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    fonts._say_once.cache_clear()
    return font_manager.fontManager


def write_font(path, letters):
    names = [".notdef", *(f"letter{i}" for i in range(len(letters)))]
    font = FontBuilder(1000)
    font.setupGlyphOrder(names)
    font.setupCharacterMap(dict(zip(map(ord, letters), names[1:], strict=True)))
    font.setupGlyf({name: Glyph() for name in names})
    font.setupHorizontalMetrics(dict.fromkeys(names, (500, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)


def drawn(labels):
    use_style()
    figure, axes = plt.subplots()
    axes.barh(labels, range(len(labels)))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return draw(figure, format="svg", metadata={"Date": None}), [
                x.get_fontfamily() for x in axes.get_yticklabels()
            ]
    finally:
        plt.close(figure)


def test_what_no_font_has_is_said_once(bare, capsys):
    drawn(["cat", "猫", "りす", "เต่า", "🐢"])
    drawn(["cat", "猫", "りす", "เต่า", "🐢"])
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and said.startswith("note: no font on this machine has Thai, Japanese, Chinese")
    assert "install Noto Sans Thai, Noto Sans CJK, Noto Emoji and run again" in said


def test_a_font_of_the_system_is_taken_for_its_letters_alone(bare, tmp_path, capsys):
    before, _ = drawn(["cat", "dog"])
    boxes, _ = drawn(["cat", "猫"])
    write_font(tmp_path / "Mine.ttf", "猫犬")
    bare.addfont(tmp_path / "Mine.ttf")
    capsys.readouterr()
    pictures, families = drawn(["cat", "猫"])
    assert families == [["sans-serif"], ["DejaVu Sans", "Mine"]] and pictures != boxes
    assert fonts.find_fonts("猫り") == (["Mine"], {"り"})
    assert drawn(["cat", "dog"])[0] == before and capsys.readouterr().out == ""


def test_texts_in_latin_letters_have_nothing_unusual():
    assert fonts.unusual("“Zoë’s café” — ½ ±3 − 4 × 5 → naïve, Ωμέγα, Ёлка") == set()
