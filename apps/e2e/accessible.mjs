// What axe has to say about a page, and pictures of it.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { ROOT } from './practice.mjs';

const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PICTURES = path.join(ROOT, 'docs/screenshots');

/** WCAG 2.2 AA, as far as a program can tell. */
export async function complaintsAbout(page, screen) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${screen}: ${id}: ${node.html.slice(0, 200)} ${node.failureSummary ?? ''}`));
}

/** With SCREENSHOTS=1 the pictures in docs/screenshots are made anew. */
export async function picture(page, name) {
  if (!process.env.SCREENSHOTS) return;
  fs.mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: path.join(PICTURES, `${name}.png`) });
}
