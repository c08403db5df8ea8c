"""``python -m pn_lib inspect``: what a run would see of a corpus, before it begins; and what a saved model is."""

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median

from pn_lib.data.cleaning import Cleaner, check_split, nothing_left
from pn_lib.data.corpora import FileReader, Source, check_validation, open_corpus
from pn_lib.data.corpus_paths import ENDINGS, NAMED_CORPORA, corpus_place, ending
from pn_lib.data.scripts import UNSPACED_LETTER
from pn_lib.data.story_files import StoryFile
from pn_lib.errors import InputError
from pn_lib.run.profile import DataSettings, Profile, load_profile

SHOWN = 300  # characters of each of the first stories
LISTED = 5  # names of files
SHORT = 250  # characters: blocks between blank lines that are shorter may be paragraphs
LONG = 20_000  # characters: longer on average are no short stories
AT_START = 20_000  # stories that are looked at before a run begins


def inspect(target: str, corpus: str, profile: str = "quick") -> str:
    """What ``target`` is: a corpus (as runs keep it, ``corpus``), or a saved model.

    Raises:
        InputError: neither, or one that cannot be used.
    """
    if target in NAMED_CORPORA or not _is_model(target):
        return inspect_corpus(corpus, load_profile(profile))
    return inspect_model(target)


def _is_model(target: str) -> bool:
    from pn_lib.models.foreign import looks_like_model

    path = Path(target)
    return looks_like_model(path) if path.exists() else ending(path) not in ENDINGS


# --- a corpus -----------------------------------------------------------------------------------------------------


@dataclass
class _Part:
    """What was read of a split."""

    read: int = 0
    more: bool = False  # than was asked for
    kept: int = 0
    unspaced: int = 0  # stories with more letters of scripts without spaces than white space
    lengths: list[int] = field(default_factory=list)  # in characters


def inspect_corpus(spec: str, profile: Profile, most: int | None = None) -> str:
    """What a run of ``profile`` sees of a corpus: files, unit, field, counts, lengths, the first two stories, what is
    left out, and what looks odd. At most so many stories are read as the run takes, or ``most``.

    Raises:
        InputError: there is no such corpus, it cannot be read, or it has too few stories for the profile.
    """
    from pn_lib.run.stages import output_root

    data = profile.data
    source = open_corpus(spec, output_root(), profile.seed, data.naming)
    head = f"corpus {source.card.title}: {source.card.source}"
    if spec == "tinystories":
        return head
    if spec == "pocket":
        return "\n".join([head, *_first_stories(source.readers["train"](2))])
    parts, cleaner, first = _read(source, data, most)
    _check(corpus_place(spec, output_root()), parts, cleaner, data)
    lines = [head, *_files(source), *_counts(parts, data), *_cleaning(cleaner, parts)]
    return "\n".join([*lines, *_oddities(source, parts, cleaner), *_first_stories(first)])


def _read(source: Source, data: DataSettings, most: int | None) -> tuple[dict[str, _Part], Cleaner, list[str]]:
    wanted = {"train": data.train_stories, "validation": data.validation_stories}
    if "validation" not in source.readers:
        wanted = {"train": sum(wanted.values())}
    cleaner, first, parts = Cleaner(data.min_characters), [], {}
    for name, reader in source.readers.items():
        part = parts[name] = _Part()
        number = min(wanted[name], most or wanted[name])
        stories = iter(reader(number))
        for text in islice(stories, number):
            part.read += 1
            mended = cleaner(text)
            if text is not None:
                part.lengths.append(len(text))
            if mended is not None:
                part.kept += 1
                part.unspaced += len(UNSPACED_LETTER.findall(mended)) > 2 * len(mended.split())
                if len(first) < 2:
                    first.append(mended)
        part.more = part.read == number and next(stories, stories) is not stories
    return parts, cleaner, first


def _check(place: str, parts: dict[str, _Part], cleaner: Cleaner, data: DataSettings) -> None:
    for name, part in parts.items():
        if not part.read:
            raise InputError(f"corpus {place} holds no {name} stories")
    kept = sum(part.kept for part in parts.values())
    if not kept:
        raise InputError(f"corpus {place}: {nothing_left(sum(part.read for part in parts.values()), cleaner)}")
    if "validation" in parts:
        if not parts["validation"].more:
            check_validation(place, parts["validation"].read, data.validation_stories)
    elif not parts["train"].more:
        check_split(parts["train"].read, data.validation_stories, f"corpus {place}: ")
    if kept <= data.validation_stories and not any(part.more for part in parts.values()):
        dropped = ", ".join(f"{n:,} {reason}" for reason, n in cleaner.dropped.items() if n)
        raise InputError(
            f"corpus {place} has {kept:,} stories after cleaning ({dropped} left out), and {data.validation_stories:,} "
            "are to be held back for validation; give more different stories of at least "
            f"{data.min_characters} characters, or ask for fewer ([data] validation_stories and min_characters in a "
            "profile of your own)"
        )


def _files(source: Source) -> list[str]:
    """The files read, those of one kind in a line, by split."""
    lines = []
    for name, reader in source.readers.items():
        assert isinstance(reader, FileReader)
        kinds: dict[tuple[str, str], list[StoryFile]] = defaultdict(list)
        for file in reader.opened:
            kinds[file.kind, file.unit].append(file)
        for (kind, unit), files in kinds.items():
            names = ", ".join(file.path.name for file in files[:LISTED]) + (", ..." if len(files) > LISTED else "")
            count = f"{len(files):,} files of {kind}" if len(files) > 1 else f"one file of {kind}"
            lines.append(f"  {name}: {count} ({names}); a story is {unit}")
    return lines


def _counts(parts: dict[str, _Part], data: DataSettings) -> list[str]:
    lines = []
    for name, part in parts.items():
        more = "; there are more, which the profile does not ask for or which are read later" if part.more else ""
        lines.append(f"  {name}: {part.read:,} stories read{more}")
        if part.lengths:
            shortest, longest = min(part.lengths), max(part.lengths)
            middle = median(part.lengths)
            lines.append(f"    characters: {shortest:,} to {longest:,}, half of them up to {middle:,.0f}")
    if "validation" not in parts:
        lines.append(f"  no split for validation: {data.validation_stories:,} of these are held back, chosen by hash")
    return lines


def _cleaning(cleaner: Cleaner, parts: dict[str, _Part]) -> list[str]:
    kept = sum(part.kept for part in parts.values())
    line = f"  cleaning keeps {kept:,}"
    for verb, counts in (("drops", cleaner.dropped), ("mends", cleaner.changed)):
        if any(counts.values()):
            line += f"; {verb} " + ", ".join(f"{n:,} ({reason})" for reason, n in counts.items() if n)
    return [line]


def _oddities(source: Source, parts: dict[str, _Part], cleaner: Cleaner) -> list[str]:
    """What was left out, and what a person should look at."""
    opened = [file for reader in source.readers.values() for file in reader.opened]
    bad = sum((file.bad for file in opened), Counter())
    lines = [f"  left out: {what}" for what in source.left_out[:LISTED]]
    if len(source.left_out) > LISTED:
        lines.append(f"  left out: {len(source.left_out) - LISTED:,} more")
    lines += [f"  left out: {what}" for reader in source.readers.values() for what in reader.left_out]
    lines += [f"  left out: {n:,} bad rows ({why})" for why, n in bad.items()]
    lines += [f"    {example}" for file in opened for example in file.examples][:LISTED]
    lines += [f"  note: {remark}" for remark in [*source.remarks, *(r for file in opened for r in file.remarks)]]
    lengths = [length for part in parts.values() for length in part.lengths]
    read, kept = (sum(getattr(part, name) for part in parts.values()) for name in ("read", "kept"))
    unspaced = sum(part.unspaced for part in parts.values()) > 0.5 * kept
    if median(lengths) < (SHORT / 2.5 if unspaced else SHORT) and any(
        file.unit.startswith("a block") for file in opened
    ):
        lines.append(
            f"  warning: half of these have under {median(lengths) + 1:,.0f} characters; if they are paragraphs of "
            'longer stories, name what a story is in [data] of a profile: unit = "file" or separator = "..."'
        )
    if sum(lengths) / len(lengths) > LONG:
        lines.append("  warning: these are long for stories; does nothing else separate them?")
    if cleaner.dropped["duplicate"] > 0.1 * read:
        lines.append(f"  warning: {cleaner.dropped['duplicate']:,} of {read:,} stories occur more than once")
    if unspaced:
        lines.append("  note: a script without spaces; copies and leaks are found by characters, not words")
    return lines


def _first_stories(stories: list[str]) -> list[str]:
    lines = ["  the first two stories:"]
    for text in stories:
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."
        lines += [f"    | {line}" for line in shown.split("\n")] + [""]
    return lines[:-1]


# --- a model ------------------------------------------------------------------------------------------------------


def inspect_model(source: str) -> str:
    """The architecture of a saved model, its parameters, and its tokenizer: does a text come back from it?

    Raises:
        InputError: there is no such model, or it cannot be opened.
    """
    from pn_lib.data.pocket import sample_stories
    from pn_lib.models.loading import open_model
    from pn_lib.models.lossless import round_trip
    from pn_lib.run.saved_models import model_source

    model, tokenizer = open_model(model_source(source))
    weights = sum(p.numel() for p in model.parameters()) if hasattr(model, "parameters") else None
    settings = ", ".join(f"{name} {value}" for name, value in asdict(model.config).items() if value is not None)
    trip = round_trip(tokenizer, [*sample_stories(20, seed=0), "“Zoë’s café” — 3 cats:\n\n  naïve, ﬁne,\tOK! 🐢 日本"])
    lines = [
        f"model {source}: {type(model).__name__}" + (f", {weights:,} parameters" if weights is not None else ""),
        f"  {settings}",
        f"  tokenizer: {tokenizer.vocab_size:,} tokens; {len(tokenizer.encode(sample_stories(1, 0)[0])):,} of them "
        f"for a Pocket story of {len(sample_stories(1, 0)[0]):,} characters",
        f"  between stories: token {tokenizer.separator_id} {tokenizer.decode([tokenizer.separator_id])!r}",
        f"  {trip.sentence}: its figures hold only for texts that come back"
        if trip.sentence
        else "  lossless: every text tried comes back from the tokenizer as it was",
    ]
    return "\n".join(lines)
