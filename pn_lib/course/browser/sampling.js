// How the next token is chosen, as in pn_lib/models/generation.py: temperature, then top-p, then a draw.

/** What the next token is drawn from, given logits (V): probabilities (V), of which top-p makes most 0. */
function nextTokenProbabilities(logits, temperature, topP) {
  const best = logits.reduce((best, logit, token) => (logit > logits[best] ? token : best), 0);
  if (temperature === 0) return logits.map((_, token) => (token === best ? 1 : 0));
  const shares = logits.map((logit) => Math.exp((logit - logits[best]) / temperature));
  normalize(shares);
  if (topP === 1) return shares;
  // Tokens below this have less than 1 - topP together, and need not be ranked to be left out.
  const least = (1 - topP) / shares.length;
  const kept = new Float32Array(shares.length);
  let before = 0; // what the likelier tokens have together; the first always stays
  for (const token of rank(shares, least)) {
    if (before >= topP) break;
    before += kept[token] = shares[token];
  }
  return normalize(kept);
}

/** The tokens with at least so large a share, the likeliest first; of equals the smaller number. */
function rank(shares, least) {
  const tokens = [];
  shares.forEach((share, token) => share >= least && tokens.push(token));
  return tokens.sort((a, b) => shares[b] - shares[a] || a - b);
}

function normalize(shares) {
  const sum = shares.reduce((sum, share) => sum + share, 0);
  for (let token = 0; token < shares.length; token++) shares[token] /= sum;
  return shares;
}

/** The token at which the shares, added up, pass u, a number in [0, 1). */
function draw(shares, u) {
  let sum = 0, last = 0;
  for (let token = 0; token < shares.length; token++) {
    if (shares[token] === 0) continue;
    if ((sum += shares[token]) > u) return token;
    last = token; // where rounding keeps the sum below u
  }
  return last;
}

/** A function that gives numbers in [0, 1), the same ones for the same seed: Tommy Ettinger's mulberry32. */
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
