"""Token files and batches."""

import hashlib
import re
from copy import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pn_lib.data.tokenizer import SEPARATOR, train_tokenizer
from pn_lib.data.tokens import IGNORED, TokenFile, batch, story_batch, write_tokens
from pn_lib.errors import InputError

STORIES = [f"Once upon a time, turtle {i} met “Zoë”.\n\nThe end." for i in range(2500)] + [f"It said {SEPARATOR}."]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(STORIES, 320)


@pytest.fixture
def tokens(tokenizer, tmp_path):
    return write_tokens(tmp_path / "tokens" / "train", iter(STORIES), tokenizer)


def test_stories_come_back_between_separators(tokens, tokenizer):
    separator = tokenizer.separator_id
    assert tokens.separator_id == separator
    assert len(tokens) == len(STORIES)
    for i in (0, 1, 999, 1000, 2500):
        first, *ids, last = tokens.story(i).tolist()
        assert (first, last) == (separator, separator)
        assert tokenizer.decode(ids) == STORIES[i]
        assert tokens.story_bytes[i] == len(STORIES[i].encode())
    assert np.flatnonzero(tokens.tokens == separator).tolist() == tokens.offsets.tolist()
    assert sum(len(tokens.story(i)) - 1 for i in range(len(tokens))) + 1 == len(tokens.tokens)
    assert isinstance(tokens.tokens, np.memmap) and tokens.tokens.dtype == np.uint16


def test_the_digest_is_of_all_tokens_and_maps_none(tokens):
    expected = hashlib.sha256(tokens.tokens.tobytes()).hexdigest()
    unmapped = copy(tokens)
    unmapped.tokens = SimpleNamespace(filename=tokens.tokens.filename)  # nothing of it can be read but the file
    assert unmapped.digest() == expected


def test_files_are_the_same_every_time(tokens, tokenizer, tmp_path):
    write_tokens(tmp_path / "again", STORIES, tokenizer)
    for ending in (".bin", ".npz"):
        assert (tmp_path / f"again{ending}").read_bytes() == (tmp_path / "tokens" / f"train{ending}").read_bytes()
    assert len(list((tmp_path / "tokens").iterdir())) == 2


def test_batches_are_windows_of_the_stream_by_seed_and_step(tokens):
    x, y = batch(tokens, 8, 32, seed=1, step=5)
    assert x.shape == y.shape == (8, 32) and x.dtype == y.dtype == torch.int64
    assert torch.equal(x[:, 1:], y[:, :-1])
    stream = tokens.tokens.tobytes()
    assert all(row.numpy().astype(np.uint16).tobytes() in stream for row in torch.cat([x, y[:, -1:]], dim=1))
    batch(tokens, 8, 32, seed=1, step=6)  # no state in between
    assert torch.equal(batch(tokens, 8, 32, seed=1, step=5)[0], x)
    others = [batch(tokens, 8, 32, seed, step)[0] for seed, step in ((1, 6), (2, 5), (5, 1))]
    assert not any(torch.equal(other, x) for other in others)


def test_a_row_of_a_story_batch_counts_one_story(tokens):
    longest = int(np.diff(tokens.offsets).max())
    x, y = story_batch(tokens, 64, longest, 5, 2)
    for row, to in zip(x.tolist(), y.tolist(), strict=True):
        n = sum(each != IGNORED for each in to)
        assert to[n:] == [IGNORED] * (longest - n)
        story = [row[0], *to[:n]]
        assert any(story == tokens.story(i).tolist() for i in range(len(tokens)))
        assert row[: n + 1] == story[: len(row[: n + 1])]  # the inputs, one earlier
    assert len({tuple(row) for row in x.tolist()}) > 1
    short, _ = story_batch(tokens, 64, 3, 5, 2)  # parts of stories, the beginning and others
    begun = short[:, 0] == tokens.separator_id
    assert begun.any() and not begun.all()


def test_every_token_is_drawn_the_last_one_too(tokenizer, tmp_path):
    tokens = write_tokens(tmp_path / "t", ["abc"], tokenizer)
    size = len(tokens.tokens)
    x, y = batch(tokens, 200, size - 2, seed=0, step=0)
    assert {len(set(map(tuple, z.tolist()))) for z in (x, y)} == {2}
    x, y = batch(tokens, 2, size - 1, seed=0, step=0)
    assert [*x[0].tolist(), y[0, -1].item()] == tokens.tokens.tolist()
    with pytest.raises(InputError, match=rf"{size} tokens, too few for a context of {size}"):
        batch(tokens, 2, size, seed=0, step=0)


def test_what_does_not_fit_is_refused(tokenizer, tmp_path):
    with pytest.raises(InputError, match="no stories"):
        write_tokens(tmp_path / "none", [], tokenizer)
    with pytest.raises(InputError, match="65,537 tokens does not fit"):
        write_tokens(tmp_path / "large", ["a"], SimpleNamespace(vocab_size=65_537, separator_id=0))
    assert not list(tmp_path.iterdir())


def encrypt(path, flag):
    """Say so of every file in a ZIP archive, as one flipped bit can."""
    data = bytearray(path.read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(re.escape(magic), bytes(data)):
            data[found.start() + at] |= flag
    path.write_bytes(data)


def lengthen(path):
    """Give the first file of a ZIP archive another, very long name; its directory has the old one."""
    data = path.read_bytes()
    path.write_bytes(data[:26] + (5011).to_bytes(2, "little") + data[28:30] + b"[" * 5000 + data[30:])


@pytest.mark.parametrize(
    ("ending", "damage"),
    [
        (".bin", lambda stream: stream.unlink()),
        (".bin", lambda stream: stream.write_bytes(stream.read_bytes()[:-1])),
        (".bin", lambda stream: stream.write_bytes(b"")),
        (".npz", lambda index: index.unlink()),
        (".npz", lambda index: index.write_bytes(index.read_bytes()[:200])),
        (".npz", lambda index: index.write_bytes(b"")),
        (".npz", lambda index: np.savez(index, something=np.arange(3))),
        (".npz", lambda index: np.savez(index, **{**np.load(index), "story_bytes": np.arange(3)})),
        (".npz", lambda index: encrypt(index, 0x01)),
        (".npz", lambda index: encrypt(index, 0x40)),
        (".npz", lambda index: index.write_bytes(index.read_bytes().replace(b"offsets.npy", b"[" * 5000, 1))),
        (".npz", lambda index: lengthen(index)),
    ],
)
def test_damaged_files(tokens, tmp_path, ending, damage):
    prefix = tmp_path / "tokens" / "train"
    damage(prefix.with_suffix(ending))
    with pytest.raises(InputError, match=r"damaged|do not exist") as caught:
        TokenFile(prefix)
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)


def test_a_write_that_fails_leaves_no_old_index_on_a_new_stream(tokens, tokenizer, tmp_path):
    def stories():
        yield "one"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tokens(tmp_path / "tokens" / "train", stories(), tokenizer)
    with pytest.raises(InputError, match="do not exist"):
        TokenFile(tmp_path / "tokens" / "train")
