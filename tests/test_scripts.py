"""Words, openings and speech in any script: where nothing parts words, letters are counted and compared instead."""

import random

import pytest

from pn_lib.data.leakage import remove_leakage
from pn_lib.data.scripts import has_speech, opening, split_words, words
from pn_lib.data.stories import to_dataset
from pn_lib.evaluation.copies import StoryIndex

JAPANESE = [
    f"ある朝、{who}は{what}を見つけました。" for who in ("りく", "はな", "そら") for what in ("赤いボール", "小さな鍵")
]
THAI = [
    f"กาลครั้งหนึ่ง {who}เจอ{what}ที่ริมแม่น้ำ" for who in ("เต่าน้อย", "แมวดำ", "ช้างใหญ่") for what in ("ลูกบอลสีแดง", "กุญแจเล็ก")
]


def test_words_of_scripts_with_spaces_are_what_stands_between_them():
    text = "“Où est-elle ?” dit Zoë — 3 fois.\n\n Didn't SHE?"
    assert split_words(text) == text.split()
    assert words(text) == ["où", "est", "elle", "dit", "zoë", "3", "fois", "didn't", "she"]
    assert opening(text, 4) == "“Où est-elle ?” dit"


def test_each_letter_of_a_script_without_spaces_is_a_word():
    assert split_words("「小狐狸」跑了。  ") == ["「小", "狐", "狸」", "跑", "了。"]
    assert words("小狐狸、Tim's ボール。") == ["小", "狐", "狸", "tim's", "ボ", "ー", "ル"]
    assert (
        split_words("เต่าน้อย ที่") == words("เต่าน้อย ที่") == ["เ", "ต่", "า", "น้", "อ", "ย", "ที่"]
    )  # marks stay with letters
    assert opening(JAPANESE[0] * 9, 4) == "ある朝、りくは赤い"
    assert opening("ある", 4) == "ある" and opening("", 4) == ""


@pytest.mark.parametrize(
    "speech", ['"Hi"', "“Hi”", "„Hi“", "„Cześć”", "«Oui»", "»Ja«", "‹Oui›", "「はい」", "『はい』", "｢ハイ｣"]
)
def test_speech_stands_in_marks_of_any_language(speech):
    assert has_speech(f"A fox {speech} B")
    assert not has_speech(f"A fox {speech[:-1]} B") and not has_speech("It isn't 5' tall")


@pytest.mark.parametrize("sentences", [JAPANESE, THAI], ids=["Japanese", "Thai"])
def test_copies_with_one_edit_are_found_in_scripts_without_spaces(sentences, tmp_path):
    rng = random.Random(0)
    tales = ["".join(rng.choices(sentences, k=9)) for _ in range(8)]
    letters = tales[0]
    edited = letters[: len(letters) // 2] + "X" + letters[len(letters) // 2 + 1 :]
    other = "".join(rng.choices("春夏秋冬山川木花", k=300))
    kept, report = remove_leakage(to_dataset([edited, tales[1], other]), to_dataset(tales[:2]))
    assert (report.exact, report.near, len(kept)) == (1, 1, 1)
    index = StoryIndex.build(tales, tmp_path)
    assert len(index.longest_copied_span(edited).words) > 60
