"""Names by how they are written, and the words and kinds of tokens, on sentences made for it and on Pocket stories."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pn_lib.data import pocket
from pn_lib.data.pocket.content import ANIMALS, CHILDREN, FAMILY, NEIGHBORS, POOLS
from pn_lib.data.tokenizer import train_tokenizer
from pn_lib.errors import InputError
from pn_lib.evaluation.names import Span, name_spans, names_in, token_groups, token_words, word_spans

SENTENCE = "Tom's dog didn't see Zoë,\n\nnor Tom."


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(pocket.sample_stories(300, seed=2), 400)


def test_names_stand_capitalised_in_mid_sentence():
    story = "Dogs saw Tom. They like Tom, and Tom's hat. Mum, Zoë and I'm glad. Then I ran, I did, and I hid."
    assert names_in([story]) == {"Tom"}  # Zoë comes once, "I" is none, "They", "Mum" and "Then" begin sentences
    assert names_in([story], least=1) == {"Tom", "Zoë"}
    assert names_in(["He saw Tom’s, Tom’s and Tom’s."]) == {"Tom"}
    assert names_in(['she said, "Look!"', "she said, “Look!”", "up\n\nLook", "Mr. Look", "no: Look"], least=1) == set()
    assert names_in(["on Sunday, on Sundays, in July, with Mr. Hill, in June"], least=1) == {"June"}


def test_a_name_is_mostly_capitalised():
    nine, ten = ["so Will ran"] * 9 + ["he will run"], ["so Will ran"] * 9
    assert names_in(nine) == {"Will"} and names_in(ten) == {"Will"}
    assert names_in([*nine, "he will run"]) == set()  # 9 of 11
    assert names_in([*nine, "he will run"], share=0.8) == {"Will"}
    with pytest.raises(InputError, match="share lie in"):
        names_in(nine, share=0)


def test_pocket_names_are_found():
    told = {
        word
        for pool in POOLS.values()
        for records in pool.options.values()
        for record in records
        for form in record.values()
        for word in form.split()
        if word.istitle()
    }
    people = {hero["name"] for hero in (*CHILDREN, *ANIMALS)}
    others = {word for person in (*FAMILY, *NEIGHBORS) for word in person["name"].replace("-", " ").split()}
    found = names_in(pocket.sample_stories(400, seed=5))
    assert found <= people | others | told  # nothing but names
    assert len(found & people) >= 0.9 * len(people)


def test_spans_and_labels(tokenizer):
    ids = [tokenizer.separator_id, *tokenizer.encode(SENTENCE)]
    pieces = [tokenizer.token_bytes(i) for i in ids]
    spans = word_spans(tokenizer, ids)
    assert [span.word for span in spans] == ["Tom", "dog", "didn't", "see", "Zoë", "nor", "Tom"]
    for word, start, end in spans:
        assert word.encode() in b"".join(pieces[start:end])
        assert all(word.encode() not in b"".join(pieces[a:b]) for a, b in ((start + 1, end), (start, end - 1)))
    assert [span.word for span in name_spans(tokenizer, ids, {"Tom"})] == ["Tom", "Tom"]
    words, groups = token_words(tokenizer, ids), token_groups(tokenizer, ids, {"Tom", "Zoë"})
    assert words[0] == "<|endoftext|>" and groups[0] == "separator"
    assert words[-2:] == ["tom", "."] and groups[-2:] == ["name", "sentence end"]
    zoe = spans[4]
    assert set(words[zoe.start : zoe.end]) == {"zoë"} and set(groups[zoe.start : zoe.end]) == {"name"}
    assert groups[zoe.end : zoe.end + 3] == ["comma", "break", "break"]
    didnt = spans[2]
    assert set(words[didnt.start : didnt.end]) == {"didn't"} and set(groups[didnt.start : didnt.end]) == {"word"}


def test_several_marks_in_one_token(tokenizer):
    ids = tokenizer.encode(' "me!" ')
    assert [tokenizer.decode([i]) for i in ids][-2:] == ['!"', " "]
    assert token_groups(tokenizer, ids, set()) == [
        "other mark",
        *["word"] * (len(ids) - 3),
        "sentence end",
        "other mark",
    ]


@given(st.lists(st.integers(0, 399), max_size=30))
def test_any_tokens_have_labels(tokenizer, ids):
    spans = word_spans(tokenizer, ids)  # bytes that are no characters, too
    assert all(isinstance(span, Span) and 0 <= span.start < span.end <= len(ids) for span in spans)
    assert len(token_words(tokenizer, ids)) == len(token_groups(tokenizer, ids, {"Tom"})) == len(ids)
