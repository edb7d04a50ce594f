import { expect, it, vi } from 'vitest';
import { Events } from './live';

it('puts events together, however they are cut', () => {
  const listener = { changed: vi.fn(), missed: vi.fn() };
  const events = new Events(listener);
  const text = ': hello\n\nevent: change\ndata: {"type":"Appointment","id":"7","version":"3"}\n\nevent: missed\ndata: {}\n\n';
  for (const letter of text) events.take(letter);
  expect(listener.changed.mock.calls).toEqual([[{ type: 'Appointment', id: '7', version: '3' }]]);
  expect(listener.missed).toHaveBeenCalledOnce();
});
