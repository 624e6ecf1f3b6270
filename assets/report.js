
// ---- The page of the report: draws one view (a target) at a time ----

const report = JSON.parse(document.getElementById("data").textContent);
const clickable = report.answer.some((token) => token.clickable);
const legend =
  report.measure === "score"
    ? { low: null, high: `higher ${report.score_name}` }
    : { low: "speaks against", high: "speaks for" };
let shownWord = report.explained_word;
let shownUnit = null;

function percentOf(value, low, high) {
  return ((value - low) / (high - low)) * 100;
}

// Round factors, with 1 ("same") between the two directions, about as many as there is room for.
function axisTicks(low, high) {
  const factors = [1.1, 1.2, 1.5, 2, 3, 5, 10, 30, 100, 1000, 1e4, 1e6, 1e9, 1e12, 1e15, 1e20];
  const gap = (high - low) / 6;
  const side = (end) => {
    let last = 0;
    return factors.map(Math.log).filter((place) => {
      const kept = place <= end && place - last >= gap;
      if (kept) last = place;
      return kept;
    });
  };
  return [...side(-low).map((place) => -place), 0, ...side(high)];
}

function tickLabel(place) {
  if (place === 0) return "same";
  const factor = Number(Math.exp(Math.abs(place)).toPrecision(2));
  return `×${factor < 1e6 ? factor.toLocaleString("en") : factor.toExponential(0)}`;
}

function drawBars(view) {
  const place = document.getElementById("bars");
  if (view.bars.length === 0) {
    place.replaceChildren(element("p", "note", "No effect is known yet."));
    return;
  }
  const low = Math.min(0, ...view.bars.map((bar) => bar.low ?? bar.effect));
  const high = Math.max(0, Math.log(2), ...view.bars.map((bar) => bar.high ?? bar.effect));
  const x = (value) => percentOf(value, low, high);
  const span = (className, from, to) => {
    const made = element("div", className);
    made.style.left = `${x(Math.min(from, to))}%`;
    made.style.width = `${Math.abs(x(to) - x(from))}%`;
    return made;
  };
  const rows = view.bars.map((bar) => {
    const row = element("div", bar.unit === shownUnit ? "bar chosen" : "bar");
    const name = element("div", "name", bar.name);
    name.dir = "auto";
    name.title = bar.name;
    const track = element("div", "track");
    track.title = bar.words;
    track.append(span(bar.effect < 0 ? "fill against" : "fill", 0, bar.effect));
    if (bar.low !== null) track.append(span("range", bar.low, bar.high));
    const zero = element("div", "zero");
    zero.style.left = `${x(0)}%`;
    track.append(zero);
    row.append(name, track);
    return row;
  });
  const axis = element("div", "axis");
  const track = element("div", "track");
  for (const value of axisTicks(low, high)) {
    const tick = element("span", "tick", tickLabel(value));
    tick.style.left = `${x(value)}%`;
    track.append(tick);
  }
  axis.append(element("div", ""), track);
  place.replaceChildren(...rows, axis);
}

function drawTable(view) {
  const rows = view.rows.map((row) => {
    const line = element("tr", "");
    const name = element("td", "", row.name);
    name.dir = "auto";
    line.append(
      name,
      element("td", "", row.words ?? "not known yet"),
      element("td", "number", row.effect === null ? "" : row.effect.toFixed(2)),
      element("td", "number", row.score === null ? "" : row.score.toFixed(4)),
    );
    return line;
  });
  document.querySelector("#scores tbody").replaceChildren(...rows);
}

function draw() {
  const view = report.views[shownWord === null ? 0 : report.view_of_word[shownWord]];
  document.getElementById("sentence").textContent = view.sentence;
  document.getElementById("fact").textContent = view.fact ?? "";
  document.getElementById("verdict").textContent = view.verdict;
  document
    .getElementById("warnings")
    .replaceChildren(...view.warnings.map((warning) => element("li", "", warning)));
  updateStrip(
    document.getElementById("answer"),
    { label: "Answer", tokens: report.answer, selected: shownWord, legend: null },
    (word) => {
      shownWord = word;
      draw();
    },
  );
  const chosen = view.tokens.findIndex((token) => shownUnit !== null && token.unit === shownUnit);
  updateStrip(
    document.getElementById("prompt"),
    {
      label: "Prompt",
      tokens: view.tokens,
      selected: chosen < 0 ? null : chosen,
      legend,
    },
    (token) => {
      shownUnit = token === null ? null : view.tokens[token].unit;
      drawBars(view);
    },
  );
  drawBars(view);
  drawTable(view);
}

if (clickable) {
  document.getElementById("answer-hint").textContent =
    "Click a word to see what made the model say it; click it again for the whole answer.";
}
draw();
