'use strict';
/* Groups of duplicates, with filters. */
document.addEventListener('DOMContentLoaded', async () => {
  const place = document.getElementById('groups');
  if (!place) return;
  const { el, count, thumb } = prospect;
  const { kinds, groups, all } = await prospect.load('groups');
  const at = (id) => document.getElementById(id);
  const AT_A_TIME = 60;
  const filters = [
    ['all', 'All', () => true],
    ...kinds.map(([kind, heading]) => [kind, heading, ({ findings }) => findings.includes(kind)]),
    ['mirrored', 'Mirrored', ({ turned }) => turned.includes('mirrored')],
    ['rotated', 'Rotated', ({ turned }) => turned.includes('rotated')],
  ];
  const words = new Map(kinds.map(([kind, , word]) => [kind, word]));
  let shown = [];
  let drawn = 0;

  at('filters').append(...filters.filter(([, , keeps]) => groups.some(keeps)).map(([key, title, keeps]) => el('li', {}, el('button', {
    type: 'button', 'data-kind': key, 'aria-pressed': 'false', onclick: (event) => choose(event.currentTarget, keeps),
  }, title, ' ', el('span', { class: 'count' }, count(groups.filter(keeps).length))))));

  function choose(button, keeps) {
    for (const other of at('filters').querySelectorAll('button')) other.setAttribute('aria-pressed', String(other === button));
    shown = groups.filter(keeps);
    drawn = 0;
    place.replaceChildren();
    at('shown').textContent = groups.length < all ? `${count(shown.length)} of the first ${count(groups.length)} groups (${count(all)} in all)` : `${count(shown.length)} ${shown.length === 1 ? 'group' : 'groups'}`;
    more();
  }

  function more() {
    const next = shown.slice(drawn, drawn + AT_A_TIME);
    place.append(...next.map(group));
    drawn += next.length;
    at('more').hidden = drawn >= shown.length;
  }

  function group({ images, size, findings, turned, min_similarity: similarity }) {
    const tags = [...findings.map((kind) => words.get(kind)), ...turned];
    return el('li', { class: 'panel group' },
      el('p', {}, `${count(size)} ${size === 1 ? 'picture' : 'pictures'} `, tags.map((tag) => [el('span', { class: 'tag' }, tag), ' ']),
        similarity !== null && similarity < 1 ? el('span', { class: 'quiet' }, ` similarity at least ${similarity.toFixed(3)}`) : null),
      el('div', { class: 'grid' }, images.map((id) => thumb(id))),
      size > images.length ? el('p', { class: 'quiet' }, `and ${count(size - images.length)} more`) : null);
  }

  at('more').addEventListener('click', more);
  const asked = location.hash.slice(1);
  const buttons = [...at('filters').querySelectorAll('button')];
  (buttons.find((button) => button.dataset.kind === asked) ?? buttons[0]).click();
});
