// A browser that may reach nothing but files, and pages that keep count of everything that goes wrong.
import { chromium } from 'playwright-core';
import { pathToFileURL } from 'node:url';
import { resolve } from 'node:path';

/** Debian's Chromium, drawing without a graphics card. */
export function launch(...flags) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--use-angle=swiftshader', '--enable-unsafe-swiftshader', ...flags],
  });
}

/** A tab that notes every complaint, dialog and request that is not for a file. */
export async function tab(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  // Patience for a machine that has much else to do.
  page.setDefaultTimeout(120_000);
  page.troubles = [];
  const trouble = (what) => page.troubles.push(`${page.url().split('/').pop()}: ${what}`);
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && trouble(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => trouble(`error: ${error.stack}`));
  page.on('dialog', (dialog) => {
    trouble(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  // A review is exported as a blob.
  page.on('request', (request) => /^(file|blob):/.test(request.url()) || trouble(`request: ${request.url()}`));
  page.on('requestfailed', (request) => {
    const why = request.failure()?.errorText;
    // What was under way when a page was left is aborted.
    if (why !== 'net::ERR_ABORTED') trouble(`not found: ${request.url()} ${why}`);
  });
  return page;
}

/** Opens a page of a report and waits until its scripts have come to rest. */
export async function visit(page, run, name) {
  await page.goto(pathToFileURL(resolve(run, 'report', name)).href);
  await settled(page);
  return page;
}

/** Waits until nothing is loaded any more. */
export async function settled(page) {
  await page.waitForLoadState('networkidle');
  if (await page.locator('#plot').count()) await page.locator('#plot[data-ready]').waitFor();
  await page.waitForFunction(() => [...document.images].every((image) => image.complete || image.loading === 'lazy'));
}

/** The pages that the bar of a report leads to. */
export async function pages(page, run) {
  await visit(page, run, 'index.html');
  return page.locator('nav a').evaluateAll((links) => links.map((link) => link.getAttribute('href')));
}
