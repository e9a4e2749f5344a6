// The trace viewer: one request, token by token and cycle by cycle, under two policies side by side.

const PLAY_MS = 7000; // the slower of the two takes so long

function makeViewer(data) {
  const state = { shown: [], request: 0, picked: [0, Math.min(1, data.policies.length - 1)], panes: [], frame: 0 };
  const requests = el("select", { "aria-label": "Request", on: { change: () => choose(Number(requests.value)) } });
  const step = (by) => {
    const i = state.shown.indexOf(state.request) + by;
    if (i >= 0 && i < state.shown.length) choose(state.shown[i]);
  };
  const back = el("button", { type: "button", "aria-label": "Previous request", on: { click: () => step(-1) } }, "‹");
  const next = el("button", { type: "button", "aria-label": "Next request", on: { click: () => step(1) } }, "›");
  const pickers = [0, 1].map((side) => el("select", { on: { change: (event) => { state.picked[side] = Number(event.target.value); draw(); } } },
    ...data.policies.map((policy, i) => el("option", { value: i, selected: i === state.picked[side] }, policy))));
  const play = el("button", { type: "button", on: { click: () => (state.frame ? halt() : run()) } }, "▶ Play");
  const prompt = el("div", { class: "prompt" });
  const panes = el("div", { class: "panes" });
  const nothing = el("p", { class: "empty", hidden: true }, "No request of this category is shown here.");
  const body = el("div", null, prompt, panes);
  const two = data.policies.length > 1;
  const node = el("div", { class: "viewer" },
    el("h3", null, data.name),
    el("p", { class: "says" }, `${data.requests_shown} of ${plain(data.requests_of_trace)} requests, ${data.exact ? "replayed exactly: the cycles are those that the live engine would have run" : "replayed as far as the trace can tell"}. Hover a cycle, or move through the text with the arrow keys.`),
    el("div", { class: "controls" },
      el("label", null, "Request", el("span", { class: "pick" }, requests, back, next)),
      el("label", null, two ? "Left" : "Policy", pickers[0]), two ? el("label", null, "Right", pickers[1]) : null, play),
    el("div", { class: "key", "aria-label": "Legend" },
      ...[["accepted", "drafted, accepted"], ["rejected", "drafted, rejected"], ["own", "the verifier’s own"], ["fallback", "own, nothing drafted"]].map(([kind, said]) =>
        el("span", null, el("span", { class: `tok ${kind}` }, kind === "rejected" ? "××" : "text"), said))),
    nothing, body,
    el("p", { class: "hint" }, el("kbd", null, "←"), " ", el("kbd", null, "→"), " cycle by cycle, ", el("kbd", null, "Home"), " ", el("kbd", null, "End"), " first and last, once a text has the focus. Bars above a text are its cycles, as long as they took: drafting light, verifying dark. Of a rejected token a trace knows what the drafter’s signals were, not what it said."));

  function filter() {
    state.shown = data.requests.map((_, i) => i).filter((i) => !page.category || data.requests[i].category === page.category);
    requests.replaceChildren(...state.shown.map((i) => el("option", { value: i }, `${data.requests[i].id}${data.requests[i].category ? ` · ${data.requests[i].category}` : ""}`)));
    nothing.hidden = state.shown.length > 0;
    body.hidden = !state.shown.length;
    if (state.shown.length) choose(state.shown.includes(state.request) ? state.request : state.shown[0]);
    for (const control of [requests, play, ...pickers]) control.disabled = !state.shown.length;
  }

  function choose(request) {
    state.request = request;
    requests.value = String(request);
    const place = state.shown.indexOf(request);
    back.disabled = place <= 0;
    next.disabled = place >= state.shown.length - 1;
    draw();
  }

  function draw() {
    halt();
    const request = data.requests[state.request];
    prompt.replaceChildren(request.prompt
      ? el("details", null, el("summary", null, `Prompt, ${plain(request.prompt_tokens)} tokens`), el("pre", { tabindex: 0 }, request.prompt))
      : el("p", { class: "says" }, `Prompt of ${plain(request.prompt_tokens)} tokens.`));
    const picked = two ? state.picked : [0];
    const longest = Math.max(...picked.map((policy) => total(request.runs[policy].ms)));
    state.panes = picked.map((policy, side) => makePane(data, request, policy, longest, (cycle) => follow(side, cycle)));
    panes.replaceChildren(...state.panes.map((pane) => pane.node));
    state.panes.forEach((pane) => pane.point(0));
  }

  // The other pane shows the cycle that wrote the same token.
  function follow(side, cycle) {
    const token = state.panes[side].run.position[cycle];
    state.panes.forEach((pane, other) => { if (other !== side) pane.point(pane.cycleOf(token)); });
  }

  function run() {
    const longest = Math.max(...state.panes.map((pane) => pane.ends[pane.ends.length - 1]));
    const began = performance.now();
    play.textContent = "■ Stop";
    const advance = (now) => {
      const at = ((now - began) / PLAY_MS) * longest;
      state.panes.forEach((pane) => pane.until(at));
      if (at < longest) state.frame = requestAnimationFrame(advance);
      else halt();
    };
    state.frame = requestAnimationFrame(advance);
  }

  function halt() {
    cancelAnimationFrame(state.frame);
    state.frame = 0;
    play.textContent = "▶ Play";
    state.panes.forEach((pane) => pane.until(Infinity));
  }

  return { node, filter };
}

const total = (values) => values.reduce((sum, value) => sum + value, 0);

function makePane(data, request, policy, longest, onPoint) {
  const run = request.runs[policy];
  const count = run.position.length;
  const ends = [];
  run.ms.reduce((sum, ms, i) => (ends[i] = sum + ms), 0);
  const bars = ruler(run, ends, longest);
  const cycles = run.position.map((_, i) => cycleNode(request, run, i));
  const text = el("div", { class: "text", tabindex: 0, role: "group", "aria-label": `Text under ${data.policies[policy]}; arrow keys move by cycle` }, ...cycles);
  const inspect = el("div", { class: "inspect", "aria-live": "polite" });
  const drafted = total(run.drafted), accepted = total(run.accepted), tokens = total(run.emitted), spent = ends[count - 1];
  const node = el("div", { class: "pane", colour: hue(page.policies.indexOf(data.policies[policy])) },
    el("h4", null, data.policies[policy]),
    el("p", { class: "tally" }, el("b", null, `${(request.plain_time * (tokens / request.tokens.length) / spent).toFixed(2)}×`), ` plain decoding · ${plain(spent)} ${unit(data)} · ${count} passes, ${(tokens / count).toFixed(2)} tokens each${drafted ? ` · ${Math.round((100 * accepted) / drafted)} % of drafts accepted` : ""}`),
    el("div", { class: "ruler" }, bars.node), text, inspect);
  let at = -1;

  function point(cycle, told) {
    if (cycle === at || cycle < 0 || cycle >= count) return;
    if (at >= 0) [cycles[at], bars.bars[at]].forEach((one) => one.classList.remove("on"));
    at = cycle;
    [cycles[at], bars.bars[at]].forEach((one) => one.classList.add("on"));
    inspect.replaceChildren(...explained(data, request, run, ends, at));
    const box = cycles[at].getBoundingClientRect(), view = text.getBoundingClientRect();
    if (!told || box.top < view.top || box.bottom > view.bottom) {
      if (box.top < view.top || box.bottom > view.bottom) text.scrollTop += box.top - view.top - view.height / 3;
    }
    if (told) onPoint(at);
  }
  const under = (event) => {
    const found = event.target.closest("[data-cycle]");
    if (found) point(Number(found.dataset.cycle), true);
  };
  for (const part of [text, bars.node]) for (const event of ["pointerover", "click"]) part.addEventListener(event, under);
  text.addEventListener("keydown", (event) => {
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: count - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    point(Math.min(Math.max(to, 0), count - 1), true);
  });
  const cycleOf = (token) => {
    let i = 0;
    while (i + 1 < count && run.position[i + 1] <= token) i++;
    return i;
  };
  const until = (time) => cycles.forEach((one, i) => one.classList.toggle("wait", ends[i] > time));
  return { node, run, ends, point, cycleOf, until };
}

const unit = (data) => (data.time_unit === "ms" ? "ms" : "plain passes");

// Every cycle as long as it took, all panes to one scale: drafting light, verifying dark.
function ruler(run, ends, longest) {
  const root = svg("svg", { viewBox: "0 0 1000 34", preserveAspectRatio: "none", "aria-hidden": "true" });
  const tallest = Math.max(...run.tau, 1);
  root.append(svg("line", { class: "base", x1: 0, x2: 1000, y1: 33.5, y2: 33.5 }));
  const bars = run.position.map((_, i) => {
    const begin = ((ends[i] - run.ms[i]) / longest) * 1000, width = (run.ms[i] / longest) * 1000;
    const draft = (run.draft_ms[i] / run.ms[i]) * width;
    const height = 8 + (24 * run.drafted[i]) / tallest, gap = Math.min(width * 0.15, 1.5);
    const bar = svg("g", { class: "cyc", "data-cycle": i },
      svg("rect", { x: begin, y: 0, width, height: 34, fill: "transparent" }),
      svg("rect", { class: "draft", x: begin, y: 33 - height, width: draft, height }),
      svg("rect", { class: "verify", x: begin + draft, y: 33 - height, width: Math.max(width - draft - gap, 0.4), height }));
    root.append(bar);
    return bar;
  });
  return { node: root, bars };
}

function cycleNode(request, run, i) {
  const { position, drafted, accepted, emitted } = run;
  const parts = [];
  for (let k = 0; k < emitted[i]; k++) {
    if (k === accepted[i]) parts.push(rejections(drafted[i] - accepted[i]));
    const kind = k < accepted[i] ? "accepted" : drafted[i] ? "own" : "fallback";
    parts.push(el("span", { class: `tok ${kind}` }, ...words(request.tokens[position[i] + k])));
  }
  if (emitted[i] === accepted[i]) parts.push(rejections(drafted[i] - accepted[i]));
  return el("span", { class: "cycle", "data-cycle": i }, ...parts);
}

const rejections = (count) => (count > 0 ? el("span", { class: "tok rejected", role: "img", "aria-label": `${count} rejected` }, count > 3 ? `${count}×` : "×".repeat(count)) : null);

// Line ends get a sign of their own: a token that is one must be seen.
function words(text) {
  if (!text.includes("\n")) return [text];
  return text.split("\n").flatMap((line, i) => (i ? [el("span", { class: "newline", "aria-hidden": "true" }, "↵"), "\n", line] : [line]));
}

const SIGNAL_NAMES = { top1_probability: "top-1 prob.", entropy: "entropy", margin: "margin", match_length: "match" };

function explained(data, request, run, ends, i) {
  const count = run.drafted[i], name = data.drafters[run.drafter[i]];
  const time = unit(data);
  const what = count
    ? `${count} drafted${data.drafters.length > 1 && name ? ` by ${name}` : ""}, ${run.accepted[i]} accepted`
    : "nothing drafted";
  const head = el("p", null, el("b", null, `Cycle ${i + 1} of ${run.position.length}: τ = ${run.tau[i]}`), ` · ${what} · ${run.emitted[i]} emitted`);
  const timed = el("p", { class: "says" }, `${plain(run.ms[i])} ${time}${count ? `, ${plain(run.draft_ms[i])} of it drafting` : ""}; ${plain(ends[i])} so far`);
  const known = Object.entries(run.signals || {}).filter(([, said]) => said[i].some((value) => value !== null));
  if (!count || !known.length) return [head, timed];
  const rows = Array.from({ length: count }, (_, k) => {
    const kept = k < run.accepted[i];
    const token = kept ? request.tokens[run.position[i] + k] : "rejected";
    return el("tr", null, el("td", { class: kept ? "word" : "" }, el("span", { class: `tok ${kept ? "accepted" : "rejected"}` }, kept ? token.replaceAll("\n", "↵") : "× rejected")),
      ...known.map(([, said]) => el("td", null, said[i][k] === null ? "–" : plain(said[i][k]))));
  });
  const table = el("table", null, el("thead", null, el("tr", null, el("th", { scope: "col" }, "drafted"), ...known.map(([signal]) => el("th", { scope: "col" }, SIGNAL_NAMES[signal])))), el("tbody", null, ...rows));
  return [head, timed, el("div", { class: "scroll", tabindex: 0, "aria-label": "Signals of the drafted tokens" }, table)];
}
