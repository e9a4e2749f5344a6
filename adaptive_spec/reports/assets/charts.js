// Charts as SVG. A chart is drawn anew for every width, filter and choice.

function ticks(low, high, wanted, whole) {
  const span = high - low || 1;
  const rough = span / Math.max(wanted, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const steps = [1, 2, 2.5, 5, 10].map((k) => k * power).filter((s) => !whole || Number.isInteger(s));
  const step = steps.find((s) => s >= rough * 0.999) || 1;
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

function scale(axis, values, from, to) {
  let low = Math.min(...values), high = Math.max(...values);
  if (!Number.isFinite(low)) [low, high] = [0, 1];
  if (axis.zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
  if (low === high) [low, high] = [low - Math.abs(low) * 0.1 - 0.5, high + Math.abs(high) * 0.1 + 0.5];
  const pad = (high - low) * 0.05;
  if (!(axis.zero && low === 0)) low -= pad;
  if (!(axis.percent && high <= 1 && high > 0.95)) high += pad;
  const at = (value) => from + ((value - low) / (high - low)) * (to - from);
  return { at, low, high };
}

const known = (values) => values.filter((value) => value !== null && value !== undefined);
const measure = document.createElement("canvas").getContext("2d");
function widthOf(text, bold) {
  measure.font = `${bold ? 600 : 400} 12.5px system-ui, sans-serif`;
  return measure.measureText(text).width;
}

function coloured(series, chart) {
  const someone = chart.series.some((one) => one.policy);
  return series.map((one) => {
    if (one.policy) {
      const index = page.policies.indexOf(one.policy);
      return { ...one, colour: hue(index), second: index >= HUES };
    }
    if (one.category) return { ...one, colour: hue(page.categories.indexOf(one.category)) };
    if (someone || one.look === "dashed") return { ...one, colour: "var(--soft)" };
    return { ...one, colour: hue(chart.series.indexOf(one)) };
  });
}

function drawChart(holder, chart, series) {
  holder.replaceChildren();
  if (!series.length) {
    holder.append(el("p", { class: "empty" }, "Nothing left to show: the filters above hide every series."));
    return;
  }
  const width = Math.max(holder.clientWidth, 260);
  (chart.kind === "rows" ? drawRows : drawPlane)(holder, chart, coloured(series, chart), width);
}

// Points by series, walked with the arrow keys and found by the pointer.
function explore(root, chart, groups, describe) {
  const ring = svg("circle", { class: "here", r: 6, visibility: "hidden" });
  root.append(ring);
  let at = null;
  const show = (s, i) => {
    at = [s, i];
    const point = groups[s].points[i];
    root.classList.add("dim");
    groups.forEach((group, k) => group.node.classList.toggle("on", k === s));
    ring.setAttribute("cx", point.px);
    ring.setAttribute("cy", point.py);
    ring.setAttribute("visibility", "visible");
    const box = root.getBoundingClientRect();
    tip.show(box.left + (point.px * box.width) / root.viewBox.baseVal.width, box.top + point.py * (box.height / root.viewBox.baseVal.height), groups[s].series.name, describe(groups[s].series, point.index));
  };
  const hide = () => {
    root.classList.remove("dim");
    ring.setAttribute("visibility", "hidden");
    tip.hide();
  };
  root.addEventListener("pointermove", (event) => {
    const box = root.getBoundingClientRect();
    const ratio = root.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * ratio, y = (event.clientY - box.top) * ratio;
    let best = null, least = 60 ** 2;
    groups.forEach((group, s) => group.points.forEach((point, i) => {
      const far = chart.kind === "rows" ? (point.py - y) ** 2 * 9 : (point.px - x) ** 2 + (point.py - y) ** 2;
      if (far < least) [least, best] = [far, [s, i]];
    }));
    best ? show(...best) : hide();
  });
  root.addEventListener("pointerleave", hide);
  root.addEventListener("blur", hide);
  root.addEventListener("keydown", (event) => {
    const along = { ArrowRight: 1, ArrowLeft: -1 }[event.key], across = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") return hide();
    if (along === undefined && across === undefined) return;
    event.preventDefault();
    if (!at) return show(0, 0);
    const step = (value, by, count) => (value + by + count) % count;
    if (across || chart.kind === "rows") {
      const s = step(at[0], across || along, groups.length);
      show(s, Math.min(at[1], groups[s].points.length - 1));
    } else show(at[0], step(at[1], along, groups[at[0]].points.length));
  });
}

function frame(chart, width, height, label) {
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, tabindex: 0, role: "img", "aria-label": label, "aria-roledescription": "chart; arrow keys read its points" });
}

function drawRows(holder, chart, series, width) {
  const narrow = width < 560;
  const names = Math.max(...series.map((one) => widthOf(one.name, true)));
  const left = narrow ? 8 : Math.min(names + 22, width * 0.4);
  const text = (one) => exactly(one.x[0], chart.x);
  const right = 16 + Math.max(...series.map((one) => widthOf(text(one), true)));
  const row = narrow ? 42 : 30;
  const ends = series.flatMap((one) => known([...one.x, ...one.low, ...one.high]));
  const x = scale(chart.x, [...ends, ...chart.marks.map((mark) => mark.at)], left, width - right);
  // Labels of marks stand above each other where they would overlap.
  const lanes = [];
  const marks = [...chart.marks].sort((a, b) => a.at - b.at).map((mark) => {
    const at = x.at(mark.at), half = widthOf(mark.label) / 2 + 6;
    const middle = Math.min(Math.max(at, half), width - half);
    let lane = lanes.findIndex((end) => end < middle - half);
    if (lane < 0) lane = lanes.length;
    lanes[lane] = middle + half;
    return { ...mark, at, middle, lane };
  });
  const top = 8 + lanes.length * 17, bottom = top + series.length * row;
  const root = frame(chart, width, bottom + 44, `${chart.title}: ${series.map((one) => `${one.name} ${text(one)}`).join(", ")}`);
  for (const tick of ticks(x.low, x.high, Math.max((width - left) / 110, 2))) {
    root.append(svg("line", { class: "grid", x1: x.at(tick), x2: x.at(tick), y1: top, y2: bottom }));
    root.append(svg("text", { x: x.at(tick), y: bottom + 17, "text-anchor": "middle" }, shown(tick, chart.x)));
  }
  root.append(svg("text", { x: (left + width - right) / 2, y: bottom + 37, "text-anchor": "middle" }, chart.x.label));
  for (const mark of marks) {
    const y = top - 6 - mark.lane * 17;
    root.append(svg("line", { class: "mark", x1: mark.at, x2: mark.at, y1: y + 3, y2: bottom }));
    root.append(svg("text", { class: "halo", x: mark.middle, y, "text-anchor": "middle" }, mark.label));
  }
  const groups = series.map((one, i) => {
    const middle = top + i * row + (narrow ? 29 : row / 2);
    const group = svg("g", { class: "series", colour: one.colour });
    const px = x.at(one.x[0]);
    if (one.low.length || one.high.length) {
      const from = one.low[0] ?? x.low, to = one.high[0] ?? x.high;
      group.append(svg("line", { class: "whisker", x1: x.at(from), x2: x.at(to), y1: middle, y2: middle }));
    }
    group.append(svg("circle", { class: "dot", cx: px, cy: middle, r: 5.5 }));
    const name = narrow ? { x: left, y: middle - 14 } : { x: left - 14, y: middle + 4, "text-anchor": "end" };
    group.append(clipped(svg("text", { class: "strong halo", ...name }, one.name), one.name, narrow ? width - right : left - 14));
    group.append(svg("text", { class: "value", x: width, y: middle + 4, "text-anchor": "end" }, text(one)));
    root.append(group);
    return { series: one, node: group, points: [{ px, py: middle, index: 0 }] };
  });
  holder.append(root);
  explore(root, chart, groups, (one) => described(chart, one, 0));
}

// Shortens a label that has no room; all of it stays in its title.
function clipped(node, name, room) {
  let text = name;
  while (text.length > 4 && widthOf(text, true) > room) text = text.slice(0, -2);
  if (text !== name) node.textContent = `${text}…`;
  node.append(svg("title", null, name));
  return node;
}

function described(chart, one, i) {
  const lines = [];
  const span = () => (one.low.length || one.high.length) && `95 % interval ${shown(one.low[i], chart.y || chart.x)} to ${shown(one.high[i], chart.y || chart.x)}`;
  if (chart.kind === "plane") {
    lines.push(`${chart.x.label}: ${shown(one.x[i], chart.x)}`, `${chart.y.label}: ${shown(one.y[i], chart.y)}`);
  } else lines.push(`${chart.x.label}: ${shown(one.x[i], chart.x)}`);
  if (span()) lines.push(span());
  if (one.notes[i]) lines.push(one.notes[i]);
  return lines;
}

const MOST_BANDS = 3; // more would hide each other: each shows with its line
const MOST_NAMED = 8; // lines named where they end; more are named below, and stand back

function drawPlane(holder, chart, series, width) {
  const narrow = width < 620;
  const height = narrow ? 270 : 350;
  const joined = series.filter((one) => one.look !== "points");
  const loose = series.filter((one) => one.look === "points");
  const longest = Math.max(0, ...joined.map((one) => widthOf(one.name, true)));
  const tails = !narrow && joined.length > 0 && joined.length <= MOST_NAMED;
  const right = tails ? Math.min(longest + 16, width * 0.28) : 14;
  const bottom = height - 44, top = 28;
  const ys = series.flatMap((one) => known([...one.y, ...one.low, ...one.high]));
  const y = scale(chart.y, [...ys, ...chart.marks.filter((m) => m.axis === "y").map((m) => m.at)], bottom, top);
  const yTicks = ticks(y.low, y.high, 5);
  const left = 12 + Math.max(...yTicks.map((tick) => widthOf(shown(tick, chart.y))));
  const xs = series.flatMap((one) => known(one.x));
  const x = scale(chart.x, [...xs, ...chart.marks.filter((m) => m.axis === "x").map((m) => m.at)], left, width - right);
  const root = frame(chart, width, height, `${chart.title}: ${chart.y.label} by ${chart.x.label}`);
  const plot = svg("g");
  root.append(svg("text", { x: 0, y: 12 }, `↑ ${chart.y.label}`));
  for (const tick of yTicks) {
    root.append(svg("line", { class: "grid", x1: left, x2: width - right, y1: y.at(tick), y2: y.at(tick) }));
    root.append(svg("text", { x: left - 8, y: y.at(tick) + 4, "text-anchor": "end" }, shown(tick, chart.y)));
  }
  for (const tick of ticks(x.low, x.high, Math.max((width - left - right) / (chart.x.whole ? 45 : 90), 2), chart.x.whole)) {
    root.append(svg("line", { class: "axis", x1: x.at(tick), x2: x.at(tick), y1: bottom, y2: bottom + 4 }));
    root.append(svg("text", { x: x.at(tick), y: bottom + 18, "text-anchor": "middle" }, shown(tick, chart.x)));
  }
  root.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: bottom, y2: bottom }));
  root.append(svg("text", { x: width - right, y: height - 6, "text-anchor": "end" }, `${chart.x.label} →`));
  if (series.filter((one) => one.low.length).length > MOST_BANDS) plot.classList.add("crowded");
  if (joined.length > MOST_NAMED) plot.classList.add("many");
  const boxes = []; // taken by labels and dots
  for (const mark of chart.marks) {
    const across = mark.axis === "y";
    const line = across ? { x1: left, x2: width - right, y1: y.at(mark.at), y2: y.at(mark.at) } : { x1: x.at(mark.at), x2: x.at(mark.at), y1: top, y2: bottom };
    root.append(svg("line", { class: "mark", ...line }));
    const beyond = !across && x.at(mark.at) + widthOf(mark.label) + 8 > width - right;
    const place = across ? { x: left + 6, y: y.at(mark.at) - 5 } : { x: x.at(mark.at) + (beyond ? -5 : 5), y: top + 10, "text-anchor": beyond ? "end" : "start" };
    root.append(svg("text", { class: "halo", ...place }, mark.label));
  }
  root.append(plot);
  const groups = series.map((one) => {
    const group = svg("g", { class: "series", colour: one.colour });
    const points = one.x.map((value, index) => ({ index, value, y: one.y[index] })).filter((p) => p.value !== null && p.y !== null && p.y !== undefined)
      .map((p) => ({ index: p.index, px: x.at(p.value), py: y.at(p.y) }));
    if (one.look === "points") {
      for (const p of points) {
        if (known([one.low[p.index], one.high[p.index]]).length === 2) group.append(svg("line", { class: "whisker", x1: p.px, x2: p.px, y1: y.at(one.low[p.index]), y2: y.at(one.high[p.index]) }));
        group.append(svg("circle", { class: "ring", cx: p.px, cy: p.py, r: 5.5 }));
        boxes.push([p.px - 7, p.py - 7, p.px + 7, p.py + 7]);
      }
    } else {
      const banded = points.filter((p) => one.low[p.index] !== null && one.low[p.index] !== undefined && one.high[p.index] !== null && one.high[p.index] !== undefined);
      const rises = banded.every((p, k) => !k || p.px > banded[k - 1].px);
      if (!rises) for (const p of banded) group.append(svg("line", { class: "thin", x1: p.px, x2: p.px, y1: y.at(one.low[p.index]), y2: y.at(one.high[p.index]) }));
      else if (banded.length > 1) {
        const edge = [...banded.map((p) => [p.px, y.at(one.high[p.index])]), ...banded.reverse().map((p) => [p.px, y.at(one.low[p.index])])];
        group.append(svg("polygon", { class: "band", points: edge.map((p) => p.join(",")).join(" ") }));
      }
      // A gap where nothing is known: no line is drawn across it.
      const path = points.map((p, k) => `${k && points[k - 1].index === p.index - 1 ? "L" : "M"}${p.px.toFixed(1)},${p.py.toFixed(1)}`).join("");
      group.append(svg("path", { class: `curve ${one.look === "dashed" ? "dashed" : one.second ? "second" : ""}`, d: path }));
      if (points.length <= 24 && one.look !== "dashed") for (const p of points) group.append(svg("circle", { class: "dot", cx: p.px, cy: p.py, r: 3.5 }));
    }
    plot.append(group);
    return { series: one, node: group, points };
  }).filter((group) => group.points.length);
  // Lines that end at the right are named there; all else where it is.
  const reaches = (group) => group.series.look !== "points" && Math.max(...group.points.map((p) => p.px)) > left + (width - right - left) * 0.75;
  if (tails) tailLabels(groups.filter(reaches), width - right + 8, right - 8, top, bottom);
  looseLabels(groups.filter((group) => (group.series.look === "points" || tails) && !(tails && reaches(group))), boxes, left, width, top, bottom);
  holder.append(root);
  if (!tails && joined.length > 1) holder.append(el("div", { class: "legend" }, ...joined.map((one) => el("span", { colour: one.colour }, one.name))));
  if (groups.length) explore(root, chart, groups, (one, i) => described(chart, one, i));
}

// Names at the ends of lines, pushed apart where they would overlap.
function tailLabels(groups, left, room, top, bottom) {
  const gap = 15;
  const labels = groups.map((group) => ({ group, y: group.points.reduce((a, b) => (b.px >= a.px ? b : a)).py })).sort((a, b) => a.y - b.y);
  labels.forEach((label, i) => { label.y = Math.max(label.y, i ? labels[i - 1].y + gap : top); });
  for (let i = labels.length - 1, most = bottom; i >= 0; i--, most -= gap) {
    labels[i].y = Math.min(labels[i].y, most);
    most = labels[i].y;
  }
  for (const { group, y } of labels) group.node.append(clipped(svg("text", { class: "label halo", x: left, y: y + 4 }, group.series.name), group.series.name, room));
}

// Names beside points, where there is room for them; the others are told by pointer, keys and table.
function looseLabels(groups, boxes, left, right, top, bottom) {
  for (const group of groups) {
    const { px, py } = group.points.reduce((a, b) => (b.px > a.px ? b : a));
    const name = group.series.name, w = widthOf(name, true);
    const places = [[px + 10, py + 4, "start"], [px - 10, py + 4, "end"], [px, py - 11, "middle"], [px, py + 20, "middle"], [px + 8, py - 10, "start"], [px - 8, py + 18, "end"], [px - 8, py - 10, "end"], [px + 8, py + 18, "start"]];
    for (const [x, y, anchor] of places) {
      const from = anchor === "start" ? x : anchor === "end" ? x - w : x - w / 2;
      const box = [from, y - 11, from + w, y + 3];
      if (box[0] < left || box[2] > right || box[1] < top - 8 || box[3] > bottom) continue;
      if (boxes.some((b) => box[0] < b[2] && b[0] < box[2] && box[1] < b[3] && b[1] < box[3])) continue;
      boxes.push(box);
      group.node.append(svg("text", { class: "label halo", x, y, "text-anchor": anchor }, name));
      break;
    }
  }
}

function tableOf(chart, series) {
  const intervals = series.some((one) => known([...one.low, ...one.high]).length);
  const heads = [chart.kind === "rows" ? "" : "series", chart.x.label, ...(chart.kind === "plane" ? [chart.y.label] : []), ...(intervals ? ["from", "to"] : [])];
  const measured = chart.y || chart.x;
  const rows = series.flatMap((one) => one.x.map((value, i) => el("tr", null,
    el("td", null, one.name), el("td", null, shown(value, chart.x)),
    ...(chart.kind === "plane" ? [el("td", null, shown(one.y[i], chart.y))] : []),
    ...(intervals ? [el("td", null, shown(one.low[i], measured)), el("td", null, shown(one.high[i], measured))] : []))));
  return el("table", null, el("thead", null, el("tr", null, ...heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", null, ...rows));
}
