"""llama2.c's tokenizer (github.com/karpathy/llama2.c).

Its ``.bin`` is an int32, the longest token's bytes, which the oldest files lack, and for each token a float32 score, an
int32 length, and the bytes.
"""

import re
import struct
from heapq import heappop, heappush
from pathlib import Path

from pn_lib.errors import InputError
from pn_lib.models.foreign import read_llama2c


class Llama2cTokenizer:
    """llama2.c's tokenizer: SentencePiece's BPE, merging by score, with single bytes for what it does not know.

    Raises:
        InputError: the file is missing or does not hold ``vocab_size`` tokens.
    """

    bos_id = 1
    separator_id = bos_id  # what stands between two stories
    space_before = True  # as SentencePiece does
    eos_id = 2
    first_byte_id = 3  # the 256 bytes follow one another

    def __init__(self, path: Path | str, vocab_size: int):
        tokens = _read_tokens(Path(path))
        if len(tokens) != vocab_size:
            relation = "more" if len(tokens) > vocab_size else "fewer"
            raise InputError(
                f"{path} is a llama2.c tokenizer of {len(tokens):,} tokens, {relation} than {vocab_size:,}, which its "
                "model knows: put the tokenizer there that the model was trained with"
            )
        self.pieces = [piece for _, piece in tokens]
        self.scores = [score for score, _ in tokens]
        self.ids = {piece: token for token, piece in enumerate(self.pieces)}

    @property
    def vocab_size(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Text -> ids, without ``bos_id``. Like SentencePiece, puts a space before the first word."""
        ids = [self.bos_id]  # in the files of ``export_llama2c`` it merges with the space
        for character in " " + text if text else "":
            known = self.ids.get(character.encode())
            ids += [known] if known is not None else [byte + self.first_byte_id for byte in character.encode()]
        return self._merged(ids)[1:]

    def _merged(self, ids: list[int]) -> list[int]:
        """Neighbours joined again and again, those first whose union scores best, of equals the leftmost."""
        before, after = list(range(-1, len(ids) - 1)), list(range(1, len(ids) + 1))  # the neighbours of each place
        queue: list[tuple[float, int, int, int]] = []  # -score, place on the left, and the two tokens then there

        def consider(at: int) -> None:
            if at >= 0 and after[at] < len(ids):
                pair = ids[at], ids[after[at]]
                merged = self.ids.get(self.pieces[pair[0]] + self.pieces[pair[1]])
                if merged is not None:
                    heappush(queue, (-self.scores[merged], at, *pair))

        for at in range(len(ids)):
            consider(at)
        while queue:
            _, at, left, right = heappop(queue)
            end = after[at]
            if end < len(ids) and (ids[at], ids[end]) == (left, right):  # neither has been joined with another since
                ids[at], ids[end] = self.ids[self.pieces[left] + self.pieces[right]], -1
                after[at] = after[end]
                if after[at] < len(ids):
                    before[after[at]] = at
                consider(before[at])
                consider(at)
        return [token for token in ids if token >= 0]

    def decode(self, ids: list[int]) -> str:
        """Ids -> text, without the space that ``encode`` put first; bos and eos give no text."""
        data = b"".join(self._bytes(token) for token in ids)
        return data.removeprefix(b" ").decode(errors="replace")

    def _bytes(self, token: int) -> bytes:
        if token in (self.bos_id, self.eos_id):
            return b""
        piece = self.pieces[token]
        spelt_out = re.fullmatch(rb"<0x([0-9A-F]{2})>", piece)  # llama2.c's own files have "<0x0A>" for a line feed
        return bytes.fromhex(spelt_out[1].decode()) if spelt_out else piece


def _read_tokens(path: Path) -> list[tuple[float, bytes]]:
    """(score, bytes) of each token, from a file with or without the length of the longest before them."""
    data = read_llama2c(path)
    for start in (4, 0):
        tokens, at = [], start
        while at + 8 <= len(data):
            score, length = struct.unpack_from("<fi", data, at)
            if not 0 <= length <= len(data) - at - 8:
                break
            tokens.append((score, data[at + 8 : at + 8 + length]))
            at += 8 + length
        if tokens and at == len(data):
            return tokens
    raise InputError(f"{path} is no llama2.c tokenizer, or is cut short; put its model's tokenizer.bin there")
