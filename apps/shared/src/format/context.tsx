/** How the person who is signed in wants times and amounts: by their own settings, or else those of the browser. */
import { createContext, useContext, useMemo, type ReactNode } from 'react';
import type { Money, Patient, Practitioner } from 'fhir/r4';
import { useRead } from '../fhir/hooks';
import { nameOf, zoneOf } from '../fhir/values';
import { useSession } from '../session/context';
import { useTexts } from '../texts/context';
import { writeMoney } from './money';
import { browserZone, writeDateTime, writeRange, writeZone, type TimeStyle } from './time';

export interface Formats {
  locale: string;
  timeZone: string;
  /** The zone by its name. */
  zoneName: string;
  time(instant: string | Date, style?: TimeStyle): string;
  range(start: string | Date, end: string | Date, style?: TimeStyle): string;
  money(money: Money | undefined): string;
}

interface Me {
  /** The person's own resource, when it is there. */
  resource: Patient | Practitioner | undefined;
  name: string;
}

const Context = createContext<{ formats: Formats; me: Me } | undefined>(undefined);

export function PersonProvider({ children }: { children: ReactNode }) {
  const { user } = useSession();
  const { locale } = useTexts();
  const own = useRead<'Patient' | 'Practitioner'>(user.reference);
  const timeZone = zoneOf(own.data) ?? browserZone();
  const value = useMemo(() => {
    const formats: Formats = {
      locale,
      timeZone,
      zoneName: writeZone(timeZone, locale),
      time: (instant, style = 'dateTime') => (typeof instant === 'string' ? writeDateTime(instant, style, locale, timeZone) : writeDateTime(instant.toISOString(), style, locale, timeZone)),
      range: (start, end, style = 'time') => writeRange(start, end, style, locale, timeZone),
      money: (money) => writeMoney(money, locale),
    };
    return { formats, me: { resource: own.data, name: nameOf(own.data?.name) } };
  }, [locale, timeZone, own.data]);
  return <Context value={value}>{children}</Context>;
}

function usePerson() {
  const value = useContext(Context);
  if (!value) throw new Error('This is for what is inside of the session.');
  return value;
}

export const useFormats = (): Formats => usePerson().formats;
/** Who is signed in. */
export const useMe = (): Me => usePerson().me;
