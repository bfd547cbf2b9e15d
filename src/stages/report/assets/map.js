'use strict';
/* The map of the dataset: colours, filters, hover and selection. */
document.addEventListener('DOMContentLoaded', async () => {
  const plot = document.getElementById('plot');
  if (!plot) return;
  const { el, count, name, visible, thumb } = prospect;
  const at = (id) => document.getElementById(id);
  const SIDE = 1000; // side of the square that a layout fills
  const NONE = 0xffffffff;
  const NEAR = 10; // pixels within which the pointer hits a point
  const AT_A_TIME = 60;
  const LISTED = 300;
  // Okabe and Ito's palette, extended by colours that stay distinct with red-green blindness.
  const LIGHT = ['#0072b2', '#e69f00', '#009e73', '#d55e00', '#56b4e9', '#cc79a7', '#332288', '#6b4a00', '#9860f8', '#a03870', '#101018', '#400800'];
  const DARK = ['#3d94d6', '#f0b030', '#0aa87c', '#f0703a', '#9bdcff', '#f090c8', '#8a6cf0', '#f4f08a', '#d82838', '#78d890', '#b040c0', '#188860'];
  const scheme = matchMedia('(prefers-color-scheme: dark)');

  let data;
  try {
    data = await prospect.load('map');
  } catch (error) {
    return fail(error.message);
  }
  const raw = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const ids = new Uint32Array(raw(data.ids));
  const n = ids.length;
  const layouts = data.methods.map(({ title, note, xy }) => {
    const places = Float32Array.from(new Uint16Array(raw(xy)), (q) => (q / 65535 - 0.5) * SIDE);
    return { title, note, places, area: area(places) };
  });

  /** Groupings for colours and filters. `of`: the group that colours a point; `has`: whether a point belongs to a group. */
  function byCode(title, names, codes, none) {
    return { title, names, none, of: (i) => codes[i], has: (i, group) => codes[i] === group };
  }
  function byBit(title, names, bits, none) {
    const of = (i) => (bits[i] ? 31 - Math.clz32(bits[i] & -bits[i]) : NONE);
    return { title, names, none, of, has: (i, group) => (group === NONE ? bits[i] === 0 : Boolean(bits[i] & (1 << group))) };
  }
  const ways = [
    byCode('Label', data.names, new Uint32Array(raw(data.labels)), 'no label'),
    byCode('Prediction', data.names, new Uint32Array(raw(data.predictions)), 'no prediction'),
    byBit('Finding', data.kinds, new Uint32Array(raw(data.findings)), 'no finding'),
  ];
  for (const way of ways) {
    const counts = new Map();
    for (let i = 0; i < n; i++) counts.set(way.of(i), (counts.get(way.of(i)) ?? 0) + 1);
    if (way.title === 'Finding') way.names.forEach((_, group) => counts.set(group, ids.reduce((sum, _, i) => sum + way.has(i, group), 0)));
    way.only = new Set();
    way.groups = [...counts].sort(([a, x], [b, y]) => (a === NONE) - (b === NONE) || y - x || a - b).map(([group, images]) => ({
      group, images, name: group === NONE ? way.none : way.names[group],
    }));
  }

  let way = ways.find(({ groups }) => groups.some(({ group }) => group !== NONE)) ?? ways[0];
  let layout = layouts[0];
  let hand = 'move';
  let xy = layout.places.slice();
  let shown = new Uint8Array(n).fill(1);
  let picked = new Uint8Array(n);
  let selection = [];
  let listed = 0;
  let cloud = null;

  // Colours ----------------------------------------------------------------------------------------------------------------------

  const rgb = (hex) => [1, 3, 5].map((from) => parseInt(hex.slice(from, from + 2), 16));
  const grey = () => (scheme.matches ? '#6b7484' : '#b4b9c2');

  /** Colours for the largest groups, or for those that the filter keeps. Others are grey. */
  function colours() {
    const palette = scheme.matches ? DARK : LIGHT;
    const named = way.groups.filter(({ group }) => group !== NONE).map(({ group }) => group);
    const own = new Map(named.slice(0, palette.length).map((group, place) => [group, palette[place]]));
    const kept = named.filter((group) => way.only.has(group));
    if (!kept.length) return own;
    const taken = new Set(kept.map((group) => own.get(group)));
    const free = palette.filter((colour) => !taken.has(colour));
    return new Map(kept.map((group) => [group, own.get(group) ?? free.shift()]).filter(([, colour]) => colour));
  }

  function paint() {
    if (!cloud) return;
    const colour = new Map([...colours()].map(([group, hex]) => [group, rgb(hex)]));
    const other = rgb(grey());
    const level = new Uint8Array(n);
    const rgba = new Uint8Array(4 * n);
    const faded = selection.length > 0;
    for (let i = 0; i < n; i++) {
      const own = colour.get(way.of(i));
      level[i] = !shown[i] ? 0 : picked[i] ? 3 : own ? 2 : 1;
      const alpha = !shown[i] ? 30 : picked[i] ? 255 : faded ? 55 : 205;
      rgba.set([...(shown[i] && own ? own : other), alpha], 4 * i);
    }
    cloud.paint(level, rgba, xy);
  }

  // Legend and filters -----------------------------------------------------------------------------------------------------------

  function legend() {
    const colour = colours();
    const wanted = at('find').value.trim().toLowerCase();
    const found = way.groups.filter((item) => item.name.toLowerCase().includes(wanted));
    at('legend-title').textContent = way.title;
    at('find').hidden = way.groups.length <= 12;
    const focused = at('legend').contains(document.activeElement) ? document.activeElement.dataset.group : null;
    at('legend').replaceChildren(...found.slice(0, LISTED).map((item) => {
      const swatch = el('span', { class: 'swatch' });
      swatch.style.background = colour.get(item.group) ?? grey();
      return el('li', {}, el('button', {
        type: 'button', 'data-group': item.group, 'aria-pressed': String(way.only.has(item.group)), onclick: () => toggle(item.group), title: visible(item.name),
      }, swatch, name(item.name), el('span', { class: 'quiet' }, count(item.images))));
    }));
    at('legend').querySelector(`[data-group="${focused}"]`)?.focus();
    at('rest').hidden = found.length <= LISTED;
    at('rest').textContent = `and ${count(found.length - LISTED)} more: search by name`;
    const kept = shown.reduce((sum, one) => sum + one, 0);
    at('showing').textContent = kept === n ? `${count(n)} images` : `${count(kept)} of ${count(n)} images`;
    at('all').hidden = kept === n && ways.every(({ only }) => !only.size);
  }

  function toggle(group) {
    if (!way.only.delete(group)) way.only.add(group);
    filter();
  }

  function filter() {
    const active = ways.filter(({ only }) => only.size);
    const passes = ({ only, has }, i) => {
      for (const group of only) if (has(i, group)) return true;
      return false;
    };
    for (let i = 0; i < n; i++) shown[i] = active.every((one) => passes(one, i)) ? 1 : 0;
    over(null);
    select(selection.filter((i) => shown[i]));
  }

  // Selection --------------------------------------------------------------------------------------------------------------------

  let pictured = null;
  async function pictures() {
    pictured ??= new Set(new Uint32Array(raw((await prospect.load('index')).pictured)));
    return pictured;
  }

  function select(points) {
    picked.fill(0);
    for (const i of points) picked[i] = 1;
    selection = points;
    paint();
    legend();
    list();
  }

  async function list() {
    const has = await pictures();
    const trouble = (i) => (ways[2].of(i) === NONE ? 1 : 0) + (has.has(ids[i]) ? 0 : 2);
    selection.sort((a, b) => trouble(a) - trouble(b) || ids[a] - ids[b]);
    const any = selection.length > 0;
    for (const button of ['copy-ids', 'copy-sql', 'clear']) at(button).hidden = !any;
    at('copied').hidden = true;
    at('selected').textContent = any ? description() : 'Nothing selected. Draw a lasso around points, or list the images in view.';
    at('grid').replaceChildren();
    listed = 0;
    more();
  }

  /** The number of selected images and their groups. */
  function description() {
    const counts = new Map();
    for (const i of selection) counts.set(way.of(i), (counts.get(way.of(i)) ?? 0) + 1);
    const most = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 5).map(([group, images]) => {
      const word = group === NONE ? way.none : visible(way.names[group]);
      return `${word.length > 40 ? `${word.slice(0, 40)}…` : word} ${count(images)}`;
    });
    const others = counts.size > most.length ? `, ${count(counts.size - most.length)} others` : '';
    return `${count(selection.length)} image${selection.length === 1 ? '' : 's'} selected: ${most.join(', ')}${others}.`;
  }

  function more() {
    const next = selection.slice(listed, listed + AT_A_TIME);
    at('grid').append(...next.map((i) => {
      const group = ways[0].of(i);
      return thumb(ids[i], { note: group === NONE ? undefined : visible(ways[0].names[group]) });
    }));
    listed += next.length;
    at('more').hidden = listed >= selection.length;
  }

  async function copy(text, what) {
    at('copied').value = text;
    try {
      await navigator.clipboard.writeText(text);
      at('selected').textContent = `${what} copied. ${description()}`;
    } catch {
      at('copied').hidden = false;
      at('copied').select();
      at('selected').textContent = `${what} below, selected for copying. ${description()}`;
    }
  }

  const chosen = () => selection.map((i) => ids[i]).join(', ');
  at('copy-ids').addEventListener('click', () => copy(chosen(), 'Image ids'));
  at('copy-sql').addEventListener('click', () => copy(`select image_id, path, label_name from images where image_id in (${chosen()})`, 'SQL query'));
  at('clear').addEventListener('click', () => select([]));
  at('more').addEventListener('click', more);
  at('in-view').addEventListener('click', () => {
    const { clientWidth: width, clientHeight: height } = at('stage');
    const [left, top] = cloud ? cloud.at([0, 0]) : [-SIDE, SIDE];
    const [right, bottom] = cloud ? cloud.at([width, height]) : [SIDE, -SIDE];
    select(pointsWhere((x, y) => x >= left && x <= right && y >= bottom && y <= top));
  });

  /** The visible points whose coordinates meet a condition. */
  function pointsWhere(condition) {
    const found = [];
    for (let i = 0; i < n; i++) if (shown[i] && condition(xy[2 * i], xy[2 * i + 1])) found.push(i);
    return found;
  }

  // The pointer ------------------------------------------------------------------------------------------------------------------

  let lasso = null;
  let pointed = null;
  let pressed = null;
  let asked = 0;

  function pixel(event) {
    const box = at('stage').getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  function nearest(at) {
    const [x, y] = cloud.at(at);
    let best = (NEAR / cloud.scale()) ** 2;
    let found = null;
    for (let i = 0; i < n; i++) {
      const apart = (xy[2 * i] - x) ** 2 + (xy[2 * i + 1] - y) ** 2;
      if (apart < best && shown[i]) [best, found] = [apart, i];
    }
    return found;
  }

  /** Shows a point's details beside it. */
  async function over(i) {
    if (i === pointed) return;
    pointed = i;
    at('hover').hidden = at('ring').hidden = i === null;
    if (i === null) return;
    const [x, y] = cloud.pixel([xy[2 * i], xy[2 * i + 1]]);
    const { clientWidth: width, clientHeight: height } = at('stage');
    at('ring').style.translate = `${x}px ${y}px`;
    const line = (way) => (way.of(i) === NONE ? null : el('p', {}, el('span', { class: 'quiet' }, `${way.title} `), name(way.names[way.of(i)])));
    const found = data.kinds.filter((_, group) => ways[2].has(i, group));
    const shot = el('span', { class: 'missing' }, '…');
    const file = el('p', { class: 'quiet' });
    at('hover').replaceChildren(shot, line(ways[0]) ?? '', line(ways[1]) ?? '',
      found.length ? el('p', {}, el('span', { class: 'quiet' }, 'Findings '), found.join(', ')) : '', file);
    const box = at('hover').getBoundingClientRect();
    at('hover').style.left = `${Math.max(0, x + box.width + 24 < width ? x + 16 : x - box.width - 16)}px`;
    at('hover').style.top = `${Math.min(Math.max(8, y - box.height / 2), Math.max(8, height - 260))}px`;
    const [has, paths] = await Promise.all([pictures(), prospect.load('map-paths')]);
    if (pointed !== i) return;
    file.append(name(paths[i]));
    if (has.has(ids[i])) shot.replaceWith(el('img', { src: prospect.file('thumbs', ids[i]), alt: '' }));
    else shot.textContent = 'no picture in the report';
  }

  function hovered(event) {
    cancelAnimationFrame(asked);
    const here = pixel(event);
    asked = requestAnimationFrame(() => over(nearest(here)));
  }

  plot.addEventListener('pointerdown', (event) => {
    if (!cloud || event.button !== 0 || event.target.closest('button')) return;
    pressed = pixel(event);
    if (hand !== 'lasso' && !event.shiftKey) return;
    // Keep the event from the canvas, which would pan.
    event.stopPropagation();
    event.preventDefault();
    plot.setPointerCapture(event.pointerId);
    plot.focus();
    lasso = [pressed];
    over(null);
  }, true);
  plot.addEventListener('pointermove', (event) => {
    if (!cloud) return;
    if (!lasso) {
      if (event.pointerType !== 'touch' && !event.buttons) hovered(event);
      return;
    }
    event.stopPropagation();
    lasso.push(pixel(event));
    at('lasso').setAttribute('points', lasso.map((point) => point.join()).join(' '));
  }, true);
  plot.addEventListener('pointerup', (event) => {
    const here = pixel(event);
    if (lasso) {
      event.stopPropagation();
      const corners = lasso.map((corner) => cloud.at(corner));
      lasso = null;
      at('lasso').removeAttribute('points');
      if (corners.length > 2) select(pointsWhere(inside(corners)));
    } else if (cloud && pressed && Math.hypot(here[0] - pressed[0], here[1] - pressed[1]) < 4 && !event.target.closest('button')) {
      const point = nearest(here);
      if (point !== null) prospect.open(ids[point]);
    }
    pressed = null;
  }, true);
  plot.addEventListener('pointercancel', () => {
    lasso = pressed = null;
    at('lasso').removeAttribute('points');
  });
  plot.addEventListener('pointerleave', () => {
    cancelAnimationFrame(asked);
    over(null);
  });

  /** Whether a point is within a polygon: a ray from it crosses the edges an odd number of times. */
  function inside(corners) {
    return (x, y) => {
      let odd = false;
      for (let a = 0, b = corners.length - 1; a < corners.length; b = a++) {
        const [[ax, ay], [bx, by]] = [corners[a], corners[b]];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
      }
      return odd;
    };
  }

  plot.addEventListener('keydown', (event) => {
    const step = 60;
    const does = {
      ArrowLeft: () => cloud.pan(-step, 0), ArrowRight: () => cloud.pan(step, 0), ArrowUp: () => cloud.pan(0, step), ArrowDown: () => cloud.pan(0, -step),
      '+': () => cloud.zoom(0.5), '=': () => cloud.zoom(0.5), '-': () => cloud.zoom(-0.5), 0: () => cloud.fit(layout.area),
    }[event.key];
    if (!does || !cloud || event.target !== plot || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    does();
  });
  at('closer').addEventListener('click', () => cloud.zoom(1));
  at('farther').addEventListener('click', () => cloud.zoom(-1));
  at('whole').addEventListener('click', () => cloud.fit(layout.area));

  // Layouts ----------------------------------------------------------------------------------------------------------------------

  /** Centre, width and height of the points' bounding box. */
  function area(places) {
    let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let k = 0; k < places.length; k += 2) {
      left = Math.min(left, places[k]);
      right = Math.max(right, places[k]);
      bottom = Math.min(bottom, places[k + 1]);
      top = Math.max(top, places[k + 1]);
    }
    return [(left + right) / 2, (bottom + top) / 2, Math.max(right - left, 1), Math.max(top - bottom, 1)];
  }

  let flight = 0;
  function go(to) {
    layout = to;
    over(null);
    for (const button of at('methods').querySelectorAll('button')) button.setAttribute('aria-pressed', String(button.textContent === to.title));
    at('method-note').textContent = to.note;
    cancelAnimationFrame(flight);
    if (!cloud || n > 200000 || matchMedia('(prefers-reduced-motion: reduce)').matches) return arrive();
    const [from, start, lasts] = [xy.slice(), performance.now(), 700];
    const step = () => {
      const t = Math.min(1, (performance.now() - start) / lasts);
      if (t === 1) return arrive();
      const eased = t * t * (3 - 2 * t);
      for (let k = 0; k < xy.length; k++) xy[k] = from[k] + (to.places[k] - from[k]) * eased;
      cloud.place(xy, true);
      flight = requestAnimationFrame(step);
    };
    step();
  }

  function arrive() {
    xy = layout.places.slice();
    cloud?.place(xy);
    cloud?.fit(layout.area);
  }

  // Set-up ----------------------------------------------------------------------------------------------------------------------

  at('methods').append(...layouts.map((one) => el('li', {}, el('button', { type: 'button', onclick: () => go(one) }, one.title))));
  at('way').append(...ways.filter(({ groups }) => groups.some(({ group }) => group !== NONE)).map(({ title }) => el('option', { value: title }, title)));
  at('way').addEventListener('change', () => {
    way = ways.find(({ title }) => title === at('way').value);
    at('find').value = '';
    paint();
    legend();
    if (selection.length) at('selected').textContent = description();
  });
  at('find').addEventListener('input', legend);
  at('all').addEventListener('click', () => {
    ways.forEach(({ only }) => only.clear());
    filter();
  });
  for (const button of at('hands').querySelectorAll('button')) {
    button.addEventListener('click', () => {
      hand = plot.dataset.hand = button.dataset.hand;
      for (const other of at('hands').querySelectorAll('button')) other.setAttribute('aria-pressed', String(other === button));
    });
  }
  scheme.addEventListener('change', () => {
    paint();
    legend();
  });

  function fail(message) {
    at('failed').hidden = false;
    at('failed').textContent = message;
    plot.classList.add('dead');
    for (const part of ['hands', 'closer', 'farther', 'whole', 'help']) at(part).hidden = true;
  }

  const failed = () => {
    cloud = null;
    fail('This browser has no WebGL 2, which the map needs. Filters and lists still work: choose a class, then “List images in view”.');
  };
  if (points.possible()) {
    const base = n > 50000 ? 2.5 : n > 10000 ? 3.5 : n > 1500 ? 5 : 7;
    cloud = points.canvas(at('stage'), n, { base, onView: () => over(null), onFailure: failed });
  } else {
    failed();
  }
  paint();
  legend();
  list();
  go(layout);
  plot.dataset.ready = 'true';
});
