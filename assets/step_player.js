// Plays the steps of a run: the replaced prompt, what it did to the target, how scores moved.
//
// All steps arrive at once and are played here. Token text enters through textContent only.
//
// data = {                                                    see components/step_player.py
//   target, noun, probes, running, opening,
//   original, originalWords, top: end of the probability scale, topWords,
//   pieces: [[text, unit or null, muted]],
//   names: {unit: name}, followed: {unit: colour}, title: what the bars are,
//   bars: [unit] in prompt order, extraRows: rows kept free for others,
//   scores: [[score of each bar]] before the first and after each step, ends: [end of their scale],
//   texts: [replacement],
//   frames: [[probe, [unit], [index into texts], probability, words, change in words, direction,
//             sentence, note, [[unit, score before, score after]] of replaced units without a bar]]
// }

const PACES = [
  ["Slow", () => 2600],
  ["Normal", () => 1300],
  ["Fast", (steps) => Math.max(60, Math.min(350, 20000 / steps))], // all in about 20 seconds
];
const MOST_MOTION = 450; // milliseconds a bar may take to move

const players = new WeakMap();

function made(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function button(className, label) {
  const element = made("button", className);
  element.type = "button";
  element.append(made("span", "icon"));
  if (label) element.append(made("span", "word", label));
  return element;
}

// Marks what stands for a unit that is followed in all pictures.
function markFollowed(element, colour) {
  element.classList.toggle("followed", colour !== undefined);
  element.style.setProperty("--own", colour ?? "");
}

class Bar {
  constructor() {
    this.row = made("li", "bar");
    this.name = made("span", "name");
    this.name.dir = "auto";
    const track = made("span", "track");
    this.fill = made("span", "fill");
    this.moved = made("span", "moved");
    track.append(this.fill, this.moved);
    this.number = made("span", "number");
    this.row.append(this.name, track, this.number);
  }

  draw(name, before, after, end, replaced) {
    say(this.name, name);
    this.name.title = name;
    const percent = (score) => `${Math.min(100, (100 * score) / end)}%`;
    this.fill.style.width = percent(Math.min(before, after));
    this.moved.style.insetInlineStart = percent(Math.min(before, after));
    this.moved.style.width = percent(Math.abs(after - before));
    this.moved.className = `moved ${after >= before ? "gain" : "loss"}`;
    this.row.classList.toggle("replaced", replaced);
    say(this.number, after.toFixed(3));
  }
}

class Player {
  constructor(parent) {
    this.root = made("section", "player");
    this.position = 0; // 0: before the first step
    this.touched = false;
    this.timer = null;
    this.pace = 1;
    this.known = null; // the data as text
    this.build();
    parent.append(this.root);
  }

  build() {
    this.play = button("play", "Play");
    this.back = button("back");
    this.back.setAttribute("aria-label", "One step back");
    this.next = button("next");
    this.next.setAttribute("aria-label", "One step on");
    this.count = made("span", "count");
    const speed = made("label", "speed");
    speed.append(made("span", "word", "Speed "));
    this.speed = made("select", "");
    this.speed.setAttribute("aria-label", "Speed");
    this.speed.append(...PACES.map(([name]) => made("option", "", name)));
    this.speed.selectedIndex = this.pace;
    speed.append(this.speed);
    const buttons = made("div", "buttons");
    this.turn = made("span", "turn");
    const place = made("div", "place");
    place.append(this.count, this.turn);
    buttons.append(this.play, this.back, this.next, place, speed);

    const time = made("div", "time");
    const NS = "http://www.w3.org/2000/svg";
    this.line = document.createElementNS(NS, "svg");
    this.line.setAttribute("preserveAspectRatio", "none");
    this.line.setAttribute("aria-hidden", "true");
    [this.level, this.falls, this.rises] = ["level", "falls", "rises"].map((name) => {
      const path = document.createElementNS(NS, "path");
      path.setAttribute("class", name);
      path.setAttribute("vector-effect", "non-scaling-stroke");
      this.line.append(path);
      return path;
    });
    this.slider = made("input", "");
    this.slider.type = "range";
    this.slider.min = "0";
    this.slider.setAttribute("aria-label", "Step");
    time.append(this.line, this.slider);
    time.title = "Each column is one step: down, the chance fell; up, it rose.";

    this.sentence = made("p", "sentence");
    this.sentence.dir = "auto";
    this.sentence.setAttribute("aria-live", "polite");
    this.note = made("p", "note");
    this.note.dir = "auto";

    this.prompt = made("div", "prompt");
    this.prompt.dir = "auto";
    this.prompt.setAttribute("role", "group");
    this.prompt.setAttribute("aria-label", "The prompt in this step");
    this.chanceTitle = made("div", "title");
    this.chanceTitle.dir = "auto";
    const figures = made("div", "figures");
    this.was = made("span", "was");
    this.now = made("span", "now");
    this.points = made("span", "points");
    this.arrow = made("span", "arrow", "→");
    figures.append(this.was, this.arrow, this.now, this.points);
    const scale = made("div", "scale");
    this.gauge = made("span", "gauge");
    this.mark = made("span", "mark");
    this.mark.title = "with the prompt as it was";
    scale.append(this.gauge, this.mark);
    this.ends = made("div", "ends");
    this.top = made("span", "");
    this.ends.append(made("span", "", "0%"), this.top);
    const chance = made("div", "chance");
    chance.append(this.chanceTitle, figures, scale, this.ends);
    const seen = made("div", "seen");
    seen.append(made("div", "title", "The prompt in this step"), this.prompt, chance);

    const key = made("span", "key");
    this.mean = made("span", "");
    key.append(this.mean, made("i", "gain"), "gained ", made("i", "loss"), "lost in this step");
    const head = made("div", "head");
    this.scoresTitle = made("div", "title");
    head.append(this.scoresTitle, key);
    this.bars = made("ul", "bars");
    const scores = made("div", "scores");
    this.barsEnd = made("span", "");
    const ends = made("div", "ends bar-ends");
    ends.append(made("span", "", "0"), this.barsEnd);
    scores.append(head, this.bars, ends);

    const views = made("div", "views");
    views.append(seen, scores);
    this.root.append(buttons, time, this.sentence, this.note, views);
    this.listen();
  }

  listen() {
    this.play.addEventListener("click", () => (this.timer === null ? this.start() : this.stop()));
    this.back.addEventListener("click", () => this.go(this.position - 1));
    this.next.addEventListener("click", () => this.go(this.position + 1));
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    this.speed.addEventListener("change", () => {
      this.pace = this.speed.selectedIndex;
      if (this.timer !== null) this.start();
    });
  }

  // By hand: playing ends, and a growing run is followed no more.
  go(position) {
    this.touched = true;
    this.stop();
    this.show(position);
  }

  start() {
    this.touched = true;
    clearInterval(this.timer);
    if (this.position >= this.last()) this.show(0);
    const wait = PACES[this.pace][1](this.last());
    this.root.style.setProperty("--motion", `${Math.min(MOST_MOTION, 0.6 * wait)}ms`);
    this.timer = setInterval(() => {
      if (!this.root.isConnected || this.position >= this.last()) this.stop();
      else this.show(this.position + 1);
      // At the end of a run that still grows the next steps are waited for.
      if (this.position >= this.last() && !this.data.running) this.stop();
    }, wait);
    this.sentence.setAttribute("aria-live", "off");
    this.drawPlay();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.root.style.setProperty("--motion", `${MOST_MOTION}ms`);
    this.sentence.setAttribute("aria-live", "polite");
    this.drawPlay();
  }

  drawPlay() {
    const playing = this.timer !== null;
    this.play.classList.toggle("playing", playing);
    say(this.play.lastChild, playing ? "Pause" : "Play");
  }

  last() {
    return this.data.frames.length;
  }

  update(data) {
    const text = JSON.stringify(data);
    if (text === this.known) return;
    const same = this.data && JSON.stringify(this.data.pieces) === JSON.stringify(data.pieces)
      && this.data.target === data.target && this.last() <= data.frames.length;
    this.known = text;
    this.data = data;
    if (!same) {
      this.touched = false;
      this.stop();
      this.position = 0;
      this.buildPrompt();
    }
    for (const [unit, [span]] of this.units) markFollowed(span, data.followed[unit]);
    this.buildBars();
    this.drawTime();
    this.root.setAttribute("aria-label", `The steps for ${data.target}`);
    say(this.chanceTitle, `Chance of ${data.target}`);
    say(this.scoresTitle, data.title);
    this.bars.setAttribute("aria-label", data.title);
    say(this.was, data.originalWords);
    say(this.top, data.topWords);
    this.mark.style.insetInlineStart = `${(100 * data.original) / data.top}%`;
    this.slider.max = String(this.last());
    this.slider.style.setProperty("--steps", String(this.last()));
    const follow = data.running && !this.touched;
    this.show(follow ? this.last() : this.position);
  }

  buildPrompt() {
    this.units = new Map();
    this.changed = [];
    this.prompt.scrollTop = 0;
    this.prompt.style.minHeight = "";
    this.prompt.replaceChildren(...this.data.pieces.map(([text, unit, muted]) => {
      const span = made("span", muted ? "muted" : "", text);
      if (unit !== null) this.units.set(unit, [span, text]);
      return span;
    }));
  }

  buildBars() {
    const wanted = this.data.bars.length + this.data.extraRows;
    if (this.rows?.length !== wanted) {
      this.rows = Array.from({ length: wanted }, () => new Bar());
      this.bars.replaceChildren(...this.rows.map((bar) => bar.row));
    }
    const extra = this.data.frames.flatMap((frame) => frame[9].map(([unit]) => unit));
    const drawn = [...this.data.bars, ...new Set(extra)];
    const longest = Math.max(...drawn.map((unit) => this.data.names[unit].length));
    this.root.style.setProperty("--longest", `${longest}ch`);
  }

  // The target's probability in every step: falls hang from the original one, rises stand on it.
  drawTime() {
    const { frames, original, top } = this.data;
    const height = 100;
    const y = (probability) => height * (1 - probability / top);
    this.line.setAttribute("viewBox", `0 0 ${frames.length} ${height}`);
    const paths = { falls: "", rises: "" };
    frames.forEach((frame, index) => {
      // Of the columns between two steps' places the one around the step's own.
      const [left, right] = [index + 0.6, Math.min(index + 1.4, frames.length)];
      const column = `M${left} ${y(original)}H${right}V${y(frame[3])}H${left}Z`;
      paths[frame[3] < original ? "falls" : "rises"] += column;
    });
    this.level.setAttribute("d", `M0 ${y(original)}H${frames.length}`);
    this.falls.setAttribute("d", paths.falls);
    this.rises.setAttribute("d", paths.rises);
  }

  show(position) {
    const { data } = this;
    this.position = Math.max(0, Math.min(position, this.last()));
    const frame = this.position ? data.frames[this.position - 1] : null;
    this.slider.value = String(this.position);
    const count = `Step ${this.position} of ${this.last()}`;
    say(this.count, count);
    this.slider.setAttribute("aria-valuetext", count);
    this.back.disabled = this.position === 0;
    this.next.disabled = this.position === this.last();
    say(this.sentence, frame ? frame[7] : data.opening);
    say(this.note, (frame && frame[8]) || "");
    this.drawPrompt(frame);
    this.drawChance(frame);
    this.drawBars(frame);
  }

  drawPrompt(frame) {
    for (const unit of this.changed) {
      const [span, text] = this.units.get(unit);
      span.replaceChildren(text);
    }
    this.changed = frame ? frame[1].filter((unit) => this.units.has(unit)) : [];
    let first = null;
    for (const unit of this.changed) {
      const [span, text] = this.units.get(unit);
      const body = text.trim() ? text.trimStart() : text.replaceAll("\n", "↵");
      const lead = text.trim() ? text.slice(0, text.length - body.length) : "";
      const into = this.data.texts[frame[2][frame[1].indexOf(unit)]];
      span.replaceChildren(lead, made("del", "", body), " ", made("ins", "", into));
      if (text.includes("\n") && !text.trim()) span.append("\n");
      first ??= span;
    }
    this.reveal(first);
  }

  // The box keeps the tallest height it had, so that what follows stays where it is.
  reveal(span) {
    const box = this.prompt;
    box.style.minHeight = `${Math.max(parseFloat(box.style.minHeight) || 0, box.offsetHeight)}px`;
    const scrolls = box.scrollHeight > box.clientHeight + 1;
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
    if (!span || !scrolls) return;
    const [inner, outer] = [span.getBoundingClientRect(), box.getBoundingClientRect()];
    if (inner.top < outer.top || inner.bottom > outer.bottom) {
      box.scrollTop += inner.top - outer.top - outer.height / 3;
    }
  }

  drawChance(frame) {
    const { data } = this;
    const probability = frame ? frame[3] : data.original;
    this.gauge.style.width = `${(100 * probability) / data.top}%`;
    this.gauge.className = `gauge ${frame ? ["rose", "same", "fell"][frame[6] + 1] : "same"}`;
    this.arrow.hidden = this.now.hidden = this.points.hidden = !frame;
    say(this.now, frame ? frame[4] : "");
    say(this.points, frame ? frame[5] : "");
  }

  drawBars(frame) {
    const { data } = this;
    const after = data.scores[this.position];
    const before = data.scores[Math.max(0, this.position - 1)];
    const replaced = new Set(frame ? frame[1] : []);
    const end = data.ends[this.position]; // grows with the scores, so that the first moves show
    say(this.barsEnd, String(end));
    data.bars.forEach((unit, i) => {
      this.rows[i].draw(data.names[unit], before[i], after[i], end, replaced.has(unit));
      markFollowed(this.rows[i].row, data.followed[unit]);
    });
    const extra = frame ? frame[9] : [];
    this.rows.slice(data.bars.length).forEach((bar, i) => {
      const unused = i >= extra.length;
      bar.row.classList.toggle("unused", unused);
      bar.row.setAttribute("aria-hidden", String(unused));
      if (unused) {
        bar.row.classList.remove("replaced", "followed");
      } else {
        const [unit, from, to] = extra[i];
        bar.draw(data.names[unit], from, to, end, true);
        markFollowed(bar.row, data.followed[unit]);
      }
    });
    say(this.turn, frame && data.probes > 1 ? `repetition ${frame[0] + 1}` : "");
    say(this.mean, data.probes > 1 ? `mean of ${data.probes} repetitions` : "");
  }
}

export default function ({ parentElement, data }) {
  let player = players.get(parentElement);
  if (!player) {
    player = new Player(parentElement);
    players.set(parentElement, player);
  }
  player.update(data);
}
