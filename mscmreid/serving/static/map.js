// The gallery in two dimensions on a canvas: points by camera, modality or id; pointer and arrow keys choose, click and Enter ask.

const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6bb1", "#7f7f7f"];
const NEAR = 16;
const LEGEND = 12;

const $ = (id) => document.getElementById(id);

function colourOf(place, number) {
  if (number <= COLOURS.length) return COLOURS[place];
  return `hsl(${Math.round((place * 360) / number)} 65% ${place % 2 ? 42 : 56}%)`;
}

export function makeMap({ call, say, pick }) {
  const canvas = $("map");
  const context = canvas.getContext("2d");
  let data = null;
  let places = [];
  let current = -1;
  let query = null;

  async function load() {
    const how = $("how").value;
    say(how === "umap" ? "Drawing the map; UMAP takes a while …" : "Drawing the map …");
    try {
      data = await call(`/api/map?how=${how}`);
      current = -1;
      $("tip").hidden = true;
      const number = data.row.length;
      say(number < data.of ? `${number.toLocaleString("en")} of ${data.of.toLocaleString("en")} images, evenly chosen` : `${number.toLocaleString("en")} images`);
      $("told").textContent = `${data.told[0].toUpperCase()}${data.told.slice(1)}. Two dimensions keep little of the distances: what lies together here need not be alike.`;
      draw();
    } catch (error) {
      data = null;
      context.clearRect(0, 0, canvas.width, canvas.height);
      say(error.message, true);
    }
  }

  function groups() {
    const values = data[$("colour").value].map((value) => value ?? "unknown");
    const names = [...new Set(values)].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    const colours = new Map(names.map((name, i) => [name, name === "unknown" ? "#888888" : colourOf(i, names.length)]));
    return { values, names, colours };
  }

  function draw() {
    if (!data || $("panel-map").hidden) return;
    const { width, height } = canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const highest = [0, 1].map((axis) => Math.max(...data.points.map((point) => point[axis]), 1e-9));
    const margin = 22;
    const scale = [(width - 2 * margin) / highest[0], (height - 2 * margin) / highest[1]];
    places = data.points.map(([x, y]) => [margin + x * scale[0], height - margin - y * scale[1]]);
    const { values, names, colours } = groups();
    const radius = places.length > 2000 ? 2.5 : places.length > 500 ? 3.5 : 5;
    context.globalAlpha = 0.8;
    places.forEach(([x, y], i) => {
      context.fillStyle = colours.get(values[i]);
      context.beginPath();
      if (data.modality[i] === "infrared") context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
      else context.arc(x, y, radius, 0, 7);
      context.fill();
    });
    context.globalAlpha = 1;
    const ink = getComputedStyle(document.body).color;
    for (const [place, size] of [[data.row.indexOf(query), 9], [current, 7]]) {
      if (place < 0) continue;
      context.strokeStyle = ink;
      context.lineWidth = 2.5;
      context.beginPath();
      context.arc(...places[place], radius + size - 3, 0, 7);
      context.stroke();
    }
    const shown = names.slice(0, LEGEND).map((name) => {
      const item = document.createElement("li");
      const dot = document.createElement("i");
      dot.style.background = colours.get(name);
      item.append(dot, name);
      return item;
    });
    if (names.length > LEGEND) shown.push(Object.assign(document.createElement("li"), { textContent: `and ${names.length - LEGEND} more` }));
    shown.push(Object.assign(document.createElement("li"), { textContent: "● visible  ■ infrared" }));
    $("legend").replaceChildren(...shown);
  }

  const point = (i) => ({ row: data.row[i], camera: data.camera[i], modality: data.modality[i], id: data.id[i] });

  function choose(i) {
    if (i === current) return;
    current = i;
    const tip = $("tip");
    tip.hidden = i < 0;
    canvas.style.cursor = i < 0 ? "crosshair" : "pointer";
    if (i >= 0) {
      const { row, camera, modality, id } = point(i);
      $("tip-image").src = `/image/${row}`;
      $("tip-text").textContent = [camera && `camera ${camera}`, modality, id && `id ${id}`].filter(Boolean).join(" · ");
      const [x, y] = places[i];
      tip.style.left = `${Math.max(4, Math.min(x + 14, canvas.clientWidth - 110))}px`;
      tip.style.top = `${Math.max(4, Math.min(y - 60, canvas.clientHeight - 175))}px`;
      canvas.setAttribute("aria-description", `row ${row}: ${$("tip-text").textContent}`);
    }
    draw();
  }

  function nearest(event) {
    const box = canvas.getBoundingClientRect();
    const at = [event.clientX - box.left, event.clientY - box.top];
    let best = -1;
    let least = NEAR ** 2;
    places.forEach(([x, y], i) => {
      const distance = (x - at[0]) ** 2 + (y - at[1]) ** 2;
      if (distance < least) [best, least] = [i, distance];
    });
    return best;
  }

  canvas.addEventListener("pointermove", (event) => data && choose(nearest(event)));
  canvas.addEventListener("pointerleave", () => data && choose(-1));
  canvas.addEventListener("click", (event) => {
    const i = data ? nearest(event) : -1;
    if (i >= 0) pick(point(i));
  });
  canvas.addEventListener("keydown", (event) => {
    const directions = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
    if (!data || !places.length) return;
    if (event.key in directions) {
      event.preventDefault();
      if (current < 0) return choose(0);
      const [dx, dy] = directions[event.key];
      let best = -1;
      let least = Infinity;
      places.forEach(([x, y], i) => {
        const along = (x - places[current][0]) * dx + (y - places[current][1]) * dy;
        const aside = Math.abs((x - places[current][0]) * dy) + Math.abs((y - places[current][1]) * dx);
        const cost = along + 2 * aside;
        if (i !== current && along > 0.5 && aside <= along && cost < least) [best, least] = [i, cost];
      });
      if (best >= 0) choose(best);
    } else if (event.key === "Enter" && current >= 0) pick(point(current));
  });
  $("colour").addEventListener("change", draw);
  $("how").addEventListener("change", load);
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  return {
    load: () => (data ? (draw(), say(`${data.row.length.toLocaleString("en")} images`)) : load()),
    mark: (row) => {
      query = row;
      draw();
    },
  };
}
