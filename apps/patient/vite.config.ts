import { defineApp } from '../shared/vite.ts';

export default defineApp('patient', { port: 5180 });
