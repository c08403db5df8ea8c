"""A model published by somebody else: its text and its loss come out as its card says, or an InputError does."""

import math
import struct
import subprocess

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pn_lib.data.pocket import sample_stories
from pn_lib.data.tokenizer import Tokenizer, train_tokenizer
from pn_lib.errors import InputError
from pn_lib.models.generation import generate
from pn_lib.models.grid import Grid
from pn_lib.models.llama2c import export_llama2c, load_llama2c, save_llama2c, save_llama2c_int8
from pn_lib.models.llama2c_tokenizer import Llama2cTokenizer
from pn_lib.models.mamba import Mamba, MambaConfig
from pn_lib.models.quantize import matrices, quantize
from pn_lib.models.transformer import Transformer, TransformerConfig

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
        (b"GGUF" + b"\xff" * 60, "GGUF"),
        (b"\xff" * 60, "no llama2.c model"),
    ):
        model.write_bytes(data)
        with pytest.raises(InputError, match=message):
            load_llama2c(model)
    with pytest.raises(InputError, match="does not exist"):
        load_llama2c(tmp_path / "nothing.bin")
    write_tokenizer(tok)
    with pytest.raises(InputError, match="268 tokens, more than 200"):
        Llama2cTokenizer(tok, 200)
    tok.write_bytes(tok.read_bytes()[:-2])
    with pytest.raises(InputError, match="cut short"):
        Llama2cTokenizer(tok, 268)


def test_stories260k_comes_back_byte_for_byte(stories260k_dir, tmp_path):
    original = stories260k_dir / "stories260K.bin"
    save_llama2c(load_llama2c(original), tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == original.read_bytes()


SIZES = {"vocab_size": 11, "context": 6, "d_model": 8, "n_layers": 2, "n_heads": 2}


@pytest.mark.parametrize("options", [{"n_kv_heads": 1, "d_ff": 12}, {"tied_embeddings": False}], ids=str)
@torch.no_grad()
def test_a_saved_model_comes_back(tmp_path, options):
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(**SIZES, **options))
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter))
    save_llama2c(model, tmp_path / "model.bin")
    again = load_llama2c(tmp_path / "model.bin")
    state = again.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[name], weight) for name, weight in model.state_dict().items())
    assert (again.config.kv_heads, again.config.ff_width) == (model.config.kv_heads, model.config.ff_width)


@pytest.mark.parametrize(
    ("options", "group"),
    [({"d_ff": 48}, 16), ({"d_model": 64, "n_kv_heads": 1, "d_ff": 192}, 64), ({"tied_embeddings": False}, 16)],
    ids=str,
)
@torch.no_grad()
def test_int8_is_what_quantize_makes_and_comes_back(tmp_path, options, group):
    """Version 2, exactly; a second time nothing is lost."""
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(**(SIZES | {"d_model": 16} | options)))
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter))
    save_llama2c_int8(model, tmp_path / "model.bin")
    again, expected = load_llama2c(tmp_path / "model.bin"), quantize(model, Grid("int8", group))
    assert (again.config.kv_heads, again.config.ff_width) == (model.config.kv_heads, model.config.ff_width)
    for name, weight in model.state_dict().items():
        expects = expected.state_dict()[name] if name in matrices(model) else weight
        assert torch.equal(again.state_dict()[name], expects), name
    count = sum(weight.numel() for weight in matrices(model).values())
    norms = sum(weight.numel() for weight in model.parameters()) - count
    assert (tmp_path / "model.bin").stat().st_size == 256 + 4 * norms + count + 4 * count // group
    save_llama2c_int8(again, tmp_path / "twice.bin")
    assert (tmp_path / "twice.bin").read_bytes() == (tmp_path / "model.bin").read_bytes()


def test_widths_that_int8_cannot_group_are_refused(tmp_path):
    model = Transformer(TransformerConfig(**(SIZES | {"d_model": 16, "d_ff": 20})))
    with pytest.raises(InputError, match="8 neighbors or more, which must divide d_model=16 and d_ff=20"):
        save_llama2c_int8(model, tmp_path / "model.bin")
    with pytest.raises(InputError, match="has no qk_norm=True"):
        save_llama2c_int8(Transformer(TransformerConfig(**SIZES, qk_norm=True)), tmp_path / "model.bin")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm_eps": 1e-6, "rope_theta": 5e5}, r"has no rope_theta=500000\.0 \(only 10000\.0\), norm_eps=1e-06"),
        ({"position": "learned", "activation": "gelu"}, "position='learned'.*activation='gelu'"),
        ({"window": 3, "attention_scale": False}, "attention_scale=False.*window=3"),
        ({"bias": True}, "bias=True.*qkv_bias=True"),
        ({"qkv_bias": True}, "has no qkv_bias=True"),
    ],
    ids=str,
)
def test_what_llama2c_has_not_is_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        save_llama2c(Transformer(TransformerConfig(**SIZES, **options)), tmp_path / "model.bin")
    assert not list(tmp_path.iterdir())


def test_mamba_is_refused(tmp_path):
    with pytest.raises(InputError, match="Transformers, not a mamba"):
        save_llama2c(Mamba(MambaConfig(11, d_model=8, n_layers=1)), tmp_path / "model.bin")


PROMPTS = ("", "Once upon a time", "One day, Tom's mom said: \"Let's go!\"", " a dog", "Anna\ncouldn’t")


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def exported(request, tmp_path_factory):
    """A model that has learnt a little of Pocket stories, its tokenizer, and the folder of llama2.c's files."""
    stories = [story.replace("'", "’", 1) for story in sample_stories(400, seed=0)]  # characters of several bytes
    tokenizer = train_tokenizer([*stories, "couldn’t " * 200], 600)
    torch.manual_seed(0)
    sizes = {"context": 64, "d_model": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2}
    model = Transformer(TransformerConfig(tokenizer.vocab_size, **sizes, tied_embeddings=request.param))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    ids = torch.tensor([token for s in tokenizer.encode_batch(stories) for token in (tokenizer.separator_id, *s)])
    for x in ids[: 80 * 8 * 64].view(80, 8, 64):
        loss = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("llama2c")
    export_llama2c(model, tokenizer, folder)
    return model.eval(), tokenizer, folder


def greedy_text(model: Transformer, tokenizer: Tokenizer, prompt: str) -> str:
    start = [tokenizer.separator_id, *tokenizer.encode(prompt)]
    [completion] = generate(model, [start], 64, temperature=0, stop_id=tokenizer.separator_id)
    return prompt + tokenizer.decode(completion.ids)


def test_exported_model_says_the_same(exported):
    model, tokenizer, folder = exported
    theirs = Llama2cTokenizer(folder / "tokenizer.bin", tokenizer.vocab_size)
    again = load_llama2c(folder / "model.bin")
    for prompt in PROMPTS:
        ids = [tokenizer.separator_id, *tokenizer.encode(prompt)]
        their_ids = theirs.encode(prompt)
        assert [theirs.pieces[i] for i in their_ids] == [tokenizer.token_bytes(i) for i in ids[1:]]
        with torch.no_grad():
            logits = model(torch.tensor([ids]))[0, -1]
            # token 0 is what the begin and the space that ``run`` puts before a prompt merge into
            their_logits = [again(torch.tensor([[begin, *their_ids]]))[0, -1] for begin in (0, 1)]
        assert torch.equal(*their_logits)
        # no token came or went, and each kept its logit
        torch.testing.assert_close(logits.sort().values, their_logits[0].sort().values, rtol=0, atol=1e-5)
        [completion] = generate(again, [[0, *their_ids]], 64, temperature=0, stop_id=1)
        assert theirs.decode([*their_ids, *completion.ids]) == greedy_text(model, tokenizer, prompt).removeprefix(" ")


def test_exported_tokenizer_encodes_stories_alike(exported):
    _, tokenizer, folder = exported
    theirs = Llama2cTokenizer(folder / "tokenizer.bin", tokenizer.vocab_size)
    for story in sample_stories(20, seed=1):
        ids = theirs.encode(story)
        assert [theirs.pieces[i] for i in ids] == [tokenizer.token_bytes(i) for i in tokenizer.encode(story)]
        assert theirs.decode(ids) == story
    everything = bytes(set(range(256)) - {0xC0, 0xC1})  # the two bytes that UTF-8 never has
    assert b"".join(map(theirs._bytes, (byte + 3 for byte in everything))) == everything


def test_llama2c_itself_tells_the_same_stories(exported, llama2c_run):
    model, tokenizer, folder = exported
    for prompt in PROMPTS:
        files = [folder / "model.bin", "-z", folder / "tokenizer.bin"]
        command = [llama2c_run, *files, "-t", "0", "-n", "0", "-i", prompt]
        told = subprocess.run(command, capture_output=True, check=True).stdout.decode()
        expected = greedy_text(model, tokenizer, prompt)
        assert told == (expected if prompt else expected.removeprefix(" ")) + "\n"


def test_export_refuses_a_tokenizer_that_is_not_the_models(tmp_path):
    model = Transformer(TransformerConfig(258, context=6, d_model=8, n_layers=1, n_heads=2))
    with pytest.raises(InputError, match="the model knows 258 tokens, the tokenizer 257"):
        export_llama2c(model, train_tokenizer(["abc"], 257), tmp_path)
    with pytest.raises(InputError, match="258 tokens has no two merges"):
        export_llama2c(model, train_tokenizer(["abcabcabc"], 258), tmp_path)
    assert not list(tmp_path.iterdir())


MATRICES = ("embedding", "wq", "wk", "wv", "wo", "w1", "w2", "w3", "wcls")


def write_version(path, version, tied, group=4, scales_last=False):
    """The random model of ``write_model`` as llama2.c's export.py writes it in versions 1 and 2; returns the tensors
    that the file stands for."""
    tensors = write_model(path, tied=tied)
    norms = [tensors[name] for name in ("rms_att", "rms_ffn", "rms_final")]
    header = struct.pack("<Ii7iB", 0x616B3432, version, 8, 12, 2, 2, 1, 11, 6, tied)
    header += struct.pack("<i", group) if version == 2 else b""
    body, scales = b"".join(t.tobytes() for t in norms), b""
    for name in MATRICES if version == 2 else ():
        layers = tensors[name] if name.startswith("w") and name != "wcls" else [tensors.get(name)]
        for layer in layers if name in tensors else ():
            groups = layer.reshape(-1, group)
            scale = np.abs(groups).max(1, keepdims=True) / 127
            whole = np.round(groups / scale).astype("i1")
            layer[:] = (whole * scale).reshape(layer.shape)
            body += whole.tobytes()
            scales, body = (scales + scale.tobytes(), body) if scales_last else (b"", body + scale.tobytes())
    if version == 1:
        body += b"".join(tensors[name].tobytes() for name in MATRICES if name in tensors)
    path.write_bytes(header.ljust(256, b"\0") + body + scales)
    return tensors


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "how", [{"version": 1}, {"version": 2}, {"version": 2, "group": 2}, {"version": 2, "scales_last": True}]
)
def test_later_versions_equal_run_c(tmp_path, how, tied):
    tensors = write_version(tmp_path / "model.bin", tied=tied, **how)
    model = load_llama2c(tmp_path / "model.bin")
    ids = [3, 1, 4, 1, 5, 9]
    logits = model(torch.tensor([ids]))[0, -1]
    np.testing.assert_allclose(logits.detach().numpy(), run_c(tensors, ids), rtol=1e-3, atol=1e-3)


def _overwritten(data, at, value):
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    ("version", "damage", "message"),
    [
        (1, lambda d: d[:-4], "damaged"),
        (2, lambda d: d + b"\0", "damaged"),
        (2, lambda d: d[:200], "too few"),
        (1, lambda d: _overwritten(d, 4, b"\3\0\0\0"), r"version 3.*export\.py --version 1"),
        (2, lambda d: _overwritten(d, 37, b"\0\0\0\0"), "0 numbers share a scale"),
        (2, lambda d: _overwritten(d, 256, b"\xff" * (len(d) - 256)), "scales that are negative or infinite"),
    ],
)
def test_damaged_later_versions_are_refused(tmp_path, version, damage, message):
    path = tmp_path / "model.bin"
    write_version(path, version, tied=True)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=message):
        load_llama2c(path)


def test_the_oldest_tokenizers_do_not_say_how_long_their_tokens_are(tmp_path):
    write_tokenizer(tmp_path / "tok.bin")
    known = Llama2cTokenizer(tmp_path / "tok.bin", 268)
    (tmp_path / "old.bin").write_bytes((tmp_path / "tok.bin").read_bytes()[4:])
    old = Llama2cTokenizer(tmp_path / "old.bin", 268)
    assert (old.pieces, old.scores) == (known.pieces, known.scores)
    with pytest.raises(InputError, match="268 tokens, fewer than 300, which its model knows"):
        Llama2cTokenizer(tmp_path / "old.bin", 300)
