import { startApp } from '@medconsult/shared/start';
import { App } from './App';
import { texts } from './texts';

startApp({
  registration: {
    clientId: 'medconsult-patient',
    scope: 'openid fhirUser profile launch launch/patient online_access patient/*.rs user/*.rs',
  },
  texts,
  App,
});
