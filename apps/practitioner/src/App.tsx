/** Where one can go. Each page is fetched when it is opened. */
import { useRead } from '@medconsult/shared/fhir/hooks';
import { split } from '@medconsult/shared/fhir/values';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { AppFrame } from '@medconsult/shared/ui/frame';
import { NotFound } from '@medconsult/shared/ui/notfound';
import { Splash } from '@medconsult/shared/ui/splash';
import { CalendarClock, CalendarDays, Inbox, Stethoscope, Users } from 'lucide-react';
import { lazy, Suspense } from 'react';
import { Redirect, Route, Switch } from 'wouter';
import { useRequests } from './data/requests';

const Today = lazy(() => import('./pages/today'));
const Requests = lazy(() => import('./pages/requests'));
const Calendar = lazy(() => import('./pages/calendar'));
const Hours = lazy(() => import('./pages/hours'));
const Patients = lazy(() => import('./pages/patients'));
const Chart = lazy(() => import('./pages/chart'));
const Prescribe = lazy(() => import('./pages/prescribe'));
const VisitPage = lazy(() => import('./pages/visit'));
const Open = lazy(() => import('./pages/open'));

export function App() {
  const t = useT();
  const { count } = useRequests();
  return (
    <AppFrame
      places={[
        { to: '/', label: t('nav.today'), icon: Stethoscope },
        { to: '/requests', label: t('nav.requests'), icon: Inbox, count },
        { to: '/calendar', label: t('nav.calendar'), icon: CalendarDays },
        { to: '/patients', label: t('nav.patients'), icon: Users },
      ]}
      more={[{ to: '/hours', label: t('nav.hours'), icon: CalendarClock }]}
    >
      <Suspense fallback={<Splash />}>
        <Switch>
          <Route path="/" component={Start} />
          <Route path="/today" component={Today} />
          <Route path="/requests" component={Requests} />
          <Route path="/calendar" component={Calendar} />
          <Route path="/hours" component={Hours} />
          <Route path="/patients" component={Patients} />
          <Route path="/patients/:id/prescribe/:sheet?" component={Prescribe} />
          <Route path="/patients/:id/:tab?" component={Chart} />
          <Route path="/visits/:id" component={VisitPage} />
          <Route path="/open/:id" component={Open} />
          <Route component={NotFound} />
        </Switch>
      </Suspense>
    </AppFrame>
  );
}

/** Launched by an EHR, the app opens at whom it was launched about; else at the day. */
function Start() {
  const { patient, encounter } = useSession();
  const visit = useRead<'Encounter'>(encounter ? `Encounter/${encounter}` : undefined);
  const appointment = split(visit.data?.appointment?.[0]?.reference);
  if (encounter && visit.isPending) return <Splash />;
  if (appointment) return <Redirect to={`/visits/${appointment.id}`} replace />;
  if (patient) return <Redirect to={`/patients/${patient}`} replace />;
  return <Today />;
}
