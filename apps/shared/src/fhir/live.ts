/**
 * Changes that were made elsewhere.
 *
 * The server sends a line per resource that changed and that this caller may see: its type, id and version. A server without
 * such a stream answers 404, and then what is shown is as old as the last look at it.
 */
import type { FhirClient } from './client';
import { FhirFailure } from './failure';

export interface Change {
  type: string;
  id: string;
  version: string;
}

export interface Listener {
  changed(change: Change): void;
  /** Something may have been missed: all that is shown may be old. */
  missed(): void;
}

const LONGEST_PAUSE = 60_000;

/** Follows the stream until `signal`. */
export async function follow(client: FhirClient, listener: Listener, signal: AbortSignal): Promise<void> {
  let pause = 1000;
  let first = true;
  while (!signal.aborted) {
    try {
      const answer = await client.stream('$changes', signal, 'text/event-stream');
      if (!answer.body) return;
      if (!first) listener.missed();
      first = false;
      pause = 1000;
      await hear(answer.body, listener);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof FhirFailure && [401, 403, 404, 405, 501].includes(error.status)) return;
    }
    // Half of it at random: after a restart of the server, apps come back one after the other.
    await new Promise((resolve) => setTimeout(resolve, pause / 2 + (Math.random() * pause) / 2));
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
}

async function hear(body: ReadableStream<Uint8Array>, listener: Listener): Promise<void> {
  const reader = body.pipeThrough(new TextDecoderStream() as unknown as TransformStream<Uint8Array, string>).getReader();
  const events = new Events(listener);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    events.take(value);
  }
}

/** Puts events together out of pieces of text (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
export class Events {
  readonly #listener: Listener;
  #rest = '';

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  take(text: string): void {
    this.#rest += text;
    for (let end = this.#rest.indexOf('\n\n'); end >= 0; end = this.#rest.indexOf('\n\n')) {
      const lines = this.#rest.slice(0, end).split('\n');
      this.#rest = this.#rest.slice(end + 2);
      const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      if (field('event') === 'missed') this.#listener.missed();
      const data = field('data');
      if (field('event') === 'change' && data) this.#listener.changed(JSON.parse(data) as Change);
    }
  }
}
