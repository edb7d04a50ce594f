/** Paying: on the payment provider's own page, to which the browser goes and from which it comes back. */
import type { Parameters } from 'fhir/r4';
import { useChange } from '@medconsult/shared/fhir/hooks';
import { useSession } from '@medconsult/shared/session/context';

const PAYING = 'medconsult.paying';

/** Opens the page where a visit is paid. */
export function usePay() {
  const { fhir } = useSession();
  return useChange<string, void>({
    run: async (visit) => {
      const answer = await fhir.operation<Parameters>(`Appointment/${visit}/$pay`);
      const url = answer.parameter?.find((each) => each.name === 'url')?.valueUri;
      if (!url || !/^https?:$/.test(new URL(url).protocol)) throw new Error('The answer has no address.');
      sessionStorage.setItem(PAYING, visit);
      location.assign(url);
      // The page is about to go.
      await new Promise(() => undefined);
    },
    touches: ['Appointment', 'Invoice'],
  });
}

/** The visit that this tab left to pay for. */
export const beingPaid = (): string | null => sessionStorage.getItem(PAYING);
