// The file that `python -m pn_lib quantize` writes (pn_lib/models/packed.py), read as it lies in memory. Whoever makes
// the page has opened it with pn_lib first, which refuses damaged files: here it is known to be whole.

const LARGEST = { int8: 127, int4: 7, ternary: 1 }; // integers are -n..n: digits to the base 2 n + 1
const DIGITS_A_BYTE = { int8: 1, int4: 2, ternary: 5 };

/** bytes (Uint8Array) -> the model's config, its weights as float32 by name, and the packed tokenizer's bytes. */
function readPacked(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  const tensor = (name) => bytes.subarray(...header[name].data_offsets.map((offset) => start + offset));
  const { config, grid } = JSON.parse(header.__metadata__.pocketnarrator);
  const sizes = sizesOf(config);
  const integers = unpack(tensor("integers"), grid.integers);
  const weights = takeWeights(sizes, grid.group, integers, halves(tensor("scales")), halves(tensor("others")));
  return { sizes, weights, tokenizer: tensor("tokenizer") };
}

/** The sizes that the config leaves out filled in, as in pn_lib/models/transformer.py; capitals as in the lessons. */
function sizesOf(config) {
  const D = config.d_model, H = config.n_heads;
  const usual = config.activation === "swiglu" ? Math.ceil((8 * D) / 48) * 16 : 4 * D;
  return { ...config, V: config.vocab_size, D, H, K: config.n_kv_heads ?? H, d: D / H, F: config.d_ff ?? usual };
}

/** [name, shape] of each parameter, in the order of the file. */
function* shapesOf({ V, D, H, K, d, F, ...config }) {
  yield ["embedding", [V, D]];
  for (let i = 0; i < config.n_layers; i++) {
    yield [`${i}.attention_norm`, [D]];
    yield [`${i}.qkv`, [(H + 2 * K) * d, D]];
    yield [`${i}.out`, [D, D]];
    if (config.qk_norm) {
      yield [`${i}.q_norm`, [d]];
      yield [`${i}.k_norm`, [d]];
    }
    yield [`${i}.mlp_norm`, [D]];
    yield [`${i}.up`, [config.activation === "swiglu" ? 2 * F : F, D]];
    yield [`${i}.down`, [D, F]];
  }
  yield ["norm", [D]];
  if (!config.tied_embeddings) yield ["head", [V, D]];
}

/** Matrices are integers times the scale of their group, `group` neighbors in a row (null: all); vectors lie apart. */
function takeWeights(sizes, group, integers, scales, others) {
  const weights = {};
  let atInteger = 0, atScale = 0, atOther = 0;
  for (const [name, [rows, columns]] of shapesOf(sizes)) {
    if (columns === undefined) {
      weights[name] = others.subarray(atOther, (atOther += rows));
      continue;
    }
    const length = Math.min(group ?? columns, columns);
    const matrix = (weights[name] = new Float32Array(rows * columns));
    for (let i = 0; i < matrix.length; ) {
      for (let begin = 0; begin < columns; begin += length) {
        const scale = scales[atScale++];
        for (let end = i + Math.min(length, columns - begin); i < end; i++) matrix[i] = integers[atInteger++] * scale;
      }
    }
  }
  return weights;
}

/** Bytes -> the integers in them, the lowest digit first, and what fills the last byte. */
function unpack(bytes, kind) {
  const n = LARGEST[kind], base = 2 * n + 1, digits = DIGITS_A_BYTE[kind];
  const integers = new Int8Array(bytes.length * digits);
  for (let i = 0; i < bytes.length; i++) {
    for (let j = 0, rest = bytes[i]; j < digits; j++, rest = Math.floor(rest / base)) {
      integers[i * digits + j] = (rest % base) - n;
    }
  }
  return integers;
}

/** float16, little-endian and finite -> Float32Array. */
function halves(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.length / 2 }, (_, i) => {
    const bits = view.getUint16(2 * i, true), exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction;
    return bits >> 15 ? -size : size;
  });
}
