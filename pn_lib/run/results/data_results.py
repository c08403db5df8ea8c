"""Results of notebooks 01 and 02: the corpus and its tokens."""

from typing import ClassVar

from pydantic import Field

from pn_lib.run.results.result import Part, Result


class CorpusCard(Part):
    name: str = Field(description="the corpus as the command line names it")
    title: str = Field(description="its title")
    source: str = Field(description="where it comes from")
    licence: str = Field(description="under which license")
    description: str = Field(description="what it is")
    fingerprint: str = Field(description="SHA-256 of the stories as they were read")


class Cleaning(Part):
    read: int = Field(description="stories read, of both splits")
    kept: int = Field(description="stories kept")
    changed: dict[str, int] = Field(description="stories repaired, by reason")
    dropped: dict[str, int] = Field(description="stories dropped, by reason")


class Leakage(Part):
    ngram: int = Field(description="length of the compared runs, in words")
    exact: int = Field(description="training stories that were a validation story word for word")
    near: int = Field(description="training stories that shared most of their runs with one")
    removed: int = Field(description="training stories removed for it")


class Split(Part):
    stories: int = Field(description="stories")
    words: int = Field(description="words")
    characters: int = Field(description="characters")
    bytes: int = Field(description="bytes in UTF-8")
    mean_words: float = Field(description="words a story, mean")
    median_words: float = Field(description="words a story, median")
    p95_words: float = Field(description="words a story, 95th percentile")


class Splits(Part):
    train: Split = Field(description="stories to learn from")
    validation: Split = Field(description="held-out stories")


class Words(Part):
    distinct: int = Field(description="distinct words of the training stories")
    cover_90: int = Field(description="most frequent words that make up 90 % of the running text")
    cover_99: int = Field(description="the same for 99 %")


class Openings(Part):
    once_upon_a_time: float = Field(description="share of stories that open with it")
    most_common: list[tuple[str, float]] = Field(description="the commonest first four words, with their share")


class Entropy(Part):
    bits_per_story: float = Field(description="bits a story, estimated from stories of the source")
    bits_per_byte: float = Field(description="bits per byte, of the same stories")
    standard_error: float = Field(description="standard error of bits_per_byte")
    stories: int = Field(description="how many stories of the source")
    validation_bits_per_byte: float = Field(description="bits per byte of the validation stories by the source itself")


class DataResult(Result):
    """The corpus: cleaning, leakage, splits, words, and how far it can be compressed."""

    FILE: ClassVar = "data.json"
    corpus: CorpusCard = Field(description="which corpus")
    cleaning: Cleaning = Field(description="what cleaning did")
    leakage: Leakage = Field(description="validation stories found in the training split")
    splits: Splits = Field(description="the splits after cleaning")
    words: Words = Field(description="how few words make up most of the text")
    openings: Openings = Field(description="how stories begin")
    compressors: dict[str, float] = Field(description="bits per byte of the validation stories, by file compressor")
    entropy: Entropy | None = Field(description="exact entropy of the source; null where the source is unknown")


class TokensOfSplits(Part):
    train: int = Field(description="of the training stories")
    validation: int = Field(description="of the validation stories")


class BytesPerToken(Part):
    train: float = Field(description="on the training stories")
    validation: float = Field(description="on the validation stories")


class Vocabulary(Part):
    vocab_size: int = Field(description="entries")
    bytes_per_token: float = Field(description="bytes that a token stands for, on the validation stories")
    parameters: int = Field(description="parameters of this run's Transformer with it")
    embedding_share: float = Field(description="share of them in the embedding, and the output's where it has its own")
    unigram_nats_per_token: float = Field(description="loss of a unigram model of its tokens")
    unigram_bits_per_byte: float = Field(description="the same in bits per byte")


class TokenizationResult(Result):
    """The tokenizer, and what its size decides."""

    FILE: ClassVar = "tokenization.json"
    vocab_size: int = Field(description="entries of the vocabulary")
    bytes_per_token: BytesPerToken = Field(description="bytes that a token stands for")
    tokens: TokensOfSplits = Field(description="tokens, separators among them")
    fertility: float = Field(description="tokens a word, on the validation stories")
    longest_tokens: list[str] = Field(description="the longest tokens")
    sweep: list[Vocabulary] = Field(description="vocabularies of several sizes, smallest first")
