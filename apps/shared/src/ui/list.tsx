/** Long lists, of which only what is seen is in the page. */
import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { useLayoutEffect, useRef, useState, type ReactNode } from 'react';

/** Rows of any height; `estimate` in pixels is a guess at it. The whole page scrolls. */
export function VirtualList<T>({ rows, estimate, keyOf, label, children, onEnd }: {
  rows: readonly T[];
  estimate: number;
  keyOf: (row: T) => string;
  label: string;
  children: (row: T, index: number) => ReactNode;
  /** The last rows are in sight: more may be fetched. */
  onEnd?: () => void;
}) {
  const list = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  useLayoutEffect(() => setTop(list.current?.offsetTop ?? 0), []);
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => estimate,
    overscan: 8,
    scrollMargin: top,
    getItemKey: (index) => keyOf(rows[index] as T),
  });
  const items = virtual.getVirtualItems();
  const lastSeen = items.at(-1)?.index ?? -1;
  useLayoutEffect(() => {
    if (lastSeen >= rows.length - 1 && rows.length > 0) onEnd?.();
  }, [lastSeen, rows.length, onEnd]);
  return (
    <div ref={list} role="list" aria-label={label} style={{ position: 'relative', height: virtual.getTotalSize() }}>
      {items.map((item) => (
        <div
          key={item.key}
          role="listitem"
          aria-setsize={rows.length}
          aria-posinset={item.index + 1}
          data-index={item.index}
          ref={virtual.measureElement}
          style={{ position: 'absolute', insetInline: 0, top: 0, transform: `translateY(${item.start - top}px)` }}
        >
          {children(rows[item.index] as T, item.index)}
        </div>
      ))}
    </div>
  );
}
