import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { alias: { '@medconsult/shared': fileURLToPath(new URL('./shared/src', import.meta.url)) } },
  test: { include: ['*/src/**/*.test.ts'], pool: 'threads', maxWorkers: 1, environment: 'node' },
});
