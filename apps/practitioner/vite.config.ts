import { defineApp } from '../shared/vite.ts';

export default defineApp('practitioner', { port: 5181 });
