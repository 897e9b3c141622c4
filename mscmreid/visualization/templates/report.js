// The map of a report: who is a point? Written by hand, loads nothing, reads only what stands in this file.
"use strict";
for (const figure of document.querySelectorAll(".map")) start(figure);

function start(figure) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  const number = data.x.length;
  if (!number) return;
  const canvas = figure.querySelector("canvas");
  const card = figure.querySelector(".asked");
  const legend = figure.querySelector(".legend");
  const spoken = figure.querySelector(".spoken");
  const sprite = data.sprite && document.getElementById(data.sprite.id);
  const cameras = [...new Set(data.cam)].sort((a, b) => a - b);
  const people = [...new Set(data.pid)].sort((a, b) => a - b);
  const wide = Math.max(...data.x) || 1;
  const high = Math.max(...data.y) || 1;
  const px = new Float32Array(number);
  const py = new Float32Array(number);
  const base = document.createElement("canvas");
  let by = "modality", chosen = -1, held = false, width = 0, height = 0, ratio = 1, size = 3, colours = [];

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const style = (name) => getComputedStyle(figure).getPropertyValue(name).trim();
  const hue = (turn) => "hsl(" + Math.round(360 * (turn % 1)) + " 65% " + (dark.matches ? 64 : 42) + "%)";
  const keys = {
    modality: [["visible", "--visible"], ["infrared", "--infrared"]].map(([name, v], i) => [name, () => style(v), (k) => data.infrared[k] === i]),
    camera: cameras.map((cam, i) => ["camera " + cam, () => hue(i / cameras.length + 0.02), (k) => data.cam[k] === cam]),
    person: people.map((pid, i) => ["person " + pid, () => hue(i * 0.618034), (k) => data.pid[k] === pid]),
  };

  function recolour() {
    const entries = keys[by].map(([, colour]) => colour());
    const place = new Map((by === "camera" ? cameras : people).map((value, i) => [value, i]));
    colours = data.x.map((_, k) => entries[by === "modality" ? data.infrared[k] : place.get(by === "camera" ? data.cam[k] : data.pid[k])]);
    legend.replaceChildren(...(by === "person" ? [words(people.length + " people, so colours nearly repeat: point at one to see all images of its person.")] :
      keys[by].map(([name], i) => item(name, entries[i]))));
  }

  function words(text) {
    const span = document.createElement("span");
    span.textContent = text;
    return span;
  }

  function item(name, colour) {
    const span = words(name);
    const dot = document.createElement("i");
    dot.style.background = colour;
    if (name === "infrared") dot.className = "square";
    span.prepend(dot);
    return span;
  }

  function place() {
    width = canvas.clientWidth;
    canvas.style.height = Math.round(Math.min(620, 0.8 * window.innerHeight, 28 + (width - 28) * high / wide)) + "px";
    height = canvas.clientHeight;
    ratio = window.devicePixelRatio || 1;
    for (const each of [canvas, base]) { each.width = Math.round(width * ratio); each.height = Math.round(height * ratio); }
    const margin = 14;
    const scale = Math.min((width - 2 * margin) / wide, (height - 2 * margin) / high);
    const left = (width - wide * scale) / 2, top = (height - high * scale) / 2;
    for (let k = 0; k < number; k++) { px[k] = left + data.x[k] * scale; py[k] = top + data.y[k] * scale; }
    size = number > 2500 ? 2.3 : number > 800 ? 2.9 : 3.8;
  }

  function dot(pen, k, radius) {
    if (data.infrared[k]) { pen.fillRect(px[k] - radius * 0.9, py[k] - radius * 0.9, 1.8 * radius, 1.8 * radius); return; }
    pen.beginPath();
    pen.arc(px[k], py[k], radius, 0, 6.2832);
    pen.fill();
  }

  function paintBase() {
    const pen = base.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.globalAlpha = 0.78;
    for (let k = 0; k < number; k++) { pen.fillStyle = colours[k]; dot(pen, k, size); }
  }

  function paint() {
    const pen = canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.globalAlpha = chosen < 0 ? 1 : 0.28;
    pen.drawImage(base, 0, 0);
    pen.globalAlpha = 1;
    if (chosen < 0) return;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    for (let k = 0; k < number; k++) {
      if (data.pid[k] !== data.pid[chosen]) continue;
      pen.fillStyle = style("--paper");
      dot(pen, k, size + 3);
      pen.fillStyle = colours[k];
      dot(pen, k, size + 1.6);
    }
    pen.strokeStyle = style("--ink");
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(px[chosen], py[chosen], size + 6, 0, 6.2832);
    pen.stroke();
  }

  function choose(k) {
    if (k === chosen) return;
    chosen = k;
    paint();
    card.hidden = k < 0;
    figure.dataset.chosen = k < 0 ? "" : data.path[k];
    if (k < 0) { spoken.textContent = ""; return; }
    const kind = data.infrared[k] ? "infrared" : "visible";
    const own = data.pid.filter((pid) => pid === data.pid[k]).length;
    const text = "person " + data.pid[k] + ", camera " + data.cam[k] + ", " + kind;
    spoken.textContent = text;
    card.querySelector("b").textContent = "person " + data.pid[k];
    card.querySelector("span").textContent = "camera " + data.cam[k] + ", " + kind + "; " + own + (own === 1 ? " point" : " points");
    card.querySelector("small").textContent = data.path[k];
    picture(card.querySelector("canvas"), data.tile[k]);
    if (width < 560) { // a phone: at the edge that is farther away
      card.style.left = "0px";
      card.style.top = (py[k] > height / 2 ? 0 : height - card.offsetHeight) + "px";
      return;
    }
    const right = px[k] + 18 + card.offsetWidth < width;
    card.style.left = Math.max(0, right ? px[k] + 16 : Math.min(px[k] - 16 - card.offsetWidth, width - card.offsetWidth)) + "px";
    card.style.top = Math.max(0, Math.min(py[k] - card.offsetHeight / 2, height - card.offsetHeight)) + "px";
  }

  function picture(target, tile) {
    const there = Boolean(sprite) && sprite.complete && tile >= 0;
    target.hidden = !there;
    card.querySelector("em").hidden = there || !data.sprite;
    if (!there) return;
    const [w, h] = data.sprite.tile;
    target.width = w;
    target.height = h;
    target.getContext("2d").drawImage(sprite, (tile % data.sprite.columns) * w, Math.floor(tile / data.sprite.columns) * h, w, h, 0, 0, w, h);
  }

  function nearest(x, y, reach) {
    let best = -1, least = reach * reach;
    for (let k = 0; k < number; k++) {
      const d = (px[k] - x) ** 2 + (py[k] - y) ** 2;
      if (d < least) { least = d; best = k; }
    }
    return best;
  }

  function step(dx, dy) {
    if (chosen < 0) { choose(nearest(width / 2, height / 2, 1e6)); return; }
    let best = -1, least = Infinity;
    for (let k = 0; k < number; k++) {
      const along = (px[k] - px[chosen]) * dx + (py[k] - py[chosen]) * dy;
      const aside = Math.abs((px[k] - px[chosen]) * dy) + Math.abs((py[k] - py[chosen]) * dx);
      if (along > 0.5 && aside <= 2 * along && along + 2 * aside < least) { least = along + 2 * aside; best = k; }
    }
    if (best >= 0) choose(best);
  }

  const where = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.addEventListener("pointermove", (event) => { if (!held && event.pointerType !== "touch") choose(nearest(...where(event), 18)); });
  canvas.addEventListener("pointerleave", (event) => { if (!held && event.pointerType !== "touch") choose(-1); });
  canvas.addEventListener("click", (event) => {
    const hit = nearest(...where(event), event.pointerType === "touch" ? 28 : 18);
    held = hit >= 0 && !(held && hit === chosen);
    choose(hit);
    if (!held && event.pointerType === "touch") choose(-1);
  });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (move) { held = true; step(...move); }
    else if (event.key === "Escape") { held = false; choose(-1); }
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("blur", () => { held = false; choose(-1); });

  function redraw() {
    const k = chosen;
    chosen = -1;
    place();
    if (!width || !height) return; // hidden, as on paper
    recolour();
    paintBase();
    paint();
    if (k >= 0) choose(k);
  }
  for (const input of figure.querySelectorAll("input")) input.addEventListener("change", () => { by = input.value; figure.dataset.by = by; redraw(); });
  dark.addEventListener("change", redraw);
  figure.classList.add("live");
  new ResizeObserver(redraw).observe(canvas);
}
