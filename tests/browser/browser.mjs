// A browser that opens local files only, and tabs that record errors.
import { chromium } from 'playwright-core';
import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';

/** Debian's Chromium, rendering in software. */
export function launch(...flags) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--use-angle=swiftshader', '--enable-unsafe-swiftshader', ...flags],
  });
}

/** A tab that records console errors, dialogs and requests for anything but files. */
export async function tab(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  // Generous, for busy machines.
  page.setDefaultTimeout(120_000);
  page.troubles = [];
  const trouble = (message) => page.troubles.push(`${page.url().split('/').pop()}: ${message}`);
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && trouble(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => trouble(`error: ${error.stack}`));
  page.on('dialog', (dialog) => {
    trouble(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  // Reviews are exported as a blob.
  page.on('request', (request) => /^(file|blob):/.test(request.url()) || trouble(`request: ${request.url()}`));
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText;
    // Leaving a page aborts its pending requests.
    if (reason !== 'net::ERR_ABORTED') trouble(`not found: ${request.url()} ${reason}`);
  });
  return page;
}

/** Opens a page of a report and waits until its scripts are idle. */
export async function visit(page, run, name) {
  await page.goto(pathToFileURL(resolve(run, 'report', name)).href);
  await settled(page);
  return page;
}

/** Waits until loading has finished. */
export async function settled(page) {
  await page.waitForLoadState('networkidle');
  if (await page.locator('#plot').count()) await page.locator('#plot[data-ready]').waitFor();
  await page.waitForFunction(() => [...document.images].every((image) => image.complete || image.loading === 'lazy'));
}

/** The pages linked from the navigation bar. */
export async function pages(page, run) {
  await visit(page, run, 'index.html');
  return page.locator('nav a').evaluateAll((links) => links.map((link) => link.getAttribute('href')));
}
