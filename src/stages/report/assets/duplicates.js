'use strict';
/* Groups of pictures that are one, with filters. */
document.addEventListener('DOMContentLoaded', async () => {
  const place = document.getElementById('groups');
  if (!place) return;
  const { el, count, thumb } = prospect;
  const { groups, all } = await prospect.load('groups');
  const at = (id) => document.getElementById(id);
  const AT_A_TIME = 60;
  const filters = [
    ['all', () => true],
    ['labels contradict', (group) => group.conflict],
    ['in two splits', (group) => group.leak],
    ['equal files', (group) => group.kinds.includes('exact')],
    ['copies', (group) => group.kinds.includes('near')],
    ['mirrored', (group) => group.kinds.includes('mirrored')],
  ];
  let shown = [];
  let drawn = 0;

  at('filters').append(...filters.filter(([, keeps]) => groups.some(keeps)).map(([title, keeps]) => el('li', {}, el('button', {
    type: 'button', 'aria-pressed': 'false', onclick: (event) => choose(event.currentTarget, keeps),
  }, title, ' ', el('span', { class: 'count' }, count(groups.filter(keeps).length))))));

  function choose(button, keeps) {
    for (const other of at('filters').querySelectorAll('button')) other.setAttribute('aria-pressed', String(other === button));
    shown = groups.filter(keeps);
    drawn = 0;
    place.replaceChildren();
    at('shown').textContent = groups.length < all ? `${count(shown.length)} of the first ${count(groups.length)} groups; there are ${count(all)}` : `${count(shown.length)} groups`;
    more();
  }

  function more() {
    const next = shown.slice(drawn, drawn + AT_A_TIME);
    place.append(...next.map(group));
    drawn += next.length;
    at('more').hidden = drawn >= shown.length;
  }

  function group({ images, size, kinds, least, conflict, leak }) {
    return el('li', { class: 'panel group' },
      el('p', {}, `${count(size)} pictures `, kinds.map((kind) => [el('span', { class: 'tag' }, kind), ' ']),
        conflict ? el('span', { class: 'tag bad' }, 'labels contradict') : null, ' ', leak ? el('span', { class: 'tag bad' }, 'in two splits') : null,
        least !== null && least < 1 ? el('span', { class: 'quiet' }, ` similarity ${least.toFixed(3)} or more`) : null),
      el('div', { class: 'grid' }, images.map((id) => thumb(id))),
      size > images.length ? el('p', { class: 'quiet' }, `and ${count(size - images.length)} more`) : null);
  }

  at('more').addEventListener('click', more);
  at('filters').querySelector('button').click();
});
