import { defineApp } from '../shared/vite.ts';

export default defineApp('admin', { port: 5182 });
