// Benchmark of the map: node speed.mjs RUN [RUN…]. Prints the time until it is usable, and the time between frames while dragging and
// zooming: up to about 50 ms looks smooth, up to about 100 ms interactive.
import { launch, tab, visit } from './browser.mjs';

const browser = await launch();
for (const run of process.argv.slice(2)) {
  const page = await tab(browser);
  const from = performance.now();
  await visit(page, run, 'map.html');
  await page.waitForFunction(() => document.getElementById('stage').dataset.frames > 0);
  const loaded = performance.now() - from;
  await page.waitForTimeout(1000);
  const n = await page.locator('#showing').textContent();
  const box = await page.locator('#stage').boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  await page.evaluate(() => {
    window.gaps = [];
    let last = performance.now();
    const tick = () => {
      const now = performance.now();
      window.gaps.push(now - last);
      last = now;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  const measured = {};
  const gestures = {
    drag: async () => {
      await page.mouse.down();
      for (let i = 0; i < 150; i++) await page.mouse.move(x + 140 * Math.sin(i / 12), y + 100 * Math.sin(i / 9));
      await page.mouse.up();
    },
    zoom: async () => {
      for (let i = 0; i < 80; i++) await page.mouse.wheel(0, i % 40 < 20 ? -80 : 80);
    },
  };
  await page.mouse.move(x, y);
  for (const [name, gesture] of Object.entries(gestures)) {
    const frames = () => page.locator('#stage').getAttribute('data-frames').then(Number);
    const before = await frames();
    await page.evaluate(() => { window.gaps = []; });
    await gesture();
    const gaps = (await page.evaluate(() => window.gaps)).sort((a, b) => a - b);
    const at = (share) => `${gaps[Math.floor(share * (gaps.length - 1))].toFixed(0)} ms`;
    measured[name] = `median ${at(0.5)}, 95 % ${at(0.95)}, max ${at(1)} of ${gaps.length} frames (${await frames() - before} drawn)`;
  }
  console.log(`${run}: ${n}, usable after ${(loaded / 1000).toFixed(1)} s`);
  for (const [name, figures] of Object.entries(measured)) console.log(`  ${name}: ${figures}`);
  if (page.troubles.length) console.log(page.troubles.slice(0, 5));
  await page.context().close();
}
await browser.close();
