// A practice to test in: a demo of this checkout's server on a free port, with a folder of its own.
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
export const PASSWORD = 'try-medconsult';
const PATIENCE = 120_000;

/** Starts a practice; `stop` ends it. With `E2E_URL`, one that is there already is used. */
export async function openPractice() {
  if (process.env.E2E_URL) return { url: process.env.E2E_URL.replace(/\/$/, ''), stop: async () => undefined };
  const program = process.env.E2E_PROGRAM ?? path.join(ROOT, 'target/debug/medconsult');
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'medconsult-e2e-'));
  // PostgreSQL runs under an account of its own when the tests run as root.
  fs.chmodSync(folder, 0o755);
  const server = spawn(program, ['serve', '--demo'], {
    cwd: ROOT,
    env: { ...process.env, MEDCONSULT_DATA_DIR: folder, MEDCONSULT_LISTEN: '127.0.0.1:0', MEDCONSULT_LOG_FILTER: 'warn' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const url = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('The practice does not open.')), PATIENCE);
    let text = '';
    server.stdout.on('data', (piece) => {
      text += piece;
      const at = /(http:\/\/\S+) +begin here/.exec(text)?.[1];
      if (at) {
        clearTimeout(late);
        resolve(at);
      }
    });
    server.on('exit', (code) => reject(new Error(`The practice closed with ${code}: ${text}`)));
  });
  const stop = () =>
    new Promise((resolve) => {
      server.removeAllListeners('exit');
      server.on('exit', () => {
        fs.rmSync(folder, { recursive: true, force: true });
        resolve();
      });
      server.kill('SIGTERM');
    });
  return { url, stop };
}

/** What the demo tells of itself: its accounts with the codes of the moment, and the mails. */
export const told = async (practice, what) => (await fetch(`${practice.url}/demo/${what}`)).json();

/** A code of an authenticator app with this key (RFC 6238). */
export function codeOf(key, at = Date.now()) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  const bits = [...key].map((letter) => letters.indexOf(letter).toString(2).padStart(5, '0')).join('');
  const secret = Buffer.from(bits.match(/.{8}/g).map((octet) => parseInt(octet, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)));
  const digest = createHmac('sha1', secret).update(counter).digest();
  const offset = digest[19] & 15;
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}
