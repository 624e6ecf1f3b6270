// A strip of tokens: colours, tooltips, selection by mouse and keyboard.
//
// The same file serves Streamlit (the default export at the end) and the HTML report
// (`updateStrip`). Token text enters through textContent only.
//
// data = {
//   label: name of the strip for screen readers,
//   tokens: [{text, weight, lines, clickable, muted, fold, mark}],   see reagent_core/strip.py
//   selected: index of a token, or null; a list of indices where several can be selected,
//   legend: {low, high, marks} words at the ends of the colour scale, or null; low null: one-sided
//     scale; marks: [[mark, what it means]]
// }

const LEVELS = 10; // as in reagent_core/colours.py
const TIP_GAP = 6; // pixels between a token and its tooltip

const strips = new WeakMap();

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function levelClass(weight) {
  if (weight === null) return "plain";
  const level = Math.round(Math.max(-1, Math.min(1, weight)) * LEVELS);
  if (level === 0) return "";
  return (level > 0 ? "p" : "n") + Math.abs(level);
}

// The ink of a token is what gets its colour: not the blanks before it, which would also colour
// the ends of lines.
function fillToken(span, text) {
  const leading = text.match(/^ */)[0];
  const ink = element("span", "ink");
  if (leading.length === text.length) {
    fillText(ink, text);
  } else {
    if (leading) fillText(span, leading);
    fillText(ink, text.slice(leading.length));
  }
  span.append(ink);
  return ink;
}

// Blanks, tabs and newlines stay real characters (so copying gives the true text); the visible
// mark is drawn by the style sheet.
function fillText(span, text) {
  if (text === "") {
    span.append(element("span", "empty", "∅"));
    return;
  }
  for (const run of text.match(/\n|\t| |[^\n\t ]+/g)) {
    if (run === "\n") span.append(element("span", "newline", ""), "\n");
    else if (run === "\t") span.append(element("span", "tab", "\t"));
    else if (run === " ") span.append(element("span", "blank", " "));
    else span.append(run);
  }
}

class Strip {
  constructor(parent) {
    this.root = element("div", "strip");
    this.legend = element("div", "legend");
    this.legend.setAttribute("aria-hidden", "true");
    this.box = element("div", "box");
    this.box.setAttribute("role", "toolbar");
    this.box.dir = "auto";
    this.tip = element("div", "tip");
    this.tip.setAttribute("popover", "manual");
    this.tip.setAttribute("role", "tooltip");
    this.root.append(this.legend, this.box, this.tip);
    parent.append(this.root);
    this.tokens = [];
    this.spans = []; // one element a token
    this.inks = []; // the coloured part of each
    this.shape = null;
    this.shown = null; // index of the token whose tooltip is open
    this.current = null; // the one element of the strip that Tab reaches
    this.selected = null;
    this.onSelect = () => {};
    this.onScroll = () => this.followTip();
    this.listen();
  }

  listen() {
    const at = (event) => {
      const span = event.target.closest("[data-index]");
      return span ? Number(span.dataset.index) : null;
    };
    this.box.addEventListener("click", (event) => {
      const toggle = event.target.closest(".fold");
      if (toggle) this.unfold(toggle);
      else if (at(event) !== null) this.choose(at(event));
    });
    this.box.addEventListener("pointerover", (event) => {
      // A finger has no hover: there the tooltip comes with the focus of a tap.
      if (event.pointerType !== "touch") this.showTip(at(event));
    });
    this.box.addEventListener("pointerleave", () => this.hideTip());
    this.box.addEventListener("focusin", (event) => {
      this.makeCurrent(event.target);
      this.showTip(at(event));
    });
    this.box.addEventListener("focusout", () => this.hideTip());
    this.box.addEventListener("keydown", (event) => this.onKey(event));
  }

  update(data) {
    const shape = JSON.stringify(data.tokens.map((t) => [t.text, t.clickable, t.muted, t.fold]));
    this.tokens = data.tokens;
    this.box.setAttribute("aria-label", data.label);
    this.drawLegend(data.legend);
    if (shape !== this.shape) {
      this.build();
      this.shape = shape;
    }
    this.tokens.forEach((token, i) => this.paint(token, this.spans[i], this.inks[i]));
    this.mark(data.selected ?? null);
    if (this.shown !== null) this.fillTip();
  }

  build() {
    this.hideTip();
    const fragment = document.createDocumentFragment();
    this.inks = [];
    this.spans = this.tokens.map((token, index) => {
      const span = element("span", "");
      span.dataset.index = String(index);
      this.inks.push(fillToken(span, token.text));
      if (token.clickable) {
        span.setAttribute("role", "button");
        span.tabIndex = -1;
      }
      if (token.fold) {
        const toggle = element("button", "fold", token.fold);
        toggle.type = "button";
        toggle.tabIndex = -1;
        toggle.setAttribute("aria-expanded", "false");
        span.hidden = true;
        fragment.append(toggle);
      }
      fragment.append(span);
      return span;
    });
    this.box.replaceChildren(fragment);
    this.current = null;
    this.makeCurrent(this.stops()[0]);
  }

  paint(token, span, ink) {
    const kind = token.muted ? "token muted" : token.clickable ? "token clickable" : "token";
    if (span.className !== kind) span.className = kind;
    const chosen = ink.classList.contains("selected") ? " selected" : "";
    const mark = token.mark ? ` ${token.mark}` : "";
    const colour = `ink ${levelClass(token.weight)}${mark}${chosen}`;
    if (ink.className !== colour) ink.className = colour;
    if (token.clickable) {
      const label = token.lines.join(". ");
      if (span.getAttribute("aria-label") !== label) span.setAttribute("aria-label", label);
    }
  }

  mark(selected) {
    this.selected = selected;
    this.tokens.forEach((token, index) => {
      const chosen = Array.isArray(selected) ? selected.includes(index) : index === selected;
      this.inks[index].classList.toggle("selected", chosen);
      if (token.clickable && this.spans[index].getAttribute("aria-pressed") !== String(chosen)) {
        this.spans[index].setAttribute("aria-pressed", String(chosen));
      }
    });
  }

  choose(index) {
    if (!this.tokens[index].clickable) return;
    let selected = index === this.selected ? null : index;
    if (Array.isArray(this.selected)) {
      const others = this.selected.filter((other) => other !== index);
      selected = others.length < this.selected.length ? others : [...others, index];
    }
    this.mark(selected);
    this.onSelect(selected);
  }

  unfold(toggle) {
    const span = toggle.nextElementSibling;
    span.hidden = !span.hidden;
    toggle.setAttribute("aria-expanded", String(!span.hidden));
  }

  // The elements that arrow keys move between.
  stops() {
    return [...this.box.querySelectorAll(".fold, [role=button]")];
  }

  makeCurrent(stop) {
    if (!stop || stop.tabIndex === undefined || stop === this.current) return;
    if (this.current) this.current.tabIndex = -1;
    stop.tabIndex = 0;
    this.current = stop;
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      this.hideTip();
      return;
    }
    if (event.key === "Enter" || event.key === " ") {
      if (event.target.dataset.index === undefined) return; // a fold button acts by itself
      event.preventDefault();
      this.choose(Number(event.target.dataset.index));
      return;
    }
    const stops = this.stops();
    const at = stops.indexOf(event.target);
    const rtl = getComputedStyle(this.box).direction === "rtl";
    const moves = {
      ArrowRight: () => at + (rtl ? -1 : 1),
      ArrowLeft: () => at + (rtl ? 1 : -1),
      ArrowDown: () => this.otherLine(stops, at, 1),
      ArrowUp: () => this.otherLine(stops, at, -1),
      Home: () => 0,
      End: () => stops.length - 1,
    };
    if (at < 0 || !(event.key in moves)) return;
    event.preventDefault();
    const next = stops[moves[event.key]()];
    if (next) next.focus();
  }

  // The stop nearest in x on the next line up (-1) or down (1); `at` itself where there is none.
  otherLine(stops, at, way) {
    const from = stops[at].getBoundingClientRect();
    let best = at;
    let line = null;
    let distance = Infinity;
    for (let i = at + way; i >= 0 && i < stops.length; i += way) {
      const box = stops[i].getBoundingClientRect();
      if (way * (box.top - from.top) < from.height / 2) continue;
      if (line === null) line = box.top;
      if (Math.abs(box.top - line) > from.height / 2) break;
      if (Math.abs(box.left - from.left) < distance) {
        distance = Math.abs(box.left - from.left);
        best = i;
      }
    }
    return best;
  }

  showTip(index) {
    if (index === null || !this.tokens[index] || this.tokens[index].lines.length === 0) {
      this.hideTip();
      return;
    }
    this.shown = index;
    this.fillTip();
    if (this.tip.showPopover && !this.tip.matches(":popover-open")) this.tip.showPopover();
    window.addEventListener("scroll", this.onScroll, { capture: true, passive: true });
    this.placeTip();
  }

  fillTip() {
    const lines = this.tokens[this.shown].lines;
    if (JSON.stringify(lines) === this.tip.dataset.lines) return;
    this.tip.dataset.lines = JSON.stringify(lines);
    this.tip.replaceChildren(...lines.map((line) => element("div", "", line)));
  }

  placeTip() {
    // Of a token broken over two lines, the first part; the tooltip stays inside the window.
    const token = this.inks[this.shown].getClientRects()[0];
    if (!token) return;
    const width = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(token.left, width - this.tip.offsetWidth - 8));
    const below = token.bottom + TIP_GAP;
    const fits = below + this.tip.offsetHeight < window.innerHeight;
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${fits ? below : token.top - this.tip.offsetHeight - TIP_GAP}px`;
  }

  // When something scrolls, the tooltip goes along until its token is out of sight.
  followTip() {
    const token = this.inks[this.shown].getBoundingClientRect();
    const box = this.box.getBoundingClientRect();
    if (token.bottom < box.top || token.top > box.bottom) this.hideTip();
    else this.placeTip();
  }

  hideTip() {
    this.shown = null;
    window.removeEventListener("scroll", this.onScroll, { capture: true });
    if (this.tip.hidePopover && this.tip.matches(":popover-open")) this.tip.hidePopover();
  }

  drawLegend(legend) {
    const wanted = JSON.stringify(legend ?? null);
    if (this.legend.dataset.legend === wanted) return;
    this.legend.dataset.legend = wanted;
    this.legend.replaceChildren();
    this.legend.hidden = !legend;
    if (!legend) return;
    const scale = element("span", "scale");
    for (let step = legend.low === null ? 0 : -LEVELS; step <= LEVELS; step += 1) {
      scale.append(element("span", `cell ${levelClass(step / LEVELS)}`));
    }
    if (legend.low !== null) this.legend.append(element("span", "", legend.low));
    this.legend.append(scale, element("span", "", legend.high));
    for (const [mark, meaning] of legend.marks ?? []) {
      const sample = element("span", "sample");
      sample.append(element("span", `ink ${mark}`, meaning));
      this.legend.append(sample);
    }
  }
}

// Create or update the strip inside `parent`; `onSelect` gets the new index, or null.
function updateStrip(parent, data, onSelect) {
  let strip = strips.get(parent);
  if (!strip) {
    strip = new Strip(parent);
    strips.set(parent, strip);
  }
  strip.onSelect = onSelect;
  strip.update(data);
}

export default function ({ parentElement, data, setStateValue }) {
  updateStrip(parentElement, data, (selected) => {
    // With the time a choice differs from the same one before, if it was changed elsewhere since.
    const several = Array.isArray(selected);
    setStateValue("selected", several ? { tokens: selected, time: Date.now() } : selected);
  });
}
