import { useEffect, useState } from 'react';

/** Milliseconds until then, second by second. Without an end there is no hurry. */
export function useTimeLeft(until: string | undefined): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    if (until === undefined) return undefined;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [until]);
  return until === undefined ? Number.MAX_SAFE_INTEGER : Date.parse(until) - now;
}
