import { AppFrame, type Place } from '@medconsult/shared/ui/frame';
import { Empty } from '@medconsult/shared/ui/state';
import { Page } from '@medconsult/shared/ui/page';
import { Splash } from '@medconsult/shared/ui/splash';
import { useT } from '@medconsult/shared/texts/context';
import { CalendarDays, CalendarPlus, Eye, FileText, History, House, MapPinOff, Pill, Receipt, Settings } from 'lucide-react';
import { lazy, Suspense } from 'react';
import { Link, Redirect, Route, Switch } from 'wouter';
import { useThingsToDo } from './home/todo';

const home = () => import('./home/Home');
// Most people begin here: the page comes while they are being let in.
if (location.pathname === import.meta.env.BASE_URL) void home();
const Home = lazy(home);
const Find = lazy(() => import('./booking/Find'));
const PickTime = lazy(() => import('./booking/PickTime'));
const Details = lazy(() => import('./booking/Details'));
const Visits = lazy(() => import('./visits/Visits'));
const Visit = lazy(() => import('./visits/Visit'));
const Move = lazy(() => import('./visits/Move'));
const Paid = lazy(() => import('./visits/Paid'));
const Documents = lazy(() => import('./documents/Documents'));
const Prescriptions = lazy(() => import('./record/Prescriptions'));
const Timeline = lazy(() => import('./record/Timeline'));
const Access = lazy(() => import('./record/Access'));
const Payments = lazy(() => import('./payments/Payments'));
const ReceiptPage = lazy(() => import('./payments/Receipt'));
const SettingsPage = lazy(() => import('./settings/Settings'));
const Open = lazy(() => import('./home/Open'));

export function App() {
  const t = useT();
  const waiting = useThingsToDo().length;
  const places: Place[] = [
    { to: '/', label: t('nav.home'), icon: House, count: waiting },
    { to: '/book', label: t('nav.book'), icon: CalendarPlus },
    { to: '/visits', label: t('nav.visits'), icon: CalendarDays },
    { to: '/documents', label: t('nav.documents'), icon: FileText },
    { to: '/timeline', label: t('nav.timeline'), icon: History },
  ];
  const more: Place[] = [
    { to: '/prescriptions', label: t('nav.prescriptions'), icon: Pill },
    { to: '/payments', label: t('nav.payments'), icon: Receipt },
    { to: '/access', label: t('nav.access'), icon: Eye },
    { to: '/settings', label: t('nav.settings'), icon: Settings },
  ];
  return (
    <AppFrame places={places} more={more}>
      <Suspense fallback={<Splash />}>
        <Switch>
          <Route path="/" component={Home} />
          <Route path="/book" component={Find} />
          <Route path="/book/:practitioner/:service">{(at) => <PickTime practitioner={at.practitioner} service={at.service} />}</Route>
          <Route path="/visits" component={Visits} />
          <Route path="/visits/:id">{({ id }) => <Visit id={id} />}</Route>
          <Route path="/visits/:id/details">{({ id }) => <Details id={id} />}</Route>
          <Route path="/visits/:id/move">{({ id }) => <Move id={id} />}</Route>
          <Route path="/paid" component={Paid} />
          <Route path="/documents" component={Documents} />
          <Route path="/prescriptions" component={Prescriptions} />
          <Route path="/timeline" component={Timeline} />
          <Route path="/access" component={Access} />
          <Route path="/payments" component={Payments} />
          <Route path="/payments/:id">{({ id }) => <ReceiptPage id={id} />}</Route>
          <Route path="/settings" component={SettingsPage} />
          <Route path="/open/:id">{({ id }) => <Open id={id} />}</Route>
          <Route path="/index.html">
            <Redirect to="/" replace />
          </Route>
          <Route>
            <NotFound />
          </Route>
        </Switch>
      </Suspense>
    </AppFrame>
  );
}

function NotFound() {
  const t = useT();
  return (
    <Page title={t('app.notFound.title')}>
      <Empty icon={MapPinOff} title={t('app.notFound.title')} text={t('app.notFound.text')} action={<Link to="/">{t('app.notFound.home')}</Link>} />
    </Page>
  );
}
