/** Free times by day, to choose one or several from. */
import type { Bundle } from 'fhir/r4';
import { useAsk } from '@medconsult/shared/fhir/hooks';
import { relative } from '@medconsult/shared/fhir/values';
import { useFormats } from '@medconsult/shared/format/context';
import { dayOf } from '@medconsult/shared/format/time';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { When, ZoneNote } from '@medconsult/shared/ui/when';
import { Text } from '@mantine/core';
import { CalendarX } from 'lucide-react';
import { instant } from '../data/visits';
import { actorOf } from '../logic/visits';
import type { Opening } from '../logic/week';
import type { Appointment } from 'fhir/r4';
import classes from './visits.module.css';

/** The times to which a visit could be moved, between two instants. `undefined`: not yet. */
export function useOpenings(appointment: Appointment | undefined, from: number, until: number, count = 200) {
  const { user } = useSession();
  const { timeZone } = useFormats();
  const service = appointment && relative(actorOf(appointment, 'HealthcareService')?.actor?.reference);
  const asked = useAsk<Bundle>(
    'Slot',
    'Appointment/$find',
    appointment && {
      'practitioner': user.reference,
      ...(service && { service }),
      'start': instant(from),
      'end': instant(until),
      'ignore-appointment': `Appointment/${appointment.id}`,
      'time-zone': timeZone,
      '_count': count,
    },
  );
  return { asked, openings: openingsIn(asked.data) };
}

function openingsIn(bundle: Bundle | undefined): Opening[] {
  return (bundle?.entry ?? []).flatMap(({ resource }) =>
    resource?.resourceType === 'Appointment' && resource.start ? [{ id: resource.id ?? '', start: Date.parse(resource.start) }] : [],
  );
}

export function OpeningChoice({
  appointment,
  from,
  days = 14,
  chosen,
  most = 1,
  onChange,
}: {
  appointment: Appointment;
  from: number;
  days?: number;
  chosen: readonly Opening[];
  /** How many may be chosen. */
  most?: number;
  onChange: (chosen: Opening[]) => void;
}) {
  const t = useT();
  const { timeZone } = useFormats();
  const { asked, openings } = useOpenings(appointment, from, from + days * 86_400_000);
  const others = openings.filter(({ start }) => start !== Date.parse(appointment.start ?? ''));
  const byDay = Map.groupBy(others, ({ start }) => dayOf(new Date(start), timeZone));
  const press = (opening: Opening, isChosen: boolean) => {
    if (isChosen) onChange(chosen.filter(({ id }) => id !== opening.id));
    else onChange(most === 1 ? [opening] : [...chosen, opening]);
  };
  return (
    <DataState
      of={asked}
      isEmpty={() => others.length === 0}
      empty={<Empty icon={CalendarX} title={t('openings.none.title')} text={t('openings.none.text', { count: days })} />}
    >
      {() => (
        <>
          <Text size="sm" c="dimmed">
            <ZoneNote />
          </Text>
          <div className={classes.scroll} role="group" aria-label={t('openings.label')} tabIndex={-1}>
            {[...byDay].map(([day, list]) => (
              <section key={day}>
                <h3 className={classes.timesDay}>
                  <When at={instant(list[0]!.start)} style="day" />
                </h3>
                <div className={classes.times}>
                  {list.map((opening) => {
                    const isChosen = chosen.some(({ id }) => id === opening.id);
                    return (
                      <button
                        key={opening.id}
                        type="button"
                        className={classes.opening}
                        aria-pressed={isChosen}
                        disabled={!isChosen && most > 1 && chosen.length >= most}
                        onClick={() => press(opening, isChosen)}
                      >
                        <When at={instant(opening.start)} style="time" />
                      </button>
                    );
                  })}
                </div>
              </section>
            ))}
          </div>
        </>
      )}
    </DataState>
  );
}
