"""One training in one process or in several, on the same cores: its speed, and that its losses are the same.

``python -m torch.distributed.run --nproc-per-node N -m pn_lib.training.processes ...`` is what each process runs.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import torch

from pn_lib.config import config_class, parse_config
from pn_lib.data.tokens import TokenFile
from pn_lib.errors import InputError
from pn_lib.models.transformer import Transformer, TransformerConfig
from pn_lib.training import distributed
from pn_lib.training.config import TrainingConfig
from pn_lib.training.loop import train

TIMEOUT = 600  # seconds
ERROR = re.compile(r"(\[rank\d+\]: *)?(?!torch\.distributed\.elastic)[\w.]+(Error|Exception): ")  # not torchrun's own


@config_class
class Job:
    """What each process trains: a model on the token file of this prefix."""

    model: TransformerConfig
    training: TrainingConfig
    tokens: str


def train_in_processes(job: Job, n: int) -> dict[str, Any]:
    """Train in ``n`` processes of a share of the cores each: tokens_per_second, and the mean loss of each stretch.

    The first stretch between two validations, in which everything gets ready, does not count for the speed.

    Raises:
        InputError: the training failed; the message ends with what it said last.
    """
    threads = max(1, torch.get_num_threads() // n)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={n}",
        "-m",
        __name__,
        json.dumps(asdict(job)),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "CI": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode:
        said = (done.stderr.strip() or "it said nothing").splitlines()
        errors = [line for line in said if ERROR.match(line)]
        last_words = (errors or said)[-1]  # torchrun ends with a report that has none
        raise InputError(f"training in {n} processes failed: {last_words}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _work(description: str) -> None:
    job = parse_config(Job, json.loads(description), "the job")
    with distributed.joined() as device:
        torch.manual_seed(job.training.seed)
        model = Transformer(job.model).to(device)
        training = train(
            model,
            TokenFile(job.tokens),
            job.training,
            validate=lambda model: SimpleNamespace(nats_per_token=0.0, bits_per_byte=0.0),
        )
        first, last = training.timings.iloc[0], training.timings.iloc[-1]
        tokens = training.history["tokens"].iloc[-1] - training.history["tokens"].iloc[1]
        if distributed.rank() == 0:
            print(
                json.dumps(
                    {
                        "processes": distributed.size(),
                        "threads": torch.get_num_threads(),
                        "tokens_per_second": float(tokens / (last["seconds"] - first["seconds"])),
                        "losses": training.history["train_loss"].tolist(),
                    }
                )
            )


if __name__ == "__main__":
    _work(sys.argv[1])
