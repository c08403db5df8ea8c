"""Reads the course's English: ``make lint`` prints each fault that Harper, or a term of ours, finds in a Markdown cell
of a notebook or in a page of Markdown, and fails if there is one.

A rule is off where it takes mathematics, headings or technical terms for mistakes. Spelling is American; what has a
capital letter or a digit is a name, and words of the glossary are known.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import harper
import nbformat

ROOT = Path(__file__).parent.parent
OFF = (
    # headings, lists and tables: a line is no sentence, and ours begin small
    "UseTitleCase", "SentenceCapitalization", "OxfordComma", "LongSentences", "DiscourseMarkers",
    # taken for mistakes beside symbols: *a* and *o*, "token s", "(B, T)", "pair i", three minus signs
    "AnA", "MergeWords", "PronounVerbAgreement", "CapitalizePersonalPronouns", "Dashes", "UseEllipsisCharacter",
    "ExpandMemoryShorthands", "OrthographicConsistency", "PronounInflectionBe", "Everyone", "LetsConfusion",
    # taken for mistakes in terms: softmax, min, config, Ctrl, quick start, dropout, a finding
    "SplitWords", "ExpandMinimum", "ExpandTimeShorthands", "ExpandConfiguration", "ExpandControl", "CompoundNouns",
    "MassNouns", "PhrasalVerbAsCompoundNoun", "DisjointPrefixes", "MakeupCompoundNoun", "Overall",
    # wrong more often than right about sound sentences
    "MissingPreposition", "MissingTo", "ToTwoToo", "QuantifierNumeralConflict", "PronounKnew", "CondenseAllThe",
    "AdjectiveDoubleDegree", "MoreBetter", "SingleBe", "AvoidAndAlso", "ModalBeAdjective", "ItsContraction",
    "SufficeItToSay", "MultipleSequentialPronouns", "NounVerbConfusion",
)  # fmt: skip
WORDS = [
    "autograd", "bpb", "conda", "convolve", "convolves", "dtype", "endoftext", "gradings", "invertible", "layernorm",
    "nbgrader", "nostalgebraist", "orthogonalizes", "outlier's", "papermill", "precisions", "quantile",
    "quantiles", "rejective", "retellings", "safetensors", "softmax", "subpackages", "unturned",
]  # fmt: skip
TERMS = {
    r"\btrainings\b": "a training is not counted: say runs",
    r"\b[Nn]otebook [1-9]\b": "notebooks are named by two digits: notebook 03",
    r"\bstands? in (?:Table|Figure|section)\b": "a table lists, and a figure shows",
    r"\bwhat is no\b": "say: anything that isn't",
}
# Code, formulas, addresses; and what models and other authors wrote
NOT_PROSE = re.compile(r"<!-- voices -->.*?<!-- /voices -->|```.*?```|<!--.*?-->|\$\$.*?\$\$|\$[^$\n]+\$|`[^`\n]*`|https?://\S+|\]\([^)]*\)|[\w./*]+\.(?:json|csv|cpp|ipynb)\b",
                       re.DOTALL)  # fmt: skip


@cache
def _linter() -> harper.Linter:
    linter = harper.Linter(harper.Dialect.AMERICAN)
    config = linter.get_lint_config()
    if unknown := [rule for rule in OFF if rule not in config]:
        raise SystemExit(f"this version of harper-py has no rule {unknown[0]}: take it out of OFF")
    linter.set_lint_config(config | dict.fromkeys(OFF, False))
    entries = tomllib.loads((ROOT / "pn_lib/course/glossary.toml").read_text(encoding="utf-8"))
    terms = " ".join(entry.get("term") or entry["name"] for kind in entries.values() for entry in kind)
    linter.import_words([*WORDS, *re.findall(r"[a-z]+", terms)])
    return linter


def _is_name(word: str) -> bool:
    letters = word.removesuffix("'s").strip(".*")
    return (
        len(set(letters)) < 3 or not letters.isascii() or letters != letters.lower() or any(map(str.isdigit, letters))
    )


def faults(text: str) -> list[str]:
    """Each fault of a text in Markdown, with the words around it."""
    prose = NOT_PROSE.sub(lambda found: "]" if found[0][0] == "]" else "Tom", text)  # a noun, so that sentences stay
    found = [(m.start(), m.end(), why) for term, why in TERMS.items() for m in re.finditer(term, prose)]
    for rule, lints in _linter().organized_lints(prose, language="markdown").items():
        for lint in lints:
            start, end = lint.span.start, lint.span.end
            if rule != "SpellCheck" or not _is_name(prose[start:end]):
                found.append((start, end, f"{lint.message} ({rule})"))
    return [f"...{prose[max(0, s - 30) : e + 20]!r}: {why}" for s, e, why in sorted(found)]


def is_prose(cell: nbformat.NotebookNode) -> bool:
    return cell.cell_type == "markdown" and "navigation" not in cell.metadata.get("tags", [])


def texts() -> Iterator[tuple[str, str]]:
    """Every page of Markdown and every Markdown cell of the repository, published reports and templates aside."""
    listed = subprocess.run(
        ["git", "ls-files", "*.md", "*.ipynb"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.parts[len(ROOT.parts)] in ("report", "results", "figures") or not path.exists():
            continue
        if path.suffix == ".md":
            yield name, path.read_text(encoding="utf-8")
        else:
            cells = nbformat.read(path, as_version=4).cells
            yield from ((f"{name}, cell {c.id}", c.source) for c in cells if is_prose(c))


if __name__ == "__main__":
    complaints = [f"{where}: {fault}" for where, text in texts() for fault in faults(text)]
    print(*complaints, sep="\n", end="\n" if complaints else "")
    sys.exit(bool(complaints))
