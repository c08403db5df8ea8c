"""A model published by somebody else: its text and its loss come out as its card says, or an InputError does."""

import math
import struct

import numpy as np
import pyarrow.parquet
import pytest
import torch
from torch.nn import functional as F

from pn_lib.errors import InputError
from pn_lib.models.generation import generate
from pn_lib.models.llama2c import Llama2cTokenizer, load_llama2c

GREEDY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw "
    "a big, red ball. She wanted to play with it, but it was too high."
)


def write_model(path, vocab_size=11, D=8, F=12, L=2, H=2, K=1, T=6, tied=True, seed=0):
    """A random model in llama2.c's format; returns its tensors by name."""
    random = np.random.default_rng(seed)
    d = D // H
    shapes = {"embedding": (vocab_size, D), "rms_att": (L, D), "wq": (L, D, D), "wk": (L, K * d, D)}
    shapes |= {"wv": (L, K * d, D), "wo": (L, D, D), "rms_ffn": (L, D), "w1": (L, F, D), "w2": (L, D, F)}
    shapes |= {"w3": (L, F, D), "rms_final": (D,), "real": (T, d // 2), "imag": (T, d // 2)}
    if not tied:
        shapes["wcls"] = (vocab_size, D)
    tensors = {name: random.normal(size=shape).astype("<f4") for name, shape in shapes.items()}
    header = struct.pack("<7i", D, F, L, H, K, vocab_size if tied else -vocab_size, T)
    path.write_bytes(header + b"".join(t.tobytes() for t in tensors.values()))
    return tensors


def run_c(t: dict, ids: list[int], L=2, H=2, K=1, d=4) -> np.ndarray:
    """The forward pass of run.c in plain loops: logits after the last token."""

    def norm(x, weight):
        return x / np.sqrt((x * x).mean() + 1e-5) * weight

    def turn(x, position):
        x = x.copy()
        for i in range(0, len(x), 2):
            angle = position * 10000.0 ** (-(i % d) / d)
            a, b = x[i], x[i + 1]
            x[i], x[i + 1] = a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle)
        return x

    keys, values = [[] for _ in range(L)], [[] for _ in range(L)]
    for position, token in enumerate(ids):
        x = t["embedding"][token].astype(float)
        for i in range(L):
            h = norm(x, t["rms_att"][i])
            q = turn(t["wq"][i] @ h, position)
            keys[i].append(turn(t["wk"][i] @ h, position))
            values[i].append(t["wv"][i] @ h)
            out = np.zeros(H * d)
            for head in range(H):
                theirs = slice(head // (H // K) * d, head // (H // K) * d + d)
                scores = np.array([q[head * d : head * d + d] @ k[theirs] / math.sqrt(d) for k in keys[i]])
                weights = np.exp(scores - scores.max())
                weights /= weights.sum()
                out[head * d : head * d + d] = sum(w * v[theirs] for w, v in zip(weights, values[i], strict=True))
            x = x + t["wo"][i] @ out
            h = norm(x, t["rms_ffn"][i])
            gate = t["w1"][i] @ h
            x = x + t["w2"][i] @ (gate / (1 + np.exp(-gate)) * (t["w3"][i] @ h))
    return t.get("wcls", t["embedding"]) @ norm(x, t["rms_final"])


@pytest.mark.parametrize("tied", [True, False])
def test_equals_run_c(tmp_path, tied):
    tensors = write_model(tmp_path / "model.bin", tied=tied)
    model = load_llama2c(tmp_path / "model.bin")
    ids = [3, 1, 4, 1, 5, 9]
    logits = model(torch.tensor([ids]))[0, -1]
    np.testing.assert_allclose(logits.detach().numpy(), run_c(tensors, ids), rtol=1e-3, atol=1e-3)


def test_greedy_text_of_stories260k(stories260k_dir):
    model = load_llama2c(stories260k_dir / "stories260K.bin")
    tokenizer = Llama2cTokenizer(stories260k_dir / "tok512.bin", model.config.vocab_size)
    [completion] = generate(model, [[tokenizer.bos_id]], 100, temperature=0)
    assert tokenizer.decode(completion.ids).startswith(GREEDY)


def test_loss_of_stories260k(stories260k_dir, tinystories_dir):
    model = load_llama2c(stories260k_dir / "stories260K.bin")
    tokenizer = Llama2cTokenizer(stories260k_dir / "tok512.bin", model.config.vocab_size)
    [file] = sorted((tinystories_dir / "data").glob("validation-*.parquet"))
    stories = pyarrow.parquet.read_table(file)["text"].to_pylist()[::24][:60]
    nats = tokens = 0
    for story in stories:
        ids = torch.tensor([tokenizer.bos_id, *tokenizer.encode(story)])
        nats, tokens = nats + story_nats(model, ids), tokens + len(ids) - 1
    size = sum(len(story.encode()) for story in stories)
    # its card says 1.2968 nats/token on other stories; the standard error of 60 of them is about 2.5 %
    assert nats / tokens == pytest.approx(1.2976, rel=0.03)
    assert nats / math.log(2) / size == pytest.approx(0.9026, rel=0.03)


@torch.inference_mode()
def story_nats(model, ids: torch.Tensor) -> float:
    """Minus the log-probability of ids[1:]; in windows that overlap by half where the context is too short."""
    T, total, scored = model.config.context, 0.0, 1
    for start in range(0, max(1, len(ids) - 1 - T // 2), T // 2):
        window = ids[start : start + T + 1]
        losses = F.cross_entropy(model(window[None, :-1])[0], window[1:], reduction="none")
        total += float(losses[scored - start - 1 :].sum())
        scored = start + len(window)
    assert scored == len(ids)
    return total


def write_tokenizer(path) -> None:
    """The specials, the bytes, then characters and merges; "abc" scores better than "bc"."""
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(b"<0x%02X>" % i for i in range(256))]
    pieces += [b" ", b"a", b"b", b"c", "é".encode(), b"bc", b"ab", b"abc", b"cc"]
    scores = dict.fromkeys(pieces, 0.0) | {b"bc": -2.0, b"ab": -1.0, b"abc": -3.0}
    body = b"".join(struct.pack("<fi", scores[piece], len(piece)) + piece for piece in pieces)
    path.write_bytes(struct.pack("<i", 7) + body)


def test_tokenizer_merges_by_score(tmp_path):
    write_tokenizer(tmp_path / "tok.bin")
    tokenizer = Llama2cTokenizer(tmp_path / "tok.bin", 268)
    pieces = [tokenizer.pieces[token] for token in tokenizer.encode("abcbcé")]
    assert pieces == [b" ", b"abc", b"bc", "é".encode()]
    assert [tokenizer.pieces[token] for token in tokenizer.encode("ccc")] == [b" ", b"cc", b"c"]  # leftmost first
    assert tokenizer.encode("") == []
    assert tokenizer.encode("z")[1:] == [3 + ord("z")]  # unknown characters as bytes
    for text in ("abc cab", "déjà “z” \n😀", " a"):
        assert tokenizer.decode([1, *tokenizer.encode(text), 2]) == text


def test_damaged_files_are_refused(tmp_path):
    model, tok = tmp_path / "model.bin", tmp_path / "tok.bin"
    write_model(model)
    whole = model.read_bytes()
    for data, message in (
        (whole[:-4], "damaged"),
        (whole + b"\0", "damaged"),
        (whole[:20], "too few"),
        (b"GGUF" + b"\xff" * 60, "no llama2.c model"),
    ):
        model.write_bytes(data)
        with pytest.raises(InputError, match=message):
            load_llama2c(model)
    with pytest.raises(InputError, match="does not exist"):
        load_llama2c(tmp_path / "nothing.bin")
    write_tokenizer(tok)
    with pytest.raises(InputError, match="more than 200"):
        Llama2cTokenizer(tok, 200)
    tok.write_bytes(tok.read_bytes()[:-2])
    with pytest.raises(InputError, match="cut short"):
        Llama2cTokenizer(tok, 268)
