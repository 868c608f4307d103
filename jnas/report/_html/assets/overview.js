// The head of the page, and the best so far over time.

const COLORS_OF_SEARCHES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a94a0", "#a39a00"];

function headline(search, data) {
  const { best, known, winner } = search.summary, made = search.made, trained = search.counts.trained;
  const finals = winner?.finals || [], mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [tested, validated] = ["test_acc_final", "val_acc_final"].map((name) => finals.map((row) => row[name]).filter(isNumber));
  const seeds = (values) => (values.length > 1 ? `, mean of ${values.length} seeds` : "");
  const big = tested.length ? [percent(mean(tested)), `test accuracy of the winner${seeds(tested)}`]
    : validated.length ? [percent(mean(validated)), `validation accuracy of the winner${seeds(validated)}`]
    : [percent(best?.val_acc_final), `best validation accuracy${data.is_live ? " so far" : ""}`];
  const failed = trained - (search.counts.by_status.ok || 0);
  const tiles = [
    [whole(trained), `network${trained === 1 ? "" : "s"} trained${failed ? `, ${whole(failed)} not to the end` : ""}`],
    [short(winner?.params), "parameters of the best"],
    [short(winner?.macs), "MACs for one image"],
    [percent(best?.val_acc_final), "best validation accuracy in the search"],
    [percent(known?.val_acc_final), "best known network in the search"],
    isNumber(search.seconds) ? [duration(search.seconds), "time of the search"] : [trained ? duration(search.steps.end) : "–", "until the last of them"],
  ].filter(([value]) => value !== "–");
  const classes = `${made.num_classes} classes, images of ${made.in_shape.split("x").slice(1).join(" × ")} pixels`;
  const meta = [`search ${search.id}`, `begun ${when(made.started_at)}`, classes, ...made.devices.slice(0, 2)].join(" · ");
  return [
    el("div", { class: "hero" },
      el("div", {}, el("h1", {}, made.dataset_name || "Search"), el("p", { class: "meta" }, meta)),
      el("div", { class: "big" }, el("b", {}, big[0]), el("span", {}, big[1]))),
    el("p", { class: "lead" }, compare(search)),
    data.is_live ? el("div", { class: "meter", hidden: !isNumber(data.seconds_left) }, el("i", { style: "width:0" })) : "",
    data.is_live && data.note ? el("p", { class: "note" }, `At the moment: ${data.note}.`) : "",
    el("div", { class: "tiles" }, tiles.map(([value, name]) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, name)))),
    leftOut(search),
  ];
}

// What the search brought over the best network that it began with.
function compare(search) {
  const { best, known } = search.summary.promoted || search.summary, winner = search.summary.winner;
  if (!best) return search.counts.trained ? "None of the networks could be trained yet: see the failures below." : "No network has been trained yet: the first ones appear here as soon as they are.";
  if (!known) return `The best of ${whole(search.counts.trained)} networks has a validation accuracy of ${percent(best.val_acc_final)}. The search began with no known network to compare it with.`;
  const gain = best.val_acc_final - known.val_acc_final;
  if (best.hash === known.hash) return `Nothing that was tried${winner.is_chosen ? "" : " so far"} is better than the best known network (${known.chain}), which has ${percent(known.val_acc_final)} after the same training.`;
  const noise = isNumber(best.error) && isNumber(known.error) ? Math.hypot(best.error, known.error) : null;
  const share = winner.params / known.params;
  const size = `with ${share >= 0.995 && share < 1.005 ? "as many" : `${share.toPrecision(2)} times the`} parameters`;
  const doubt = noise === null ? "" : ` The noise of such a difference is ${points(noise)}${gain < 2 * noise ? ", so it may be chance." : "."}`;
  return `The best network is ${points(gain)} ahead of the best that people build by hand (${known.chain}, ${percent(known.val_acc_final)}) after the same training, ${size}.${doubt}`;
}

function leftOut(search) {
  const { trained, shown } = search.counts;
  if (trained === shown) return "";
  return el("p", { class: "left-out" },
    `${whole(trained - shown)} of ${whole(trained)} networks are left out of the figures and of the table, so that the page stays fast: it has the best, the fronts, every one that was the best so far, and others in even steps. Counts, means and the best so far are of all. `,
    el("code", {}, "jnas store STORE --export rows.csv"), " writes every row.");
}

function sideBySide(searches) {
  const tested = (search) => (search.summary.winner?.finals || []).map((row) => row.test_acc_final).find(isNumber);
  const lines = [
    ["data", (s) => s.made.dataset_name], ["begun", (s) => when(s.made.started_at)],
    ["networks trained", (s) => whole(s.counts.trained)], ["until the last of them", (s) => duration(s.steps.end)],
    ["best known network, validation", (s) => percent(s.summary.known?.val_acc_final)],
    ["best, validation", (s) => percent(s.summary.best?.val_acc_final)], ["winner, test", (s) => percent(tested(s))],
    ["winner's parameters", (s) => short(s.summary.winner?.params)], ["winner's MACs", (s) => short(s.summary.winner?.macs)],
  ];
  const head = el("tr", {}, el("th", {}, el("span", {}, "search")), searches.map((s, i) => el("th", { class: "n" }, el("span", {}, el("i", { class: "dot", style: `background:${COLORS_OF_SEARCHES[i]}` }), s.id))));
  const body = lines.map(([name, value]) => el("tr", {}, el("td", {}, name), searches.map((s) => el("td", { class: "n" }, String(value(s))))));
  return el("div", { class: "scroll compare" }, el("table", {}, el("thead", {}, head), el("tbody", {}, body)));
}

function showOverview(data, search) {
  const section = document.getElementById("overview");
  if (data.searches.length > 1) {
    const differ = new Set(data.searches.map((s) => s.made.dataset_fingerprint)).size > 1;
    const warning = differ ? "These searches had different images: their accuracies cannot be compared. " : "";
    section.replaceChildren(el("h1", {}, `${data.searches.length} searches side by side`),
      el("p", { class: "says" }, `${warning}The first figure has all of them; the rest of the page is of the one that is chosen below.`),
      sideBySide(data.searches),
      switcher(data.searches.map((s) => [s.id, s.id]), search.id, (id) => choose(id)), ...headline(search, data));
  } else section.replaceChildren(...headline(search, data));
}

function stepLine(search, color, name, unit) {
  const { seconds, accuracies, errors, end } = search.steps;
  const x = [...seconds, end].map((value) => value / unit), y = [...accuracies, accuracies.at(-1)];
  const error = [...errors, errors.at(-1)].map((value) => value || 0);
  const band = { x, type: "scatter", mode: "lines", hoverinfo: "skip", showlegend: false, line: { width: 0, shape: "hv" } };
  const width = error.some((value) => value > 0) ? [
    { ...band, y: y.map((value, i) => value - error[i]) },
    { ...band, y: y.map((value, i) => value + error[i]), fill: "tonexty", fillcolor: color.length === 7 && color !== css("best") ? `${color}2b` : css("band") },
  ] : [];
  return [...width, { type: "scatter", mode: "lines", name, x, y, line: { shape: "hv", width: 2.5, color }, hovertemplate: `%{y:.1%} after %{x:.1f}<extra>${plain(name)}</extra>` }];
}

function showProgress(data, search) {
  const several = data.searches.length > 1, rows = rowsOf(search).filter((row) => row.isGood);
  const [unitName, unit] = timeUnit(Math.max(...data.searches.map((s) => s.steps.end)));
  const known = search.summary.known, noise = search.summary.best?.error;
  const says = !rows.length ? "Each network will be a point here, as soon as it is trained."
    : several ? "The best validation accuracy so far in each search, a line a search; the bands around them are the noise of one accuracy. Where bands overlap, the difference may be chance."
    : `Each point is a network: its validation accuracy after the last epoch of its training in the search. The line is the best so far${isNumber(noise) ? `; the band around it is the noise of one accuracy, ±${points(noise)} on ${whole(search.num_val)} images. Points within the band may be better by chance only` : ""}.`;
  part("progress", "Best so far", says, chart("progress-chart", isNarrow() ? 340 : 400));
  const hasRows = data.searches.some((s) => s.steps.seconds.length);
  document.getElementById("progress-chart").hidden = !hasRows;
  if (!hasRows) return;
  const dots = several ? [] : pointsOf(rows, (row) => row.seconds / unit, (row) => row.val_acc_final);
  const lines = data.searches.flatMap((s, i) => !s.steps.seconds.length ? [] : stepLine(s, several ? COLORS_OF_SEARCHES[i] : css("best"), several ? s.id : "best so far", unit));
  const shapes = known && !several ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: known.val_acc_final, y1: known.val_acc_final, line: { color: css("known"), dash: "dash", width: 1.5 } }] : [];
  const annotations = shapes.map(() => ({ xref: "paper", x: 1, y: known.val_acc_final, xanchor: "right", yanchor: "top", showarrow: false, bgcolor: css("panel"), opacity: 0.9, font: { size: 11.5, color: css("known") }, text: `best known network ${percent(known.val_acc_final)}` }));
  draw("progress-chart", [...lines.slice(0, -1), ...dots, ...lines.slice(-1)], {
    showlegend: true, shapes, annotations, xaxis: { title: `${unitName} of the search`, rangemode: "tozero" }, yaxis: { title: "validation accuracy", tickformat: ".0%", ...FRACTION },
  });
}
