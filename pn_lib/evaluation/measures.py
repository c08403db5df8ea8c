"""What is measured of a completion without a judge, in words. A result uses them and knows no model."""

# What `measure` gives, by column; the first seven are shares, of completions or of words.
MEASURES = {
    "ended": "reached its end within the limit",
    "finished": "its last sentence is finished",
    "quotes_close": "every quotation is closed",
    "loops": "says the same words three times in a row",
    "known_words": "words that training has",
    "names_kept": "names of the beginning that come again",
    "words_kept": "content words of the beginning that come again",
    "names_new": "names that the beginning lacks",
    "words": "length in words",
    "repetition": "four-word runs that repeat an earlier one (share)",
    "grammar_faults": "faults of grammar per 100 words",
    "distinct_2": "different word pairs among all, over the completions of a beginning",
    "rouge2_reference": "word pairs shared with the true ending (ROUGE-2 precision)",
    "self_rouge2": "likeness to the closest completion of another beginning (ROUGE-2 F)",
    "memorisation_rouge2": "word pairs shared with the closest training story (ROUGE-2 precision)",
    "longest_copy": "longest run of words copied from training",
}

# Of these, and of a listener's surprise, a lower value is the better one
LOWER_IS_BETTER = frozenset(
    {
        "loops",
        "names_new",
        "repetition",
        "grammar_faults",
        "self_rouge2",
        "memorisation_rouge2",
        "longest_copy",
        "surprise",
    }
)

# Real endings damaged on purpose, each in a way that a measure should notice (see `known_groups`)
GROUPS = {
    "shuffled": "sentences shuffled",
    "renamed": "names exchanged",
    "another": "another story's ending",
    "negated": "facts negated",
    "looping": "last sentence four times",
    "cut": "last third missing",
    "same": "one ending for all",
    "copied": "a training story's ending",
}
