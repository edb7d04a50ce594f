// Builds every app into its dist/, one after the other: two at once take longer on a small machine.
import fs from 'node:fs';
import path from 'node:path';
import { build } from 'vite';

const here = import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname);
for (const app of ['patient', 'practitioner', 'admin']) {
  const root = path.join(here, app);
  if (!fs.existsSync(path.join(root, 'src/main.tsx'))) continue;
  process.stdout.write(`${app} … `);
  await build({ root, logLevel: 'warn' });
  console.log('built');
}
