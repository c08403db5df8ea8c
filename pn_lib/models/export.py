"""A model as a folder that the ``transformers`` library, and so the Hugging Face Hub, opens with no further code.

AutoModelForCausalLM.from_pretrained(folder)
AutoTokenizer.from_pretrained(folder)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData
from safetensors.torch import save_file

from pn_lib.data.tokenizer import SEPARATOR, Tokenizer
from pn_lib.files import atomic, write_json, write_text
from pn_lib.models.base import LanguageModel, check_tokenizer
from pn_lib.models.huggingface import to_transformers


@dataclass(frozen=True)
class ModelCard:
    """What a reader should know about a model and its files do not say."""

    name: str
    licence: str  # of the weights, as the Hub spells it: "mit", "cc0-1.0"
    corpus: str  # its title
    corpus_source: str
    corpus_licence: str
    corpus_fingerprint: str
    tokens: int  # trained on, repetitions counted
    steps: int
    batch_size: int
    context: int  # tokens in a sequence of training
    bits_per_byte: float
    measured_on: str  # "400 validation stories"
    interval: tuple[float, float] | None = None  # 95 %, of the bits per byte
    dataset: str | None = None  # the corpus's name on the Hub, if it is there
    language: str | None = None  # "en"


CARD = """\
---
{header}
---

# {card.name}

A {kind} of {total:,} parameters, {inner:,} of them outside the embeddings, that writes short stories. It was
trained from scratch with PocketNarrator. In `transformers` it is a `{architecture}`.

## Use

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer, model = AutoTokenizer.from_pretrained("."), AutoModelForCausalLM.from_pretrained(".")  # this folder
prompt = tokenizer("{separator}Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**prompt, max_length={length}, do_sample=True)[0], skip_special_tokens=True))
```

`{separator}` stands before every story and ends it: begin each prompt with it.

## Measure

**{card.bits_per_byte:.3f} bits per byte**{interval} on {card.measured_on}. It is the mean cost of a byte of text, and
so does not depend on how the text is cut into tokens; less is better.

## Training

- Corpus: {card.corpus}; {card.corpus_source}
- License of the corpus: {card.corpus_licence}
- Fingerprint of its stories (SHA-256): `{card.corpus_fingerprint}`
- Budget: {card.tokens:,} tokens, in {card.steps:,} updates of {card.batch_size:,} sequences of {card.context:,} tokens

## Architecture

| `config.json` | |
|---|---|
{sizes}

## Intended use and limits

Made for learning and research: to study what so small a model can do, and at what cost. It has read nothing but the
stories above. It knows no facts, follows no instructions, and may lose the thread of a story; what it writes may be
unfit for children, so read it before they do.

{limit}

## License

{card.licence}
"""


def export_transformers(
    model: LanguageModel, tokenizer: Tokenizer, folder: Path | str, card: ModelCard | None = None
) -> None:
    """Write ``folder``: config, weights, tokenizer, and ``card``, if one is given, as README.md.

    The tokenizer gives our ids, and puts no separator before a text; unlike ours it reads one that a text spells out.

    Raises:
        InputError: transformers has no class for the model, or the tokenizer is not its own.
    """
    check_tokenizer(model, tokenizer)
    folder = Path(folder)
    config, state = to_transformers(model)
    if model.config.tied_embeddings:  # theirs ties it again
        del state["lm_head.weight"]
    [dtype] = {weight.dtype for weight in state.values()}
    ends = dict.fromkeys(("bos_token_id", "eos_token_id"), tokenizer.separator_id)
    config |= ends | {"dtype": str(dtype).removeprefix("torch.")}
    with atomic(folder / "model.safetensors") as temporary:
        save_file({name: weight.contiguous() for name, weight in state.items()}, temporary, {"format": "pt"})
    write_json(folder / "config.json", config)
    # Padding is named here and not in the config, where it would keep the separator's embedding from being trained.
    write_json(folder / "generation_config.json", {**ends, "pad_token_id": tokenizer.separator_id})
    tokenizer.save(folder)
    write_json(folder / "tokenizer_config.json", _tokenizer_config(model))
    if card is not None:
        write_text(folder / "README.md", _readme(model, config, card))


def _tokenizer_config(model: LanguageModel) -> dict[str, Any]:
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # what tokenizer.json says, and nothing more
        **dict.fromkeys(("bos_token", "eos_token", "pad_token"), SEPARATOR),
        # Version 4 of transformers would delete spaces before punctuation, and add ids that no model here takes.
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
    return config if model.max_length is None else {**config, "model_max_length": model.max_length}


def _readme(model: LanguageModel, config: dict[str, Any], card: ModelCard) -> str:
    header = ModelCardData(
        language=card.language,
        license=card.licence,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["pocketnarrator", "stories", model.name],
        datasets=[card.dataset] if card.dataset else None,
    )
    limit = f"It was trained on sequences of {card.context:,} tokens; how it does on longer ones is not known."
    if model.max_length is not None:
        limit = f"It reads and writes {model.max_length:,} tokens at most, the prompt included."
    return CARD.format(
        header=header.to_yaml().strip(),
        card=card,
        kind=model.name.capitalize(),
        total=model.n_parameters(),
        inner=model.n_parameters(embedding=False),
        architecture=config["architectures"][0],
        separator=SEPARATOR,
        length=model.max_length or card.context,
        interval="" if card.interval is None else " (95 % interval {:.3f} to {:.3f})".format(*card.interval),
        sizes="\n".join(f"| {key} | {value} |" for key, value in config.items() if value is not None),
        limit=limit,
    )
