"""Files that people take for a model and that are none here: each is named for what it is, with what to do about it.

A file is known by its first bytes, whatever its name says, or else by its name. Nothing of it is executed.
"""

import zipfile
from pathlib import Path

import torch

from pn_lib.errors import InputError

HEAD = 512  # bytes that are looked at
ADAPTER = "adapter_config.json"
ENDINGS = (".bin", ".safetensors", ".gguf", ".ggml", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".pkl")
UNFINISHED = (".incomplete", ".part", ".partial", ".crdownload", ".download")
TEXTS = (b"{", b"[", b"entry not found", b"repository not found", b"access", b"not found", b"invalid", b"error")
FETCH = "fetch it again, as with hf download OWNER/NAME --local-dir FOLDER"
WRITE = "from transformers import AutoModelForCausalLM as M; M.from_pretrained({}).save_pretrained('converted')"
OLD = "with version 4 of transformers (pip install 'transformers<5' {}), in Python: "


def check_beginning(path: Path) -> bytes:
    """The first bytes of a file of weights, unless they, or its name, show that it is of a kind that is not read here.

    Raises:
        InputError: what it is, and what to do.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    found = _not_fetched(path, head) or _text(head) or _format(path, head)
    if found is not None:
        raise InputError(f"{path} {found}")
    return head


def check_table(path: Path) -> None:
    """Refuse a config.json or tokenizer.json that was never really fetched.

    Raises:
        InputError: what it is, and what to do.
    """
    with path.open("rb") as file:
        found = _not_fetched(path, file.read(HEAD))
    if found is not None:
        raise InputError(f"{path} {found}")


def read_llama2c(path: Path) -> bytes:
    """The bytes of a file of llama2.c, a model or a tokenizer.

    Raises:
        InputError: it is missing, or of another kind.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; name a .bin file of llama2.c")
    head = check_beginning(path)
    # a llama2.c model of width 640 begins as a pickle does, but with two zeros behind that
    if head.startswith(b"PK\x03\x04") or (head[:1] == b"\x80" and any(head[2:4]) and head[1] in range(2, 6)):
        raise InputError(f"{path} {_checkpoint(path)}")
    if head[8:10] == b'{"':
        raise InputError(
            f"{path} is the weights of a model alone (safetensors); give the folder that has its config.json too"
        )
    return path.read_bytes()


def describe_folder(folder: Path) -> str | None:
    """What a folder without a config.json or without weights holds instead, as a sentence; None if nothing known."""
    if (folder / ADAPTER).is_file():
        return (
            f"{folder} holds an adapter (LoRA), which is no model without the one that it changes; merge them, in "
            f"Python: from peft import AutoPeftModelForCausalLM as M; M.from_pretrained({str(folder)!r})"
            ".merge_and_unload().save_pretrained('merged'); then give the folder merged, with the tokenizer.json of "
            "the model that was changed in it"
        )
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (*ENDINGS, *UNFINISHED) and not path.name.startswith("tok"):
            try:
                read_llama2c(path)
            except InputError as error:
                return str(error)
            if path.suffix == ".bin" and not (folder / "config.json").exists():
                return f"{folder} has no config.json; if it holds a model of llama2.c, give its file: {path}"
    inner = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if inner:
        return f"{folder} holds no model itself, but folders of models: {', '.join(inner[:5])}; give one of them"
    return None


def looks_like_model(path: Path) -> bool:
    """Whether what is at ``path`` is, or is often taken for, a model, and no corpus."""
    if path.is_dir():
        files = [file for file in path.iterdir() if file.is_file()]
        return any(file.name in ("config.json", ADAPTER) or looks_like_model(file) for file in files)
    return path.suffix.lower() in ENDINGS


def _not_fetched(path: Path, head: bytes) -> str | None:
    """What went wrong when the file was fetched; a sentence without its subject, the file."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return f"is empty, as after a download that failed; {FETCH}"
    if path.suffix.lower() in UNFINISHED:
        return f"is a download that did not come to its end; {FETCH}"
    if text.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, which names the file but does not hold it; run git lfs pull in its folder"
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return f"is a web page, saved in place of the file; {FETCH}"
    if not any(head):
        return f"begins with nothing but zeros, as a download that did not come to its end; {FETCH}"
    return None


def _text(head: bytes) -> str | None:
    """Whether it is a server's answer, or a table, and no weights; a sentence without its subject."""
    if 0 not in head and head.lstrip().lower().startswith(TEXTS):
        return f"is a text ({head[:40].decode(errors='replace')!r}), saved in place of the file; {FETCH}"
    return None


def _format(path: Path, head: bytes) -> str | None:
    """Which other format the file has; a sentence without its subject, the file."""
    name, ending, here = path.name, path.suffix.lower(), str(path.parent)
    if head.startswith(b"GGUF"):
        return (
            "is a GGUF file, the format of llama.cpp; convert it (pip install transformers gguf), in Python: from "
            "transformers import AutoModelForCausalLM as M, AutoTokenizer as T; [kind.from_pretrained("
            f"{here!r}, gguf_file={name!r}).save_pretrained('converted') for kind in (M, T)]; then give the folder "
            "converted"
        )
    if head.startswith((b"lmgg", b"fmgg", b"tjgg")):
        return "is a GGML file, an old format of llama.cpp; give the folder of transformers that it was made from"
    if head.startswith(b"\x89HDF") or ending == ".h5":
        how = OLD.format("tensorflow") + WRITE.format(f"{here!r}, from_tf=True")
        return f"holds weights of TensorFlow; convert them {how}; then put the tokenizer there too"
    if ending == ".msgpack":
        how = OLD.format("flax") + WRITE.format(f"{here!r}, from_flax=True")
        return f"holds weights of Flax; convert them {how}; then put the tokenizer there too"
    if ending == ".onnx" or (head.startswith(b"\x08") and b"\x12\x07pytorch" in head[:16]):
        return "is an ONNX graph, which runs but is not read; give the folder of transformers that it was exported from"
    if head.startswith(b"\x1f\x8b\x08"):
        return f"is compressed with gzip; unpack it first (tar xzf {name}, or gunzip {name})"
    return None


def _checkpoint(path: Path) -> str:
    """What a pickled file given by itself holds; a sentence without its subject, the file."""
    llama2c = f"python export.py model.bin --checkpoint {path.name} (llama2.c's export.py)"
    with path.open("rb") as file:
        zipped = file.read(2) == b"PK"
    if zipped and not zipfile.is_zipfile(path):
        return (
            f"is a checkpoint of PyTorch, as llama2.c's and nanoGPT's ckpt.pt, but only its beginning, or it is "
            f"damaged; {FETCH}; one of llama2.c is then converted by {llama2c}"
        )
    try:
        if zipped and not any(name.endswith("data.pkl") for name in zipfile.ZipFile(path).namelist()):
            return "is a ZIP archive; unpack it first"
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # on damaged bytes these raise whatever their parts do: IndexError, struct.error, BadZipFile
        return (
            "is a pickle that could be opened only by running the code in it, which is not done here, or it is "
            "damaged; where it was made, save the model anew (save_pretrained)"
        )
    arguments = held.get("model_args") if isinstance(held, dict) else None
    if isinstance(arguments, dict) and "dim" in arguments:
        return (
            f"is a checkpoint of llama2.c's training; convert it: {llama2c}; then give model.bin, its tokenizer.bin "
            "beside it"
        )
    if isinstance(arguments, dict) and "n_embd" in arguments:
        return (
            "is a checkpoint of nanoGPT's training; convert it: load its 'model' into transformers' GPT2LMHeadModel "
            "(the matrices c_attn, c_fc and c_proj transposed, without the prefix _orig_mod.), save_pretrained that, "
            "and put the tokenizer.json of gpt2 beside it"
        )
    return (
        "is weights or a checkpoint of PyTorch alone; give a folder in which they are pytorch_model.bin beside the "
        "model's config.json and tokenizer.json"
    )
