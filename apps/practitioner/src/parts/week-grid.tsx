/**
 * Days side by side, hours downwards. A visit is moved by dragging it to a free time, or, from its dialog, by choosing
 * one of the free times that are shown then, with the arrow keys too.
 */
import { addDays, dayOf } from '@medconsult/shared/format/time';
import { useFormats } from '@medconsult/shared/format/context';
import { useT } from '@medconsult/shared/texts/context';
import { When } from '@medconsult/shared/ui/when';
import type { Slot } from 'fhir/r4';
import { type CSSProperties, type KeyboardEvent, type PointerEvent, useEffect, useRef, useState } from 'react';
import { useNow } from '../data/clock';
import { instant } from '../data/visits';
import type { Visit } from '../logic/visits';
import { hoursToDraw, type Item, nearestOpening, type Opening, type Placed, placeItems, stepOpening } from '../logic/week';
import { type Day, instantOf, lengthOfDay, wallClock } from '@medconsult/shared/format/zone';
import classes from './week-grid.module.css';

/** Height of an hour in pixels: a visit of a quarter of an hour can be read. */
const HOUR = 88;
/** A pointer that moves less than this many pixels clicks. */
const CLICK = 5;

export interface VisitItem extends Item {
  visit: Visit;
  name: string;
  service: string;
}

export interface Moving {
  item: VisitItem;
  openings: Opening[];
  /** Whether it follows a pointer, or waits for one of the free times to be chosen. */
  dragged: boolean;
}

export function WeekGrid({
  days,
  items,
  open,
  absences,
  moving,
  onOpen,
  onDrag,
  onDrop,
  onStop,
}: {
  days: Day[];
  items: VisitItem[];
  /** When visits can be booked. */
  open: Item[];
  absences: Slot[];
  moving: Moving | undefined;
  onOpen: (item: VisitItem) => void;
  onDrag: (item: VisitItem) => void;
  /** Where it is to go; undefined for where nothing is free. */
  onDrop: (item: VisitItem, to: Opening | undefined) => void;
  onStop: () => void;
}) {
  const t = useT();
  const { timeZone, locale } = useFormats();
  const now = useNow();
  const columns = useRef<(HTMLDivElement | null)[]>([]);
  const press = useRef<{ item: VisitItem; x: number; y: number } | undefined>(undefined);
  /** Whether the last press became a drag: it ends with a click, which is not meant for the visit. */
  const wasDragged = useRef(false);
  const [over, setOver] = useState<Opening>();

  const line = useRef<HTMLDivElement>(null);
  // A calendar is opened to see what is now. Nothing moves where it is in sight already.
  useEffect(() => line.current?.scrollIntoView({ block: 'nearest' }), []);

  const visits = placeItems(items, days, timeZone);
  const hours = placeItems(open, days, timeZone);
  const away = placeItems(
    absences.map((slot) => ({ id: slot.id ?? '', start: Date.parse(slot.start), end: Date.parse(slot.end), slot })),
    days,
    timeZone,
  );
  const [first, last] = hoursToDraw(days.flatMap((day) => [...(visits.get(day) ?? []), ...(hours.get(day) ?? [])]));
  const top = (minutes: number) => ((minutes - first * 60) / 60) * HOUR;
  const box = ({ from, to }: { from: number; to: number }): CSSProperties => ({
    top: Math.max(0, top(from)),
    height: Math.min(top(last * 60), top(to)) - Math.max(0, top(from)),
  });
  const lane = ({ lane: at, lanes, ...span }: Placed<Item>): CSSProperties => ({
    ...box({ from: span.from, to: Math.max(span.to, span.from + 15) }),
    left: `calc(${(at / lanes) * 100}% + 2px)`,
    width: `calc(${100 / lanes}% - 4px)`,
  });

  const under = (event: PointerEvent): Opening | undefined => {
    const at = columns.current.findIndex((column) => {
      const area = column?.getBoundingClientRect();
      return area && event.clientX >= area.left && event.clientX < area.right;
    });
    const day = days[at];
    if (!day || !moving) return undefined;
    const minutes = first * 60 + ((event.clientY - columns.current[at]!.getBoundingClientRect().top) / HOUR) * 60;
    return nearestOpening(moving.openings, day, minutes - (moving.item.end - moving.item.start) / 120_000, timeZone);
  };
  const down = (event: PointerEvent, item: VisitItem) => {
    const isMovable = ['requested', 'pending-payment', 'approved'].includes(item.visit.standing);
    wasDragged.current = false;
    // A finger scrolls; it moves visits from their dialog.
    if (event.pointerType === 'touch' || event.button !== 0 || !isMovable) return;
    press.current = { item, x: event.clientX, y: event.clientY };
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const move = (event: PointerEvent) => {
    if (!press.current) return;
    const isFar = Math.hypot(event.clientX - press.current.x, event.clientY - press.current.y) > CLICK;
    if (!wasDragged.current && isFar) {
      wasDragged.current = true;
      onDrag(press.current.item);
    }
    if (moving?.dragged) setOver(under(event));
  };
  const up = (event: PointerEvent) => {
    const pressed = press.current;
    press.current = undefined;
    setOver(undefined);
    if (pressed && moving?.dragged) onDrop(pressed.item, under(event));
  };
  const click = (item: VisitItem) => {
    if (!wasDragged.current && !moving) onOpen(item);
    wasDragged.current = false;
  };
  const arrows = (event: KeyboardEvent, opening: Opening) => {
    if (event.key === 'Escape') return onStop();
    const key = event.key;
    if (!moving || (key !== 'ArrowUp' && key !== 'ArrowDown' && key !== 'ArrowLeft' && key !== 'ArrowRight')) return;
    event.preventDefault();
    const next = stepOpening(moving.openings, opening.start, key, timeZone);
    if (next) document.getElementById(`to-${next.id}`)?.focus();
  };

  const duration = moving ? (moving.item.end - moving.item.start) / 60_000 : 0;
  const style = { '--days': days.length, '--height': `${(last - first) * HOUR}px`, '--hour': `${HOUR}px` } as CSSProperties;
  return (
    <div className={classes.grid} style={style} role="group" aria-label={t('calendar.grid')}>
      <div className={classes.corner} />
      {days.map((day) => (
        <DayHead key={day} day={day} isToday={day === dayOf(new Date(now), timeZone)} />
      ))}
      <div className={classes.axis} aria-hidden="true">
        {Array.from({ length: last - first }, (_, index) => (
          <span key={index} className={classes.hour} style={{ top: index * HOUR }}>
            {hourText(first + index, locale)}
          </span>
        ))}
      </div>
      {days.map((day, index) => (
        <div
          key={day}
          className={classes.column}
          ref={(element) => {
            columns.current[index] = element;
          }}
        >
          {hours.get(day)?.map(({ item, ...span }) => (
            <div key={`${item.id}-${span.from}`} className={classes.open} style={box(span)} />
          ))}
          {away.get(day)?.map(({ item, ...span }) => (
            <div key={item.id} className={classes.away} style={box(span)}>
              {item.slot.comment ?? t('calendar.away')}
            </div>
          ))}
          {wallClock(now, timeZone).day === day && isWithin(wallClock(now, timeZone).minutes, first, last) && (
            <div ref={line} className={classes.now} style={{ top: top(wallClock(now, timeZone).minutes) }} />
          )}
          {visits.get(day)?.map((placed) => {
            const { item } = placed;
            const { start, end } = item.visit.appointment;
            return (
              <button
                key={item.id}
                type="button"
                className={classes.visit}
                style={lane(placed)}
                data-standing={item.visit.standing}
                data-moving={moving?.item.id === item.id || undefined}
                onPointerDown={(event) => down(event, item)}
                onPointerMove={move}
                onPointerUp={up}
                onPointerCancel={() => {
                  press.current = undefined;
                  onStop();
                }}
                onClick={() => click(item)}
              >
                <span className={classes.who}>{item.name}</span>
                <span className={classes.what}>
                  <When at={start ?? ''} end={end} style="time" /> · {t(`status.${item.visit.standing}`)} · {item.service}
                </span>
              </button>
            );
          })}
          {moving?.openings
            .filter(({ start }) => dayOf(new Date(start), timeZone) === day)
            .map((opening) => {
              const from = wallClock(opening.start, timeZone).minutes;
              const isOver = over?.id === opening.id;
              // While it is dragged, only the time under the pointer is shown.
              if (moving.dragged && !isOver) return null;
              return (
                <button
                  key={opening.id}
                  id={`to-${opening.id}`}
                  type="button"
                  className={classes.target}
                  data-chosen={isOver || undefined}
                  style={box({ from, to: from + duration })}
                  onClick={() => onDrop(moving.item, opening)}
                  onKeyDown={(event) => arrows(event, opening)}
                >
                  <When at={instant(opening.start)} style="time" />
                </button>
              );
            })}
        </div>
      ))}
    </div>
  );
}

const isWithin = (minutes: number, first: number, last: number) => minutes >= first * 60 && minutes < last * 60;

/** `9 AM`, `09` */
function hourText(hour: number, locale: string): string {
  return new Intl.DateTimeFormat(locale, { hour: 'numeric', timeZone: 'UTC' }).format(Date.UTC(2000, 0, 1, hour));
}

function DayHead({ day, isToday }: { day: Day; isToday: boolean }) {
  const t = useT();
  const { timeZone, locale } = useFormats();
  // Noon is on that day whatever the clock does.
  const at = instantOf(day, 12 * 60, timeZone);
  const length = lengthOfDay(day, timeZone);
  const write = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(locale, { ...options, timeZone }).format(at);
  return (
    <div className={classes.head} data-today={isToday || undefined}>
      <span className={classes.weekday}>{write({ weekday: 'short' })}</span>
      <span className={classes.date}>{write({ day: 'numeric' })}</span>
      {length !== 1440 && <span className={classes.jump}>{t(length < 1440 ? 'calendar.ahead' : 'calendar.back')}</span>}
    </div>
  );
}

/** The first and the last instant of these days. */
export function rangeOf(days: Day[], timeZone: string): [number, number] {
  return [instantOf(days[0]!, 0, timeZone), instantOf(addDays(days.at(-1)!, 1), 0, timeZone)];
}
