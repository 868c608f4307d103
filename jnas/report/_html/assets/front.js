// Accuracy against cost: the front, and a drawing of the network under the pointer.

const COSTS = { params: "learnable parameters", macs: "multiply-accumulates (MACs) for one image", memory_bytes: "working memory that a board needs, bytes (int8 values)", flash_bytes: "flash that a board needs, bytes (int8 values)", latency_ms: "latency of one image, ms" };
const UNITS = { params: "parameters", macs: "MACs", memory_bytes: "bytes of memory", flash_bytes: "bytes of flash" };
const LIMITS = { params: "max_params", macs: "max_macs", memory_bytes: "max_memory_kb", flash_bytes: "max_flash_kb", latency_ms: "max_latency_ms" };
const costText = (row) => (frontCost === "latency_ms" ? `${row.latency_ms.toFixed(2)} ms` : `${short(row[frontCost])} ${UNITS[frontCost]}`);
const BLOCK_COLORS = { i: "#8a94a0", c: "#0072b2", p: "#e69f00", l: "#009e73" };
let frontCost = "macs", pickedCost = null, pinned = null;

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
  card.replaceChildren(el("h3", {}, pinned === row.index ? "Pinned: a click on its point lets it go" : "Network under the pointer"), drawing,
    el("dl", {}, facts.filter(([, value]) => value).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
    el("p", { class: "note" }, el("code", {}, shortHash(row.hash)), " ", el("span", {}, copyButton(row.hash, "copy the hash"))));
  card.firstChild.after(el("div", { class: "tools", style: "margin:0" }, [["← cheaper", -1], ["dearer →", 1]].map(([name, by]) => el("button", { type: "button", title: "Along the front", onclick: () => step(search, row, by) }, name))));
  for (const button of card.querySelectorAll("button")) button.className = "plain";
  card.dataset.hash = row.hash;
  mark(row);
}

// The network of the front before or after a row, by cost.
function step(search, row, by) {
  const front = frontOf(rowsOf(search).filter((other) => other.isGood), frontCost);
  const onwards = front.filter((other) => by * (other[frontCost] - row[frontCost]) > 0);
  const next = by > 0 ? onwards[0] : onwards.at(-1);
  if (!next) return;
  pinned = next.index;
  showNetwork(search, next);
  document.querySelectorAll("#front-card .tools button")[by > 0 ? 1 : 0].focus();
}

// A ring around the network that is shown; none where the figure has another range or is not drawn yet.
function mark(row) {
  const div = document.getElementById("front-chart"), layout = div._fullLayout;
  let ring = div.parentNode.querySelector(".ring");
  if (!ring) div.parentNode.append((ring = el("i", { class: "ring", "aria-hidden": "true" })));
  ring.hidden = !row || !layout?.xaxis?.d2p || !isNumber(row[frontCost]);
  if (ring.hidden) return;
  const x = layout.xaxis.d2p(row[frontCost]), y = layout.yaxis.d2p(row.val_acc_final), { l, t, w, h } = layout._size;
  ring.hidden = x < 0 || y < 0 || x > w || y > h;
  ring.style.translate = `${l + x - 10}px ${t + y - 10}px`;
}

// The network under the pointer is shown beside the figure; a click keeps it there.
function listen(div, section) {
  if (div.isListening) return;
  div.isListening = true;
  const rowAt = (event) => rowsOf(section.search)[event.points[0].customdata];
  div.on("plotly_hover", (event) => { if (pinned === null && rowAt(event)) showNetwork(section.search, rowAt(event)); });
  div.on("plotly_afterplot", () => mark(rowsOf(section.search).find((row) => row.hash === document.getElementById("front-card").dataset.hash)));
  div.on("plotly_click", (event) => {
    if (!rowAt(event)) return;
    pinned = pinned === rowAt(event).index ? null : rowAt(event).index;
    showNetwork(section.search, rowAt(event));
  });
}

function showFront(data, search) {
  const rows = rowsOf(search).filter((row) => row.isGood), hasLatency = rows.some((row) => isNumber(row.latency_ms));
  const config = search.made.config, objective = (config.objectives || []).find((name) => name !== "accuracy");
  frontCost = pickedCost ?? { memory: "memory_bytes", flash: "flash_bytes", latency: "latency_ms" }[objective] ?? objective ?? "macs";
  if (frontCost === "latency_ms" && !hasLatency) frontCost = "macs";
  const front = frontOf(rows, frontCost);
  const says = !front.length ? "Accuracy against cost will be here, as soon as a network is trained."
    : front.length === 1 ? `One network is the front, as none is better and none is cheaper: ${percent(front[0].val_acc_final)} for ${costText(front[0])}. Point at a network to see it; click to keep it.`
    : `${plural(front.length, "network")} on the line are the front: whatever is more accurate costs more. It goes from ${percent(front[0].val_acc_final)} for ${costText(front[0])} to ${percent(front.at(-1).val_acc_final)} for ${costText(front.at(-1))}. Point at a network to see it; click to keep it.`;
  const body = el("div", { class: "pair wide" }, el("div", { style: "position:relative" }, chart("front-chart", 420)), el("div", { class: "card", id: "front-card" }));
  const section = part("front", "Accuracy against cost", says, el("div", { id: "front-switch" }), body);
  const isForBoard = (name) => (config.objectives || []).includes(name) || isNumber(config[`max_${name}_kb`]);
  const names = [["params", "parameters"], ["macs", "MACs"], ...["memory", "flash"].filter(isForBoard).map((name) => [`${name}_bytes`, name]), ["latency_ms", "latency", !hasLatency]];
  document.getElementById("front-switch").replaceChildren(switcher(names, frontCost, (cost) => { pickedCost = cost; showFront(data, search); }));
  section.querySelector(".pair").hidden = section.querySelector("#front-switch").hidden = !front.length;
  if (!front.length) return;
  const line = { type: "scatter", mode: "lines", name: "front", x: front.map((row) => row[frontCost]), y: front.map((row) => row.val_acc_final), line: { shape: "hv", color: css("best"), width: 2 }, hoverinfo: "skip" };
  const costs = rows.map((row) => row[frontCost]).filter(isNumber), isWide = Math.max(...costs) > 15 * Math.min(...costs);
  const given = config[LIMITS[frontCost]], limit = isNumber(given) && frontCost.endsWith("_bytes") ? 1024 * given : given;
  const shapes = isNumber(limit) ? [{ type: "line", x0: limit, x1: limit, yref: "paper", y0: 0, y1: 1, line: { color: css("muted"), dash: "dot", width: 1.5 } }] : [];
  const annotations = shapes.map(() => ({ x: Math.log10(limit), yref: "paper", y: 0, xanchor: "right", yanchor: "bottom", showarrow: false, text: "limit ", font: { size: 11.5, color: css("muted") } }));
  const shown = rows.filter((row) => isNumber(row[frontCost]));
  const dots = pointsOf(shown, (row) => row[frontCost], (row) => row.val_acc_final);
  section.search = search;
  draw("front-chart", [...dots, line], {
    showlegend: true, shapes, annotations, xaxis: { title: COSTS[frontCost], type: "log", dtick: isWide ? 1 : null }, yaxis: { title: "validation accuracy", tickformat: ".0%", ...FRACTION },
    uirevision: frontCost,
  }, (div) => listen(div, section));
  const card = document.getElementById("front-card"), current = rows.find((row) => row.hash === card.dataset.hash);
  showNetwork(search, current || rows.find((row) => row.hash === search.summary.winner.hash) || front.at(-1));
  if (pinned === null && !current) card.querySelector("h3").textContent = "The best network";
}
