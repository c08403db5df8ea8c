// The Transformer of notebook 03, one token at a time, as pn_lib/models/transformer.py computes it in evaluation:
// rotary positions, RMSNorm before each part, softmax attention over the keys and values kept of all tokens so far.

class Transformer {
  constructor(sizes, weights) {
    const { V, D, H, K, d, F, context, n_layers, activation } = sizes;
    Object.assign(this, sizes, { weights, length: 0 });
    const room = () => Array.from({ length: n_layers }, () => new Float32Array(context * K * d));
    this.keys = room();
    this.values = room();
    this.x = new Float32Array(D); // what the layers add to
    this.h = new Float32Array(D); // what they read, normed; and what they add
    this.heads = new Float32Array((H + 2 * K) * d); // queries, keys, values
    this.mixed = new Float32Array(D); // what the heads read
    this.scores = new Float32Array(context);
    this.hidden = new Float32Array(activation === "swiglu" ? 2 * F : F);
    this.logits = new Float32Array(V);
    // Su et al., 2021: pair i of a head's channels turns by position * theta^(-2i/d)
    this.speeds = Float32Array.from({ length: d / 2 }, (_, i) => sizes.rope_theta ** ((-2 * i) / d));
  }

  /** No text. */
  reset() {
    this.length = 0;
  }

  /** One more token -> the logits (V) of the next; they are overwritten by the next call. */
  step(token) {
    const { weights, x, h, D } = this;
    x.set(weights.embedding.subarray(token * D, (token + 1) * D));
    for (let layer = 0; layer < this.n_layers; layer++) {
      this.attend(layer);
      this.think(layer);
    }
    this.length++;
    norm(x, weights.norm, this.norm_eps, h);
    multiply(weights.head ?? weights.embedding, h, this.logits);
    return this.logits;
  }

  /** Attention of one layer, added to x. */
  attend(layer) {
    const { weights, x, h, heads, mixed, H, K, d, length } = this;
    norm(x, weights[`${layer}.attention_norm`], this.norm_eps, h);
    multiply(weights[`${layer}.qkv`], h, heads);
    for (let head = 0; head < H + K; head++) {
      const channels = heads.subarray(head * d, (head + 1) * d);
      if (this.qk_norm) norm(channels, weights[`${layer}.${head < H ? "q" : "k"}_norm`], this.norm_eps, channels);
      this.turn(channels);
    }
    this.keys[layer].set(heads.subarray(H * d, (H + K) * d), length * K * d);
    this.values[layer].set(heads.subarray((H + K) * d), length * K * d);
    for (let head = 0; head < H; head++) this.read(layer, head);
    multiply(weights[`${layer}.out`], mixed, h);
    add(x, h);
  }

  /** Rotate the pairs of a head's channels, i and i + d/2, to the position of this token. */
  turn(channels) {
    const half = channels.length / 2;
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(this.length * this.speeds[i]), cos = Math.cos(angle), sin = Math.sin(angle);
      const a = channels[i], b = channels[i + half];
      channels[i] = a * cos - b * sin;
      channels[i + half] = b * cos + a * sin;
    }
  }

  /** softmax(q k / sqrt(d)) v of one head, over this token and all before it; several heads may share keys. */
  read(layer, head) {
    const { heads, scores, H, K, d } = this, keys = this.keys[layer], values = this.values[layer];
    const seen = this.length + 1, shared = Math.floor(head / (H / K)) * d, scale = 1 / Math.sqrt(d);
    let most = -Infinity, sum = 0;
    for (let t = 0; t < seen; t++) {
      let score = 0;
      for (let i = 0, at = t * K * d + shared; i < d; i++) score += heads[head * d + i] * keys[at + i];
      scores[t] = score * scale;
      most = Math.max(most, scores[t]);
    }
    const out = this.mixed.subarray(head * d, (head + 1) * d).fill(0);
    for (let t = 0; t < seen; t++) sum += scores[t] = Math.exp(scores[t] - most);
    for (let t = 0; t < seen; t++) {
      const share = scores[t] / sum;
      for (let i = 0, at = t * K * d + shared; i < d; i++) out[i] += share * values[at + i];
    }
  }

  /** The position-wise network of one layer, added to x. */
  think(layer) {
    const { weights, x, h, hidden, F } = this;
    norm(x, weights[`${layer}.mlp_norm`], this.norm_eps, h);
    multiply(weights[`${layer}.up`], h, hidden);
    activate[this.activation](hidden, F);
    multiply(weights[`${layer}.down`], hidden.subarray(0, F), h);
    add(x, h);
  }
}

/** The first F numbers of `a` made what the second matrix reads. */
const activate = {
  swiglu(a, F) {
    for (let i = 0; i < F; i++) a[i] = (a[i] / (1 + Math.exp(-a[i]))) * a[F + i];
  },
  gelu(a, F) {
    const inner = (x) => Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
    for (let i = 0; i < F; i++) a[i] = 0.5 * a[i] * (1 + Math.tanh(inner(a[i])));
  },
  relu(a, F) {
    for (let i = 0; i < F; i++) a[i] = Math.max(a[i], 0);
  },
  relu2(a, F) {
    for (let i = 0; i < F; i++) a[i] = Math.max(a[i], 0) ** 2;
  },
};

/** out = x over its root mean square, times gain (Zhang & Sennrich, 2019). */
function norm(x, gain, eps, out) {
  let squares = 0;
  for (let i = 0; i < x.length; i++) squares += x[i] * x[i];
  const scale = 1 / Math.sqrt(squares / x.length + eps);
  for (let i = 0; i < x.length; i++) out[i] = x[i] * scale * gain[i];
}

/** out = matrix x; the matrix has a row for each number of out, four at least. Nearly all time goes here. */
function multiply(matrix, x, out) {
  const n = x.length;
  // Four rows at a time: each number of x is read once for all, and no sum waits for another.
  for (let block = 0; block < out.length; block += 4) {
    const row = Math.min(block, out.length - 4); // the last four may overlap the ones before
    let a = 0, b = 0, c = 0, d = 0;
    for (let i = 0, at = row * n; i < n; i++, at++) {
      const factor = x[i];
      a += matrix[at] * factor;
      b += matrix[at + n] * factor;
      c += matrix[at + 2 * n] * factor;
      d += matrix[at + 3 * n] * factor;
    }
    out[row] = a;
    out[row + 1] = b;
    out[row + 2] = c;
    out[row + 3] = d;
  }
}

function add(x, update) {
  for (let i = 0; i < x.length; i++) x[i] += update[i];
}
