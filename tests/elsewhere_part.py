"""What ``make numbers`` repeats: smoke's tokenizer, training, evaluation, and sampling, but trained longer.

Run with the name of a setting and a folder, it leaves there a JSON file for each part.
"""

import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """How a process computes: on how many threads, in which precision, with or without Numba, in which environment."""

    threads: int = 1
    precision: str = "float32"
    numba: bool = True
    environment: dict[str, str] = field(default_factory=dict)


PLAIN_TORCH = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
PLAIN_NUMBA = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
SETTINGS = {
    "one thread": Setting(),
    "two threads": Setting(threads=2),
    "four threads": Setting(threads=4),
    "PyTorch without AVX": Setting(environment=PLAIN_TORCH),
    "kernels without AVX": Setting(environment=PLAIN_NUMBA),
    "without Numba": Setting(numba=False),
    "matrix products in bfloat16": Setting(precision="bfloat16"),
}
LONGER = 4  # times smoke's tokens: 128 steps, on which a difference can grow
STORIES, WORDS = 20, 60  # that are written, and tokens of each


def settle(setting: Setting) -> None:
    """Before anything is computed, or Numba's kernels are loaded."""
    if not setting.numba:
        sys.modules["numba"] = None  # as where it is not installed
    import torch

    import pn_lib  # noqa: F401  its own settling first

    torch.set_num_threads(setting.threads)


def run(setting: Setting, folder: Path) -> None:
    """Write what was found to ``folder``, a file for each part."""
    from pn_lib.data import pocket
    from pn_lib.data.tokenizer import train_tokenizer
    from pn_lib.data.tokens import TokenFile, write_tokens
    from pn_lib.files import write_json
    from pn_lib.models.mamba import Mamba, MambaConfig
    from pn_lib.models.transformer import Transformer, TransformerConfig
    from pn_lib.run.profile import load_profile

    smoke = load_profile("smoke")
    stories = {"train": pocket.sample_stories(400, 0), "validation": pocket.sample_stories(60, 1)}
    tokenizer = train_tokenizer(stories["train"], smoke.tokenizer.vocab_size)
    for part, texts in stories.items():
        write_tokens(folder / part, texts, tokenizer)
    train, validation = (TokenFile(folder / part) for part in stories)
    found = {part: len(TokenFile(folder / part).tokens) for part in stories}
    write_json(folder / "tokenization.json", {"tokens": found, "text": tokenizer.decode(train.tokens[:2000].tolist())})
    shape = (tokenizer.vocab_size, smoke.training.context)
    training = replace(smoke.training, tokens=LONGER * smoke.training.tokens, precision=setting.precision)
    for name, kind, config in (
        ("transformer", Transformer, TransformerConfig(*shape, **smoke.transformer)),
        ("mamba", Mamba, MambaConfig(*shape, **smoke.mamba.full)),
    ):
        model, curve = _trained(kind, config, training, train, validation)
        write_json(folder / f"{name}.json", {"curve": curve, **_scored(model, tokenizer, validation, training.context)})
        write_json(folder / f"{name}_stories.json", _told(model, tokenizer))


def _trained(kind, config, training, train_tokens, validation):
    import torch

    from pn_lib.models.likelihood import likelihood
    from pn_lib.training.loop import train

    torch.manual_seed(0)
    model = kind(config)
    scored = lambda model: likelihood(model, validation, context=training.context)  # noqa: E731
    history = train(model, train_tokens, training, validate=scored).history
    return model, {"train_loss": history["train_loss"].tolist(), "bits_per_byte": history["bits_per_byte"].tolist()}


def _scored(model, tokenizer, validation, context: int) -> dict:
    """How well the model knows stories, as it is and in four bits, and how many probes it passes."""
    from pn_lib.evaluation.probes import pocket_probes, score_probes
    from pn_lib.models.grid import Grid
    from pn_lib.models.likelihood import likelihood
    from pn_lib.models.quantize import quantize

    scores = score_probes(model, tokenizer, pocket_probes(60, 0), context)
    small = quantize(model, Grid("int4"))
    return {
        "bits_per_byte": likelihood(model, validation, context).bits_per_byte,
        "int4": {"bits_per_byte": likelihood(small, validation, context).bits_per_byte},
        "probes": {"share": float(scores["correct"].mean()), "mean_margin": float(scores["margin"].mean())},
    }


def _told(model, tokenizer) -> dict:
    from pn_lib.models.generation import generate

    def told(temperature: float) -> list[str]:
        prompts = [[tokenizer.separator_id]] * STORIES
        written = generate(model, prompts, WORDS, temperature=temperature, stop_id=tokenizer.separator_id)
        return [tokenizer.decode(each.ids) for each in written]

    return {"drawn": told(1.0), "likeliest": told(0.0)[:1]}


if __name__ == "__main__":
    chosen = SETTINGS[sys.argv[1]]
    os.environ.update(chosen.environment)
    settle(chosen)
    run(chosen, Path(sys.argv[2]))
