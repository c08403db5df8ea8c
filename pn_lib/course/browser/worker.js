// A thread of its own that writes, so that the page never waits. It does what one message asks and answers it: the page
// stops a story by asking for no more of it.

const SLICE = 16; // milliseconds of writing before it answers, about a frame
const SHOWN = 10; // tokens whose probabilities are shown

let model, tokenizer, story;

onmessage = async ({ data }) => {
  try {
    postMessage(await requests[data.request](data));
  } catch (error) {
    postMessage({ problem: error.message });
  }
};

const requests = {
  /** packed: the file, in base64 */
  async load({ packed }) {
    const read = readPacked(Uint8Array.from(atob(packed), (character) => character.charCodeAt(0)));
    tokenizer = await Tokenizer.unpack(read.tokenizer);
    model = new Transformer(read.sizes, read.weights);
    return { loaded: true };
  },

  /** Read how a new story begins. */
  begin({ beginning, seed, ...sampling }) {
    const ids = tokenizer.encode(beginning);
    if (ids.length >= model.context) {
      throw new Error(`This beginning has ${ids.length} tokens; the model reads at most ${model.context - 1}.`);
    }
    story = { beginning, written: [], random: randomNumbers(seed), end: null, seconds: 0 };
    model.reset();
    for (const token of [SEPARATOR, ...ids]) model.step(token);
    return look(sampling);
  },

  /** Write at most so many tokens, for the time of a slice; with none, look at the next one again. */
  write({ most, ...sampling }) {
    const start = performance.now();
    let now = start;
    for (let i = 0; i < most && !story.end && now < start + SLICE; i++, now = performance.now()) {
      const shares = nextTokenProbabilities(model.logits, sampling.temperature, sampling.topP);
      const token = draw(shares, story.random());
      if (token === SEPARATOR) story.end = "the end";
      else {
        story.written.push(token);
        if (model.length === model.context) story.end = "the model's context is full";
        else model.step(token);
      }
    }
    story.seconds += (now - start) / 1000;
    return look(sampling);
  },
};

/** The story so far, and what may come next. */
function look({ temperature, topP }) {
  const shares = story.end ? [] : nextTokenProbabilities(model.logits, temperature, topP);
  const possible = rank(shares, Number.MIN_VALUE);
  return {
    beginning: story.beginning,
    written: story.written,
    text: tokenizer.decode(story.written),
    end: story.end,
    speed: story.seconds ? story.written.length / story.seconds : null,
    next: possible.slice(0, SHOWN).map((token) => ({ token: tokenizer.spell(token), share: shares[token] })),
    possible: possible.length,
    vocabulary: model.V,
  };
}
