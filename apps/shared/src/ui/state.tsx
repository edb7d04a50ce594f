/** What stands where data will be, or would be. */
import { Button, Text, Title } from '@mantine/core';
import { CircleAlert, WifiOff, type LucideIcon } from 'lucide-react';
import type { ReactNode } from 'react';
import { asFailure } from '../fhir/failure';
import { useSession } from '../session/context';
import { useT } from '../texts/context';
import { Lines } from './splash';
import { Note } from './status';
import classes from './frame.module.css';

/** What a hook of `fhir/hooks` gives, or several of them put together. */
interface Asked<T> {
  data: T | undefined;
  error: unknown;
  refetch: () => unknown;
}

/** Shows rows that are on their way, what went wrong and helps, that there is nothing, or what there is. */
export function DataState<T>({ of, empty, isEmpty, skeleton, children }: {
  of: Asked<T>;
  /** What to say when there is nothing. */
  empty?: ReactNode;
  isEmpty?: (data: T) => boolean;
  skeleton?: ReactNode;
  children: (data: T) => ReactNode;
}) {
  const t = useT();
  if (of.data !== undefined) return isEmpty?.(of.data) ? empty : children(of.data);
  if (of.error) return <Problem error={of.error} retry={() => void of.refetch()} />;
  return (
    <div role="status" aria-busy="true" aria-label={t('app.loading')}>
      {skeleton ?? <Lines />}
    </div>
  );
}

/** That there is nothing here, and what one can do about it. */
export function Empty({ icon: Icon, title, text, action }: { icon: LucideIcon; title: string; text?: string; action?: ReactNode }) {
  return (
    <div className={classes.state}>
      <span className={classes.stateIcon}>
        <Icon size={26} aria-hidden="true" />
      </span>
      <Title order={2} size="h3">{title}</Title>
      {text && <Text c="dimmed" maw="26rem">{text}</Text>}
      {action}
    </div>
  );
}

/** What a failure says, in the app's words and then in the server's. */
export function useFailureTexts(): (error: unknown) => { title: string; text: string } {
  const t = useT();
  return (error) => {
    const failure = asFailure(error);
    const kind = failure.status === 0 ? 'offline' : failure.remedy;
    // What the server says about the person's own input or the moves that are left is better than anything general.
    const own = ['correct', 'reload', 'none'].includes(kind) ? failure.sentences.join(' ') : '';
    return { title: t(`failure.${kind}.title`), text: own || t(`failure.${kind}.text`) };
  };
}

/** A failure in place of data. */
export function Problem({ error, retry }: { error: unknown; retry?: () => void }) {
  const t = useT();
  const texts = useFailureTexts()(error);
  const { stepUp } = useSession();
  const failure = asFailure(error);
  const Icon = failure.status === 0 ? WifiOff : CircleAlert;
  return (
    <div className={classes.state} role="alert">
      <span className={classes.stateIcon} data-tone="bad">
        <Icon size={26} aria-hidden="true" />
      </span>
      <Title order={2} size="h3">{texts.title}</Title>
      <Text c="dimmed" maw="28rem">{texts.text}</Text>
      {failure.stepUp ? (
        <Button onClick={() => void stepUp(failure.stepUp ?? {})}>{t('failure.prove.action')}</Button>
      ) : (
        retry && failure.remedy !== 'none' && <Button variant="default" onClick={retry}>{t('app.retry')}</Button>
      )}
    </div>
  );
}

/** A failure beside the form or button that it is about. Takes no room while there is none. */
export function FormProblem({ error, onReload }: { error: unknown; onReload?: () => void }) {
  const t = useT();
  const texts = useFailureTexts();
  const { stepUp } = useSession();
  if (!error) return <div role="alert" />;
  const failure = asFailure(error);
  const { title, text } = texts(error);
  return (
    <div role="alert">
      <Note tone="bad" icon={CircleAlert} title={title}>
        <p className={classes.noteText}>{text}</p>
        {failure.stepUp && <Button onClick={() => void stepUp(failure.stepUp ?? {})}>{t('failure.prove.action')}</Button>}
        {failure.remedy === 'reload' && onReload && (
          <Button variant="default" onClick={onReload}>{t('app.reload')}</Button>
        )}
      </Note>
    </div>
  );
}
