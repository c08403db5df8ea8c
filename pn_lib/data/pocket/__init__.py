"""Pocket stories: what a program tells whose every story's probability is known. The public names of ``source``."""

from pn_lib.data.pocket.source import (
    CARD_TEXT,
    STORIES,
    Departure,
    Entropy,
    Gap,
    consistency_probe,
    entropy,
    explain,
    fact_gap,
    log_prob,
    next_words,
    prefix_log_prob,
    pronoun_gap,
    sample_stories,
    sample_story,
)

__all__ = [
    "CARD_TEXT",
    "STORIES",
    "Departure",
    "Entropy",
    "Gap",
    "consistency_probe",
    "entropy",
    "explain",
    "fact_gap",
    "log_prob",
    "next_words",
    "prefix_log_prob",
    "pronoun_gap",
    "sample_stories",
    "sample_story",
]
