/** The start: what waits, the next visit, and where one may want to go. */
import { Button, Text } from '@mantine/core';
import { CalendarClock, CalendarPlus, CreditCard, Eye, FileUp, History, Hourglass, Pill, type LucideIcon } from 'lucide-react';
import { Link } from 'wouter';
import { useSearch } from '@medconsult/shared/fhir/hooks';
import { useFormats, useMe } from '@medconsult/shared/format/context';
import { useSession } from '@medconsult/shared/session/context';
import { useT } from '@medconsult/shared/texts/context';
import { Page, Section } from '@medconsult/shared/ui/page';
import { DataState, Empty } from '@medconsult/shared/ui/state';
import { ZoneNote } from '@medconsult/shared/ui/when';
import { isAhead, whoIn } from '../visits/visits';
import { VisitCard } from '../visits/VisitCard';
import { useThingsToDo, VISITS, type Todo } from './todo';
import classes from './home.module.css';

export default function Home() {
  const t = useT();
  const { patient } = useSession();
  const { resource } = useMe();
  const given = resource?.name?.[0]?.given?.[0];
  const visits = useSearch('Appointment', VISITS(patient));
  const todos = useThingsToDo();
  return (
    <Page title={given ? t('home.hello', { name: given }) : t('home.title')}>
      {todos.length > 0 && (
        <Section plain title={t('home.todo')}>
          <ul className={classes.todos}>
            {todos.map((todo) => (
              <li key={`${todo.kind}-${todo.kind === 'offer' ? todo.task.id : todo.visit.id}`}>
                <TodoCard todo={todo} />
              </li>
            ))}
          </ul>
        </Section>
      )}
      <Section plain title={t('home.next')} actions={<Text c="dimmed" fz="sm"><ZoneNote /></Text>}>
        <DataState of={visits}>
          {({ resources }) => {
            const ahead = resources.filter((visit) => isAhead(visit, Date.now())).sort((a, b) => Date.parse(a.start ?? '') - Date.parse(b.start ?? ''));
            const next = ahead[0];
            return next ? (
              <VisitCard visit={next} />
            ) : (
              <Empty icon={CalendarClock} title={t('home.noVisit')} text={t('home.noVisitText')} action={<Button component={Link} to="/book" leftSection={<CalendarPlus size={18} aria-hidden="true" />}>{t('home.book')}</Button>} />
            );
          }}
        </DataState>
      </Section>
      <nav className={classes.ways} aria-label={t('home.ways')}>
        <Way to="/book" icon={CalendarPlus} title={t('home.book')} text={t('home.bookText')} />
        <Way to="/documents" icon={FileUp} title={t('home.upload')} text={t('home.uploadText')} />
        <Way to="/prescriptions" icon={Pill} title={t('nav.prescriptions')} text={t('home.prescriptionsText')} />
        <Way to="/timeline" icon={History} title={t('nav.timeline')} text={t('home.timelineText')} />
        <Way to="/access" icon={Eye} title={t('nav.access')} text={t('home.accessText')} />
      </nav>
    </Page>
  );
}

function Way({ to, icon: Icon, title, text }: { to: string; icon: LucideIcon; title: string; text: string }) {
  return (
    <Link to={to} className={classes.way}>
      <span className={classes.wayIcon}><Icon size={22} aria-hidden="true" /></span>
      <span>
        <strong>{title}</strong>
        <span className={classes.wayText}>{text}</span>
      </span>
    </Link>
  );
}

function TodoCard({ todo }: { todo: Todo }) {
  const t = useT();
  const { time } = useFormats();
  const at = todo.kind === 'offer' ? `/visits/${todo.visit}` : todo.kind === 'finish' ? `/visits/${todo.visit.id}/details` : `/visits/${todo.visit.id}`;
  const Icon = { pay: CreditCard, finish: Hourglass, offer: CalendarClock }[todo.kind];
  const who = todo.kind === 'offer' ? (todo.task.requester?.display ?? '') : whoIn(todo.visit);
  return (
    <div className={classes.todo}>
      <Icon size={24} aria-hidden="true" />
      <div className={classes.todoText}>
        <strong>{t(`todo.${todo.kind}`)}</strong>
        <Text fz="sm">
          {todo.kind === 'offer' ? t('todo.offerText') : t('todo.visit', { who, time: time(todo.visit.start ?? '', 'dateTime') })}
          {todo.until && ` · ${t('todo.until', { time: time(todo.until, 'time') })}`}
        </Text>
      </div>
      <Button component={Link} to={at}>{t(`todo.${todo.kind}Action`)}</Button>
    </div>
  );
}
