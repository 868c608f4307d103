"use strict";
// Elements, numbers with their units, and figures in the colours of the page.

const PHASES = {
  known: { name: "known networks", symbol: "diamond", size: 11 },
  random: { name: "random", symbol: "circle-open", size: 8 },
  evolved: { name: "evolved", symbol: "circle", size: 8 },
  predicted: { name: "chosen by the predictor", symbol: "square", size: 7 },
};
const FONT = 'system-ui, -apple-system, "Segoe UI", sans-serif';
const isNarrow = () => window.innerWidth < 640;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const isNumber = (value) => typeof value === "number" && isFinite(value);

function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "onclick" || name === "oninput" || name === "onchange") element[name] = value;
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

// Text for plotly, which takes some tags as markup.
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

const percent = (value, digits = 1) => (isNumber(value) ? `${(100 * value).toFixed(digits)}\u00a0%` : "–");
const points = (value) => `${(100 * Math.abs(value)).toFixed(1)} points`;
const whole = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en-US") : "–");
const FRACTION = { minallowed: 0, maxallowed: 1 }; // of an axis of accuracies
const plural = (count, one, many = `${one}s`) => `${whole(count)} ${count === 1 ? one : many}`;

function short(value) {
  if (!isNumber(value)) return "–";
  for (const [unit, factor] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (value >= factor) {
      const scaled = value / factor;
      return `${scaled.toFixed(scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2)} ${unit}`;
    }
  }
  return value >= 10 || Number.isInteger(value) ? String(Math.round(value)) : value.toPrecision(3);
}

function duration(seconds) {
  if (!isNumber(seconds)) return "–";
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds - 60 * minutes)} s`.replace("60 s", "59 s");
  return minutes < 2880 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${(minutes / 1440).toFixed(1)} days`;
}

// A unit in which times up to `most` seconds are short numbers.
const timeUnit = (most) => (most > 72000 ? ["hours", 3600] : most > 240 ? ["minutes", 60] : ["seconds", 1]);

function when(text) {
  return text ? `${text.slice(0, 10)}, ${text.slice(11, 16)} UTC` : "–";
}

const shortHash = (hash, most = 16) => (hash.length > most + 2 ? `${hash.slice(0, most)}…` : hash);

function rowsOf(search) {
  if (!search.list) {
    const columns = search.rows, names = Object.keys(columns);
    search.list = columns.hash.map((_, index) => {
      const row = { index };
      for (const name of names) row[name] = columns[name][index];
      row.kind = row.phase === "evolved" && isNumber(row.predicted_mean) ? "predicted" : row.phase;
      row.isGood = row.status === "ok" && isNumber(row.val_acc_final);
      return row;
    });
  }
  return search.list;
}

function part(id, title, says, ...content) {
  const section = document.getElementById(id);
  section.hidden = false;
  if (!section.firstChild) {
    section.append(el("h2", {}, title), el("p", { class: "says", id: `${id}-says` }), ...content);
    for (const figure of section.querySelectorAll(".chart")) {
      figure.setAttribute("aria-label", title);
      figure.setAttribute("aria-describedby", `${id}-says`);
    }
  }
  const sentence = section.querySelector(".says");
  sentence.replaceChildren(...[says].flat());
  return section;
}

const chart = (id, height) => el("div", { id, class: "chart", role: "img", style: height ? `height:${height}px` : null });

// Figures are drawn once plotly, the last script, is there, when they come near the window: all at once would be slow.
const ready = new Promise((done) => window.addEventListener("load", done));
const waiting = new Map();
const observer = new IntersectionObserver((entries) => entries.forEach((entry) => entry.isIntersecting && drawNow(entry.target)), { rootMargin: "400px" });
window.addEventListener("beforeprint", () => [...waiting.keys()].forEach(drawNow));

function drawNow(div) {
  observer.unobserve(div);
  const draws = waiting.get(div);
  waiting.delete(div);
  if (!window.Plotly) div.textContent = "This figure needs the file plotly.min.js beside the page.";
  else if (draws) draws();
}

function draw(id, traces, layout = {}, then = null) {
  const div = document.getElementById(id), ink = css("ink"), muted = css("muted"), line = css("line");
  const axis = (given = {}) => ({
    gridcolor: line, zeroline: false, linecolor: line, automargin: true, tickfont: { color: muted },
    ...given, title: { text: given.title || "", font: { size: 12.5, color: muted }, standoff: 10 },
  });
  const full = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: FONT, size: 12.5, color: ink },
    margin: { l: 52, r: 14, t: 10, b: 44 }, uirevision: "same", hovermode: "closest", showlegend: false,
    legend: { orientation: "h", x: 0, y: 1.03, yanchor: "bottom", font: { color: muted, size: 12 } },
    hoverlabel: { bgcolor: css("panel"), bordercolor: line, font: { color: ink, family: FONT } },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    ...layout,
  };
  const axes = Object.keys(full).filter((name) => /^[xy]axis\d*$/.test(name));
  for (const name of new Set(["xaxis", "yaxis", ...axes])) full[name] = axis(full[name]);
  const options = { displaylogo: false, responsive: true, displayModeBar: false };
  waiting.set(div, () => {
    Plotly.react(div, traces, full, options);
    if (then) then(div);
  });
  ready.then(() => {
    observer.unobserve(div);
    observer.observe(div);
  });
}

function pointsOf(rows, x, y, extra = {}) {
  const kinds = Object.keys(PHASES).reverse().filter((kind) => rows.some((row) => row.kind === kind));
  return kinds.map((kind) => {
    const own = rows.filter((row) => row.kind === kind), phase = PHASES[kind];
    return {
      type: "scatter", mode: "markers", name: phase.name, x: own.map(x), y: own.map(y), customdata: own.map((row) => row.index),
      marker: { color: css(kind), symbol: phase.symbol, size: phase.size, opacity: 0.78, line: { width: kind === "random" ? 1.5 : 0 } },
      text: own.map((row) => `<b>${percent(row.val_acc_final)}</b> ${plain(phase.name)}<br>${short(row.params)} parameters, ${short(row.macs)} MACs<br>${plain(shortHash(row.hash))}`),
      hovertemplate: "%{text}<extra></extra>", ...extra,
    };
  });
}

function switcher(names, chosen, choose) {
  const box = el("div", { class: "switch", role: "group" });
  for (const [value, name, isOff] of names) {
    const button = el("button", { type: "button", "aria-pressed": String(value === chosen), disabled: isOff }, name);
    button.onclick = () => {
      for (const other of box.children) other.setAttribute("aria-pressed", String(other === button));
      choose(value);
    };
    box.append(button);
  }
  return box;
}

function copyButton(text, label = "copy") {
  const button = el("button", { type: "button", title: `Copy ${text.length > 60 ? "it" : text}` }, label);
  button.onclick = async (event) => {
    event.stopPropagation();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = el("textarea", { style: "position:fixed;opacity:0" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "copied";
    setTimeout(() => (button.textContent = label), 1200);
  };
  return button;
}
