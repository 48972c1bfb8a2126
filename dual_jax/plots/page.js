"use strict";
(() => {
  const map = document.getElementById("map");
  if (!map) return;
  const tip = document.getElementById("tip"), ring = document.getElementById("ring");
  const reach = document.getElementById("reach"), former = document.getElementById("former");
  const data = JSON.parse(document.getElementById("pool").textContent);
  const [nPool, nLabeled, nPicks] = data.counts;
  const firstPick = nPool + nLabeled;
  const links = [...map.querySelectorAll(".pick")];

  /* Places of all rows: in the drawing, in the order of the data. */
  const xs = [], ys = [];
  const read = (path) => {
    for (const [, x, y] of map.querySelector(path).getAttribute("d").matchAll(/M(\d+) (\d+)/g)) {
      xs.push(+x);
      ys.push(+y);
    }
  };
  read(".cloud");
  read(".labeled");
  for (const link of links) {
    xs.push(+link.firstChild.getAttribute("cx"));
    ys.push(+link.firstChild.getAttribute("cy"));
  }
  read(".rest");

  /* A grid of cells, so that the nearest row is found among a few. */
  const CELL = 80, COLUMNS = Math.ceil(map.viewBox.baseVal.width / CELL), cells = new Map();
  for (let i = 0; i < xs.length; i++) {
    const cell = Math.floor(ys[i] / CELL) * COLUMNS + Math.floor(xs[i] / CELL);
    if (cells.has(cell)) cells.get(cell).push(i);
    else cells.set(cell, [i]);
  }
  const nearest = (x, y, radius) => {
    let best = -1, least = radius * radius;
    for (let row = Math.floor((y - radius) / CELL); row <= (y + radius) / CELL; row++) {
      for (let column = Math.floor((x - radius) / CELL); column <= (x + radius) / CELL; column++) {
        for (const i of cells.get(row * COLUMNS + column) || []) {
          const squared = ((xs[i] - x) ** 2 + (ys[i] - y) ** 2) * (i < firstPick ? 1 : 0.3);
          if (squared < least) [best, least] = [i, squared];
        }
      }
    }
    return best;
  };

  /* What a row is. Text is set as text, never as markup. */
  const nameOf = (i) => (data.ids ? data.ids[i] : "row " + data.rows[i]);
  const pictures = new Map();
  for (const image of document.querySelectorAll("img[data-row]")) pictures.set(+image.dataset.row, image);
  const sheet = document.getElementById("sheet");
  const picture = (i) => {
    const known = pictures.get(data.rows[i]);
    if (known) {
      const image = new Image();
      image.src = known.src;
      image.alt = "";
      return image;
    }
    if (!sheet || !data.tiles) return null;
    const [width, height, columns] = data.tile, canvas = document.createElement("canvas");
    const across = data.tiles[i] % columns, down = Math.floor(data.tiles[i] / columns);
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").drawImage(sheet, across * width, down * height, width, height, 0, 0, width, height);
    return canvas;
  };
  const said = (i) => {
    if (i >= firstPick) {
      const link = links[i - firstPick];
      return link ? link.getAttribute("aria-label") : "pick " + (i - firstPick + 1);
    }
    if (i >= nPool) return "labelled before";
    const owner = data.owners[i];
    if (owner > 0) return "represented by pick " + owner + ", " + nameOf(firstPick + owner - 1);
    return owner === 0 ? "represented by a row labelled before" : "";
  };
  const line = (tag, text) => {
    const element = document.createElement(tag);
    element.textContent = text;
    return element;
  };

  let shown = -1;
  const hide = () => {
    shown = -1;
    tip.hidden = true;
    reach.setAttribute("d", "");
    former.setAttribute("d", "");
    ring.setAttribute("cx", -99);
    for (const link of map.querySelectorAll(".on")) link.classList.remove("on");
  };
  const show = (i) => {
    if (i === shown) return;
    hide();
    if (i < 0) return;
    shown = i;
    const isNamed = Boolean(links[i - firstPick]); /* what is said of a pick begins with its name */
    const parts = [picture(i), isNamed ? null : line("b", nameOf(i)), line(isNamed ? "b" : "span", said(i))];
    if (data.texts && data.texts[i]) parts.push(line("div", data.texts[i]));
    tip.replaceChildren(...parts.filter((part) => part));
    tip.dataset.row = data.rows[i];
    tip.hidden = false;
    ring.setAttribute("cx", xs[i]);
    ring.setAttribute("cy", ys[i]);
    if (i >= firstPick) showPick(i);
    place(i);
  };
  const showPick = (i) => {
    const rank = i - firstPick + 1, parts = [];
    for (let j = 0; j < nPool; j++) if (data.owners[j] === rank) parts.push("M" + xs[j] + " " + ys[j] + "h0");
    reach.setAttribute("d", parts.join(""));
    const before = data.former ? data.former[rank - 1] : -1;
    if (before >= 0) former.setAttribute("d", "M" + xs[i] + " " + ys[i] + "L" + xs[before] + " " + ys[before]);
    if (links[rank - 1]) links[rank - 1].classList.add("on");
  };
  const place = (i) => {
    const matrix = map.getScreenCTM(), frame = tip.parentNode.getBoundingClientRect();
    const x = matrix.a * xs[i] + matrix.e - frame.left, y = matrix.d * ys[i] + matrix.f - frame.top;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = Math.max(0, x + width + 16 > frame.width ? x - width - 16 : x + 16) + "px";
    tip.style.top = Math.max(0, Math.min(y + 12, frame.height - height)) + "px";
  };

  const focused = () => links.indexOf(document.activeElement);
  const shownByFocus = () => (focused() < 0 ? -1 : firstPick + focused());
  const point = (event) => {
    const matrix = map.getScreenCTM();
    const x = (event.clientX - matrix.e) / matrix.a, y = (event.clientY - matrix.f) / matrix.d;
    const found = nearest(x, y, 18 / matrix.a);
    show(found < 0 ? shownByFocus() : found);
  };
  map.addEventListener("pointermove", point);
  map.addEventListener("pointerdown", point);
  map.addEventListener("pointerleave", () => show(shownByFocus()));
  links.forEach((link, rank) => {
    link.setAttribute("aria-describedby", "tip");
    link.addEventListener("focus", () => show(firstPick + rank));
    link.addEventListener("blur", hide);
  });
  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  map.addEventListener("keydown", (event) => {
    const now = focused();
    if (event.key === "Escape") return hide();
    const last = links.length - 1;
    const next = event.key === "Home" ? 0 : event.key === "End" ? last : now + (STEPS[event.key] || 0);
    if (now < 0 || next === now || next < 0 || next > last) return;
    event.preventDefault();
    links[next].focus();
  });
})();
