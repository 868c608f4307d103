// What the search knows: its predictor, the features of good networks, and where its time went.

function showPredictor(data, search) {
  const rows = rowsOf(search).filter((row) => row.isGood && isNumber(row.predicted_mean)), told = search.predictions;
  const values = search.phases.map((phase) => `${PHASES[phase.phase]?.name || phase.phase} ${percent(phase.mean)} (${whole(phase.count)})`).join(", ");
  if (rows.length < 2) {
    const section = part("predictor", "Does the predictor know?", `No prediction can be compared yet: the predictor is fitted once some dozens of networks are trained.${values ? ` Mean validation accuracies so far: ${values}.` : ""}`, el("div", { class: "pair" }, el("div", {}, chart("predictor-chart")), el("div", { id: "taus" }, el("h3", {}, "Kendall's τ of each round: 1 is the right order, 0 is no idea"), chart("tau-chart"))));
    section.querySelector(".pair").hidden = true;
    return;
  }
  const judgement = told.kendall_tau > 0.5 ? "it knows much" : told.kendall_tau > 0.25 ? "it knows something" : "it knows little";
  const section = part("predictor", "Does the predictor know?", "", el("div", { class: "pair" }, el("div", {}, el("h3", {}, "Predicted before training, against measured"), chart("predictor-chart")), el("div", { id: "taus" }, el("h3", {}, "Kendall's τ of each round: 1 is the right order, 0 is no idea"), chart("tau-chart"))));
  section.querySelector(".pair").hidden = false;
  section.querySelector(".says").textContent = `For ${plural(told.count, "network")} there was a prediction before they were trained. Kendall's τ of all is ${told.kendall_tau.toFixed(2)}: ${judgement}. The mean error is ${points(told.mean_error)}. What its choices were worth, by mean validation accuracy: ${values}.`;
  const x = rows.map((row) => row.predicted_mean), y = rows.map((row) => row.val_acc_final);
  const ends = [Math.min(...x, ...y), Math.max(...x, ...y)];
  draw("predictor-chart", [
    { type: "scatter", mode: "lines", x: ends, y: ends, line: { color: css("muted"), dash: "dot", width: 1.5 }, hoverinfo: "skip" },
    { type: "scatter", mode: "markers", x, y, text: rows.map((row) => `round ${row.generation}`), hovertemplate: "predicted %{x:.1%}, measured %{y:.1%}<br>%{text}<extra></extra>", marker: { size: 8, opacity: 0.85, color: rows.map((row) => row.generation), colorscale: "Cividis", showscale: true, colorbar: { title: { text: "round", side: "right", font: { color: css("muted") } }, thickness: 10, outlinewidth: 0, tickfont: { color: css("muted") } } } },
  ], { xaxis: { title: "predicted validation accuracy", tickformat: ".0%" }, yaxis: { title: "measured", tickformat: ".0%" } });
  const rounds = search.generations.filter((round) => isNumber(round.kendall_tau));
  document.getElementById("taus").hidden = rounds.length < 2;
  if (rounds.length < 2) return;
  const near = rounds.map((_, i) => rounds.slice(Math.max(0, i - 7), i + 1)), mean = (list) => list.reduce((sum, r) => sum + r.kendall_tau, 0) / list.length;
  draw("tau-chart", [
    { type: "scatter", mode: "markers", name: "a round", x: rounds.map((r) => r.generation), y: rounds.map((r) => r.kendall_tau), marker: { color: css("predicted"), size: 6, opacity: 0.6 }, hovertemplate: "round %{x}: τ %{y:.2f}<extra></extra>" },
    { type: "scatter", mode: "lines", name: "mean of the last 8", x: rounds.map((r) => r.generation), y: near.map(mean), line: { color: css("best"), width: 2.5 }, hoverinfo: "skip" },
  ], { showlegend: true, xaxis: { title: "round" }, yaxis: { title: "Kendall's τ", range: [-1.05, 1.05] } });
}

const featureValue = (name, value) => (name === "global pooling" ? (value ? "yes" : "no") : short(value));

function showFeatures(data, search) {
  const { names, logs, explained } = search.features;
  if (!explained || !explained.curves.length) {
    const why = explained ? "Ten plain features of the networks do not predict their accuracy better than its mean does: nothing can be said yet." : "This needs 30 trained networks.";
    part("features", "What matters here", why, el("div", { id: "features-body", hidden: true }));
    return;
  }
  const order = names.map((_, i) => i).sort((a, b) => explained.importances[b] - explained.importances[a]);
  const says = `A model of ten plain features explains ${percent(explained.r2, 0)} of the differences in accuracy between networks that it was not fitted on. ${names[order[0]][0].toUpperCase()}${names[order[0]].slice(1)} and ${names[order[1]]} matter most. Features go together, as larger networks have more of everything: what one shows may be due to another. Kernels are in pixels, the receptive field in image sides, batch norms per convolution, dropout is the highest rate.`;
  const body = el("div", { id: "features-body" }, el("div", { class: "pair wide", style: "grid-template-columns:minmax(0,1fr) minmax(0,1.9fr)" }, el("div", {}, el("h3", {}, "How much larger its error is if a feature is shuffled, in points"), chart("importance-chart", 430)), el("div", {}, el("h3", {}, "Accuracy by one feature alone, the others as they are"), chart("effects-chart", 430))));
  const section = part("features", "What matters here", says, body);
  if (!section.querySelector("#importance-chart")) section.querySelector("#features-body").replaceWith(body);
  if (window.innerWidth <= 820) section.querySelector(".pair").style.gridTemplateColumns = "minmax(0,1fr)";
  draw("importance-chart", [{ type: "bar", orientation: "h", x: order.map((i) => 100 * Math.max(explained.importances[i], 0)), y: order.map((i) => names[i]), marker: { color: css("evolved") }, hovertemplate: "%{y}: %{x:.2f} points<extra></extra>" }], { xaxis: { title: "points" }, yaxis: { autorange: "reversed" } });
  const columns = isNarrow() ? 2 : 5, rows = Math.ceil(names.length / columns), heights = explained.curves.flatMap((curve) => curve[1]);
  const range = [Math.min(...heights) - 0.01, Math.max(...heights) + 0.01], layout = { grid: { rows, columns, pattern: "independent", xgap: 0.12, ygap: 0.32 }, annotations: [], margin: { l: 40, r: 8, t: 24, b: 30 } };
  const traces = order.map((feature, place) => {
    const n = place ? String(place + 1) : "", [x, y] = explained.curves[feature];
    layout[`xaxis${n}`] = { type: logs.includes(names[feature]) ? "log" : "linear", nticks: 4, showgrid: false, tickfont: { size: 10.5, color: css("muted") } };
    layout[`yaxis${n}`] = { range, tickformat: ".0%", nticks: 4, showticklabels: place % columns === 0, tickfont: { size: 10.5, color: css("muted") } };
    layout.annotations.push({ text: names[feature], xref: `x${n} domain`, yref: `y${n} domain`, x: 0, y: 1.02, xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 11.5, color: css("ink") } });
    return { type: "scatter", mode: "lines", x, y, xaxis: `x${n}`, yaxis: `y${n}`, line: { color: css("known"), width: 2.5 }, hovertemplate: `${names[feature]} %{x:.3s}: %{y:.1%}<extra></extra>` };
  });
  const div = document.getElementById("effects-chart");
  if (isNarrow()) div.style.height = "720px";
  draw("effects-chart", traces, layout);
}

let hasWebGL = null;
function showParallel(data, search) {
  const { names, logs, values } = search.features;
  const rows = rowsOf(search).filter((row) => row.isGood && values[row.index]), section = document.getElementById("parallel");
  section.hidden = rows.length < 3;
  if (rows.length < 3) return;
  hasWebGL ??= !!document.createElement("canvas").getContext("webgl");
  const says = hasWebGL ? "Each line is a network, from its features to its accuracy; light lines are the more accurate. Drag along an axis to see only the networks within that range, drag a name to move an axis." : "This browser has no WebGL, which this figure needs.";
  part("parallel", "All features at once", says, el("div", { class: "scroll", tabindex: 0 }, el("div", { id: "parallel-chart", style: "height:420px;min-width:1000px" })));
  if (!hasWebGL) { document.getElementById("parallel-chart").hidden = true; return; }
  const dimensions = names.map((name, i) => {
    const own = rows.map((row) => values[row.index][i]);
    if (!logs.includes(name)) return { label: name, values: own };
    const exponents = own.map((value) => Math.log10(Math.max(value, 1))), low = Math.floor(Math.min(...exponents)), high = Math.ceil(Math.max(...exponents));
    const tickvals = Array.from({ length: high - low + 1 }, (_, k) => low + k);
    return { label: name, values: exponents, tickvals, ticktext: tickvals.map((value) => short(10 ** value).replace(/\.0+ /, " ")) };
  });
  dimensions.push({ label: "accuracy", values: rows.map((row) => row.val_acc_final), tickformat: ".0%" });
  const color = { color: rows.map((row) => row.val_acc_final), colorscale: "Cividis" };
  draw("parallel-chart", [{ type: "parcoords", dimensions, line: color, labelfont: { color: css("ink"), size: 12 }, tickfont: { color: css("muted"), size: 10.5 }, rangefont: { color: "rgba(0,0,0,0)", size: 1 }, unselected: { line: { color: css("line"), opacity: 0.25 } }, labelangle: -14 }], { margin: { l: 60, r: 60, t: 74, b: 20 } });
}

// Rows in lanes: each begins in the first lane that is free.
function lanesOf(rows) {
  const ends = [], bars = [];
  for (const row of rows) row.start = Math.max(0, row.seconds - row.compile_seconds - row.train_seconds);
  for (const row of [...rows].sort((a, b) => a.start - b.start)) {
    let lane = ends.findIndex((end) => end <= row.start + 0.05 * (row.compile_seconds + row.train_seconds));
    if (lane < 0) lane = ends.push(0) - 1;
    ends[lane] = row.seconds;
    bars.push({ row, lane });
  }
  return { bars, count: ends.length };
}

function showMachine(data, search) {
  const rows = rowsOf(search).filter((row) => row.seconds > 0 && row.compile_seconds + row.train_seconds > 0);
  const section = document.getElementById("machine");
  section.hidden = !rows.length;
  if (!rows.length) return;
  const { bars, count } = lanesOf(rows), end = Math.max(...rows.map((row) => row.seconds)), sum = (name) => rows.reduce((total, row) => total + row[name], 0);
  const isAll = search.counts.shown === search.counts.trained;
  const says = `When each network was compiled and trained, on as many lines as there were at once (${count}).${isAll ? ` Until the last was done, ${duration(end)} passed: ${duration(sum("compile_seconds"))} of compiling and ${duration(sum("train_seconds"))} of training, side by side; gaps are for choosing networks and fitting the predictor.` : " Only the networks of this page are drawn."}`;
  part("machine", "Machine room", says, chart("machine-chart", 300));
  const [unitName, unit] = timeUnit(end), lanes = bars.map((bar) => bar.lane + 1);
  const bar = (name, color, base, width) => ({ type: "bar", orientation: "h", name, y: lanes, base: bars.map((b) => base(b.row) / unit), x: bars.map((b) => width(b.row) / unit), marker: { color, line: { width: bars.length < 100 ? 0.5 : 0, color: css("panel") } }, customdata: bars.map((b) => duration(width(b.row))), text: bars.map((b) => plain(shortHash(b.row.hash))), textposition: "none", hovertemplate: `${name} %{customdata}<br>%{text}<extra></extra>` });
  document.getElementById("machine-chart").style.height = `${Math.min(150 + 34 * count, 560)}px`;
  draw("machine-chart", [bar("compiling", css("known"), (r) => r.start, (r) => r.compile_seconds), bar("training", css("evolved"), (r) => r.start + r.compile_seconds, (r) => r.train_seconds)], {
    barmode: "overlay", bargap: 0.25, showlegend: true, xaxis: { title: `${unitName} of the search`, rangemode: "tozero" }, yaxis: { dtick: count > 12 ? null : 1, autorange: "reversed", title: "line", showgrid: false },
  });
}
