// The page as a whole: its parts in their order, and what is new while a search runs.

const PARTS = [
  ["overview", "Overview", showOverview], ["progress", "Best so far", showProgress], ["front", "Front", showFront],
  ["winner", "Winner", showWinner], ["mistakes", "Mistakes", showMistakes], ["curves", "Curves", showCurves],
  ["predictor", "Predictor", showPredictor], ["features", "What matters", showFeatures], ["parallel", "Parallel", showParallel],
  ["machine", "Machine room", showMachine], ["rows", "Rows", showRows], ["failures", "Failures", showFailures], ["made", "How made", showMade],
];
const POLL_SECONDS = 3, SILENT_SECONDS = 180;
const page = { data: window.jnasData, chosen: null, drawn: 0 };

function chosenSearch() {
  return page.data.searches.find((search) => search.id === page.chosen) || page.data.searches[0];
}

function choose(id) {
  page.chosen = id;
  pinned = pickedCost = null;
  delete document.getElementById("front-card")?.dataset.hash;
  show();
}

// Draws part after part, and lets the browser show each one before the next.
async function show() {
  const turn = ++page.drawn, search = chosenSearch();
  const best = search.summary.best;
  document.title = `${best ? `${percent(best.val_acc_final)} · ` : ""}${search.made.dataset_name || search.id} · jnas`;
  tick();
  for (const [id, , draws] of PARTS) {
    if (turn !== page.drawn) return;
    const isEmpty = !search.counts.trained && ["predictor", "features", "rows"].includes(id);
    if (isEmpty) document.getElementById(id).hidden = true;
    else draws(page.data, search);
    await new Promise((done) => setTimeout(done));
  }
  const links = PARTS.filter(([id]) => !document.getElementById(id).hidden).map(([id, name]) => el("a", { href: `#${id}` }, name));
  document.querySelector(".top nav").replaceChildren(...links);
  document.documentElement.dataset.drawn = String(page.data.written_at);
}

// Every second: how much time is left, and whether the search has been heard of lately.
function tick() {
  const { is_live: isLive, written_at: written, seconds_left: left, note } = page.data, state = document.getElementById("state");
  const silence = Date.now() / 1000 - written;
  const isSilent = isLive && silence > SILENT_SECONDS;
  state.classList.toggle("live", isLive && !isSilent);
  if (!isLive) state.textContent = chosenSearch().summary.winner?.is_chosen ? "finished" : "not finished";
  else if (isSilent) state.textContent = `no news for ${duration(silence)}`;
  else state.textContent = isNumber(left) && left - silence > 0 ? `${duration(left - silence)} left` : "running";
  state.title = isSilent ? "The search may have been stopped: the same command goes on with it." : note || "";
  const bar = document.querySelector(".meter i"), end = chosenSearch().steps.end;
  if (bar && isNumber(left)) bar.style.width = `${(100 * (end + silence)) / Math.max(end + Math.max(left, silence), 1)}%`;
}

window.jnasUpdate = (data) => {
  if (data.written_at <= page.data.written_at) return;
  page.data = data;
  show();
};

function poll() {
  if (!page.data.is_live) return;
  const script = el("script", { src: `data.js?${Date.now()}` });
  script.onload = script.onerror = () => script.remove();
  document.head.append(script);
  setTimeout(poll, 1000 * POLL_SECONDS);
}

document.getElementById("main").append(...PARTS.map(([id]) => el("section", { id })));
document.querySelector("footer").textContent = "Written by jnas. Drag within a figure to enlarge a part, double-click to see all of it again. Accuracies are on validation images, after the last epoch, unless they are called otherwise. Nothing on this page comes from the net.";
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
show();
poll();
setInterval(tick, 1000);
