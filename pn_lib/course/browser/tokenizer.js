// Byte-level byte-pair encoding from its merges alone, as pn_lib.data.tokenizer.tokenizer_of makes it: token 0 is the
// separator, the bytes follow in the order of their spelling, and each merge makes the next token.

const SEPARATOR = 0;
// GPT-2's words: no token reaches across two of them. White space is Unicode's, which is not quite JavaScript's \s.
const WORD = new RegExp(
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+" +
    "|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+",
  "gu",
);

class Tokenizer {
  /** merges: pairs of tokens, one after another (Uint16Array) */
  constructor(merges) {
    const printable = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    const all = [...Array(256).keys()]; // bytes that print are spelled as themselves, before all others
    const order = [...all.filter(printable), ...all.filter((byte) => !printable(byte))];
    this.bytes = [[], ...order.map((byte) => [byte])]; // of each token
    this.ofByte = [];
    order.forEach((byte, i) => (this.ofByte[byte] = i + 1));
    this.merged = new Map(); // "left right" -> the token that they make; the first learned is the lowest
    for (let i = 0; i < merges.length; i += 2) {
      const [left, right] = merges.subarray(i, i + 2);
      this.merged.set(`${left} ${right}`, this.bytes.length);
      this.bytes.push([...this.bytes[left], ...this.bytes[right]]);
    }
  }

  /** From the compressed merges of a packed file. */
  static async unpack(bytes) {
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const view = new DataView(await new Response(plain).arrayBuffer());
    return new Tokenizer(Uint16Array.from({ length: view.byteLength / 2 }, (_, i) => view.getUint16(2 * i, true)));
  }

  /** Text -> tokens, without separators. */
  encode(text) {
    const words = text.match(WORD) ?? [];
    return words.flatMap((word) => this.join([...new TextEncoder().encode(word)].map((byte) => this.ofByte[byte])));
  }

  /** The tokens of a word: of all neighbors that make a token those first which were learned first. */
  join(tokens) {
    for (;;) {
      const made = tokens.slice(1).map((right, i) => this.merged.get(`${tokens[i]} ${right}`) ?? Infinity);
      const first = Math.min(...made);
      if (first === Infinity) return tokens;
      const at = made.indexOf(first);
      tokens.splice(at, 2, first);
    }
  }

  /** Tokens -> text; a character of which only the first bytes are there yet is left out. */
  decode(tokens) {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true }); // "ignore" means: take it for a character
    return decoder.decode(Uint8Array.from(tokens.flatMap((token) => this.bytes[token])), { stream: true });
  }

  /** One token, to be shown by itself. */
  spell(token) {
    if (token === SEPARATOR) return "(the end)";
    return new TextDecoder().decode(Uint8Array.from(this.bytes[token])).replaceAll(" ", "·").replaceAll("\n", "↵");
  }
}
