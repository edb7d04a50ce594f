import { startApp } from '@medconsult/shared/start';
import { App } from './App';
import { texts } from './texts';

startApp({
  registration: {
    clientId: 'medconsult-admin',
    scope: 'openid fhirUser profile online_access user/*.rs user/ChargeItemDefinition.cu user/HealthcareService.cu user/Organization.cu',
  },
  texts,
  App,
});
