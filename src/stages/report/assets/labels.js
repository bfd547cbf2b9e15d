'use strict';
/* The gallery of findings: filters, cards, and a review by keyboard, exported as a CSV for `prospect review import`. */
document.addEventListener('DOMContentLoaded', async () => {
  const gallery = document.getElementById('gallery');
  if (!gallery) return;
  const { el, name, count, thumb } = prospect;
  const { kinds, findings, most } = await prospect.load('findings');
  const at = (id) => document.getElementById(id);
  const aboutLabels = new Set(kinds.filter(([, , , about]) => about === 'label').map(([key]) => key));
  const AT_A_TIME = 40;

  /* Decisions are stored in this browser until they are exported. */
  const KEY = `prospect-reviews:${location.pathname}`;
  const subject = (finding) => `${finding.kind} ${finding.digest ?? ''} ${finding.path}`;
  let decisions = new Map();
  try {
    decisions = new Map(JSON.parse(localStorage.getItem(KEY) ?? '[]'));
  } catch { /* no storage: decisions last until the page is closed */ }
  const undone = [];
  const known = new Set(findings.map(subject));
  decisions = new Map([...decisions].filter(([key]) => known.has(key)));

  const asked = location.hash.slice(1);
  let kind = kinds.some(([key]) => key === asked) ? asked : kinds[0][0];
  let shown = [];
  let drawn = 0;
  let current = -1;

  at('kinds').append(...kinds.map(([key, heading]) => el('li', {}, el('button', {
    type: 'button', 'data-kind': key, 'aria-pressed': String(key === kind), onclick: () => choose(key),
  }, heading, ' ', el('span', { class: 'count' })))));
  if (kinds.some(([, , n]) => n > most)) {
    at('kinds').after(el('p', { class: 'quiet' }, `Showing the worst ${count(most)} of each kind. All of them: `, el('code', {}, 'prospect query "select * from issues"')));
  }

  function choose(key) {
    kind = key;
    for (const button of at('kinds').querySelectorAll('button')) button.setAttribute('aria-pressed', String(button.dataset.kind === key));
    pairs();
    if (!findings.some((finding) => finding.kind === kind && finding.flagged) && at('state').value === 'flagged') at('state').value = 'all';
    list();
  }

  /* Pairs of given and suggested label, most frequent first. */
  function pairs() {
    const counts = new Map();
    for (const finding of findings) {
      if (finding.kind === kind && finding.suggested) {
        const pair = JSON.stringify([finding.label, finding.suggested]);
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const sorted = [...counts].sort((a, b) => b[1] - a[1]);
    at('pair').replaceChildren(el('option', { value: '' }, 'all'), ...sorted.map(([pair, n]) => {
      const [label, suggested] = JSON.parse(pair);
      return el('option', { value: pair }, `${prospect.visible(label ?? 'none')} → ${prospect.visible(suggested)} (${n})`);
    }));
    at('pair').parentElement.hidden = counts.size === 0;
  }

  const verdict = (finding) => decisions.get(subject(finding))?.verdict;

  const states = {
    flagged: (finding) => finding.flagged,
    open: (finding) => finding.flagged && !finding.reviewed && !verdict(finding),
    all: () => true,
    decided: (finding) => finding.reviewed || verdict(finding),
  };
  const orders = {
    score: () => 0,
    label: (a, b) => (a.label ?? '').localeCompare(b.label ?? ''),
    path: (a, b) => (a.path < b.path ? -1 : 1),
  };

  function list() {
    const pair = at('pair').value;
    shown = findings.filter((finding) => finding.kind === kind && states[at('state').value](finding)
      && (!pair || JSON.stringify([finding.label, finding.suggested]) === pair));
    shown = [...shown].sort(orders[at('order').value]);
    at('shown').textContent = `${count(shown.length)} shown`;
    for (const button of at('kinds').querySelectorAll('button')) {
      const n = findings.filter((finding) => finding.kind === button.dataset.kind && states[at('state').value](finding)).length;
      button.querySelector('.count').textContent = count(n);
    }
    at('cards').replaceChildren();
    drawn = 0;
    current = -1;
    more();
  }

  function more() {
    const next = shown.slice(drawn, drawn + AT_A_TIME);
    at('cards').append(...next.map((finding, place) => card(finding, drawn + place)));
    drawn += next.length;
    at('more').hidden = drawn >= shown.length;
    if (!shown.length) at('cards').append(el('li', { class: 'empty' }, 'No findings match.'));
  }

  function card(finding, place) {
    const strip = el('div', { class: 'grid small near', 'aria-label': 'Nearest images' });
    const overlays = el('div', { class: 'where' });
    const ofLabel = aboutLabels.has(finding.kind);
    const labels = ofLabel
      ? el('p', { class: 'change' }, name(finding.label ?? 'none', 'given'), el('span', { 'aria-label': 'suggested' }, ' → '),
        finding.suggested ? name(finding.suggested, 'suggested') : el('span', { class: 'quiet' }, 'no suggestion'))
      : el('p', { class: 'change' }, finding.label ? name(finding.label, 'given') : el('span', { class: 'quiet' }, 'no label'));
    const item = el('li', { class: 'card', tabIndex: -1, 'data-place': place, onfocusin: () => mark(place) },
      el('div', { class: 'main' }, thumb(finding.image, { large: true })),
      el('div', { class: 'about' },
        labels,
        el('p', { class: 'path quiet' }, name(finding.path)),
        el('p', {}, name(finding.evidence)),
        el('p', { class: 'quiet' }, `score ${finding.score}`,
          finding.flagged ? null : ', a candidate', finding.reviewed ? `, reviewed before: ${finding.reviewed}` : null),
        el('div', { class: 'decide' },
          el('button', { type: 'button', class: 'button', 'data-verdict': 'ok', onclick: () => decide(place, 'ok') }, 'OK'),
          el('button', { type: 'button', class: 'button', 'data-verdict': 'fix', onclick: () => decide(place, 'fix') }, 'Needs fixing'))),
      el('div', { class: 'beside' }, overlays, strip));
    if (finding.other !== null) strip.append(thumb(finding.other, { note: 'other image' }));
    fillSoon(item, finding, strip, overlays);
    paint(item, finding);
    return item;
  }

  /* Neighbours and overlays are loaded shortly before the card comes into view. */
  const soon = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        soon.unobserve(entry.target);
        entry.target.fill();
      }
    }
  }, { rootMargin: '400px' });

  function fillSoon(item, finding, strip, overlays) {
    item.fill = async () => {
      const record = await prospect.image(finding.image);
      strip.append(...(record?.near ?? []).slice(0, 8).map((id) => thumb(id)));
      overlays.append(...(record?.overlays ?? []).map(([source, caption]) => el('img', { src: source, alt: prospect.visible(caption), loading: 'lazy' })));
    };
    soon.observe(item);
  }

  function paint(item, finding) {
    const chosen = verdict(finding);
    item.dataset.decided = chosen ?? '';
    for (const button of item.querySelectorAll('[data-verdict]')) button.setAttribute('aria-pressed', String(button.dataset.verdict === chosen));
  }

  const cardAt = (place) => at('cards').querySelector(`[data-place="${place}"]`);

  function mark(place) {
    cardAt(current)?.removeAttribute('aria-current');
    current = place;
    cardAt(current)?.setAttribute('aria-current', 'true');
  }

  function go(place) {
    if (place < 0 || place >= shown.length) return;
    while (place >= drawn) more();
    mark(place);
    const item = cardAt(place);
    item.focus({ preventScroll: true });
    item.scrollIntoView({ block: 'nearest' });
  }

  function decide(place, chosen) {
    const finding = shown[place];
    if (!finding) return;
    const key = subject(finding);
    undone.push([key, decisions.get(key), place]);
    decisions.set(key, { verdict: chosen, date: new Date().toISOString().slice(0, 10) });
    keep();
    paint(cardAt(place), finding);
  }

  function undo() {
    const last = undone.pop();
    if (!last) return;
    const [key, before, place] = last;
    if (before) decisions.set(key, before);
    else decisions.delete(key);
    keep();
    const item = cardAt(place);
    if (item && shown[place]) paint(item, shown[place]);
    go(place);
  }

  function keep() {
    try {
      localStorage.setItem(KEY, JSON.stringify([...decisions]));
    } catch { /* no storage */ }
    showCount();
  }

  function showCount() {
    const n = decisions.size;
    at('decided').textContent = n ? `${count(n)} decided, not exported yet` : 'no decisions yet';
    at('export').disabled = n === 0;
  }

  /* One row per decision, as `prospect review import` reads them. */
  function csv() {
    // An apostrophe before what a spreadsheet would take for a formula; the import removes it.
    const safe = (text) => (/^'*[=+\-@\t\r\n]/.test(text) ? `'${text}` : text);
    const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const cell = (text) => quoted(safe(text));
    const rows = findings.filter((finding) => verdict(finding)).map((finding) => {
      const { verdict: chosen, date } = decisions.get(subject(finding));
      return [finding.path, finding.kind, chosen, '', date, finding.digest ?? ''].map(cell).join(',');
    });
    return ['path,kind,verdict,note,date,digest', ...rows, ''].join('\n');
  }

  at('export').addEventListener('click', () => {
    const source = URL.createObjectURL(new Blob([csv()], { type: 'text/csv' }));
    const link = el('a', { href: source, download: 'prospect-reviews.csv' });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(source), 10000);
    at('how').hidden = false;
  });

  const keys = {
    j: () => go(current + 1),
    k: () => go(current - 1),
    ArrowDown: () => go(current + 1),
    ArrowUp: () => go(current - 1),
    o: () => { decide(current, 'ok'); go(current + 1); },
    f: () => { decide(current, 'fix'); go(current + 1); },
    s: () => go(current + 1),
    u: undo,
    Enter: () => shown[current] && prospect.open(shown[current].image),
  };
  document.addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('input, select, textarea');
    const pressing = event.key === 'Enter' && event.target.closest?.('button, a');
    if (typing || pressing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    const act = keys[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });

  for (const id of ['pair', 'state', 'order']) at(id).addEventListener('change', list);
  at('more').addEventListener('click', more);
  choose(kind);
  showCount();
});
