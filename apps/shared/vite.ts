import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin, type UserConfig } from 'vite';

/**
 * How every app is built: into `dist/`, to be served under `/apps/<name>/`.
 *
 * Styles that components make while they run need a nonce, which the server writes in place of `__NONCE__` into each copy
 * of the page that it sends out. `npm run dev` passes FHIR and sign-in on to a server on port 8080 (or `MEDCONSULT`).
 */
export function defineApp(name: string, { port }: { port: number }): UserConfig {
  const server = process.env.MEDCONSULT ?? 'http://127.0.0.1:8080';
  return defineConfig({
    base: `/apps/${name}/`,
    plugins: [react(), compressed()],
    resolve: { alias: { '@medconsult/shared': fileURLToPath(new URL('./src', import.meta.url)) } },
    html: { cspNonce: '__NONCE__' },
    server: { port, strictPort: true, proxy: { '/fhir': server, '/auth': server, '/.well-known': server } },
    build: {
      target: 'es2022',
      manifest: true,
      // Inlined images would need `data:` in the content security policy.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      // A file for each icon that two pages share would be more requests than content.
      rolldownOptions: { output: { codeSplitting: { groups: [{ name: 'icons', test: /node_modules\/lucide-react/ }] } } },
    },
  }) as UserConfig;
}

/** Leaves a `.gz` beside every script and style, as small as it gets: the server sends that. */
function compressed(): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    // From the disk: other plugins change the code until it is written.
    writeBundle({ dir = '' }, bundle) {
      for (const name of Object.keys(bundle)) {
        if (!/\.(js|css)$/.test(name)) continue;
        const file = path.join(dir, name);
        fs.writeFileSync(`${file}.gz`, gzipSync(fs.readFileSync(file), { level: 9 }));
      }
    },
  };
}
