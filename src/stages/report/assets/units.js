'use strict';
/*
 * The page of units. A layer's units come from data/units-NN.js on first use; 48 are shown at a time. The address records what is
 * shown: #layer=5&class=horse&unit=73.
 */
(() => {
  const { el, name, count, percent, load, thumb } = prospect;
  const AT_A_TIME = 48;
  const list = document.getElementById('units');
  if (!list) return;
  const about = document.getElementById('units-about');
  const title = document.getElementById('units-title');
  const pager = document.getElementById('units-pager');
  const classField = document.getElementById('unit-class');
  const numberField = document.getElementById('unit-number');

  /** The value of data/units.js, and the layers loaded so far. */
  let facts;
  const read = new Map();
  /** `layer`: an index, or null for all; `first`: the first unit of the page. */
  const state = { layer: null, class: null, number: '', sort: 'selectivity', first: 0 };
  /** The units found, as [layer, unit]. */
  let found = [];

  /** A layer's units by number. */
  async function layer(at) {
    if (!read.has(at)) {
      const rows = await load(`units-${String(at).padStart(2, '0')}`);
      read.set(at, new Map(rows.map((row) => {
        const [unit, selectivity, frequency, active, mean, low, max, top, classes, images, bars, traced] = row;
        return [unit, { layer: at, unit, selectivity, frequency, active, mean, low, max, top, classes, images, bars, traced: traced === 1 }];
      })));
    }
    return read.get(at);
  }

  const firesEnough = (unit) => unit.active >= facts.k;
  const ofClass = (unit, at) => unit.classes.find(([found]) => found === at)?.[1] ?? 0;
  const own = (unit, at) => (unit.top === at ? unit.selectivity : -1);
  const exclusiveness = (unit) => (unit.classes[0]?.[1] ?? 0) / Math.max(unit.images.length, 1);
  const orders = {
    selectivity: (a, b) => firesEnough(b) - firesEnough(a) || b.selectivity - a.selectivity,
    frequency: (a, b) => b.frequency - a.frequency,
    exclusiveness: (a, b) => firesEnough(b) - firesEnough(a) || exclusiveness(b) - exclusiveness(a) || b.selectivity - a.selectivity,
    number: (a, b) => a.layer - b.layer || a.unit - b.unit,
  };

  /** Without units repeated unchanged in a later layer, as behind a padding. */
  function distinct(units) {
    const seen = new Set();
    return units.filter((unit) => {
      const key = `${unit.unit} ${unit.selectivity} ${unit.images.join(' ')}`;
      return !seen.has(key) && seen.add(key);
    });
  }

  /** The units that match the fields, in order. */
  async function search() {
    const at = state.class === null ? null : facts.classes.indexOf(state.class);
    const number = state.number === '' ? null : Number(state.number);
    if (state.layer === null) {
      if (number !== null) {
        const places = facts.layers.map((_, place) => place).filter((place) => facts.layers[place].units > number);
        const units = await Promise.all(places.map(async (place) => (await layer(place)).get(number)));
        return units.filter(Boolean);
      }
      let pairs;
      if (at === null) pairs = facts.layers.map(({ best }, place) => best.map((unit) => [place, unit])).reverse().flat().slice(0, AT_A_TIME);
      else pairs = (await load('units-classes'))[at] ?? [];
      const units = distinct(await Promise.all(pairs.map(async ([place, unit]) => (await layer(place)).get(unit))));
      return state.sort === 'selectivity' ? units : units.toSorted(orders[state.sort]);
    }
    let units = [...(await layer(state.layer)).values()];
    if (number !== null) return units.filter(({ unit }) => unit === number);
    if (at !== null) {
      units = units.filter((unit) => ofClass(unit, at) > 0 || unit.top === at);
      if (state.sort === 'selectivity') {
        return units.sort((a, b) => firesEnough(b) - firesEnough(a) || ofClass(b, at) - ofClass(a, at) || own(b, at) - own(a, at));
      }
    }
    return units.sort(orders[state.sort]);
  }

  /** Describes the list. */
  function description() {
    const plural = (n, one) => `${count(n)} ${one}${n === 1 ? '' : 's'}`;
    const parts = [];
    if (state.layer === null) {
      if (state.number !== '') parts.push(`${plural(found.length, 'layer')} with a sheet of unit ${state.number}.`);
      else if (state.class !== null) parts.push(`${plural(found.length, 'unit')} from all layers, those with the most top images of this class first.`);
      else parts.push('The most selective units of each layer, last layers first. Choose a layer to see all its units.');
    } else {
      const { units, sheets } = facts.layers[state.layer];
      if (state.class !== null || state.number !== '') parts.push(`${plural(found.length, 'unit')} of ${count(sheets)} with a sheet.`);
      else parts.push(`${plural(sheets, 'unit')} with a sheet, of ${count(units)}.`);
      if (sheets === 0) parts.push('Sheets are drawn for the units listed in [patches] units.');
    }
    if (state.class === null && state.number === '' && facts.k > 0 && state.sort !== 'number' && state.sort !== 'frequency') {
      parts.push(`Units active on fewer than ${facts.k} images come last.`);
    }
    return parts.join(' ');
  }

  function heading() {
    const where = state.layer === null ? [] : [' in ', el('code', {}, name(facts.layers[state.layer].name))];
    if (state.number !== '') return [`Unit ${state.number}`, ...where];
    if (state.class !== null) return ['Units that fire for ', name(state.class), ...where];
    return state.layer === null ? ['The most selective units'] : [el('code', {}, name(facts.layers[state.layer].name))];
  }

  const svg = (tag, attributes, ...children) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  const figure = (value) => {
    if (value === null) return '–';
    const size = Math.abs(value);
    return size !== 0 && (size < 0.001 || size >= 100000) ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  };

  /** Histogram of the unit's activations. */
  function histogram(unit) {
    const n = unit.bars.length;
    const text = `Histogram of activations from ${figure(unit.low)} to ${figure(unit.max)}; active on ${percent(unit.frequency)} of the images`;
    const bars = unit.bars.map((bar, place) => svg('rect', { x: place * 10, y: 100 - bar, width: 9, height: bar }));
    return svg('svg', { class: 'histogram', viewBox: `0 0 ${n * 10} 100`, preserveAspectRatio: 'none', role: 'img', 'aria-label': text }, ...bars);
  }

  const sheet = (unit, stage = 'patches') => `../pictures/${stage}/${facts.layers[unit.layer].folder}/unit-${String(unit.unit).padStart(4, '0')}.png`;

  /** Class names of the unit's top images, with counts. */
  function profileOf(unit, most) {
    return unit.classes.slice(0, most).map(([at, n]) => [facts.classes[at] ?? '?', n]);
  }

  function card(unit, place) {
    const where = facts.layers[unit.layer].name;
    const classes = profileOf(unit, 3);
    const of = classes.length > 0 ? `: ${classes.map(([of, n]) => `${n} of ${of}`).join(', ')}` : '';
    const chips = classes.map(([of, n]) => el('li', {}, name(of), n > 1 ? el('span', { class: 'quiet' }, ` ${n}`) : null));
    return el('li', { class: 'unit' },
      el('button', { type: 'button', class: 'sheet', 'data-place': place, onclick: () => show(place), 'aria-label': prospect.visible(`Unit ${unit.unit} of ${where}, top patches${of}`) },
        el('img', { src: sheet(unit), alt: '', loading: 'lazy', decoding: 'async', width: 296, height: 296 })),
      el('div', { class: 'about' },
        el('p', { class: 'title' }, el('strong', {}, `Unit ${unit.unit}`), el('span', { class: 'quiet', title: 'selectivity' }, unit.selectivity.toFixed(2))),
        state.layer === null ? el('p', { class: 'where quiet' }, el('code', {}, name(where))) : null,
        unit.bars.length > 0 ? histogram(unit) : null,
        chips.length > 0 ? el('ul', { class: 'profile', 'aria-label': 'Classes of these images' }, chips) : null));
  }

  /** Buttons to the previous and next page. */
  function turns() {
    pager.hidden = found.length <= AT_A_TIME;
    const go = (first) => () => { state.first = first; draw(); title.focus({ preventScroll: true }); title.scrollIntoView({ block: 'start' }); };
    const last = Math.min(state.first + AT_A_TIME, found.length);
    pager.replaceChildren(
      el('button', { type: 'button', class: 'button', disabled: state.first === 0, onclick: go(state.first - AT_A_TIME) }, '← Previous'),
      el('span', { class: 'quiet' }, `${count(state.first + 1)} to ${count(last)} of ${count(found.length)}`),
      el('button', { type: 'button', class: 'button', disabled: last === found.length, onclick: go(last) }, 'Next →'));
  }

  function draw() {
    title.replaceChildren(...heading());
    about.textContent = description();
    list.replaceChildren(...found.slice(state.first, state.first + AT_A_TIME).map((unit, place) => card(unit, state.first + place)));
    turns();
    for (const button of document.querySelectorAll('#layers button')) {
      const chosen = button.dataset.layer === String(state.layer ?? 'all');
      button.setAttribute('aria-pressed', String(chosen));
    }
    for (const button of document.querySelectorAll('#unit-sort button')) button.setAttribute('aria-pressed', String(button.dataset.sort === state.sort));
  }

  /** Searches and draws; the latest of concurrent calls wins. */
  let turn = 0;
  async function refresh() {
    const mine = ++turn;
    let units;
    try {
      units = await search();
    } catch (error) {
      about.textContent = error.message;
      return;
    }
    if (mine !== turn) return;
    found = units;
    state.first = 0;
    draw();
    remember();
  }

  function remember(unit) {
    const words = new URLSearchParams();
    if (state.layer !== null) words.set('layer', state.layer);
    if (state.class !== null) words.set('class', state.class);
    if (state.sort !== 'selectivity') words.set('sort', state.sort);
    if (unit !== undefined) words.set('unit', unit);
    history.replaceState(null, '', `#${words}`);
  }

  /** Restores the state from the address and opens its unit. */
  async function recall() {
    const words = new URLSearchParams(location.hash.slice(1));
    const at = words.get('layer');
    state.layer = facts.layers[at] ? Number(at) : null;
    state.class = facts.classes.includes(words.get('class')) ? words.get('class') : null;
    state.sort = words.get('sort') in orders ? words.get('sort') : 'selectivity';
    state.number = '';
    if (classField) classField.value = state.class ?? '';
    numberField.value = '';
    const unit = words.get('unit');
    await refresh();
    const place = unit === null ? -1 : found.findIndex((one) => one.unit === Number(unit) && (state.layer === null || one.layer === state.layer));
    if (place >= 0) {
      state.first = Math.floor(place / AT_A_TIME) * AT_A_TIME;
      draw();
      show(place);
    }
  }

  let dialog;
  let shown = 0;

  function build() {
    const step = (by) => () => { if (found[shown + by]) show(shown + by); };
    dialog = el('dialog', { class: 'picture unit-dialog', 'aria-labelledby': 'unit-heading' },
      el('div', { class: 'tools' },
        el('button', { type: 'button', class: 'plain before', 'aria-label': 'Previous unit', onclick: step(-1) }, '←'),
        el('button', { type: 'button', class: 'plain after', 'aria-label': 'Next unit', onclick: step(1) }, '→'),
        el('strong', { id: 'unit-heading' }), el('span', { class: 'grow' }),
        el('button', { type: 'button', class: 'plain', 'aria-label': 'Close', onclick: () => dialog.close() }, '✕')),
      el('div', { class: 'content', tabIndex: -1, autofocus: true }));
    dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener('keydown', (event) => {
      if (event.key === 'ArrowLeft') step(-1)();
      if (event.key === 'ArrowRight') step(1)();
    });
    dialog.addEventListener('close', () => {
      remember();
      list.querySelector(`[data-place="${shown}"]`)?.focus();
    });
    document.body.append(dialog);
  }

  /** Shows a unit's details in the dialog. */
  async function show(place) {
    if (!dialog) build();
    shown = place;
    const unit = found[place];
    const { name: where, query, units } = facts.layers[unit.layer];
    remember(unit.unit);
    dialog.querySelector('#unit-heading').replaceChildren(`Unit ${unit.unit} of `, el('code', {}, name(where)));
    dialog.querySelector('.before').disabled = place === 0;
    dialog.querySelector('.after').disabled = place === found.length - 1;
    const terms = el('dl', { class: 'facts' });
    const fact = (term, ...value) => terms.append(el('div', {}, el('dt', {}, term), el('dd', {}, ...value)));
    fact('Selectivity', unit.selectivity.toFixed(3));
    if (unit.top !== null) fact('Strongest class', name(facts.classes[unit.top]), el('span', { class: 'quiet' }, ' by mean activation'));
    fact('Active on', `${percent(unit.frequency, 1)} of the images`, el('span', { class: 'quiet' }, ` (${count(unit.active)})`));
    fact('Mean activation', figure(unit.mean));
    fact('Maximum', figure(unit.max));
    const of = facts.counted < facts.images ? ` of ${count(facts.counted)} images, an even sample of all ${count(facts.images)}` : '';
    const chart = unit.bars.length === 0 ? null : el('figure', { class: 'chart' }, histogram(unit),
      el('div', { class: 'axis quiet' }, el('span', {}, figure(unit.low)), el('span', {}, figure(unit.max))),
      el('figcaption', {}, unit.low < 0 ? `Activations${of}` : `Activations${of} above 0; the unit is silent on the others`));
    const profile = unit.classes.length === 0 ? null : el('section', {},
      el('h3', {}, facts.by === 'label' ? 'Labels of its top images' : 'Predictions for its top images'),
      el('ul', { class: 'bars' }, profileOf(unit, 9).map(([of, n]) => el('li', {}, name(of, 'name'),
        svg('svg', { 'aria-hidden': 'true' }, svg('rect', { width: `${(100 * n) / unit.images.length}%`, height: '100%', rx: 2 })),
        el('span', { class: 'number' }, `${n} of ${unit.images.length}`)))));
    const images = el('div', { class: 'grid small' });
    const command = `prospect unit ${JSON.stringify(`${query}:${unit.unit}`)}`;
    dialog.querySelector('.content').replaceChildren(
      el('div', { class: 'side' },
        el('div', {},
          el('figure', {}, el('img', { src: sheet(unit), alt: `The patches of ${unit.images.length} images that activate the unit most`, class: 'sheet' }),
            el('figcaption', {}, 'The patches that activate it most, cropped to its receptive field.')),
          unit.traced ? el('figure', { class: 'traced' }, el('img', { src: sheet(unit, 'backprop'), alt: 'Each patch beside the pixels that caused the activation', loading: 'lazy' }),
            el('figcaption', {}, 'Each patch beside the pixels that caused the activation, by the rule named above it.')) : null),
        el('div', {}, terms, chart, profile)),
      el('section', {}, el('h3', {}, 'Full images'), images),
      el('p', { class: 'quiet' }, `One of ${count(units)} units of this layer. For more: `, el('code', {}, prospect.visible(command))));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    const known = await Promise.all(unit.images.map((id) => prospect.image(id).catch(() => null)));
    if (found[shown] !== unit) return;
    const there = unit.images.filter((_, at) => known[at]);
    images.append(...there.map((id) => thumb(id)));
    const missing = unit.images.length - there.length;
    if (missing > 0) images.after(el('p', { class: 'quiet' }, there.length === 0 ? 'These images are not in the report, which shows part of the dataset.' : `${count(missing)} more are not in the report.`));
  }

  document.getElementById('layers').addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    state.layer = button.dataset.layer === 'all' ? null : Number(button.dataset.layer);
    refresh();
  });
  document.getElementById('unit-sort').addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    state.sort = button.dataset.sort;
    refresh();
  });
  /** The class for a search text: the one of that name, else the first that starts with it, else the first that contains it. */
  function classFor(text) {
    const words = text.trim().toLowerCase();
    if (words === '') return null;
    const like = (test) => facts.classes.filter((known) => test(known.toLowerCase()));
    const exact = like((known) => known === words);
    if (exact.length > 0) return exact[0];
    const starting = like((known) => known.startsWith(words));
    const containing = like((known) => known.includes(words));
    return starting[0] ?? containing[0] ?? undefined;
  }
  function ask() {
    const chosen = classField ? classFor(classField.value) : null;
    state.number = /^\d+$/.test(numberField.value.trim()) ? String(Number(numberField.value)) : '';
    if (chosen === undefined) {
      turn += 1;
      found = [];
      state.class = null;
      draw();
      title.replaceChildren('No such class');
      about.textContent = `None of the ${count(facts.classes.length)} classes of this dataset matches.`;
      return;
    }
    state.class = chosen;
    refresh();
  }
  document.getElementById('unit-search').addEventListener('submit', (event) => { event.preventDefault(); ask(); });
  document.getElementById('unit-search').addEventListener('input', ask);
  window.addEventListener('hashchange', recall);

  load('units').then((value) => {
    facts = value;
    return recall();
  }).catch((error) => { about.textContent = error.message; });
})();
