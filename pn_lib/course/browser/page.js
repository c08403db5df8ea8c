// What the reader sees: sends what is typed and moved to the worker, and draws what comes back.
"use strict";
{
  const element = (id) => document.getElementById(id);
  const [beginning, temperature, topP, seed] = ["beginning", "temperature", "top-p", "seed"].map(element);
  const [write, one, again] = ["write", "one", "again"].map(element);
  // From a disk, browsers load no worker by its address, but they do from a blob.
  const worker = new Worker(URL.createObjectURL(new Blob([element("engine").textContent], { type: "text/javascript" })));
  let running = false, ended = false, unanswered = 0;

  function send(request, values) {
    unanswered++;
    worker.postMessage({ request, temperature: +temperature.value, topP: +topP.value, ...values });
  }

  function begin() {
    run(false);
    send("begin", { beginning: beginning.value, seed: +seed.value });
  }

  function anew() {
    seed.value = +seed.value + 1; // another draw
    begin();
  }

  function run(on) {
    running = on;
    write.textContent = on ? "Stop" : "Write";
  }

  worker.onmessage = ({ data }) => {
    unanswered--;
    element("controls").disabled = false;
    element("problem").hidden = !data.problem;
    for (const button of [write, one, again]) button.disabled = Boolean(data.problem);
    if (data.problem) {
      run(false);
      element("problem").textContent = data.problem;
    } else if (data.loaded) begin();
    else show(data);
  };
  worker.onerror = ({ message }) => worker.onmessage({ data: { problem: `The model cannot run here: ${message}` } });

  function show(state) {
    const [begun, written] = element("story").children;
    begun.textContent = state.beginning;
    written.textContent = state.text;
    element("story").dataset.written = state.written; // the tokens
    ended = state.end !== null;
    one.disabled = ended;
    element("speed").textContent = [
      `${state.written.length} ${state.written.length === 1 ? "token" : "tokens"}`,
      ...(state.speed ? [`${Math.round(state.speed).toLocaleString("en")} tokens/s`] : []),
    ].join(" · ");
    drawChances(state);
    if (ended) run(false);
    if (running && !unanswered) send("write", { most: Infinity });
  }

  function drawChances({ next, possible, vocabulary, end }) {
    element("chances").replaceChildren(...next.map(row));
    const counts = [possible, vocabulary].map((count) => count.toLocaleString("en"));
    element("possible").textContent = end ? `The story stops: ${end}.` : `${counts[0]} of ${counts[1]} tokens are possible here.`;
  }

  function row({ token, share }) {
    const tr = document.createElement("tr"), bar = document.createElement("div");
    tr.append(...["th", "td", "td"].map((name) => document.createElement(name)));
    tr.children[0].textContent = token;
    tr.children[0].scope = "row";
    tr.children[1].textContent = `${(100 * share).toFixed(1)} %`;
    bar.style.width = `${100 * share}%`;
    tr.children[2].append(bar);
    return tr;
  }

  function showSettings() {
    element("temperature-value").textContent = (+temperature.value).toFixed(2);
    element("top-p-value").textContent = (+topP.value).toFixed(2);
  }

  beginning.addEventListener("input", begin);
  seed.addEventListener("input", begin);
  for (const slider of [temperature, topP]) {
    slider.addEventListener("input", () => {
      showSettings();
      if (!running && !write.disabled) send("write", { most: 0 });
    });
  }
  write.addEventListener("click", () => {
    if (running) return run(false);
    if (ended) anew();
    run(true);
    if (!unanswered) send("write", { most: Infinity });
  });
  one.addEventListener("click", () => {
    run(false);
    send("write", { most: 1 });
  });
  again.addEventListener("click", anew);
  showSettings();
  send("load", { packed: element("packed").textContent });
}
