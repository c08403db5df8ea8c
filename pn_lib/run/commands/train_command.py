"""``python -m pn_lib train``: a profile's Transformer outside the notebooks, in one process or, by torchrun, in many.

It works on the run that the notebooks work on: it lets notebooks 01 and 02 prepare stories and tokens if need be, and
trains where notebook 04 would, so that the pipeline afterwards finds the training done. A named size of the profile
(``[sizes]``, such as TinyStories' 1M to 33M) is kept apart, in ``results/<run>/sizes/<size>/``.
"""

from pathlib import Path

import torch

from pn_lib import hardware
from pn_lib.data.tokenizer import Tokenizer
from pn_lib.data.tokens import TokenFile
from pn_lib.errors import InputError
from pn_lib.files import write_json, write_text
from pn_lib.models.base import LanguageModel
from pn_lib.models.likelihood import Likelihood, likelihood
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.run.pipeline import Pipeline
from pn_lib.run.profile import Profile
from pn_lib.run.run import open_run
from pn_lib.training import distributed
from pn_lib.training.loop import train

NOTEBOOK = "04_transformer_training"


def train_profile(profile: str, corpus: str, size: str | None) -> Path:
    """Train, or go on training; returns the folder of the result.

    Raises:
        InputError: bad input, or a size that the profile has not.
        DivergenceError: training diverged.
    """
    first = distributed.first_to_be()
    # whichever process comes to the stages first runs them, and says so; that they are unchanged is said once
    pipeline = Pipeline(profile, corpus, lambda line: print(line) if first or not line.endswith("unchanged") else None)
    if size is not None and size not in pipeline.profile.sizes:
        raise InputError(
            f"profile {pipeline.profile.name} has no size {size!r}; it has "
            f"{', '.join(pipeline.profile.sizes) or 'none'}"
        )
    pipeline.prepare("tokens/train")  # before the processes meet: they would not wait for each other for hours
    with distributed.joined() as device:
        if distributed.rank() == 0:
            print(hardware.summary(device))
            open_run(pipeline.profile_argument, corpus, NOTEBOOK)  # makes the work folder ready, once
        distributed.wait()
        run = open_run(pipeline.profile_argument, corpus, NOTEBOOK)
        folder = run.work / "transformer" if size is None else run.results / "sizes" / size
        model, summary = _train(pipeline.profile, run.results, size, folder, device)
        if distributed.rank() == 0:
            if size is not None:
                model.save(folder)
            print(summary)
    return folder


def _train(
    profile: Profile, results: Path, size: str | None, folder: Path, device: torch.device
) -> tuple[LanguageModel, str]:
    tokenizer = Tokenizer.load(results / "tokenizer")
    train_tokens, validation = (TokenFile(results / "tokens" / part) for part in ("train", "validation"))

    def validate(model: LanguageModel) -> Likelihood:
        return likelihood(model, validation, context=profile.training.context)

    torch.manual_seed(profile.seed)
    options = profile.transformer if size is None else profile.sizes[size]
    model = Transformer(TransformerConfig(tokenizer.vocab_size, profile.training.context, **options)).to(device)
    training = train(
        model,
        train_tokens,
        profile.training,
        validate=validate,
        folder=folder,
        name=f"transformer {size or ''}".strip(),
    )
    if distributed.rank() == 0:
        write_text(folder / "curve.csv", training.history.to_csv(index=False))
        write_json(
            folder / "training.json",
            {
                "size": size,
                "parameters": model.n_parameters(),
                "processes": distributed.size(),
                "device": str(device),
                "seconds": training.seconds,
                "tokens_per_second": training.tokens_per_second,
                "bits_per_byte": float(training.history["bits_per_byte"].iloc[-1]),
                "spikes": training.spikes,
            },
        )
    last = training.history.iloc[-1]
    return model, (
        f"{model.n_parameters():,} parameters, {int(last['tokens']):,} tokens, {training.seconds:,.0f} s: "
        f"{last['bits_per_byte']:.3f} bits per byte"
    )
