// The winner, what it gets right and wrong, and learning curves.

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
  const y = { tickformat: ".0%", title: "validation accuracy", ...FRACTION }, axis = (most) => ({ title: "epoch", rangemode: "tozero", dtick: most <= 12 ? 1 : null });
  draw("curves-chart", traces, { showlegend: true, xaxis: axis(Math.max(...rows.map((row) => curves[row.hash].length))), yaxis: y });
  document.getElementById("finals").hidden = !finals.length;
  if (finals.length) draw("finals-chart", finals.flatMap((one, i) => [["val", "validation", "evolved", "solid"], ["train", "training", "known", "dot"]].map(([name, label, color, dash]) => ({
    type: "scatter", mode: one[name].length > 8 ? "lines" : "lines+markers", name: label, showlegend: i === 0, x: one[name].map((_, k) => k + 1), y: one[name], line: { color: css(color), width: 2.5, dash }, hovertemplate: `epoch %{x}: %{y:.1%} ${label}<extra></extra>`,
  }))), { showlegend: true, xaxis: axis(Math.max(...finals.map((one) => one.val.length))), yaxis: { ...y, title: "accuracy" } });
}
