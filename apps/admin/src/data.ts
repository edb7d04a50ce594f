/** Services with their prices. */
import { useChange, useSearch } from '@medconsult/shared/fhir/hooks';
import { useSession } from '@medconsult/shared/session/context';
import type { ChargeItemDefinition, HealthcareService } from 'fhir/r4';
import { newPriceUrl, priceOf, type ServiceForm, writePrice, writeService } from './logic/services';

export function useServices() {
  const services = useSearch('HealthcareService', { _sort: 'name', _count: 200 });
  const prices = useSearch('ChargeItemDefinition', { _count: 200 });
  const priceFor = (service: HealthcareService) => prices.data?.resources.find(({ url }) => url === priceOf(service));
  return { services, prices, priceFor };
}

/** Stores a service; what it costs first, since it names that. */
export function useSaveService(service: HealthcareService | undefined, price: ChargeItemDefinition | undefined) {
  const { fhir } = useSession();
  return useChange<ServiceForm, HealthcareService>({
    run: async (form) => {
      const url = (service && priceOf(service)) ?? newPriceUrl(crypto.randomUUID());
      if (form.payment !== 'none') {
        const written = writePrice(form, price, url);
        await (written.id ? fhir.update(written) : fhir.create(written));
      }
      const written = writeService(form, service, form.payment === 'none' ? undefined : url);
      return written.id ? fhir.update(written) : fhir.create(written);
    },
    touches: ['HealthcareService', 'ChargeItemDefinition'],
  });
}
