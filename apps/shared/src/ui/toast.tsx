/** Short words about what has just happened, also for those who hear the page. */
import { useEffect, useSyncExternalStore } from 'react';
import classes from './frame.module.css';

interface Word {
  id: number;
  text: string;
  tone: 'plain' | 'bad';
}

let words: readonly Word[] = [];
let last = 0;
const listeners = new Set<() => void>();

function set(next: readonly Word[]): void {
  words = next;
  for (const listener of listeners) listener();
}

/** Says it for a few seconds. What people must act on belongs on the page instead. */
export function toast(text: string, tone: Word['tone'] = 'plain'): void {
  last += 1;
  set([...words.slice(-2), { id: last, text, tone }]);
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => words,
  );
  return (
    <div className={classes.toasts} role="status" aria-live="polite">
      {shown.map((word) => (
        <Shown key={word.id} word={word} />
      ))}
    </div>
  );
}

function Shown({ word }: { word: Word }) {
  useEffect(() => {
    // Long enough to be read: about twelve characters a second.
    const timer = setTimeout(() => set(words.filter((each) => each !== word)), 3000 + word.text.length * 80);
    return () => clearTimeout(timer);
  }, [word]);
  return (
    <div className={classes.toast} data-tone={word.tone}>
      {word.text}
    </div>
  );
}
