// How much script comes before a page is there: what the app begins with and, of its pages, the one with the most.
import fs from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';

const LIMIT = 200 * 1024;
const here = path.dirname(new URL(import.meta.url).pathname);
let isTooLarge = false;

for (const app of ['patient', 'practitioner', 'admin']) {
  const dist = path.join(here, app, 'dist');
  const listed = path.join(dist, '.vite/manifest.json');
  if (!fs.existsSync(listed)) continue;
  const manifest = JSON.parse(fs.readFileSync(listed, 'utf8'));
  const sizeOf = (file) => gzipSync(fs.readFileSync(path.join(dist, file))).length;
  const sizes = new Map(Object.values(manifest).filter(({ file }) => file.endsWith('.js')).map(({ file }) => [file, sizeOf(file)]));
  /** A part with all that it cannot do without. */
  const withImports = (key, seen = new Set()) => {
    if (seen.has(key)) return seen;
    seen.add(key);
    for (const needed of manifest[key].imports ?? []) withImports(needed, seen);
    return seen;
  };
  const total = (keys) => [...new Set([...keys].map((key) => manifest[key].file))].reduce((sum, file) => sum + (sizes.get(file) ?? 0), 0);
  const first = withImports('index.html');
  const pages = (manifest['index.html'].dynamicImports ?? []).map((page) => [page, total(new Set([...first, ...withImports(page)]))]);
  const [page, most] = pages.sort((one, other) => other[1] - one[1])[0] ?? ['', total(first)];
  console.log(`${app}: ${kilobytes(total(first))} to begin with, ${kilobytes(most)} with ${page}`);
  isTooLarge ||= most > LIMIT;
}
if (isTooLarge) {
  console.error(`More than ${kilobytes(LIMIT)} of gzipped script before the first page.`);
  process.exit(1);
}

function kilobytes(bytes) {
  return `${(bytes / 1024).toFixed(1)} KB`;
}
