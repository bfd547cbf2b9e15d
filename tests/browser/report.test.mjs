// User scenarios for the report, opened from disk in a browser. tests/browser/run.sh sets the variables: RUN and HOSTILE, run folders;
// PROSPECT, the program; SHOTS, a folder for screenshots.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { launch, pages, settled, tab, visit } from './browser.mjs';

const { RUN, HOSTILE, PROSPECT, SHOTS } = process.env;
const PAGES = ['index', 'labels', 'map', 'units', 'classes', 'shortcuts', 'duplicates', 'files', 'run'].map((name) => `${name}.html`);
const SIZES = { wide: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } };

let browser;
before(async () => {
  browser = await launch();
  mkdirSync(SHOTS, { recursive: true });
});
after(() => browser.close());

/** A test with its own tab, which must stay free of errors. */
function scene(name, body, options) {
  test(name, async () => {
    const page = await tab(browser, options);
    try {
      await body(page);
      assert.equal(page.troubles.join('\n'), '');
    } catch (error) {
      await page.screenshot({ path: join(SHOTS, `failed-${name.replace(/\W+/g, '-')}.png`) });
      if (page.troubles.length) error.message += `\nand: ${page.troubles.slice(0, 5).join('\n')}`;
      throw error;
    } finally {
      await page.context().close();
    }
  });
}

/** Checks layout and accessibility of the current page. */
async function sound(page) {
  const found = await page.evaluate(() => {
    const named = (element) => element.getAttribute('aria-label') || element.textContent.trim() || element.title || element.labels?.length || element.querySelector('img[alt]')?.alt;
    const visible = (element) => element.checkVisibility();
    return {
      wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      headings: document.querySelectorAll('h1').length,
      unnamed: [...document.querySelectorAll('button, a, select, input')].filter((element) => visible(element) && !named(element)).map((element) => element.outerHTML),
      without_alt: [...document.images].filter((image) => !image.hasAttribute('alt')).map((image) => image.outerHTML),
      broken: [...document.images].filter((image) => image.complete && image.loading !== 'lazy' && !image.naturalWidth).map((image) => image.src),
      language: document.documentElement.lang,
    };
  });
  assert.deepEqual(found, { wider: 0, headings: 1, unnamed: [], without_alt: [], broken: [], language: 'en' }, page.url());
}

describe('every page', () => {
  scene('is linked', async (page) => assert.deepEqual(await pages(page, RUN), PAGES));
  for (const [size, viewport] of Object.entries(SIZES)) {
    for (const colorScheme of ['light', 'dark']) {
      scene(`opens from disk: ${size}, ${colorScheme}`, async (page) => {
        for (const name of PAGES) {
          await visit(page, RUN, name);
          await sound(page);
          await page.waitForTimeout(200);
          await page.screenshot({ path: join(SHOTS, `${name.replace('.html', '')}-${size}-${colorScheme}.png`) });
        }
      }, { viewport, colorScheme, hasTouch: size === 'phone' });
    }
  }
});

describe('the gallery', () => {
  scene('opens an image, and from there its neighbours', async (page) => {
    await visit(page, RUN, 'labels.html');
    await page.locator('#cards .card .main .thumb').first().click();
    const dialog = page.locator('dialog[open]');
    await dialog.locator('img.whole').waitFor();
    const first = await dialog.getAttribute('data-image');
    assert.ok(await dialog.locator('.findings li').count(), 'its findings are listed');
    assert.equal(await dialog.locator('img.whole').evaluate((image) => image.decode().then(() => image.naturalWidth > 0)), true);
    await dialog.locator('.near .thumb').first().click();
    await page.waitForFunction((id) => document.querySelector('dialog[open]').dataset.image !== id, first);
    await dialog.locator('.near .thumb').first().waitFor();
    await page.screenshot({ path: join(SHOTS, 'dialog.png') });
    await dialog.locator('#back').click();
    await page.waitForFunction((id) => document.querySelector('dialog[open]').dataset.image === id, first);
    await page.keyboard.press('Escape');
    assert.equal(await dialog.count(), 0);
  });

  scene('filters by kind and by pair of classes', async (page) => {
    await visit(page, RUN, 'labels.html');
    const cards = page.locator('#cards .card');
    const all = await cards.count();
    const pair = await page.locator('#pair option').nth(1).getAttribute('value');
    await page.locator('#pair').selectOption(pair);
    const some = await cards.count();
    assert.ok(some > 0 && some < all, `${some} of ${all}`);
    const [given, suggested] = JSON.parse(pair);
    for (const words of await cards.locator('.change').allTextContents()) assert.ok(words.startsWith(given) && words.includes(suggested), words);
    await page.locator('#kinds button').nth(1).click();
    const kind = await page.locator('#kinds button[aria-pressed=true]').getAttribute('data-kind');
    assert.notEqual(kind, 'label');
    assert.ok(await cards.count());
  });

  scene('is reviewed by keyboard, and the export can be imported', async (page) => {
    await visit(page, RUN, 'labels.html');
    const paths = await page.locator('#cards .card .path').allTextContents();
    assert.ok(paths.length >= 4);
    // The first is OK, the second needs fixing, the third is skipped, the fourth decided and undone.
    for (const key of ['j', 'o', 'f', 's', 'o', 'u']) await page.keyboard.press(key);
    assert.match(await page.locator('#decided').textContent(), /^2 decided/);
    await page.reload();
    await settled(page);
    assert.match(await page.locator('#decided').textContent(), /^2 decided/, 'kept after a reload');
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#export').click()]);
    const file = join(SHOTS, 'reviews.csv');
    await download.saveAs(file);
    const [head, ...rows] = readFileSync(file, 'utf8').trim().split('\n');
    assert.equal(head, 'path,kind,verdict,note,date,digest');
    assert.deepEqual(rows.map((row) => row.split(',').slice(0, 3)), [[paths[0], 'label', 'ok'], [paths[1], 'label', 'fix']]);
    const config = ['-c', join(RUN, '..', 'pipeline.toml'), '--set', `audit.reviews=${join(SHOTS, 'imported.csv')}`];
    execFileSync(PROSPECT, ['review', 'import', file, ...config]);
    const listed = execFileSync(PROSPECT, ['review', 'list', ...config], { encoding: 'utf8' });
    assert.ok(listed.includes(paths[0]) && listed.includes(paths[1]), listed);
  });
});

describe('the map', () => {
  const selected = (page) => page.locator('#selected').textContent();
  const showing = (page) => page.locator('#showing').textContent();
  const images = (words) => Number(words.match(/^[\d,]+/)[0].replaceAll(',', ''));

  async function drag(page, corners) {
    const box = await page.locator('#stage').boundingBox();
    const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
    await page.mouse.move(...at(corners[0]));
    await page.mouse.down();
    for (const corner of corners) await page.mouse.move(...at(corner), { steps: 3 });
    await page.mouse.up();
  }

  /** Opens the map and waits for its first frame. */
  async function open(page) {
    await visit(page, RUN, 'map.html');
    await page.waitForFunction(() => document.getElementById('stage').dataset.frames > 0);
  }

  scene('draws points, and a lasso lists those inside', async (page) => {
    await open(page);
    const all = images(await showing(page));
    const drawn = await page.locator('#stage canvas').evaluate((canvas) => new Promise((resolve) => requestAnimationFrame(() => {
      const copy = document.createElement('canvas');
      [copy.width, copy.height] = [canvas.width, canvas.height];
      const context = copy.getContext('2d');
      context.drawImage(canvas, 0, 0);
      resolve(context.getImageData(0, 0, copy.width, copy.height).data.some((value, at) => at % 4 === 3 && value > 100));
    })));
    const shot = await page.locator('#stage').screenshot();
    assert.ok(drawn || shot.length > 6000, 'something is drawn');
    await page.locator('#hands [data-hand=lasso]').click();
    await drag(page, [[0.01, 0.01], [0.99, 0.01], [0.99, 0.8], [0.01, 0.8]]);
    await page.locator('#grid .thumb').first().waitFor();
    const most = images(await selected(page));
    assert.ok(most > 0 && most <= all, `${most} of ${all}`);
    await drag(page, [[0.01, 0.01], [0.5, 0.01], [0.5, 0.99], [0.01, 0.99]]);
    const left = images(await selected(page));
    await drag(page, [[0.5, 0.01], [0.99, 0.01], [0.99, 0.99], [0.5, 0.99]]);
    const right = images(await selected(page));
    assert.equal(left + right, all, 'the halves add up');
    await page.locator('#grid .thumb.filled img').first().waitFor();
    await page.screenshot({ path: join(SHOTS, 'map-selected.png'), fullPage: true });
    await page.locator('#grid .thumb').first().click();
    await page.locator('dialog[open] img.whole').waitFor();
    await page.keyboard.press('Escape');
    await page.locator('#clear').click();
    assert.match(await selected(page), /^Nothing selected/);
  });

  scene('copies ids and a query', async (page) => {
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await open(page);
    await page.locator('#in-view').click();
    const n = images(await selected(page));
    assert.equal(n, images(await showing(page)), 'all are in view');
    await page.locator('#copy-sql').click();
    await page.waitForFunction(() => document.getElementById('selected').textContent.startsWith('SQL query'));
    const query = await page.locator('#copied').inputValue();
    const rows = execFileSync(PROSPECT, ['query', query, '-c', join(RUN, '..', 'pipeline.toml'), '--format', 'csv'], { encoding: 'utf8' });
    assert.equal(rows.trim().split('\n').length, n + 1);
    await page.locator('#copy-ids').click();
    await page.waitForFunction(() => document.getElementById('selected').textContent.startsWith('Image ids'));
    assert.equal((await page.locator('#copied').inputValue()).split(', ').length, n);
  });

  scene('filters, changes colours and layouts', async (page) => {
    await open(page);
    const all = images(await showing(page));
    await page.locator('#legend button').first().click();
    const kept = images(await showing(page));
    assert.equal(kept, images(await page.locator('#legend button .quiet').first().textContent()));
    assert.ok(kept < all);
    await page.locator('#in-view').click();
    assert.equal(images(await selected(page)), kept, 'only what is shown is listed');
    await page.locator('#way').selectOption('Finding');
    await page.locator('#legend button').first().click();
    assert.ok(images(await showing(page)) < kept, 'filters add up');
    await page.locator('#all').click();
    assert.equal(images(await showing(page)), all);
    for (const title of ['PCA', 't-SNE', 'UMAP']) {
      await page.locator('#methods button', { hasText: title }).click();
      await page.waitForTimeout(1200);
      assert.match(await page.locator('#method-note').textContent(), new RegExp(`^${title}: trustworthiness`));
      await page.locator('#stage').screenshot({ path: join(SHOTS, `map-${title}.png`) });
    }
  });

  scene('shows the image under the pointer', async (page) => {
    await open(page);
    const box = await page.locator('#stage').boundingBox();
    for (let step = 0; step < 4000 && !(await page.locator('#hover').isVisible()); step++) {
      await page.mouse.move(box.x + 8 + (step * 16) % (box.width - 16), box.y + 8 + Math.floor((step * 16) / (box.width - 16)) * 12);
    }
    await page.locator('#hover img').waitFor();
    assert.match(await page.locator('#hover').textContent(), /\.(png|jpe?g|webp)/i);
    await page.screenshot({ path: join(SHOTS, 'map-hover.png') });
    const ring = await page.locator('#ring').boundingBox();
    await page.mouse.click(ring.x + ring.width / 2, ring.y + ring.height / 2);
    await page.locator('dialog[open] img.whole').waitFor();
  });

  scene('works by keyboard', async (page) => {
    await open(page);
    const all = images(await showing(page));
    await page.locator('#plot').focus();
    for (const key of ['+', '+', '+', 'ArrowLeft', 'ArrowUp']) await page.keyboard.press(key);
    await page.locator('#in-view').focus();
    await page.keyboard.press('Enter');
    const words = await selected(page);
    assert.ok(words.startsWith('Nothing') || images(words) < all, words);
    await page.locator('#plot').focus();
    await page.keyboard.press('0');
    await page.locator('#in-view').click();
    assert.equal(images(await selected(page)), all);
  });

  test('reports missing WebGL and still lists images', async () => {
    const without = await launch('--disable-3d-apis');
    try {
      const page = await tab(without);
      await visit(page, RUN, 'map.html');
      assert.match(await page.locator('#failed').textContent(), /no WebGL/);
      await page.locator('#legend button').first().click();
      await page.locator('#in-view').click();
      await page.locator('#grid .thumb.filled').first().waitFor();
      assert.equal(images(await selected(page)), images(await showing(page)));
      await page.screenshot({ path: join(SHOTS, 'map-without-webgl.png') });
      assert.deepEqual(page.troubles, []);
    } finally {
      await without.close();
    }
  });
});

describe('hostile names', { skip: !HOSTILE && 'no HOSTILE run' }, () => {
  scene('are text on every page', async (page) => {
    for (const name of PAGES) {
      await visit(page, HOSTILE, name);
      await sound(page);
      const found = await page.evaluate(() => ({
        scripts: [...document.scripts].map((script) => script.getAttribute('src')).filter((source) => !/^(assets|data)\/[\w/.-]+\.js$/.test(source)),
        handlers: [...document.querySelectorAll('*')].filter((element) => [...element.attributes].some(({ name }) => /^on/.test(name))).length,
        frames: document.querySelectorAll('iframe, object, embed, base, form[action]').length,
        links: [...document.querySelectorAll('a')].map((link) => link.getAttribute('href')).filter((href) => !/^[\w./-]*(#[\w=&-]*)?$/.test(href)),
        comments: document.createNodeIterator(document.body, NodeFilter.SHOW_COMMENT).nextNode()?.data ?? null,
        reordered: /[\u202a-\u202e\u2066-\u2069]/.test(document.body.innerText),
      }));
      assert.deepEqual(found, { scripts: [], handlers: 0, frames: 0, links: [], comments: null, reordered: false }, name);
      await page.screenshot({ path: join(SHOTS, `hostile-${name.replace('.html', '')}.png`) });
    }
  });

  scene('are text in the gallery, the dialog and the map', async (page) => {
    await visit(page, HOSTILE, 'labels.html');
    const words = await page.locator('#cards').textContent();
    assert.ok(words.includes("</script><script>alert('label')</script>") || words.includes('<img src=x onerror=alert(1)>'), 'shown verbatim');
    await page.locator('#cards .card .main .thumb').first().click();
    await page.locator('dialog[open] img.whole').waitFor();
    await page.screenshot({ path: join(SHOTS, 'hostile-dialog.png') });
    await page.keyboard.press('Escape');
    await visit(page, HOSTILE, 'map.html');
    await page.locator('#in-view').click();
    await page.locator('#grid .thumb.filled').first().waitFor();
    for (const button of await page.locator('#legend button').all()) await button.click();
    assert.equal(await page.evaluate(() => document.querySelectorAll('#legend img, #legend script, #grid script').length), 0);
    await page.screenshot({ path: join(SHOTS, 'hostile-map-list.png'), fullPage: true });
  });

  scene('survive a review', async (page) => {
    await visit(page, HOSTILE, 'labels.html');
    for (let step = 0; step < 8; step++) await page.keyboard.press(step ? 'o' : 'j');
    const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#export').click()]);
    const file = join(SHOTS, 'hostile-reviews.csv');
    await download.saveAs(file);
    const config = ['-c', join(HOSTILE, '..', 'pipeline.toml'), '--set', `audit.reviews=${join(SHOTS, 'hostile-imported.csv')}`];
    execFileSync(PROSPECT, ['review', 'import', file, ...config]);
  });
});
