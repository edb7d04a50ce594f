import { startApp } from '@medconsult/shared/start';
import { App } from './App';
import { texts } from './texts';

startApp({
  registration: {
    clientId: 'medconsult-patient',
    scope: [
      'openid fhirUser profile launch/patient online_access',
      // The record of one patient; of everything else what it takes to find a practitioner.
      'patient/*.rs patient/Appointment.cu patient/Binary.c patient/Consent.cu patient/DocumentReference.cu patient/Patient.u',
      'patient/QuestionnaireResponse.cu patient/Task.u',
      'user/ChargeItemDefinition.rs user/HealthcareService.rs user/Location.rs user/Organization.rs user/Practitioner.rs',
      'user/PractitionerRole.rs user/Questionnaire.rs user/Schedule.rs user/Slot.rs',
    ].join(' '),
  },
  texts,
  App,
});
