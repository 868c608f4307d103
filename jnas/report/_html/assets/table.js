// All rows, to sort, filter and copy; failures with their sentences; how the search was made.

const COLUMNS = [
  ["index", "#", (row) => row.index + 1], ["val_acc_final", "validation", (row) => percent(row.val_acc_final, 2)],
  ["train_acc_final", "training", (row) => percent(row.train_acc_final, 1)], ["predicted_mean", "predicted", (row) => percent(row.predicted_mean, 1)],
  ["params", "parameters", (row) => whole(row.params)], ["macs", "MACs", (row) => whole(row.macs)],
  ["latency_ms", "latency, ms", (row) => (isNumber(row.latency_ms) ? row.latency_ms.toFixed(2) : "–")],
  ["compile_seconds", "compiling", (row) => duration(row.compile_seconds)], ["train_seconds", "training time", (row) => duration(row.train_seconds)],
  ["generation", "round", (row) => row.generation], ["kind", "found by"], ["status", "status"], ["hash", "hash"],
];
const OPTIONAL = ["latency_ms", "predicted_mean"], TEXTS = ["kind", "status", "hash"], PAGE = 25;
const table = { by: "val_acc_final", isDown: true, words: "", status: "", limit: PAGE };

function filtered(search) {
  const words = table.words.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = rowsOf(search).filter((row) => {
    const text = `${row.hash} ${row.status} ${row.phase} ${PHASES[row.kind]?.name || row.phase} round ${row.generation}`.toLowerCase();
    return (!table.status || row.status === table.status) && words.every((word) => text.includes(word));
  });
  const sign = table.isDown ? -1 : 1, name = table.by;
  return rows.sort((a, b) => {
    const [x, y] = [a[name], b[name]];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (typeof x === "string" ? x.localeCompare(y) : x - y) || a.index - b.index;
  });
}

function cells(row, columns) {
  return columns.map(([name, , show]) => {
    if (name === "kind") return el("td", {}, el("i", { class: "dot", style: `background:var(--${row.kind})` }), row.kind === "predicted" ? "predictor" : row.phase);
    if (name === "status") return el("td", {}, row.status === "ok" ? "ok" : el("span", { class: "badge" }, row.status));
    if (name === "hash") return el("td", {}, el("code", { title: row.hash }, shortHash(row.hash, 10)), copyButton(row.hash));
    return el("td", { class: "n" }, String(show(row)));
  });
}

function fillTable(search) {
  const all = rowsOf(search), rows = filtered(search);
  const columns = COLUMNS.filter(([name]) => !OPTIONAL.includes(name) || all.some((row) => isNumber(row[name])));
  const head = columns.map(([name, label]) => {
    const isSorted = table.by === name;
    const button = el("button", { type: "button", "data-column": name }, `${label}${isSorted ? (table.isDown ? " ▼" : " ▲") : ""}`);
    button.onclick = () => {
      table.isDown = isSorted ? !table.isDown : !TEXTS.includes(name);
      table.by = name;
      fillTable(search);
    };
    return el("th", { class: TEXTS.includes(name) ? null : "n", "aria-sort": isSorted ? (table.isDown ? "descending" : "ascending") : null }, button);
  });
  const section = document.getElementById("rows");
  section.querySelector("thead").replaceChildren(el("tr", {}, head));
  section.querySelector("tbody").replaceChildren(...rows.slice(0, table.limit).map((row) => el("tr", {}, cells(row, columns))));
  section.querySelector(".grow").textContent = `${whole(Math.min(rows.length, table.limit))} of ${plural(rows.length, "row")}${rows.length < all.length ? ` that match, of ${whole(all.length)}` : ""}`;
  const more = section.querySelector("#more");
  more.hidden = rows.length <= table.limit;
  more.textContent = `Show all ${whole(rows.length)}`;
  more.onclick = () => { table.limit = Infinity; fillTable(search); };
}

function toCsv(search) {
  const names = ["hash", "phase", "generation", "status", "val_acc_final", "train_acc_final", "predicted_mean", "params", "macs", "latency_ms", "seconds", "compile_seconds", "train_seconds"];
  const cell = (value) => (value === null || value === undefined ? "" : String(value));
  return [names.join(","), ...filtered(search).map((row) => names.map((name) => cell(row[name])).join(","))].join("\n");
}

function showRows(data, search) {
  const statuses = Object.keys(search.counts.by_status), section = document.getElementById("rows");
  section.search = search;
  const says = "One row a network. A click on a name sorts; the field takes any words of a row, such as a status, a round or the beginning of a hash.";
  const now = () => section.search;
  part("rows", "All rows", says,
    el("div", { class: "tools" },
      el("input", { type: "search", placeholder: "Filter, such as evolved or round 12", "aria-label": "Filter rows", oninput: (event) => { table.words = event.target.value; fillTable(now()); } }),
      el("select", { "aria-label": "Status", onchange: (event) => { table.status = event.target.value; fillTable(now()); } }),
      el("button", { type: "button", class: "plain", onclick: () => {
        const link = el("a", { href: URL.createObjectURL(new Blob([toCsv(now())], { type: "text/csv" })), download: `jnas-${now().id}.csv` });
        link.click();
      } }, "Download as CSV"), el("span", { class: "grow", role: "status" })),
    el("div", { class: "scroll", tabindex: 0 }, el("table", {}, el("thead"), el("tbody"))), el("p", {}, el("button", { type: "button", class: "plain", id: "more", style: "margin-top:12px" })));
  const options = [["", "every status"], ...statuses.map((status) => [status, `${status} (${whole(search.counts.by_status[status])})`])];
  section.querySelector("select").replaceChildren(...options.map(([value, name]) => el("option", { value, selected: value === table.status }, name)));
  fillTable(search);
}

function showFailures(data, search) {
  const section = document.getElementById("failures"), failures = search.failures, count = search.counts.trained - (search.counts.by_status.ok || 0);
  section.hidden = !failures.length;
  if (!failures.length) return;
  part("failures", "What was not trained to the end", `${plural(count, "network")} of ${whole(search.counts.trained)}, by reason. They count as tried, and cost the search nothing more.`,
    el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["networks", "status", "what was said", "for example"].map((name, i) => el("th", { class: i ? null : "n" }, el("span", {}, name))))), el("tbody"))));
  section.querySelector("tbody").replaceChildren(...failures.map((one) => el("tr", {}, el("td", { class: "n" }, whole(one.count)), el("td", {}, el("span", { class: "badge" }, one.status)), el("td", { class: "wrapped" }, one.message || "–"), el("td", {}, el("code", {}, shortHash(one.hash)), copyButton(one.hash)))));
}

function settings(values) {
  const text = (value) => (Array.isArray(value) ? value.join(" ") : typeof value === "object" && value !== null ? JSON.stringify(value) : String(value));
  return el("dl", { class: "facts" }, Object.entries(values).filter(([, value]) => value !== null && text(value) !== "").map(([name, value]) => [el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, text(value))]));
}

function showMade(data, search) {
  const made = search.made, section = document.getElementById("made");
  const facts = { data: made.dataset_name, "fingerprint of the images": made.dataset_fingerprint, "images": `${made.in_shape.split("x").slice(1).join(" × ")} pixels, ${plural(Number(made.in_shape.split("x")[0]), "channel")}, ${plural(made.num_classes, "class", "classes")}`, begun: when(made.started_at), "last row": when(made.finished_at), device: made.devices.join(", "), seed: made.seed, commit: made.git_commit, versions: Object.entries(made.versions).map(([name, version]) => `${name} ${version}`).join(", ") };
  part("made", "How it was made", "The command with all its settings: it trains the same networks again, on images of the same fingerprint.", el("pre"), el("div", { id: "made-facts" }));
  const command = section.querySelector("pre"), button = copyButton(made.command);
  button.className = "plain";
  command.replaceChildren(made.command, " ", button);
  const fold = (title, values) => (Object.keys(values).length ? el("details", {}, el("summary", {}, title), settings(values)) : "");
  const wasOpen = [...section.querySelectorAll("details")].map((one) => one.open);
  section.querySelector("#made-facts").replaceChildren(...[settings(facts), fold("All settings of the search", made.config), fold("How each network was trained", made.recipe), fold("How the winner was trained", made.final_recipe)].filter(Boolean));
  section.querySelectorAll("details").forEach((one, i) => (one.open = !!wasOpen[i]));
}
