'use strict';
/*
 * Shared by all pages: data loaded as scripts (a page opened from disk may not fetch), thumbnails loaded when they come into view,
 * and the dialog with an image's details. Text is never parsed as HTML.
 */
const prospect = (() => {
  const values = new Map();
  const waiting = new Map();

  /** Called by the data files. */
  function data(name, value) {
    values.set(name, value);
  }

  /** The value of data/NAME.js. */
  function load(name) {
    if (!waiting.has(name)) {
      waiting.set(name, new Promise((resolve, reject) => {
        if (values.has(name)) return resolve(values.get(name));
        const script = document.createElement('script');
        script.src = `data/${name}.js`;
        script.onload = () => (values.has(name) ? resolve(values.get(name)) : reject(new Error(`data/${name}.js is invalid`)));
        script.onerror = () => reject(new Error(`data/${name}.js cannot be read`));
        document.head.append(script);
      }));
    }
    return waiting.get(name);
  }

  const padded = (number, digits) => String(number).padStart(digits, '0');
  const shardOf = (id) => padded(Math.floor(id / 1000), 3);
  const file = (folder, id) => `${folder}/${shardOf(id)}/${padded(id, 6)}.jpg`;

  /** The record of an image; null if it is not in the report. */
  async function image(id) {
    const { shards } = await load('index');
    const shard = shardOf(id);
    if (!shards.includes(shard)) return null;
    const records = await load(`images-${shard}`);
    return records[id] ?? null;
  }

  /** Text with control and reordering characters made visible, as by `text::escaped`. */
  function visible(text) {
    const control = /[\p{Cc}\u2028-\u202e\u2066-\u2069\u200e\u200f\u061c\ufeff]/gu;
    const named = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
    return String(text).replace(control, (c) => named[c] ?? `\\u{${c.codePointAt(0).toString(16)}}`);
  }

  /** An element: properties by name (class, data-…, aria-… and on… too), children as elements or text. */
  function el(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
      else if (name === 'class') element.className = value;
      else if (name.includes('-') || name === 'role' || name === 'for') element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  /** Text from the dataset, isolated from the direction of the text around it. */
  const name = (text, className) => el('bdi', { class: className, dir: 'auto' }, visible(text));

  const count = (number) => Math.round(number).toLocaleString('en');
  const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;

  const inView = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        inView.unobserve(entry.target);
        fill(entry.target);
      }
    }
  }, { rootMargin: '300px' });

  async function fill(button) {
    const id = Number(button.dataset.image);
    const record = await image(id).catch(() => null);
    const what = record ? visible(record.path) + (record.label ? `, labelled ${visible(record.label)}` : '') : `image ${id}`;
    button.setAttribute('aria-label', what);
    button.title = what;
    if (record?.thumb) {
      button.prepend(el('img', { src: file(button.dataset.large && record.large ? 'large' : 'thumbs', id), alt: '', decoding: 'async', draggable: false }));
    } else {
      button.prepend(el('span', { class: 'missing' }, record ? 'unreadable' : 'not in the report'));
    }
    button.classList.add('filled');
  }

  /** A button with the image's thumbnail, which opens the image. `note` is its caption. */
  function thumb(id, { note, large, near } = {}) {
    const button = el('button', { class: 'thumb', type: 'button', 'data-image': id, 'aria-label': `image ${id}`, onclick: () => open(id, near) });
    if (large) button.dataset.large = '1';
    if (note) button.append(el('span', { class: 'note' }, note));
    inView.observe(button);
    return button;
  }

  /** A finding: its kind, evidence and review. */
  function finding({ kind, evidence, flagged, reviewed, other }) {
    return el('li', { class: flagged ? 'flagged' : 'candidate' },
      el('span', { class: 'tag' }, kind), ' ', name(evidence),
      reviewed ? el('span', { class: 'tag quiet' }, `reviewed: ${reviewed}`) : null,
      other !== undefined && other !== null ? el('div', { class: 'grid small' }, thumb(other)) : null);
  }

  let dialog;
  let path = [];

  function build() {
    const close = el('button', { type: 'button', class: 'plain', 'aria-label': 'Close', onclick: () => dialog.close() }, '✕');
    const back = el('button', { type: 'button', class: 'plain', id: 'back', 'aria-label': 'Back to the previous image', onclick: () => { path.pop(); show(path.at(-1)); } }, '←');
    dialog = el('dialog', { class: 'picture', 'aria-label': 'Image details' },
      el('div', { class: 'tools' }, back, el('span', { class: 'grow' }), close), el('div', { class: 'content' }));
    dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener('close', () => { path = []; });
    document.body.append(dialog);
  }

  /** Shows an image in the dialog. */
  function open(id) {
    if (!dialog) build();
    path.push(id);
    if (!dialog.open) dialog.showModal();
    return show(id);
  }

  async function show(id) {
    const record = await image(id).catch(() => null);
    const content = dialog.querySelector('.content');
    dialog.querySelector('#back').hidden = path.length < 2;
    dialog.dataset.image = id;
    if (!record) {
      content.replaceChildren(el('p', {}, `Image ${id} is not in the report, which shows part of the dataset. Its row: `,
        el('code', {}, `prospect query "select * from images where image_id = ${id}"`)));
      return;
    }
    const picture = record.thumb
      ? el('img', { src: file(record.large ? 'large' : 'thumbs', id), alt: visible(record.path), class: 'whole' })
      : el('p', { class: 'missing whole' }, 'This image cannot be read.');
    const facts = el('dl', { class: 'facts' });
    const fact = (term, ...value) => facts.append(el('div', {}, el('dt', {}, term), el('dd', {}, ...value)));
    fact('File', name(record.path, 'path'));
    fact('Label', record.label ? name(record.label) : el('span', { class: 'quiet' }, 'none'));
    if (record.pred) fact('Network prediction', name(record.pred[0]), ` ${percent(record.pred[1])}`);
    if (record.probe) fact('Probe prediction', name(record.probe[0]), ` ${percent(record.probe[1])}`);
    if (record.split) fact('Split', name(record.split));
    if (record.size) fact('Size', `${record.size[0]} × ${record.size[1]}`);
    fact('Image id', el('code', {}, String(id)));
    if (record.error) fact('Error', name(record.error));
    const parts = [el('div', { class: 'side' }, picture, facts)];
    if (record.issues) parts.push(el('section', {}, el('h3', {}, 'Findings'), el('ul', { class: 'findings' }, record.issues.map(finding))));
    if (record.overlays) {
      parts.push(el('section', {}, el('h3', {}, 'Where the network looked'), el('div', { class: 'overlays' }, record.overlays.map(([source, caption]) =>
        el('figure', {}, el('img', { src: source, alt: visible(caption), loading: 'lazy' }), el('figcaption', {}, name(caption)))))));
    }
    if (record.near) {
      parts.push(el('section', {}, el('h3', {}, 'Nearest images'), el('div', { class: 'grid small near' }, record.near.map((near) => thumb(near)))));
    }
    content.replaceChildren(...parts);
    content.scrollTop = 0;
  }

  /** Turns every element with data-images="1 2 3" into a grid of thumbnails. */
  function grids(root = document) {
    for (const place of root.querySelectorAll('[data-images]')) {
      const ids = place.dataset.images.split(' ').filter(Boolean).map(Number);
      place.append(...ids.map((id) => thumb(id)));
      place.removeAttribute('data-images');
    }
  }

  document.addEventListener('DOMContentLoaded', () => {
    grids();
    document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  });

  return { data, load, image, visible, el, name, count, percent, thumb, finding, open, grids, file };
})();
