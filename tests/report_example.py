"""Invented results of a run, complete, since they are made of the models. No number here was measured."""

import copy
import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import matplotlib.pyplot as plt

from pn_lib.files import write_json
from pn_lib.run.results.coherence_results import CoherenceResult, CoherenceTimings
from pn_lib.run.results.data_results import DataResult, TokenizationResult
from pn_lib.run.results.frontier_results import FrontierResult, FrontierTimings
from pn_lib.run.results.inside_results import InsideResult
from pn_lib.run.results.judge_results import JudgeResult
from pn_lib.run.results.listening_results import ListeningResult
from pn_lib.run.results.mamba_results import MambaConstruction, ScanTimings
from pn_lib.run.results.memory_results import MemoryResult
from pn_lib.run.results.mixers_results import DecodingStep, MixersResult, MixersTimings
from pn_lib.run.results.provenance import Machine, RunCard, StageTimes
from pn_lib.run.results.rating_results import RatingResult
from pn_lib.run.results.result import Part, Result
from pn_lib.run.results.stories_results import CompletionsResult, EvaluationResult
from pn_lib.run.results.study_results import LanguageResult, ScalingResult, StudyCost, StudyResult
from pn_lib.run.results.training_results import (
    ConstructionResult,
    RecipeResult,
    RecipeTimings,
    TrainingResult,
    TrainingTimings,
)
from pn_lib.run.results.whole_mamba_results import MambaResult
from pn_lib.run.results.zoo_results import ZooResult
from pn_lib.run.stages import REPOSITORY

REPORT = REPOSITORY / "report"
sys.path.insert(0, str(REPORT))

import render  # noqa: E402
import sources  # noqa: E402
from context import build_context  # noqa: E402

NAME = "quick-pocket"
SECTIONS = [path.read_text(encoding="utf-8") for path in sorted((REPORT / "sections").rglob("*.md"))]
FIGURES = re.findall(r'\bfigure\("(\w+)"', "\n".join(SECTIONS))
STORY = 'One day Mia had a red kite.\n\nThe wind took it. "Oh no!" said Mia. Tom came with a ladder. They were glad.'


def invented(kind: type[Part], **known: Any) -> dict:
    """A part of a result with all its keys: the known ones as given, the others by their type."""
    fields = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    assert known.keys() <= fields.keys(), known.keys() - fields.keys()
    return {key: filled(type_, known[key]) if key in known else default(type_) for key, type_ in fields.items()}


def filled(type_: Any, known: Any) -> Any:
    """``known`` with the missing keys of the parts in it."""
    inner = [arg for arg in get_args(type_) if arg is not type(None)]
    if isinstance(known, dict) and isinstance(type_, type) and issubclass(type_, Part):
        return invented(type_, **known)
    if isinstance(known, dict) and inner:  # values of an object, or an optional part
        each = get_origin(type_) is dict
        return {key: filled(inner[-1], value) for key, value in known.items()} if each else filled(inner[0], known)
    return [filled(inner[0], value) for value in known] if isinstance(known, list) and len(inner) == 1 else known


def default(type_: Any) -> Any:
    inner = get_args(type_)
    if type(None) in inner:
        return None
    if type_ in (int, float, str, bool):
        return {int: 1000, float: 0.5, str: "invented", bool: False}[type_]
    if get_origin(type_) is Literal:
        return inner[0]
    if get_origin(type_) is list:
        return [default(inner[0])]
    if get_origin(type_) is tuple:
        return [default(each) for each in inner]
    if get_origin(type_) is dict:
        return {key: default(inner[1]) for key in get_args(inner[0])}  # none, unless all keys are known
    return invented(type_)


def spread(value: float, width: float = 0.03) -> dict:
    return {"value": value, "low": value - width, "high": value + width}


def mean(value: float, width: float) -> dict:
    return {"mean": value, "low": value - width, "high": value + width}


def ends(key: str, value: float, width: float) -> dict:
    """A number with the ends of its interval beside it."""
    return {key: value, "low": value - width, "high": value + width}


def study_variant(name: str, value: float, difference: float | None) -> dict:
    found = {"variant": name, **ends("mean", value, 0.004), "parameters": 160000, "seeds": 3, "difference": difference}
    if difference is None:
        return found
    return found | {"difference_low": difference - 0.005, "difference_high": difference + 0.005}


NAMES = {
    "ngram": "4-gram",
    "transformer_48": "Transformer 0.2 M",
    "transformer": "Transformer 1 M",
    "human": "real stories",
}
TELLERS = [who for who in NAMES if who != "human"]
CONFIG = {"vocab_size": 2048, "context": 256, "d_model": 128, "window": None, "rope_theta": 10000.0, "norm_eps": 1e-5}
MEASURED = {
    "names_kept": 0.5,
    "distinct_2": 0.3,
    "memorisation_rouge2": 0.41,
    **dict.fromkeys(("ended", "finished", "quotes_close", "known_words"), 0.9),
    **dict.fromkeys(("loops", "words_kept", "self_rouge2"), 0.2),
    **dict.fromkeys(("names_new", "grammar_faults", "longest_copy"), 0.7),
}


def measures(shift: float) -> dict:
    """Means of measures of endings, larger with ``shift``."""
    return {key: spread(value + shift) for key, value in MEASURED.items()}


def split(factor: int) -> dict:
    return {"stories": 100 * factor, "words": 12345 * factor + 67, "bytes": 61003 * factor}


MIXER_LOSSES = {"transformer": 1.25, "mamba": 1.32, "hybrid": 1.24}


def mixer_pairs(mamba: str = "ahead") -> list[dict]:
    """The Transformer beside Mamba has the verdict ``mamba``; the others cannot be told apart."""
    return [
        {"first": a, "second": b, "difference": spread(MIXER_LOSSES[a] - MIXER_LOSSES[b]), "p": 0.01, "p_holm": 0.03}
        | {"verdict": mamba if (a, b) == ("transformer", "mamba") else "not told apart"}
        for a, b in combinations(MIXER_LOSSES, 2)
    ]


def equal_terms() -> dict:
    models = [{"architecture": who, "tokens": 61728, "loss": spread(loss)} for who, loss in MIXER_LOSSES.items()]
    return {"models": models, "pairs": mixer_pairs()}


WHOLE, EASY = {"plots": None, "words": None}, {"plots": 1, "words": 4}


def coherent(parameters: int, tokens: int, excess: float, valid: float) -> dict:
    """A cell of the study of coherence, but for its language."""
    return {
        "architecture": "transformer",
        "parameters": parameters,
        "tokens": tokens,
        "seeds": 1,
        "excess": {"value": excess, "low": None, "high": None},
        "excess_bits": 740 * excess,
        "valid": spread(valid),
        "cooler": spread(valid + 0.05),
        "words": 140 * valid,
        "steady": valid / 2,
        "recalled": [{"back": back, "repeated": 50, "broken": broken} for back, broken in ((0, 2), (100, 9), (400, 5))],
    }


# What the tests look for, by file; the rest is invented by type
KNOWN: dict[type[Result], dict] = {
    RunCard: {
        "run": NAME,
        "profile": "quick",
        "corpus": "pocket",
        "settings": {
            "training": {"learning_rate": 0.02},
            "mamba": {"learning_rate": 0.04},
            "recipe": {"batch_size": 8, "context": 128},
            "study": {"tokens": 40960, "batch_size": 8, "context": 128},
        },
    },
    DataResult: {
        "corpus": {
            "title": "Pocket stories",
            "source": "https://example.org/stories",
            "fingerprint": "0123456789abcdef01",
        },
        "cleaning": {"changed": {"encoding": 12}, "dropped": {"duplicate": 80, "too short": 9}},
        "splits": {"train": split(100), "validation": split(3)},
        "openings": {"most_common": [["once upon a time", 0.31], ["one day", 0.2]]},
        "compressors": {"zlib": 2.1, "bz2": 1.5, "xz": 1.6},
        "entropy": {"validation_bits_per_byte": 0.704},
    },
    TokenizationResult: {
        "tokens": {"validation": 42759},
        "fertility": 1.12,
        "longest_tokens": [" neighbourhood", " Once", "<|endoftext|>"],
        "sweep": [{"vocab_size": size} for size in (512, 2048)],
    },
    ConstructionResult: {
        "transformer": {"config": CONFIG},
        "checks": {"attention_vs_pytorch": 3.1e-7, "logits": 4.4e-6},
    },
    TrainingResult: {
        "model": {"parameters": 1050000, "config": CONFIG},
        "training": {
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
        },
        "ngram": {"order": 4, "bits_per_byte": 1.104},
        "transformer": {**ends("bits_per_byte", 0.912, 0.011), "tokens": 1500000, "flops": 1.23e15},
        "samples": [{"tokens": 100000 * n, "text": STORY} for n in range(1, 6)],
    },
    ZooResult: {
        "tokens": 1500000,
        "models": {
            who: {
                "label": NAMES[who],
                "parameters": parameters,
                "bits_per_byte": spread(loss, 0.01),
                "difference": None if who == "transformer" else spread(loss - 0.912, 0.01),
            }
            for who, parameters, loss in (
                ("ngram", 390000, 1.104),
                ("transformer_48", 200000, 1.02),
                ("transformer", 1050000, 0.912),
            )
        },
    },
    CompletionsResult: {},
    EvaluationResult: {
        "names": NAMES,
        "sampling": {
            label: {"kept": spread(0.9 - 0.3 * i), "distinct_2": 0.1 + 0.2 * i, "ended": 0.9}
            for i, label in enumerate(("τ = 0.4", "τ = 1.0", "real stories"))
        },
        "recall": {"a word doubled": [39, 40], "a full stop left out": [0, 40], "an → a": [20, 40]},
        "completions": {
            "temperature": 1.0,
            "tellers": {who: measures(0.05 * i) for i, who in enumerate(NAMES)}
            | {"ngram": measures(0.0) | {"names_kept": None}},
        },
        "probes": {
            who: {
                "facts": {**spread(0.3 + 0.05 * i), "chance": 0.25},
                "pronouns": {**spread(0.51 + 0.1 * i), "chance": 0.5},
            }
            for i, who in enumerate(TELLERS)
        },
        "ahead": {
            who: {
                "names_kept": None if who == "ngram" else spread(-0.3),
                "memorisation_rouge2": spread(-0.1),
            }
            for who in ("ngram", "human")
        },
        "beyond_ngram": {"facts": spread(0.1), "pronouns": spread(0.01)},
        "pocket": {
            "excess_bits_per_byte": {"transformer": spread(0.208, 0.01), "ngram": spread(0.4, 0.01)},
            "valid_share": {"transformer": spread(0.71, 0.07), "ngram": spread(0.05, 0.04)},
            "broken_facts": {who: {"no fact": 20, "colour": 9, "place": 0} for who in ("ngram", "transformer")},
            "next_words": {
                who: {kind: {"kl": spread(kl), "leak": spread(leak)} for kind in ("all", "determined")}
                for who, kl, leak in (("transformer", 0.4, 0.1), ("ngram", 1.4, 0.3))
            },
            "reasons": [["a name that was not introduced", 9], ["an ending of another plot", 4]],
        },
        "copies": {"longest": {"transformer": 12, "human": 9}},
        "gallery": [{"endings": dict.fromkeys(NAMES, STORY)}],
        "failures": [{"title": "repeats itself most", "text": STORY}],
    },
    InsideResult: {
        "model": "reference/300k",
        "parameters": 560224,
        "heads": [
            {"layer": 1, "head": head, "explained": 0.4 * head, **ends("loss", 0.1 * head, 0.15)} for head in (1, 2)
        ],
        "induction": {"opened": {"first": 6.1, "gain": spread(-0.9)}},
        "memory": {"ngram": {"reach": 4}, "transformer": {"reach": None}},
    },
    RecipeResult: {
        "seeds": 3,
        "sprints": [
            {"tokens": 80000, "parameters": 200000, "bits_per_byte": 1.4},
            {"tokens": 1500000, "parameters": 1050000, "bits_per_byte": 0.912},
        ],
        "ladder": [
            {"change": change, **ends("bits_per_byte", loss, 0.02)}
            for change, loss in (("2017", 1.8), ("nanoGPT's recipe", 1.7), ("Muon for matrices", 1.4))
        ],
        "branches": [
            {"change": change, **ends("difference", difference, 0.01)}
            for change, difference in (("cosine to zero", 0.03), ("average of weights", 0.0), ("batch grows", -0.02))
        ],
        "few": {
            "epochs": 8,
            "curves": [
                {"dropout": 0.0, "nats_per_token": [7.0, 4.0, 3.5, 3.7, 4.1]},
                {"dropout": 0.3, "nats_per_token": [7.0, 4.2, 3.6, 3.4, 3.3]},
            ],
        },
    },
    ScalingResult: {
        "law": {
            name: spread(value, 0.1)
            for name, value in (("E", 0.75), ("A", 30.0), ("alpha", 0.4), ("B", 60.0), ("beta", 0.5))
        },
        "exact": 0.704,
        "misfit": 0.02,
        "promise": {"parameters": 1050000, "value": 1.02, "low": 0.95, "high": 1.1, "measured": 0.912},
        "best": [
            {"flops": flops, "parameters": 210000.0, "low": 150000.0, "high": 300000.0, "off_by_two": 0.031}
            for flops in (1e10, 3e12)
        ],
        "points": [{"parameters": 100000, "tokens": 40000}, {"parameters": 300000, "tokens": 400000}],
    },
    LanguageResult: {
        "seeds": 3,
        "told": 100,
        "words_of_a_story": 165.2,
        "sizes": [
            {"parameters": size, "excess": spread(excess, 0.01), "words": spread(words, 5.0), "valid": spread(valid)}
            for size, excess, words, valid in ((70000, 0.4, 11.0, 0.03), (700000, 0.1, 130.0, 0.61))
        ],
    },
    CoherenceResult: {
        "cool": 0.7,
        "told": 1600,
        "copies": 0,
        "new_pairs": 0.03,
        "cells": [
            {"dialect": EASY, **coherent(125000, 250000, 0.02, 0.31)},
            {"dialect": EASY, **coherent(125000, 500000, 0.002, 0.93)},
            {"dialect": WHOLE, **coherent(250000, 500000, 0.1, 0.0)},
        ],
        "thresholds": [
            {"architecture": "transformer", "dialect": dialect, "parameters": size, "level": level, "most": 500000}
            | {"tokens": tokens and spread(tokens, 9000)}
            for dialect, size, reached in ((EASY, 125000, (210000, 310000, None)), (WHOLE, 250000, (None,) * 3))
            for level, tokens in zip((0.1, 0.5, 0.9), reached, strict=True)
        ],
        "least": [
            {"dialect": EASY, "level": 0.5, "cost": cost, "value": value, "architecture": "transformer"}
            | {"parameters": 125000, "tokens": 500000, "valid": spread(0.93)}
            for cost, value in (("parameters", 125000), ("tokens", 500000), ("flops", 3.7e11), ("bytes", 81000))
        ],
        "memories": [
            {"experiment": f"seed{seed}", "architecture": "transformer", "dialect": EASY, "parameters": 125000}
            | {
                "tokens": 500000,
                "seed": seed,
                "slot": slot,
                "repeated": 50,
                "broken": broken,
                "valid": 0.9 - 0.5 * seed,
            }
            for seed, slot, broken in ((1, "hero", 0), (1, "colour", 20), (0, "hero", 1), (0, "colour", 2))
        ],
        "leaks": [{"architecture": "all", "dialect": EASY, "models": 2, "leak": spread(0.45), "half": 2.2}],
    },
    CoherenceTimings: {"least": [], "made": [{"name": "transformer-125k", "seconds": 61.0, "cpu": "a CPU (AVX2)"}]},
    StudyResult: {
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
                "variants": [study_variant("rmsnorm", 1.31, None), study_variant("layernorm", 1.312, 0.002)],
            },
        ],
    },
    MambaConstruction: {"equality": {"torch_scan_vs_reference": 2.2e-6}},
    MambaResult: {
        "model": {
            "label": "Mamba 1 M",
            "parameters": 1061000,
            "bits_per_byte": spread(0.931, 0.01),
            "difference": spread(0.019, 0.01),
        },
        "measures": measures(0.15),
        "ahead": {"names_kept": spread(-0.3)},
        "probes": {kind: {**spread(0.4), "chance": 0.25} for kind in ("facts", "pronouns")},
        "excess": spread(0.227, 0.01),
        "valid": spread(0.6, 0.07),
        "reach": 9,
        "ending": STORY,
        "rates": {"AdamW, 0.006": 2.1, "Muon, 0.04": 1.9},
    },
    MixersResult: {
        "choice_stories": 140,
        "test_stories": 160,
        "sizes": [
            {
                "budget": budget,
                "tokens": 123456,
                "updates": 400,
                "seeds": seeds,
                "enough": True,
                "models": [
                    {
                        "architecture": who,
                        "config": {"n_layers": 3, "d_model": 64, "pattern": "MMA"},
                        "rate": 0.04,
                        "inside": who != "hybrid",
                        "loss": spread(loss),
                        "standard_deviation": 0.0081,
                    }
                    for who, loss in MIXER_LOSSES.items()
                ],
                "pairs": mixer_pairs(),
            }
            for budget, seeds in ((100_000, 10), (400_000, 3))
        ],
        "equal_context": {"transformer": None, "mamba": 36.0, "hybrid": 500.0},
        "equal_bytes": equal_terms(),
        "beyond": {
            "trained": 128,
            "rows": [
                {"architecture": who, "to": to, "nats_per_token": 2.0 + rise * (to > 128)}
                for who, rise in (("transformer", 0.9), ("mamba", -0.05), ("hybrid", 0.02))
                for to in range(64, 513, 64)
            ],
        },
    },
    MemoryResult: {
        "tasks": {task: {"trained": 32} for task in ("selective copying", "associative recall")},
        "models": {who: {} for who in ("transformer", "mamba2", "hybrid")},
        "rows": [
            {"task": task, "architecture": who, "length": T, **mean(share if T == 32 else longer, 0.01), "seeds": 5}
            for task in ("selective copying", "associative recall")
            for who, share, longer in (("transformer", 0.98, 0.31), ("mamba2", 0.9, 0.7), ("hybrid", 0.99, 0.97))
            for T in (32, 64, 128)
        ],
        "hybrid": [
            {"task": task, "parent": parent, "difference": mean(difference, 0.1)}
            for task in ("selective copying", "associative recall")
            for parent, difference in (("transformer", 0.66), ("mamba2", 0.05 if task == "selective copying" else -0.2))
        ],
    },
    Machine: {"cpu": "Invented CPU (AVX512)", "versions": {"torch": "2.13.0", "typst": "0.15.2"}},
    StageTimes: {"stages": [{"notebook": "04_transformer_training", "seconds": 4299.9}], "total_seconds": 4320.0},
    TrainingTimings: {"seconds": 141.0, "peak_gflops": {"float32": 120.0, "bfloat16": 300.0}},
    RecipeTimings: {
        "sprints": [8.0, 141.0],
        "ladder": [
            {"change": change, "equal_seconds": loss}
            for change, loss in (("2017", 1.81), ("nanoGPT's recipe", 1.69), ("Muon for matrices", 1.45))
        ],
        "branches": [
            {"change": change, "equal_seconds": 0.01}
            for change in ("cosine to zero", "average of weights", "batch grows")
        ],
    },
    MixersTimings: {
        "training": [
            {"architecture": who, "tokens_per_second": speed, "memory_mb": 9.5}
            for who, speed in (("transformer", 8000.0), ("mamba", 4000.0), ("hybrid", 7000.0))
        ],
        "equal_seconds": equal_terms() | {"pairs": mixer_pairs("not told apart")},
    },
    FrontierResult: {
        "stories": 150,
        "models": [
            {
                "name": "40k",
                "file_bytes": 30000,
                "integers": "int4",
                "parameters": 40000,
                "embedding_parameters": 18000,
                "bits_per_byte": spread(1.05),
                "float32_bits_per_byte": 1.02,
            },
        ],
        "taught": [
            {
                "name": "20k",
                "teacher": "40k",
                "tokens": 120000,
                "longer_tokens": 200000,
                "bits_per_byte": spread(1.3),
                "alone": spread(1.32),
                "longer": spread(1.25),
                "difference": spread(-0.02, 0.01),
                "longer_difference": spread(0.05, 0.01),
            }
        ],
        "rounded": [
            {
                "model": "mamba",
                "precision": precision,
                "method": method,
                "file_bytes": size,
                "parameters": 1061000,
                "embedding_parameters": 262000,
                "bits_per_byte": spread(value),
                "difference": difference,
                "gain": gain,
            }
            for precision, method, size, value, difference, gain in (
                ("float32", "none", 4300000, 0.931, None, None),
                ("int8", "rounding", 1200000, 0.9311, spread(0.0001, 0.001), None),
                ("int4", "rounding", 640000, 0.97, spread(0.039, 0.01), None),
                ("int4", "compensation", 640000, 0.95, spread(0.019, 0.01), spread(-0.02, 0.005)),
            )
        ],
        "sharing": {
            "seeds": 3,
            "stories": 717,
            "sharing": [
                {"name": "nothing shared", "tokens": 204800, "file_bytes": 99472, "bits_per_byte": 1.84},
                {"name": "one layer, three times", "difference": spread(-0.02, 0.01), "verdict": "ahead"},
                {"name": "factored table", "difference": spread(0.004, 0.01), "verdict": "not told apart"},
            ],
            "teaching": [
                {"name": "alone", "tokens": 204800, "bits_per_byte": 1.66},
                {"name": "taught", "difference": spread(-0.05, 0.01), "verdict": "ahead"},
                {"name": "taught, half as long", "difference": spread(0.1, 0.01), "verdict": "behind"},
            ],
        },
        "ngram": {"file_bytes": 5200000, "bits_per_byte": spread(1.104)},
        "vocabulary": {
            "text_bytes": 1_500_000,
            "seed_spread": 0.012,
            "models": [
                {
                    "name": f"{V}-tied-0-{seed}",
                    "seed": seed,
                    "config": {"vocab_size": V, "tied_embeddings": True, "n_layers": 2, "d_model": 32},
                    "file_bytes": size,
                    "bits_per_byte": spread(value + 0.007 * seed),
                }
                for V, size, value in ((257, 21000, 1.43), (1024, 38000, 1.27))
                for seed in (0, 1)
            ],
            "envelope": [
                {"vocab_size": 257, "from_bytes": 21000},
                {
                    "vocab_size": 1024,
                    "from_bytes": 38000,
                    "file_bytes": 38000,
                    "rival_vocab_size": 257,
                    "difference": spread(-0.16),
                    "verdict": "ahead",
                },
            ],
        },
    },
    FrontierTimings: {
        "models": [{"name": "40k"}],
        "taught": [{"name": "20k", "seconds": 9.0, "alone_seconds": 5.0, "longer_seconds": 8.0}],
        "vocabulary": [{"name": f"{V}-tied-0-0", "seconds": 9.5} for V in (257, 1024)],
        "rounded": [
            {"model": "mamba", "precision": precision, "decoding": speed}
            for precision, speed in (("float32", 2000.0), ("int8", 3000.0), ("int4", 2500.0))
        ],
    },
    ScanTimings: {"rows": [{"T": T, "reference (ms)": 0.9 * T, "fused (ms)": 0.02 * T} for T in (64, 256)]},
}
JSONS = {kind.FILE.removesuffix(".json"): invented(kind, **known) for kind, known in KNOWN.items()}
ROWS = {
    StudyCost: [
        StudyCost(axis=axis["axis"], variant=v["variant"], tokens_per_second=9001.0, peak_memory_mb=800.0)
        for axis in JSONS["study"]["axes"]
        for v in axis["variants"]
    ],
    DecodingStep: [
        DecodingStep(
            model=model,
            context=T,
            ms_per_token=ms * (1 + grows * T / 512),
            state_bytes=size * T or 73728,
            cpu="a timer's processor (AVX2)",
        )
        for model, ms, size, grows in (
            ("transformer", 2.0 / 1.25, 2048, 1),
            ("mamba", 2.5, 0, 0),
            ("hybrid", 2.0, 512, 0.5),
        )
        for T in (128, 512, 2048)
    ],
}


def graded(name: str, plot: float) -> dict:
    grades = {"grammar": 7.25, "creativity": 4.0, "consistency": 6.0, "plot": plot}
    return {
        "model": f"model-of-{name}",
        "tellers": {
            who: {
                "gradings": 30,
                "grades": {key: spread(grade, 0.5) for key, grade in grades.items()},
                "age_groups": dict.fromkeys("ABCDEF", 0) | {"C": 9},
            }
            for who in ("transformer", "human")
        },
        "length_bias": {key: {"points_per_word": spread(0.04 if key == "plot" else 0.0, 0.01)} for key in grades},
        "pairs": [{"tellers": ["transformer", "human"], "flips": spread(0.25), "win_rate": spread(0.3)}],
    }


def judged(completions: str) -> dict:
    """``judge.json``, which most runs do not have, of endings with this digest."""
    between = {key: {"spearman": 0.71} for key in ("grammar", "creativity", "consistency", "plot")}
    return invented(
        JudgeResult,
        completions=completions,
        judges={"one": graded("one", 5.5), "two": graded("two", 6.5)},
        between_judges=[{"judges": ["one", "two"], **between}],
    )


def rated(completions: str) -> dict:
    """``rating.json``, which most runs do not have, of endings with this digest."""
    alike = {key: spread(0.6, 0.1) for key in ("grammar", "creativity", "consistency")} | {"plot": None}
    return invented(
        RatingResult,
        completions=completions,
        scale=[1, 10],
        endings=30,
        raters=[30, 12],
        tellers={
            who: {"endings": 8, "ratings": 14, "grades": {key: spread(grade, 0.5) for key in (*alike,)}}
            for who, grade in (("transformer", 4.1), ("human", 8.2))
        },
        agreement=alike,
        correlations={"words": alike, "grammar_faults": {key: spread(0.05, 0.1) for key in alike}},
    )


def heard(completions: str) -> dict:
    """``listening.json``, which most runs do not have, of endings with this digest."""
    tellers = {
        "ngram": {"surprise": spread(1.5), "worth": spread(0.03)},
        "human": {"surprise": spread(0.7), "worth": spread(0.25)},
    }
    return invented(
        ListeningResult,
        listener="an_ear.gguf",
        parameters=135_000_000,
        completions=completions,
        tellers=tellers,
        known_groups={"groups": {"ngram": "4-gram"}, "better": {"surprise": {"ngram": spread(0.9)}, "worth": {}}},
    )


class Example:
    """A run's folders below ``root``, with invented results that a test may change before it looks at the text."""

    def __init__(self, root: Path):
        self.root, self.jsons = root, copy.deepcopy(JSONS)
        self.results, self.figures = root / "results" / NAME, root / "figures" / NAME
        figure, axes = plt.subplots(figsize=(7, 3.6))
        axes.plot([1, 3, 2], label="invented")
        for name in FIGURES:
            self.figures.mkdir(parents=True, exist_ok=True)
            figure.savefig(self.figures / f"{name}.svg", metadata={"Date": None})
            sidecar = {"notebook": "04_a", "cell": "c04-001", "alt": f'A "{name}" plot', "commit": "0123456789ab"}
            write_json(self.figures / f"{name}.json", sidecar)
        plt.close(figure)

    def write(self) -> "Example":
        for name, values in self.jsons.items():
            write_json(self.results / f"{name}.json", values)
        for kind, rows in ROWS.items():
            kind.write(rows, self.results / kind.FILE)
        return self

    def text(self) -> str:
        """The report's Markdown on one line, with plain spaces."""
        run = sources.Run(self.write().root, NAME)
        return " ".join(render.render_markdown(build_context(run), render.Numbering(run)).split())

    def command(self) -> subprocess.CompletedProcess:
        environment = os.environ | {"PN_ROOT": str(self.root)}
        command = [sys.executable, REPORT / "build.py", NAME]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
