// Networks: the front with their drawings, the winner, what it gets wrong, and learning curves.

const COSTS = { params: "learnable parameters", macs: "multiply-accumulates (MACs) for one image", latency_ms: "latency of one image, ms" };
const costText = (row) => (frontCost === "latency_ms" ? `${row.latency_ms.toFixed(2)} ms` : `${short(row[frontCost])} ${frontCost === "macs" ? "MACs" : "parameters"}`);
const BLOCK_COLORS = { i: "#8a94a0", c: "#0072b2", p: "#e69f00", l: "#009e73" };
let frontCost = "macs", pinned = null;

function frontOf(rows, cost) {
  let best = -1;
  return rows.filter((row) => isNumber(row[cost])).sort((a, b) => a[cost] - b[cost] || b.val_acc_final - a.val_acc_final)
    .filter((row) => row.val_acc_final > best && (best = row.val_acc_final, true));
}

// A network as `jnas.space.draw_template` draws it, without texts: cuboids as wide as their maps, as thick as their channels.
function drawBlocks(blocks) {
  const svg = (tag, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  let x = 2;
  const largest = blocks[0][1], base = 126, cuboids = blocks.map(([kind, pixels, channels]) => {
    const side = Math.max((92 * pixels) / largest, 6), depth = 0.34 * side, width = 4 * Math.log2(1 + channels), y = base - (92 - side) / 2;
    const faces = [[1, `M${x} ${y}v${-side}h${width}v${side}z`], [0.5, `M${x} ${y - side}l${depth} ${-depth}h${width}l${-depth} ${depth}z`], [0.75, `M${x + width} ${y}l${depth} ${-depth}v${-side}l${-depth} ${depth}z`]];
    x += width + depth + 7;
    return svg("g", { fill: BLOCK_COLORS[kind] }, ...faces.map(([opacity, d]) => svg("path", { opacity, d })));
  });
  return svg("svg", { viewBox: `0 0 ${x} ${base + 4}`, width: x, height: base + 4, role: "img", "aria-label": `${blocks.length - 1} blocks` }, ...cuboids);
}

function showNetwork(search, row) {
  const card = document.getElementById("front-card");
  const drawing = el("div");
  if (search.blocks[row.hash]) drawing.append(drawBlocks(search.blocks[row.hash]));
  const facts = [
    ["accuracy", `${percent(row.val_acc_final)} (validation)`], ["parameters", whole(row.params)], ["MACs", whole(row.macs)],
    ["latency", isNumber(row.latency_ms) ? `${row.latency_ms.toFixed(2)} ms` : null], ["found by", PHASES[row.kind]?.name || row.phase],
    ["predicted", isNumber(row.predicted_mean) ? percent(row.predicted_mean) : null], ["training", `${duration(row.train_seconds)}, after ${duration(row.seconds)}`],
  ];
  card.replaceChildren(el("h3", {}, pinned === row.index ? "Pinned network (click it again to let go)" : "Network under the pointer"), drawing,
    el("dl", {}, facts.filter(([, value]) => value).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    el("p", { class: "note" }, el("code", {}, shortHash(row.hash)), " ", el("span", {}, copyButton(row.hash, "copy the hash"))));
  for (const button of card.querySelectorAll("button")) button.className = "plain";
  card.dataset.hash = row.hash;
}

// The network under the pointer is shown beside the figure; a click keeps it there.
function listen(div, section) {
  if (div.isListening) return;
  div.isListening = true;
  const rowAt = (event) => rowsOf(section.search)[event.points[0].customdata];
  div.on("plotly_hover", (event) => { if (pinned === null && rowAt(event)) showNetwork(section.search, rowAt(event)); });
  div.on("plotly_click", (event) => {
    if (!rowAt(event)) return;
    pinned = pinned === rowAt(event).index ? null : rowAt(event).index;
    showNetwork(section.search, rowAt(event));
  });
}

function showFront(data, search) {
  const rows = rowsOf(search).filter((row) => row.isGood), hasLatency = rows.some((row) => isNumber(row.latency_ms));
  if (frontCost === "latency_ms" && !hasLatency) frontCost = "macs";
  const front = frontOf(rows, frontCost);
  const says = !front.length ? "Accuracy against cost will be here, as soon as a network is trained."
    : `${plural(front.length, "network")} on the line ${front.length === 1 ? "is" : "are"} the front: no other is more accurate and costs no more. It goes from ${percent(front[0].val_acc_final)} for ${costText(front[0])} to ${percent(front.at(-1).val_acc_final)} for ${costText(front.at(-1))}. Point at a network to see it; click to keep it.`;
  const body = el("div", { class: "pair wide" }, chart("front-chart", 420), el("div", { class: "card", id: "front-card" }));
  const section = part("front", "Accuracy against cost", says, el("div", { id: "front-switch" }), body);
  const names = [["params", "parameters"], ["macs", "MACs"], ["latency_ms", "latency", !hasLatency]];
  document.getElementById("front-switch").replaceChildren(switcher(names, frontCost, (cost) => { frontCost = cost; showFront(data, search); }));
  section.querySelector(".pair").hidden = section.querySelector("#front-switch").hidden = !front.length;
  if (!front.length) return;
  const line = { type: "scatter", mode: "lines", name: "front", x: front.map((row) => row[frontCost]), y: front.map((row) => row.val_acc_final), line: { shape: "hv", color: css("best"), width: 2 }, hoverinfo: "skip" };
  const costs = rows.map((row) => row[frontCost]).filter(isNumber), isWide = Math.max(...costs) > 15 * Math.min(...costs);
  const limit = search.made.config[{ params: "max_params", macs: "max_macs", latency_ms: "max_latency_ms" }[frontCost]];
  const shapes = isNumber(limit) ? [{ type: "line", x0: limit, x1: limit, yref: "paper", y0: 0, y1: 1, line: { color: css("muted"), dash: "dot", width: 1.5 } }] : [];
  const annotations = shapes.map(() => ({ x: Math.log10(limit), yref: "paper", y: 0, xanchor: "right", yanchor: "bottom", showarrow: false, text: "limit ", font: { size: 11.5, color: css("muted") } }));
  const shown = rows.filter((row) => isNumber(row[frontCost]));
  const dots = pointsOf(shown, (row) => row[frontCost], (row) => row.val_acc_final);
  section.search = search;
  draw("front-chart", [...dots, line], {
    showlegend: true, shapes, annotations, xaxis: { title: COSTS[frontCost], type: "log", dtick: isWide ? 1 : null }, yaxis: { title: "validation accuracy", tickformat: ".0%" },
    uirevision: frontCost,
  }, (div) => listen(div, section));
  const card = document.getElementById("front-card"), current = rows.find((row) => row.hash === card.dataset.hash);
  showNetwork(search, current || rows.find((row) => row.hash === search.summary.winner.hash) || front.at(-1));
  if (pinned === null && !current) card.querySelector("h3").textContent = "The best network";
}

function showWinner(data, search) {
  const winner = search.summary.winner, section = document.getElementById("winner");
  section.hidden = !winner;
  if (!winner) return;
  const finals = winner.finals.filter((row) => row.status === "ok");
  const longer = finals.length ? ` Trained again for ${plural(winner.final_epochs || 0, "epoch")}, its validation accuracy is ${percent(finals[0].val_acc_final)}${isNumber(finals[0].test_acc_final) ? ` and its test accuracy ${percent(finals[0].test_acc_final)}` : ""}.` : "";
  const says = `${winner.is_chosen ? "The winner" : "The best network so far"} has ${whole(winner.params)} parameters and needs ${whole(winner.macs)} MACs for one image. Each block is as wide as its map and as thick as its channels (on a logarithmic scale); below are its shares of all parameters and MACs.${longer}`;
  part("winner", winner.is_chosen ? "The winner" : "The best network so far", says, el("div", { class: "drawing", tabindex: 0 }), el("details", {}, el("summary", {}, "Its layers, with output shapes"), el("pre")), el("p", { class: "note" }));
  section.querySelector("h2").textContent = winner.is_chosen ? "The winner" : "The best network so far";
  section.querySelector(".drawing").innerHTML = winner.drawing;
  section.querySelector("pre").textContent = winner.layers.join("\n");
  const button = copyButton(winner.hash, "copy");
  button.className = "plain";
  section.querySelector(".note").replaceChildren("hash ", el("code", { style: "overflow-wrap:anywhere" }, winner.hash), " ", button, " ", el("code", {}, "jnas export STORE"), " writes it as files that need no jnas.");
}

function showMistakes(data, search) {
  const facts = search.facts, section = document.getElementById("mistakes");
  section.hidden = !facts;
  if (!facts) return;
  const names = facts.class_names, pair = facts.pairs[0];
  const recall = facts.num_per_class.map((count, i) => (count ? facts.num_right[i] / count : null));
  const precision = facts.num_predicted.map((count, i) => (count ? facts.num_right[i] / count : null));
  const worst = recall.reduce((low, value, i) => (isNumber(value) && (low < 0 || value < recall[low]) ? i : low), -1);
  const says = `On ${whole(facts.num_images)} ${facts.split} images.${worst >= 0 ? ` It finds ${names[worst]} least often (${percent(recall[worst], 0)} of them).` : ""}${pair ? ` Its most frequent mistake: ${names[pair[0]]} taken for ${names[pair[1]]} (${plural(pair[2], "image")}).` : " It makes no mistake."}`;
  const height = Math.min(Math.max(300, 26 * names.length + 90), 900);
  part("mistakes", "What it gets right and wrong", says,
    el("div", { class: "pair" }, el("div", {}, el("h3", {}, "Which class (row) is taken for which (column), in images"), chart("confusion-chart", height)), el("div", {}, el("h3", {}, "Of each class: share found, and share right where it is named"), chart("classes-chart", height))),
    el("h3", { style: "margin-top:18px" }, "Where it is most wrongly sure: true class, what it says, and how sure it is"), el("div", { class: "images" }));
  const labels = names.map((name) => plain(name.length > 16 ? `${name.slice(0, 15)}…` : name));
  const places = labels.map((_, i) => i), ticks = { tickmode: "array", tickvals: places, ticktext: labels };
  if (facts.matrix) {
    const scale = [[0, css("panel")], [1, css("evolved")]], largest = Math.max(...facts.matrix.flat());
    const isFew = names.length <= 15 && !isNarrow();
    draw("confusion-chart", [{ type: "heatmap", z: facts.matrix, x: places, y: places, colorscale: scale, showscale: false, xgap: 1, ygap: 1, customdata: places.map((i) => places.map((j) => `${labels[i]} taken for ${labels[j]}`)), hovertemplate: "%{customdata}: %{z}<extra></extra>" }], {
      xaxis: { ...ticks, side: "bottom", showgrid: false, tickangle: -40 }, yaxis: { ...ticks, autorange: "reversed", showgrid: false },
      annotations: isFew ? facts.matrix.flatMap((line, i) => line.map((count, j) => ({ x: j, y: i, text: String(count), showarrow: false, font: { size: 11, color: count > 0.55 * largest ? css("panel") : css("muted") } }))) : [],
    });
  } else draw("confusion-chart", [{ type: "bar", orientation: "h", x: facts.pairs.map((p) => p[2]), y: facts.pairs.map((p) => plain(`${names[p[0]]} taken for ${names[p[1]]}`)), marker: { color: css("evolved") }, hovertemplate: "%{y}: %{x} images<extra></extra>" }], { xaxis: { title: "images" }, yaxis: { autorange: "reversed" } });
  const marks = (values, name, color, symbol) => ({ type: "scatter", mode: "markers", name, x: values, y: places, marker: { color, symbol, size: 10 }, text: labels, hovertemplate: `%{text}: %{x:.0%} ${name}<extra></extra>` });
  draw("classes-chart", [marks(recall, "found", css("evolved"), "circle"), marks(precision, "right where named", css("known"), "diamond")], {
    showlegend: true, xaxis: { tickformat: ".0%", rangemode: "tozero", title: "share of images" }, yaxis: { ...ticks, autorange: "reversed" },
  });
  section.querySelector(".images").replaceChildren(...facts.mistakes.map((one) => el("figure", {},
    el("img", { src: /^data:image\/png;base64,/.test(one.image) ? one.image : "", alt: `an image of class ${names[one.label]}` }),
    el("figcaption", {}, el("b", {}, names[one.label]), `${names[one.predicted]} ${percent(one.confidence, 0)}`))));
}

function showCurves(data, search) {
  const curves = search.curves.search, rows = rowsOf(search).filter((row) => curves[row.hash]?.length);
  const section = document.getElementById("curves"), finals = search.curves.finals;
  section.hidden = !rows.length;
  if (!rows.length) return;
  const stopped = search.counts.by_status.stopped || 0;
  const says = `Validation accuracy after each epoch, a line a network; the best one is bold.${stopped ? ` ${plural(stopped, "network")} ended early.` : ""}${finals.length ? " On the right is the winner's longer training: where the training accuracy goes on rising and the validation accuracy does not, more epochs would bring nothing." : ""}`;
  part("curves", "Learning curves", says, el("div", { class: "pair" }, el("div", {}, el("h3", {}, "In the search"), chart("curves-chart")), el("div", { id: "finals" }, el("h3", {}, "The winner's longer training"), chart("finals-chart"))));
  const traces = Object.keys(PHASES).map((kind) => {
    const own = rows.filter((row) => row.kind === kind);
    const join = (values) => own.flatMap((row) => [...values(curves[row.hash]), null]);
    return { type: "scatter", mode: "lines+markers", name: PHASES[kind].name, x: join((c) => c.map((_, i) => i + 1)), y: join((c) => c), line: { color: css(kind), width: 1 }, marker: { size: 3 }, opacity: Math.max(0.25, Math.min(0.9, 30 / own.length)), hoverinfo: "skip" };
  }).filter((trace) => trace.x.length);
  const best = curves[search.summary.winner?.hash];
  if (best) traces.push({ type: "scatter", mode: "lines+markers", name: "the best", x: best.map((_, i) => i + 1), y: best, line: { color: css("best"), width: 3 }, hovertemplate: "epoch %{x}: %{y:.1%}<extra></extra>" });
  const y = { tickformat: ".0%", title: "validation accuracy" }, x = { title: "epoch", rangemode: "tozero" };
  draw("curves-chart", traces, { showlegend: true, xaxis: { ...x, dtick: Math.max(...rows.map((row) => curves[row.hash].length)) <= 12 ? 1 : null }, yaxis: y });
  document.getElementById("finals").hidden = !finals.length;
  if (finals.length) draw("finals-chart", finals.flatMap((one, i) => [["val", "validation", "evolved", "solid"], ["train", "training", "known", "dot"]].map(([name, label, color, dash]) => ({
    type: "scatter", mode: one[name].length > 8 ? "lines" : "lines+markers", name: label, showlegend: i === 0, x: one[name].map((_, k) => k + 1), y: one[name], line: { color: css(color), width: 2.5, dash }, hovertemplate: `epoch %{x}: %{y:.1%} ${label}<extra></extra>`,
  }))), { showlegend: true, xaxis: x, yaxis: { ...y, title: "accuracy" } });
}
