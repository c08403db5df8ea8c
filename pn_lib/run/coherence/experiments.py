"""The study of coherence: how small a model, and how few tokens, tell stories that the source could have told.

An experiment is a model of Pocket stories, trained, measured, and kept as a small file,
``results/coherence/NAME.json``; its weights, rounded, are the files of ``models/NAME`` beside it, which
``generate coherence/NAME/int8`` opens.
It depends on no run and no corpus, so the experiments of all runs and machines add up to one study: where a file has
the settings asked for, here or among the published ones, it is read, and nothing is trained again. Of the code it knows
the commit alone, and a change of the code does not make it void, since weeks of training would be lost: anyone who
changes what these models learn, or how they are measured, deletes the files.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from pn_lib import hardware
from pn_lib.data import pocket
from pn_lib.data.tokenizer import Tokenizer, train_tokenizer
from pn_lib.data.tokens import TokenFile, token_paths, write_tokens
from pn_lib.errors import InputError
from pn_lib.files import write_json
from pn_lib.models.loading import load_model
from pn_lib.run.coherence.measurement import measure_model
from pn_lib.run.coherence.plan import TOKENIZER_STORIES, TRAIN_SEED, Plan, grid
from pn_lib.run.coherence.summary import PUBLISHED, STUDY, read_experiments, smallest, summarize
from pn_lib.run.profile import load_profile
from pn_lib.run.profile_models import check_models
from pn_lib.run.results.coherence_results import CoherentModel
from pn_lib.run.run import commit
from pn_lib.run.saved_models import PACKED
from pn_lib.run.stages import REPOSITORY, output_root
from pn_lib.training.config import TrainingConfig
from pn_lib.training.experiment import Experiment, run_experiment

COHERENCE = PUBLISHED.name  # not a run, but published like one
ENOUGH = 100  # stories told, below which an experiment says too little to be published


def make_of_profile(profile: str) -> None:
    """All experiments that a profile asks for.

    Raises:
        InputError: no such profile, or an architecture that no shape of it gives so few parameters.
    """
    found = load_profile(profile)
    check_models(found)
    for _ in make(grid(found.coherence)):
        pass


def make(plans: Sequence[Plan], say: Callable[[str], None] = print) -> Iterator[CoherentModel]:
    """The experiments, in their order: those that are finished are read, and the others made one by one, each kept when
    it ends. Stopped at any moment, it goes on from the last checkpoint."""
    for number, plan in enumerate(plans, start=1):
        model = finished(plan)
        if model is None:
            model = _made(plan, folder() / "work")
            write_json(folder() / f"{plan.name}.json", model.model_dump())
            shutil.rmtree(folder() / "work" / plan.name)
            say(f"[{number}/{len(plans)}] {plan.name}: {model.told[0].valid.value:.0%} of its stories are valid")
        yield model


def affordable(plans: Sequence[Plan], tokens: int) -> list[Plan]:
    """Those that are finished, and the next ones for so many tokens of training."""
    chosen = []
    for plan in plans:
        if finished(plan) is None:
            tokens -= plan.tokens
            if tokens < 0:
                continue
        chosen.append(plan)
    return chosen


def publish_experiments() -> list[Path]:
    """Copy the experiments of this machine beside the published ones, but for those of a small profile, and write down
    what all of these say together; where the smallest file that tells was made here, copy it, too.

    Raises:
        InputError: there is none.
    """
    made = [path for name in known(ENOUGH) if (path := folder() / f"{name}.json").exists()]
    if not made:
        raise InputError(
            f"there is no experiment of {ENOUGH} stories or more in {folder()}; python -m pn_lib coherence makes them"
        )
    target = output_root() / PUBLISHED
    target.mkdir(parents=True, exist_ok=True)
    copied = [Path(shutil.copyfile(path, target / path.name)) for path in made]
    together = read_experiments(target.glob("*.json"))
    for result in summarize(together):
        copied.append(output_root() / STUDY / result.FILE)
        result.write(copied[-1])
    for name, told in smallest(together)[:1]:
        if (path := models() / name / f"{told.integers}{PACKED}").exists():
            (target / "models").mkdir(exist_ok=True)
            copied.append(Path(shutil.copyfile(path, target / "models" / f"{name.split('-')[1]}{PACKED}")))
    return copied


def folder() -> Path:
    """Where experiments of this machine lie."""
    return output_root() / "results" / COHERENCE


def models() -> Path:
    """Where their rounded weights lie, a folder for each."""
    return folder() / "models"


def finished(plan: Plan) -> CoherentModel | None:
    """The experiment's file, here or among the published ones, if there is one."""
    path = _files().get(plan.name)
    return None if path is None else CoherentModel.model_validate_json(path.read_text(encoding="utf-8"))


def known(told: int) -> dict[str, CoherentModel]:
    """All finished experiments, by the names of their files, whichever profile asked for them, but for those of which
    fewer stories were ``told``."""
    found = read_experiments(_files().values())
    return {name: model for name, model in found.items() if model.told[0].stories >= told}


def _files() -> dict[str, Path]:
    return {path.stem: path for place in (folder(), REPOSITORY / PUBLISHED) for path in place.glob("*.json")}


def _made(plan: Plan, work: Path) -> CoherentModel:
    experiment, tokenizer = training_of(plan, work)
    result, training = run_experiment(experiment, work), experiment.training
    model = load_model(work / plan.name)
    files = models() / plan.name
    files.mkdir(parents=True, exist_ok=True)
    measured = measure_model(model, tokenizer, plan, training, result["story_nats"], files)
    device = torch.device("cpu")
    return CoherentModel(
        settings=asdict(plan),
        tokens=round(result["tokens"] * plan.tokens / training.tokens),
        seconds=result["seconds"],
        bits_per_byte=result["bits_per_byte"],
        cpu=hardware.cpu(),
        threads=torch.get_num_threads(),
        precision=hardware.resolve_precision(training.precision, device),
        commit=commit(),
        **measured,
    )


def training_of(plan: Plan, work: Path) -> tuple[Experiment, Tokenizer]:
    """How its model is trained, and judged by the loss."""
    tokenizer, home = _encoded(plan, work / "tokens")
    training = TrainingConfig(
        **_rows(plan, TokenFile(home / "train")),
        batch_size=plan.batch_size,
        learning_rate=plan.rate,
        matrix_learning_rate=plan.matrix_rate,
        within_stories=plan.within_stories,
        evals=11,
        checkpoint_every=100,
        seed=plan.seed,
    )
    config = plan.config(tokenizer.vocab_size)
    return Experiment(plan.name, config, training, str(home / "train"), str(home / "validation"), keep=True), tokenizer


def _rows(plan: Plan, stories: TokenFile) -> dict[str, int]:
    """The tokens and the context of the training. Where each row is one story, the longest fills its row; what stands
    behind the ends of the others is computed, but is no token of the plan's."""
    if plan.masked or not plan.within_stories:
        return {"tokens": plan.tokens, "context": plan.context}
    lengths = np.diff(stories.offsets)
    context = min(plan.context, int(lengths.max()))
    return {"tokens": round(plan.tokens * context / np.minimum(lengths, context).mean()), "context": context}


def _encoded(plan: Plan, room: Path) -> tuple[Tokenizer, Path]:
    """The tokenizer, and the folder of the token files ``train`` and ``validation``; made once."""
    home = room / f"{plan.training_stories}-{plan.plots}-{plan.words}-{plan.vocab_size}"
    if not token_paths(home / "validation")[1].exists():  # written last
        texts = pocket.sample_stories(plan.training_stories, TRAIN_SEED, plan.language)
        tokenizer = train_tokenizer(texts[:TOKENIZER_STORIES], plan.vocab_size)
        tokenizer.save(home)
        write_tokens(home / "train", texts, tokenizer)
        write_tokens(home / "validation", plan.held_out, tokenizer)
    return Tokenizer.load(home), home
