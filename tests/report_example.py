"""Invented results of a run, complete to the contract of the report. No number here was measured."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from pn_lib.files import write_json, write_text
from pn_lib.run.stages import NOTEBOOKS, REPOSITORY

REPORT = REPOSITORY / "report"
sys.path.insert(0, str(REPORT))

import render  # noqa: E402
import sources  # noqa: E402
from context import build_context  # noqa: E402

NAME = "quick-pocket"
DRAWN_BY = {name: path.stem for path in NOTEBOOKS.glob("0*.ipynb") for name in sources.drawing_cells(path.stem)}

FIGURES = [
    "word_frequencies",
    "vocabulary_sweep",
    "training_curve",
    "recipe_branches",
    "few_stories",
    "scaling",
    "scaling_mamba",
    "attention_maps",
    "completions",
    "copies",
    "probes",
    "departures",
    "next_words",
    "effective_memory",
    "sampling",
    "study",
    "inside_the_language",
    "mamba_curves",
    "decoding",
    "extrapolation",
    "story_surprise",
]

STORY = 'One day Mia had a red kite.\n\nThe wind took it. "Oh no!" said Mia. Tom came with a ladder. They were glad.'


def split(factor: int) -> dict:
    return {
        "stories": 100 * factor,
        "words": 12345 * factor + 67,
        "characters": 61000 * factor,
        "bytes": 61003 * factor,
        "mean_words": 123.4,
        "median_words": 121.0,
        "p95_words": 171.0,
    }


def study_variant(name: str, mean: float, difference: float | None) -> dict:
    interval = (None, None) if difference is None else (difference - 0.005, difference + 0.005)
    return {
        "variant": name,
        "parameters": 160000,
        "mean": mean,
        "low": mean - 0.004,
        "high": mean + 0.004,
        "seeds": 3,
        "difference": difference,
        "difference_low": interval[0],
        "difference_high": interval[1],
        "survives": difference is not None and difference > 0.05,
    }


def spread(value: float, width: float = 0.03) -> dict:
    return {"value": value, "low": value - width, "high": value + width}


NAMES = {
    "ngram": "4-gram",
    "transformer_48": "Transformer 0.2 M",
    "transformer": "Transformer 1 M",
    "mamba": "Mamba 1 M",
    "human": "real stories",
}
TELLERS = [who for who in NAMES if who != "human"]


def measures(shift: float) -> dict:
    """Means of every measure of endings, better with ``shift``."""
    shares = {
        "ended": 0.9,
        "finished": 0.88,
        "quotes_close": 0.85,
        "loops": 0.1,
        "sound": 0.41,
        "known_words": 0.95,
        "names_kept": 0.5,
        "words_kept": 0.2,
        "repetition": 0.12,
        "distinct_2": 0.3,
        "rouge2_reference": 0.21,
        "self_rouge2": 0.33,
        "memorisation_rouge2": 0.41,
    }
    numbers = {"names_new": 0.7, "words": 95.0, "grammar_faults": 0.3, "longest_copy": 7.0}
    return {key: spread(value + shift) for key, value in {**shares, **numbers}.items()}


def probe(right: float, chance: float) -> dict:
    return {**spread(right), "n": 70, "chance": chance}


CONFIG = {
    "vocab_size": 2048,
    "context": 256,
    "d_model": 128,
    "n_layers": 4,
    "n_heads": 4,
    "n_kv_heads": None,
    "d_ff": 352,
    "position": "rope",
    "norm": "rmsnorm",
    "norm_position": "pre",
    "activation": "swiglu",
    "attention": "softmax",
    "window": None,
    "tied_embeddings": True,
    "bias": False,
    "dropout": 0.0,
    "rope_theta": 10000.0,
    "norm_eps": 1e-5,
}

JSONS = {
    "run": {
        "run": "quick-pocket",
        "profile": "quick",
        "corpus": "pocket",
        "settings": {
            "data": {"train_stories": 10000},
            "window": None,
            "training": {"learning_rate": 0.02},
            "study": {
                "seeds": 3,
                "vocab_sizes": [512, 4096],
                "tokens": 40960,
                "batch_size": 8,
                "context": 128,
            },
            "recipe": {"batch_size": 8, "context": 128},
            "mamba": {"learning_rate": 0.04},
            "zoo": [{"d_model": 32, "n_layers": 2}, {"tokens": 9, "transformer": {"d_model": 48}}],
        },
    },
    "data": {
        "corpus": {
            "name": "pocket",
            "title": "Pocket stories",
            "source": "https://example.org/stories",
            "licence": "CC0 1.0",
            "description": "Short stories that a small program writes.",
            "fingerprint": "0123456789abcdef0123",
        },
        "cleaning": {
            "read": 10300,
            "kept": 10211,
            "changed": {"encoding": 12},
            "dropped": {"duplicate": 80, "too short": 9},
        },
        "leakage": {"ngram": 16, "exact": 2, "near": 5, "removed": 7},
        "splits": {"train": split(100), "validation": split(3)},
        "words": {"distinct": 1432, "cover_90": 210, "cover_99": 890},
        "openings": {"once_upon_a_time": 0.31, "most_common": [["once upon a time", 0.31], ["one day", 0.2]]},
        "compressors": {"zlib": 2.1, "bz2": 1.5, "xz": 1.6},
        "entropy": {
            "bits_per_story": 412.3,
            "bits_per_byte": 0.702,
            "standard_error": 0.0021,
            "stories": 20000,
            "validation_bits_per_byte": 0.704,
        },
    },
    "tokenization": {
        "vocab_size": 2048,
        "bytes_per_token": {"train": 4.31, "validation": 4.28},
        "tokens": {"train": 1415000, "validation": 42759},
        "fertility": 1.12,
        "longest_tokens": [" neighbourhood", " Once", "<|endoftext|>"],
        "sweep": [
            {"vocab_size": 512, "bytes_per_token": 3.1, "embedding_share": 0.07},
            {"vocab_size": 2048, "bytes_per_token": 4.31, "embedding_share": 0.25},
        ],
    },
    "construction": {
        "transformer": {
            "config": CONFIG,
            "parameters": 1050000,
            "non_embedding_parameters": 787856,
            "flops_per_token": 6.9e6,
        },
        "checks": {"attention_vs_pytorch": 3.1e-7, "llama_logits": 4.4e-6},
    },
    "training": {
        "model": {"parameters": 1050000, "non_embedding_parameters": 787856, "config": CONFIG},
        "training": {
            "tokens": 1500000,
            "batch_size": 16,
            "context": 256,
            "learning_rate": 0.003,
            "schedule": "cosine",
            "optimizer": "muon",
            "matrix_learning_rate": 0.02,
            "warmup_fraction": 0.05,
            "weight_decay": 0.1,
            "grad_clip": 1.0,
            "precision": "bfloat16",
            "seed": 0,
        },
        "ngram": {"order": 4, "bits_per_byte": 1.104, "nats_per_token": 3.281},
        "transformer": {
            "bits_per_byte": 0.912,
            "nats_per_token": 2.711,
            "low": 0.901,
            "high": 0.923,
            "tokens": 1500000,
            "steps": 367,
            "flops": 1.23e15,
        },
        "uniform": {"bits_per_byte": 2.57},
        "samples": [{"tokens": 100000 * n, "text": STORY} for n in range(1, 6)],
    },
    "zoo": {
        "tokens": 1500000,
        "models": {
            who: {
                "label": NAMES[who],
                "parameters": parameters,
                "bits_per_byte": spread(loss, 0.01),
                "config": {},
                "published": False,
                "difference": None if who == "transformer" else spread(loss - 0.912, 0.01),
            }
            for who, parameters, loss in (
                ("ngram", 390000, 1.104),
                ("transformer_48", 200000, 1.02),
                ("transformer", 1050000, 0.912),
                ("mamba", 1061000, 0.931),
            )
        },
    },
    "completions": {"beginnings": ["One day Mia"], "temperature": 1.0, "tellers": {}},
    "evaluation": {
        "names": NAMES,
        "sampling": {
            label: {"sound": spread(0.9 - 0.3 * i), "distinct_2": 0.1 + 0.2 * i, "repetition": 0.2, "ended": 0.9}
            for i, label in enumerate(("τ = 0.4", "τ = 1.0", "real stories"))
        },
        "recall": {"a word doubled": [39, 40], "a full stop left out": [0, 40], "an → a": [20, 40]},
        "completions": {
            "beginnings": 60,
            "repeats": 2,
            "temperature": 1.0,
            "training_stories": 10000,
            "tellers": {who: measures(0.05 * i) for i, who in enumerate(NAMES)}
            | {"ngram": measures(0.0) | {"names_kept": None}},
        },
        "copies": {
            "edges": [0, 5, 10],
            "endings": {"transformer": [10, 80, 30]},
            "longest": {"ngram": 12, "transformer": 21, "mamba": 19, "human": 17},
        },
        "probes": {
            who: {"facts": probe(0.3 + 0.05 * i, 0.25), "pronouns": probe(0.51 + 0.1 * i, 0.5)}
            for i, who in enumerate(TELLERS)
        },
        "ahead": {
            who: {
                "sound": spread(0.2),
                "names_kept": None if who == "ngram" else spread(-0.3),
                "memorisation_rouge2": spread(-0.1),
            }
            for who in ("ngram", "mamba", "human")
        },
        "beyond_ngram": {"facts": spread(0.1), "pronouns": spread(0.01)},
        "pocket": {
            "excess_bits_per_byte": {
                "transformer": spread(0.208, 0.01),
                "ngram": spread(0.4, 0.01),
                "mamba": spread(0.21, 0.01),
            },
            "valid_share": {
                "transformer": {"value": 0.71, "low": 0.64, "high": 0.78},
                "ngram": {"value": 0.05, "low": 0.01, "high": 0.12},
            },
            "tried": 60,
            "broken_facts": {who: {"no fact": 20, "colour": 9, "place": 0} for who in ("ngram", "transformer")},
            "next_words": {
                who: {
                    kind: {
                        "places": 100,
                        "entropy": spread(0.5),
                        "kl": spread(kl),
                        "leak": spread(leak),
                        "overconfidence": spread(0.0),
                        "ece": 0.04,
                    }
                    for kind in ("all", "determined")
                }
                for who, kl, leak in (("transformer", 0.4, 0.1), ("ngram", 1.4, 0.3))
            },
            "reasons": [["a name that was not introduced", 9], ["an ending of another plot", 4]],
        },
        "inside": {
            "heads": [
                {
                    "layer": 1,
                    "head": head,
                    "explained": 0.4 * head,
                    "loss": 0.1 * head,
                    "low": 0.1 * head - 0.15,
                    "high": 0.1 * head + 0.15,
                }
                for head in (1, 2)
            ],
            "induction": {"transformer": {"first": 6.1, "again": 7.0, "gain": spread(-0.9)}},
            "memory": {"ngram": {"reach": 4}, "transformer": {"reach": None}},
        },
        "gallery": [{"beginning": "One day Mia", "endings": dict.fromkeys(NAMES, STORY)}],
        "failures": [{"title": "repeats itself most", "beginning": "One day Mia", "text": STORY}],
    },
    "recipe": {
        "tokens": 200000,
        "seeds": 3,
        "stories": 40,
        "sprints": [
            {"tokens": 80000, "parameters": 200000, "bits_per_byte": 1.4},
            {"tokens": 1500000, "parameters": 1050000, "bits_per_byte": 0.912},
        ],
        "ladder": [
            {"change": change, "bits_per_byte": loss, "low": loss - 0.02, "high": loss + 0.02}
            for change, loss in (("2017", 1.8), ("nanoGPT's recipe", 1.7), ("Muon for matrices", 1.4))
        ],
        "branches": [
            {"change": change, "difference": d, "low": d - 0.01, "high": d + 0.01}
            for change, d in (("cosine to zero", 0.03), ("average of weights", 0.0), ("batch grows", -0.02))
        ],
        "few": {
            "stories": 200,
            "tokens": 30000,
            "epochs": 8,
            "curves": [
                {"dropout": 0.0, "nats_per_token": [7.0, 4.0, 3.5, 3.7, 4.1], "train_loss": [7.0, 4.0, 3.0, 2.0, 1.0]},
                {"dropout": 0.3, "nats_per_token": [7.0, 4.2, 3.6, 3.4, 3.3], "train_loss": [7.0, 4.4, 4.0, 3.5, 3.2]},
            ],
        },
    },
    "scaling": {
        "law": {
            name: {"value": v, "low": v - 0.1, "high": v + 0.1}
            for name, v in (("E", 0.75), ("alpha", 0.4), ("beta", 0.5))
        },
        "mamba_rates": {"AdamW, 0.006": 2.1, "Muon, 0.04": 1.9},
        "exact": 0.704,
        "misfit": 0.02,
        "promise": {
            "parameters": 1050000,
            "tokens": 1500000,
            "value": 1.02,
            "low": 0.95,
            "high": 1.1,
            "measured": 0.912,
        },
        "flops_per_parameter": 6.4,
        "best": [
            {
                "flops": 3e12,
                "parameters": 210000.0,
                "low": 150000.0,
                "high": 300000.0,
                "tokens": 2.2e6,
                "bits_per_byte": 1.1,
                "off_by_two": 0.031,
            }
        ],
        "points": [{"model": "transformer", "parameters": 100000, "tokens": 40000, "bits_per_byte": 1.9}],
    },
    "language": {
        "tokens": 200000,
        "stories": 1000,
        "vocab_size": 2048,
        "seeds": 3,
        "told": 100,
        "source": 0.089,
        "words_of_a_story": 165.2,
        "sizes": [
            {"parameters": size, "excess": spread(excess, 0.01), "words": spread(words, 5.0), "valid": spread(valid)}
            for size, excess, words, valid in ((70000, 0.4, 11.0, 0.03), (700000, 0.1, 130.0, 0.61))
        ],
    },
    "study": {
        "baseline": {"stories": 33},
        "axes": [
            {
                "axis": "position",
                "variants": [
                    study_variant("rope", 1.31, None),
                    study_variant("learned", 1.313, 0.003),
                    study_variant("none", 1.39, 0.08),
                ],
            },
            {
                "axis": "norm",
                "variants": [
                    study_variant("rmsnorm", 1.31, None),
                    study_variant("layernorm", 1.312, 0.002),
                ],
            },
        ],
    },
    "mamba": {
        "models": {
            "transformer": {"parameters": 300100, "bits_per_byte_mean": 1.25, "low": 1.23, "high": 1.27, "seeds": 3},
            "mamba": {"parameters": 301200, "bits_per_byte_mean": 1.32, "low": 1.29, "high": 1.35, "seeds": 3},
        },
        "difference": {"mean": 0.07, "low": 0.04, "high": 0.1},
        "tokens": 123456,
        "equality": {"torch_scan_vs_reference": 2.2e-6},
        "scan": "fused",
        "rates": {
            "tried": [
                {"model": model, "learning_rate": rate, "matrix_learning_rate": 2 * rate, "bits_per_byte": loss}
                for model in ("transformer", "mamba")
                for rate, loss in ((0.02, 1.31), (0.04, 1.27))
            ],
            "taken": {who: {"learning_rate": 0.04, "matrix_learning_rate": 0.08} for who in ("transformer", "mamba")},
        },
        "full": {
            "tokens": 1500000,
            "learning_rate": 0.04,
            "parameters": 1061000,
            "transformer_parameters": 1050000,
            "bits_per_byte": 0.931,
            "difference": {"mean": 0.019, "low": 0.011, "high": 0.027},
        },
        "beyond": {
            "trained": 128,
            "rows": [
                {"model": model, "from": to - 64, "to": to, "nats_per_token": 2.0 + rise * (to > 128)}
                for model, rise in (("transformer", 0.9), ("mamba", -0.05))
                for to in range(64, 513, 64)
            ],
        },
        "tasks": [
            {
                "task": task,
                "trained": 64,
                "seeds": 3,
                "rows": [
                    {"length": T, "transformer": 0.99 if T == 64 else 0.31, "mamba": 0.97 if T < 512 else 0.7}
                    for T in (64, 128, 256, 512)
                ],
            }
            for task in ("selective copying", "induction heads")
        ],
    },
    "timings/machine": {
        "cpu": "Invented CPU (AVX512)",
        "cores": 2,
        "memory_gb": 8.3,
        "system": "Linux x86_64",
        "python": "3.11.7",
        "versions": {"torch": "2.13.0", "numpy": "2.3.0", "typst": "0.15.2"},
        "commit": "abcdef123456",
    },
    "timings/stages": {
        "stages": [
            {"notebook": "01_data_exploration", "seconds": 20.1},
            {"notebook": "04_transformer_training", "seconds": 4299.9},
        ],
        "total_seconds": 4320.0,
        "peak_memory_mb": 1900,
    },
    "timings/training": {
        "seconds": 141.0,
        "tokens_per_second": 10638.0,
        "peak_memory_mb": 1210.0,
        "peak_gflops": {"float32": 120.0, "bfloat16": 300.0},
        "utilisation": 0.31,
        "joules": None,
        "overhead": 0.011,
        "phases": {
            "data": 1.0,
            "forward": 40.0,
            "backward": 80.0,
            "optimizer": 19.0,
            "bookkeeping": 1.0,
            "validation": 20.0,
            "checkpoint": 0.5,
        },
    },
    "timings/recipe": {
        "seconds": 9.0,
        "sprints": [8.0, 141.0],
        "ladder": [
            {"change": change, "equal_seconds": loss, "tokens_per_second": 20000.0}
            for change, loss in (("2017", 1.81), ("nanoGPT's recipe", 1.69), ("Muon for matrices", 1.45))
        ],
        "branches": [
            {"change": change, "equal_seconds": 0.01}
            for change in ("cosine to zero", "average of weights", "batch grows")
        ],
    },
    "timings/mamba": {
        "models": {
            "transformer": {"tokens_per_second": 8000.0, "peak_memory_mb": 900.0},
            "mamba": {"tokens_per_second": 4000.0, "peak_memory_mb": 1100.0},
        },
        "equal_seconds": {
            "tokens": 61728,
            "mean": 1.4,
            "low": 1.37,
            "high": 1.43,
            "difference": {"mean": 0.15, "low": 0.12, "high": 0.18},
        },
        "scan": [{"T": T, "reference (ms)": 0.9 * T, "torch (ms)": 0.2 * T, "fused (ms)": 0.02 * T} for T in (64, 256)],
    },
}

CSVS = {
    "timings/study": [
        {"axis": axis["axis"], "variant": v["variant"], "tokens_per_second": 9001.0, "peak_memory_mb": 800.0}
        for axis in JSONS["study"]["axes"]
        for v in axis["variants"]
    ],
    "timings/decoding": [
        {
            "model": model,
            "context": T,
            "ms_per_token": ms * (1 + T / 512 * (model == "transformer")),
            "state_bytes": state,
        }
        for model, ms, size in (("transformer", 2.0 / 1.25, 2048), ("mamba", 2.5, 0))
        for T in (128, 512, 2048)
        for state in [size * T or 73728]
    ],
}


def graded(name: str, plot: float) -> dict:
    """A judge of ``judge.json``, which most runs do not have."""
    grades = {"grammar": 7.25, "creativity": 4.0, "consistency": 6.0, "plot": plot}
    ages = dict.fromkeys("ABCDEF", 0) | {"C": 9}
    return {
        "model": f"model-of-{name}",
        "host": "127.0.0.1",
        "requested": 130,
        "judged": 120,
        "refused": 2,
        "invalid": 3,
        "tellers": {
            who: {
                "gradings": 30,
                "grades": {key: spread(grade, 0.5) for key, grade in grades.items()},
                "age_groups": ages,
            }
            for who in ("transformer", "human")
        },
        "length_bias": {
            key: {"correlation": 0.2, "points_per_word": spread(0.04 if key == "plot" else 0.0, 0.01)} for key in grades
        },
        "pairs": [
            {
                "tellers": ["transformer", "human"],
                "pairs": 20,
                "flips": spread(0.25),
                "first_wins": 0.6,
                "win_rate": spread(0.3),
            }
        ],
    }


JUDGED = {
    "judges": {"one": graded("one", 5.5), "two": graded("two", 6.5)},
    "between_judges": [
        {
            "judges": ["one", "two"],
            **{
                key: {"pairs": 60, "spearman": 0.71, "mean_absolute_difference": 1.0}
                for key in ("grammar", "creativity", "consistency", "plot")
            },
        }
    ],
}


class Example:
    """A run's folders below ``root``, with invented results that a test may change before it looks at the text."""

    def __init__(self, root: Path):
        self.root, self.jsons, self.csvs = root, copy.deepcopy(JSONS), copy.deepcopy(CSVS)
        self.results, self.figures = root / "results" / NAME, root / "figures" / NAME
        figure, axes = plt.subplots(figsize=(7, 3.6))
        axes.plot([1, 3, 2], label="invented")
        for name in FIGURES:
            self.figures.mkdir(parents=True, exist_ok=True)
            figure.savefig(self.figures / f"{name}.svg", metadata={"Date": None})
            sidecar = {"notebook": DRAWN_BY[name], "alt": f'A "{name}" plot', "commit": "0123456789ab"}
            write_json(self.figures / f"{name}.json", sidecar)
        plt.close(figure)

    def write(self) -> "Example":
        for name, values in self.jsons.items():
            write_json(self.results / f"{name}.json", values)
        for name, rows in self.csvs.items():
            write_text(self.results / f"{name}.csv", pd.DataFrame(rows).to_csv(index=False))
        return self

    def text(self) -> str:
        """The report's Markdown on one line, with plain spaces."""
        run = sources.Run(self.write().root, NAME)
        return " ".join(render.render_markdown(build_context(run), render.Numbering(run)).split())

    def command(self) -> subprocess.CompletedProcess:
        environment = os.environ | {"PN_ROOT": str(self.root)}
        command = [sys.executable, REPORT / "build.py", NAME]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
