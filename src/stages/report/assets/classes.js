'use strict';
/*
 * The page of classes. Details of classes and matrix cells come from data/classes-NN.js when first opened. The address records
 * what is open: #class=3 or #cell=3-5, indices into the list of classes.
 */
(() => {
  const { el, name, count, percent, load, thumb } = prospect;
  const AT_A_TIME = 50;
  const PAIRS = 40;
  const place = document.getElementById('confusion');
  const isMatrix = place?.dataset.matrix === 'true';
  const detail = document.getElementById('detail');
  if (!detail) return;
  const detailTitle = document.getElementById('detail-title');
  const content = document.getElementById('detail-content');

  /** The value of data/classes.js. */
  let facts;
  let classes;

  const nameOf = (at) => classes[at]?.name ?? facts.other_classes[at - classes.length] ?? '?';
  const shard = (at) => load(`classes-${String(Math.floor(at / facts.at_a_time)).padStart(2, '0')}`);
  const accuracyOf = (one) => (one.evaluated > 0 ? one.correct / one.evaluated : null);
  const has = (one, words) => one.toLowerCase().includes(words.trim().toLowerCase());

  const svg = (tag, attributes, ...children) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const of = (share) => `${(100 * share).toFixed(2)}%`;
  /** A bar for a fraction, with its interval and, if given, the value to compare with. */
  const interval = (share, low, high, overall) => svg('svg', { class: 'interval', 'aria-hidden': 'true' },
    svg('rect', { class: 'length', width: of(share), height: '100%', rx: 2 }),
    svg('line', { class: 'range', x1: of(low), x2: of(high), y1: '50%', y2: '50%' }),
    overall === undefined ? '' : svg('line', { class: 'overall', x1: of(overall), x2: of(overall), y1: '0', y2: '100%' }));
  const toClass = (at, className) => el('button', { type: 'button', class: `link ${className ?? ''}`, onclick: () => openClass(at) }, name(nameOf(at)));

  /* The confusion matrix, for few classes. */

  function matrix() {
    const n = classes.length;
    const others = facts.other_classes.length > 0;
    const counts = new Map();
    let most = 0;
    for (const [from, to, number] of facts.cells) {
      const column = Math.min(to, n);
      const key = `${from}-${column}`;
      const share = number / Math.max(classes[from].evaluated, 1);
      const sum = counts.get(key) ?? { n: 0, share: 0, to, alone: 0 };
      counts.set(key, { n: sum.n + number, share: sum.share + share, to: sum.n >= number ? sum.to : to, alone: sum.alone + 1 });
      if (from !== column) most = Math.max(most, counts.get(key).share);
    }
    const columns = [...classes.keys(), ...(others ? [n] : [])];
    const head = el('tr', {}, el('td', { class: 'corner' }, el('span', { class: 'quiet' }, 'label ↓ prediction →')),
      columns.map((at) => el('th', { scope: 'col' }, el('span', {}, at === n ? 'others' : name(nameOf(at))))));
    const body = classes.map((one, from) => el('tr', {}, el('th', { scope: 'row' }, toClass(from)),
      columns.map((to) => {
        const cell = counts.get(`${from}-${to}`);
        if (!cell) return el('td', { class: 'none' }, '·');
        const right = from === to;
        const text = `${one.name} predicted as ${to === n ? 'other classes' : nameOf(to)}: ${count(cell.n)}, ${percent(cell.share, 1)}`;
        const button = el('button', {
          type: 'button', tabIndex: -1, 'data-cell': `${from}-${to}`, 'aria-label': prospect.visible(text), title: prospect.visible(text),
          onclick: () => (to === n && cell.alone > 1 ? openClass(from) : openCell(from, cell.to)),
        }, count(cell.n));
        const td = el('td', { class: right ? 'right' : 'wrong' }, button);
        td.style.setProperty('--share', String(right ? cell.share : most > 0 ? cell.share / most : 0));
        return td;
      })));
    const table = el('table', { class: `matrix${n > 12 ? ' many' : ''}`, 'aria-describedby': 'matrix-keys' }, el('thead', {}, head), el('tbody', {}, body));
    const first = table.querySelector('td button');
    if (first) first.tabIndex = 0;
    table.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      const from = event.target.closest('td');
      if (!step || !from) return;
      event.preventDefault();
      const rows = [...table.tBodies[0].rows];
      let row = rows.indexOf(from.parentElement);
      let column = from.cellIndex;
      let button = null;
      while (!button) {
        row += step[0];
        column += step[1];
        const cell = rows[row]?.cells[column];
        if (!cell || column < 1) return;
        button = cell.querySelector('button');
      }
      event.target.tabIndex = -1;
      button.tabIndex = 0;
      button.focus();
    });
    place.replaceChildren(table, el('p', { class: 'quiet', id: 'matrix-keys' }, 'Click a cell to see its images; arrow keys move between cells.'));
  }

  /* The most confused pairs, for many classes. */

  function pairs(words = '') {
    const mistakes = facts.cells.filter(([from, to]) => from !== to && (words === '' || has(nameOf(from), words) || has(nameOf(to), words)));
    mistakes.sort((a, b) => b[2] - a[2] || a[0] - b[0]);
    const rows = mistakes.slice(0, PAIRS).map(([from, to, n]) => el('tr', {},
      el('td', {}, toClass(from), el('span', { class: 'quiet' }, ' predicted as '), name(nameOf(to))),
      el('td', { class: 'number' }, el('button', { type: 'button', class: 'link', 'data-cell': `${from}-${to}`, onclick: () => openCell(from, to) }, count(n), el('span', { class: 'hidden' }, ' images'))),
      el('td', { class: 'number quiet' }, percent(n / Math.max(classes[from].evaluated, 1), 1))));
    const table = el('table', { class: 'pairs' },
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Label and prediction'), el('th', { scope: 'col', class: 'number' }, 'Images'), el('th', { scope: 'col', class: 'number' }, 'Of the class'))),
      el('tbody', {}, rows));
    const more = mistakes.length - rows.length;
    place.replaceChildren(rows.length > 0 ? table : el('p', { class: 'quiet' }, 'No pairs.'),
      more > 0 ? el('p', { class: 'quiet' }, `${count(more)} more pairs: search for a class to see them.`) : '');
  }

  /* The open class or cell. */

  function mark(key, address) {
    for (const button of document.querySelectorAll('[data-cell]')) button.classList.toggle('open', button.dataset.cell === key);
    if (address) history.replaceState(null, '', address);
  }

  function opened(...children) {
    content.replaceChildren(...children.flat().filter(Boolean));
    detail.hidden = false;
  }

  /** Scrolls to the detail unless it is already beside the matrix. */
  function look() {
    detailTitle.focus({ preventScroll: true });
    const { top } = detail.getBoundingClientRect();
    if (top < 0 || top > window.innerHeight * 0.6) detail.scrollIntoView({ block: 'start' });
  }

  /** `initial`: opened by the page itself, so neither focused nor recorded in the address. */
  async function openCell(from, to, initial = false) {
    const key = isMatrix ? `${from}-${Math.min(to, classes.length)}` : `${from}-${to}`;
    mark(key, initial ? null : `#cell=${from}-${to}`);
    const [, , n] = facts.cells.find(([a, b]) => a === from && b === to) ?? [from, to, 0];
    const ids = (await shard(from)).cells[`${from}-${to}`] ?? [];
    const right = from === to;
    detailTitle.replaceChildren(...(right ? [name(nameOf(from)), ' predicted correctly'] : [name(nameOf(from)), ' predicted as ', name(nameOf(to))]));
    const share = n / Math.max(classes[from].evaluated, 1);
    const back = !right && facts.cells.find(([a, b]) => a === to && b === from);
    const images = el('div', { class: 'grid' });
    const note = el('p', { class: 'quiet' });
    opened(
      el('p', {}, `${count(n)} of ${count(classes[from].evaluated)} images, ${percent(share, 1)}. ${right ? 'Least confident first.' : 'Most confident mistakes first.'}`),
      images, note,
      el('p', {}, 'About ', toClass(from), !right && classes[to] ? [' and ', toClass(to)] : '',
        back ? ['; the reverse: ', el('button', { type: 'button', class: 'link', onclick: () => openCell(to, from) }, `${count(back[2])} images`)] : '', '.'));
    await fill(images, ids, n, note);
    if (!initial) look();
  }

  /** Shows the images that are in the report and counts the others. */
  async function fill(images, ids, n, note) {
    const known = await Promise.all(ids.map((id) => prospect.image(id).catch(() => null)));
    const there = ids.filter((_, at) => known[at]);
    images.append(...there.map((id) => thumb(id)));
    const missing = n - there.length;
    if (missing > 0) note.textContent = there.length === 0 ? 'None of these images is in the report, which shows part of the dataset.' : `${count(missing)} more are not in the report.`;
    else note.remove();
  }

  /** The mean map over the network's input, from dark to bright. */
  function meanMap(one, map) {
    const bytes = Uint8Array.from(atob(map.values), (c) => c.charCodeAt(0));
    const small = el('canvas', { width: map.width, height: map.height });
    const pixels = new ImageData(map.width, map.height);
    bytes.forEach((value, at) => {
      const share = value / 255;
      const stops = [[13, 16, 35], [88, 28, 110], [196, 60, 78], [246, 148, 52], [252, 240, 170]];
      const step = Math.min(share * (stops.length - 1), stops.length - 1.001);
      const [low, high, part] = [stops[Math.floor(step)], stops[Math.floor(step) + 1], step % 1];
      low.forEach((value, channel) => { pixels.data[4 * at + channel] = value + (high[channel] - value) * part; });
      pixels.data[4 * at + 3] = 255;
    });
    small.getContext('2d').putImageData(pixels, 0, 0);
    const wide = Math.round(200 * Math.min(1, map.width / map.height));
    const high = Math.round(200 * Math.min(1, map.height / map.width));
    const canvas = el('canvas', { class: 'map', width: wide, height: high, role: 'img', 'aria-label': prospect.visible(`Where the network looked on average for ${one.name}: ${strongest(bytes, map)}`) });
    const drawing = canvas.getContext('2d');
    drawing.imageSmoothingQuality = 'high';
    drawing.drawImage(small, 0, 0, wide, high);
    return el('figure', { class: 'mean' }, canvas, el('figcaption', {}, `Where the network looked: mean map of ${count(map.images)} images (`, name(facts.map_of ?? ''), ')'));
  }

  /** The position of the maximum, by thirds. */
  function strongest(bytes, { width, height }) {
    const at = bytes.indexOf(Math.max(...bytes));
    const third = (value, of) => Math.min(2, Math.floor((3 * (value + 0.5)) / of));
    const words = [['top left', 'top', 'top right'], ['left', 'middle', 'right'], ['bottom left', 'bottom', 'bottom right']];
    return `strongest at the ${words[third(Math.floor(at / width), height)][third(at % width, width)]}`;
  }

  async function openClass(at) {
    const one = classes[at];
    mark(null, `#class=${at}`);
    const { classes: about, cells } = await shard(at);
    const known = about[at];
    detailTitle.replaceChildren(name(one.name));
    const terms = el('dl', { class: 'facts' });
    const fact = (term, ...value) => terms.append(el('div', {}, el('dt', {}, term), el('dd', {}, ...value)));
    fact('Images', count(one.images));
    const accuracy = accuracyOf(one);
    if (accuracy !== null) fact('Accuracy', `${percent(accuracy, 1)} `, el('span', { class: 'quiet' }, `(95 %: ${percent(one.low, 1)} to ${percent(one.high, 1)})`));
    const cell = ([from, to, n], shown) => el('li', {}, name(nameOf(shown)), ' ', el('button', { type: 'button', class: 'link', 'aria-label': prospect.visible(`${count(n)} images of ${nameOf(from)} predicted as ${nameOf(to)}`), onclick: () => openCell(from, to) }, count(n)));
    const list = (cells, shown) => el('ul', { class: 'inline' }, cells.toSorted((a, b) => b[2] - a[2]).slice(0, 6).map((found) => cell(found, shown(found))));
    const away = facts.cells.filter(([from, to]) => from === at && to !== at);
    const into = facts.cells.filter(([from, to]) => to === at && from !== at);
    if (away.length > 0) fact('Predicted as', list(away, ([, to]) => to));
    if (into.length > 0) fact('Confused with it', list(into, ([from]) => from));
    if (one.own !== null) fact('Neighbours', `${percent(one.own)} of its own class`, known.overlap.length > 0 ? el('ul', { class: 'inline' }, known.overlap.slice(0, 4).map(([other, share]) => el('li', {}, name(nameOf(other)), ` ${percent(share, 1)}`))) : null);
    fact('Units', el('a', { href: `units.html#${new URLSearchParams({ class: one.name })}` }, 'units that fire for it'));
    const parts = [el('div', { class: known.map ? 'side' : '' }, terms, known.map ? meanMap(one, known.map) : null)];
    if (known.shortcuts.length > 0) {
      parts.push(el('h3', {}, 'Shortcuts'), el('ul', { class: 'findings' }, known.shortcuts.map(({ evidence, flagged }) =>
        el('li', { class: flagged ? 'flagged' : 'candidate' }, el('span', { class: 'tag' }, flagged ? 'finding' : 'candidate'), ' ', name(evidence)))),
      el('p', {}, el('a', { href: 'shortcuts.html' }, 'See the pictures')));
    }
    if (known.groups.length > 0) {
      parts.push(el('h3', {}, 'Groups with low accuracy', el('span', { class: 'quiet by' }, facts.groups_by === 'network' ? ' compared with the rest of the class' : ' compared with the rest of the class, by the probe')), el('ul', { class: 'bars' }, known.groups.map((group) => el('li', {},
        el('span', { class: 'name' }, el('span', { class: 'quiet' }, name(group.attribute)), ' ', name(group.value)),
        interval(group.accuracy, ...group.interval, group.rest), el('span', { class: 'number' }, percent(group.accuracy, 1), el('span', { class: 'quiet' }, ` of ${count(group.images)}`))))));
    }
    const ids = cells[`${at}-${at}`] ?? [];
    const images = el('div', { class: 'grid small' });
    const note = el('p', { class: 'quiet' });
    if (ids.length > 0) parts.push(el('h3', {}, 'Correct, least confident'), images, note);
    opened(...parts);
    await fill(images, ids.slice(0, 12), 0, note);
    look();
  }

  /* The table of all classes. */

  const table = document.getElementById('class-table');
  const pager = document.getElementById('table-pager');
  const listed = { words: '', sort: 'worst', first: 0 };
  const orders = {
    worst: (a, b) => (accuracyOf(a) ?? 2) - (accuracyOf(b) ?? 2) || a.at - b.at,
    images: (a, b) => b.images - a.images || a.at - b.at,
    name: (a, b) => a.name.localeCompare(b.name),
  };

  function drawTable() {
    const evaluated = classes.some((one) => one.evaluated > 0);
    const neighbours = classes.some((one) => one.own !== null);
    const found = classes.filter((one) => listed.words === '' || has(one.name, listed.words)).sort(orders[listed.sort]);
    const column = (text, number) => el('th', { scope: 'col', class: number ? 'number' : '' }, text);
    table.tHead.replaceChildren(el('tr', {}, column('Class'), column('Images', true),
      evaluated ? [column('Accuracy'), column('95 %', true), column('Most often predicted as')] : null, neighbours ? column('Same-class neighbours', true) : null));
    const worst = new Map();
    for (const cell of facts.cells) {
      const [from, to, n] = cell;
      if (from !== to && n > (worst.get(from)?.[2] ?? 0)) worst.set(from, cell);
    }
    table.tBodies[0].replaceChildren(...found.slice(listed.first, listed.first + AT_A_TIME).map((one) => {
      const accuracy = accuracyOf(one);
      const most = worst.get(one.at);
      return el('tr', {}, el('th', { scope: 'row' }, toClass(one.at)), el('td', { class: 'number' }, count(one.images)),
        evaluated ? [
          el('td', { class: 'strength' }, accuracy === null ? '–' : [interval(accuracy, one.low, one.high), el('span', {}, percent(accuracy, 1))]),
          el('td', { class: 'number quiet' }, accuracy === null ? '' : `${(100 * one.low).toFixed(1)} to ${percent(one.high, 1)}`),
          el('td', {}, most ? [name(nameOf(most[1])), ' ', el('button', { type: 'button', class: 'link', 'aria-label': prospect.visible(`${count(most[2])} images of ${one.name} predicted as ${nameOf(most[1])}`), onclick: () => openCell(most[0], most[1]) }, count(most[2]))] : ''),
        ] : null,
        neighbours ? el('td', { class: 'number' }, one.own === null ? '' : percent(one.own)) : null);
    }));
    pager.hidden = found.length <= AT_A_TIME;
    const go = (first) => () => { listed.first = first; drawTable(); table.scrollIntoView({ block: 'start' }); };
    const last = Math.min(listed.first + AT_A_TIME, found.length);
    pager.replaceChildren(
      el('button', { type: 'button', class: 'button', disabled: listed.first === 0, onclick: go(listed.first - AT_A_TIME) }, '← Previous'),
      el('span', { class: 'quiet' }, `${count(listed.first + 1)} to ${count(last)} of ${count(found.length)}`),
      el('button', { type: 'button', class: 'button', disabled: last === found.length, onclick: go(last) }, 'Next →'));
    for (const button of document.querySelectorAll('#table-sort button')) button.setAttribute('aria-pressed', String(button.dataset.sort === listed.sort));
  }

  document.getElementById('table-class').addEventListener('input', (event) => { listed.words = event.target.value; listed.first = 0; drawTable(); });
  document.getElementById('table-sort').addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    listed.sort = button.dataset.sort;
    listed.first = 0;
    drawTable();
  });
  document.getElementById('pair-class')?.addEventListener('input', (event) => pairs(event.target.value));
  document.getElementById('pair-class')?.form.addEventListener('submit', (event) => event.preventDefault());

  /** Opens what the address names, or else the most confused pair. */
  function recall() {
    const words = new URLSearchParams(location.hash.slice(1));
    const [from, to] = (words.get('cell') ?? '').split('-').map(Number);
    if (classes[from] && facts.cells.some(([a, b]) => a === from && b === to)) return openCell(from, to);
    if (classes[words.get('class')]) return openClass(Number(words.get('class')));
    const mistakes = facts.cells.filter(([from, to]) => from !== to).sort((a, b) => b[2] - a[2]);
    return mistakes.length > 0 && place ? openCell(mistakes[0][0], mistakes[0][1], true) : undefined;
  }

  load('classes').then((value) => {
    facts = value;
    classes = facts.classes.map(([name, images, evaluated, correct, low, high, own], at) => ({ at, name, images, evaluated, correct, low, high, own }));
    const names = classes.slice(0, 2000).map((one) => el('option', { value: one.name }));
    document.getElementById('class-names').append(...names);
    if (place) (isMatrix ? matrix : pairs)();
    drawTable();
    return recall();
  }).catch((error) => { table.tBodies[0].replaceChildren(el('tr', {}, el('td', {}, error.message))); });
  window.addEventListener('hashchange', recall);
})();
